//! Keys and elements put into TOML text and taken out again, with its comments, order and line ends kept.
//!
//! Pure. The editor normalises line ends; they are put back line by line.

use serde_json::Value;
use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, TableLike};

/// Why a text was not edited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It is not TOML, from this line on.
    Mistake(usize, String),
    /// The value on the way is not the container that the client wants there.
    NotA(&'static str, String),
    /// TOML has no such value.
    NoSuchValue,
    /// The editor would change what it does not mean to.
    Unfaithful,
}

/// Returns the value at a path, and its own text.
pub(crate) fn get(text: &str, path: &[String]) -> Result<Option<(Value, String)>, Trouble> {
    let document = read(text)?;
    let mut item = document.as_item();
    for name in path {
        match item.as_table_like().and_then(|table| table.get(name)) {
            Some(next) => item = next,
            None => return Ok(None),
        }
    }
    let own = item.as_value().map(|value| value.clone().decorated("", "").to_string());
    Ok(Some((value_of(item), own.unwrap_or_default())))
}

/// Puts a value at a path, over the one that is there. Tables on the way are made.
pub(crate) fn set(text: &str, path: &[String], value: &Value) -> Result<String, Trouble> {
    edit(text, |document| {
        let (name, above) = path.split_last().ok_or(Trouble::NoSuchValue)?;
        let table = walk(document.as_table_mut(), above)?;
        let is_inline = above.is_empty() && matches!(value, Value::Array(_));
        let mut item = item_of(value, !is_inline)?;
        if let (Some(old), Some(new)) = (table.get(name).and_then(Item::as_value), item.as_value_mut()) {
            *new.decor_mut() = old.decor().clone();
        }
        if let Some(made) = item.as_table_mut() {
            made.decor_mut().set_prefix("\n");
        }
        table.insert(name, item);
        Ok(())
    })
}

/// Puts the value with this text in the place of the one at a path.
pub(crate) fn set_raw(text: &str, path: &[String], raw: &str) -> Result<String, Trouble> {
    edit(text, |document| {
        let (name, above) = path.split_last().ok_or(Trouble::NoSuchValue)?;
        let mut value: toml_edit::Value = raw.parse().map_err(|_| Trouble::NoSuchValue)?;
        let table = walk(document.as_table_mut(), above)?;
        if let Some(old) = table.get(name).and_then(Item::as_value) {
            *value.decor_mut() = old.decor().clone();
        }
        table.insert(name, Item::Value(value));
        Ok(())
    })
}

/// Adds an element at the end of the array, or array of tables, at a path; makes it when there is none.
pub(crate) fn append(text: &str, path: &[String], value: &Value) -> Result<String, Trouble> {
    edit(text, |document| {
        let (name, above) = path.split_last().ok_or(Trouble::NoSuchValue)?;
        let table = walk(document.as_table_mut(), above)?;
        let tables = value.is_object();
        let list = table.entry(name).or_insert_with(|| match tables {
            true => Item::ArrayOfTables(ArrayOfTables::new()),
            false => Item::Value(Array::new().into()),
        });
        match list {
            Item::ArrayOfTables(list) => {
                let Item::Table(mut made) = item_of(value, true)? else { return Err(Trouble::NoSuchValue) };
                made.decor_mut().set_prefix("\n");
                list.push(made);
            }
            Item::Value(toml_edit::Value::Array(list)) => list.push(inline(value)?),
            _ => return Err(Trouble::NotA("array", path.join("."))),
        }
        Ok(())
    })
}

/// Takes out the key at a path; nothing happens when there is none. A comment before it is kept, at the end.
pub(crate) fn remove(text: &str, path: &[String]) -> Result<String, Trouble> {
    edit(text, |document| {
        let Some((name, above)) = path.split_last() else { return Ok(()) };
        let Some(table) = existing(document.as_table_mut(), above) else { return Ok(()) };
        let mut comments = String::new();
        if let Some(key) = table.key(name) {
            comments += key.leaf_decor().prefix().and_then(|prefix| prefix.as_str()).unwrap_or_default();
        }
        if let Some(gone) = table.remove(name) {
            let decor = gone.as_table().map(Table::decor);
            comments += decor.and_then(|decor| decor.prefix()?.as_str()).unwrap_or_default();
        }
        keep(document, &comments);
        Ok(())
    })
}

