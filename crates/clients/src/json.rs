//! JSON, JSONC and JSON5 read with the place of every part, so that an edit touches only what it means.
//!
//! Pure. A dialect takes what its client takes and no more: a file that the client would ignore is refused, since
//! the hooks in it would never run.

use std::ops::Range;

/// What a client's own parser takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// RFC 8259.
    Json,
    /// With comments and trailing commas.
    Jsonc,
    /// All of JSON5.
    Json5,
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub struct Node {
    /// From its first byte to behind its last one.
    pub span: Range<usize>,
    /// What it is.
    pub shape: Shape,
}

/// What a value is.
#[derive(Debug, Clone)]
pub enum Shape {
    /// Members with names, in their order.
    Object(Vec<Item>),
    /// Elements, in their order.
    Array(Vec<Item>),
    /// A text, without its quotes and escapes.
    Text(String),
    /// A number, `true`, `false` or `null`, as it is written.
    Word(String),
}

/// A member of an object, or an element of an array, which has no key.
#[derive(Debug, Clone)]
pub struct Item {
    /// Its key; empty in an array.
    pub name: String,
    /// Where it begins: at its key, or at its value.
    pub start: usize,
    /// What it holds.
    pub value: Node,
    /// The comma behind it.
    pub comma: Option<usize>,
}

/// Where a text is not what its client would read, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The byte.
    pub at: usize,
    /// Why, in a few words.
    pub why: &'static str,
}

/// Deeper nesting is no settings file, and would end in a stack overflow.
const MAX_DEPTH: usize = 100;

/// Reads one value and what surrounds it; `None` when there is nothing but white space.
///
/// # Errors
/// A text that a client of this dialect would not read.
pub fn parse(text: &str, dialect: Dialect) -> Result<Option<Node>, Mistake> {
    let mut reader = Reader { text, at: 0, dialect };
    reader.trivia()?;
    if reader.peek().is_none() {
        return match text.trim().is_empty() {
            true => Ok(None),
            false => Err(reader.mistake("there is nothing but comments")),
        };
    }
    let node = reader.value(0)?;
    reader.trivia()?;
    match reader.peek() {
        None => Ok(Some(node)),
        Some(_) => Err(reader.mistake("something follows the end of the value")),
    }
}

