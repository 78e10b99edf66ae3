//! `NAME=value` lines as SOPS reads them: values are literal, quotes included; `\n` stands for a line break.

use crate::secret::{Secret, Sink};
use crate::tree::{Branch, Item, Value};

/// Why a dotenv file is not one, or cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DotenvError {
    /// A line that is neither empty, nor a comment, nor `NAME=value`.
    #[error("line {0} has no `=`; hint: a value of several lines is written with \\n, or use --type binary")]
    Line(usize),
    /// A name that is not UTF-8.
    #[error("the name on line {0} is not UTF-8")]
    Name(usize),
    /// Something that a line cannot hold.
    #[error("`{0}` cannot stand in a dotenv file")]
    Value(String),
}

/// Reads a plain file, or an encrypted one.
pub(crate) fn parse(text: &[u8]) -> Result<Branch, DotenvError> {
    let mut branch = Vec::new();
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let number = index + 1;
        match line {
            [] => {}
            [b'#', comment @ ..] => branch.push(Item::Comment(Secret::new(comment.to_vec()))),
            _ => {
                let at = line.iter().position(|byte| *byte == b'=').ok_or(DotenvError::Line(number))?;
                let (name, value) = line.split_at(at);
                let name = std::str::from_utf8(name).map_err(|_| DotenvError::Name(number))?;
                let value = replaced(value.get(1..).unwrap_or_default(), b"\\n", b"\n");
                branch.push(Item::Entry(name.to_owned(), Value::Text(value)));
            }
        }
    }
    Ok(branch)
}

/// Writes a file that [`parse`] reads.
pub(crate) fn emit(branch: &Branch) -> Result<Secret, DotenvError> {
    let mut out = Sink::default();
    for item in branch {
        match item {
            Item::Comment(text) => {
                let is_line = !text.expose().contains(&b'\n');
                is_line.then_some(()).ok_or_else(|| DotenvError::Value("a comment of several lines".into()))?;
                out.push(b"#");
                out.push(text.expose());
            }
            Item::Entry(name, value) => {
                let unfit = || DotenvError::Value(mantlet_ledger::escape(name.as_bytes()));
                let is_name = !name.starts_with('#') && !name.contains(['=', '\n']);
                let (_, text) = crate::cipher::plain_text(value).filter(|_| is_name).ok_or_else(unfit)?;
                out.push(name.as_bytes());
                out.push(b"=");
                out.push(replaced(text.expose(), b"\n", b"\\n").expose());
            }
        }
        out.push(b"\n");
    }
    Ok(out.into_secret())
}

fn replaced(text: &[u8], from: &[u8], to: &[u8]) -> Secret {
    let mut out = Sink::default();
    let mut rest = text;
    while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
        out.push(rest.get(..at).unwrap_or_default());
        out.push(to);
        rest = rest.get(at + from.len()..).unwrap_or_default();
    }
    out.push(rest);
    out.into_secret()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(text: &str) -> String {
        let emitted = emit(&parse(text.as_bytes()).unwrap()).unwrap();
        emitted.expose_text().unwrap().to_owned()
    }

    #[test]
    fn lines_stay_as_they_are() {
        for text in ["A=1\n", "#c\nA='x y'\n", "export A=\"1\"\r\n", "A=\n", "A=a=b\nA=2\n", "\u{feff}A=1\n", "=x\n"] {
            assert_eq!(round(text), text);
        }
        assert_eq!(round("\n\nA=1\n\n#x"), "A=1\n#x\n");
        assert_eq!(round("A=a\\nb\n"), "A=a\\nb\n");
    }

    #[test]
    fn words_without_a_value_are_refused() {
        assert_eq!(parse(b"A=1\nword\n").err(), Some(DotenvError::Line(2)));
        assert_eq!(parse(b"\xff=1\n").err(), Some(DotenvError::Name(1)));
    }
}
