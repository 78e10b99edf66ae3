//! Comments between tokens, and what each belongs to: the head of what follows, the line of what is before, or its foot.
//!
//! The rules are go-yaml's, since SOPS keeps comments where that puts them: a comment's path is part of its encryption.

use super::YamlError;
use super::cursor::Mark;
use super::scan::{Kind, Scanner};
use crate::secret::{Secret, Sink};

/// What a comment is to its token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Head,
    Line,
    Foot,
    /// It is with its token already.
    Taken,
}

/// Lines of comment that belong together.
pub(super) struct Comment {
    pub(super) place: Place,
    /// Where the blank that it stands in begins.
    pub(super) scan: Mark,
    /// It belongs to the first token from here on.
    pub(super) token: Mark,
    pub(super) start: Mark,
    pub(super) end: Mark,
    pub(super) text: Secret,
}

impl Comment {
    /// Takes the text out: it is with its token now.
    pub(super) fn take(&mut self) -> Secret {
        let nothing = Mark::default();
        let text = Secret::new(Vec::new());
        let taken = Comment { place: Place::Taken, scan: nothing, token: nothing, start: nothing, end: nothing, text };
        std::mem::replace(self, taken).text
    }
}

/// Go's reader looks no further for the next `#`.
const FARTHEST: usize = 512;

/// A run of comment lines while it is read.
struct Run {
    scan: Mark,
    token: Mark,
    start: Mark,
    text: Option<Sink>,
    /// Where a foot comment of the token before starts.
    foot_line: Option<usize>,
    /// It follows a `:`, which has no foot.
    is_after_value: bool,
    /// No empty line was seen yet.
    is_first_empty: bool,
    /// An empty line was just seen.
    is_recent_empty: bool,
    /// The column of the innermost block.
    indent: isize,
}

impl Run {
    /// Closes what was read so far as a foot comment; the next one starts behind it.
    fn foot(&mut self, end: Mark) -> Option<Comment> {
        let text = self.text.take()?.into_secret();
        let comment = Comment { place: Place::Foot, scan: self.scan, token: self.token, start: self.start, end, text };
        self.scan = end;
        self.token = end;
        Some(comment)
    }

    fn is_further_out(&self, column: usize) -> bool {
        isize::try_from(column).unwrap_or(isize::MAX) - 1 < self.indent
    }

    /// At the end of an empty line, or of a flow collection.
    fn line_end(&mut self, here: Mark, byte: u8, ends_flow: bool) -> Option<Comment> {
        let is_below = Some(self.start.line) == self.foot_line && !self.is_after_value;
        let is_foot = self.is_first_empty && (is_below || self.is_further_out(self.start.column));
        // The first empty line divides a foot comment from a head comment.
        if ends_flow || (!self.is_recent_empty && is_foot) {
            if self.text.is_some() && self.is_further_out(self.start.column) {
                // It has nothing to do with the token before.
                self.token = self.start;
            }
            return self.foot(here);
        }
        if let (false, true, Some(text)) = (self.is_recent_empty, byte != 0, &mut self.text) {
            text.push(b"\n");
        }
        None
    }

    /// At a `#`: the text so far, to which the line is added.
    fn add_line(&mut self, here: Mark) -> Sink {
        self.is_recent_empty = false;
        let Some(mut text) = self.text.take() else {
            self.start = here;
            return Sink::default();
        };
        text.push(b"\n");
        text
    }
}

