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

/// Puts a value at a path, making names that are missing; nothing when something else stands on the way.
pub(crate) fn set(branch: &mut Branch, path: &[Step], value: Value) -> Option<()> {
    let (Step::Name(first), rest) = path.split_first()? else { return None };
    let at = branch.iter().position(|item| matches!(item, Item::Entry(name, _) if name == first));
    let place = match at {
        Some(at) => branch.get_mut(at),
        None => {
            branch.push(Item::Entry(first.clone(), Value::Map(Vec::new())));
            branch.last_mut()
        }
    };
    match place {
        Some(Item::Entry(_, there)) if rest.is_empty() => *there = value,
        Some(Item::Entry(_, there)) => set_within(there, rest, value)?,
        Some(Item::Comment(_)) | None => return None,
    }
    Some(())
}

fn set_within(there: &mut Value, path: &[Step], value: Value) -> Option<()> {
    match (there, path) {
        (Value::Map(branch), _) => set(branch, path, value),
        (Value::List(list), [Step::Index(index), rest @ ..]) => {
            let count = list.iter().filter(|element| matches!(element, Element::Value(_))).count();
            if *index == count && rest.is_empty() {
                list.push(Element::Value(value));
                return Some(());
            }
            let mut values = list.iter_mut().filter_map(|element| match element {
                Element::Value(value) => Some(value),
                Element::Comment(_) => None,
            });
            let there = values.nth(*index)?;
            if rest.is_empty() {
                *there = value;
                return Some(());
            }
            set_within(there, rest, value)
        }
        _ => None,
    }
}

/// Takes the value at a path away; nothing when there is none.
pub(crate) fn unset(branch: &mut Branch, path: &[Step]) -> Option<()> {
    let (Step::Name(first), rest) = path.split_first()? else { return None };
    let at = branch.iter().position(|item| matches!(item, Item::Entry(name, _) if name == first))?;
    if rest.is_empty() {
        branch.remove(at);
        return Some(());
    }
    match branch.get_mut(at)? {
        Item::Entry(_, Value::Map(branch)) => unset(branch, rest),
        Item::Entry(_, Value::List(list)) => {
            let [Step::Index(index), rest @ ..] = rest else { return None };
            let mut values = list.iter().enumerate().filter(|(_, element)| matches!(element, Element::Value(_)));
            let (at, _) = values.nth(*index)?;
            match (list.get_mut(at)?, rest) {
                (_, []) => drop(list.remove(at)),
                (Element::Value(Value::Map(branch)), rest) => unset(branch, rest)?,
                _ => return None,
            }
            Some(())
        }
        _ => None,
    }
}

/// One step of a path: SOPS writes `["name"]` and `[0]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The value of a name in a mapping.
    Name(String),
    /// An element of a list, from 0, comments not counted.
    Index(usize),
}
