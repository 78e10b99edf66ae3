//! Two versions of a settings file compared by key, and the edits that give the guarded keys their values back.
//!
//! Pure. Lists are values like any other: nothing is found by its place in one, so that an element that is put in front
//! shifts no key under another's rule.

use std::collections::BTreeSet;

use mantlet_change::Op;
use mantlet_clients::watched::{Guard, Settings};
use serde_json::{Map, Value};

/// How many keys a comparison names; an attacker could add any number.
const NAMED: usize = 64;
/// How long a key is named, in characters.
const LONG: usize = 160;

/// What a comparison found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Keys that differ, and may.
    pub(super) accepted: Vec<String>,
    /// Keys that differ, and must not.
    pub(super) tampered: Vec<String>,
    /// What gives the second version the guarded values of the first.
    pub(super) edits: Vec<Op>,
}

/// Compares two versions of a settings file.
pub(super) fn compare(settings: &Settings, before: &Value, after: &Value) -> Found {
    let mut comparison = Comparison { settings, found: Found::default(), path: Vec::new(), accepted: 0 };
    comparison.walk(Some(before), Some(after));
    comparison.found
}

struct Comparison<'s> {
    settings: &'s Settings,
    found: Found,
    path: Vec<String>,
    /// How many keys were accepted, named or not.
    accepted: usize,
}

impl Comparison<'_> {
    fn walk(&mut self, before: Option<&Value>, after: Option<&Value>) {
        if before == after {
            return;
        }
        if self.path.last().is_some_and(|name| self.settings.is_poison(name)) {
            return self.tampered(before);
        }
        let held = self.settings.held(&self.path);
        // Two tables are gone through even where one rule holds for all of them: what is named and put back is less.
        let is_table = |value: Option<&Value>| value.is_some_and(Value::is_object);
        if held.is_mixed || (held.guard != Guard::Grant && is_table(before) && is_table(after)) {
            return self.mixed(held.guard, before, after);
        }
        match held.guard {
            Guard::Free if self.carries(before, after) => self.tampered(before),
            Guard::Free => self.accepted(),
            Guard::Grant => self.grant(before, after),
            Guard::Guarded | Guard::Entry => self.tampered(before),
        }
    }

    /// A key whose parts are looked at one by one.
    fn mixed(&mut self, guard: Guard, before: Option<&Value>, after: Option<&Value>) {
        let is_new_entry = guard == Guard::Entry && before.is_none();
        // Where there is something else than a table, nothing of it is a free key.
        let is_other = [before, after].into_iter().flatten().any(|value| !value.is_object());
        if is_new_entry || is_other {
            return self.tampered(before);
        }
        let (accepted, edits) = (self.accepted, self.found.edits.len());
        let is_new = before.is_none();
        let members = |value: Option<&Value>| value.and_then(Value::as_object).cloned().unwrap_or_default();
        let (before, after) = (members(before), members(after));
        if before.is_empty() && after.is_empty() {
            return self.accepted();
        }
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for name in names {
            self.path.push(name.clone());
            self.walk(before.get(name), after.get(name));
            self.path.pop();
        }
        // A table of which nothing may stay was made for what was in it.
        if is_new && self.accepted == accepted {
            self.found.edits.truncate(edits);
            self.found.edits.push(Op::Remove { path: self.path.clone() });
        }
    }

    /// Grants that are gone are accepted; one that is new, or that is another one now, is not.
    fn grant(&mut self, before: Option<&Value>, after: Option<&Value>) {
        match (before, after) {
            (_, after) if is_nothing(after) => self.accepted(),
            (Some(Value::Array(before)), Some(Value::Array(after)))
                if after.iter().all(|item| before.contains(item)) =>
            {
                self.accepted();
            }
            (before @ (None | Some(Value::Object(_))), Some(Value::Object(after))) => {
                let before = before.and_then(Value::as_object).cloned().unwrap_or_default();
                let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
                for name in names {
                    self.path.push(name.clone());
                    match (before.get(name), after.get(name)) {
                        (before, after) if before == after => {}
                        (_, after) if is_nothing(after) => self.accepted(),
                        (before, _) => self.tampered(before),
                    }
                    self.path.pop();
                }
            }
            _ => self.tampered(before),
        }
    }

    /// Whether a free value brings something that is not its own: keys from another file, a property of every object, or
    /// a secret by its name, which would go wherever this key goes.
    fn carries(&self, before: Option<&Value>, after: Option<&Value>) -> bool {
        let Some(after) = after else { return false };
        if has_name(after, &|name| self.settings.is_poison(name)) {
            return true;
        }
        let mut known = BTreeSet::new();
        before.into_iter().for_each(|value| texts(value, &mut |text| known.extend([text])));
        let mut is_new = false;
        texts(after, &mut |text| {
            let refers = self.settings.references.iter().any(|mark| text.contains(mark));
            is_new |= refers && !known.contains(text);
        });
        is_new
    }

    fn accepted(&mut self) {
        self.accepted += 1;
        note(&mut self.found.accepted, &self.path);
    }

    fn tampered(&mut self, before: Option<&Value>) {
        note(&mut self.found.tampered, &self.path);
        let path = self.path.clone();
        self.found.edits.push(match before {
            Some(value) => Op::Set { path, value: value.clone() },
            None => Op::Remove { path },
        });
    }
}

