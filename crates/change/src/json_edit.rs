//! Members and elements put into JSON text and taken out again; every byte that is not theirs stays.
//!
//! Pure. What is taken out is the exact inverse of what is put in, as long as nobody wrote in between.

use std::ops::Range;

use serde_json::Value;

use crate::json::{self, Dialect, Item, Mistake, Node, Shape, parse, skip_trivia};

/// Why a text was not edited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It is not what its client reads.
    Mistake(Mistake),
    /// The value on the way is not the container that the client wants there.
    NotA(&'static str, String),
    /// The same name twice: clients disagree about which one counts.
    Twice(String),
}

impl From<Mistake> for Trouble {
    fn from(mistake: Mistake) -> Trouble {
        Trouble::Mistake(mistake)
    }
}

/// Returns the value at a path, and its own text.
pub(crate) fn get(text: &str, dialect: Dialect, path: &[String]) -> Result<Option<(Value, String)>, Trouble> {
    let Some(root) = parse(text, dialect)? else { return Ok(None) };
    let mut node = &root;
    for (depth, name) in path.iter().enumerate() {
        let Some(item) = member(node, name, &path[..depth])? else { return Ok(None) };
        node = &item.value;
    }
    Ok(Some((json::value(node), text[node.span.clone()].to_owned())))
}

/// Puts a value at a path, over the one that is there. Containers on the way are made.
pub(crate) fn set(text: &str, dialect: Dialect, path: &[String], value: &Value) -> Result<String, Trouble> {
    let style = Style::of(text);
    let Some(root) = parse(text, dialect)? else {
        let whole = nested(path, value);
        return Ok(style.value(&whole, "", true) + style.newline);
    };
    let mut node = &root;
    for (depth, name) in path.iter().enumerate() {
        match member(node, name, &path[..depth])? {
            Some(item) => node = &item.value,
            None => {
                let Shape::Object(items) = &node.shape else { return Err(not_an("object", &path[..depth])) };
                let inner = nested(&path[depth + 1..], value);
                return Ok(style.insert(text, node, items, Some(name), &inner));
            }
        }
    }
    Ok(set_text(text, node, &style.value(value, style.indent_at(text, node.span.start), Style::is_wide(text, node))))
}

/// Puts raw text in the place of the value at a path.
pub(crate) fn set_raw(text: &str, dialect: Dialect, path: &[String], raw: &str) -> Result<String, Trouble> {
    let Some(root) = parse(text, dialect)? else { return Ok(text.to_owned()) };
    let mut node = &root;
    for (depth, name) in path.iter().enumerate() {
        match member(node, name, &path[..depth])? {
            Some(item) => node = &item.value,
            None => return Ok(text.to_owned()),
        }
    }
    Ok(set_text(text, node, raw))
}

/// Adds an element at the end of the array at a path, which exists.
pub(crate) fn append(text: &str, dialect: Dialect, path: &[String], value: &Value) -> Result<String, Trouble> {
    let found = find(text, dialect, path)?;
    let Some(node @ Node { shape: Shape::Array(items), .. }) = &found else { return Err(not_an("array", path)) };
    Ok(Style::of(text).insert(text, node, items, None, value))
}

/// Takes out the member at a path; nothing happens when there is none.
pub(crate) fn remove(text: &str, dialect: Dialect, path: &[String]) -> Result<String, Trouble> {
    let Some((name, above)) = path.split_last() else { return Ok(text.to_owned()) };
    let Some(node) = find(text, dialect, above)? else { return Ok(text.to_owned()) };
    member(&node, name, above)?;
    let Shape::Object(items) = &node.shape else { return Ok(text.to_owned()) };
    let at = items.iter().position(|item| item.name == *name);
    Ok(at.map_or_else(|| text.to_owned(), |at| take_out(text, &node, items, at)))
}

/// Takes out the last element of an array that has this value.
pub(crate) fn remove_element(text: &str, dialect: Dialect, path: &[String], value: &Value) -> Result<String, Trouble> {
    let Some(node) = find(text, dialect, path)? else { return Ok(text.to_owned()) };
    let Shape::Array(items) = &node.shape else { return Ok(text.to_owned()) };
    let at = items.iter().rposition(|item| json::value(&item.value) == *value);
    Ok(at.map_or_else(|| text.to_owned(), |at| take_out(text, &node, items, at)))
}

