//! The way out, attacked from inside a network namespace as a jail has one, in a private world without a network.
//!
//! The jails here are network namespaces and nothing else; their listeners are handed over as descriptors, and the room runs
//! unmodified on the world's host. The same attacks run in real jails in `crates/cli/tests/way_out`. Needs no privilege and
//! no network.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)] // Nothing but a test.

mod behaviour;
mod clients;
mod differential;
mod door;
mod endurance;
mod space;
#[path = "../../../../tests/world/mod.rs"]
mod world;

use std::process::ExitCode;

use world::ground::{STAGE, World, begin, enter};

type Part = fn(&World);

const PARTS: &[(&str, Part)] = &[
    ("bypass", |world| world::bypass::run(world, &space::Bare(world))),
    ("clients", clients::run),
    ("differential", differential::run),
    ("behaviour", behaviour::run),
    ("door", door::run),
    ("endurance", endurance::run),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        println!("world: test");
        return ExitCode::SUCCESS;
    }
    match std::env::var(STAGE).as_deref() {
        Ok("internet") => world::internet::run(),
        Ok("jail") => space::run_jail(),
        Ok("users") => door::run_users(),
        Ok("host") => enter(|world| {
            let named: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
            let is_wanted = |name: &str| named.is_empty() || named.iter().any(|wanted| name.contains(wanted.as_str()));
            let (first, others): (Vec<_>, Vec<_>) =
                PARTS.iter().filter(|(name, _)| is_wanted(name)).partition(|(name, _)| *name == "bypass");
            let run = |(name, part): &(&str, Part)| {
                println!("== {name}");
                part(world);
            };
            // Whoever counts packets comes first: this sends some for two minutes, in which everything else is done.
            first.into_iter().for_each(run);
            let vanished = is_wanted("vanished").then(|| endurance::Vanished::begin(world));
            others.into_iter().for_each(run);
            if let Some(vanished) = vanished {
                println!("== vanished");
                vanished.end();
            }
        }),
        _ => {
            let is_shown = begin(&arguments) && door::with_users(&std::env::current_exe().unwrap(), &arguments);
            return if is_shown { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
    }
    ExitCode::SUCCESS
}
