//! The headers of an `apply_patch` patch: which files it makes, changes, moves and removes.

use mantlet_clients::Act;

/// A patch that is not understood is not judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unclear {
    #[error("it has no `*** Add File:`, `*** Update File:` or `*** Delete File:` line")]
    Nothing,
    #[error("it has a line that begins with `***` and is no known header")]
    Header,
    #[error("it moves nothing: `*** Move to:` stands after no `*** Update File:`")]
    Move,
}

/// Returns every path of a patch and what is done with it. A line that only might be a header counts as one: where
/// parsers differ, more is judged.
pub(crate) fn paths(text: &str) -> Result<Vec<(&str, Act)>, Unclear> {
    const MARKS: [&str; 3] = ["*** Begin Patch", "*** End Patch", "*** End of File"];
    let mut out = Vec::new();
    let mut updated = None;
    for line in text.split(['\n', '\r']).map(str::trim).filter(|line| line.starts_with("***")) {
        if let Some(path) = header(line, "Add File") {
            out.push((path, Act::Write));
        } else if let Some(path) = header(line, "Update File") {
            updated = Some(path);
            out.push((path, Act::Write));
        } else if let Some(path) = header(line, "Delete File") {
            out.push((path, Act::Delete));
        } else if let Some(path) = header(line, "Move to") {
            out.push((updated.ok_or(Unclear::Move)?, Act::Delete));
            out.push((path, Act::Write));
        } else if !MARKS.contains(&line) && !line.starts_with("*** Environment ID:") {
            return Err(Unclear::Header);
        }
    }
    match out.is_empty() {
        true => Err(Unclear::Nothing),
        false => Ok(out),
    }
}

fn header<'l>(line: &'l str, word: &str) -> Option<&'l str> {
    let rest = line.strip_prefix("***")?.trim_start().strip_prefix(word)?;
    Some(rest.trim_start().strip_prefix(':')?.trim()).filter(|path| !path.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_header_counts() {
        let text = "*** Begin Patch\n*** Add File: a b\n+x\n*** Update File: c\n*** Move to: d/e\n@@\n-x\n+y\n*** Delete File: f\n*** End of File\n*** End Patch\n";
        let wanted =
            [("a b", Act::Write), ("c", Act::Write), ("c", Act::Delete), ("d/e", Act::Write), ("f", Act::Delete)];
        assert_eq!(paths(text).unwrap(), wanted);
        assert_eq!(paths("  *** Add File: x\r\n").unwrap(), [("x", Act::Write)]);
    }

    #[test]
    fn what_is_not_understood_is_not_judged() {
        assert_eq!(paths("diff --git a/x b/x"), Err(Unclear::Nothing));
        assert_eq!(paths("*** Begin Patch\n*** End Patch"), Err(Unclear::Nothing));
        assert_eq!(paths("*** Add File: x\n*** Rename File: y"), Err(Unclear::Header));
        assert_eq!(paths("*** Add File:\n"), Err(Unclear::Header));
        assert_eq!(paths("*** Move to: x"), Err(Unclear::Move));
    }
}
