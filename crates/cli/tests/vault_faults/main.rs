//! Every command of `mantlet vault` that writes, killed or failed at each of its system calls; full and read-only disks;
//! many writers at once; and where a secret must never be found.
//!
//! Each part says what it did. A part that cannot run here says so, and why.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, unreachable_pub, reason = "a test")]

mod canary;
mod cases;
mod disks;
mod faults;
mod import;
mod slot;

use std::process::ExitCode;
use std::time::Instant;

/// A part's name, and what answers what it did.
type Part = (&'static str, fn() -> String);

const PARTS: &[Part] = &[
    ("faults", faults::run),
    ("import", import::run),
    ("full disk", disks::full),
    ("read-only disk", disks::read_only),
    ("writers", disks::writers),
    ("held lock", disks::held),
    ("disk", canary::disk),
    ("process", canary::process),
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--list") {
        println!("vault_faults: test");
        return ExitCode::SUCCESS;
    }
    let asked: Vec<&String> = words.iter().filter(|word| !word.starts_with('-')).collect();
    let is_wanted = |name: &str| asked.is_empty() || asked.iter().any(|word| name.contains(word.as_str()));
    for (name, part) in PARTS.iter().filter(|(name, _)| is_wanted(name)) {
        let start = Instant::now();
        let said = part();
        println!("{name}: {said} ({:.1} s)", start.elapsed().as_secs_f32());
    }
    ExitCode::SUCCESS
}
