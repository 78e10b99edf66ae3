//! The way out of a jail: stub DNS, capture and proxy, decided by name.
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
mod event;
mod explicit;
pub mod hello;
pub mod http;
mod login;
mod name;
mod rules;
mod serve;
mod shared;
pub mod socks;

#[cfg(test)]
mod testing;
mod tunnel;

pub use decision::{Allowed, Decision, Denial, Given, Place, Reason};
pub use dns::resolver::Resolver;
pub use event::{Event, Record, Way};
pub use login::Login;
pub use name::{Authority, AuthorityError, Endpoint, HostName, NameError, Target, canonical};
pub use rules::{CompileError, Rules, Subject};
pub use serve::{Control, Server, Sockets};
pub use shared::Settings;

/// Returns the addresses on which a jail needs a listener for these rules.
pub fn listeners(rules: &Rules) -> Vec<std::net::SocketAddr> {
    mantlet_policy::synthetic::listeners(rules.egress())
}

/// Which address stands for which name.
pub type Synthetic = mantlet_policy::synthetic::Synthetic<HostName>;
