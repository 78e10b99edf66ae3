//! The answer to one tool call.

/// What is done with a tool call.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Decision {
    /// It may run as it is; the rule that says so.
    Allow(String),
    /// It may not run.
    Deny(Denial),
}

/// Why a tool call may not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The rule that decided, as a person would name it.
    pub rule: String,
    /// What was refused, escaped.
    pub reason: String,
    /// The way out: the one `mantlet allow` that would change it, or what else to do.
    pub hint: Option<String>,
}
