//! The headers of an `apply_patch` patch: which files it makes, changes, moves and removes.

use mantlet_clients::Act;

/// A patch that is not understood is not judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unclear {
    #[error("it has no `*** Add File:`, `*** Update File:` or `*** Delete File:` line")]
    Nothing,
    #[error("it has a line that begins with `***` and is no known header")]
    Header,
    #[error("a path in it begins or ends with a space that some programs drop and others do not")]
    Edge,
    #[error("it moves nothing: `*** Move to:` stands after no `*** Update File:`")]
    Move,
}

/// Returns every path of a patch and what is done with it. A line that only might be a header counts as one: where
/// parsers differ, more is judged.
pub(crate) fn paths(text: &str) -> Result<Vec<(&str, Act)>, Unclear> {
    const MARKS: [&str; 3] = ["*** Begin Patch", "*** End Patch", "*** End of File"];
    let mut out = Vec::new();
    let mut updated = None;
    let lines = text.split(['\n', '\r']).map(|line| line.trim_start_matches(is_blank));
    for line in lines.filter(|line| line.starts_with("***")) {
        if let Some(paths) = header(line, "Add File")? {
            out.extend(paths.map(|path| (path, Act::Write)));
        } else if let Some(paths) = header(line, "Update File")? {
            updated = paths.clone().next();
            out.extend(paths.map(|path| (path, Act::Write)));
        } else if let Some(paths) = header(line, "Delete File")? {
            out.extend(paths.map(|path| (path, Act::Delete)));
        } else if let Some(paths) = header(line, "Move to")? {
            let moved = updated.ok_or(Unclear::Move)?;
            out.extend(readings(moved).map(|path| (path, Act::Delete)));
            out.extend(paths.map(|path| (path, Act::Write)));
        } else if !MARKS.contains(&line.trim_end()) && !line.starts_with("*** Environment ID:") {
            return Err(Unclear::Header);
        }
    }
    match out.is_empty() {
        true => Err(Unclear::Nothing),
        false => Ok(out),
    }
}

/// The path of a header, in every reading of it. One that is trimmed differently by different programs is not judged:
/// Rust takes U+0085 for white space and JavaScript U+FEFF.
fn header<'l>(line: &'l str, word: &str) -> Result<Option<impl Iterator<Item = &'l str> + Clone>, Unclear> {
    let named = || line.strip_prefix("***")?.trim_start().strip_prefix(word)?.trim_start().strip_prefix(':');
    let Some(path) = named().map(|path| path.trim_matches([' ', '\t'])).filter(|path| !path.is_empty()) else {
        return Ok(None);
    };
    match path.starts_with(is_blank) || path.ends_with(is_blank) {
        true => Err(Unclear::Edge),
        false => Ok(Some(readings(path))),
    }
}

fn is_blank(c: char) -> bool {
    c.is_whitespace() || c.is_control() || c == '\u{feff}'
}

/// OpenCode takes the text after the first colon, and only up to the second.
fn readings(path: &str) -> impl Iterator<Item = &str> + Clone {
    let short = path.split_once(':').map(|(front, _)| front.trim()).filter(|front| !front.is_empty());
    [Some(path), short].into_iter().flatten()
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
        for path in ["x\u{85}", "\u{feff}x", "x\u{feff}", "x\u{b}", "\u{a0}x"] {
            assert_eq!(paths(&format!("*** Update File: {path}\n")), Err(Unclear::Edge), "{path:?}");
        }
    }

    #[test]
    fn what_stands_before_another_colon_is_a_path_too() {
        let text = "*** Update File: a:b\n*** Move to: c:d";
        let wanted = [("a:b", Act::Write), ("a", Act::Write), ("a:b", Act::Delete), ("a", Act::Delete)];
        assert_eq!(paths(text).unwrap()[..4], wanted);
        assert_eq!(paths(text).unwrap()[4..], [("c:d", Act::Write), ("c", Act::Write)]);
    }
}