/// Takes out the last element of an array that has this value.
pub(crate) fn remove_element(text: &str, path: &[String], value: &Value) -> Result<String, Trouble> {
    edit(text, |document| {
        let Some((name, above)) = path.split_last() else { return Ok(()) };
        let Some(table) = existing(document.as_table_mut(), above) else { return Ok(()) };
        let mut comments = String::new();
        match table.get_mut(name) {
            Some(Item::ArrayOfTables(list)) => {
                let at = list.iter().enumerate().filter(|(_, t)| table_value(*t) == *value).map(|(at, _)| at).last();
                if let Some(at) = at {
                    let prefix = list.get(at).and_then(|t| t.decor().prefix()).and_then(|p| p.as_str());
                    comments += prefix.unwrap_or_default();
                    list.remove(at);
                }
                // An array of tables without tables has no text.
                if list.is_empty() {
                    table.remove(name);
                }
            }
            Some(Item::Value(toml_edit::Value::Array(list))) => {
                if let Some(at) =
                    list.iter().map(plain).collect::<Vec<_>>().iter().rposition(|element| element == value)
                {
                    list.remove(at);
                }
            }
            _ => {}
        }
        keep(document, &comments);
        Ok(())
    })
}

/// Whether the container at a path holds nothing.
pub(crate) fn is_bare(text: &str, path: &[String]) -> Result<bool, Trouble> {
    let found = get(text, path)?;
    Ok(found.is_some_and(|(value, _)| match value {
        Value::Object(members) => members.is_empty(),
        Value::Array(elements) => elements.is_empty(),
        _ => false,
    }))
}

fn read(text: &str) -> Result<DocumentMut, Trouble> {
    text.parse::<DocumentMut>().map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        Trouble::Mistake(before.matches('\n').count() + 1, error.message().to_owned())
    })
}

/// Edits a document and puts the line ends back. A document that the editor cannot even repeat is refused.
fn edit(text: &str, change: impl FnOnce(&mut DocumentMut) -> Result<(), Trouble>) -> Result<String, Trouble> {
    // The editor ends every line; where the file's last one had no end, the edited one's has none.
    let is_open = !text.is_empty() && !text.ends_with('\n');
    let closed = if is_open { &format!("{text}\n") } else { text };
    let mut document = read(closed)?;
    if with_ends_of(closed, &document.to_string()) != closed {
        return Err(Trouble::Unfaithful);
    }
    change(&mut document)?;
    let mut edited = document.to_string();
    if is_open && edited.ends_with('\n') {
        edited.pop();
    }
    if edited.starts_with('\n') && !text.starts_with('\n') {
        edited.remove(0);
    }
    let edited = with_ends_of(text, &edited);
    let meaning = |document: &DocumentMut| without_empty(table_value(document.as_table()));
    let is_same = read(&edited).is_ok_and(|read| meaning(&read) == meaning(&document));
    if is_same { Ok(edited) } else { Err(Trouble::Unfaithful) }
}

/// Gives each line of `edited` the line end that the same line has in `text`; a new one gets the first line's.
fn with_ends_of(text: &str, edited: &str) -> String {
    let usual = match text.find('\n') {
        Some(at) if text[..at].ends_with('\r') => "\r\n",
        _ => "\n",
    };
    let old: Vec<&str> = text.split_inclusive('\n').collect();
    let mut next = 0;
    let mut out = String::with_capacity(edited.len());
    for line in edited.split_inclusive('\n') {
        let bare = line.trim_end_matches(['\r', '\n']);
        let found = old[next..].iter().position(|candidate| candidate.trim_end_matches(['\r', '\n']) == bare);
        out.push_str(bare);
        match found {
            Some(ahead) if line.ends_with('\n') => {
                let same = old[next + ahead];
                out.push_str(if same.ends_with('\n') { &same[bare.len()..] } else { usual });
                next += ahead + 1;
            }
            _ if line.ends_with('\n') => out.push_str(usual),
            _ => {}
        }
    }
    out
}

fn walk<'t>(table: &'t mut Table, path: &[String]) -> Result<&'t mut dyn TableLike, Trouble> {
    let mut table: &mut dyn TableLike = table;
    for (depth, name) in path.iter().enumerate() {
        let item = table.entry(name).or_insert_with(|| {
            let mut made = Table::new();
            // A table that only holds other tables gets no header of its own.
            made.set_implicit(true);
            made.decor_mut().set_prefix("\n");
            Item::Table(made)
        });
        table = item.as_table_like_mut().ok_or_else(|| Trouble::NotA("table", path[..=depth].join(".")))?;
    }
    Ok(table)
}

fn existing<'t>(table: &'t mut Table, path: &[String]) -> Option<&'t mut dyn TableLike> {
    let mut table: &mut dyn TableLike = table;
    for name in path {
        table = table.get_mut(name)?.as_table_like_mut()?;
    }
    Some(table)
}

/// A comment in front of what goes away was written by somebody else.
fn keep(document: &mut DocumentMut, comments: &str) {
    if comments.contains('#') {
        let trailing = document.trailing().as_str().unwrap_or_default().to_owned();
        document.set_trailing(format!("{trailing}{comments}"));
    }
}

