//! Environment files as the `dotenv` package reads them (17.x, which OpenClaw uses): where each assignment stands.
//!
//! Pure, and says places only: what a value is, is cut out by whoever may hold it.

use std::ops::Range;

/// One assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The name.
    pub name: Range<usize>,
    /// The value, without its quotes.
    pub value: Range<usize>,
    /// Its quote; in a text with `"`, `\n` and `\r` are line ends.
    pub quote: Option<char>,
    /// All of it, from the beginning of its line to before the line's end.
    pub span: Range<usize>,
}

/// Finds the assignments of a text, in order. A name may be assigned twice; the last one counts.
pub fn assignments(text: &str) -> Vec<Assignment> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < text.len() {
        match assignment(text, at) {
            Some(assignment) => {
                at = line_end(text, assignment.span.end);
                found.push(assignment);
            }
            None => at = line_end(text, at),
        }
        at += text[at..].chars().next().map_or(0, char::len_utf8);
    }
    found
}

fn line_end(text: &str, from: usize) -> usize {
    text[from..].find(['\n', '\r']).map_or(text.len(), |end| from + end)
}

fn skip(text: &str, from: usize, is_skipped: impl Fn(char) -> bool) -> usize {
    text[from..].find(|c| !is_skipped(c)).map_or(text.len(), |end| from + end)
}

fn is_blank(c: char) -> bool {
    c.is_whitespace() && !matches!(c, '\n' | '\r')
}

fn assignment(text: &str, line: usize) -> Option<Assignment> {
    let mut at = skip(text, line, is_blank);
    if let Some(rest) = text[at..].strip_prefix("export").filter(|rest| rest.starts_with(is_blank)) {
        at = skip(text, text.len() - rest.len(), is_blank);
    }
    let name = at..skip(text, at, |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    let sign = skip(text, name.end, is_blank);
    let is_colon = text[sign..].starts_with(':') && sign == name.end && text[sign + 1..].starts_with(is_blank);
    if name.is_empty() || !(text[sign..].starts_with('=') || is_colon) {
        return None;
    }
    let start = skip(text, sign + 1, is_blank);
    let end_of_line = line_end(text, start);
    let quote = text[start..].chars().next().filter(|c| matches!(c, '\'' | '"' | '`'));
    if let Some(quote) = quote
        && let Some(end) = closing(text, start + 1, quote)
        // Behind it only a comment: else the quote is a part of the value.
        && matches!(text[skip(text, end + 1, is_blank)..].chars().next(), None | Some('#' | '\n' | '\r'))
    {
        return Some(Assignment { name, value: start + 1..end, quote: Some(quote), span: line..line_end(text, end) });
    }
    let bare = &text[start..end_of_line];
    let bare = bare.find('#').map_or(bare, |hash| &bare[..hash]);
    let value = start..start + bare.trim_end().len();
    Some(Assignment { name, value, quote: None, span: line..end_of_line })
}

fn closing(text: &str, from: usize, quote: char) -> Option<usize> {
    let mut is_escaped = false;
    text[from..].char_indices().find_map(|(at, c)| {
        let is_end = c == quote && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        is_end.then_some(from + at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(&str, &str, &str)> {
        let found = assignments(text).into_iter();
        found.map(|found| (&text[found.name], &text[found.value], &text[found.span])).collect()
    }

    #[test]
    fn assignments_are_read_as_the_package_reads_them() {
        assert_eq!(
            read("A=1\nB = 'x y' # c\r\nexport C=\"l1\nl2\" \n"),
            [("A", "1", "A=1"), ("B", "x y", "B = 'x y' # c"), ("C", "l1\nl2", "export C=\"l1\nl2\" "),]
        );
        assert_eq!(
            read("# A=1\n\n  K=a#b\nE=\nF='it\\'s'\nG='open\nH: x\nI:x\n"),
            [
                ("K", "a", "  K=a#b"),
                ("E", "", "E="),
                ("F", "it\\'s", "F='it\\'s'"),
                ("G", "'open", "G='open"),
                ("H", "x", "H: x"),
            ]
        );
        assert_eq!(read("no assignment\n=x\n-\u{e4}=1\n\u{e4}=2"), []);
        assert_eq!(read("Q='a' b\n`=1\nT=`x`"), [("Q", "'a' b", "Q='a' b"), ("T", "x", "T=`x`")]);
    }
}
