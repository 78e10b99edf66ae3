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

fn comment_of(element: &Element) -> Option<&Secret> {
    match element {
        Element::Comment(text) => Some(text),
        Element::Value(_) => None,
    }
}

/// Whether a value has parts that are no comments.
fn holds_values(value: &Value) -> bool {
    match value {
        Value::Map(branch) => branch.iter().any(|item| matches!(item, Item::Entry(..))),
        Value::List(list) => list.iter().any(|element| matches!(element, Element::Value(_))),
        _ => false,
    }
}

/// Where the parts of a value are written.
#[derive(Clone, Copy)]
struct At {
    column: usize,
    depth: usize,
}

/// What is written.
#[derive(Default)]
pub(super) struct Writer {
    out: Sink,
    /// Comments were the last of a mapping or list.
    after_feet: bool,
    /// The column of the part that was written last, until comments follow there.
    innermost: Option<usize>,
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
        self.map(branch, At { column: 0, depth: 0 }, First::NewLine, &[])
    }

    fn start_line(&mut self, column: usize) {
        if std::mem::take(&mut self.after_feet) {
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

    /// Writes the last comments of a mapping or list.
    ///
    /// An empty line in front of them would make them a head of what follows, if those of the innermost block are above.
    fn feet(&mut self, feet: &[&Secret], column: usize) -> Result<(), YamlError> {
        if feet.is_empty() {
            return Ok(());
        }
        self.after_feet &= self.innermost.is_some();
        feet.iter().try_for_each(|text| self.comment(text, column))?;
        self.after_feet = true;
        self.innermost = self.innermost.filter(|innermost| *innermost != column);
        Ok(())
    }

    /// Starts a part of a collection: the first one may stand behind a `-`.
    fn start_part(&mut self, column: usize, first: &mut First) {
        match std::mem::replace(first, First::NewLine) {
            First::NewLine => self.start_line(column),
            First::SameLine => {}
        }
        self.innermost = Some(column);
    }

    /// Writes the parts of a mapping, and then comments of the lists that it is the last item of.
    fn map(&mut self, branch: &Branch, at: At, mut first: First, feet: &[&Secret]) -> Result<(), YamlError> {
        let last = branch.iter().rposition(|item| matches!(item, Item::Entry(..)));
        let mut own_feet = Vec::new();
        for (index, item) in branch.iter().enumerate() {
            match item {
                Item::Comment(text) if last.is_some_and(|last| index > last) => own_feet.push(text),
                Item::Comment(text) => self.comment(text, at.column)?,
                Item::Entry(name, value) => {
                    self.start_part(at.column, &mut first);
                    self.entry(name, value, at)?;
                }
            }
        }
        if last.is_none() {
            self.start_part(at.column, &mut first);
            self.out.push(b"{}\n");
        }
        own_feet.extend(feet);
        self.feet(&own_feet, at.column)
    }

    /// Writes the parts of a list, and then comments of the lists that it is the last item of.
    ///
    /// go-yaml has no last comments of a list whose last item is a collection: it would put them outside of the list,
    /// where their path is another, and with it their encryption. Within that item their path is the same.
    fn list(&mut self, list: &[Element], at: At, mut first: First, feet: &[&Secret]) -> Result<(), YamlError> {
        let last = list.iter().rposition(|element| matches!(element, Element::Value(_)));
        let feet_of_list = list.iter().skip(last.map_or(list.len(), |last| last + 1));
        let mut own_feet: Vec<&Secret> = feet_of_list.filter_map(comment_of).collect();
        own_feet.extend(feet);
        for (index, element) in list.iter().enumerate() {
            match element {
                Element::Comment(_) if last.is_some_and(|last| index > last) => {}
                Element::Comment(text) => self.comment(text, at.column)?,
                Element::Value(value) => {
                    self.start_part(at.column, &mut first);
                    self.out.push(b"-");
                    let is_last = last == Some(index) && holds_values(value);
                    let feet = if is_last { std::mem::take(&mut own_feet) } else { Vec::new() };
                    self.value(value, Place::Item, At { column: at.column + 2, depth: at.depth + 1 }, &feet)?;
                }
            }
        }
        if last.is_none() {
            self.start_part(at.column, &mut first);
            self.out.push(b"[]\n");
        }
        self.feet(&own_feet, at.column)
    }

    fn entry(&mut self, name: &str, value: &Value, at: At) -> Result<(), YamlError> {
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
            self.start_line(at.column);
        }
        self.out.push(b":");
        self.value(value, Place::Entry, At { column: at.column + INDENT, depth: at.depth + 1 }, &[])
    }

    /// Writes a value behind `:` or `-`.
    fn value(&mut self, value: &Value, place: Place, at: At, feet: &[&Secret]) -> Result<(), YamlError> {
        if at.depth > DEEPEST {
            return Err(YamlError::TooDeep);
        }
        let (is_empty, starts_with_comment) = match value {
            Value::Map(branch) => (branch.is_empty(), matches!(branch.first(), Some(Item::Comment(_)))),
            Value::List(list) => (list.is_empty(), matches!(list.first(), Some(Element::Comment(_)))),
            _ => (true, false),
        };
        let first = if is_empty || (place == Place::Item && !starts_with_comment) {
            self.out.push(b" ");
            First::SameLine
        } else {
            self.out.push(b"\n");
            First::NewLine
        };
        match value {
            Value::Map(branch) => self.map(branch, at, first, feet)?,
            Value::List(list) => self.list(list, at, first, feet)?,
            Value::Text(text) => self.text(text, at.column),
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