/// Where white space and comments end, from `at` on.
pub fn skip_trivia(text: &str, at: usize) -> usize {
    let mut reader = Reader { text, at, dialect: Dialect::Json5 };
    match reader.trivia() {
        Ok(()) => reader.at,
        Err(_) => at,
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    dialect: Dialect,
}

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn take(&mut self, wanted: char) -> bool {
        let is_there = self.peek() == Some(wanted);
        if is_there {
            self.at += wanted.len_utf8();
        }
        is_there
    }

    fn mistake(&self, why: &'static str) -> Mistake {
        Mistake { at: self.at, why }
    }

    fn is_space(&self, c: char) -> bool {
        let is_wide = || matches!(c, '\u{b}' | '\u{c}' | '\u{feff}' | '\u{2028}' | '\u{2029}') || c.is_whitespace();
        matches!(c, ' ' | '\t' | '\n' | '\r') || (self.dialect == Dialect::Json5 && is_wide())
    }

    fn trivia(&mut self) -> Result<(), Mistake> {
        loop {
            match self.peek() {
                Some(c) if self.is_space(c) => self.at += c.len_utf8(),
                Some('/') if self.dialect == Dialect::Json => return Err(self.mistake("comments are not JSON")),
                Some('/') if self.rest().starts_with("//") => {
                    self.at += self.rest().find(['\n', '\r']).unwrap_or(self.rest().len());
                }
                Some('/') if self.rest().starts_with("/*") => match self.rest().find("*/") {
                    Some(end) if end >= 2 => self.at += end + 2,
                    _ => return Err(self.mistake("a comment is not closed")),
                },
                _ => return Ok(()),
            }
        }
    }

    fn value(&mut self, depth: usize) -> Result<Node, Mistake> {
        if depth > MAX_DEPTH {
            return Err(self.mistake("it is nested too deeply"));
        }
        let start = self.at;
        let shape = match self.peek() {
            Some('{') => Shape::Object(self.items('}', depth)?),
            Some('[') => Shape::Array(self.items(']', depth)?),
            Some('"') => Shape::Text(self.string()?),
            Some('\'') if self.dialect == Dialect::Json5 => Shape::Text(self.string()?),
            Some(_) => Shape::Word(self.word()?),
            None => return Err(self.mistake("a value is missing")),
        };
        Ok(Node { span: start..self.at, shape })
    }

    fn items(&mut self, close: char, depth: usize) -> Result<Vec<Item>, Mistake> {
        self.next();
        let mut items: Vec<Item> = Vec::new();
        loop {
            self.trivia()?;
            if self.peek() == Some(close) {
                let is_trailing = items.last().is_some_and(|item| item.comma.is_some());
                if is_trailing && self.dialect == Dialect::Json {
                    return Err(self.mistake("a comma before the end is not JSON"));
                }
                self.next();
                return Ok(items);
            }
            if items.last().is_some_and(|item| item.comma.is_none()) {
                return Err(self.mistake("a comma is missing"));
            }
            let start = self.at;
            let name = if close == '}' { self.key()? } else { String::new() };
            let value = self.value(depth + 1)?;
            // Comments may stand before the comma; an edit must find it behind them.
            self.trivia()?;
            let at = self.at;
            let comma = self.take(',').then_some(at);
            items.push(Item { name, start, value, comma });
        }
    }

    fn key(&mut self) -> Result<String, Mistake> {
        let name = match self.peek() {
            Some('"') => self.string()?,
            Some('\'') if self.dialect == Dialect::Json5 => self.string()?,
            Some(c) if self.dialect == Dialect::Json5 && (c.is_alphabetic() || matches!(c, '_' | '$' | '\\')) => {
                let rest = self.rest();
                let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | '\u{200c}' | '\u{200d}');
                let end = rest.find(|c: char| !is_part(c)).unwrap_or(rest.len());
                if rest[end..].starts_with('\\') {
                    return Err(self.mistake("a name with an escape is not supported: write it in quotes"));
                }
                self.at += end;
                rest[..end].to_owned()
            }
            _ => return Err(self.mistake("a name is missing")),
        };
        self.trivia()?;
        if !self.take(':') {
            return Err(self.mistake("a colon is missing"));
        }
        self.trivia()?;
        Ok(name)
    }

    fn string(&mut self) -> Result<String, Mistake> {
        let quote = self.next();
        let mut out = String::new();
        loop {
            match self.next() {
                None => return Err(self.mistake("a text is not closed")),
                c if c == quote => return Ok(out),
                Some('\\') => self.escape(&mut out)?,
                Some(c) if c < ' ' && (self.dialect != Dialect::Json5 || matches!(c, '\n' | '\r')) => {
                    return Err(self.mistake("a text holds a control character"));
                }
                Some(c) => out.push(c),
            }
        }
    }

    fn escape(&mut self, out: &mut String) -> Result<(), Mistake> {
        let is_json5 = self.dialect == Dialect::Json5;
        let Some(c) = self.next() else { return Err(self.mistake("a text is not closed")) };
        match c {
            '"' | '\\' | '/' => out.push(c),
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            'n' => out.push('\n'),
            'r' => out.push('\r'),
            't' => out.push('\t'),
            'u' => {
                let mut unit = self.hex(4)?;
                // A pair of surrogates is one character; half of one means nothing that we would ever compare.
                if (0xd800..0xdc00).contains(&unit) && self.rest().starts_with("\\u") {
                    self.at += 2;
                    let low = self.hex(4)?;
                    unit = 0x10000 + ((unit - 0xd800) << 10) + (low.wrapping_sub(0xdc00) & 0x3ff);
                }
                out.push(char::from_u32(unit).unwrap_or('\u{fffd}'));
            }
            'x' if is_json5 => {
                let unit = self.hex(2)?;
                out.push(char::from_u32(unit).unwrap_or('\u{fffd}'));
            }
            'v' if is_json5 => out.push('\u{b}'),
            '0' if is_json5 && !self.rest().starts_with(|c: char| c.is_ascii_digit()) => out.push('\0'),
            '\r' if is_json5 => {
                self.take('\n');
            }
            '\n' | '\u{2028}' | '\u{2029}' if is_json5 => {}
            c if is_json5 && !c.is_ascii_digit() => out.push(c),
            _ => return Err(self.mistake("an unknown escape")),
        }
        Ok(())
    }

    fn hex(&mut self, digits: usize) -> Result<u32, Mistake> {
        let text = self.rest().get(..digits).filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()));
        let value = text.and_then(|text| u32::from_str_radix(text, 16).ok());
        let value = value.ok_or_else(|| self.mistake("an escape needs hexadecimal digits"))?;
        self.at += digits;
        Ok(value)
    }

    fn word(&mut self) -> Result<String, Mistake> {
        let rest = self.rest();
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        let end = rest.find(|c: char| !is_part(c)).unwrap_or(rest.len());
        let word = &rest[..end];
        let is_plain = matches!(word, "true" | "false" | "null") || is_number(word);
        let is_more = self.dialect == Dialect::Json5 && is_json5_number(word);
        if !is_plain && !is_more {
            return Err(self.mistake("this is no value"));
        }
        self.at += end;
        Ok(word.to_owned())
    }
}

