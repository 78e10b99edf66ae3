//! One edit inside a settings file: what is put in, and what takes exactly that out again.
//!
//! Pure: text in, text out.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::json::Dialect;
use crate::{json_edit, toml_text};

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// RFC 8259; a comment in it is an error, as its client says.
    Json,
    /// JSON with comments and trailing commas.
    Jsonc,
    /// JSON5.
    Json5,
    /// TOML.
    Toml,
    /// Lines without a grammar of ours: an environment file, a unit, a history. Only [`Op::Replace`] edits them.
    Plain,
}

/// What is put into a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// The value at a path, whatever was there.
    Set {
        /// The names that lead to it.
        path: Vec<String>,
        /// The value.
        value: Value,
    },
    /// An element of the array at a path, unless an equal one is there.
    Append {
        /// The names that lead to the array.
        path: Vec<String>,
        /// The element.
        value: Value,
    },
    /// No value at a path, whatever was there.
    Remove {
        /// The names that lead to it.
        path: Vec<String>,
    },
    /// One text in the place of another, in a file that is [`Format::Plain`].
    Replace {
        /// Where the old text begins, in bytes of the file before any edit.
        at: usize,
        /// What stands there.
        old: String,
        /// What takes its place; not empty, so that it can be found again.
        new: String,
    },
}

/// What one [`Op`] really did: enough to take out exactly that.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Undo {
    op: Op,
    /// The text of the value that was there before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<String>,
    /// How many of the containers on the way are ours, counted from the inside.
    made: usize,
}

/// Why a file cannot be edited.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// Its client would not read it either.
    #[error("line {line}: {why}")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// Something else stands where a container is needed.
    #[error("`{place}` is not an {what}")]
    Shape {
        /// `object`, `array` or `table`.
        what: &'static str,
        /// The place in the file, escaped.
        place: String,
    },
    /// The same name twice.
    #[error("`{0}` stands there twice, and clients disagree about which one counts")]
    Twice(String),
    /// The text that was to be replaced is not there.
    #[error("the text that was to be replaced is not there any more")]
    Moved,
    /// The editor cannot promise to keep the rest.
    #[error("this file cannot be edited without changing more than is meant")]
    Unfaithful,
}

impl Format {
    fn dialect(self) -> Option<Dialect> {
        match self {
            Format::Json => Some(Dialect::Json),
            Format::Jsonc => Some(Dialect::Jsonc),
            Format::Json5 => Some(Dialect::Json5),
            Format::Toml | Format::Plain => None,
        }
    }
}

const MARK: char = '\u{feff}';

/// Returns the text with the edits in it, and what takes them out.
///
/// # Errors
/// The file is not what its client reads, or holds something else where an edit must go.
pub fn apply(text: &str, format: Format, ops: &[Op]) -> Result<(String, Vec<Undo>), EditError> {
    if format == Format::Plain {
        let (bytes, undos) = replace(text.as_bytes(), ops)?;
        return String::from_utf8(bytes).map(|text| (text, undos)).map_err(|_| EditError::Moved);
    }
    let (mark, mut body) = unmarked(text);
    let mut undos = Vec::new();
    for op in ops {
        let (edited, undo) = apply_one(&body, format, op).map_err(|trouble| trouble.explain(&body))?;
        body = edited;
        undos.extend(undo);
    }
    Ok((mark.to_owned() + &body, undos))
}

/// Takes out what the edits put in, as far as it is still what they put in. The rest stays as it is.
///
/// # Errors
/// As [`apply`].
pub fn take_back(text: &str, format: Format, undos: &[Undo]) -> Result<String, EditError> {
    if format == Format::Plain {
        return String::from_utf8(put_back(text.as_bytes(), undos)).map_err(|_| EditError::Moved);
    }
    let (mark, mut body) = unmarked(text);
    for undo in undos.iter().rev() {
        body = undo.take(&body, format).map_err(|trouble| trouble.explain(&body))?;
    }
    Ok(mark.to_owned() + &body)
}

/// Replaces texts in a file of any encoding; what is not replaced stays, byte for byte.
pub(crate) fn replace(bytes: &[u8], ops: &[Op]) -> Result<(Vec<u8>, Vec<Undo>), EditError> {
    let (mut out, mut undos) = (bytes.to_vec(), Vec::new());
    let mut sorted: Vec<&Op> = ops.iter().collect();
    // The last one first: the places of the others stay what they are.
    sorted.sort_by_key(|op| match op {
        Op::Replace { at, .. } => std::cmp::Reverse(*at),
        Op::Set { .. } | Op::Append { .. } | Op::Remove { .. } => std::cmp::Reverse(0),
    });
    for op in sorted {
        let Op::Replace { at, old, new } = op else { return Err(EditError::Unfaithful) };
        let end = at + old.len();
        if new.is_empty() || out.get(*at..end) != Some(old.as_bytes()) {
            return Err(EditError::Moved);
        }
        out.splice(*at..end, new.bytes());
        undos.push(Undo { op: op.clone(), previous: None, made: 0 });
    }
    Ok((out, undos))
}