impl Scanner<'_> {
    pub(super) fn scan_to_next_token(&mut self) -> Result<(), YamlError> {
        let scan_mark = self.cursor.mark;
        loop {
            // Tabs do not indent.
            let may_tab = self.flow > 0 || !self.may_start_key;
            while self.cursor.at(0) == b' ' || (may_tab && self.cursor.at(0) == b'\t') {
                self.cursor.skip();
            }
            self.turn_line_comment_of_entry();
            if self.cursor.at(0) == b'#' {
                self.scan_comments(scan_mark);
            }
            if !self.cursor.is_break(0) {
                return Ok(());
            }
            self.cursor.skip_line();
            if self.flow == 0 {
                self.may_start_key = true;
            }
        }
    }

    /// The comment behind the first `-` of a list is a head comment of what follows on the next line.
    fn turn_line_comment_of_entry(&mut self) {
        let is_entry = matches!(
            self.tokens.as_slice(),
            [.., a, b] if a.kind == Kind::BlockSequenceStart && b.kind == Kind::BlockEntry
        );
        let here = self.cursor.mark;
        if let (true, false, Some(comment)) = (is_entry, self.cursor.is_break(0), self.comments.last_mut())
            && comment.place == Place::Line
        {
            comment.place = Place::Head;
            if comment.start.line + 1 == here.line {
                comment.token = here;
            }
        }
    }

    /// Reads on to a `#` that is `ahead`, and then to the end of its line.
    fn read_comment(&mut self, ahead: usize, text: &mut Sink) {
        let start = self.cursor.mark.index + ahead;
        loop {
            match (self.cursor.is_break_or_end(0), self.cursor.mark.index >= start) {
                (true, true) => return,
                (false, true) => self.cursor.read(text),
                (true, false) => {
                    self.cursor.skip_line();
                }
                (false, false) => {
                    self.cursor.skip();
                }
            }
        }
    }

    /// Takes a comment on the line of the token that was just read.
    pub(super) fn scan_line_comment(&mut self, token: Mark) {
        if self.cursor.newlines > 0 {
            return;
        }
        let Some(ahead) = (0..FARTHEST).find(|ahead| !self.cursor.is_blank(*ahead)) else { return };
        if self.cursor.at(ahead) != b'#' {
            return;
        }
        let mark = self.cursor.mark;
        let start = Mark { index: mark.index + ahead, column: mark.column + ahead, ..mark };
        let mut text = Sink::default();
        self.read_comment(ahead, &mut text);
        let (nothing, text) = (Mark::default(), text.into_secret());
        self.comments.push(Comment { place: Place::Line, scan: nothing, token, start, end: nothing, text });
    }

    /// Where a comment starts that can be a foot comment of what is before it: the next line.
    fn foot_line(&self, scan_mark: Mark) -> Option<usize> {
        let mark = self.cursor.mark;
        let behind_content = self.cursor.newlines == 0 && mark.column > 1;
        (scan_mark.line > 0).then(|| mark.line + 1 + usize::from(behind_content) - self.cursor.newlines.min(mark.line))
    }

    fn run(&self, scan: Mark) -> Option<Run> {
        let before = match self.tokens.as_slice() {
            [.., before, last] if last.kind == Kind::FlowEntry => before,
            [.., last] => last,
            [] => return None,
        };
        Some(Run {
            scan,
            token: before.start,
            start: Mark::default(),
            text: None,
            foot_line: self.foot_line(scan),
            is_after_value: before.kind == Kind::Value,
            is_first_empty: self.cursor.newlines <= 1,
            is_recent_empty: false,
            indent: self.indent.max(0),
        })
    }

    /// Takes the comments from here to the next token.
    fn scan_comments(&mut self, scan: Mark) {
        let Some(mut run) = self.run(scan) else { return };
        let Mark { mut line, mut column, .. } = self.cursor.mark;
        let mut ahead = 0;
        while ahead < FARTHEST {
            column += 1;
            let here = Mark { index: self.cursor.mark.index + ahead, line, column };
            let byte = self.cursor.at(ahead);
            let ends_flow = self.flow > 0 && matches!(byte, b']' | b'}');
            if ends_flow || self.cursor.is_break_or_end(ahead) {
                self.comments.extend(run.line_end(here, byte, ends_flow));
                if !self.cursor.is_break(ahead) {
                    break;
                }
                (run.is_first_empty, run.is_recent_empty) = (false, true);
                column = 0;
                line += 1;
            } else if !self.cursor.is_blank(ahead) {
                if run.is_further_out(column) && column != run.start.column {
                    self.comments.extend(run.foot(here));
                }
                if byte != b'#' {
                    break;
                }
                let mut text = run.add_line(here);
                self.read_comment(ahead, &mut text);
                run.text = Some(text);
                // The line break itself is not looked at.
                ahead = 0;
                column = 0;
                line = self.cursor.mark.line;
            }
            ahead += 1;
        }
        if let Some(text) = run.text {
            let index = (self.cursor.mark.index + ahead).saturating_sub(1);
            let (token, start, end) = (run.start, run.start, Mark { index, line, column });
            let text = text.into_secret();
            self.comments.push(Comment { place: Place::Head, scan: run.scan, token, start, end, text });
        }
    }
}
