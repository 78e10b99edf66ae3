//! `mantlet halt` and `mantlet resume`: everything that runs in a jail ends, nothing starts, and only its owner lets it go on.
//!
//! As root each test is alone in a pid and a mount namespace: what it kills and mounts is its own. Root tries everything
//! twice, as root and as an ordinary user; others as themselves.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test")]

#[path = "../common/mod.rs"]
mod common;
mod ends;
mod ground;
mod odd;
mod owner;
mod race;
mod unjailed;
