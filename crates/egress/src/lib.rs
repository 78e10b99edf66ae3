//! The way out of a jail: stub DNS, capture and proxy, decided by name; and the door into it, for what is published.
//!
//! It works on sockets that somebody else opened, and dials from the namespace of its own process. It starts nothing,
//! reads no file but the host's resolver configuration, and knows no other room.
#![forbid(unsafe_code)]

mod budget;
mod capture;
mod conn;
mod decision;
mod dial;
pub mod dns;
mod door;
mod event;
mod explicit;
pub mod hello;
pub mod http;
mod inward;
mod listening;
mod login;
mod name;
mod peer;
mod pipe;
mod preview;
mod rules;
mod serve;
mod shared;
pub mod socks;
mod synthetic;
#[cfg(test)]
mod testing;
mod tunnel;

pub use decision::{Allowed, Decision, Denial, Given, Place, Reason};
pub use dial::Candidate;
pub use dns::resolver::Resolver;
pub use door::Door;
pub use event::{Event, Record, Way};
pub use inward::More;
pub use login::Login;
pub use name::{Authority, AuthorityError, Endpoint, HostName, NameError, Target, canonical};
pub use preview::{addresses, preview};
pub use rules::{CompileError, Rules, Subject};
pub use serve::{Control, Server, Sockets};
pub use shared::{Gate, Settings};
pub use synthetic::{MOST_NAMES, Pair, Synthetic, listeners};
