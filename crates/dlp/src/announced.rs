//! Secrets that the text itself announces: assignments, options, headers, `set NAME value`.
//!
//! The names are judged in `named`, the extent of a value in `word`.

use crate::named::{self, NAME_MAX, Place, Promise};
use crate::scan::{Cursor, find};
use crate::{Finding, word};

impl Cursor<'_> {
    /// `Bearer XXXX` where no header name announced it.
    pub(crate) fn bearer(&self) -> Option<Finding> {
        let rest = self.rest();
        if !rest.get(..7)?.eq_ignore_ascii_case(b"bearer ") {
            return None;
        }
        let span = word::value(self.text, self.at + 7, self.quote)?;
        if span.len() < 16 {
            return None;
        }
        self.found("authorization", span)
    }

    /// `NAME=value`, `name: value`, `"name": "value"`.
    pub(crate) fn assignment(&self) -> Option<Finding> {
        let before = self.before();
        let before = before.strip_suffix(b"+").unwrap_or(before);
        let is_spaced = before.last() == Some(&b' ');
        let before = before.strip_suffix(b" ").unwrap_or(before);
        let before = before.strip_suffix(b"\"").or_else(|| before.strip_suffix(b"'")).unwrap_or(before);
        let before = before.strip_suffix(b"\\").unwrap_or(before);
        let length = before.iter().rev().take(NAME_MAX).take_while(|&&b| named::is_name(b)).count();
        let name = before.get(before.len() - length..)?;
        let promise = named::promise(name)?;
        let is_colon = self.text.get(self.at) == Some(&b':');
        let mut from = self.at + 1;
        while self.text.get(from) == Some(&b'=') {
            from += 1;
        }
        // In a shell `NAME= word` is an empty value; in a header, in JSON and in an ini file the value follows.
        if is_colon || is_spaced {
            from += self.text.get(from..)?.iter().take(16).take_while(|&&b| b == b' ').count();
        }
        self.promised(promise, from)
    }

    /// `--password value`, `-token value`, and the short options of [`named::SHORT`].
    pub(crate) fn option(&self) -> Option<Finding> {
        if !self.is_argument_start() {
            return None;
        }
        let rest = self.rest();
        let option = rest.iter().take(NAME_MAX).take_while(|&&b| named::is_name(b)).count();
        let word = rest.get(..option)?;
        if let Some(found) = self.short(word) {
            return Some(found);
        }
        let name = word.strip_prefix(b"--").or_else(|| word.strip_prefix(b"-"))?;
        let promise = named::promise(name).filter(|_| !named::is_switch(name))?;
        let from = self.next_word(self.at + option)?;
        self.promised(promise, from)
    }

    fn short(&self, word: &[u8]) -> Option<Finding> {
        let next = || self.next_word(self.at + word.len());
        named::SHORT.iter().find_map(|short| {
            let is_same = match short.place {
                Place::Attached => word.len() > 2 && word.starts_with(short.option.as_bytes()),
                Place::Next | Place::AfterColon => word == short.option.as_bytes(),
            };
            if !is_same || !self.is_argument_of(short.program) {
                return None;
            }
            let span = match short.place {
                Place::Attached => word::value(self.text, self.at + short.option.len(), self.quote)?,
                Place::Next => word::value(self.text, next()?, self.quote)?,
                Place::AfterColon => {
                    let span = word::value(self.text, next()?, self.quote)?;
                    let colon = self.text.get(span.clone())?.iter().position(|&b| b == b':')?;
                    span.start + colon + 1..span.end
                }
            };
            self.found("named-secret", span)
        })
    }

    /// Whether the program's name stands in the same simple command, at most 512 bytes back.
    fn is_argument_of(&self, program: &str) -> bool {
        const REACH: usize = 512;
        let before = self.before();
        let before = before.get(before.len().saturating_sub(REACH)..).unwrap_or_default();
        let command = before.rsplit(|b| matches!(b, b';' | b'|' | b'\n')).next().unwrap_or_default();
        find(command, program.as_bytes()).is_some()
    }

    /// `set NAME value` as fish, csh and `aws configure`, `npm config` write it.
    pub(crate) fn set_command(&self) -> Option<Finding> {
        const FLAGS: usize = 4;
        let rest = self.rest();
        let command = [&b"setenv "[..], b"set "].into_iter().find(|c| rest.starts_with(c))?;
        let mut at = self.at + command.len();
        for _ in 0..=FLAGS {
            let word = self.text.get(at..)?;
            let length = word.iter().take(256).take_while(|&&b| !word::ends_word(b)).count();
            let word = word.get(..length)?;
            if !word.starts_with(b"-") {
                let promise = named::promise(word)?;
                return self.promised(promise, self.next_word(at + length)?);
            }
            at = self.next_word(at + length)?;
        }
        None
    }

    /// The start of the next word, when this one ends at `end` and the next is no option.
    fn next_word(&self, end: usize) -> Option<usize> {
        let gap = self.text.get(end..)?.iter().take(16).take_while(|b| b.is_ascii_whitespace()).count();
        let next = end + gap;
        (gap > 0 && self.text.get(next) != Some(&b'-')).then_some(next)
    }

    /// The value that a name promised, unless it plainly is none.
    fn promised(&self, promise: Promise, from: usize) -> Option<Finding> {
        match promise {
            Promise::Authorization => {
                let from = from + scheme_length(self.text.get(from..)?);
                self.found("authorization", word::value(self.text, from, self.quote)?)
            }
            Promise::Cookie => {
                let rest = self.text.get(from..)?;
                let is_end = |&b: &u8| b == b'\n' || Some(b) == self.quote;
                let length = rest.iter().position(is_end).unwrap_or(rest.len());
                if length == 0 { None } else { self.found("cookie", from..from + length) }
            }
            Promise::Secret | Promise::Key => {
                let span = word::value(self.text, from, self.quote)?;
                let value = self.text.get(span.clone())?;
                let is_plain = matches!(value, b"true" | b"false" | b"null" | b"None" | b"none" | b"yes" | b"no");
                let is_path = value.starts_with(b"/") || value.starts_with(b"~") || value.starts_with(b"./");
                if is_plain || (promise == Promise::Key && (is_path || value.len() < 8)) {
                    return None;
                }
                self.specific(&span).or_else(|| self.found("named-secret", span))
            }
        }
    }
}

/// `Bearer `, `Basic `, `token `: the scheme of an Authorization header, with its space and an opening quote.
fn scheme_length(value: &[u8]) -> usize {
    let quote = usize::from(matches!(value.first(), Some(b'"' | b'\'')));
    let rest = value.get(quote..).unwrap_or_default();
    let letters = rest.iter().take(16).take_while(|b| b.is_ascii_alphanumeric() || **b == b'-').count();
    let is_scheme =
        letters > 0 && rest.get(letters) == Some(&b' ') && rest.get(letters + 1).is_some_and(|b| *b != b'-');
    if is_scheme { quote + letters + 1 } else { 0 }
}
