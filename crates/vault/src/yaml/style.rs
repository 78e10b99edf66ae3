//! How a single value is written, so that readers of YAML 1.1 and 1.2 take it for the same.
//!
//! Nothing here decides what a value is; quotes are put wherever any reader could see more than a text.

use super::resolve::plain_value;
use crate::secret::{Secret, Sink};
use crate::tree::Value;

/// How a text can be written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    Literal,
    Quoted,
}

/// Words that YAML 1.1 takes for something else, in any case.
const WORDS: &[&str] = &["y", "n", "yes", "no", "on", "off", "true", "false", "null"];

/// Characters of numbers, moments and base-60 numbers.
const NUMERIC: &[u8] = b"0123456789abcdefABCDEF_:.,+-xXoOtTzZ ";

/// The form of a text that may be of many lines.
pub(super) fn form_of(text: &str) -> Form {
    if is_plain(text) {
        Form::Plain
    } else if is_literal(text) {
        Form::Literal
    } else {
        Form::Quoted
    }
}

fn is_printable(character: char) -> bool {
    matches!(character, ' '..='~' | '\u{A0}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
        && !matches!(character, '\u{2028}' | '\u{2029}' | '\u{FEFF}')
}

/// Whether a name or value may stand without quotes.
pub(super) fn is_plain(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    let is_number = matches!(first, b'0'..=b'9' | b'.') && bytes.iter().all(|byte| NUMERIC.contains(byte));
    let starts_well = first.is_ascii_alphanumeric() || matches!(first, b'_' | b'/' | b'.' | b'$' | b'(' | 0x80..);
    starts_well
        && !matches!(last, b' ' | b':')
        && !is_number
        && !text.starts_with("..")
        && !text.contains(": ")
        && !text.contains(" #")
        && text.chars().all(is_printable)
        && !WORDS.iter().any(|word| word.eq_ignore_ascii_case(text))
        && ![".inf", ".nan"].iter().any(|word| word.eq_ignore_ascii_case(text))
        && matches!(plain_value(text), Ok(Value::Text(_)))
}

/// Whether a text of many lines is safe from everything that readers and editors do to white space.
fn is_literal(text: &str) -> bool {
    let lines = text.strip_suffix('\n').unwrap_or(text);
    text.contains('\n')
        && !lines.is_empty()
        && !text.starts_with(['\n', ' '])
        && !lines.ends_with('\n')
        && lines.split('\n').all(|line| !line.starts_with('\t') && !line.ends_with([' ', '\t']))
        && text.chars().all(|character| is_printable(character) || matches!(character, '\n' | '\t'))
}

/// Whether a comment can be written: it is one line.
pub(super) fn is_comment(text: &str) -> bool {
    text.chars().all(|character| is_printable(character) || character == '\t')
}

/// Writes a text in double quotes.
pub(super) fn quote(text: &str, out: &mut Sink) {
    out.push(b"\"");
    for character in text.chars() {
        let short = match character {
            '"' => "\\\"",
            '\\' => "\\\\",
            '\0' => "\\0",
            '\x07' => "\\a",
            '\x08' => "\\b",
            '\t' => "\\t",
            '\n' => "\\n",
            '\x0B' => "\\v",
            '\x0C' => "\\f",
            '\r' => "\\r",
            '\x1B' => "\\e",
            '\u{85}' => "\\N",
            '\u{2028}' => "\\L",
            '\u{2029}' => "\\P",
            _ => "",
        };
        match u32::from(character) {
            _ if !short.is_empty() => out.push(short.as_bytes()),
            _ if is_printable(character) => out.push(character.encode_utf8(&mut [0; 4]).as_bytes()),
            code @ 0..0x100 => out.push(format!("\\x{code:02X}").as_bytes()),
            code => out.push(format!("\\u{code:04X}").as_bytes()),
        }
    }
    out.push(b"\"");
}

/// Go's `strconv.FormatFloat(number, 'g', -1, 64)`, but for what is no number.
pub(super) fn float_text(number: f64) -> String {
    if number.is_nan() {
        return ".nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { ".inf".to_owned() } else { "-.inf".to_owned() };
    }
    let text = format!("{number:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        return number.to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
}

/// Base64 of bytes that are no text.
pub(super) fn base64_of(bytes: &Secret) -> Secret {
    use base64::Engine as _;
    let mut text = zeroize::Zeroizing::new(vec![0; bytes.expose().len().div_ceil(3) * 4]);
    // The length is right, so that there is nothing that could fail.
    let length = base64::engine::general_purpose::STANDARD.encode_slice(bytes.expose(), &mut text).unwrap_or(0);
    Secret::new(text.get(..length).unwrap_or_default().to_vec())
}
