//! One pass over the text: at each byte that can begin or announce a secret, the few checks that byte calls for.
//!
//! Every check is linear or bounded, so that a command of a megabyte made of prefixes costs no more than another.

use std::ops::Range;

use crate::checksum::{self, Checksum};
use crate::formats::{Alphabet, FORMATS, Format, Length, Shape};
use crate::{Finding, word};

/// Returns every secret in `text`, in order, without overlaps.
pub(crate) fn scan(text: &[u8]) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut quotes = Quotes::default();
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let cursor = Cursor { text, at, quote: quotes.open };
        if let Some(finding) = cursor.check(byte) {
            // What lies between here and the secret (a quote, a scheme) still opens and closes quotes.
            text.get(at..finding.span.start).unwrap_or_default().iter().for_each(|&b| quotes.feed(b));
            quotes.is_escaped = false;
            at = finding.span.end.max(at + 1);
            found.push(finding);
        } else {
            quotes.feed(byte);
            at += 1;
        }
    }
    found
}

/// Which shell quote is open.
#[derive(Default)]
struct Quotes {
    open: Option<u8>,
    is_escaped: bool,
}

impl Quotes {
    fn feed(&mut self, byte: u8) {
        if std::mem::take(&mut self.is_escaped) {
            return;
        }
        match byte {
            b'\\' if self.open != Some(b'\'') => self.is_escaped = true,
            b'"' | b'\'' if self.open == Some(byte) => self.open = None,
            b'"' | b'\'' if self.open.is_none() => self.open = Some(byte),
            _ => {}
        }
    }
}

/// A place in the text, and the shell quote that is open there.
pub(crate) struct Cursor<'a> {
    pub(crate) text: &'a [u8],
    pub(crate) at: usize,
    pub(crate) quote: Option<u8>,
}

