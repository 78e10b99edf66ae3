//! Who serves the ways out of jails (a process for one of them, or the daemon for all of an owner's), and tells the owner.
//!
//! [`serve_one`] is what a jail's monitor starts where no daemon runs. [`run`] is `mantlet daemon`: it starts one serving
//! process, hands it the connections of monitors that have the same owner, and starts it again when it ends.
//! [`alert`] is how the owner is told.
#![forbid(unsafe_code)]

pub mod alert;
mod daemon;
mod serve;
mod told;

pub use daemon::{DaemonError, SERVER_WORD, run, serve_all};
pub use serve::{raise_descriptors, serve_one};
pub use told::told;
