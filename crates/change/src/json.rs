//! The values of settings as JSON has them; the reader itself is the ground floor's.

pub(crate) use mantlet_clients::json::{Dialect, Item, Mistake, Node, Shape, parse, skip_trivia};
use serde_json::Value;

/// The value as JSON has it. A JSON5 number that JSON cannot write stays a text that equals nothing of ours.
pub(crate) fn value(node: &Node) -> Value {
    match &node.shape {
        Shape::Object(items) => items.iter().map(|item| (item.name.clone(), value(&item.value))).collect(),
        Shape::Array(items) => items.iter().map(|item| value(&item.value)).collect(),
        Shape::Text(text) => Value::String(text.clone()),
        Shape::Word(word) => serde_json::from_str(word).unwrap_or_else(|_| Value::String(format!("\0{word}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(text: &str, dialect: Dialect) -> Value {
        value(&parse(text, dialect).unwrap().unwrap())
    }

    #[test]
    fn strict_texts_mean_what_serde_json_says() {
        for text in [r#"{"a":{"b":[1,"\\\"\n",{}]},"c":1.5}"#, "[]", "\"\"", "-0", "1e5", "[1.0]"] {
            assert_eq!(read(text, Dialect::Json), serde_json::from_str::<Value>(text).unwrap());
        }
        assert_eq!(read("{a: 'b'}", Dialect::Json5), json!({"a": "b"}));
    }
}