/// What a client writes where nothing is granted.
fn is_nothing(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null | Value::Bool(false)) => true,
        Some(Value::Array(elements)) => elements.is_empty(),
        Some(Value::Object(members)) => members.is_empty(),
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Bool(true) | Value::Number(_)) => false,
    }
}

fn has_name(value: &Value, is_wanted: &dyn Fn(&str) -> bool) -> bool {
    match value {
        Value::Object(members) => members.iter().any(|(name, value)| is_wanted(name) || has_name(value, is_wanted)),
        Value::Array(elements) => elements.iter().any(|value| has_name(value, is_wanted)),
        _ => false,
    }
}

fn texts<'v>(value: &'v Value, each: &mut dyn FnMut(&'v str)) {
    match value {
        Value::String(text) => each(text),
        Value::Array(elements) => elements.iter().for_each(|value| texts(value, each)),
        Value::Object(members) => members.values().for_each(|value| texts(value, each)),
        _ => {}
    }
}

fn note(list: &mut Vec<String>, path: &[String]) {
    match list.len() {
        ..NAMED => list.push(named(path)),
        NAMED => list.push("…".to_owned()),
        _ => {}
    }
}

/// A key as a person reads it; names that are not plain words stand in quotes.
fn named(path: &[String]) -> String {
    let is_plain = |name: &String| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '$'))
    };
    let names =
        path.iter().map(|name| if is_plain(name) { name.clone() } else { Value::from(name.as_str()).to_string() });
    let whole = names.collect::<Vec<_>>().join(".");
    match whole.char_indices().nth(LONG) {
        Some((at, _)) => format!("{}…", &whole[..at]),
        None if whole.is_empty() => "(all of it)".to_owned(),
        None => whole,
    }
}

/// Does the edits to a value: what the edited text must mean.
pub(super) fn edited(mut value: Value, edits: &[Op]) -> Value {
    for edit in edits {
        match edit {
            Op::Set { path, value: new } => put(&mut value, path, Some(new)),
            Op::Remove { path } => put(&mut value, path, None),
            Op::Append { .. } | Op::Replace { .. } => {}
        }
    }
    value
}

fn put(value: &mut Value, path: &[String], new: Option<&Value>) {
    let Some((name, rest)) = path.split_first() else {
        *value = new.cloned().unwrap_or_else(|| Value::Object(Map::new()));
        return;
    };
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    let Value::Object(members) = value else { return };
    match (rest.is_empty(), new) {
        (true, None) => drop(members.remove(name)),
        (true, Some(new)) => drop(members.insert(name.clone(), new.clone())),
        (false, None) if !members.contains_key(name) => {}
        (false, _) => put(members.entry(name).or_insert(Value::Null), rest, new),
    }
}