impl Cursor<'_> {
    fn check(&self, byte: u8) -> Option<Finding> {
        match byte {
            b'=' => self.assignment(),
            b':' => self.url().or_else(|| self.telegram()).or_else(|| self.assignment()),
            b'-' => self.private_key().or_else(|| self.option()),
            // First letters of the formats' prefixes, of `Bearer` and of `set NAME value`; a test holds this list
            // against the table.
            b'g' | b'n' | b's' | b'r' | b'w' | b'x' | b'h' | b'A' | b'e' | b'B' | b'b' if self.is_word_start() => {
                self.prefixed().or_else(|| self.jwt()).or_else(|| self.bearer()).or_else(|| self.set_command())
            }
            _ => None,
        }
    }

    pub(crate) fn rest(&self) -> &[u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    pub(crate) fn before(&self) -> &[u8] {
        self.text.get(..self.at).unwrap_or_default()
    }

    /// The byte before this one; the `n` of an escaped `\n` counts as none.
    fn previous(&self) -> Option<u8> {
        match self.before() {
            [.., b'\\', b'n' | b'r' | b't'] => None,
            [.., last] => Some(*last),
            [] => None,
        }
    }

    fn is_word_start(&self) -> bool {
        self.previous().is_none_or(|b| !b.is_ascii_alphanumeric())
    }

    /// Whether a new shell word starts here.
    pub(crate) fn is_argument_start(&self) -> bool {
        self.before().last().is_none_or(|&b| word::ends_word(b) || matches!(b, b'"' | b'\''))
    }

    pub(crate) fn found(&self, kind: &'static str, span: Range<usize>) -> Option<Finding> {
        Some(Finding { kind, span, checksum: Checksum::Absent })
    }

    fn prefixed(&self) -> Option<Finding> {
        let rest = self.rest();
        FORMATS.iter().find_map(|format| {
            let Shape::Prefixed { prefixes, alphabet, length, has_checksum } = format.shape else {
                return None;
            };
            let body = prefixes.iter().find_map(|prefix| {
                let body = rest.strip_prefix(prefix.as_bytes())?;
                body_length(body, alphabet, length).map(|run| (prefix.len(), run))
            });
            body.map(|(prefix, run)| self.token(format, prefix, run, has_checksum))
        })
    }

    fn token(&self, format: &'static Format, prefix: usize, run: usize, has_checksum: bool) -> Finding {
        let start = self.at + prefix;
        let body = self.text.get(start..start + run).unwrap_or_default();
        let checksum = if has_checksum { checksum::github(body) } else { Checksum::Absent };
        Finding { kind: format.id, span: self.at..start + run, checksum }
    }

    /// `eyJ....eyJ....signature`
    fn jwt(&self) -> Option<Finding> {
        // Runs of the alphabet must not overlap, or `-eyJ-eyJ...` would be quadratic.
        let is_inside_run = self.previous().is_some_and(|b| Alphabet::Dotted.has(b));
        let rest = self.rest();
        if is_inside_run || !rest.starts_with(b"eyJ") {
            return None;
        }
        let header = run_length(rest, Alphabet::Base64Url);
        let payload_at = header + 1;
        let payload = rest.get(payload_at..).filter(|p| p.starts_with(b"eyJ"))?;
        if rest.get(header) != Some(&b'.') || header < 10 {
            return None;
        }
        let tail = run_length(payload, Alphabet::Dotted);
        self.found("jwt", self.at..self.at + payload_at + tail)
    }

    /// The body of a PEM block, to its end line or to the end of the text.
    fn private_key(&self) -> Option<Finding> {
        const LABEL_MAX: usize = 64;
        let label = self.rest().strip_prefix(b"-----BEGIN ")?;
        let label = label.get(..label.len().min(LABEL_MAX))?;
        let end = find(label, b"-----")?;
        let name = label.get(..end)?;
        if !name.ends_with(b"PRIVATE KEY") && !name.ends_with(b"PRIVATE KEY BLOCK") {
            return None;
        }
        let start = self.at + "-----BEGIN ".len() + end + "-----".len();
        let body = self.text.get(start..)?;
        let length = find(body, b"-----END").unwrap_or(body.len());
        self.found("private-key", start..start + length)
    }

    /// `123456789:AAF...`: the number is the bot's public id.
    fn telegram(&self) -> Option<Finding> {
        const TOKEN: usize = 35;
        let digits = self.before().iter().rev().take(17).take_while(|b| b.is_ascii_digit()).count();
        let body = self.text.get(self.at + 1..)?;
        let run = body.iter().take(TOKEN + 1).take_while(|&&b| Alphabet::Base64Url.has(b)).count();
        if !(5..=16).contains(&digits) || run != TOKEN {
            return None;
        }
        self.found("telegram-bot-token", self.at + 1..self.at + 1 + TOKEN)
    }

    /// `scheme://user:password@host`, and a long userinfo without a colon, which is a token.
    fn url(&self) -> Option<Finding> {
        let rest = self.rest().strip_prefix(b"://")?;
        let ends =
            |b: &u8| b.is_ascii_whitespace() || matches!(b, b'/' | b'"' | b'\'' | b'<' | b'>' | b'`' | b'?' | b'#');
        let authority = rest.get(..rest.iter().position(ends).unwrap_or(rest.len()))?;
        let at_sign = authority.iter().rposition(|&b| b == b'@')?;
        let user = authority.get(..at_sign)?;
        let base = self.at + 3;
        let secret = match user.iter().position(|&b| b == b':') {
            Some(colon) => colon + 1..at_sign,
            None if user.len() >= 20 => 0..at_sign,
            None => return None,
        };
        let value = word::value(user, secret.start, None)?;
        self.found("url-password", base + value.start..base + secret.end)
    }

    /// The format's own finding, when it is the whole value: a better word for the same bytes.
    pub(crate) fn specific(&self, span: &Range<usize>) -> Option<Finding> {
        let there = Cursor { text: self.text, at: span.start, quote: self.quote };
        there.prefixed().or_else(|| there.jwt()).filter(|finding| finding.span == *span)
    }
}

fn run_length(text: &[u8], alphabet: Alphabet) -> usize {
    text.iter().take_while(|&&b| alphabet.has(b)).count()
}

/// How much of `body` is the token, when it is one.
fn body_length(body: &[u8], alphabet: Alphabet, length: Length) -> Option<usize> {
    match length {
        Length::Exactly(n) => {
            let run = body.iter().take(n + 1).take_while(|&&b| alphabet.has(b)).count();
            // A lower-case letter after upper-case ones continues a word, too.
            let is_cut = body.get(n).is_some_and(u8::is_ascii_alphanumeric);
            (run == n && !is_cut).then_some(n)
        }
        Length::AtLeast(n) => {
            let run = run_length(body, alphabet);
            // The full stop of a sentence is no part of a token.
            let dots = body.get(..run)?.iter().rev().take_while(|&&b| b == b'.').count();
            (run - dots >= n).then_some(run - dots)
        }
    }
}

pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let first = needle.first()?;
    let mut at = 0;
    loop {
        let rest = haystack.get(at..)?;
        at += rest.iter().position(|b| b == first)?;
        if haystack.get(at..)?.starts_with(needle) {
            return Some(at);
        }
        at += 1;
    }
}
