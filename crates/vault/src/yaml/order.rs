//! Where comments are: their paths, which are part of their encryption, and another order that keeps them there.

use crate::secret::Secret;
use crate::tree::{Branch, Element, Item, Value};

/// The comments of documents in their order, each with the names that lead to it: lists have no part in a path.
pub(super) fn comments(branches: &[Branch]) -> Vec<(Vec<&str>, &Secret)> {
    let mut found = Vec::new();
    for branch in branches {
        in_map(branch, &mut Vec::new(), &mut found);
    }
    found
}

fn in_map<'t>(branch: &'t Branch, path: &mut Vec<&'t str>, found: &mut Vec<(Vec<&'t str>, &'t Secret)>) {
    for item in branch {
        match item {
            Item::Comment(text) => found.push((path.clone(), text)),
            Item::Entry(name, value) => {
                path.push(name);
                within(value, path, found);
                path.pop();
            }
        }
    }
}

fn within<'t>(value: &'t Value, path: &mut Vec<&'t str>, found: &mut Vec<(Vec<&'t str>, &'t Secret)>) {
    match value {
        Value::Map(branch) => in_map(branch, path, found),
        Value::List(list) => {
            for element in list {
                match element {
                    Element::Comment(text) => found.push((path.clone(), text)),
                    Element::Value(value) => within(value, path, found),
                }
            }
        }
        _ => {}
    }
}

/// The same with every last comment in front of the last part of its mapping or list: there are places for them that no
/// text has, such as behind two mappings that end together when the first has none of its own.
pub(super) fn without_last_comments(branch: &Branch) -> Branch {
    let last = branch.iter().rposition(|item| matches!(item, Item::Entry(..))).unwrap_or(branch.len());
    let (parts, behind) = branch.split_at_checked(last).unwrap_or((branch, &[]));
    let copy = |item: &Item| match item {
        Item::Comment(text) => Item::Comment(text.duplicate()),
        Item::Entry(name, value) => Item::Entry(name.clone(), copied(value)),
    };
    parts.iter().chain(behind.iter().skip(1)).chain(behind.first()).map(copy).collect()
}

fn copied(value: &Value) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::Text(text) => Value::Text(text.duplicate()),
        Value::Int(number) => Value::Int(*number),
        Value::Float(number) => Value::Float(*number),
        Value::Bool(truth) => Value::Bool(*truth),
        Value::Time(time) => Value::Time(time.clone()),
        Value::Map(branch) => Value::Map(without_last_comments(branch)),
        Value::List(list) => {
            let last = list.iter().rposition(|element| matches!(element, Element::Value(_))).unwrap_or(list.len());
            let (parts, behind) = list.split_at_checked(last).unwrap_or((list, &[]));
            let copy = |element: &Element| match element {
                Element::Comment(text) => Element::Comment(text.duplicate()),
                Element::Value(value) => Element::Value(copied(value)),
            };
            Value::List(parts.iter().chain(behind.iter().skip(1)).chain(behind.first()).map(copy).collect())
        }
    }
}
