//! Lists and mappings: from the tokens of one to the nodes in it, and their comments.

use super::YamlError;
use super::nodes::{Context, Id, Parser, Shape, nothing};
use super::scan::Kind;
use crate::secret::Secret;

impl Parser<'_> {
    /// Takes a `-`; comments in front of it are the head of the whole item when that is a collection.
    fn entry(&mut self) -> Result<Kind, YamlError> {
        let above = self.head.expose().len();
        self.skip();
        let kind = self.peek()?;
        if above > 0 && matches!(kind, Kind::BlockSequenceStart | Kind::BlockMappingStart) {
            let lines = self.head.expose();
            self.stem = Some(Secret::new(lines.get(..above).unwrap_or_default().to_vec()));
            self.head = Secret::new(lines.get(above + 1..).unwrap_or_default().to_vec());
        }
        Ok(kind)
    }

    pub(super) fn block_sequence(&mut self) -> Result<Vec<Id>, YamlError> {
        let mut items = Vec::new();
        self.skip();
        loop {
            match self.peek()? {
                Kind::BlockEntry => items.push(match self.entry()? {
                    Kind::BlockEntry | Kind::BlockEnd => self.add_empty(),
                    _ => self.parse_node(Context::Block)?,
                }),
                Kind::BlockEnd => {
                    self.skip();
                    return Ok(items);
                }
                _ => return Err(self.wrong("the next item of a list starts with `-`, in the same column")),
            }
        }
    }

    /// A list no further in than its key: nothing marks its end.
    pub(super) fn flush_sequence(&mut self) -> Result<Vec<Id>, YamlError> {
        let mut items = Vec::new();
        while self.peek()? == Kind::BlockEntry {
            items.push(match self.entry()? {
                Kind::BlockEntry | Kind::Key | Kind::Value | Kind::BlockEnd => self.add_empty(),
                _ => self.parse_node(Context::Block)?,
            });
        }
        Ok(items)
    }

    /// Returns the pairs, and comments that were left over at the end.
    pub(super) fn block_mapping(&mut self) -> Result<(Vec<(Id, Id)>, Secret), YamlError> {
        let mut pairs: Vec<(Id, Id)> = Vec::new();
        self.skip();
        loop {
            match self.peek()? {
                Kind::Key => {
                    self.skip();
                    let key = self.block_part()?;
                    if let Some((before, _)) = pairs.last().copied() {
                        // Further out than what is before it, and so none of this key's.
                        self.move_foot(key, before);
                    }
                    let value = if self.peek()? == Kind::Value {
                        self.skip();
                        self.block_part()?
                    } else {
                        self.add_empty()
                    };
                    self.take_foot_of_value(key, value);
                    pairs.push((key, value));
                }
                Kind::BlockEnd => {
                    let mut end = self.blank();
                    self.take_comments(&mut end);
                    self.skip();
                    let last = pairs.last().and_then(|(key, _)| self.all.get_mut(*key));
                    if let (Some(last), false) = (last, end.foot.expose().is_empty()) {
                        last.foot = end.foot;
                    }
                    return Ok((pairs, end.beside));
                }
                _ => return Err(self.wrong("a key is expected here, in the column of the others")),
            }
        }
    }

    fn block_part(&mut self) -> Result<Id, YamlError> {
        match self.peek()? {
            Kind::Key | Kind::Value | Kind::BlockEnd => Ok(self.add_empty()),
            _ => self.parse_node(Context::BlockOrFlush),
        }
    }

    fn move_foot(&mut self, from: Id, to: Id) {
        let foot = match self.all.get_mut(from) {
            Some(from) if !from.foot.expose().is_empty() => std::mem::replace(&mut from.foot, nothing()),
            _ => return,
        };
        if let Some(to) = self.all.get_mut(to) {
            to.foot = foot;
        }
    }

    /// The foot of a value is its key's, when that has none.
    fn take_foot_of_value(&mut self, key: Id, value: Id) {
        if self.all.get(key).is_some_and(|key| key.foot.expose().is_empty()) {
            self.move_foot(value, key);
        }
    }

    pub(super) fn flow_sequence(&mut self) -> Result<Vec<Id>, YamlError> {
        let mut items = Vec::new();
        self.skip();
        while self.next_of_flow(items.is_empty(), Kind::FlowSequenceEnd)? {
            items.push(if self.peek()? == Kind::Key {
                self.pair_in_sequence()?
            } else {
                self.parse_node(Context::Flow)?
            });
        }
        Ok(items)
    }

    /// Whether one more part of a flow collection follows; takes the comma in front of it.
    fn next_of_flow(&mut self, is_first: bool, end: Kind) -> Result<bool, YamlError> {
        if self.peek()? == end {
            return Ok(false);
        }
        if !is_first {
            if self.peek()? != Kind::FlowEntry {
                return Err(self.wrong("a `,` or the closing bracket is missing"));
            }
            self.skip();
        }
        Ok(self.peek()? != end)
    }

    /// `[key: value]` is a list of one mapping.
    fn pair_in_sequence(&mut self) -> Result<Id, YamlError> {
        let mut node = self.blank();
        self.skip();
        let key = match self.peek()? {
            Kind::Value | Kind::FlowEntry | Kind::FlowSequenceEnd => return Err(self.wrong("a key is missing here")),
            _ => self.parse_node(Context::Flow)?,
        };
        let value = self.flow_value(Kind::FlowSequenceEnd)?;
        self.take_foot_of_value(key, value);
        self.peek()?;
        node.shape = Shape::Mapping(vec![(key, value)]);
        self.check_keys(&[(key, value)])?;
        Ok(self.add(node))
    }

    fn flow_value(&mut self, end: Kind) -> Result<Id, YamlError> {
        if self.peek()? != Kind::Value {
            return Ok(self.add_empty());
        }
        self.skip();
        let kind = self.peek()?;
        if kind == Kind::FlowEntry || kind == end { Ok(self.add_empty()) } else { self.parse_node(Context::Flow) }
    }

    pub(super) fn flow_mapping(&mut self) -> Result<Vec<(Id, Id)>, YamlError> {
        let mut pairs = Vec::new();
        self.skip();
        while self.next_of_flow(pairs.is_empty(), Kind::FlowMappingEnd)? {
            let (key, value) = if self.peek()? == Kind::Key {
                self.skip();
                let key = match self.peek()? {
                    Kind::Value | Kind::FlowEntry | Kind::FlowMappingEnd => self.add_empty(),
                    _ => self.parse_node(Context::Flow)?,
                };
                (key, self.flow_value(Kind::FlowMappingEnd)?)
            } else {
                let key = self.parse_node(Context::Flow)?;
                self.peek()?;
                (key, self.add_empty())
            };
            self.take_foot_of_value(key, value);
            pairs.push((key, value));
        }
        Ok(pairs)
    }
}
