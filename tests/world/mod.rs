//! A world for tests of the way out: namespaces, something that stands for the internet, a capture of all packets, and the
//! attacks. Shared by the room's own test (`crates/egress`) and the one through a real jail (`crates/cli`).
//!
//! The world is an outer user, mount and network namespace (the host) and a second network namespace that plays the
//! internet (global addresses, an authoritative name server, web servers with a test CA). Who uses it brings the jails.
#![allow(dead_code, reason = "each test program uses a part of it")]

pub(crate) mod agent;
pub(crate) mod bypass;
pub(crate) mod differential;
pub(crate) mod ground;
pub(crate) mod internet;
pub(crate) mod packets;
