//! Which values of a file are encrypted: SOPS's suffix, regex and comment rules, of which a file has one.

use regex::bytes::Regex;

use crate::secret::Secret;

/// A rule as it is written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// All but below names that end so.
    UnencryptedSuffix(String),
    /// Only below names that end so.
    EncryptedSuffix(String),
    /// All but below names that match.
    UnencryptedRegex(String),
    /// Only below names that match.
    EncryptedRegex(String),
    /// All but below comments that match.
    UnencryptedCommentRegex(String),
    /// Only below comments that match.
    EncryptedCommentRegex(String),
}

/// SOPS's rule where a file names none.
pub(crate) const DEFAULT_SUFFIX: &str = "_unencrypted";

impl Default for Rule {
    fn default() -> Rule {
        Rule::UnencryptedSuffix(DEFAULT_SUFFIX.into())
    }
}

type Make = fn(String) -> Rule;

/// The keys of the six rules in metadata and in `.sops.yaml`.
pub(crate) const RULES: &[(&str, Make)] = &[
    ("unencrypted_suffix", Rule::UnencryptedSuffix),
    ("encrypted_suffix", Rule::EncryptedSuffix),
    ("unencrypted_regex", Rule::UnencryptedRegex),
    ("encrypted_regex", Rule::EncryptedRegex),
    ("unencrypted_comment_regex", Rule::UnencryptedCommentRegex),
    ("encrypted_comment_regex", Rule::EncryptedCommentRegex),
];

impl Rule {
    /// Returns its key and its text.
    pub fn written(&self) -> (&'static str, &str) {
        match self {
            Rule::UnencryptedSuffix(text) => ("unencrypted_suffix", text),
            Rule::EncryptedSuffix(text) => ("encrypted_suffix", text),
            Rule::UnencryptedRegex(text) => ("unencrypted_regex", text),
            Rule::EncryptedRegex(text) => ("encrypted_regex", text),
            Rule::UnencryptedCommentRegex(text) => ("unencrypted_comment_regex", text),
            Rule::EncryptedCommentRegex(text) => ("encrypted_comment_regex", text),
        }
    }

    pub(crate) fn compile(&self) -> Result<Scope, ScopeError> {
        let compiled = |text: &str| Regex::new(text).map_err(|_| ScopeError(mantlet_ledger::escape(text.as_bytes())));
        Ok(match self {
            Rule::UnencryptedSuffix(text) => Scope::Names { is_encrypting: false, by: By::Suffix(text.clone()) },
            Rule::EncryptedSuffix(text) => Scope::Names { is_encrypting: true, by: By::Suffix(text.clone()) },
            Rule::UnencryptedRegex(text) => Scope::Names { is_encrypting: false, by: By::Regex(compiled(text)?) },
            Rule::EncryptedRegex(text) => Scope::Names { is_encrypting: true, by: By::Regex(compiled(text)?) },
            Rule::UnencryptedCommentRegex(text) => Scope::Comments { is_encrypting: false, by: compiled(text)? },
            Rule::EncryptedCommentRegex(text) => Scope::Comments { is_encrypting: true, by: compiled(text)? },
        })
    }
}

/// A rule whose expression RE2's dialect does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a regular expression of RE2's dialect")]
pub struct ScopeError(String);

pub(crate) enum Scope {
    Names { is_encrypting: bool, by: By },
    Comments { is_encrypting: bool, by: Regex },
}

pub(crate) enum By {
    Suffix(String),
    Regex(Regex),
}

/// Whether a leaf is a value or a comment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaf {
    Value,
    Comment,
}

impl Scope {
    /// Whether a leaf is to be encrypted, below these names and these comments, level by level.
    pub(crate) fn is_encrypted(&self, path: &[String], comments: &[Vec<Secret>], leaf: Leaf) -> bool {
        match self {
            Scope::Names { is_encrypting, by } => {
                let is_named = path.iter().any(|name| match by {
                    // Go's HasSuffix with an empty suffix never gets this far: an empty rule is no rule.
                    By::Suffix(suffix) => name.ends_with(suffix.as_str()),
                    By::Regex(regex) => regex.is_match(name.as_bytes()),
                });
                is_named == *is_encrypting
            }
            Scope::Comments { is_encrypting, by } => {
                let last = comments.len().saturating_sub(1);
                let is_said = comments.iter().enumerate().any(|(level, said)| {
                    // A comment that switches encryption on stays readable itself.
                    let own = *is_encrypting && leaf == Leaf::Comment && level == last;
                    let count = said.len() - usize::from(own && !said.is_empty());
                    said.iter().take(count).any(|text| by.is_match(text.expose()))
                });
                is_said == *is_encrypting
            }
        }
    }
}
