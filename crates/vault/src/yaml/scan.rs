//! From text to tokens, as libyaml's scanner makes them; SOPS reads YAML through its port to Go.
//!
//! A parser of YAML 1.2 would take other texts, and put comments elsewhere. Decides nothing about values.

use super::YamlError;
use super::comments::Comment;
use super::cursor::{Cursor, Mark};
use super::tag::Tag;
use crate::secret::Secret;

/// How deep values may be nested, so that no text overflows a stack.
pub(super) const DEEPEST: usize = 100;

/// How a scalar is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Quoted,
    Block,
}

/// What a token is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    StreamStart,
    StreamEnd,
    Directive,
    DocumentStart,
    DocumentEnd,
    BlockSequenceStart,
    BlockMappingStart,
    BlockEnd,
    FlowSequenceStart,
    FlowSequenceEnd,
    FlowMappingStart,
    FlowMappingEnd,
    BlockEntry,
    FlowEntry,
    Key,
    Value,
    Alias,
    Anchor,
    Tag(Tag),
    Scalar(Style),
}

/// A token: of an anchor, an alias and a scalar also the text.
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) start: Mark,
    pub(super) text: Option<Secret>,
}

/// A place where a key without `?` may have begun.
#[derive(Clone, Copy)]
struct SimpleKey {
    is_possible: bool,
    is_required: bool,
    token: usize,
    mark: Mark,
}

/// The scanner.
pub(super) struct Scanner<'t> {
    pub(super) cursor: Cursor<'t>,
    /// All tokens so far; those before `head` are taken.
    pub(super) tokens: Vec<Token>,
    pub(super) head: usize,
    /// The column of the innermost block; -1 outside of any.
    pub(super) indent: isize,
    indents: Vec<isize>,
    /// How many flow collections are open.
    pub(super) flow: usize,
    keys: Vec<SimpleKey>,
    pub(super) may_start_key: bool,
    pub(super) comments: Vec<Comment>,
}

