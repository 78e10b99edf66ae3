//! A strict reader over the TOML tree: every key is known, every value has the right type.
//!
//! Not `serde`: it stops at the first error and has no place for a nearest name; an owner who
//! made three mistakes should see three.

use toml::de::{DeTable, DeValue};

use crate::error::{Fault, Faults, escape, nearest};

/// A value and the byte where it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) at: usize,
}

impl<T> At<T> {
    pub(crate) fn new(value: T, at: usize) -> Self {
        At { value, at }
    }
}

/// One table of the file whose keys have been checked.
pub(crate) struct Section<'f, 'i> {
    table: &'f DeTable<'i>,
    pub(crate) name: String,
    pub(crate) at: usize,
}

impl<'f, 'i> Section<'f, 'i> {
    /// Takes a table, and reports the keys that are not in `known`.
    pub(crate) fn new(
        table: &'f DeTable<'i>,
        name: String,
        at: usize,
        known: &[&str],
        faults: &mut Faults<'_>,
    ) -> Self {
        for key in table.keys() {
            let word: &str = key.get_ref();
            if known.contains(&word) {
                continue;
            }
            let hint = match nearest(word, known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("possible here: {}", known.join(", ")),
            };
            let fault = Fault::UnknownKey { key: escape(word), section: section_name(&name) };
            faults.add(key.span().start, fault, hint);
        }
        Section { table, name, at }
    }

    fn get(&self, key: &str) -> Option<(&'f DeValue<'i>, usize)> {
        self.table.get(key).map(|value| (value.get_ref(), value.span().start))
    }

    fn wrong(&self, key: &str, wanted: &'static str, found: &DeValue<'_>, at: usize, faults: &mut Faults<'_>) {
        let fault = Fault::WrongType { key: escape(key), wanted, found: found.type_str() };
        faults.add(at, fault, format!("write {}", example(wanted, key)));
    }

    /// Reads a string.
    pub(crate) fn text(&self, key: &str, faults: &mut Faults<'_>) -> Option<At<String>> {
        let (value, at) = self.get(key)?;
        match value {
            DeValue::String(text) => Some(At::new(text.to_string(), at)),
            other => {
                self.wrong(key, "a string", other, at, faults);
                None
            }
        }
    }

    /// Reads `true` or `false`.
    pub(crate) fn flag(&self, key: &str, faults: &mut Faults<'_>) -> Option<At<bool>> {
        let (value, at) = self.get(key)?;
        match value {
            DeValue::Boolean(flag) => Some(At::new(*flag, at)),
            other => {
                self.wrong(key, "true or false", other, at, faults);
                None
            }
        }
    }

