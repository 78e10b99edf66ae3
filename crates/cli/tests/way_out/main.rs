//! Ways around the way out, tried from inside real jails: `mantlet exec` with a policy that allows some names.
//!
//! The world has no network: it is namespaces, with something in them that stands for the internet, and a capture of every
//! packet (`tests/world`). Root tries everything twice, as root and as an ordinary user; others as themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a test")]

mod differential;
mod jails;
mod serving;
#[path = "../../../../tests/world/mod.rs"]
mod world;

use std::process::ExitCode;
use std::time::Instant;

use jails::{Real, Who};
use world::bypass;
use world::ground::{STAGE, World, begin, enter};

type Part = fn(&World, &Real<'_>);

const PARTS: &[(&str, Part)] = &[
    ("bypass", |world, jails| bypass::run(world, jails)),
    ("differential", differential::run),
    ("serving", serving::run),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        println!("way_out: test");
        return ExitCode::SUCCESS;
    }
    match std::env::var(STAGE).as_deref() {
        Ok("internet") => world::internet::run(),
        Ok("host") => {
            let who = Who::named(&arguments[0]);
            let words = &arguments[1..];
            let is_wanted = |name: &str| words.iter().all(|word| word.starts_with('-') || name.contains(word));
            enter(|world| {
                let jails = Real::new(world, who);
                for (name, part) in PARTS.iter().filter(|(name, _)| is_wanted(name)) {
                    println!("== {name}");
                    part(world, &jails);
                }
            });
        }
        // A world for each: servers there remember what they were asked.
        _ => {
            let is_well = |who: &Who| {
                println!("== as {who:?}");
                let start = Instant::now();
                let is_well = begin(&[&[format!("{who:?}")], arguments.as_slice()].concat());
                println!("-- as {who:?}: {:.1} s", start.elapsed().as_secs_f32());
                is_well
            };
            return if jails::everybody().iter().all(is_well) { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
    }
    ExitCode::SUCCESS
}
