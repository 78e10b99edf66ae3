//! The `mantlet allow` call that a denial prints: whole, quoted for any shell, and only where it would help.
//!
//! A call that is refused, or that changes another file than the one in force, would teach people to widen by hand.

use std::path::Path;

use crate::edit::{AllowError, Grant, would_help};
use crate::types::{Agent, Host};

/// What would help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advice {
    /// This call, run as it is.
    Call(String),
    /// No call: what a person must do, and why.
    Words(String),
}

impl Advice {
    /// Returns the line for the person.
    pub fn into_line(self) -> String {
        match self {
            Advice::Call(text) | Advice::Words(text) => text,
        }
    }
}

/// Says what would give an agent what it was denied. `source` are the words that make the call speak of the policy in
/// force; `quote` makes one word for a shell.
pub fn advise(agent: &Agent, grant: &Grant, host: &dyn Host, source: &str, quote: fn(&Path) -> String) -> Advice {
    let (flag, value) = match grant {
        Grant::Read(text) => ("--read", text),
        Grant::Write(text) => ("--write", text),
        Grant::Env(text) => ("--env", text),
        Grant::Host(text) => ("--host", text),
        Grant::Tool(text) => ("--tool", text),
    };
    match would_help(agent, grant, host) {
        Ok(true) => {
            let name = agent.name();
            Advice::Call(format!("mantlet allow{source} --agent {name} {flag} {}", quote(Path::new(value))))
        }
        Ok(false) => Advice::Words("the policy opens it already".into()),
        Err(error) => Advice::Words(error.on_one_line()),
    }
}

impl AllowError {
    /// Returns why the grant would be refused and what to do about it, on one line.
    pub fn on_one_line(&self) -> String {
        let text = self.to_string().replace('\n', "; ");
        self.hint().map_or_else(|| text.clone(), |hint| format!("{text}: {hint}"))
    }
}
