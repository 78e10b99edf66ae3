//! One tool call in, one decision out, from the same policy as the jail.
//!
//! It opens directories to resolve paths as the kernel would, and reads, writes and starts nothing.
#![forbid(unsafe_code)]

mod decision;

pub use decision::{Decision, Denial};
