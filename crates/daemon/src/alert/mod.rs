//! The owner is told: what an alert says, by which channels it goes, how often, and what the ledger keeps of it.
//!
//! It reaches the network and starts programs, as the policy's `[alert]` names them; nothing that an agent chose is
//! ever more than text in a message. Secrets are read for each message, and appear in no error, log or argument.

mod channel;
mod http;
mod limit;
mod mail;
mod message;
mod outbox;
mod program;
mod secret;
mod smtp;
#[cfg(test)]
mod tests;
mod text;

use std::time::Duration;

pub use channel::{Channel, Settings, configured, send_once};
pub use outbox::{Alerter, Record, into_ledger, settled};
pub use secret::{Secret, SecretError, VaultLookup};
pub use text::Alert;

/// Why an alert did not go by one channel. No variant holds a secret, a URL, or what a server said beyond a number.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The channel's secret cannot be used.
    #[error("{0}")]
    Secret(#[from] SecretError),
    /// The URL that is kept as a secret is none for alerts.
    #[error("the URL is refused: {0}")]
    Url(String),
    /// The server answered with another status than success.
    #[error("the server answered {status}{hint}")]
    Status {
        /// The status.
        status: u16,
        /// What it often means.
        hint: &'static str,
    },
    /// The server points elsewhere: a message with a token is not carried to a place nobody named.
    #[error("the server answered {0}, a redirect, which is not followed\nhint: write the URL it redirects to")]
    Redirect(u16),
    /// No connection, or one that broke.
    #[error("{0}")]
    Network(String),
    /// It took too long.
    #[error("no answer within {} s", .0.as_secs_f32())]
    Timeout(Duration),
    /// The mail server refused.
    #[error("the mail server answered {code} to {step}")]
    Mail {
        /// Its reply code.
        code: u16,
        /// What was said to it.
        step: &'static str,
    },
    /// The mail server does not do what the policy asks for.
    #[error("the mail server {0}")]
    MailServer(&'static str),
    /// The program cannot be started, or must not be.
    #[error("{program} {why}")]
    Program {
        /// The program, escaped.
        program: String,
        /// Why.
        why: String,
    },
    /// The program ended with a failure.
    #[error("{program} ended with {status}")]
    Ended {
        /// The program, escaped.
        program: String,
        /// Its exit code or signal.
        status: String,
    },
}

impl SendError {
    /// Whether the same message will fail in the same way again.
    fn is_final(&self) -> bool {
        match self {
            SendError::Network(_) | SendError::Timeout(_) | SendError::Ended { .. } => false,
            SendError::Status { status, .. } => !matches!(status, 408 | 425 | 429 | 500..=599),
            SendError::Mail { code, .. } => !(400..500).contains(code),
            _ => true,
        }
    }
}

/// How long one try may take, and the pauses before the next ones.
#[derive(Debug, Clone)]
struct Pace {
    timeout: Duration,
    pauses: [Duration; 2],
}

impl Default for Pace {
    fn default() -> Self {
        Pace { timeout: Duration::from_secs(10), pauses: [Duration::from_secs(2), Duration::from_secs(15)] }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |hex, byte| hex + &format!("{byte:02x}"))
}