/// Whether the container at a path holds nothing, not even a comment.
pub(crate) fn is_bare(text: &str, dialect: Dialect, path: &[String]) -> Result<bool, Trouble> {
    let Some(node) = find(text, dialect, path)? else { return Ok(false) };
    let is_container = matches!(node.shape, Shape::Object(_) | Shape::Array(_));
    let inner = text.get(node.span.start + 1..node.span.end.saturating_sub(1)).unwrap_or("x");
    Ok(is_container && inner.trim().is_empty())
}

fn find(text: &str, dialect: Dialect, path: &[String]) -> Result<Option<Node>, Trouble> {
    let Some(mut node) = parse(text, dialect)? else { return Ok(None) };
    for (depth, name) in path.iter().enumerate() {
        let Some(item) = member(&node, name, &path[..depth])? else { return Ok(None) };
        node = item.value.clone();
    }
    Ok(Some(node))
}

fn member<'n>(node: &'n Node, name: &str, path: &[String]) -> Result<Option<&'n Item>, Trouble> {
    let Shape::Object(items) = &node.shape else { return Err(not_an("object", path)) };
    let mut found = items.iter().filter(|item| item.name == name);
    match (found.next(), found.next()) {
        (_, Some(_)) => Err(Trouble::Twice(name.to_owned())),
        (first, None) => Ok(first),
    }
}

fn not_an(what: &'static str, path: &[String]) -> Trouble {
    Trouble::NotA(what, if path.is_empty() { "the file".into() } else { path.join(".") })
}

fn nested(path: &[String], value: &Value) -> Value {
    path.iter().rev().fold(value.clone(), |inner, name| Value::Object([(name.clone(), inner)].into_iter().collect()))
}

fn set_text(text: &str, node: &Node, raw: &str) -> String {
    splice(text, vec![(node.span.clone(), raw.to_owned())])
}

/// Replaces ranges that do not overlap.
fn splice(text: &str, mut parts: Vec<(Range<usize>, String)>) -> String {
    parts.sort_by_key(|(range, _)| std::cmp::Reverse(range.start));
    let mut out = text.to_owned();
    for (range, with) in parts {
        out.replace_range(range, &with);
    }
    out
}

/// How a file is laid out.
struct Style {
    newline: &'static str,
    unit: String,
}

impl Style {
    fn of(text: &str) -> Style {
        let newline = match text.find('\n') {
            Some(at) if text[..at].ends_with('\r') => "\r\n",
            _ => "\n",
        };
        let lines = text.lines().filter(|line| line.starts_with([' ', '\t']) && line.trim().len() > 1);
        let unit =
            lines.map(|line| &line[..line.len() - line.trim_start_matches([' ', '\t']).len()]).min_by_key(|s| s.len());
        Style { newline, unit: unit.unwrap_or("  ").to_owned() }
    }

