//! `[alert]`: how the owner is told. Types only: `alert_judge` makes them. No secret stands here: each is named by its file
//! or by its name in the vault, and read by whoever sends.

use std::path::PathBuf;

use crate::place;
use crate::types::Origin;

/// How the owner is told.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Alert {
    /// A program and its arguments; the text comes on its standard input and in its environment.
    pub command: Vec<String>,
    /// Whether a notification appears on the desktop.
    pub is_on_desktop: bool,
    /// A server that takes JSON.
    pub webhook: Option<Webhook>,
    /// A topic of an ntfy server.
    pub ntfy: Option<Ntfy>,
    /// A chat of Telegram's.
    pub telegram: Option<Telegram>,
    /// An e-mail.
    pub email: Option<Email>,
    /// As many messages in one hour; what exceeds is summed in a later one.
    pub per_hour: u32,
    /// As many messages in one minute.
    pub burst: u32,
    /// Where it was written.
    pub origin: Origin,
}

impl Alert {
    /// The limits where the file says none, per hour and per minute.
    pub const USUAL: (u32, u32) = (20, 5);
}

/// Where a secret is. The policy never holds one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretRef {
    /// The only line of a file that nobody but its owner can read.
    File(PathBuf),
    /// A name in the vault.
    Vault(String),
}

/// A URL, which may itself be a secret: those of chat services are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UrlRef {
    /// As it stands in the policy.
    Plain(String),
    /// Kept elsewhere.
    Secret(SecretRef),
}

/// `[alert.webhook]`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Webhook {
    /// Where to.
    pub url: UrlRef,
    /// The key that messages are signed with.
    pub key: Option<SecretRef>,
}

/// `[alert.ntfy]`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ntfy {
    /// The server, without a slash at its end.
    pub url: String,
    /// The topic.
    pub topic: String,
    /// The access token.
    pub token: Option<SecretRef>,
}

/// `[alert.telegram]`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Telegram {
    /// The root of the Bot API, without a slash at its end.
    pub url: String,
    /// The chat's number, or its public name with `@`.
    pub chat: String,
    /// The bot's token.
    pub token: SecretRef,
}

/// `[alert.email]`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Email {
    /// Who writes.
    pub from: String,
    /// Who is written to.
    pub to: Vec<String>,
    /// By which way.
    pub via: MailVia,
}

/// The way of an e-mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MailVia {
    /// A program as sendmail(8).
    Program(PathBuf),
    /// A server for submission.
    Server {
        /// The host's name or address.
        host: String,
        /// Its port.
        port: u16,
        /// When the connection is encrypted.
        security: MailSecurity,
        /// The user and the password.
        login: Option<(String, SecretRef)>,
    },
}

/// When a connection to a mail server is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailSecurity {
    /// From its first byte.
    Tls,
    /// From STARTTLS on, which must succeed before anything else is said.
    StartTls,
    /// Never: this host's own server only.
    Loopback,
}

impl SecretRef {
    /// Says where it is, for a person: `file ~/x`, `vault NAME`.
    pub fn place(&self) -> String {
        match self {
            SecretRef::File(path) => format!("file {}", place::show(path)),
            SecretRef::Vault(name) => format!("vault {name}"),
        }
    }
}

impl MailSecurity {
    /// Returns the word of the file: the scheme of `server`.
    pub fn word(self) -> &'static str {
        match self {
            MailSecurity::Tls => "smtps",
            MailSecurity::StartTls => "starttls",
            MailSecurity::Loopback => "smtp",
        }
    }
}
