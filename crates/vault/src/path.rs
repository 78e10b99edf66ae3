//! Paths of values as they are typed: a name at the top, or SOPS's `["name"][0]`.

use crate::tree::Step;

/// A text that is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a path; hint: NAME, or [\"name\"][\"inner\"][0] for what lies deeper")]
pub struct PathError(String);

/// Reads a path.
///
/// # Errors
/// It is empty, or begins like SOPS's form and does not go on so.
pub fn parse_path(text: &str) -> Result<Vec<Step>, PathError> {
    let wrong = || PathError(mantlet_ledger::escape(text.as_bytes()));
    if text.is_empty() {
        return Err(wrong());
    }
    if !text.starts_with('[') {
        return Ok(vec![Step::Name(text.to_owned())]);
    }
    let mut steps = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let inner = rest.strip_prefix('[').ok_or_else(wrong)?;
        let mut parts = serde_json::Deserializer::from_str(inner).into_iter::<serde_json::Value>();
        let step = match parts.next() {
            Some(Ok(serde_json::Value::String(name))) => Step::Name(name),
            Some(Ok(serde_json::Value::Number(index))) => {
                Step::Index(index.as_u64().and_then(|index| usize::try_from(index).ok()).ok_or_else(wrong)?)
            }
            _ => return Err(wrong()),
        };
        steps.push(step);
        rest = inner.get(parts.byte_offset()..).and_then(|rest| rest.strip_prefix(']')).ok_or_else(wrong)?;
    }
    Ok(steps)
}

/// Writes a path so that [`parse_path`] reads it.
pub fn write_path(path: &[Step]) -> String {
    if let [Step::Name(name)] = path
        && !name.is_empty()
        && !name.starts_with('[')
        && mantlet_ledger::escape(name.as_bytes()) == *name
    {
        return name.clone();
    }
    let step = |step: &Step| match step {
        Step::Name(name) => {
            format!("[{}]", mantlet_ledger::escape_json(&serde_json::Value::from(name.as_str()).to_string()))
        }
        Step::Index(index) => format!("[{index}]"),
    };
    path.iter().map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_they_are_written() {
        for text in ["A", "a.b", r#"["a"]["b"][0]"#, r#"["a]\"["][3]"#, r#"["["]"#] {
            assert_eq!(write_path(&parse_path(text).unwrap()), text);
        }
        for text in ["", "[", "[]", "[\"a\"", "[\"a\"]x", "[-1]", "[1.5]", "[null]"] {
            assert!(parse_path(text).is_err(), "{text}");
        }
        assert_eq!(write_path(&[Step::Name("\u{1b}[2J".into())]), r#"["\u001b[2J"]"#);
    }
}
