//! Trees as lines of text, for tests to compare.

use crate::tree::{Branch, Element, Item, Value};
use std::fmt::Write as _;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn dump_value(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push('n'),
        Value::Text(text) => write!(out, "s{}", hex(text.expose())).unwrap(),
        Value::Int(number) => write!(out, "i{number}").unwrap(),
        Value::Float(number) => write!(out, "f{number:?}").unwrap(),
        Value::Bool(truth) => write!(out, "b{truth}").unwrap(),
        Value::Time(time) => write!(out, "t{time}").unwrap(),
        Value::List(list) => {
            out.push('[');
            for element in list {
                match element {
                    Element::Comment(text) => write!(out, "#{}", hex(text.expose())).unwrap(),
                    Element::Value(inner) => dump_value(inner, out),
                }
                out.push(',');
            }
            out.push(']');
        }
        Value::Map(items) => branch(items, out),
    }
}

fn branch(items: &Branch, out: &mut String) {
    out.push('{');
    for item in items {
        match item {
            Item::Comment(text) => write!(out, "#{}", hex(text.expose())).unwrap(),
            Item::Entry(name, inner) => {
                write!(out, "k{}=", hex(name.as_bytes())).unwrap();
                dump_value(inner, out);
            }
        }
        out.push(',');
    }
    out.push('}');
}

pub(super) fn dump(branches: &[Branch]) -> String {
    let mut out = String::new();
    for items in branches {
        branch(items, &mut out);
        out.push(';');
    }
    out
}
