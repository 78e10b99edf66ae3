//! The way out, attacked from inside a network namespace as a jail has one, in a private world without a network.
//!
//! The world is an outer user, mount and network namespace (the host), a second network namespace that plays the internet
//! (global addresses, an authoritative name server, web servers with a test CA), and a third one (the jail) whose
//! listeners are handed over as descriptors. The room runs unmodified on the host. Needs no privilege and no network.

mod attacks;
mod behaviour;
mod clients;
mod internet;
mod packets;
mod space;

use std::process::{Command, ExitCode};

const STAGE: &str = "MANTLET_EGRESS_WORLD";

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
            let wanted = |name: &str| arguments.iter().all(|a| a.starts_with('-') || name.contains(a.as_str()));
            let parts: &[(&str, fn(&space::World))] =
                &[("attacks", attacks::run), ("clients", clients::run), ("behaviour", behaviour::run)];
            for (name, part) in parts.iter().filter(|(name, _)| wanted(name)) {
                println!("== {name}");
                part(world);
            }
        }),
        _ => {
            let me = std::env::current_exe().unwrap();
            let mut command = Command::new("unshare");
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
