//! The sections whose rooms come later: parsed strictly, typed, hashed, and enforced by nothing yet.
//!
//! `explain` says so for each of them; a policy must never look stronger than it is.

use std::net::SocketAddr;

use crate::types::Origin;

/// What is done with a secret found in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DlpMode {
    /// The message is stopped.
    Block,
    /// The secret is replaced.
    Redact,
    /// The message passes, and the owner hears of it.
    Warn,
}

/// `[agent.X.dlp]`: what is done with secrets on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dlp {
    /// On the way out.
    pub outward: DlpMode,
    /// On the way in.
    pub inward: DlpMode,
}

/// What an agent may fetch beyond its allow list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Web {
    /// Nothing.
    None,
    /// Any public host: GET and HEAD, no body, no credential, a budget on URLs.
    Read,
}

/// `[agent.X.publish]`: what may be reached inside from outside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Publish {
    pub(crate) ports: Vec<SocketAddr>,
    pub(crate) exposed: Option<String>,
}

impl Publish {
    /// Returns the addresses to listen on outside. Each leads to the same port inside.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.ports
    }

    /// Returns why an address is wanted that other machines can reach. Without a reason all are this machine's own.
    pub fn exposed(&self) -> Option<&str> {
        self.exposed.as_deref()
    }
}

/// `[agent.X.action.NAME]`: a command outside the jail, exact to the argument, after the owner's yes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedAction {
    /// The name.
    pub name: String,
    /// The exact argument vector.
    pub run: Vec<String>,
    /// Where it was written.
    pub origin: Origin,
}

/// `[credential.NAME]`: a secret by name, never by value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// The name of the environment variable it appears under.
    pub name: String,
    /// The store that holds it: `vault`.
    pub from: String,
    /// The preset of endpoints it may go to.
    pub used_for: String,
    /// Where it was written.
    pub origin: Origin,
}

/// `[handoff.NAME]`: files passed from one agent to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handoff {
    /// The name.
    pub name: String,
    /// The agent, or role, that gives.
    pub from: String,
    /// The agent, or role, that takes.
    pub to: String,
    /// Where it was written.
    pub origin: Origin,
}

impl DlpMode {
    /// Returns the word of the file.
    pub fn word(self) -> &'static str {
        match self {
            DlpMode::Block => "block",
            DlpMode::Redact => "redact",
            DlpMode::Warn => "warn",
        }
    }
}
