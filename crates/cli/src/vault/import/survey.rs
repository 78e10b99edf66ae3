//! What was found, and what is going to be done about it. Values are kept apart from everything that may be shown.

use std::collections::BTreeMap;
use std::path::PathBuf;

use mantlet_change::{FilePlan, Op};
use mantlet_clients::openclaw::Use;
use mantlet_vault::Secret;
use serde_json::json;

/// One credential, or one place with what looks like some.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    pub(super) file: PathBuf,
    /// The key, variable or lines.
    pub(super) key: String,
    /// What it opens.
    pub(super) opens: String,
    pub(super) used: Option<Use>,
    pub(super) fate: Fate,
}

/// What happens to it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fate {
    /// It is sealed, and a SecretRef takes its place.
    Replaced,
    /// It is sealed and taken out; this key of `openclaw.json` has a SecretRef for it.
    Moved(String),
    /// The file is a copy that nobody needs: it is removed.
    Removed,
    /// It is masked where it stands.
    Masked,
    /// It stays, for this reason.
    Held(String),
}

/// Everything that was found.
#[derive(Default)]
pub(super) struct Survey {
    pub(super) found: Vec<Found>,
    pub(super) values: Values,
    /// In the order in which they are written.
    pub(super) files: Vec<FilePlan>,
    /// Databases that are rewritten.
    pub(super) databases: Vec<PathBuf>,
}

/// A value that is sealed.
#[derive(PartialEq)]
pub(super) struct Value {
    pub(super) text: Secret,
    /// Whether it is JSON: a service account that stands in the configuration as an object.
    pub(super) is_json: bool,
}

/// The values by their names in the encrypted file.
#[derive(Default, PartialEq)]
pub(super) struct Values(BTreeMap<String, Value>);

impl Values {
    /// Names a value. Where another one has the name already, it gets a number.
    pub(super) fn add(&mut self, wanted: &str, value: Value) -> String {
        let first = id(wanted);
        let (mut name, mut number) = (first.clone(), 1);
        while self.0.get(&name).is_some_and(|there| *there != value) {
            number += 1;
            name = format!("{first}-{number}");
        }
        self.0.insert(name.clone(), value);
        name
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Whether this is the value of that name.
    pub(super) fn is(&self, name: &str, value: &Secret) -> bool {
        self.0.get(name).is_some_and(|there| there.text == *value)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The values as texts, to be searched for: none that is so short that it would be found everywhere.
    pub(super) fn needles(&self) -> impl Iterator<Item = &[u8]> {
        self.0.values().map(|value| value.text.expose()).filter(|value| value.len() >= LEAST)
    }

    /// Whether one of them stands in these bytes.
    pub(super) fn occur_in(&self, bytes: &[u8]) -> bool {
        self.needles().any(|value| find(bytes, value).is_some())
    }
}

impl From<Secret> for Value {
    fn from(text: Secret) -> Value {
        Value { text, is_json: false }
    }
}

/// As short as a value may be to be searched for.
const LEAST: usize = 8;

/// Where a value stands in bytes.
pub(super) fn find(bytes: &[u8], value: &[u8]) -> Option<usize> {
    let first = *value.first()?;
    let mut from = 0;
    while let Some(at) = bytes.get(from..)?.iter().position(|byte| *byte == first) {
        if bytes[from + at..].starts_with(value) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

/// A name as OpenClaw takes it for an id of an exec provider: letters, digits, `. _ : / # -` but for the underscore.
fn id(wanted: &str) -> String {
    let part = |part: &str| {
        let clean =
            part.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '-') { c } else { '-' });
        let clean: String = clean.collect();
        if matches!(clean.as_str(), "" | "." | "..") { "-".into() } else { clean }
    };
    let name = wanted.split('/').map(part).collect::<Vec<String>>().join("/");
    name.chars().take(240).collect()
}

/// How a SecretRef is spelled.
pub(super) fn reference(provider: &str, name: &str) -> serde_json::Value {
    json!({"source": "exec", "provider": provider, "id": name})
}

pub(super) fn set(path: &[String], value: serde_json::Value) -> Op {
    Op::Set { path: path.to_vec(), value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ids_that_openclaw_takes_and_no_two_values_share_one() {
        let mut values = Values::default();
        assert_eq!(
            values.add("config/models/providers/a_b/apiKey", Secret::from("one").into()),
            "config/models/providers/a-b/apiKey"
        );
        assert_eq!(
            values.add("config/models/providers/a-b/apiKey", Secret::from("two").into()),
            "config/models/providers/a-b/apiKey-2"
        );
        assert_eq!(
            values.add("config/models/providers/a b/apiKey", Secret::from("one").into()),
            "config/models/providers/a-b/apiKey"
        );
        assert_eq!(values.add("profiles/../x@y:z", Secret::from("three").into()), "profiles/-/x-y:z");
        assert_eq!(values.iter().count(), 3);
    }

    #[test]
    fn values_are_found_where_they_stand() {
        let mut values = Values::default();
        values.add("a", Secret::from("canary-1").into());
        values.add("short", Secret::from("12345").into());
        assert!(values.occur_in(b"xxcanary-canary-1") && !values.occur_in(b"canary-2 12345"));
        assert_eq!(find(b"cccanary-1", b"canary-1"), Some(2));
    }
}
