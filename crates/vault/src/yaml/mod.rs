//! YAML as SOPS reads and writes it: through go-yaml v3, which is a libyaml for YAML 1.1 with some types of 1.2.
//!
//! Pure: bytes in, trees out. Names and comments are no secrets to SOPS, but are wiped here all the same.

mod collections;
mod comments;
mod cursor;
mod emit;
mod lexis;
mod load;
mod moment;
mod nodes;
mod order;
mod resolve;
mod same;
mod scan;
mod source;
mod style;
mod tag;

pub(crate) use source::scalars;

use crate::secret::Secret;
use crate::tree::Branch;

/// Why a YAML file cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum YamlError {
    /// Bytes that are no UTF-8.
    #[error("it is not UTF-8: byte {at} starts no character; hint: --type binary")]
    NotUtf8 {
        /// Where, from 0.
        at: usize,
    },
    /// A character that YAML does not allow.
    #[error("line {line}: a control character; hint: write it as an escape, in double quotes")]
    Control {
        /// Where, from 1.
        line: usize,
    },
    /// Nothing, or only comments.
    #[error("it holds no document; hint: a first one may be `{{}}`")]
    Empty,
    /// It is no YAML.
    #[error("line {line}: {problem}")]
    Syntax {
        /// Where, from 1.
        line: usize,
        /// What was expected.
        problem: &'static str,
    },
    /// A directive.
    #[error("line {line}: the only directive that is read is `%YAML 1.1`; hint: leave it out")]
    Directive {
        /// Where, from 1.
        line: usize,
    },
    /// Nested too deep.
    #[error("line {line}: values are nested more than 100 deep")]
    Deep {
        /// Where, from 1.
        line: usize,
    },
    /// Nested too deep to be written.
    #[error("values are nested more than 100 deep")]
    TooDeep,
    /// Too many values.
    #[error("it comes to more than 100000 values when its aliases are put in")]
    Large,
    /// A document that is no mapping.
    #[error("line {line}: a document has names at its top, and is no list or single value; hint: put it under a name")]
    Top {
        /// Where, from 1.
        line: usize,
    },
    /// A key that is no text.
    #[error("line {line}: a key is not a text; hint: quote it")]
    Key {
        /// Where, from 1.
        line: usize,
    },
    /// A key that a mapping has already.
    #[error("line {line}: the mapping has this key already")]
    Twice {
        /// Where, from 1.
        line: usize,
    },
    /// An alias of nothing.
    #[error("line {line}: no anchor of this document, above the alias, has its name")]
    Alias {
        /// Where, from 1.
        line: usize,
    },
    /// An alias inside of what it stands for.
    #[error("line {line}: an alias stands inside of what it stands for")]
    Cycle {
        /// Where, from 1.
        line: usize,
    },
    /// A merge of something else.
    #[error("line {line}: `<<` merges a mapping, or a list of mappings; hint: quote it where it is a name")]
    Merge {
        /// Where, from 1.
        line: usize,
    },
    /// A tag of somebody's own.
    #[error("line {line}: SOPS drops this tag; hint: leave it out, or use --type binary")]
    Tag {
        /// Where, from 1.
        line: usize,
    },
    /// A value that does not fit its tag.
    #[error("line {line}: the value does not fit its tag")]
    Mistagged {
        /// Where, from 1.
        line: usize,
    },
    /// An integer between 2^63 and 2^64.
    #[error("line {line}: SOPS cannot encrypt an integer of this size; hint: quote it")]
    Unsigned {
        /// Where, from 1.
        line: usize,
    },
    /// A moment whose zone is a day or more away.
    #[error("line {line}: this moment has a time zone that SOPS cannot write; hint: quote it")]
    Moment {
        /// Where, from 1.
        line: usize,
    },
    /// A comment that is more than a line.
    #[error("a comment holds a line break or a control character, and cannot be written")]
    Comment,
    /// A moment that is none.
    #[error("a moment is not written as RFC 3339 says")]
    NoMoment,
    /// What would be written reads back as something else.
    #[error("it cannot be written as YAML without a change to a name or a value")]
    Unlike,
}

/// The text without its byte order mark, when go-yaml would read it.
fn readable(bytes: &[u8]) -> Result<&str, YamlError> {
    let text = std::str::from_utf8(bytes).map_err(|error| YamlError::NotUtf8 { at: error.valid_up_to() })?;
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let is_allowed = |character: char| matches!(character, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{A0}'..='\u{FFFD}' | '\u{10000}'..);
    match text.char_indices().find(|(_, character)| !is_allowed(*character)) {
        Some((at, _)) => {
            let above = text.get(..at).unwrap_or_default();
            Err(YamlError::Control { line: above.matches('\n').count() + 1 })
        }
        None => Ok(text),
    }
}

fn read(text: &[u8]) -> Result<nodes::Nodes, YamlError> {
    let nodes = nodes::parse(readable(text)?)?;
    if nodes.documents.is_empty() { Err(YamlError::Empty) } else { Ok(nodes) }
}

/// Reads every document of a text as SOPS does.
pub(crate) fn parse(text: &[u8]) -> Result<Vec<Branch>, YamlError> {
    let nodes = read(text)?;
    let mut loader = load::Loader::new(&nodes);
    nodes.documents.iter().map(|document| loader.document(document)).collect()
}

/// Writes documents, so that they read back as they are.
///
/// Comments keep their order and the mapping they are in, or come to stand in front of the last part of it.
pub(crate) fn emit(branches: &[Branch]) -> Result<Secret, YamlError> {
    let (text, again) = write(branches)?;
    if order::comments(&again) == order::comments(branches) {
        return Ok(text);
    }
    let reordered: Vec<Branch> = branches.iter().map(order::without_last_comments).collect();
    Ok(write(&reordered)?.0)
}

/// Writes documents, and reads them again.
fn write(branches: &[Branch]) -> Result<(Secret, Vec<Branch>), YamlError> {
    let mut writer = emit::Writer::default();
    for (at, branch) in branches.iter().enumerate() {
        writer.document(branch, at == 0)?;
    }
    let text = writer.finish();
    // A reader that takes it for something else would encrypt or use another value: that must not leave this place.
    let again = parse(text.expose())?;
    let is_same = again.len() == branches.len() && again.iter().zip(branches).all(|(a, b)| same::is_same_map(a, b));
    if is_same { Ok((text, again)) } else { Err(YamlError::Unlike) }
}
