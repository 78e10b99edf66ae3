//! From trees to text, as close to what SOPS writes as can be read back without a difference.
//!
//! Comments stand above what they belong to. Those at the end of a mapping or list are followed by an empty line, which
//! keeps go-yaml from giving them to what follows.

use super::YamlError;
use super::moment;
use super::scan::DEEPEST;
use super::style::{Form, base64_of, float_text, form_of, is_comment, is_plain, quote};
use crate::secret::{Secret, Sink};
use crate::tree::{Branch, Element, Item, Value};

/// SOPS's indentation.
const INDENT: usize = 4;

/// From this length on a key needs `?`: readers look 1024 characters ahead.
const LONGEST_KEY: usize = 128;

/// Where the first part of a mapping or list goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum First {
    NewLine,
    SameLine,
}

/// What a value belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Entry,
    Item,
}

fn holds_entries(branch: &Branch) -> bool {
    branch.iter().any(|item| matches!(item, Item::Entry(..)))
}

fn holds_values(list: &[Element]) -> bool {
    list.iter().any(|element| matches!(element, Element::Value(_)))
}

/// What is written.
#[derive(Default)]
pub(super) struct Writer {
    out: Sink,
    /// Comments were the last of a mapping or list.
    after_foot: bool,
}

impl Writer {
    pub(super) fn finish(self) -> Secret {
        self.out.into_secret()
    }

    /// Writes a document; the marker that divides them is in front of each but the first.
    pub(super) fn document(&mut self, branch: &Branch, is_first: bool) -> Result<(), YamlError> {
        if !is_first {
            self.start_line(0);
            self.out.push(b"---\n");
        }
        self.map(branch, 0, 0, First::NewLine)
    }

    fn start_line(&mut self, column: usize) {
        if std::mem::take(&mut self.after_foot) {
            self.out.push(b"\n");
        }
        (0..column).for_each(|_| self.out.push(b" "));
    }

    fn comment(&mut self, text: &Secret, column: usize) -> Result<(), YamlError> {
        let text = text.expose_text().filter(|text| is_comment(text)).ok_or(YamlError::Comment)?;
        self.start_line(column);
        self.out.push(b"#");
        self.out.push(text.as_bytes());
        self.out.push(b"\n");
        Ok(())
    }

    /// Writes the parts of a mapping.
    fn map(&mut self, branch: &Branch, column: usize, depth: usize, mut first: First) -> Result<(), YamlError> {
        for item in branch {
            match item {
                Item::Comment(text) => self.comment(text, column)?,
                Item::Entry(name, value) => {
                    match std::mem::replace(&mut first, First::NewLine) {
                        First::NewLine => self.start_line(column),
                        First::SameLine => {}
                    }
                    self.entry(name, value, column, depth)?;
                }
            }
        }
        if !holds_entries(branch) {
            self.start_line(column);
            self.out.push(b"{}\n");
        }
        self.after_foot |= holds_entries(branch) && matches!(branch.last(), Some(Item::Comment(_)));
        Ok(())
    }

    /// Writes the parts of a list.
    fn list(&mut self, list: &[Element], column: usize, depth: usize, mut first: First) -> Result<(), YamlError> {
        for element in list {
            match element {
                Element::Comment(text) => self.comment(text, column)?,
                Element::Value(value) => {
                    match std::mem::replace(&mut first, First::NewLine) {
                        First::NewLine => self.start_line(column),
                        First::SameLine => {}
                    }
                    self.out.push(b"-");
                    self.value(value, Place::Item, column + 2, depth + 1)?;
                }
            }
        }
        if !holds_values(list) {
            self.start_line(column);
            self.out.push(b"[]\n");
        }
        self.after_foot |= holds_values(list) && matches!(list.last(), Some(Element::Comment(_)));
        Ok(())
    }

    fn entry(&mut self, name: &str, value: &Value, column: usize, depth: usize) -> Result<(), YamlError> {
        let is_long = name.len() > LONGEST_KEY;
        if is_long {
            self.out.push(b"? ");
        }
        if is_plain(name) {
            self.out.push(name.as_bytes());
        } else {
            quote(name, &mut self.out);
        }
        if is_long {
            self.out.push(b"\n");
            self.start_line(column);
        }
        self.out.push(b":");
        self.value(value, Place::Entry, column + INDENT, depth + 1)
    }

    /// Writes a value behind `:` or `-`; the lines of it start at the column.
    fn value(&mut self, value: &Value, place: Place, column: usize, depth: usize) -> Result<(), YamlError> {
        if depth > DEEPEST {
            return Err(YamlError::Deep { line: 0 });
        }
        let starts_with_comment = match value {
            Value::Map(branch) => matches!(branch.first(), Some(Item::Comment(_))),
            Value::List(list) => matches!(list.first(), Some(Element::Comment(_))),
            _ => false,
        };
        let is_empty = match value {
            Value::Map(branch) => branch.is_empty(),
            Value::List(list) => list.is_empty(),
            _ => true,
        };
        let first = if is_empty || (place == Place::Item && !starts_with_comment) {
            self.out.push(b" ");
            First::SameLine
        } else {
            self.out.push(b"\n");
            First::NewLine
        };
        match value {
            Value::Map(branch) if branch.is_empty() => self.out.push(b"{}\n"),
            Value::List(list) if list.is_empty() => self.out.push(b"[]\n"),
            Value::Map(branch) => self.map(branch, column, depth, first)?,
            Value::List(list) => self.list(list, column, depth, first)?,
            Value::Text(text) => self.text(text, column),
            Value::Time(time) if moment::read(time) == Some(Some(time.clone())) => self.line(time),
            Value::Time(_) => return Err(YamlError::NoMoment),
            Value::Null => self.line("null"),
            Value::Bool(true) => self.line("true"),
            Value::Bool(false) => self.line("false"),
            Value::Int(number) => self.line(&number.to_string()),
            Value::Float(number) => self.line(&float_text(*number)),
        }
        Ok(())
    }

    fn line(&mut self, text: &str) {
        self.out.push(text.as_bytes());
        self.out.push(b"\n");
    }

    fn text(&mut self, value: &Secret, column: usize) {
        let Some(text) = value.expose_text() else {
            self.out.push(b"!!binary \"");
            self.out.push(base64_of(value).expose());
            self.out.push(b"\"\n");
            return;
        };
        match form_of(text) {
            Form::Plain => self.line(text),
            Form::Quoted => {
                quote(text, &mut self.out);
                self.out.push(b"\n");
            }
            Form::Literal => {
                self.out.push(if text.ends_with('\n') { b"|" } else { b"|-" });
                self.out.push(b"\n");
                for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
                    // An empty line needs no indentation.
                    (0..column).filter(|_| !line.is_empty()).for_each(|_| self.out.push(b" "));
                    self.line(line);
                }
            }
        }
    }
}
