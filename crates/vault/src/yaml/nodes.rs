//! From tokens to nodes with their comments, as go-yaml's parser joins them.
//!
//! Knows nothing of values: what a scalar means is for [`super::resolve`], what SOPS makes of a node for [`super::load`].

use std::collections::{HashMap, HashSet};

use super::YamlError;
use super::comments::Place;
use super::lexis::text_of;
use super::scan::{DEEPEST, Kind, Scanner, Style, Token};
use super::tag::Tag;
use crate::secret::Secret;

/// Which node.
pub(super) type Id = usize;

/// What a node is.
pub(super) enum Shape {
    Scalar(Secret, Style),
    Sequence(Vec<Id>),
    Mapping(Vec<(Id, Id)>),
    /// What has the anchor.
    Alias(Id),
}

/// A node, with the comments that go-yaml gives it.
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) shape: Shape,
    pub(super) tag: Option<Tag>,
    pub(super) is_anchored: bool,
    pub(super) head: Secret,
    pub(super) beside: Secret,
    pub(super) foot: Secret,
}

/// A document: its root, and comments that are none of the root's.
pub(super) struct Document {
    pub(super) root: Id,
    pub(super) head: Secret,
    pub(super) foot: Secret,
}

/// All nodes of a text, and its documents.
pub(super) struct Nodes {
    pub(super) all: Vec<Node>,
    pub(super) documents: Vec<Document>,
}

impl Nodes {
    pub(super) fn node(&self, id: Id) -> Option<&Node> {
        self.all.get(id)
    }
}

/// What may stand at a place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Context {
    Block,
    /// A value of a key: a list may be no further in than the key.
    BlockOrFlush,
    Flow,
}

pub(super) fn nothing() -> Secret {
    Secret::new(Vec::new())
}

/// Puts lines below lines.
fn join(above: &mut Secret, below: &Secret) {
    let mut joined = crate::secret::Sink::default();
    joined.push(above.expose());
    if !above.expose().is_empty() {
        joined.push(b"\n");
    }
    joined.push(below.expose());
    *above = joined.into_secret();
}

pub(super) struct Parser<'t> {
    scanner: Scanner<'t>,
    next_comment: usize,
    pub(super) head: Secret,
    beside: Secret,
    foot: Secret,
    /// A head comment of a list item that is a collection.
    pub(super) stem: Option<Secret>,
    pub(super) all: Vec<Node>,
    /// What has an anchor: nothing while it is not read to its end.
    anchors: HashMap<Secret, Option<Id>>,
    depth: usize,
}

/// Parses a text.
pub(super) fn parse(text: &str) -> Result<Nodes, YamlError> {
    let mut parser = Parser {
        scanner: Scanner::new(text),
        next_comment: 0,
        head: nothing(),
        beside: nothing(),
        foot: nothing(),
        stem: None,
        all: Vec::new(),
        anchors: HashMap::new(),
        depth: 0,
    };
    parser.peek()?;
    parser.skip();
    let mut documents = Vec::new();
    while let Some(document) = parser.document(documents.is_empty())? {
        documents.push(document);
    }
    Ok(Nodes { all: parser.all, documents })
}

