//! Trees as a line of text, for tests: comments as they are with their `#`, names and texts in quotes.

use crate::secret::Secret;
use crate::tree::{Branch, Element, Item, Value};

fn shown(text: &Secret) -> String {
    match text.expose_text() {
        Some(text) => format!("{text:?}"),
        None => format!("{:02x?}", text.expose()),
    }
}

fn comment(text: &Secret) -> String {
    format!("#{}", String::from_utf8_lossy(text.expose()).escape_debug())
}

fn value(of: &Value) -> String {
    match of {
        Value::Null => "null".into(),
        Value::Text(text) => shown(text),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => format!("float {number}"),
        Value::Bool(truth) => truth.to_string(),
        Value::Time(time) => format!("time {time}"),
        Value::List(list) => {
            let parts: Vec<String> = list.iter().map(element).collect();
            format!("[{}]", parts.join(", "))
        }
        Value::Map(branch) => dump(branch),
    }
}

fn element(of: &Element) -> String {
    match of {
        Element::Comment(text) => comment(text),
        Element::Value(inner) => value(inner),
    }
}

pub(super) fn dump(branch: &Branch) -> String {
    let part = |item: &Item| match item {
        Item::Comment(text) => comment(text),
        Item::Entry(name, inner) => format!("{name:?}: {}", value(inner)),
    };
    let parts: Vec<String> = branch.iter().map(part).collect();
    format!("{{{}}}", parts.join(", "))
}
