//! From nodes to what SOPS makes of them: aliases put in, comments as entries of the mapping or list that they fall into.

use super::YamlError;
use super::nodes::{Document, Id, Node, Nodes, Shape};
use super::resolve::{Unresolved, value_of};
use super::scan::{DEEPEST, Style};
use super::tag::Tag;
use crate::secret::Secret;
use crate::tree::{Branch, Element, Item, Value};

/// How many values a text may come to when its aliases are put in: each may stand for a list of aliases.
const MOST: usize = 100_000;

/// Whether a node's own comments are put in around it, and not within.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comments {
    Around,
    Within,
}

/// What makes values of nodes.
pub(super) struct Loader<'n> {
    nodes: &'n Nodes,
    made: usize,
}

/// The lines of a comment that have any text, without their `#`.
fn lines(comment: &Secret) -> impl Iterator<Item = Secret> {
    let lines = comment.expose().split(|byte| *byte == b'\n');
    lines.filter_map(|line| line.get(1..)).map(|line| Secret::new(line.to_vec()))
}

fn add_to_map(comment: &Secret, branch: &mut Branch) {
    branch.extend(lines(comment).map(Item::Comment));
}

fn add_to_list(comment: &Secret, list: &mut Vec<Element>) {
    list.extend(lines(comment).map(Element::Comment));
}

fn unresolved(line: usize, why: Unresolved) -> YamlError {
    match why {
        Unresolved::Tag => YamlError::Mistagged { line },
        Unresolved::Unsigned => YamlError::Unsigned { line },
        Unresolved::Moment => YamlError::Moment { line },
    }
}

/// Whether a key is `<<` and means to merge.
pub(super) fn is_merge(key: &Node) -> bool {
    match &key.shape {
        Shape::Scalar(text, style) if text.expose() == b"<<" => {
            key.tag == Some(Tag::Unspecific) || (key.tag.is_none() && *style == Style::Plain)
        }
        _ => false,
    }
}

impl<'n> Loader<'n> {
    pub(super) fn new(nodes: &'n Nodes) -> Loader<'n> {
        Loader { nodes, made: 0 }
    }

    fn node(&mut self, id: Id, depth: usize) -> Result<&'n Node, YamlError> {
        let node = self.nodes.node(id).ok_or(YamlError::Large)?;
        self.made += 1;
        if self.made > MOST {
            return Err(YamlError::Large);
        }
        if depth > DEEPEST {
            return Err(YamlError::Deep { line: node.line });
        }
        Ok(node)
    }

    pub(super) fn document(&mut self, document: &Document) -> Result<Branch, YamlError> {
        let mut branch = Vec::new();
        add_to_map(&document.head, &mut branch);
        let root = self.node(document.root, 0)?;
        match &root.shape {
            Shape::Mapping(_) => match self.value(document.root, Comments::Within, 0)? {
                Value::Map(items) => branch.extend(items),
                _ => return Err(YamlError::Top { line: root.line }),
            },
            Shape::Scalar(text, style) => match value_of(text, *style, root.tag) {
                Ok(Value::Null) => {
                    add_to_map(&root.head, &mut branch);
                    add_to_map(&root.beside, &mut branch);
                }
                _ => return Err(YamlError::Top { line: root.line }),
            },
            Shape::Sequence(_) | Shape::Alias(_) => return Err(YamlError::Top { line: root.line }),
        }
        add_to_map(&document.foot, &mut branch);
        Ok(branch)
    }

    fn value(&mut self, id: Id, comments: Comments, depth: usize) -> Result<Value, YamlError> {
        let node = self.node(id, depth)?;
        let within = comments == Comments::Within;
        let misses = match &node.shape {
            Shape::Scalar(..) | Shape::Alias(_) => false,
            Shape::Sequence(_) => !matches!(node.tag, None | Some(Tag::Unspecific | Tag::Seq)),
            Shape::Mapping(_) => !matches!(node.tag, None | Some(Tag::Unspecific | Tag::Map)),
        };
        if misses {
            return Err(YamlError::Mistagged { line: node.line });
        }
        match &node.shape {
            Shape::Scalar(text, style) => value_of(text, *style, node.tag).map_err(|why| unresolved(node.line, why)),
            Shape::Alias(target) => self.value(*target, Comments::Within, depth + 1),
            Shape::Sequence(items) => {
                let mut list = Vec::new();
                if within {
                    add_to_list(&node.head, &mut list);
                    add_to_list(&node.beside, &mut list);
                }
                for id in items {
                    let item = self.node(*id, depth)?;
                    add_to_list(&item.head, &mut list);
                    add_to_list(&item.beside, &mut list);
                    list.push(Element::Value(self.value(*id, Comments::Around, depth + 1)?));
                    add_to_list(&item.foot, &mut list);
                }
                if within {
                    add_to_list(&node.foot, &mut list);
                }
                Ok(Value::List(list))
            }
            Shape::Mapping(pairs) => {
                let mut branch = Vec::new();
                if within {
                    add_to_map(&node.head, &mut branch);
                    add_to_map(&node.beside, &mut branch);
                }
                for (key, value) in pairs {
                    self.entry(*key, *value, &mut branch, depth)?;
                }
                if within {
                    add_to_map(&node.foot, &mut branch);
                }
                Ok(Value::Map(branch))
            }
        }
    }

    fn entry(&mut self, key: Id, value: Id, branch: &mut Branch, depth: usize) -> Result<(), YamlError> {
        let key = self.node(key, depth)?;
        let node = self.node(value, depth)?;
        let name = self.name(key, node)?;
        add_to_map(&key.head, branch);
        add_to_map(&key.beside, branch);
        let comments = match &node.shape {
            Shape::Scalar(..) | Shape::Alias(_) => Comments::Around,
            Shape::Sequence(_) | Shape::Mapping(_) => Comments::Within,
        };
        if comments == Comments::Around {
            add_to_map(&node.head, branch);
            add_to_map(&node.beside, branch);
        }
        let value = self.value(value, comments, depth + 1)?;
        branch.push(Item::Entry(name, value));
        if comments == Comments::Around {
            add_to_map(&node.foot, branch);
        }
        add_to_map(&key.foot, branch);
        Ok(())
    }

    /// A name; what `<<` merges must be mappings, though SOPS then only keeps the name.
    fn name(&self, key: &Node, value: &Node) -> Result<String, YamlError> {
        let Shape::Scalar(text, style) = &key.shape else { return Err(YamlError::Key { line: key.line }) };
        let is_merge = text.expose() == b"<<"
            && matches!((key.tag, style), (Some(Tag::Unspecific | Tag::Merge), _) | (None, Style::Plain));
        if is_merge && !self.is_merged(value) {
            return Err(YamlError::Merge { line: value.line });
        }
        match value_of(text, *style, key.tag) {
            Ok(Value::Text(name)) => match name.expose_text() {
                Some(name) => Ok(name.to_owned()),
                None => Err(YamlError::Key { line: key.line }),
            },
            _ => Err(YamlError::Key { line: key.line }),
        }
    }

    fn is_merged(&self, value: &Node) -> bool {
        let is_mapping = |node: &Node| match &node.shape {
            Shape::Alias(target) => {
                self.nodes.node(*target).is_some_and(|target| matches!(target.shape, Shape::Mapping(_)))
            }
            shape => matches!(shape, Shape::Mapping(_)),
        };
        match &value.shape {
            Shape::Sequence(items) => items.iter().all(|item| self.nodes.node(*item).is_some_and(is_mapping)),
            _ => is_mapping(value),
        }
    }
}
