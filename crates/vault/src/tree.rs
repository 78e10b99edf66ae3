//! A document as SOPS sees it: ordered entries and comments, with values of the types that its format knows.
//!
//! The same for each file format; pure data.

use crate::secret::Secret;

/// One part of a mapping, in the file's order. Names may stand twice, as in dotenv files.
pub enum Item {
    /// A comment on a line of its own or behind a value: its text after the `#`.
    Comment(Secret),
    /// A name and its value.
    Entry(String, Value),
}

/// One part of a list.
pub enum Element {
    /// A comment between elements.
    Comment(Secret),
    /// A value.
    Value(Value),
}

/// A mapping.
pub type Branch = Vec<Item>;

/// A value, with the type that it has again when it is decrypted.
pub enum Value {
    /// Nothing; never encrypted.
    Null,
    /// A text, which need not be UTF-8.
    Text(Secret),
    /// An integer of 64 bits.
    Int(i64),
    /// A double.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// A moment: the text of RFC 3339 that Go's `time.Time` has for it.
    Time(String),
    /// A list.
    List(Vec<Element>),
    /// A mapping.
    Map(Branch),
}

impl Value {
    /// Returns whether it has parts.
    pub fn is_complex(&self) -> bool {
        matches!(self, Value::List(_) | Value::Map(_))
    }
}

/// What is found at a path of names and indices.
pub fn find<'t>(branch: &'t Branch, path: &[Step]) -> Option<&'t Value> {
    let (Step::Name(first), rest) = path.split_first()? else { return None };
    let value = branch.iter().find_map(|item| match item {
        Item::Entry(name, value) if name == first => Some(value),
        Item::Entry(..) | Item::Comment(_) => None,
    })?;
    rest.iter().try_fold(value, |value, step| match (value, step) {
        (Value::Map(branch), Step::Name(_)) => find(branch, std::slice::from_ref(step)),
        (Value::List(list), Step::Index(index)) => list
            .iter()
            .filter_map(|element| match element {
                Element::Value(value) => Some(value),
                Element::Comment(_) => None,
            })
            .nth(*index),
        _ => None,
    })
}

/// One step of a path: SOPS writes `["name"]` and `[0]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The value of a name in a mapping.
    Name(String),
    /// An element of a list, from 0, comments not counted.
    Index(usize),
}
