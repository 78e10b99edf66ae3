//! Metadata in dotenv files: `sops_age__list_0__map_recipient=...`, one line per leaf, sorted.

use std::collections::BTreeMap;

use crate::metadata::{KEY, MetadataError};
use crate::secret::Secret;
use crate::tree::{Branch, Element, Item, Value};

const MAP: &str = "__map_";
const LIST: &str = "__list_";
/// As deep as SOPS's metadata can be, and more: each step of a name is a level that is walked again.
const DEPTH_MAX: usize = 16;
/// As many entries as a list may have: an index is a number that a file claims.
const LIST_MAX: usize = 1000;

/// Makes the lines of a mapping.
pub(crate) fn flatten(part: &Branch) -> Branch {
    let mut lines = BTreeMap::new();
    for item in part {
        if let Item::Entry(name, value) = item {
            leaves(name, value, &mut lines);
        }
    }
    lines.into_iter().map(|(name, value)| Item::Entry(format!("{KEY}_{name}"), value)).collect()
}

fn leaves(prefix: &str, value: &Value, lines: &mut BTreeMap<String, Value>) {
    match value {
        Value::Map(branch) => {
            for item in branch {
                if let Item::Entry(name, value) = item {
                    leaves(&format!("{prefix}{MAP}{name}"), value, lines);
                }
            }
        }
        Value::List(list) => {
            let values = list.iter().filter_map(|element| match element {
                Element::Value(value) => Some(value),
                Element::Comment(_) => None,
            });
            for (index, value) in values.enumerate() {
                leaves(&format!("{prefix}{LIST}{index}"), value, lines);
            }
        }
        // As Go prints it, not as SOPS encrypts it.
        Value::Bool(is_true) => {
            let word = if *is_true { "true" } else { "false" };
            lines.insert(prefix.into(), Value::Text(Secret::from(word)));
        }
        _ => {
            lines.insert(prefix.into(), value.duplicate());
        }
    }
}

/// Makes the mapping of its lines.
pub(crate) fn unflatten(lines: Branch) -> Result<Branch, MetadataError> {
    let mut top = Node::default();
    for line in lines {
        let Item::Entry(name, value) = line else { continue };
        let name = name.get(KEY.len() + 1..).unwrap_or_default();
        top.put(&steps(name).ok_or(MetadataError::Field(KEY))?, value)?;
    }
    match top.value()? {
        Value::Map(branch) if !branch.is_empty() => Ok(branch),
        _ => Err(MetadataError::Missing),
    }
}

/// `a__map_b__list_0` is `a`, `b`, `0`; nothing where it goes too deep.
fn steps(name: &str) -> Option<Vec<(Kind, &str)>> {
    let mut found = Vec::new();
    let (mut kind, mut rest) = (Kind::Map, name);
    while found.len() < DEPTH_MAX {
        let next = [(Kind::Map, MAP), (Kind::List, LIST)]
            .into_iter()
            .filter_map(|(kind, mark)| rest.find(mark).map(|at| (at, kind, mark)))
            .min_by_key(|(at, ..)| *at);
        let Some((at, next, mark)) = next else {
            found.push((kind, rest));
            return Some(found);
        };
        let (step, after) = rest.split_at(at);
        found.push((kind, step));
        (kind, rest) = (next, after.get(mark.len()..).unwrap_or_default());
    }
    None
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Map,
    List,
}

#[derive(Default)]
struct Node {
    leaf: Option<Value>,
    map: BTreeMap<String, Node>,
    list: BTreeMap<usize, Node>,
}

impl Node {
    fn put(&mut self, steps: &[(Kind, &str)], value: Value) -> Result<(), MetadataError> {
        let mut node = self;
        for (kind, step) in steps {
            node = match kind {
                Kind::Map => node.map.entry((*step).to_owned()).or_default(),
                Kind::List => {
                    let index = step.parse().ok().filter(|index| *index < LIST_MAX);
                    node.list.entry(index.ok_or(MetadataError::Field(KEY))?).or_default()
                }
            };
        }
        if node.leaf.replace(value).is_some() {
            return Err(MetadataError::Field(KEY));
        }
        Ok(())
    }

    fn value(self) -> Result<Value, MetadataError> {
        match (self.leaf, self.map.is_empty(), self.list.is_empty()) {
            (Some(value), true, true) => Ok(value),
            (None, _, true) => {
                let entries = self.map.into_iter().map(|(name, node)| Ok(Item::Entry(name, node.value()?)));
                entries.collect::<Result<_, _>>().map(Value::Map)
            }
            (None, true, false) => {
                let elements = self.list.into_values().map(|node| node.value().map(Element::Value));
                elements.collect::<Result<_, _>>().map(Value::List)
            }
            _ => Err(MetadataError::Field(KEY)),
        }
    }
}
