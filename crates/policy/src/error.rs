//! What can be wrong with a policy, where it is written, and what to do about it.
//!
//! Every text that comes from the file is escaped before it is put into a message.

use std::fmt;
use std::path::{Path, PathBuf};

/// One thing that is wrong with a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The text is not TOML.
    #[error("not valid TOML: {0}")]
    Syntax(String),
    /// A key that the format does not have.
    #[error("unknown key `{key}` in {section}")]
    UnknownKey {
        /// The key, escaped.
        key: String,
        /// The section it stands in.
        section: String,
    },
    /// A key that must be there is not.
    #[error("{section} has no `{key}`")]
    MissingKey {
        /// The key.
        key: &'static str,
        /// The section.
        section: String,
    },
    /// A value of another type.
    #[error("`{key}` must be {wanted}, not {found}")]
    WrongType {
        /// The key.
        key: String,
        /// What belongs there.
        wanted: &'static str,
        /// What is there.
        found: &'static str,
    },
    /// A value that is not among the possible ones.
    #[error("`{key}` cannot be `{value}`")]
    UnknownValue {
        /// The key.
        key: String,
        /// The value, escaped.
        value: String,
    },
    /// A value of the right type that does not parse, or is out of range.
    #[error("bad {what} `{value}`: {why}")]
    BadValue {
        /// What it should be: `host`, `glob`, `duration`...
        what: &'static str,
        /// The value, escaped.
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// A workspace that would hand the agent more than a workspace.
    #[error("workspace `{path}` {why}")]
    Workspace {
        /// The workspace, escaped.
        path: String,
        /// Why it is refused.
        why: String,
    },
    /// A path rule that would open what no rule may open.
    #[error("`{key}` cannot open `{path}`: it {why}")]
    Opens {
        /// `read` or `write`.
        key: &'static str,
        /// The path, escaped.
        path: String,
        /// Why it is refused.
        why: String,
    },
    /// Two parts of the policy that exclude each other.
    #[error("{0}")]
    Conflict(String),
}

/// A [`Fault`] at its place in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError {
    /// The line, from 1; 0 when the policy does not come from a file.
    pub line: usize,
    /// The column in characters, from 1; 0 when the policy does not come from a file.
    pub column: usize,
    /// What is wrong.
    pub fault: Fault,
    /// What to do about it.
    pub hint: String,
}

/// Everything that is wrong with a policy, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyErrors {
    origin: PathBuf,
    errors: Vec<PolicyError>,
    left_out: usize,
}

/// As many errors as somebody reads. A damaged file can have one in every byte.
const MOST_ERRORS: usize = 20;

impl PolicyErrors {
    /// Returns the file that was judged.
    pub fn origin(&self) -> &Path {
        &self.origin
    }
    /// Returns the first errors, at least one, in the order of the file.
    pub fn errors(&self) -> &[PolicyError] {
        &self.errors
    }
}

impl fmt::Display for PolicyErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = escape(&self.origin.to_string_lossy());
        for (index, error) in self.errors.iter().enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            match error.line {
                0 => write!(f, "{newline}{}", error.fault)?,
                line => write!(f, "{newline}{origin}:{line}:{}: {}", error.column, error.fault)?,
            }
            write!(f, "\n  hint: {}", error.hint)?;
        }
        if self.left_out > 0 {
            write!(f, "\nand {} more errors", self.left_out)?;
        }
        Ok(())
    }
}

impl std::error::Error for PolicyErrors {}

/// Collects faults while a policy is read, so that one run shows all of them.
pub(crate) struct Faults<'t> {
    text: &'t str,
    /// Where each line begins, so that a long file is not counted through for every rule.
    lines: Vec<usize>,
    /// Where a value that was never written belongs: the default policy has no text.
    is_written: bool,
    found: Vec<(usize, Fault, String)>,
}

impl<'t> Faults<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Faults { text, lines, is_written: true, found: Vec::new() }
    }

    pub(crate) fn unwritten() -> Self {
        Faults { text: "", lines: vec![0], is_written: false, found: Vec::new() }
    }

    pub(crate) fn add(&mut self, at: usize, fault: Fault, hint: impl Into<String>) {
        self.found.push((at, fault, hint.into()));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Returns the line of a byte offset, from 1.
    pub(crate) fn line(&self, at: usize) -> usize {
        self.lines.partition_point(|begin| *begin <= at)
    }

    pub(crate) fn into_errors(mut self, origin: &Path) -> PolicyErrors {
        self.found.sort_by_key(|(at, _, _)| *at);
        let mut found = std::mem::take(&mut self.found);
        let left_out = found.len().saturating_sub(MOST_ERRORS);
        found.truncate(MOST_ERRORS);
        let errors = found
            .into_iter()
            .map(|(at, fault, hint)| match self.is_written {
                true => PolicyError { line: self.line(at), column: self.column(at), fault, hint },
                false => PolicyError { line: 0, column: 0, fault, hint },
            })
            .collect();
        PolicyErrors { origin: origin.to_owned(), errors, left_out }
    }

    fn column(&self, at: usize) -> usize {
        let start = self.lines.get(self.line(at) - 1).copied().unwrap_or(0);
        1 + self.text.get(start..at.min(self.text.len())).map_or(0, |before| before.chars().count())
    }
}

/// Makes text from outside safe for a terminal: control characters and quotes become escapes.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\'' | '"' => out.push(c),
            c => out.extend(c.escape_debug()),
        }
    }
    out
}

/// Returns the candidate nearest to `word`, when it is near enough to be what was meant.
pub(crate) fn nearest<'c>(word: &str, candidates: &[&'c str]) -> Option<&'c str> {
    // A key of a megabyte would make the quadratic distance the slow part of a refusal.
    if word.len() > 64 {
        return None;
    }
    let (distance, best) = candidates.iter().map(|c| (distance(word, c), *c)).min()?;
    (distance <= 1 + best.len() / 4).then_some(best)
}

/// The Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substitute = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_its_key_and_nonsense_finds_none() {
        assert_eq!(nearest("worspace", &["role", "workspace"]), Some("workspace"));
        assert_eq!(nearest("rolle", &["role", "workspace"]), Some("role"));
        assert_eq!(nearest("banana", &["role", "workspace"]), None);
    }

    #[test]
    fn columns_count_characters() {
        let faults = Faults::new("a = 1\nä = 2");
        assert_eq!((faults.line(9), faults.column(9)), (2, 3));
    }

    #[test]
    fn terminal_escapes_do_not_survive() {
        assert_eq!(escape("a\u{1b}[2J\nb'c"), "a\\u{1b}[2J\\nb'c");
    }
}
