//! Guard and jail agree: the guard allows a request if and only if it succeeds inside the jail of the same policy.
//!
//! Random trees, random requests, both answers compared. `MANTLET_SEED` makes another run; a failure prints the seed.
//! This program is three: it makes the worlds, asks the guard in them, and asks the kernel inside the jail.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr, reason = "a test")]

mod asks;
mod chance;
mod inside;
mod race;
mod trees;
mod worlds;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.first().map(String::as_str) {
        Some("inside") => inside::main(),
        Some("worker") => asks::main(&words[1..]),
        _ => worlds::main(),
    }
}