    /// The white space in front of the line that `at` is on.
    fn indent_at<'t>(&self, text: &'t str, at: usize) -> &'t str {
        let line = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let rest = &text[line..at];
        &rest[..rest.len() - rest.trim_start_matches([' ', '\t']).len()]
    }

    /// Whether a container's parts stand on lines of their own. An empty one follows the file, if that has lines.
    fn is_wide(text: &str, node: &Node) -> bool {
        let (inner, whole) = (&text[node.span.clone()], text.trim());
        let is_empty = matches!(&node.shape, Shape::Object(items) | Shape::Array(items) if items.is_empty());
        inner.contains('\n') || (is_empty && (whole.contains('\n') || inner.len() == whole.len()))
    }

    fn insert(&self, text: &str, node: &Node, items: &[Item], name: Option<&String>, value: &Value) -> String {
        let is_wide = Style::is_wide(text, node);
        let closing = self.indent_at(text, node.span.end - 1);
        let base = self.indent_at(text, node.span.start);
        // Where the last part begins a line, ours begins one in the same column.
        let column = items.last().map(|item| (item.start, self.indent_at(text, item.start)));
        let own =
            column.filter(|(start, indent)| is_line_start(text, *start, indent)).map(|(_, indent)| indent.to_owned());
        let indent = own.unwrap_or_else(|| format!("{}{}", if items.is_empty() { base } else { closing }, self.unit));
        let key = name.map(|name| format!("{}: ", Value::from(name.as_str()))).unwrap_or_default();
        let body = format!("{key}{}", self.value(value, &indent, is_wide));
        let lead = |first: bool| match (is_wide, first) {
            (true, _) => format!("{}{indent}", self.newline),
            (false, true) => String::new(),
            (false, false) => " ".to_owned(),
        };
        let Some(last) = items.last() else {
            let at = end_of_comments(text, node);
            let is_closed = text[at..node.span.end].contains('\n');
            let tail = if is_wide && !is_closed { format!("{}{base}", self.newline) } else { String::new() };
            return splice(text, vec![(at..at, format!("{}{body}{tail}", lead(true)))]);
        };
        let after = last.comma.map_or(last.value.span.end, |comma| comma + 1);
        let at = end_of_line_comments(text, after, node.span.end - 1);
        // Behind a line comment there is no room on the line.
        let lead = if text[after..at].contains("//") { format!("{}{indent}", self.newline) } else { lead(false) };
        match last.comma {
            Some(_) => splice(text, vec![(at..at, format!("{lead}{body},"))]),
            None if at == after => splice(text, vec![(at..at, format!(",{lead}{body}"))]),
            None => splice(text, vec![(after..after, ",".into()), (at..at, format!("{lead}{body}"))]),
        }
    }

    fn value(&self, value: &Value, indent: &str, is_wide: bool) -> String {
        let is_flat = |value: &Value| !matches!(value, Value::Object(_) | Value::Array(_));
        let inner = format!("{indent}{}", self.unit);
        let lines = |parts: Vec<String>, open: char, close: char| {
            let separator = format!(",{}{inner}", self.newline);
            format!("{open}{0}{inner}{1}{0}{indent}{close}", self.newline, parts.join(&separator))
        };
        match value {
            Value::Object(members) if !members.is_empty() => {
                let parts = members.iter().map(|(name, value)| {
                    format!("{}: {}", Value::from(name.as_str()), self.value(value, &inner, is_wide))
                });
                match is_wide {
                    true => lines(parts.collect(), '{', '}'),
                    false => format!("{{{}}}", parts.collect::<Vec<_>>().join(", ")),
                }
            }
            Value::Array(elements) if !elements.is_empty() => {
                let parts: Vec<String> = elements.iter().map(|value| self.value(value, &inner, is_wide)).collect();
                match is_wide && !elements.iter().all(is_flat) {
                    true => lines(parts, '[', ']'),
                    false => format!("[{}]", parts.join(", ")),
                }
            }
            flat => flat.to_string(),
        }
    }
}

fn is_line_start(text: &str, start: usize, indent: &str) -> bool {
    text[..start - indent.len()].ends_with('\n') && text[..start].ends_with(indent)
}

/// In an empty container: behind its last comment, or behind its opening.
fn end_of_comments(text: &str, node: &Node) -> usize {
    let inner = &text[node.span.start + 1..node.span.end - 1];
    node.span.start + 1 + inner.trim_end().len()
}

/// Behind the comments that stand on the same line: they speak of what is before them.
fn end_of_line_comments(text: &str, from: usize, limit: usize) -> usize {
    let trivia = &text[from..skip_trivia(text, from).min(limit).max(from)];
    let line = trivia.find('\n').map_or(trivia, |newline| &trivia[..newline]);
    // A block comment that goes on in the next line is not split.
    let is_whole = line.matches("/*").count() == line.matches("*/").count() || line.contains("//");
    if is_whole { from + line.trim_end().len() } else { from }
}

