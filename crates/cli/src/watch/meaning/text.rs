//! Settings files read for a comparison: strictly, since a text that two readers take differently hides a key from one.
//!
//! Pure.

use mantlet_change::Format;
use mantlet_clients::json::{self, Dialect, Node, Shape};
use mantlet_clients::watched::Syntax;
use mantlet_watch::ContentError;
use serde_json::{Map, Number, Value};

/// What an integer may be so that JavaScript and everybody else read the same one.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// How `change` calls a syntax.
pub(super) fn format(syntax: Syntax) -> Format {
    match syntax {
        Syntax::Json => Format::Json,
        Syntax::Jsonc => Format::Jsonc,
        Syntax::Json5 => Format::Json5,
        Syntax::Toml => Format::Toml,
    }
}

/// Reads a file; `None` when there is nothing but white space in it. Names are sorted, and numbers are equal when their
/// client computes with the same one. What JSON cannot say is a text that begins with NUL.
pub(super) fn read(text: &str, syntax: Syntax) -> Result<Option<Value>, ContentError> {
    let found = match syntax {
        Syntax::Toml => mantlet_change::value(text, Format::Toml).map_err(wrong)?,
        Syntax::Json => parsed(text, Dialect::Json)?,
        Syntax::Jsonc => parsed(text, Dialect::Jsonc)?,
        Syntax::Json5 => parsed(text, Dialect::Json5)?,
    };
    match found {
        None | Some(Value::Object(_)) => Ok(found),
        Some(_) => Err(wrong("it is no table of settings")),
    }
}

fn parsed(text: &str, dialect: Dialect) -> Result<Option<Value>, ContentError> {
    // A mark in front is white space in JSON5 alone: any other client reads no settings at all, and no hook in them.
    let root = json::parse(text, dialect).map_err(|mistake| wrong(mistake.why))?;
    root.map(|node| value(text, &node)).transpose()
}

fn value(text: &str, node: &Node) -> Result<Value, ContentError> {
    Ok(match &node.shape {
        Shape::Object(items) => {
            let mut members = Map::new();
            for item in items {
                let name = sound(&item.name, &text[item.start..item.value.span.start])?;
                if members.insert(name, value(text, &item.value)?).is_some() {
                    // The attack: one reader takes the first, and the client the last.
                    return Err(wrong("a name stands there twice"));
                }
            }
            Value::Object(members)
        }
        Shape::Array(items) => {
            Value::Array(items.iter().map(|item| value(text, &item.value)).collect::<Result<_, _>>()?)
        }
        Shape::Text(found) => Value::String(sound(found, &text[node.span.clone()])?),
        Shape::Word(word) => word_value(word),
    })
}

/// A text that says what its client reads. Half of a surrogate pair does not: two different ones would look alike.
fn sound(found: &str, raw: &str) -> Result<String, ContentError> {
    if found.starts_with('\0') || (found.contains('\u{fffd}') && raw.contains('\\')) {
        return Err(wrong("a text in it is no text"));
    }
    Ok(found.to_owned())
}

fn word_value(word: &str) -> Value {
    match word {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        "null" => Value::Null,
        _ => number(word).map_or_else(|| Value::String(format!("\0{word}")), Value::Number),
    }
}

/// The number that a word stands for, as its client computes with it.
fn number(word: &str) -> Option<Number> {
    let bare = word.strip_prefix(['+', '-']).unwrap_or(word);
    let digits = bare.strip_prefix("0x").or_else(|| bare.strip_prefix("0X"));
    let size = match digits {
        #[allow(clippy::cast_precision_loss)] // As JavaScript does it.
        Some(digits) => u64::from_str_radix(digits, 16).ok()? as f64,
        None => bare.parse::<f64>().ok()?,
    };
    let found = if word.starts_with('-') { -size } else { size };
    if found.fract() == 0.0 && found.abs() < EXACT {
        #[allow(clippy::cast_possible_truncation)] // It was just compared.
        return Some((found as i64).into());
    }
    Number::from_f64(found)
}

pub(super) fn wrong(why: impl std::fmt::Display) -> ContentError {
    ContentError::new(format!("these are no settings that its client reads: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn json5(text: &str) -> Option<Value> {
        read(text, Syntax::Json5).unwrap()
    }

    #[test]
    fn what_a_client_computes_with_alike_is_alike() {
        for same in
            ["{a: 1}", "{a: 1.0}", "{a: 1e0}", "{a: 0x1}", "{a: +1}", "{'a': 1,}", "\u{feff}{\"\\u0061\": 1} // x"]
        {
            assert_eq!(json5(same), Some(json!({"a": 1})), "{same}");
        }
        assert_eq!(json5("{a: -0}"), json5("{a: 0}"));
        assert_eq!(json5("{a: 9007199254740993}"), json5("{a: 9007199254740992}"));
        assert_ne!(json5("{a: 1}"), json5("{a: '1'}"));
        assert_ne!(json5("{a: null}"), json5("{}"));
        assert_ne!(json5("{a: Infinity}"), json5("{a: 'Infinity'}"));
        assert_eq!(json5("  \n"), None);
        assert_eq!(read("a = 1\n[b]\nc = [1.5]\n", Syntax::Toml).unwrap(), Some(json!({"a": 1, "b": {"c": [1.5]}})));
    }

    #[test]
    fn what_two_readers_take_differently_is_refused() {
        let deep = "[".repeat(200);
        for text in [
            "{a: 1, a: 2}",
            "{a: 1, \"\\u0061\": 2}",
            "{x: {a: 1, 'a': 1}}",
            "{a: [{b: 1, b: 2}]}",
            "{a: '\\ud800'}",
            "{'\\ud800': 1}",
            "{a: '\\u0000Infinity'}",
            "[]",
            "'text'",
            "{a: 1} {a: 2}",
            "{\\u0061: 1}",
            "// nothing",
            deep.as_str(),
        ] {
            assert!(read(text, Syntax::Json5).is_err(), "{text}");
        }
        assert!(read("\u{feff}{}", Syntax::Json).is_err() && read("{} // x", Syntax::Json).is_err());
        assert!(read("a = 1\na = 2\n", Syntax::Toml).is_err());
    }
}
