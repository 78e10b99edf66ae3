//! A settings file for the watch: its values as they are kept in a baseline, and the file with the guarded ones put back.

use mantlet_change::Op;
use mantlet_clients::watched::{Settings, Syntax};
use mantlet_watch::{ContentError, Difference};
use serde_json::{Map, Value};

use super::keys::{self, Found};
use super::text::{self, wrong};

/// Returns what of a file is kept: all its values. Nothing for a file without any.
pub(super) fn snapshot(settings: &Settings, bytes: &[u8]) -> Result<Option<Vec<u8>>, ContentError> {
    let found = text::read(as_text(bytes)?, settings.syntax)?;
    found.map(|value| serde_json::to_vec(&value).map_err(wrong)).transpose()
}

/// Compares two snapshots.
pub(super) fn compare(settings: &Settings, baseline: &[u8], found: &[u8]) -> Difference {
    let (Ok(before), Ok(after)) = (kept(baseline), kept(found)) else {
        return Difference::Tampered { keys: vec!["(unreadable)".to_owned()] };
    };
    match keys::compare(settings, &before, &after) {
        Found { tampered, .. } if !tampered.is_empty() => Difference::Tampered { keys: tampered },
        Found { accepted, .. } if !accepted.is_empty() => Difference::Accepted { keys: accepted },
        Found { .. } => Difference::Same,
    }
}

/// Returns the file with the guarded values of the baseline in it. What the edited file means is read again and compared
/// with what it should mean, before anybody gets it.
pub(super) fn restore(settings: &Settings, baseline: &[u8], bytes: &[u8]) -> Result<Vec<u8>, ContentError> {
    let found = as_text(bytes)?;
    let before = kept(baseline)?;
    let after = text::read(found, settings.syntax)?.unwrap_or_else(empty);
    let edits = keys::compare(settings, &before, &after).edits;
    let wanted = keys::edited(after, &edits);
    if !keys::compare(settings, &before, &wanted).tampered.is_empty() || edits.iter().any(is_unwritable) {
        return Err(wrong("the guarded keys cannot be put back by themselves"));
    }
    let means_it = |candidate: &str| {
        let read = text::read(candidate, settings.syntax).ok().map(|value| value.unwrap_or_else(empty));
        read.is_some_and(|read| trimmed(settings.syntax, &read) == trimmed(settings.syntax, &wanted))
    };
    if let Ok((edited, _)) = mantlet_change::apply(found, text::format(settings.syntax), &edits)
        && means_it(&edited)
    {
        return Ok(edited.into_bytes());
    }
    // Written anew, without its comments: where an editor cannot keep them, what the file says is more than how.
    let anew = serde_json::to_string_pretty(&wanted).map_err(wrong)? + "\n";
    match settings.syntax {
        Syntax::Json | Syntax::Jsonc | Syntax::Json5 if means_it(&anew) => Ok(anew.into_bytes()),
        _ => Err(wrong("the guarded keys cannot be put back without changing others")),
    }
}

fn as_text(bytes: &[u8]) -> Result<&str, ContentError> {
    std::str::from_utf8(bytes).map_err(|_| wrong("it is no text"))
}

/// A snapshot as it was kept; one of nothing is handed in empty.
fn kept(snapshot: &[u8]) -> Result<Value, ContentError> {
    match snapshot {
        [] => Ok(empty()),
        bytes => serde_json::from_slice(bytes).map_err(wrong),
    }
}

fn empty() -> Value {
    Value::Object(Map::new())
}

/// A value that only its own syntax has; written as JSON it would be another one.
fn is_unwritable(edit: &Op) -> bool {
    fn is_special(value: &Value) -> bool {
        match value {
            Value::String(text) => text.starts_with('\0'),
            Value::Array(elements) => elements.iter().any(is_special),
            Value::Object(members) => members.values().any(is_special),
            _ => false,
        }
    }
    matches!(edit, Op::Set { value, .. } if is_special(value))
}

/// In TOML a table that only held others has no text of its own, and is gone with them.
fn trimmed(syntax: Syntax, value: &Value) -> Value {
    match value {
        Value::Object(members) if syntax == Syntax::Toml => {
            let kept = members.iter().map(|(name, value)| (name.clone(), trimmed(syntax, value)));
            Value::Object(kept.filter(|(_, value)| value.as_object().is_none_or(|inner| !inner.is_empty())).collect())
        }
        other => other.clone(),
    }
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
