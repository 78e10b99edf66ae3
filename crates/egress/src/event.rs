//! What the room tells its caller: plain values for the ledger and the report. Never a path, a query or a header.

use std::net::SocketAddr;

use crate::decision::{Allowed, Denial};

/// How something was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// A name was looked up.
    Dns,
    /// A connection to a name's address.
    Direct,
    /// CONNECT at the explicit proxy.
    Connect,
    /// SOCKS at the explicit proxy.
    Socks,
    /// A whole URL at the explicit proxy.
    Absolute,
    /// A connection from outside to a published address.
    Publish,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Something was refused.
    Refused {
        /// How it was asked for.
        way: Way,
        /// What, why, and what to do.
        denial: Denial,
    },
    /// A connection or request ended that had been let out.
    Passed {
        /// How it was asked for.
        way: Way,
        /// The destination and the rule that allowed it.
        allowed: Allowed,
        /// The address that was dialled.
        address: SocketAddr,
        /// Bytes outwards.
        up: u64,
        /// Bytes inwards.
        down: u64,
    },
    /// A connection ended that had been let in.
    Entered {
        /// The published address.
        door: SocketAddr,
        /// Who connected to it.
        peer: SocketAddr,
        /// Where it led inside the jail.
        inside: SocketAddr,
        /// Bytes inwards.
        inwards: u64,
        /// Bytes outwards.
        outwards: u64,
    },
}

/// Takes events, at once and without blocking.
pub trait Record: Send + Sync {
    /// Takes one.
    fn record(&self, event: Event);
}

impl<F: Fn(Event) + Send + Sync> Record for F {
    fn record(&self, event: Event) {
        self(event);
    }
}
