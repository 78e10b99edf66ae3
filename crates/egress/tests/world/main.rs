//! The way out, attacked from inside a network namespace as a jail has one, in a private world without a network.
//!
//! The world is an outer user, mount and network namespace (the host), a second network namespace that plays the internet
//! (global addresses, an authoritative name server, web servers with a test CA), and a third one (the jail) whose
//! listeners are handed over as descriptors. The room runs unmodified on the host. Needs no privilege and no network.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)] // Nothing but a test.

mod attacks;
mod behaviour;
mod clients;
mod differential;
mod endurance;
mod internet;
mod packets;
mod space;

use std::process::{Command, ExitCode};

const STAGE: &str = "MANTLET_EGRESS_WORLD";

type Part = fn(&space::World);

const PARTS: &[(&str, Part)] = &[
    ("attacks", attacks::run),
    ("clients", clients::run),
    ("differential", differential::run),
    ("behaviour", behaviour::run),
    ("endurance", endurance::run),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        println!("world: test");
        return ExitCode::SUCCESS;
    }
    match std::env::var(STAGE).as_deref() {
        Ok("internet") => internet::run(),
        Ok("jail") => space::run_jail(),
        Ok("host") => space::enter(|world| {
            let named: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
            let is_wanted = |name: &str| named.is_empty() || named.iter().any(|wanted| name.contains(wanted.as_str()));
            // It takes two minutes, in which everything else is done.
            let vanished = is_wanted("vanished").then(|| endurance::Vanished::begin(world));
            for (name, part) in PARTS.iter().filter(|(name, _)| is_wanted(name)) {
                println!("== {name}");
                part(world);
            }
            if let Some(vanished) = vanished {
                println!("== vanished");
                vanished.end();
            }
        }),
        _ => {
            let me = std::env::current_exe().unwrap();
            // A thousand connections have more descriptors than a shell's usual limit.
            let mut command = Command::new("sh");
            command.args(["-c", "ulimit -n $(ulimit -Hn) && exec \"$@\"", "sh", "unshare"]);
            command.args([
                "--user",
                "--map-root-user",
                "--net",
                "--mount",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
            ]);
            let status = command.arg(me).args(arguments).env(STAGE, "host").status().expect("unshare");
            return if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
    }
    ExitCode::SUCCESS
}