/// Puts the old texts back wherever the new ones stand now, the nearest first.
pub(crate) fn put_back(bytes: &[u8], undos: &[Undo]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    // In the order of the file: what is put back has moved what follows to where it was.
    for undo in undos.iter().rev() {
        let Op::Replace { at, old, new } = &undo.op else { continue };
        let places = out.windows(new.len().max(1)).enumerate().filter(|(_, there)| *there == new.as_bytes());
        let nearest = places.map(|(place, _)| place).min_by_key(|place| place.abs_diff(*at));
        if let Some(place) = nearest {
            out.splice(place..place + new.len(), old.bytes());
        }
    }
    out
}

/// Returns the whole of a settings file as a value; nothing when there is nothing in it. A value that JSON does not have
/// is a text that begins with NUL.
///
/// # Errors
/// The file is not what its client reads. Of two members with one name the last counts.
pub fn value(text: &str, format: Format) -> Result<Option<Value>, EditError> {
    let body = unmarked(text).1;
    get(&body, format, &[]).map(|found| found.map(|(value, _)| value)).map_err(|trouble| trouble.explain(&body))
}

/// Returns the value at a path; nothing when there is none, or the text cannot be read.
pub(crate) fn value_at(text: &str, format: Format, path: &[&str]) -> Option<Value> {
    let path: Vec<String> = path.iter().map(|name| (*name).to_owned()).collect();
    get(&unmarked(text).1, format, &path).ok().flatten().map(|(value, _)| value)
}

fn unmarked(text: &str) -> (&str, String) {
    match text.strip_prefix(MARK) {
        Some(body) => (&text[..MARK.len_utf8()], body.to_owned()),
        None => ("", text.to_owned()),
    }
}

fn apply_one(body: &str, format: Format, op: &Op) -> Result<(String, Option<Undo>), Trouble> {
    if let Op::Remove { path } = op {
        let Some((_, raw)) = get(body, format, path)? else { return Ok((body.to_owned(), None)) };
        let undo = Undo { op: op.clone(), previous: Some(raw), made: 0 };
        return Ok((remove(body, format, path)?, Some(undo)));
    }
    let (Op::Set { path, value } | Op::Append { path, value }) = op else { return Err(Trouble::Unfit) };
    let now = get(body, format, path)?;
    match op {
        Op::Remove { .. } | Op::Replace { .. } => Err(Trouble::Unfit),
        Op::Set { .. } => {
            if now.as_ref().is_some_and(|(there, _)| there == value) {
                return Ok((body.to_owned(), None));
            }
            let made = missing(body, format, path.split_last().map_or(&[], |(_, above)| above))?;
            let edited = set(body, format, path, value)?;
            Ok((edited, Some(Undo { op: op.clone(), previous: now.map(|(_, raw)| raw), made })))
        }
        Op::Append { .. } => {
            let is_there =
                now.as_ref().and_then(|(there, _)| there.as_array()).is_some_and(|list| list.contains(value));
            if is_there {
                return Ok((body.to_owned(), None));
            }
            let made = missing(body, format, path)?;
            let edited = match (now, format.dialect()) {
                (None, Some(dialect)) => json_edit::set(body, dialect, path, &Value::Array(vec![value.clone()]))?,
                (Some(_), Some(dialect)) => json_edit::append(body, dialect, path, value)?,
                (_, None) => toml_text::append(body, path, value)?,
            };
            Ok((edited, Some(Undo { op: op.clone(), previous: None, made })))
        }
    }
}

/// How many of the containers along a path are not there yet.
fn missing(body: &str, format: Format, path: &[String]) -> Result<usize, Trouble> {
    for there in (1..=path.len()).rev() {
        if get(body, format, &path[..there])?.is_some() {
            return Ok(path.len() - there);
        }
    }
    Ok(path.len())
}

