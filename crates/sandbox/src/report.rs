//! The honest report of a call: what was enforced, not what was asked.

use serde::{Deserialize, Serialize};

use crate::budget::Budget;
use crate::ids::Ids;
use crate::request::Kind;
use crate::tier::{Mechanisms, Tier};
use crate::whole::Told;

/// Something the review found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Finding {
    /// Relative to the workspace, escaped.
    pub path: String,
    /// The rule of the table, or of the policy.
    pub rule: String,
    /// What would execute or obey it.
    pub runs: String,
    /// Why that matters: a CVE or a reason.
    pub reason: String,
    /// What was done: `listed`, `reported`, `quarantined to ...`, or why that failed.
    pub action: String,
    /// The call that would allow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<String>,
    /// What to do where no call would allow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The path's own bytes, relative to the workspace.
    #[serde(skip)]
    pub(crate) raw: Vec<u8>,
}

/// How a denied or protected thing was held.
#[derive(Debug, Clone, Serialize)]
pub struct Held {
    /// The path, escaped.
    pub path: String,
    /// The rule.
    pub rule: String,
    /// `prevented` by a mount, or `undone` by monitor and review.
    pub how: &'static str,
}

/// The report of one call.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The version of this format: 1.
    pub v: u32,
    /// The call's id.
    pub call: String,
    /// The agent.
    pub agent: String,
    /// The hash of the compiled policy.
    pub policy: String,
    /// Whether it was a command or a service.
    pub kind: Kind,
    /// The limits it had; absent when it was refused before there was a plan.
    pub limits: Option<Budget>,
    /// What was made of a whole agent's run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub whole: Option<Told>,
    /// What the call ran with; absent when it was refused.
    pub tier: Option<Tier>,
    /// The ids of the jail.
    pub ids: Option<Ids>,
    /// Each mechanism, and how far it was enforced.
    pub mechanisms: Mechanisms,
    /// Denied things.
    pub deny: Vec<Held>,
    /// Protected things; `undone` for names that did not exist.
    pub protect: Vec<Held>,
    /// What the review found.
    pub findings: Vec<Finding>,
    /// Windows and other things worth knowing.
    pub notes: Vec<String>,
    /// The exit code of the call.
    pub exit: i32,
    /// Why Mantlet refused or ended the call.
    pub reason: Option<String>,
    /// Milliseconds.
    pub duration_ms: u64,
    /// Bytes of standard output and error, unknown when the client died.
    pub bytes_out: Option<u64>,
}

impl Report {
    /// Of a call that was refused before there was a plan.
    pub(crate) fn refusal(agent: &str, reason: String) -> Report {
        Report {
            v: 1,
            call: String::new(),
            agent: agent.to_owned(),
            policy: String::new(),
            kind: Kind::default(),
            limits: None,
            whole: None,
            tier: None,
            ids: None,
            mechanisms: Mechanisms::new(),
            deny: Vec::new(),
            protect: Vec::new(),
            findings: Vec::new(),
            notes: Vec::new(),
            exit: crate::outcome::REFUSED,
            reason: Some(reason),
            duration_ms: 0,
            bytes_out: None,
        }
    }
}

/// What the monitor tells the client at the end.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) code: i32,
    /// Lines for standard error.
    pub(crate) messages: Vec<String>,
    /// The report as JSON text.
    pub(crate) report: String,
}
