//! The way out of a jail: stub DNS, capture and proxy, decided by name.
//!
//! It works on sockets that somebody else opened, and dials from the namespace of its own process. It starts nothing,
//! reads no file but the host's resolver configuration, and knows no other room.
#![forbid(unsafe_code)]

mod decision;
pub mod dns;
pub mod hello;
pub mod http;
mod name;
mod rules;
pub mod socks;
mod synthetic;
#[cfg(test)]
mod testing;

pub use decision::{Allowed, Decision, Denial, Given, Place, Reason};
pub use name::{Authority, AuthorityError, Endpoint, HostName, NameError, Target, canonical};
pub use rules::{CompileError, Rules, Subject};
pub use synthetic::{MOST_NAMES, Pair, Synthetic};