fn take_out(text: &str, node: &Node, items: &[Item], at: usize) -> String {
    let item = &items[at];
    let before = &text[node.span.start + 1..item.start];
    let lead = item.start - (before.len() - before.trim_end().len());
    let end = item.comma.map_or(item.value.span.end, |comma| comma + 1);
    let mut parts = vec![(lead..end, String::new())];
    if items.len() == 1 && before.trim().is_empty() && text[end..node.span.end - 1].trim().is_empty() {
        parts = vec![(node.span.start + 1..node.span.end - 1, String::new())];
    } else if at > 0 && item.comma.is_none() {
        // The comma that made room for ours.
        let comma = items[at - 1].comma.map(|comma| (comma..comma + 1, String::new()));
        parts.extend(comma);
    } else if at == 0 && items.len() > 1 && !text[lead..item.start].contains('\n') {
        let rest = &text[end..];
        parts = vec![(item.start..end + (rest.len() - rest.trim_start_matches(' ').len()), String::new())];
    }
    splice(text, parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn path(text: &str) -> Vec<String> {
        text.split('.').map(str::to_owned).collect()
    }

    #[test]
    fn a_member_is_put_where_a_person_would_and_taken_out_again() {
        for (before, after) in [
            ("{\n  \"a\": 1\n}\n", "{\n  \"a\": 1,\n  \"n\": {\n    \"x\": [1, 2]\n  }\n}\n"),
            ("{\n\t\"a\": 1, // why\n}", "{\n\t\"a\": 1, // why\n\t\"n\": {\n\t\t\"x\": [1, 2]\n\t},\n}"),
            ("{\n  a: 1 // why\n}", "{\n  a: 1, // why\n  \"n\": {\n    \"x\": [1, 2]\n  }\n}"),
            ("{\n  a: 1 /* b */ , /* c */\n}", "{\n  a: 1 /* b */ , /* c */\n  \"n\": {\n    \"x\": [1, 2]\n  },\n}"),
            ("{\"a\":1}", "{\"a\":1, \"n\": {\"x\": [1, 2]}}"),
            ("{\"a\":1 /* b */}", "{\"a\":1, /* b */ \"n\": {\"x\": [1, 2]}}"),
            ("{\r\n  \"a\": 1\r\n}", "{\r\n  \"a\": 1,\r\n  \"n\": {\r\n    \"x\": [1, 2]\r\n  }\r\n}"),
            ("{}", "{\n  \"n\": {\n    \"x\": [1, 2]\n  }\n}"),
            ("{ // why\n}", "{ // why\n  \"n\": {\n    \"x\": [1, 2]\n  }\n}"),
            ("{\n  \"a\": [\n    1\n  ]}", "{\n  \"a\": [\n    1\n  ],\n  \"n\": {\n    \"x\": [1, 2]\n  }}"),
        ] {
            let edited = set(before, Dialect::Json5, &path("n"), &json!({"x": [1, 2]})).unwrap();
            assert_eq!(edited, after, "{before}");
            assert_eq!(remove(&edited, Dialect::Json5, &path("n")).unwrap(), before, "{edited}");
        }
    }

    #[test]
    fn what_stands_around_ours_stays_when_it_goes() {
        for (text, left) in [
            ("{\"n\": 1, \"b\": 2}", "{\"b\": 2}"),
            ("{\"a\": 1, \"n\": 1, \"b\": 2}", "{\"a\": 1, \"b\": 2}"),
            ("{\n  // mine\n  \"n\": 1,\n  \"b\": 2\n}", "{\n  // mine\n  \"b\": 2\n}"),
            ("{\n  \"a\": 1,\n  \"n\": 1 // of n\n}", "{\n  \"a\": 1 // of n\n}"),
            ("{\n  \"n\": 1,\n}", "{}"),
            ("{ \"n\": 1 /* kept */ }", "{ /* kept */ }"),
        ] {
            assert_eq!(remove(text, Dialect::Json5, &path("n")).unwrap(), left);
        }
    }

    #[test]
    fn elements_and_existing_values() {
        let text = "{ \"a\": [\"x\"], \"b\": {\"c\": 'y'} }";
        let more = append(text, Dialect::Json5, &path("a"), &json!("z")).unwrap();
        assert_eq!(more, "{ \"a\": [\"x\", \"z\"], \"b\": {\"c\": 'y'} }");
        assert_eq!(remove_element(&more, Dialect::Json5, &path("a"), &json!("z")).unwrap(), text);
        let other = set(text, Dialect::Json5, &path("b.c"), &json!(true)).unwrap();
        assert_eq!(other, "{ \"a\": [\"x\"], \"b\": {\"c\": true} }");
        assert_eq!(set_raw(&other, Dialect::Json5, &path("b.c"), "'y'").unwrap(), text);
        assert_eq!(get(text, Dialect::Json5, &path("b.c")).unwrap(), Some((json!("y"), "'y'".into())));
    }

    #[test]
    fn what_cannot_be_edited_for_sure_is_refused() {
        for text in ["[]", "{\"n\": 1}", "{\"n\": {}, \"n\": {}}", "{"] {
            assert!(set(text, Dialect::Json, &path("n.x"), &json!(1)).is_err(), "{text}");
        }
    }
}
