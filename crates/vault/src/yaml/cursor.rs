//! Where a reader of YAML stands in the text, and what it sees from there.
//!
//! Line breaks are those of YAML 1.1, as in go-yaml: also NEL, LS and PS. NUL stands for the end: it cannot be in a text.

use crate::secret::Sink;

/// A place in the text: bytes from its start, lines and characters from 0.
#[derive(Clone, Copy, Default)]
pub(super) struct Mark {
    pub(super) index: usize,
    pub(super) line: usize,
    pub(super) column: usize,
}

/// The text, and the place that is read next.
pub(super) struct Cursor<'t> {
    text: &'t [u8],
    pub(super) mark: Mark,
    /// Line breaks since the last character that is no blank.
    pub(super) newlines: usize,
}

/// How many bytes a line break at the start of `bytes` has; 0 when there is none.
fn break_width(bytes: &[u8]) -> usize {
    match bytes {
        [b'\r', b'\n', ..] | [0xC2, 0x85, ..] => 2,
        [b'\r' | b'\n', ..] => 1,
        [0xE2, 0x80, 0xA8 | 0xA9, ..] => 3,
        _ => 0,
    }
}

impl<'t> Cursor<'t> {
    /// Starts at the beginning of a text that is UTF-8 and has no NUL.
    pub(super) fn new(text: &'t str) -> Cursor<'t> {
        Cursor { text: text.as_bytes(), mark: Mark::default(), newlines: 0 }
    }

    fn rest(&self, ahead: usize) -> &'t [u8] {
        self.text.get(self.mark.index + ahead..).unwrap_or_default()
    }

    /// The byte so many bytes ahead; 0 behind the end.
    pub(super) fn at(&self, ahead: usize) -> u8 {
        self.rest(ahead).first().copied().unwrap_or(0)
    }

    pub(super) fn is_end(&self, ahead: usize) -> bool {
        self.at(ahead) == 0
    }

    pub(super) fn is_blank(&self, ahead: usize) -> bool {
        matches!(self.at(ahead), b' ' | b'\t')
    }

    pub(super) fn is_break(&self, ahead: usize) -> bool {
        break_width(self.rest(ahead)) > 0
    }

    pub(super) fn is_break_or_end(&self, ahead: usize) -> bool {
        self.is_end(ahead) || self.is_break(ahead)
    }

    pub(super) fn is_space_or_end(&self, ahead: usize) -> bool {
        self.is_blank(ahead) || self.is_break_or_end(ahead)
    }

    /// Whether `---` or `...` stands here at the start of a line.
    pub(super) fn is_document_mark(&self) -> bool {
        self.mark.column == 0
            && (self.rest(0).starts_with(b"---") || self.rest(0).starts_with(b"..."))
            && self.is_space_or_end(3)
    }

    pub(super) fn starts_with(&self, bytes: &[u8]) -> bool {
        self.rest(0).starts_with(bytes)
    }

    /// Steps over one character, which it lends; not over a line break.
    pub(super) fn skip(&mut self) -> &'t [u8] {
        if !self.is_blank(0) {
            self.newlines = 0;
        }
        let rest = self.rest(0);
        let continued = rest.iter().skip(1).take_while(|byte| **byte & 0xC0 == 0x80).count();
        let character = rest.get(..=continued).unwrap_or(rest);
        self.mark.index += character.len();
        self.mark.column += 1;
        character
    }

    pub(super) fn skip_many(&mut self, count: usize) {
        for _ in 0..count {
            self.skip();
        }
    }

    /// Steps over one character, and takes it along.
    pub(super) fn read(&mut self, into: &mut Sink) {
        let character = self.skip();
        into.push(character);
    }

    /// Steps over one line break, if there is one, and returns what stands for it in a value.
    pub(super) fn skip_line(&mut self) -> &'t [u8] {
        let rest = self.rest(0);
        let width = break_width(rest);
        if width == 0 {
            return &[];
        }
        self.mark = Mark { index: self.mark.index + width, line: self.mark.line + 1, column: 0 };
        self.newlines += 1;
        if width == 3 { rest.get(..3).unwrap_or_default() } else { b"\n" }
    }
}
