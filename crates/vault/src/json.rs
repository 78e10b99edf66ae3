//! JSON as SOPS 3.11 reads and writes it: every number is a double, order and repeated names stay, tabs indent.

use std::fmt::Write as _;

use serde_json::Deserializer;

use crate::number::json_float;
use crate::secret::{Secret, Sink};
use crate::tree::{Branch, Element, Item, Value};

mod read;
mod source;

pub(crate) use source::scalars;

/// Why a JSON file cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// It is not RFC 8259, or not UTF-8. The message names a place and never quotes the text.
    #[error("it is not JSON at line {line}, column {column}")]
    Syntax {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// Something else than an object.
    #[error("only an object can be encrypted by its values; hint: --type binary takes any file")]
    Shape,
    /// A value that JSON has no text for.
    #[error("`{0}` cannot stand in a JSON file")]
    Value(String),
}

/// The one name in a binary file's JSON.
pub(crate) const DATA: &str = "data";

/// Whether an encrypted file holds one value of that name, as SOPS writes a binary one.
pub(crate) fn is_binary(branch: &Branch) -> bool {
    let is_named = |item: &Item, other: &str| matches!(item, Item::Entry(name, _) if name == other);
    matches!(branch.as_slice(), [data, part] if is_named(data, DATA) && is_named(part, crate::metadata::KEY))
}

/// Reads a plain file, or an encrypted one.
pub(crate) fn parse(text: &[u8]) -> Result<Branch, JsonError> {
    let mut source = Deserializer::from_slice(text);
    let syntax = |error: &serde_json::Error| JsonError::Syntax { line: error.line(), column: error.column() };
    let value = read::value(&mut source).map_err(|error| syntax(&error))?;
    source.end().map_err(|error| syntax(&error))?;
    match value {
        Value::Map(branch) => Ok(branch),
        _ => Err(JsonError::Shape),
    }
}

/// Writes a file that [`parse`] reads. Comments have no place in it.
pub(crate) fn emit(branch: &Branch) -> Result<Secret, JsonError> {
    let mut out = Sink::default();
    object(&mut out, branch, 0)?;
    out.push(b"\n");
    Ok(out.into_secret())
}

/// Writes one value.
pub(crate) fn emit_value(value: &Value) -> Result<Secret, JsonError> {
    let mut out = Sink::default();
    write(&mut out, "it", value, 0)?;
    Ok(out.into_secret())
}

fn object(out: &mut Sink, branch: &Branch, depth: usize) -> Result<(), JsonError> {
    let mut entries = branch.iter().filter_map(|item| match item {
        Item::Entry(name, value) => Some((name, value)),
        Item::Comment(_) => None,
    });
    lines(out, "{}", depth, || {
        let (name, value) = entries.next()?;
        Some(move |out: &mut Sink| {
            string(out, name);
            out.push(b": ");
            write(out, name, value, depth + 1)
        })
    })
}

fn array(out: &mut Sink, name: &str, list: &[Element], depth: usize) -> Result<(), JsonError> {
    let mut values = list.iter().filter_map(|element| match element {
        Element::Value(value) => Some(value),
        Element::Comment(_) => None,
    });
    lines(out, "[]", depth, || {
        let value = values.next()?;
        Some(move |out: &mut Sink| write(out, name, value, depth + 1))
    })
}

/// Brackets around parts, each on a line of its own.
fn lines<P>(out: &mut Sink, brackets: &str, depth: usize, mut next: impl FnMut() -> Option<P>) -> Result<(), JsonError>
where
    P: FnOnce(&mut Sink) -> Result<(), JsonError>,
{
    let (open, close) = brackets.split_at(1);
    out.push(open.as_bytes());
    let mut is_empty = true;
    while let Some(part) = next() {
        out.push(if is_empty { b"\n" } else { b",\n" });
        out.push("\t".repeat(depth + 1).as_bytes());
        part(out)?;
        is_empty = false;
    }
    if !is_empty {
        out.push(b"\n");
        out.push("\t".repeat(depth).as_bytes());
    }
    out.push(close.as_bytes());
    Ok(())
}

fn write(out: &mut Sink, name: &str, value: &Value, depth: usize) -> Result<(), JsonError> {
    let unfit = || JsonError::Value(mantlet_ledger::escape(name.as_bytes()));
    match value {
        Value::Null => out.push(b"null"),
        Value::Bool(is_true) => out.push(if *is_true { b"true" } else { b"false" }),
        Value::Int(number) => out.push(number.to_string().as_bytes()),
        Value::Float(number) => out.push(json_float(*number).ok_or_else(unfit)?.as_bytes()),
        // Go writes U+FFFD for what is not UTF-8: the secret would be another one.
        Value::Text(text) => string(out, text.expose_text().ok_or_else(unfit)?),
        Value::Time(text) => string(out, text),
        Value::List(list) => array(out, name, list, depth)?,
        Value::Map(branch) => object(out, branch, depth)?,
    }
    Ok(())
}

/// Go's escapes: `<`, `>`, `&` too, so that a page may contain the text.
fn string(out: &mut Sink, text: &str) {
    out.push(b"\"");
    let mut buffer = [0; 4];
    for character in text.chars() {
        match character {
            '"' => out.push(b"\\\""),
            '\\' => out.push(b"\\\\"),
            '\n' => out.push(b"\\n"),
            '\r' => out.push(b"\\r"),
            '\t' => out.push(b"\\t"),
            '\u{8}' => out.push(b"\\b"),
            '\u{c}' => out.push(b"\\f"),
            '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let mut escape = String::new();
                // Writing to a String cannot fail.
                write!(escape, "\\u{:04x}", u32::from(character)).ok();
                out.push(escape.as_bytes());
            }
            _ => out.push(character.encode_utf8(&mut buffer).as_bytes()),
        }
    }
    out.push(b"\"");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(text: &str) -> String {
        emit(&parse(text.as_bytes()).unwrap()).unwrap().expose_text().unwrap().to_owned()
    }

    #[test]
    fn a_file_is_written_as_go_writes_it() {
        let text = r#"{"a":[1.0,{"b":null,"b":true}],"z":[],"e":{},"<":"\u0007&\u2028é","n":9007199254740993}"#;
        let expected = "{\n\t\"a\": [\n\t\t1,\n\t\t{\n\t\t\t\"b\": null,\n\t\t\t\"b\": true\n\t\t}\n\t],\n\t\"z\": [],\n\t\"e\": {},\n\t\"\\u003c\": \"\\u0007\\u0026\\u2028é\",\n\t\"n\": 9007199254740992\n}\n";
        assert_eq!(round(text), expected);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["", "[1]", "1", "{\"a\":1}x", "{\"a\":\"\\ud800\"}", "{a:1}", "{\"a\":1,}", "{\"a\":1e400}"] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(parse(b"{\"a\":\"\xff\"}").is_err());
        assert!(parse("{\"a\":".repeat(100_000).as_bytes()).is_err(), "the stack is finite");
    }
}
