//! Untrusted text made safe to print and to store: controls, bidirectional overrides, invisible characters.
//!
//! An agent chooses file names and command lines; unescaped they could rewrite the terminal of whoever reads
//! the log (`ESC [ 2 J`), or show one command and store another (CVE-2021-42574).

use std::borrow::Cow;
use std::fmt::Write as _;

/// Returns `text` with everything that is not plainly visible spelled out: `\n`, `\x1b`, `\u{202e}`, and `\xff`
/// for bytes that are not UTF-8.
///
/// Escaping twice gives the same as once, so that each boundary may escape without asking the one before.
/// For that a backslash stays as it is: what a reader sees is harmless, but not always unambiguous.
pub fn escape(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            push(&mut out, c);
        }
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            write!(out, "\\x{byte:02x}").ok();
        }
    }
    out
}

fn push(out: &mut String, c: char) {
    match c {
        ' '..='~' => out.push(c),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        _ if c.is_ascii() => {
            write!(out, "\\x{:02x}", c as u32).ok();
        }
        _ if is_hidden(c) => {
            write!(out, "\\u{{{:x}}}", c as u32).ok();
        }
        _ => out.push(c),
    }
}

/// Returns a JSON text with the same meaning in which everything that [`escape`] would spell out is `\uXXXX`.
///
/// JSON itself only demands that of bytes below 0x20; a terminal obeys U+009B and U+202E as well.
pub fn escape_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() && !c.is_ascii_control() || !c.is_ascii() && !is_hidden(c) {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}").ok();
            }
        }
    }
    out
}

/// Whether a reader would not see this character as itself.
///
/// Controls, every space but U+0020, and Unicode's default-ignorable, bidirectional, tag, filler, private-use and
/// non-characters (DerivedCoreProperties.txt, PropList.txt of Unicode 16).
fn is_hidden(c: char) -> bool {
    c.is_control()
        || c.is_whitespace()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{2800}' | '\u{3164}' | '\u{e000}'..='\u{f8ff}' | '\u{fdd0}'..='\u{fdef}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffc}' | '\u{fffe}'..='\u{ffff}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{10ffff}')
}

/// Returns `text`, or its beginning and end with the number of bytes left out between them.
///
/// A command may be a megabyte long; the ledger must not become the way to fill a disk.
pub fn shorten(text: &str, max: usize) -> Cow<'_, str> {
    if text.len() <= max {
        return Cow::Borrowed(text);
    }
    let head = floor(text, max / 4 * 3);
    let tail = ceil(text, text.len() - max / 4);
    let (start, end) = (text.get(..head).unwrap_or(""), text.get(tail..).unwrap_or(""));
    Cow::Owned(format!("{start}[... {} bytes ...]{end}", tail - head))
}

fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn ceil(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_stays() {
        assert_eq!(escape("git commit -m 'für \\n 日本'".as_bytes()), "git commit -m 'für \\n 日本'");
    }

    #[test]
    fn what_a_terminal_obeys_is_spelled_out() {
        assert_eq!(escape(b"a\x1b[2J\x07\x7f\r\n\t"), "a\\x1b[2J\\x07\\x7f\\r\\n\\t");
        assert_eq!(escape("\u{9b}2J".as_bytes()), "\\u{9b}2J");
        assert_eq!(escape(b"a\xff\xc3("), "a\\xff\\xc3(");
    }

    #[test]
    fn what_deceives_a_reader_is_spelled_out() {
        for hidden in [
            '\u{202e}',
            '\u{2066}',
            '\u{200b}',
            '\u{200d}',
            '\u{feff}',
            '\u{a0}',
            '\u{2028}',
            '\u{3000}',
            '\u{e0041}',
            '\u{fe0f}',
            '\u{ad}',
            '\u{3164}',
            '\u{e000}',
        ] {
            assert_eq!(escape(format!("a{hidden}b").as_bytes()), format!("a\\u{{{:x}}}b", hidden as u32));
        }
    }

    #[test]
    fn escaping_twice_is_escaping_once() {
        let text = escape("\u{202e}\x1b\u{9b} \\ \u{10ffff}".as_bytes());
        assert_eq!(escape(text.as_bytes()), text);
    }

    #[test]
    fn escaped_json_means_the_same_and_is_harmless() {
        let value = serde_json::json!({"a": "\u{202e}\u{9b}\x1b\u{e0041}ü\\"});
        let text = escape_json(&value.to_string());
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
        assert!(!text.chars().any(is_hidden), "{text}");
    }

    #[test]
    fn long_text_keeps_both_ends() {
        let text = format!("begin{}end", "ü".repeat(5000));
        let short = shorten(&text, 100);
        assert!(short.starts_with("begin") && short.ends_with("end") && short.len() < 140, "{short}");
        assert_eq!(shorten("x", 100), "x");
    }
}