fn item_of(value: &Value, is_block: bool) -> Result<Item, Trouble> {
    match value {
        Value::Object(members) if is_block => {
            let mut table = Table::new();
            for (name, value) in members {
                table.insert(name, item_of(value, true)?);
            }
            Ok(Item::Table(table))
        }
        Value::Array(elements) if is_block && !elements.is_empty() && elements.iter().all(Value::is_object) => {
            let mut list = ArrayOfTables::new();
            for element in elements {
                let Item::Table(table) = item_of(element, true)? else { return Err(Trouble::NoSuchValue) };
                list.push(table);
            }
            Ok(Item::ArrayOfTables(list))
        }
        flat => Ok(Item::Value(inline(flat)?)),
    }
}

fn inline(value: &Value) -> Result<toml_edit::Value, Trouble> {
    Ok(match value {
        Value::Null => return Err(Trouble::NoSuchValue),
        Value::Bool(value) => (*value).into(),
        Value::String(text) => text.as_str().into(),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => whole.into(),
            (None, Some(number)) => number.into(),
            (None, None) => return Err(Trouble::NoSuchValue),
        },
        Value::Array(elements) => {
            let elements: Result<Array, Trouble> = elements.iter().map(inline).collect();
            elements?.into()
        }
        Value::Object(members) => {
            let mut table = InlineTable::new();
            for (name, value) in members {
                table.insert(name, inline(value)?);
            }
            table.into()
        }
    })
}

fn value_of(item: &Item) -> Value {
    match item {
        Item::None => Value::Null,
        Item::Value(value) => plain(value),
        Item::Table(table) => table_value(table),
        Item::ArrayOfTables(list) => Value::Array(list.iter().map(|table| table_value(table)).collect()),
    }
}

fn table_value(table: &dyn TableLike) -> Value {
    Value::Object(table.iter().map(|(name, item)| (name.to_owned(), value_of(item))).collect())
}

/// A table that only held others has no text of its own, and is gone with them.
fn without_empty(value: Value) -> Value {
    let Value::Object(members) = value else { return value };
    let kept = members.into_iter().map(|(name, value)| (name, without_empty(value)));
    Value::Object(kept.filter(|(_, value)| value.as_object().is_none_or(|inner| !inner.is_empty())).collect())
}

fn plain(value: &toml_edit::Value) -> Value {
    match value {
        toml_edit::Value::String(text) => text.value().as_str().into(),
        toml_edit::Value::Integer(number) => (*number.value()).into(),
        toml_edit::Value::Float(number) => serde_json::Number::from_f64(*number.value())
            .map_or_else(|| number.value().to_string().into(), Value::Number),
        toml_edit::Value::Boolean(value) => (*value.value()).into(),
        toml_edit::Value::Datetime(time) => format!("\0{}", time.value()).into(),
        toml_edit::Value::Array(list) => Value::Array(list.iter().map(plain).collect()),
        toml_edit::Value::InlineTable(table) => table_value(table),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn path(text: &str) -> Vec<String> {
        text.split('.').map(str::to_owned).collect()
    }

    #[test]
    fn keys_and_tables_are_put_in_and_taken_out() {
        let hook = json!({"matcher": "*", "hooks": [{"type": "command", "timeout": 10}]});
        for before in [
            "",
            "# top\nmodel = \"x\" # m\n\n[features] # f\nweb = true\n",
            "a = 1\r\nb = 2\n[t]\r\nx = '''\n  y\r\n'''\r\n",
        ] {
            let edited = append(before, &path("hooks.PreToolUse"), &hook).unwrap();
            assert!(edited.starts_with(before) && edited.contains("[[hooks.PreToolUse.hooks]]"), "{edited}");
            let edited = set(&edited, &path("features.hooks"), &json!(true)).unwrap();
            let edited = set(&edited, &path("only"), &json!(true)).unwrap();
            assert_eq!(get(&edited, &path("hooks.PreToolUse")).unwrap().unwrap().0, json!([hook]));
            let left = remove(&edited, &path("only")).unwrap();
            let left = remove(&left, &path("features.hooks")).unwrap();
            let left = remove_element(&left, &path("hooks.PreToolUse"), &hook).unwrap();
            assert_eq!(
                get(&left, &path("hooks.PreToolUse")).unwrap().unwrap_or((json!([]), String::new())).0,
                json!([])
            );
        }
    }

    #[test]
    fn a_comment_before_what_goes_is_kept() {
        let left = remove("a = 1\n# mine\nn = 2\n", &path("n")).unwrap();
        assert_eq!(left, "a = 1\n# mine\n");
    }

    #[test]
    fn what_is_not_toml_or_no_table_is_refused() {
        for text in ["[", "n = 1\n", "n = []\n"] {
            assert!(set(text, &path("n.x"), &json!(1)).is_err(), "{text}");
        }
    }
}
