//! Anchors, tags and scalars: from the place where one starts to its token, with the value decoded.

use super::YamlError;
use super::cursor::Mark;
use super::scan::{Kind, Scanner, Style, Token};
use super::tag::tag_of;
use crate::secret::{Secret, Sink};

/// What a block scalar does with the line breaks at its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Chomping {
    Strip,
    Clip,
    Keep,
}

/// White space inside of a scalar that is not known yet to be part of it.
#[derive(Default)]
struct Gap {
    blanks: Vec<u8>,
    first_break: Option<&'static str>,
    more_breaks: String,
    is_folding: bool,
}

impl Gap {
    /// Puts in what stands for the white space: one line break is folded to a space.
    fn join(&mut self, into: &mut Sink) {
        if self.is_folding {
            let folds = matches!(self.first_break, Some("\n"));
            into.push(match self.first_break {
                Some(_) if folds && self.more_breaks.is_empty() => b" ",
                Some(first) if !folds => first.as_bytes(),
                _ => b"",
            });
            into.push(self.more_breaks.as_bytes());
        } else {
            into.push(&self.blanks);
        }
        *self = Gap::default();
    }

    fn is_empty(&self) -> bool {
        !self.is_folding && self.blanks.is_empty()
    }
}

impl Scanner<'_> {
    /// Steps over a line break, and returns what stands for it.
    fn line_break(&mut self) -> &'static str {
        match self.cursor.skip_line() {
            b"\xE2\x80\xA8" => "\u{2028}",
            b"\xE2\x80\xA9" => "\u{2029}",
            _ => "\n",
        }
    }

    fn read_gap(&mut self, gap: &mut Gap) {
        if self.cursor.is_blank(0) {
            let blank = self.cursor.skip();
            if !gap.is_folding {
                gap.blanks.extend_from_slice(blank);
            }
        } else if gap.is_folding {
            gap.more_breaks.push_str(self.line_break());
        } else {
            gap.blanks.clear();
            gap.first_break = Some(self.line_break());
            gap.is_folding = true;
        }
    }

    pub(super) fn scan_anchor(&mut self, kind: Kind) -> Result<Token, YamlError> {
        let start = self.cursor.mark;
        self.cursor.skip();
        let mut name = Sink::default();
        let first = self.cursor.mark.index;
        while self.cursor.at(0).is_ascii_alphanumeric() || matches!(self.cursor.at(0), b'_' | b'-') {
            self.cursor.read(&mut name);
        }
        let is_ended = self.cursor.is_space_or_end(0)
            || matches!(self.cursor.at(0), b'?' | b':' | b',' | b']' | b'}' | b'%' | b'@' | b'`');
        if first == self.cursor.mark.index || !is_ended {
            return Err(self.wrong("the name of an anchor is of letters, digits, `-` and `_`"));
        }
        Ok(Token { kind, start, text: Some(name.into_secret()) })
    }

    pub(super) fn scan_tag(&mut self) -> Result<Token, YamlError> {
        let start = self.cursor.mark;
        let mut written = Vec::new();
        while !self.cursor.is_space_or_end(0) {
            written.extend_from_slice(self.cursor.skip());
        }
        let tag = tag_of(&written).ok_or(YamlError::Tag { line: start.line + 1 })?;
        Ok(Token { kind: Kind::Tag(tag), start, text: None })
    }

    fn scalar(style: Style, start: Mark, text: Sink) -> Token {
        Token { kind: Kind::Scalar(style), start, text: Some(text.into_secret()) }
    }

    /// The indicators behind `|` and `>`: how to end, and how many columns the lines are further in.
    fn block_indicators(&mut self) -> Result<(Chomping, Option<isize>), YamlError> {
        let (mut chomping, mut increment) = (None, None);
        loop {
            match self.cursor.at(0) {
                sign @ (b'+' | b'-') if chomping.is_none() => {
                    chomping = Some(if sign == b'+' { Chomping::Keep } else { Chomping::Strip });
                }
                digit @ b'1'..=b'9' if increment.is_none() => increment = Some(isize::from(digit - b'0')),
                _ => return Ok((chomping.unwrap_or(Chomping::Clip), increment)),
            }
            self.cursor.skip();
        }
    }

    pub(super) fn scan_block(&mut self) -> Result<Token, YamlError> {
        let start = self.cursor.mark;
        let is_literal = self.cursor.skip() == b"|";
        let (chomping, increment) = self.block_indicators()?;
        while self.cursor.is_blank(0) {
            self.cursor.skip();
        }
        if self.cursor.at(0) == b'#' {
            self.scan_line_comment(start);
        }
        if !self.cursor.is_break_or_end(0) {
            return Err(self.wrong("what follows `|` or `>` starts on the next line"));
        }
        self.cursor.skip_line();
        let fixed = increment.map(|increment| self.indent.max(0) + increment);
        let mut indent = fixed.and_then(|indent| usize::try_from(indent).ok()).unwrap_or(0);
        let mut text = Sink::default();
        let mut breaks = String::new();
        let mut line_break = "";
        let mut after_blank = false;
        self.block_breaks(&mut indent, &mut breaks)?;
        while self.cursor.mark.column == indent && !self.cursor.is_end(0) {
            let is_blank = self.cursor.is_blank(0);
            if !is_literal && !after_blank && !is_blank && line_break == "\n" {
                if breaks.is_empty() {
                    text.push(b" ");
                }
            } else {
                text.push(line_break.as_bytes());
            }
            text.push(breaks.as_bytes());
            breaks.clear();
            after_blank = is_blank;
            while !self.cursor.is_break_or_end(0) {
                self.cursor.read(&mut text);
            }
            line_break = if self.cursor.is_end(0) { "" } else { self.line_break() };
            self.block_breaks(&mut indent, &mut breaks)?;
        }
        if chomping != Chomping::Strip {
            text.push(line_break.as_bytes());
        }
        if chomping == Chomping::Keep {
            text.push(breaks.as_bytes());
        }
        Ok(Self::scalar(Style::Block, start, text))
    }

    /// Steps over empty lines and indentation; finds out what the indentation is when that is not known yet.
    fn block_breaks(&mut self, indent: &mut usize, breaks: &mut String) -> Result<(), YamlError> {
        let mut deepest = 0;
        loop {
            while (*indent == 0 || self.cursor.mark.column < *indent) && self.cursor.at(0) == b' ' {
                self.cursor.skip();
            }
            deepest = deepest.max(self.cursor.mark.column);
            if (*indent == 0 || self.cursor.mark.column < *indent) && self.cursor.at(0) == b'\t' {
                return Err(self.wrong("a tab stands where the indentation of a text is expected"));
            }
            if !self.cursor.is_break(0) {
                break;
            }
            breaks.push_str(self.line_break());
        }
        if *indent == 0 {
            *indent = deepest.max(usize::try_from(self.indent + 1).unwrap_or(0)).max(1);
        }
        Ok(())
    }

    pub(super) fn scan_quoted(&mut self) -> Result<Token, YamlError> {
        let start = self.cursor.mark;
        let quote = self.cursor.at(0);
        self.cursor.skip();
        let mut text = Sink::default();
        loop {
            if self.cursor.is_document_mark() {
                return Err(self.wrong("a document ends inside of quotes"));
            }
            if self.cursor.is_end(0) {
                return Err(YamlError::Syntax { line: start.line + 1, problem: "a quote is not closed" });
            }
            let mut gap = Gap::default();
            self.quoted_words(quote, &mut text, &mut gap)?;
            if self.cursor.at(0) == quote {
                break;
            }
            while self.cursor.is_blank(0) || self.cursor.is_break(0) {
                self.read_gap(&mut gap);
            }
            gap.join(&mut text);
        }
        self.cursor.skip();
        Ok(Self::scalar(Style::Quoted, start, text))
    }

    /// Reads up to white space, an escaped line break or the closing quote.
    fn quoted_words(&mut self, quote: u8, text: &mut Sink, gap: &mut Gap) -> Result<(), YamlError> {
        while !self.cursor.is_space_or_end(0) {
            match (quote, self.cursor.at(0)) {
                (b'\'', b'\'') if self.cursor.at(1) == b'\'' => {
                    self.cursor.skip();
                    self.cursor.read(text);
                }
                (b'"', b'\\') if self.cursor.is_break(1) => {
                    self.cursor.skip();
                    self.cursor.skip_line();
                    gap.is_folding = true;
                    return Ok(());
                }
                (b'"', b'\\') => self.escape(text)?,
                (_, byte) if byte == quote => return Ok(()),
                _ => self.cursor.read(text),
            }
        }
        Ok(())
    }

    fn escape(&mut self, text: &mut Sink) -> Result<(), YamlError> {
        let digits = match self.cursor.at(1) {
            b'x' => 2,
            b'u' => 4,
            b'U' => 8,
            _ => 0,
        };
        let character = match self.cursor.at(1) {
            b'0' => '\0',
            b'a' => '\x07',
            b'b' => '\x08',
            b't' | b'\t' => '\t',
            b'n' => '\n',
            b'v' => '\x0B',
            b'f' => '\x0C',
            b'r' => '\r',
            b'e' => '\x1B',
            b' ' => ' ',
            b'"' => '"',
            b'\'' => '\'',
            b'\\' => '\\',
            b'N' => '\u{85}',
            b'_' => '\u{A0}',
            b'L' => '\u{2028}',
            b'P' => '\u{2029}',
            b'x' | b'u' | b'U' => self.escaped_number(digits)?,
            _ => return Err(self.wrong("there is no such escape; hint: write `\\\\` for a backslash in double quotes")),
        };
        self.cursor.skip_many(2 + digits);
        text.push(character.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(())
    }

    fn escaped_number(&self, digits: usize) -> Result<char, YamlError> {
        let number = (0..digits).try_fold(0_u32, |number, at| {
            let digit = char::from(self.cursor.at(2 + at)).to_digit(16)?;
            number.checked_mul(16)?.checked_add(digit)
        });
        number.and_then(char::from_u32).ok_or_else(|| self.wrong("this escape names no character"))
    }

    pub(super) fn scan_plain(&mut self) -> Result<Token, YamlError> {
        let start = self.cursor.mark;
        let indent = usize::try_from(self.indent + 1).unwrap_or(0);
        let mut text = Sink::default();
        let mut gap = Gap::default();
        loop {
            if self.cursor.is_document_mark() || self.cursor.at(0) == b'#' {
                break;
            }
            while !self.cursor.is_space_or_end(0) && !self.ends_plain() {
                if !gap.is_empty() {
                    gap.join(&mut text);
                }
                self.cursor.read(&mut text);
            }
            if !self.cursor.is_blank(0) && !self.cursor.is_break(0) {
                break;
            }
            while self.cursor.is_blank(0) || self.cursor.is_break(0) {
                if gap.is_folding && self.cursor.mark.column < indent && self.cursor.at(0) == b'\t' {
                    return Err(self.wrong("a tab stands where indentation is expected"));
                }
                self.read_gap(&mut gap);
            }
            if self.flow == 0 && self.cursor.mark.column < indent {
                break;
            }
        }
        if gap.is_folding {
            self.may_start_key = true;
        }
        Ok(Self::scalar(Style::Plain, start, text))
    }

    fn ends_plain(&self) -> bool {
        (self.cursor.at(0) == b':' && self.cursor.is_space_or_end(1))
            || (self.flow > 0 && matches!(self.cursor.at(0), b',' | b'?' | b'[' | b']' | b'{' | b'}'))
    }
}

/// The text of a token, which is taken out of it.
pub(super) fn text_of(token: &mut Token) -> Secret {
    token.text.take().unwrap_or_else(|| Secret::new(Vec::new()))
}