impl Parser<'_> {
    /// The next token's kind. Comments up to it are with it from here on.
    pub(super) fn peek(&mut self) -> Result<Kind, YamlError> {
        self.scanner.fetch()?;
        let Some(token) = self.scanner.tokens.get(self.scanner.head) else { return Ok(Kind::StreamEnd) };
        let (kind, index) = (token.kind, token.start.index);
        while let Some(comment) = self.scanner.comments.get_mut(self.next_comment) {
            // An end has no head: that is for what follows.
            if index < comment.token.index || (comment.place == Place::Head && kind == Kind::BlockEnd) {
                break;
            }
            let lines = match comment.place {
                Place::Head => &mut self.head,
                Place::Line => &mut self.beside,
                Place::Foot | Place::Taken => &mut self.foot,
            };
            join(lines, &comment.take());
            self.next_comment += 1;
        }
        Ok(kind)
    }

    fn line(&self) -> usize {
        self.scanner.tokens.get(self.scanner.head).map_or(0, |token| token.start.line + 1)
    }

    pub(super) fn skip(&mut self) -> Option<&mut Token> {
        self.scanner.head += 1;
        self.scanner.tokens.get_mut(self.scanner.head - 1)
    }

    pub(super) fn wrong(&self, problem: &'static str) -> YamlError {
        YamlError::Syntax { line: self.line(), problem }
    }

    pub(super) fn blank(&self) -> Node {
        let shape = Shape::Scalar(nothing(), Style::Plain);
        let (head, beside, foot) = (nothing(), nothing(), nothing());
        Node { line: self.line(), shape, tag: None, is_anchored: false, head, beside, foot }
    }

    pub(super) fn take_comments(&mut self, node: &mut Node) {
        node.head = std::mem::replace(&mut self.head, nothing());
        node.beside = std::mem::replace(&mut self.beside, nothing());
        node.foot = std::mem::replace(&mut self.foot, nothing());
        self.stem = None;
    }

    pub(super) fn add(&mut self, node: Node) -> Id {
        self.all.push(node);
        self.all.len() - 1
    }

    pub(super) fn add_empty(&mut self) -> Id {
        let node = self.blank();
        self.add(node)
    }

    fn document(&mut self, is_first: bool) -> Result<Option<Document>, YamlError> {
        while !is_first && self.peek()? == Kind::DocumentEnd {
            self.skip();
        }
        let kind = self.peek()?;
        if kind == Kind::StreamEnd {
            return Ok(None);
        }
        let mut head = nothing();
        let root = if !is_first || matches!(kind, Kind::Directive | Kind::DocumentStart) {
            let mut directives = 0;
            while self.peek()? == Kind::Directive {
                directives += 1;
                self.skip();
            }
            if self.peek()? != Kind::DocumentStart || directives > 1 {
                return Err(self.wrong("a document starts here without `---`"));
            }
            self.skip();
            match self.peek()? {
                Kind::Directive | Kind::DocumentStart | Kind::DocumentEnd | Kind::StreamEnd => self.add_empty(),
                _ => self.parse_node(Context::Block)?,
            }
        } else {
            head = self.split_document_head();
            self.parse_node(Context::Block)?
        };
        let mut end = self.blank();
        if self.peek()? == Kind::DocumentEnd {
            self.skip();
        }
        self.take_comments(&mut end);
        let foot = if end.foot.expose().is_empty() { end.head } else { end.foot };
        self.anchors.clear();
        Ok(Some(Document { root, head, foot }))
    }

    /// What is above the last empty line is the document's, what is below it the first node's.
    fn split_document_head(&mut self) -> Secret {
        let lines = self.head.expose();
        let Some(last) = lines.len().checked_sub(1) else { return nothing() };
        let breaks = (1..=last).rev().filter(|at| lines.get(*at) == Some(&b'\n'));
        let is_empty_line = |at: &usize| *at == last || lines.get(*at - 1) == Some(&b'\n');
        let Some(at) = breaks.clone().find(is_empty_line) else { return nothing() };
        let until = if at == last { at } else { at - 1 };
        let above = Secret::new(lines.get(..until).unwrap_or_default().to_vec());
        self.head = Secret::new(lines.get(at + 1..).unwrap_or_default().to_vec());
        above
    }

    pub(super) fn parse_node(&mut self, context: Context) -> Result<Id, YamlError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(YamlError::Deep { line: self.line() });
        }
        let mut node = self.blank();
        let id = if self.peek()? == Kind::Alias {
            self.alias(node)?
        } else {
            let anchor = self.properties(&mut node)?;
            if let Some(name) = &anchor {
                node.is_anchored = true;
                self.anchors.insert(name.duplicate(), None);
            }
            let has_properties = anchor.is_some() || node.tag.is_some();
            let id = self.content(node, context, has_properties)?;
            // The name may have been taken again inside.
            if let Some(place) = anchor.and_then(|name| self.anchors.get_mut(&name)) {
                place.get_or_insert(id);
            }
            id
        };
        self.depth -= 1;
        Ok(id)
    }

    fn alias(&mut self, mut node: Node) -> Result<Id, YamlError> {
        self.take_comments(&mut node);
        let name = self.skip().map_or_else(nothing, text_of);
        let target = self.anchors.get(&name).ok_or(YamlError::Alias { line: node.line })?;
        node.shape = Shape::Alias(target.ok_or(YamlError::Cycle { line: node.line })?);
        Ok(self.add(node))
    }

    /// Reads an anchor and a tag, in any order.
    fn properties(&mut self, node: &mut Node) -> Result<Option<Secret>, YamlError> {
        let mut anchor = None;
        loop {
            match self.peek()? {
                Kind::Anchor if anchor.is_none() => anchor = Some(self.skip().map_or_else(nothing, text_of)),
                Kind::Tag(tag) if node.tag.is_none() => {
                    node.tag = Some(tag);
                    self.skip();
                }
                _ => return Ok(anchor),
            }
        }
    }

    fn content(&mut self, mut node: Node, context: Context, has_properties: bool) -> Result<Id, YamlError> {
        let kind = self.peek()?;
        match kind {
            Kind::BlockEntry if context == Context::BlockOrFlush => {
                node.shape = Shape::Sequence(self.flush_sequence()?);
            }
            Kind::Scalar(style) => {
                self.take_comments(&mut node);
                node.shape = Shape::Scalar(self.skip().map_or_else(nothing, text_of), style);
            }
            Kind::FlowSequenceStart => {
                self.take_comments(&mut node);
                let items = self.flow_sequence()?;
                self.end_flow(&mut node, Shape::Sequence(items));
            }
            Kind::FlowMappingStart => {
                self.take_comments(&mut node);
                let pairs = self.flow_mapping()?;
                self.end_flow(&mut node, Shape::Mapping(pairs));
            }
            Kind::BlockSequenceStart if context != Context::Flow => {
                node.head = self.stem.take().unwrap_or_else(nothing);
                node.shape = Shape::Sequence(self.block_sequence()?);
            }
            Kind::BlockMappingStart if context != Context::Flow => {
                node.head = self.stem.take().unwrap_or_else(nothing);
                let (pairs, beside) = self.block_mapping()?;
                node.shape = Shape::Mapping(pairs);
                node.beside = beside;
            }
            _ if has_properties => {}
            _ => return Err(self.wrong("a value is missing here")),
        }
        if let Shape::Mapping(pairs) = &node.shape {
            self.check_keys(pairs)?;
        }
        Ok(self.add(node))
    }

    /// Takes the comments in front of the closing bracket, which is skipped; those in front of it as a head are lost.
    fn end_flow(&mut self, node: &mut Node, shape: Shape) {
        let mut end = self.blank();
        self.take_comments(&mut end);
        self.skip();
        node.beside = end.beside;
        node.foot = end.foot;
        node.shape = shape;
    }

    pub(super) fn check_keys(&self, pairs: &[(Id, Id)]) -> Result<(), YamlError> {
        let mut names = HashSet::new();
        for key in pairs.iter().filter_map(|(key, _)| self.all.get(*key)) {
            match &key.shape {
                Shape::Scalar(name, _) if names.insert(name.expose()) => {}
                Shape::Scalar(..) => return Err(YamlError::Twice { line: key.line }),
                _ => return Err(YamlError::Key { line: key.line }),
            }
        }
        Ok(())
    }
}
