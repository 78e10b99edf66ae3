//! Each value of a JSON file as its text stands there, to see what a rewritten file would lose.

use crate::compare::Scalar;
use crate::json::{JsonError, parse};
use crate::secret::Secret;
use crate::tree::{Branch, Element, Item, Step, Value};

/// Returns the values in their order: a string decoded, a number as it is written.
pub(crate) fn scalars(text: &[u8]) -> Result<Vec<Scalar>, JsonError> {
    let branch = parse(text)?;
    let mut found = Vec::new();
    let mut numbers = Numbers { rest: text };
    in_branch(&branch, &mut Vec::new(), &mut numbers, &mut found);
    Ok(found)
}

fn in_branch(branch: &Branch, path: &mut Vec<Step>, numbers: &mut Numbers<'_>, found: &mut Vec<Scalar>) {
    for item in branch {
        if let Item::Entry(name, value) = item {
            path.push(Step::Name(name.clone()));
            within(value, path, numbers, found);
            path.pop();
        }
    }
}

fn within(value: &Value, path: &mut Vec<Step>, numbers: &mut Numbers<'_>, found: &mut Vec<Scalar>) {
    let source = match value {
        Value::Map(branch) => {
            in_branch(branch, path, numbers, found);
            // An empty one is a value as well.
            Secret::from("{}")
        }
        Value::List(list) => {
            for (index, element) in list.iter().enumerate() {
                if let Element::Value(value) = element {
                    path.push(Step::Index(index));
                    within(value, path, numbers, found);
                    path.pop();
                }
            }
            Secret::from("[]")
        }
        Value::Null => Secret::from("null"),
        Value::Bool(is_true) => Secret::from(if *is_true { "true" } else { "false" }),
        Value::Text(text) => {
            let mut marked = b"\"".to_vec();
            marked.extend_from_slice(text.expose());
            Secret::new(marked)
        }
        Value::Int(_) | Value::Float(_) | Value::Time(_) => Secret::new(numbers.next().unwrap_or_default().to_vec()),
    };
    found.push(Scalar { path: crate::path::write_path(path), source });
}

/// The numbers of a text that is known to be JSON.
struct Numbers<'t> {
    rest: &'t [u8],
}

impl<'t> Iterator for Numbers<'t> {
    type Item = &'t [u8];

    fn next(&mut self) -> Option<&'t [u8]> {
        let mut is_text = false;
        let mut at = 0;
        while let Some(byte) = self.rest.get(at) {
            match byte {
                b'\\' if is_text => at += 1,
                b'"' => is_text = !is_text,
                b'-' | b'0'..=b'9' if !is_text => {
                    let (_, from) = self.rest.split_at(at);
                    let is_part = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
                    let length = from.iter().take_while(|byte| is_part(byte)).count();
                    let (number, rest) = from.split_at(length);
                    self.rest = rest;
                    return Some(number);
                }
                _ => {}
            }
            at += 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_as_they_are_written() {
        let text = br#"{"a\"1": "2\\", "b": [1.0, {"c": -3e2}], "d": 9007199254740993, "e": {}}"#;
        let found: Vec<_> = scalars(text).unwrap().into_iter().map(|scalar| scalar.source.expose().to_vec()).collect();
        let texts: Vec<&[u8]> = found.iter().map(Vec::as_slice).collect();
        assert_eq!(texts, [&b"\"2\\"[..], b"1.0", b"-3e2", b"{}", b"[]", b"9007199254740993", b"{}"]);
    }
}
