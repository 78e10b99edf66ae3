//! What an install is going to do: files, edits in them, and the attack that each one stops. Data.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::lent::Row;
use crate::op::{Format, Op};

/// Whose settings are changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The calling user's.
    User,
    /// The machine's, which a user's or a repository's settings cannot overrule.
    Managed,
}

impl Level {
    /// Returns its name, as in arguments and file names.
    pub fn name(self) -> &'static str {
        match self {
            Level::User => "user",
            Level::Managed => "managed",
        }
    }
}

/// One edit, or one whole file, with the reason for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The attack it stops, in one sentence.
    pub stops: String,
    /// The edit; none when the whole file is the change.
    pub op: Option<Op>,
}

/// One file.
#[derive(Debug, Clone, PartialEq)]
pub struct FilePlan {
    /// Its absolute name, links not resolved.
    pub path: PathBuf,
    /// What it is made to say.
    pub content: Content,
    /// The edits in it, or the one reason for the whole.
    pub changes: Vec<Change>,
}

/// What a file is made to say.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// What it says already, with the edits of the plan.
    Edited(Format),
    /// This text, in a file that is Mantlet's own.
    Whole {
        /// The text.
        text: String,
        /// Whether it is a program.
        is_program: bool,
    },
    /// A database, with edits in the JSON texts of these rows.
    Rows(Vec<(Row, Vec<Op>)>),
    /// Nothing: the file is removed.
    Gone,
}

/// Everything that one install changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The client's id.
    pub client: String,
    /// Whose settings.
    pub level: Level,
    /// The files, in the order in which they are written: what takes effect comes after what it needs.
    pub files: Vec<FilePlan>,
    /// Files that an earlier install changed and that stay as they are until uninstall: the owner's to edit since.
    pub keep: Vec<PathBuf>,
}

impl FilePlan {
    /// A file of our own.
    pub fn whole(path: PathBuf, text: impl Into<String>, stops: impl Into<String>) -> FilePlan {
        let content = Content::Whole { text: text.into(), is_program: false };
        FilePlan { path, content, changes: vec![Change { stops: stops.into(), op: None }] }
    }

    /// A program of our own.
    pub fn program(path: PathBuf, text: impl Into<String>, stops: impl Into<String>) -> FilePlan {
        let content = Content::Whole { text: text.into(), is_program: true };
        FilePlan { path, content, changes: vec![Change { stops: stops.into(), op: None }] }
    }

    /// A file that is edited.
    pub fn edited(path: PathBuf, format: Format) -> FilePlan {
        FilePlan { path, content: Content::Edited(format), changes: Vec::new() }
    }

    /// A database whose rows are edited.
    pub fn rows(path: PathBuf, rows: Vec<(Row, Vec<Op>)>, stops: impl Into<String>) -> FilePlan {
        FilePlan { path, content: Content::Rows(rows), changes: vec![Change { stops: stops.into(), op: None }] }
    }

    /// A file that is removed.
    pub fn gone(path: PathBuf, stops: impl Into<String>) -> FilePlan {
        FilePlan { path, content: Content::Gone, changes: vec![Change { stops: stops.into(), op: None }] }
    }

    /// Adds an edit.
    #[must_use]
    pub fn with(mut self, op: Op, stops: impl Into<String>) -> FilePlan {
        self.changes.push(Change { stops: stops.into(), op: Some(op) });
        self
    }

    /// Adds: the value at this path.
    #[must_use]
    pub fn set(mut self, path: &[&str], value: impl Into<serde_json::Value>, stops: &str) -> FilePlan {
        let op = Op::Set { path: names(path), value: value.into() };
        self.changes.push(Change { stops: stops.into(), op: Some(op) });
        self
    }

    /// Adds: an element of the array at this path.
    #[must_use]
    pub fn append(mut self, path: &[&str], value: impl Into<serde_json::Value>, stops: &str) -> FilePlan {
        let op = Op::Append { path: names(path), value: value.into() };
        self.changes.push(Change { stops: stops.into(), op: Some(op) });
        self
    }

    pub(crate) fn ops(&self) -> Vec<Op> {
        self.changes.iter().filter_map(|change| change.op.clone()).collect()
    }
}

fn names(path: &[&str]) -> Vec<String> {
    path.iter().map(|name| (*name).to_owned()).collect()
}

/// Returns a diff that may be shown: secrets masked, everything invisible spelled out, line by line.
pub(crate) fn shown(diff: &str) -> String {
    let mut out = String::new();
    for line in diff.lines() {
        let masked = mantlet_dlp::mask(&hide_named(line)).into_owned();
        // Writing to a String cannot fail.
        writeln!(out, "{}", mantlet_ledger::escape(masked.as_bytes())).ok();
    }
    out
}

/// What a settings file itself calls a secret, whatever it looks like.
const SECRET_NAMES: &[&str] = &["key", "token", "secret", "passw", "credential", "auth", "cookie"];

/// Masks each text behind a name that announces a secret: `"apiKey": "..."`, `token = '...'`, also in one long line.
fn hide_named(line: &str) -> String {
    let mut out = String::new();
    let (mut word, mut is_secret) = (String::new(), false);
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        out.push(c);
        match c {
            '"' | '\'' => {
                let (inner, after) = literal(rest, c);
                let is_name = after.get(1..).unwrap_or_default().trim_start().starts_with([':', '=']);
                out.push_str(if is_secret && !is_name && !inner.is_empty() { "[masked]" } else { inner });
                word = inner.to_lowercase();
                rest = after;
                if let Some(close) = rest.strip_prefix(c) {
                    out.push(c);
                    rest = close;
                }
            }
            ':' | '=' => {
                is_secret = SECRET_NAMES.iter().any(|secret| word.contains(secret));
                word.clear();
            }
            c if c.is_alphanumeric() || matches!(c, '_' | '-') => word.extend(c.to_lowercase()),
            ' ' | '\t' => {}
            _ => word.clear(),
        }
    }
    out
}

/// Splits what is inside a quoted text from what follows it, its closing quote included.
fn literal(text: &str, quote: char) -> (&str, &str) {
    let mut is_escaped = false;
    let end = text.find(|c| {
        let is_end = c == quote && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        is_end
    });
    text.split_at(end.unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_the_lines_around_are_not_shown() {
        let diff =
            " {\n   \"apiKey\": \"abc-plain-value\",\n   token = 'x y'\n+  \"hooks\": {},\n   \"env\": \"\u{1b}[2J\"\n";
        let text = shown(diff);
        assert!(!text.contains("abc-plain") && !text.contains("x y") && !text.contains('\u{1b}'), "{text}");
        assert!(text.contains("+  \"hooks\": {},"), "{text}");
        let line =
            "+{\"hooks\":{\"x\":\"seen\"},\"botToken\":\"a\\\"b\",\"n\":\"seen\",\"tokens\":[\"c\"],\"auth\":\"open";
        let masked = "+{\"hooks\":{\"x\":\"seen\"},\"botToken\":\"[masked:named-secret]\",\"n\":\"seen\",\"tokens\":[\"[masked]\"],\"auth\":\"[masked:named-secret]\n";
        assert_eq!(shown(line), masked);
    }
}
