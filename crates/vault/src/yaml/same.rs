//! Whether two trees hold the same names and values, whatever comments they have.

use super::style::float_text;
use crate::tree::{Branch, Element, Item, Value};

pub(super) fn is_same_map(one: &Branch, other: &Branch) -> bool {
    entries(one).count() == entries(other).count()
        && entries(one).zip(entries(other)).all(|((one, a), (other, b))| one == other && is_same(a, b))
}

fn entries(branch: &Branch) -> impl Iterator<Item = (&String, &Value)> {
    branch.iter().filter_map(|item| match item {
        Item::Entry(name, value) => Some((name, value)),
        Item::Comment(_) => None,
    })
}

fn values(list: &[Element]) -> impl Iterator<Item = &Value> {
    list.iter().filter_map(|element| match element {
        Element::Value(value) => Some(value),
        Element::Comment(_) => None,
    })
}

fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Null, Value::Null) => true,
        (Value::Text(one), Value::Text(other)) => one == other,
        (Value::Int(one), Value::Int(other)) => one == other,
        (Value::Bool(one), Value::Bool(other)) => one == other,
        (Value::Time(one), Value::Time(other)) => one == other,
        (Value::Float(one), Value::Float(other)) => float_text(*one) == float_text(*other),
        // SOPS writes 1.0 as 1.
        (Value::Int(int), Value::Float(float)) | (Value::Float(float), Value::Int(int)) => {
            float_text(*float) == int.to_string() || (*int == 0 && *float == 0.0)
        }
        (Value::List(one), Value::List(other)) => {
            values(one).count() == values(other).count() && values(one).zip(values(other)).all(|(a, b)| is_same(a, b))
        }
        (Value::Map(one), Value::Map(other)) => is_same_map(one, other),
        _ => false,
    }
}