/// A number of RFC 8259: no plus before it, no zeros, and digits on both sides of a point.
fn is_number(word: &str) -> bool {
    let bare = word.strip_prefix('-').unwrap_or(word);
    let (base, exponent) = bare.split_once(['e', 'E']).map_or((bare, None), |(base, exponent)| (base, Some(exponent)));
    let (whole, fraction) = base.split_once('.').map_or((base, None), |(whole, fraction)| (whole, Some(fraction)));
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    is_digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(is_digits)
        && exponent.is_none_or(|exponent| is_digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
}

fn is_json5_number(word: &str) -> bool {
    let bare = word.strip_prefix(['+', '-']).unwrap_or(word);
    if let Some(hex) = bare.strip_prefix("0x").or_else(|| bare.strip_prefix("0X")) {
        return !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit());
    }
    let is_decimal = bare.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && bare.bytes().any(|b| b.is_ascii_digit())
        && bare.parse::<f64>().is_ok();
    is_decimal || matches!(bare, "Infinity" | "NaN")
}

impl Node {
    /// Returns a member of an object; of several with the name the last one, as clients read it.
    pub fn member(&self, name: &str) -> Option<&Node> {
        match &self.shape {
            Shape::Object(items) => items.iter().rev().find(|item| item.name == name).map(|item| &item.value),
            Shape::Array(_) | Shape::Text(_) | Shape::Word(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_dialect_takes_what_its_clients_take_and_no_more() {
        for (text, least) in [
            (r#"{"a": [1, -2.5e3, true, null, "x\u0041\ud83d\ude00"]}"#, Dialect::Json),
            ("[0, -0, 10, 0.5, 1e9, 1E+9, 1.5e-9]", Dialect::Json),
            ("// c\n{\"a\": 1, /* d */}", Dialect::Jsonc),
            ("[1,]", Dialect::Jsonc),
            ("{a: 'b', $c: 0x1F, d: .5, e: 5., f: +1, g: Infinity}", Dialect::Json5),
            ("{a: 'it\\\ncontinues', b: '\\x41'}", Dialect::Json5),
        ] {
            let dialects = [Dialect::Json, Dialect::Jsonc, Dialect::Json5];
            let from = dialects.iter().position(|d| *d == least).unwrap();
            for (at, dialect) in dialects.into_iter().enumerate() {
                assert_eq!(parse(text, dialect).is_ok(), at >= from, "{text} {dialect:?}");
            }
        }
        for text in ["{", "{\"a\"}", "[1 2]", "{,}", "[,]", "\"\n\"", "/* x", "01x", "{} {}", "/*/", "tru", "{\"a\":}"]
        {
            assert!(parse(text, Dialect::Json5).is_err(), "{text}");
        }
        for text in ["01", "-", "1.", ".1", "1e", "1e+", "--1", "+1", "0x1", "1.e1"] {
            assert!(parse(text, Dialect::Json).is_err(), "{text}");
        }
        assert!(parse(&"[".repeat(100_000), Dialect::Json).is_err());
        assert!(parse(" \n", Dialect::Json).unwrap().is_none());
    }

    #[test]
    fn of_two_members_the_last_counts() {
        let node = parse("{a: 'one', b: {}, a: 'two'}", Dialect::Json5).unwrap().unwrap();
        assert!(matches!(&node.member("a").unwrap().shape, Shape::Text(text) if text == "two"));
        assert!(node.member("c").is_none() && node.member("a").unwrap().member("x").is_none());
    }
}
