//! Bytes in, findings out. Pure: it knows no file, no policy and no network.
//!
//! It masks command lines before they are stored: a dozen credential formats named by their providers'
//! documentation, and values that a command line itself names a secret (`NAME=value`, `--password value`).
//! One pass, no regular expression and no table built at run time: it sits on the path of every command.

#![forbid(unsafe_code)]

mod announced;
mod checksum;
mod formats;
mod named;
mod scan;
mod word;

use std::borrow::Cow;
use std::ops::Range;

pub use checksum::Checksum;
pub use formats::{FORMATS, Format, Shape};

/// One secret that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is: a [`Format`]'s id, or `named-secret`, `authorization`, `url-password`.
    pub kind: &'static str,
    /// Where the secret part lies, in bytes; what names it lies outside.
    pub span: Range<usize>,
    /// What the format's own checksum says, where the provider documents one.
    pub checksum: Checksum,
}

/// Returns every secret in `text`, in order, without overlaps.
pub fn findings(text: &[u8]) -> Vec<Finding> {
    scan::scan(text)
}

/// Returns `text` with the secret part of every finding replaced by `[masked:KIND]`.
///
/// Mask before escaping: an escape in the middle of a token would hide it from this function.
/// A wrong checksum is masked all the same: a mistyped token is one character from a real one.
pub fn mask(text: &str) -> Cow<'_, str> {
    let found = findings(text.as_bytes());
    if found.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = 0;
    for finding in &found {
        // Spans begin and end beside ASCII bytes, so both cuts are character boundaries; `get` keeps a
        // mistake in that claim from becoming a panic, and masks more instead of less.
        out.push_str(text.get(rest..finding.span.start).unwrap_or(""));
        out.push_str("[masked:");
        out.push_str(finding.kind);
        out.push(']');
        rest = finding.span.end;
    }
    out.push_str(text.get(rest..).unwrap_or(""));
    Cow::Owned(out)
}

#[cfg(test)]
mod tests;