impl<'t> Scanner<'t> {
    pub(super) fn new(text: &'t str) -> Scanner<'t> {
        let start = Token { kind: Kind::StreamStart, start: Mark::default(), text: None };
        let none = SimpleKey { is_possible: false, is_required: false, token: 0, mark: Mark::default() };
        Scanner {
            cursor: Cursor::new(text),
            tokens: vec![start],
            head: 0,
            indent: -1,
            indents: Vec::new(),
            flow: 0,
            keys: vec![none],
            may_start_key: true,
            comments: Vec::new(),
        }
    }

    pub(super) fn wrong(&self, problem: &'static str) -> YamlError {
        YamlError::Syntax { line: self.cursor.mark.line + 1, problem }
    }

    /// Makes sure that the next token is known, and the two behind it: comments that belong to a token may follow these.
    pub(super) fn fetch(&mut self) -> Result<(), YamlError> {
        loop {
            if self.head + 2 < self.tokens.len() {
                let candidate = self.keys.iter().position(|key| key.is_possible && key.token == self.head);
                match candidate {
                    Some(candidate) if self.is_key_possible(candidate)? => {}
                    _ => return Ok(()),
                }
            }
            self.fetch_next()?;
        }
    }

    fn fetch_next(&mut self) -> Result<(), YamlError> {
        let scan_mark = self.cursor.mark;
        self.scan_to_next_token()?;
        self.unroll_indent(isize::try_from(self.cursor.mark.column).unwrap_or(isize::MAX), scan_mark);
        if self.cursor.is_end(0) {
            return self.fetch_stream_end();
        }
        if self.cursor.mark.column == 0 && self.cursor.at(0) == b'%' {
            return self.fetch_directive();
        }
        if self.cursor.is_document_mark() {
            let kind = if self.cursor.at(0) == b'-' { Kind::DocumentStart } else { Kind::DocumentEnd };
            return self.fetch_document_mark(kind);
        }
        if self.cursor.mark.column == 0 && self.cursor.starts_with("\u{FEFF}".as_bytes()) {
            return Err(self.wrong("a byte order mark stands inside the text"));
        }
        let mut comment_mark = self.cursor.mark;
        let joined = if self.flow == 0 { b':' } else { b',' };
        if let (Some(last), true) = (self.tokens.last(), self.cursor.at(0) == joined) {
            // A comment behind `key:` or `value,` belongs to what is before the indicator.
            comment_mark = last.start;
        }
        self.fetch_content()?;
        // Behind a `-` alone it becomes a head comment of what follows.
        if self.tokens.last().is_some_and(|last| last.kind != Kind::BlockEntry) {
            self.scan_line_comment(comment_mark);
        }
        Ok(())
    }

    fn fetch_content(&mut self) -> Result<(), YamlError> {
        let spaced = self.cursor.is_space_or_end(1);
        let in_flow = self.flow > 0;
        match self.cursor.at(0) {
            b'[' => self.fetch_flow_start(Kind::FlowSequenceStart),
            b'{' => self.fetch_flow_start(Kind::FlowMappingStart),
            b']' => self.fetch_flow_end(Kind::FlowSequenceEnd),
            b'}' => self.fetch_flow_end(Kind::FlowMappingEnd),
            b',' => self.fetch_flow_entry(),
            b'-' if spaced => self.fetch_block_entry(),
            b'?' if in_flow || spaced => self.fetch_key(),
            b':' if in_flow || spaced => self.fetch_value(),
            b'*' => self.fetch_anchor(Kind::Alias),
            b'&' => self.fetch_anchor(Kind::Anchor),
            b'!' => self.fetch_tag(),
            b'|' | b'>' if !in_flow => self.fetch_block_scalar(),
            b'\'' | b'"' => self.fetch_quoted(),
            b'\t' | b'#' | b'|' | b'>' | b'%' | b'@' | b'`' => Err(self.wrong("this character starts no value")),
            _ => self.fetch_plain(),
        }
    }

    fn is_key_possible(&mut self, at: usize) -> Result<bool, YamlError> {
        let Some(key) = self.keys.get_mut(at).filter(|key| key.is_possible) else { return Ok(false) };
        let mark = self.cursor.mark;
        // The specification bounds a key that is not introduced by `?`.
        if key.mark.line < mark.line || key.mark.column + 1024 < mark.column {
            key.is_possible = false;
            let is_required = key.is_required;
            return if is_required { Err(self.wrong("the `:` behind a key is missing")) } else { Ok(false) };
        }
        Ok(true)
    }

    fn save_key(&mut self) -> Result<(), YamlError> {
        if !self.may_start_key {
            return Ok(());
        }
        self.remove_key()?;
        let mark = self.cursor.mark;
        let is_required = self.flow == 0 && usize::try_from(self.indent).ok() == Some(mark.column);
        if let Some(last) = self.keys.last_mut() {
            *last = SimpleKey { is_possible: true, is_required, token: self.tokens.len(), mark };
        }
        Ok(())
    }

    fn remove_key(&mut self) -> Result<(), YamlError> {
        match self.keys.last_mut() {
            Some(key) if key.is_possible && key.is_required => Err(self.wrong("the `:` behind a key is missing")),
            Some(key) => {
                key.is_possible = false;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn push(&mut self, kind: Kind, start: Mark) {
        self.tokens.push(Token { kind, start, text: None });
    }

    fn roll_indent(&mut self, column: usize, at: Option<usize>, kind: Kind, mark: Mark) -> Result<(), YamlError> {
        let column = isize::try_from(column).unwrap_or(isize::MAX);
        if self.flow > 0 || self.indent >= column {
            return Ok(());
        }
        self.indents.push(self.indent);
        self.indent = column;
        if self.indents.len() > 2 * DEEPEST {
            return Err(YamlError::Deep { line: mark.line + 1 });
        }
        let token = Token { kind, start: mark, text: None };
        self.tokens.insert(at.unwrap_or(self.tokens.len()), token);
        Ok(())
    }

    /// Ends the blocks that are further in than a column.
    fn unroll_indent(&mut self, column: isize, scan_mark: Mark) {
        if self.flow > 0 {
            return;
        }
        let mut mark = Mark { index: scan_mark.index.saturating_sub(1), ..scan_mark };
        while self.indent > column {
            // An end stands before the comments at the column of its block: these are foot comments of the block.
            let mut stop = mark.index;
            for comment in self.comments.iter().rev() {
                if comment.end.index < stop {
                    break;
                }
                if usize::try_from(self.indent + 1).ok() == Some(comment.start.column) {
                    mark = comment.start;
                }
                stop = comment.scan.index;
            }
            self.push(Kind::BlockEnd, mark);
            self.indent = self.indents.pop().unwrap_or(-1);
        }
    }

    fn end_blocks(&mut self) -> Result<(), YamlError> {
        self.unroll_indent(-1, self.cursor.mark);
        self.remove_key()?;
        self.may_start_key = false;
        Ok(())
    }

    fn fetch_stream_end(&mut self) -> Result<(), YamlError> {
        if self.cursor.mark.column != 0 {
            self.cursor.mark.column = 0;
            self.cursor.mark.line += 1;
        }
        self.end_blocks()?;
        self.push(Kind::StreamEnd, self.cursor.mark);
        Ok(())
    }

    /// `%YAML 1.1` is all that go-yaml takes, but for tags of its own.
    fn fetch_directive(&mut self) -> Result<(), YamlError> {
        self.end_blocks()?;
        let start = self.cursor.mark;
        if !self.cursor.starts_with(b"%YAML") || !matches!(self.cursor.at(5), b' ' | b'\t') {
            return Err(YamlError::Directive { line: start.line + 1 });
        }
        let mut version = [0; 3];
        self.cursor.skip_many(5);
        while self.cursor.is_blank(0) {
            self.cursor.skip();
        }
        for byte in &mut version {
            *byte = self.cursor.at(0);
            self.cursor.skip();
        }
        while self.cursor.is_blank(0) {
            self.cursor.skip();
        }
        if self.cursor.at(0) == b'#' {
            while !self.cursor.is_break_or_end(0) {
                self.cursor.skip();
            }
        }
        if &version != b"1.1" || !self.cursor.is_break_or_end(0) {
            return Err(YamlError::Directive { line: start.line + 1 });
        }
        self.cursor.skip_line();
        self.push(Kind::Directive, start);
        Ok(())
    }

    fn fetch_document_mark(&mut self, kind: Kind) -> Result<(), YamlError> {
        self.end_blocks()?;
        let start = self.cursor.mark;
        self.cursor.skip_many(3);
        self.push(kind, start);
        Ok(())
    }

    fn indicator(&mut self, kind: Kind) {
        let start = self.cursor.mark;
        self.cursor.skip();
        self.push(kind, start);
    }

    fn fetch_flow_start(&mut self, kind: Kind) -> Result<(), YamlError> {
        self.save_key()?;
        let mark = self.cursor.mark;
        self.keys.push(SimpleKey { is_possible: false, is_required: false, token: 0, mark });
        self.flow += 1;
        if self.flow > DEEPEST {
            return Err(YamlError::Deep { line: mark.line + 1 });
        }
        self.may_start_key = true;
        self.indicator(kind);
        Ok(())
    }

    fn fetch_flow_end(&mut self, kind: Kind) -> Result<(), YamlError> {
        self.remove_key()?;
        if self.flow > 0 {
            self.flow -= 1;
            self.keys.pop();
        }
        self.may_start_key = false;
        self.indicator(kind);
        Ok(())
    }

    fn fetch_flow_entry(&mut self) -> Result<(), YamlError> {
        self.remove_key()?;
        self.may_start_key = true;
        self.indicator(Kind::FlowEntry);
        Ok(())
    }

    fn fetch_block_entry(&mut self) -> Result<(), YamlError> {
        let mark = self.cursor.mark;
        if self.flow == 0 {
            if !self.may_start_key {
                return Err(self.wrong("a list cannot start here"));
            }
            self.roll_indent(mark.column, None, Kind::BlockSequenceStart, mark)?;
        }
        self.remove_key()?;
        self.may_start_key = true;
        self.indicator(Kind::BlockEntry);
        Ok(())
    }

    fn fetch_key(&mut self) -> Result<(), YamlError> {
        let mark = self.cursor.mark;
        if self.flow == 0 {
            if !self.may_start_key {
                return Err(self.wrong("a key cannot start here"));
            }
            self.roll_indent(mark.column, None, Kind::BlockMappingStart, mark)?;
        }
        self.remove_key()?;
        self.may_start_key = self.flow == 0;
        self.indicator(Kind::Key);
        Ok(())
    }

    fn fetch_value(&mut self) -> Result<(), YamlError> {
        let mark = self.cursor.mark;
        let last = self.keys.len().saturating_sub(1);
        if let (true, Some(key)) = (self.is_key_possible(last)?, self.keys.get(last).copied()) {
            let token = Token { kind: Kind::Key, start: key.mark, text: None };
            self.tokens.insert(key.token, token);
            self.roll_indent(key.mark.column, Some(key.token), Kind::BlockMappingStart, key.mark)?;
            self.keys.iter_mut().skip(last).for_each(|key| key.is_possible = false);
            self.may_start_key = false;
        } else {
            if self.flow == 0 {
                if !self.may_start_key {
                    return Err(
                        self.wrong("a value of a key cannot start here; hint: quote a text that has `: ` in it")
                    );
                }
                self.roll_indent(mark.column, None, Kind::BlockMappingStart, mark)?;
            }
            self.may_start_key = self.flow == 0;
        }
        self.indicator(Kind::Value);
        Ok(())
    }

    fn fetch_anchor(&mut self, kind: Kind) -> Result<(), YamlError> {
        self.save_key()?;
        self.may_start_key = false;
        let token = self.scan_anchor(kind)?;
        self.tokens.push(token);
        Ok(())
    }

    fn fetch_tag(&mut self) -> Result<(), YamlError> {
        self.save_key()?;
        self.may_start_key = false;
        let token = self.scan_tag()?;
        self.tokens.push(token);
        Ok(())
    }

    fn fetch_block_scalar(&mut self) -> Result<(), YamlError> {
        self.remove_key()?;
        self.may_start_key = true;
        let token = self.scan_block()?;
        self.tokens.push(token);
        Ok(())
    }

    fn fetch_quoted(&mut self) -> Result<(), YamlError> {
        self.save_key()?;
        self.may_start_key = false;
        let token = self.scan_quoted()?;
        self.tokens.push(token);
        Ok(())
    }

    fn fetch_plain(&mut self) -> Result<(), YamlError> {
        self.save_key()?;
        self.may_start_key = false;
        let token = self.scan_plain()?;
        self.tokens.push(token);
        Ok(())
    }
}
