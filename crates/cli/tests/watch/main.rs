//! `mantlet watch` as its owner runs it: what is undone and what is taken, who may take it, and what stops it.
//!
//! As root each test is alone in a pid and a mount namespace: what it kills and mounts is its own. Root tries everything
//! twice, as root and as an ordinary user; others as themselves.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test")]

mod accept;
#[path = "../common/mod.rs"]
mod common;
mod day;
mod escalate;
mod full;
mod ground;
mod hold;
mod killed;
mod own;
mod policy;
mod signals;
mod signed;
mod tell;
mod undone;
