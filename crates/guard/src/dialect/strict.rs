//! JSON with one meaning: UTF-8, no key twice at any depth, bounded in size and depth.
//!
//! The attack: a model writes the arguments. Of two keys `command` one parser takes the first and another the last, so
//! that what is judged is not what runs.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The largest event that is read. A larger one is refused whole.
pub const MAX_BYTES: usize = 1 << 20;

/// How deep values may lie in each other.
pub const MAX_DEPTH: usize = 64;

/// Why bytes are no event.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StrictError {
    /// There are none.
    #[error("there is nothing on standard input")]
    Empty,
    /// There are too many.
    #[error("the event is longer than {MAX_BYTES} bytes")]
    TooLong,
    /// They are no JSON, or some that can be read in two ways.
    #[error("the event is not strict JSON: {0}")]
    Syntax(#[from] serde_json::Error),
    /// They are JSON and no object.
    #[error("the event is not a JSON object")]
    NoObject,
}

/// Parses one JSON object and nothing after it.
pub(super) fn object(bytes: &[u8]) -> Result<Map<String, Value>, StrictError> {
    if bytes.len() > MAX_BYTES {
        return Err(StrictError::TooLong);
    }
    if bytes.is_empty() {
        return Err(StrictError::Empty);
    }
    match value(bytes)? {
        Value::Object(map) => Ok(map),
        _ => Err(StrictError::NoObject),
    }
}

/// Parses one JSON value of any kind, as strictly.
pub(super) fn value(bytes: &[u8]) -> Result<Value, StrictError> {
    let mut parser = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { depth: 0 }.deserialize(&mut parser)?;
    parser.end()?;
    Ok(value)
}

/// A value at this depth.
#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: serde::de::Error>(self) -> Result<Strict, E> {
        match self.depth < MAX_DEPTH {
            true => Ok(Strict { depth: self.depth + 1 }),
            false => Err(E::custom(format_args!("values lie deeper than {MAX_DEPTH}"))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number is not finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut list = Vec::new();
        while let Some(value) = access.next_element_seed(inner)? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(format_args!("the key {key:?} stands twice in one object")));
            }
            map.insert(key, access.next_value_seed(inner)?);
        }
        Ok(Value::Object(map))
    }
}
