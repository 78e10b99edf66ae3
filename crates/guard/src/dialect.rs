//! A client's hook event in, its own words for an answer out. Pure: bytes and values, no file and no process.
//!
//! One file per family of clients. What is not understood whole is an error, which whoever asks must turn into a denial.

mod claude;
mod copilot;
mod cursor;
mod gemini;
mod plugin;
mod strict;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::Denial;

pub use strict::{MAX_BYTES, MAX_DEPTH, StrictError};

/// When a hook is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before a tool runs: the answer decides.
    Before,
    /// After a tool ran: the answer changes nothing.
    After,
    /// Anything else that a hook can be told.
    Other,
}

/// The MCP server of a tool, as far as the event tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its name in the client's settings.
    pub name: String,
    /// The command that started it, where the client says it: the program and its arguments.
    pub command: Option<Vec<String>>,
}

/// What a client's hook was told.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// When.
    pub moment: Moment,
    /// The tool; empty when the event is about none.
    pub tool: String,
    /// Its arguments.
    pub input: Map<String, Value>,
    /// Where the client stands. Absolute, and always there before a tool.
    pub cwd: PathBuf,
    /// The client's session.
    pub session: Option<String>,
    /// The agent or subagent that calls, by the client's own name for it.
    pub agent: Option<String>,
    /// The MCP server of the tool.
    pub server: Option<Server>,
    /// Whether the client says that the tool failed.
    pub has_failed: bool,
    reply: Reply,
}

/// The words of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reply {
    /// `hookSpecificOutput` with the event's name: Claude Code, Codex, Copilot's `PreToolUse`.
    Nested(&'static str),
    /// Gemini CLI.
    Gemini,
    /// Copilot's own.
    Flat,
    /// Cursor. Whether the event takes another input.
    Cursor { takes_input: bool },
    /// One of our plugins; the key of the arguments.
    Plugin(&'static str),
    /// Nothing is decided by this event.
    Empty,
}

/// What a client is told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict<'v> {
    /// Nothing stands against it: the client goes on as it would without us.
    Pass,
    /// The tool may not run.
    Deny(&'v Denial),
    /// The tool runs with these arguments instead, and the client need not ask its user.
    Rewrite(&'v Map<String, Value>),
}

/// What goes to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// For standard output, to be written whole.
    pub stdout: String,
    /// For standard error.
    pub stderr: String,
    /// The exit code when all of standard output was written; [`blocking_code`] otherwise.
    pub code: u8,
}

/// Why an event was not understood.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialectError {
    /// There is no dialect for the client.
    #[error("there is no hook for {client:?}")]
    UnknownClient {
        /// The id as given.
        client: String,
    },
    /// It is no JSON that has one meaning.
    #[error(transparent)]
    Json(#[from] StrictError),
    /// A field is missing or has another type.
    #[error("the event has no {wanted} `{field}`")]
    Field {
        /// Its name.
        field: &'static str,
        /// What it should be.
        wanted: &'static str,
    },
    /// The event is not one of the client's.
    #[error("the event {event:?} is not known")]
    UnknownEvent {
        /// Its name.
        event: String,
    },
    /// Two fields contradict each other.
    #[error("the tool {tool:?} is not one of the MCP server {server:?}")]
    ForeignServer {
        /// The tool.
        tool: String,
        /// The server.
        server: String,
    },
}

/// The exit code by which a client blocks a tool. Gemini CLI takes it only together with text on standard error.
#[must_use]
pub fn blocking_code(_client: &str) -> u8 {
    // Claude Code, Codex, Copilot and Cursor document 2; Gemini CLI blocks from 2 on, our plugins from 1 on.
    2
}

/// Reads the event that a client's hook got on standard input.
///
/// # Errors
/// Whatever is not wholly understood.
pub fn parse(client: &str, bytes: &[u8]) -> Result<Event, DialectError> {
    let read = match client {
        "claude" | "codex" => claude::read,
        "gemini" => gemini::read,
        "copilot" => copilot::read,
        "cursor" => cursor::read,
        "opencode" => plugin::opencode,
        "openclaw" => plugin::openclaw,
        _ => return Err(DialectError::UnknownClient { client: client.to_owned() }),
    };
    read(&mut Fields(strict::object(bytes)?))
}

impl Event {
    /// Renders a verdict in the client's words.
    #[must_use]
    pub fn answer(&self, verdict: Verdict<'_>) -> Answer {
        let value = match self.reply {
            Reply::Nested(event) => claude::answer(event, verdict),
            Reply::Gemini => gemini::answer(verdict),
            Reply::Flat => copilot::answer(verdict),
            Reply::Cursor { takes_input } => cursor::answer(takes_input, verdict),
            Reply::Plugin(key) => plugin::answer(key, verdict),
            Reply::Empty => Value::Object(Map::new()),
        };
        let stderr = match verdict {
            Verdict::Deny(denial) => sentence(denial),
            Verdict::Pass | Verdict::Rewrite(_) => String::new(),
        };
        Answer { stdout: format!("{value}\n"), stderr, code: 0 }
    }

    /// Whether the client can be given other arguments by this event.
    #[must_use]
    pub fn takes_input(&self) -> bool {
        !matches!(self.reply, Reply::Empty | Reply::Cursor { takes_input: false })
    }

    fn new(moment: Moment, reply: Reply) -> Event {
        Event {
            moment,
            tool: String::new(),
            input: Map::new(),
            cwd: PathBuf::new(),
            session: None,
            agent: None,
            server: None,
            has_failed: false,
            reply,
        }
    }
}

/// What a person and a model read of a denial.
#[must_use]
pub fn sentence(denial: &Denial) -> String {
    let mut text = format!("mantlet: {} ({})", denial.reason, denial.rule);
    if let Some(hint) = &denial.hint {
        text.push_str("\nhint: ");
        text.push_str(hint);
    }
    text
}

/// The fields of an event, taken one after another.
struct Fields(Map<String, Value>);

impl Fields {
    fn text(&mut self, field: &'static str) -> Result<String, DialectError> {
        self.maybe_text(field)?.ok_or(DialectError::Field { field, wanted: "string" })
    }

    /// Absent and `null` are the same; another type is an error.
    fn maybe_text(&mut self, field: &'static str) -> Result<Option<String>, DialectError> {
        match self.0.remove(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(DialectError::Field { field, wanted: "string" }),
        }
    }

    fn object(&mut self, field: &'static str) -> Result<Map<String, Value>, DialectError> {
        match self.0.remove(field) {
            Some(Value::Object(map)) => Ok(map),
            _ => Err(DialectError::Field { field, wanted: "object" }),
        }
    }

    fn maybe_object(&mut self, field: &'static str) -> Result<Option<Map<String, Value>>, DialectError> {
        match self.0.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(_) => self.object(field).map(Some),
        }
    }

    fn name(&mut self, field: &'static str) -> Result<String, DialectError> {
        self.text(field).and_then(|name| match name.is_empty() {
            true => Err(DialectError::Field { field, wanted: "name in" }),
            false => Ok(name),
        })
    }

    fn directory(&mut self, field: &'static str) -> Result<PathBuf, DialectError> {
        let path = PathBuf::from(self.text(field)?);
        match is_directory_name(&path) {
            true => Ok(path),
            false => Err(DialectError::Field { field, wanted: "absolute path in" }),
        }
    }
}

/// An absolute path without a NUL, which would end it early for the kernel.
fn is_directory_name(path: &Path) -> bool {
    path.is_absolute() && !path.as_os_str().as_encoded_bytes().contains(&0)
}

#[cfg(test)]
mod tests;
