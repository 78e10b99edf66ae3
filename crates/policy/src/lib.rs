//! `mantlet.toml` parsed and validated into a [`Policy`].
//!
//! Pure: text in, values out. It touches the host only through [`Host`], never opens a file,
//! never reads the environment. A `Policy` can only be made by validation.
#![forbid(unsafe_code)]

pub mod address;
mod advice;
mod agent;
mod alert;
mod alert_judge;
mod diff;
mod edit;
mod egress;
mod error;
mod evidence;
mod explain;
mod file;
mod globs;
mod hash;
pub mod layout;
mod limits;
mod names;
mod pattern;
mod place;
mod read;
mod roles;
mod rules;
mod schema;
mod sections;
mod shown;
#[cfg(test)]
mod tests;
mod types;
mod units;
mod validate;

pub use advice::{Advice, advise};
pub use alert::{Alert, Email, MailSecurity, MailVia, Ntfy, SecretRef, Telegram, UrlRef, Webhook};
pub use alert_judge::alert_url;
pub use diff::unified;
pub use edit::{AllowError, Edit, Grant, allow, starter, would_help};
pub use egress::{Budget, Egress, HttpRule, Local, Protocol};
pub use error::{Fault, PolicyError, PolicyErrors};
pub use evidence::{Anchor, Ledger, Then, Watch};
pub use explain::{Enforced, Sentence, explain, for_agent};
pub use globs::Rules;
pub use roles::{MEMORY, PRESETS, Preset};
pub use schema::schema;
pub use sections::*;
pub use shown::{Opened, Unresolved, named_outside, opened};
pub use types::*;
pub use validate::{default_policy, parse};
