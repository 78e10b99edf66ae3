//! Where a value on a command line ends: shell words, quotes, JSON strings in quotes.
//!
//! It need not agree with a shell in every case; where it is unsure it takes more, not less.

use std::ops::Range;

/// Returns the place of the value that starts at `from`, with the quote that encloses this place, if any.
///
/// `None` when nothing is there, or only a reference to a variable or a substitution: those are not the secret.
pub(crate) fn value(text: &[u8], from: usize, enclosing: Option<u8>) -> Option<Range<usize>> {
    let first = *text.get(from)?;
    let span = match (first, enclosing) {
        // `"{\"password\": \"x\"}"`: the quote itself is escaped.
        (b'\\', _) if matches!(text.get(from + 1), Some(b'"' | b'\'')) => escaped(text, from),
        (b'"' | b'\'', Some(q)) if q != first => quoted(text, from),
        // The enclosing quote closes here: an empty value. Unless something is glued to it: then an apostrophe
        // in earlier prose was taken for an open quote, and this one opens.
        (b'"' | b'\'', Some(_)) if is_word_end(text, from + 1) => return None,
        (b'"' | b'\'', Some(_)) => quoted(text, from),
        (_, Some(q)) => bare(text, from, q),
        (b'"' | b'\'', None) if is_single_quoted_word(text, from) => quoted(text, from),
        (_, None) => shell_word(text, from),
    };
    let inner = text.get(span.clone())?;
    (!inner.is_empty() && !is_reference(inner) && !is_masked(inner)).then_some(span)
}

/// The inside of `\"...\"`.
fn escaped(text: &[u8], from: usize) -> Range<usize> {
    let start = from + 2;
    let mut at = start;
    while let Some(&byte) = text.get(at) {
        match (byte, text.get(at + 1)) {
            (b'\\', Some(b'"' | b'\'')) => return start..at,
            (b'\\', Some(_)) => at += 2,
            _ => at += 1,
        }
    }
    start..text.len()
}

/// The inside of a quoted string, to the end of the text if it is never closed.
fn quoted(text: &[u8], from: usize) -> Range<usize> {
    let start = from + 1;
    start..close(text, from).unwrap_or(text.len())
}

/// Where the string that opens at `from` closes.
fn close(text: &[u8], from: usize) -> Option<usize> {
    let quote = *text.get(from)?;
    let mut at = from + 1;
    loop {
        match *text.get(at)? {
            b'\\' if quote == b'"' => at += 2,
            byte if byte == quote => return Some(at),
            _ => at += 1,
        }
    }
}

/// Whether the word is one quoted string: `"x"`, and not `"x"y`.
fn is_single_quoted_word(text: &[u8], from: usize) -> bool {
    close(text, from).is_none_or(|end| is_word_end(text, end + 1))
}

/// Whether a word cannot go on at `at`.
fn is_word_end(text: &[u8], at: usize) -> bool {
    text.get(at).is_none_or(|&b| ends_word(b) || is_punctuation(b))
}

/// A shell word outside quotes, with the quoted pieces that are glued to it: `a"b c"'d'`.
fn shell_word(text: &[u8], from: usize) -> Range<usize> {
    let mut at = from;
    while let Some(&byte) = text.get(at) {
        at = match byte {
            b'\\' => at + 2,
            b'"' | b'\'' => close(text, at).map_or(text.len(), |end| end + 1),
            b if ends_word(b) => break,
            _ => at + 1,
        };
    }
    from..at.min(text.len())
}

/// A word inside an enclosing quote.
fn bare(text: &[u8], from: usize, quote: u8) -> Range<usize> {
    let rest = text.get(from..).unwrap_or_default();
    let length = rest.iter().position(|&b| b == quote || ends_word(b)).unwrap_or(rest.len());
    from..from + length
}

pub(crate) fn ends_word(byte: u8) -> bool {
    byte.is_ascii_whitespace() || matches!(byte, b';' | b'&' | b'|' | b'<' | b'>' | b'(' | b')' | b'`' | 0)
}

fn is_punctuation(byte: u8) -> bool {
    matches!(byte, b',' | b'}' | b']' | b':')
}

/// `$NAME`, `${NAME}`, `$(...)`: what is stored is the name, which is not secret. `${NAME:-value}` is.
fn is_reference(inner: &[u8]) -> bool {
    let inner = inner.strip_prefix(b"\"").unwrap_or(inner);
    let inner = inner.strip_suffix(b"\"").unwrap_or(inner);
    let Some(rest) = inner.strip_prefix(b"$") else {
        return false;
    };
    let name = match rest.strip_prefix(b"{") {
        Some(braced) => match braced.strip_suffix(b"}") {
            Some(name) => name,
            None => return false,
        },
        None => rest,
    };
    name.iter().all(|&b| b.is_ascii_alphanumeric() || b == b'_')
}

/// What this crate itself wrote: masking twice gives the same text as masking once.
fn is_masked(inner: &[u8]) -> bool {
    inner.starts_with(b"[masked:") && inner.ends_with(b"]")
}
