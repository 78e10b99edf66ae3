//! The evidence: one [`Entry`] per decision, written as JSON Lines.
//!
//! The type is pure; the writer beside it appends under the owner's state directory and nowhere else.
//! Text that comes from an agent is escaped and masked by the caller before it gets here.

#![forbid(unsafe_code)]

mod book;
mod escape;
mod follow;
mod place;
mod reader;
mod time;
mod word;
mod writer;

use serde::{Deserialize, Serialize};

pub use book::Book;
pub use escape::{escape, escape_json, shorten};
pub use follow::Follower;
pub use place::{FILE_NAME, ledger_dir};
pub use reader::{Line, ReadError, Reader};
pub use time::rfc3339;
pub use word::posix_word;
pub use writer::{AppendError, OpenError, Writer};

/// One line of the ledger. New kinds of entries add variants to [`Kind`]; the envelope stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The version of this format: 1.
    pub v: u32,
    /// Wall-clock time of the end of the call, RFC 3339 with milliseconds, UTC.
    pub time: String,
    /// The agent's name.
    pub agent: String,
    /// The hash of the compiled policy that decided.
    pub policy: String,
    /// What happened.
    #[serde(flatten)]
    pub kind: Kind,
    /// The place in a hash chain, once a chain is kept; absent until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<Link>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Kind {
    /// A command ran in a jail, or was refused.
    Exec(Exec),
    /// A client asked about one of its tools, or told of it.
    Tool(Tool),
    /// A jail used its way out, or was refused; or somebody came in through what is published.
    Egress(Egress),
}

/// What passed the border of a jail's network, or was refused there. Never a path, a query or a header.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Egress {
    /// The call's id; absent for a proxy that serves no jail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    /// `passed` or `refused`.
    pub outcome: String,
    /// How it was asked for: `dns`, `direct`, `connect`, `socks`, `absolute`, `publish`; `policy` for a reload; `various`
    /// for many that are one entry.
    pub way: String,
    /// What was asked for, as `host:port`, escaped.
    pub host: String,
    /// The rule that allowed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The address that was dialled last, or the peer's of what is published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Bytes outwards.
    #[serde(default)]
    pub up: u64,
    /// Bytes inwards.
    #[serde(default)]
    pub down: u64,
    /// How often it happened since the entry before it: the same again within seconds is one entry.
    #[serde(default = "once")]
    pub count: u64,
}

fn once() -> u64 {
    1
}

/// A tool of a client: what was decided before it ran, or that it ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tool {
    /// The client's id.
    pub client: String,
    /// The tool, escaped.
    pub tool: String,
    /// `allowed`, `denied`, `jailed` (a command that was put into a jail), `ran` or `failed`.
    pub decision: String,
    /// The rule that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Why it was denied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The client's session, masked and escaped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The agent or subagent by the client's own name for it, masked and escaped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Its arguments in short, masked and escaped.
    pub input: String,
}

/// A command that ran or was refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exec {
    /// The call's id, as in the journal and the report.
    pub call: String,
    /// The command, masked and escaped.
    pub command: String,
    /// The client's session that asked for it, masked and escaped; absent when the client named none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The client's run (turn) that asked for it, masked and escaped; absent when the client named none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The tier that was enforced: `full`, `landlock` or `refused`.
    pub tier: String,
    /// Each mechanism and what was really enforced of it: `full`, `partial: ...`, `none: ...`.
    pub mechanisms: std::collections::BTreeMap<String, String>,
    /// The exit code the caller saw.
    pub exit: i32,
    /// Why it was refused or ended, if Mantlet did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Milliseconds from start to the end of the review.
    pub duration_ms: u64,
    /// Bytes of standard output and standard error; absent when the client died before it could tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_out: Option<u64>,
    /// Paths that the review reported, escaped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<String>,
}

/// The place of an entry in a chain: reserved for the signed ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// The position, from 0.
    pub seq: u64,
    /// The SHA-256 of the previous line, in hex.
    pub prev: String,
}
