//! A decision about one destination or request, and the text of a denial that a model can act on. Pure.

use std::net::SocketAddr;

use mantlet_policy::Protocol;

use crate::name::Endpoint;

/// What a policy says about a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Decision {
    /// It may be reached, as said here.
    Allow(Allowed),
    /// It may not.
    Deny(Denial),
}

/// Where an allowed destination is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// On the internet: the name is resolved now, and every answer checked.
    Public,
    /// At this one address of the host or its network.
    Fixed(SocketAddr),
}

/// How a name came to be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// The owner wrote the name.
    ByName,
    /// The owner wrote a wildcard: each new name below it says something to whoever answers for the domain.
    ByWildcard,
    /// `web = "read"`: any public name, for reading only.
    ForReading,
}

/// A destination that may be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    /// The destination.
    pub endpoint: Endpoint,
    /// How its connections are judged.
    pub protocol: Protocol,
    /// The rule, as `github.com:443, line 12`.
    pub rule: String,
    /// Where it is.
    pub place: Place,
    /// How it is allowed.
    pub given: Given,
}

/// Why something is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// No rule names it.
    #[error("no rule allows it")]
    NoRule,
    /// The name is allowed on other ports.
    #[error("the rules allow this host, but not this port")]
    OtherPort,
    /// An address where only names are allowed.
    #[error("an address; only names are allowed outwards")]
    Address,
    /// The name is not one.
    #[error("{0}")]
    Name(String),
    /// The connection was opened to one name and asks for another.
    #[error("the connection was opened to {opened}, and asks for {asked}")]
    Mismatch {
        /// The name behind the address, or of CONNECT.
        opened: String,
        /// The name inside.
        asked: String,
    },
    /// The name leads to an address that no public name may lead to.
    #[error("it resolves to {address}, which is {what}")]
    Special {
        /// The address.
        address: String,
        /// What it is.
        what: String,
    },
    /// The name leads nowhere.
    #[error("it does not resolve: {0}")]
    Unresolved(String),
    /// Nothing answers there.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// The bytes are not what the port is for.
    #[error("{0}")]
    Malformed(String),
    /// The host is allowed, this request is not.
    #[error("{0}")]
    Request(String),
    /// A budget is used up.
    #[error("the budget of {0} is used up")]
    Budget(String),
    /// The explicit proxy does not know who asks.
    #[error("this proxy asks for a name and a password")]
    Login,
    /// More connections than one jail may have.
    #[error("too many connections at a time")]
    Crowded,
    /// Another user of this machine at a door that is the owner's alone.
    #[error("another user of this machine connects, or nobody says which user it is")]
    Foreign,
    /// A door that the network can reach, in front of something that lets everybody in.
    #[error("other machines can reach this address, and {0}")]
    Unguarded(String),
    /// The policy changed while it was open.
    #[error("the policy no longer allows it")]
    Withdrawn,
}

/// A refusal, with its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// What was asked for, as far as it is a name: `host:port`.
    pub what: String,
    /// The agent.
    pub agent: Box<str>,
    /// Why not.
    pub reason: Reason,
    /// What to do about it.
    pub hint: String,
}

impl std::fmt::Display for Denial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "mantlet: {} refused for agent {}: {}\nhint: {}", self.what, self.agent, self.reason, self.hint)
    }
}

impl Denial {
    /// Returns the HTTP status that says it: whose fault it is decides between 4xx and 5xx.
    pub fn status(&self) -> (u16, &'static str) {
        match &self.reason {
            Reason::Malformed(_) | Reason::Name(_) => (400, "Bad Request"),
            Reason::Mismatch { .. } => (421, "Misdirected Request"),
            Reason::Unresolved(_) | Reason::Unreachable(_) => (502, "Bad Gateway"),
            Reason::Login => (407, "Proxy Authentication Required"),
            Reason::Budget(_) | Reason::Crowded => (429, "Too Many Requests"),
            _ => (403, "Forbidden"),
        }
    }
}