impl Undo {
    fn take(&self, body: &str, format: Format) -> Result<String, Trouble> {
        if let Op::Remove { path } = &self.op {
            return self.restore(body, format, path);
        }
        let (Op::Set { path, value } | Op::Append { path, value }) = &self.op else { return Err(Trouble::Unfit) };
        let Some((now, _)) = get(body, format, path)? else { return Ok(body.to_owned()) };
        let (mut body, above) = match &self.op {
            Op::Remove { .. } | Op::Replace { .. } => return Err(Trouble::Unfit),
            // Somebody gave it another value since: it is theirs now.
            Op::Set { .. } if now != *value => return Ok(body.to_owned()),
            Op::Set { .. } => {
                let edited = match (&self.previous, format.dialect()) {
                    (Some(raw), Some(dialect)) => json_edit::set_raw(body, dialect, path, raw)?,
                    (Some(raw), None) => toml_text::set_raw(body, path, raw)?,
                    (None, _) => remove(body, format, path)?,
                };
                (edited, path.len() - 1)
            }
            Op::Append { .. } => {
                let edited = match format.dialect() {
                    Some(dialect) => json_edit::remove_element(body, dialect, path, value)?,
                    None => toml_text::remove_element(body, path, value)?,
                };
                (edited, path.len())
            }
        };
        for depth in (above.saturating_sub(self.made) + 1..=above).rev() {
            let is_bare = match format.dialect() {
                Some(dialect) => json_edit::is_bare(&body, dialect, &path[..depth])?,
                None => toml_text::is_bare(&body, &path[..depth])?,
            };
            if is_bare {
                body = remove(&body, format, &path[..depth])?;
            }
        }
        Ok(body)
    }
}

impl Undo {
    /// Puts back what was removed, at the end of what it was in; nothing happens where that is gone or has such a value.
    fn restore(&self, body: &str, format: Format, path: &[String]) -> Result<String, Trouble> {
        let (Some(raw), Some((_, above))) = (&self.previous, path.split_last()) else { return Ok(body.to_owned()) };
        if get(body, format, path)?.is_some() || get(body, format, above)?.is_none() {
            return Ok(body.to_owned());
        }
        let body = set(body, format, path, &Value::Null)?;
        Ok(match format.dialect() {
            Some(dialect) => json_edit::set_raw(&body, dialect, path, raw)?,
            None => toml_text::set_raw(&body, path, raw)?,
        })
    }
}

fn get(body: &str, format: Format, path: &[String]) -> Result<Option<(Value, String)>, Trouble> {
    Ok(match format.dialect() {
        Some(dialect) => json_edit::get(body, dialect, path)?,
        None => toml_text::get(body, path)?,
    })
}

fn set(body: &str, format: Format, path: &[String], value: &Value) -> Result<String, Trouble> {
    Ok(match format.dialect() {
        Some(dialect) => json_edit::set(body, dialect, path, value)?,
        None => toml_text::set(body, path, value)?,
    })
}

fn remove(body: &str, format: Format, path: &[String]) -> Result<String, Trouble> {
    Ok(match format.dialect() {
        Some(dialect) => json_edit::remove(body, dialect, path)?,
        None => toml_text::remove(body, path)?,
    })
}

enum Trouble {
    Json(json_edit::Trouble),
    Toml(toml_text::Trouble),
    /// An edit of another kind of file.
    Unfit,
}

impl From<json_edit::Trouble> for Trouble {
    fn from(trouble: json_edit::Trouble) -> Trouble {
        Trouble::Json(trouble)
    }
}

impl From<toml_text::Trouble> for Trouble {
    fn from(trouble: toml_text::Trouble) -> Trouble {
        Trouble::Toml(trouble)
    }
}

impl Trouble {
    fn explain(self, body: &str) -> EditError {
        let escaped = |text: &str| mantlet_ledger::escape(text.as_bytes());
        match self {
            Trouble::Json(json_edit::Trouble::Mistake(mistake)) => {
                let line = body.get(..mistake.at).map_or(1, |before| before.matches('\n').count() + 1);
                EditError::Syntax { line, why: mistake.why.to_owned() }
            }
            Trouble::Json(json_edit::Trouble::Twice(name)) => EditError::Twice(escaped(&name)),
            Trouble::Json(json_edit::Trouble::NotA(what, place))
            | Trouble::Toml(toml_text::Trouble::NotA(what, place)) => EditError::Shape { what, place: escaped(&place) },
            Trouble::Toml(toml_text::Trouble::Mistake(line, why)) => EditError::Syntax { line, why: escaped(&why) },
            Trouble::Toml(toml_text::Trouble::NoSuchValue | toml_text::Trouble::Unfaithful) | Trouble::Unfit => {
                EditError::Unfaithful
            }
        }
    }
}

#[cfg(test)]
#[path = "op_tests.rs"]
pub(crate) mod tests;
