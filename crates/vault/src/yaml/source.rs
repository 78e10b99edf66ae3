//! Each value of a YAML file as it stands there, to see what a rewritten file would lose.

use super::load::{Loader, is_merge};
use super::nodes::{Id, Nodes, Shape};
use super::tag::Tag;
use super::{YamlError, read};
use crate::compare::Scalar;
use crate::secret::Secret;
use crate::tree::{Branch, Element, Item, Step, Value};

/// Returns the values and comments in their order: a text decoded, a number or moment as it is written.
///
/// Anchors, aliases, merges and the tags that matter count as values: SOPS writes none of them.
pub(crate) fn scalars(text: &[u8]) -> Result<Vec<Scalar>, YamlError> {
    let nodes = read(text)?;
    let mut loader = Loader::new(&nodes);
    let mut sources = Sources { nodes: &nodes, path: Vec::new(), found: Vec::new() };
    for document in &nodes.documents {
        let branch = loader.document(document)?;
        sources.add(b"---");
        sources.within(document.root, &Value::Map(branch));
    }
    Ok(sources.found)
}

struct Sources<'n> {
    nodes: &'n Nodes,
    path: Vec<Step>,
    found: Vec<Scalar>,
}

impl Sources<'_> {
    fn add(&mut self, source: &[u8]) {
        self.found.push(Scalar { path: crate::path::write_path(&self.path), source: Secret::new(source.to_vec()) });
    }

    fn add_marked(&mut self, mark: u8, text: &Secret) {
        let mut sink = crate::secret::Sink::default();
        sink.push(&[mark]);
        sink.push(text.expose());
        self.found.push(Scalar { path: crate::path::write_path(&self.path), source: sink.into_secret() });
    }

    /// A comment, by its text alone: within a list it may come to stand at the end of the last item.
    fn comment(&mut self, text: &Secret) {
        let path = std::mem::take(&mut self.path);
        self.add_marked(b'#', text);
        self.path = path;
    }

    fn within(&mut self, id: Id, value: &Value) {
        let Some(node) = self.nodes.node(id) else { return };
        if node.is_anchored {
            self.add(b"&");
        }
        // Without the others the type is the same.
        if matches!(node.tag, Some(Tag::Binary | Tag::Float)) {
            self.add(b"!");
        }
        match (value, &node.shape) {
            (_, Shape::Alias(_)) => self.add(b"*"),
            (Value::Map(branch), Shape::Mapping(pairs)) => self.map(branch, pairs),
            (Value::Map(branch), _) => self.map(branch, &[]),
            (Value::List(list), Shape::Sequence(items)) => self.list(list, items),
            (Value::List(list), _) => self.list(list, &[]),
            (Value::Null, _) => self.add(b"null"),
            (Value::Bool(true), _) => self.add(b"true"),
            (Value::Bool(false), _) => self.add(b"false"),
            (Value::Text(text), _) => self.add_marked(b'"', text),
            (Value::Int(_) | Value::Float(_) | Value::Time(_), Shape::Scalar(text, _)) => self.add(text.expose()),
            (Value::Int(_) | Value::Float(_) | Value::Time(_), _) => {}
        }
    }

    fn map(&mut self, branch: &Branch, pairs: &[(Id, Id)]) {
        let mut pairs = pairs.iter();
        for item in branch {
            match (item, item_pair(item, &mut pairs)) {
                (Item::Comment(text), _) => self.comment(text),
                (Item::Entry(name, value), Some((key, id))) => {
                    self.path.push(Step::Name(name.clone()));
                    if let Some(key) = self.nodes.node(*key) {
                        match is_merge(key) {
                            true => self.add(b"<<"),
                            false if key.is_anchored => self.add(b"&"),
                            false => {}
                        }
                    }
                    self.within(*id, value);
                    self.path.pop();
                }
                (Item::Entry(..), None) => {}
            }
        }
        self.add(b"{}");
    }

    fn list(&mut self, list: &[Element], items: &[Id]) {
        let mut items = items.iter().enumerate();
        for element in list {
            match element {
                Element::Comment(text) => self.comment(text),
                Element::Value(value) => {
                    if let Some((index, id)) = items.next() {
                        self.path.push(Step::Index(index));
                        self.within(*id, value);
                        self.path.pop();
                    }
                }
            }
        }
        self.add(b"[]");
    }
}

/// The next pair, for an entry.
fn item_pair<'p>(item: &Item, pairs: &mut impl Iterator<Item = &'p (Id, Id)>) -> Option<&'p (Id, Id)> {
    match item {
        Item::Entry(..) => pairs.next(),
        Item::Comment(_) => None,
    }
}