    /// Reads a whole number that is not negative.
    pub(crate) fn number(&self, key: &str, faults: &mut Faults<'_>) -> Option<At<u64>> {
        let (value, at) = self.get(key)?;
        let DeValue::Integer(number) = value else {
            self.wrong(key, "a whole number", value, at, faults);
            return None;
        };
        match u64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Some(At::new(number, at)),
            Err(_) => {
                let fault = Fault::BadValue {
                    what: "number",
                    value: escape(number.as_str()),
                    why: "negative or too large".into(),
                };
                faults.add(at, fault, "write a positive whole number");
                None
            }
        }
    }

    /// Reads an array of strings.
    pub(crate) fn list(&self, key: &str, faults: &mut Faults<'_>) -> Option<Vec<At<String>>> {
        let (value, at) = self.get(key)?;
        let DeValue::Array(array) = value else {
            self.wrong(key, "a list of strings", value, at, faults);
            return None;
        };
        let mut list = Vec::with_capacity(array.len());
        for item in array.iter() {
            match item.get_ref() {
                DeValue::String(text) => list.push(At::new(text.to_string(), item.span().start)),
                other => self.wrong(key, "a list of strings", other, item.span().start, faults),
            }
        }
        Some(list)
    }

    /// Opens a table below this one.
    pub(crate) fn section(&self, key: &str, known: &[&str], faults: &mut Faults<'_>) -> Option<Section<'f, 'i>> {
        let (value, at) = self.get(key)?;
        match value {
            DeValue::Table(table) => Some(Section::new(table, self.join(key), self.key_at(key, at), known, faults)),
            other => {
                self.wrong(key, "a section", other, at, faults);
                None
            }
        }
    }

    /// Opens a table of named tables, in the order of the file.
    pub(crate) fn sections(
        &self,
        key: &str,
        known: &[&str],
        faults: &mut Faults<'_>,
    ) -> Vec<(At<String>, Section<'f, 'i>)> {
        let Some((value, at)) = self.get(key) else {
            return Vec::new();
        };
        let DeValue::Table(table) = value else {
            self.wrong(key, "a section", value, at, faults);
            return Vec::new();
        };
        let group = Section { table, name: self.join(key), at };
        let mut found = Vec::new();
        for (name, value) in table {
            let at = name.span().start;
            match value.get_ref() {
                DeValue::Table(inner) => {
                    let inner = Section::new(inner, group.join(name.get_ref()), at, known, faults);
                    found.push((At::new(name.get_ref().to_string(), at), inner));
                }
                other => group.wrong(name.get_ref(), "a section", other, value.span().start, faults),
            }
        }
        found.sort_by_key(|(name, _)| name.at);
        found
    }

    /// Opens a list of tables, `[[key]]`.
    pub(crate) fn tables(&self, key: &str, known: &[&str], faults: &mut Faults<'_>) -> Vec<Section<'f, 'i>> {
        const WANTED: &str = "a list of sections";
        let Some((value, at)) = self.get(key) else {
            return Vec::new();
        };
        let DeValue::Array(array) = value else {
            self.wrong(key, WANTED, value, at, faults);
            return Vec::new();
        };
        let mut found = Vec::new();
        for item in array.iter() {
            let at = item.span().start;
            match item.get_ref() {
                DeValue::Table(table) => found.push(Section::new(table, self.join(key), at, known, faults)),
                other => self.wrong(key, WANTED, other, at, faults),
            }
        }
        found
    }

    /// Reads a table whose keys are free and whose values are strings.
    pub(crate) fn pairs(&self, key: &str, faults: &mut Faults<'_>) -> Vec<(At<String>, At<String>)> {
        let Some((value, at)) = self.get(key) else {
            return Vec::new();
        };
        let DeValue::Table(table) = value else {
            self.wrong(key, "a table of strings", value, at, faults);
            return Vec::new();
        };
        let mut pairs = Vec::new();
        for (name, value) in table {
            let at = value.span().start;
            match value.get_ref() {
                DeValue::String(text) => {
                    pairs.push((At::new(name.get_ref().to_string(), name.span().start), At::new(text.to_string(), at)));
                }
                other => self.wrong(name.get_ref(), "a string", other, at, faults),
            }
        }
        pairs
    }

    /// Reports a key that must be there; for one of the wrong type the error is already made.
    pub(crate) fn require(&self, key: &'static str, hint: &str, faults: &mut Faults<'_>) {
        if self.get(key).is_none() {
            faults.add(self.at, Fault::MissingKey { key, section: section_name(&self.name) }, hint);
        }
    }

    fn key_at(&self, key: &str, default: usize) -> usize {
        self.table.get_key_value(key).map_or(default, |(key, _)| key.span().start)
    }

    fn join(&self, key: &str) -> String {
        match self.name.is_empty() {
            true => key.to_owned(),
            false => format!("{}.{key}", self.name),
        }
    }
}

fn section_name(name: &str) -> String {
    match name.is_empty() {
        true => "the file".to_owned(),
        false => format!("[{}]", escape(name)),
    }
}

fn example(wanted: &str, key: &str) -> String {
    let key = escape(key);
    match wanted {
        "a string" => format!("`{key} = \"...\"`"),
        "true or false" => format!("`{key} = true`"),
        "a list of strings" => format!("`{key} = [\"...\"]`"),
        "a whole number" => format!("`{key} = 100`"),
        "a table of strings" => format!("`{key} = {{ NAME = \"value\" }}`"),
        "a list of sections" => format!("`{key}` as sections of its own, `[[...{key}]]`"),
        _ => format!("`{key}` as a section of its own, `[{key}]`"),
    }
}
