//! What one line of the ledger says. Pure data: text is escaped and masked by whoever makes an entry.

use serde::{Deserialize, Serialize};

/// One line of the ledger. New kinds of entries add variants to [`Kind`]; the envelope stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The version of this format: 1.
    pub v: u32,
    /// Wall-clock time of the end of the call, RFC 3339 with milliseconds, UTC.
    pub time: String,
    /// The agent's name; `-` where the entry is of none.
    pub agent: String,
    /// The hash of the compiled policy that decided; `-` where none did.
    pub policy: String,
    /// What happened.
    #[serde(flatten)]
    pub kind: Kind,
    /// The place in the hash chain; given by the writer. Absent in what older versions wrote.
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
    /// A protected file differed from its baseline.
    Change(Change),
    /// The owner was told of something, or could not be.
    Alert(Alert),
    /// Everything was stopped, or may go on.
    Halt(Halt),
    /// The ledger writes of itself: what a reader must know to believe the rest.
    Ledger(Upkeep),
}

/// A protected file or a key in it differed from the signed baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The path, escaped.
    pub path: String,
    /// What was done to it: `written`, `replaced`, `deleted`, `made`, `moved`, `linked`, `mounted`, `mode`, `owner`,
    /// `xattr`, `attributes`, `keys`, `rows`.
    pub what: String,
    /// `undone`, `reported` (it stands: the privilege does not suffice), `accepted` (by the owner, or no security key is
    /// in it), `locked` (the file was made unchangeable after too many tries).
    pub outcome: String,
    /// How it was noticed: `inotify`, `fanotify`, `rescan`, `start`.
    pub noticed: String,
    /// Milliseconds from the notice to the undoing or to the report.
    pub took_ms: u64,
    /// The SHA-256 of the baseline's content, in hex; absent where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The SHA-256 of what was found, in hex; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// The keys or rows that differed, escaped; never their values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// Who did it, where the kernel said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub culprit: Option<Culprit>,
    /// Where what was found is kept for study, escaped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<String>,
    /// Why it was not undone, or not wholly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How often it happened since the entry before it.
    #[serde(default = "once")]
    pub count: u64,
}

/// The process that changed something, as it was when it was looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Culprit {
    /// Its process id in the watcher's namespace.
    pub pid: i32,
    /// Its user id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Its executable, escaped; absent when it had ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exe: Option<String>,
    /// The call in whose jail it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
}

/// What the owner was told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// By which way: `desktop`, `command`, `webhook`, `ntfy`, `telegram`, `email`.
    pub channel: String,
    /// `sent`, `failed`, `held` (more than the rate limit lets through).
    pub outcome: String,
    /// The first line of what was told, masked and escaped.
    pub subject: String,
    /// Why it was not sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How many this entry stands for.
    #[serde(default = "once")]
    pub count: u64,
}

/// The kill switch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Halt {
    /// `halt` or `resume`.
    pub action: String,
    /// `owner`, or `watch` after too many tries.
    pub by: String,
    /// Why, masked and escaped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How many jails were ended.
    #[serde(default)]
    pub ended: u64,
    /// How many could not be ended.
    #[serde(default)]
    pub left: u64,
}

/// What the ledger did to itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Upkeep {
    /// `checkpoint`, `torn` (what a killed writer began was cut off), `foreign` (what stands before is no entry of the
    /// chain, and is left), `dropped` (old segments were removed to stay within the bound).
    pub event: String,
    /// Bytes that were cut, left or removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// The SHA-256 of what was cut or left, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The last entry that was removed, and its hash: what the oldest one kept must follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<Head>,
    /// The Ed25519 public key of a checkpoint, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The Ed25519 signature (RFC 8032) of the entry before this one, in hex: see [`Head::signed_text`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

/// An entry of the chain by its place and hash: all that must be kept elsewhere to notice a truncation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The position, from 0.
    pub seq: u64,
    /// The entry's own hash, in hex.
    pub hash: String,
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

/// The place of an entry in the chain. It is the last thing on a line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// The position, from 0.
    pub seq: u64,
    /// The hash of the entry before, in hex; zeros in the first one.
    pub prev: String,
    /// The SHA-256 of this line up to the end of `prev`, in hex.
    pub hash: String,
}

impl Head {
    /// What a checkpoint signs: nothing else is signed in this form with the same key.
    #[must_use]
    pub fn signed_text(&self) -> String {
        format!("mantlet ledger checkpoint 1\n{}\n{}\n", self.seq, self.hash)
    }
}
