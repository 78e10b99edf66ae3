//! What a client makes of an argument before the kernel sees it. Where that cannot be told, every reading is judged.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use mantlet_clients::Spelling;

/// The longest path the kernel takes (PATH_MAX, its NUL included).
const LONGEST: usize = 4095;

/// Why an argument is no path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("it has a NUL in it: what the client checks and what the kernel opens would differ")]
    Nul,
    #[error("it is longer than any path")]
    TooLong,
    #[error("it is a file URL that programs read differently")]
    Url,
    #[error("it is relative, and the client's directory is not known")]
    NoDirectory,
}

/// Returns the absolute paths that an argument may stand for, each of which must be judged.
pub(crate) fn readings(text: &str, spelling: Spelling, home: &Path, cwd: &Path) -> Result<Vec<Vec<u8>>, Unreadable> {
    let path = client_path(text, spelling, home)?;
    let absolute = if path.starts_with(b"/") {
        path
    } else {
        let cwd = cwd.as_os_str().as_bytes();
        if !cwd.starts_with(b"/") {
            return Err(Unreadable::NoDirectory);
        }
        [cwd, b"/", &path].concat()
    };
    let mut all = vec![absolute];
    if spelling.decodes_percent
        && let Some(decoded) = percent_decoded(&all[0])
    {
        all.push(decoded);
    }
    // The kernel takes `a/link/..` to where the link's target is; programs that resolve by words (path.resolve) take
    // it to `a`. Which of the two a tool does differs from one version to the next.
    for index in 0..all.len() {
        all.push(by_words(&all[index]));
    }
    all.sort();
    all.dedup();
    match all.iter().find_map(|path| bad_bytes(path)) {
        Some(error) => Err(error),
        None => Ok(all),
    }
}

fn bad_bytes(path: &[u8]) -> Option<Unreadable> {
    match path {
        _ if path.contains(&0) => Some(Unreadable::Nul),
        _ if path.len() > LONGEST => Some(Unreadable::TooLong),
        _ => None,
    }
}

/// Trims, folds, strips and expands as the client does.
fn client_path(text: &str, spelling: Spelling, home: &Path) -> Result<Vec<u8>, Unreadable> {
    let mut text = if spelling.trims { text.trim_matches(is_space).to_owned() } else { text.to_owned() };
    if spelling.folds_spaces {
        text = text.replace(is_folded, " ");
    }
    if spelling.strips_at
        && let Some(rest) = text.strip_prefix('@')
    {
        text = rest.to_owned();
    }
    if spelling.decodes_file_urls && text.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("file:")) {
        return file_url(&text);
    }
    let home = home.as_os_str().as_bytes();
    match text.strip_prefix('~') {
        Some("") if spelling.expands_tilde => Ok(home.to_vec()),
        Some(rest) if spelling.expands_tilde && rest.starts_with('/') => Ok([home, rest.as_bytes()].concat()),
        _ => Ok(text.into_bytes()),
    }
}

/// White space as JavaScript's `trim` and `\s` have it: with U+FEFF, and without U+0085. The attack: a link whose name
/// ends in what is trimmed here and not there.
pub(crate) fn is_space(c: char) -> bool {
    c.is_whitespace() && c != '\u{85}' || c == '\u{feff}'
}

/// The spaces that OpenClaw's tools fold, and no other.
fn is_folded(c: char) -> bool {
    matches!(c, '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}')
}

/// Decodes a file URL. Where WHATWG's parser and a plain decoder differ, nothing is decoded: `%2f` (a slash in a name,
/// or none), `?` and `#`, a backslash (a slash to one of them), control characters (dropped by one of them).
fn file_url(text: &str) -> Result<Vec<u8>, Unreadable> {
    let rest = text.strip_prefix("file://").ok_or(Unreadable::Url)?;
    let path = rest.strip_prefix("localhost").unwrap_or(rest);
    let is_odd = |c: char| matches!(c, '?' | '#' | '\\') || c.is_control();
    let lower = path.to_ascii_lowercase();
    if !path.starts_with('/') || path.contains(is_odd) || lower.contains("%2f") || lower.contains("%5c") {
        return Err(Unreadable::Url);
    }
    percent_decoded(path.as_bytes()).ok_or(Unreadable::Url)
}

/// Decodes `%xx`; nothing when one of them is malformed.
fn percent_decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            out.push(*first);
            continue;
        }
        let digits = std::str::from_utf8(after.get(..2)?).ok().filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
        out.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &after[2..];
    }
    Some(out)
}

/// Takes `.` and `..` away by words, as a program does that never asks the kernel.
fn by_words(path: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    let mut out = Vec::with_capacity(path.len());
    for part in &parts {
        out.push(b'/');
        out.extend_from_slice(part);
    }
    if out.is_empty() { b"/".to_vec() } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Spelling = Spelling {
        expands_tilde: true,
        strips_at: true,
        decodes_file_urls: true,
        folds_spaces: true,
        trims: true,
        decodes_percent: false,
    };
    const NONE: Spelling = Spelling {
        expands_tilde: false,
        strips_at: false,
        decodes_file_urls: false,
        folds_spaces: false,
        trims: false,
        decodes_percent: false,
    };

    fn read(text: &str, spelling: Spelling) -> Result<Vec<String>, Unreadable> {
        let all = readings(text, spelling, Path::new("/home/ann"), Path::new("/w"))?;
        Ok(all.into_iter().map(|path| String::from_utf8_lossy(&path).into_owned()).collect())
    }

    #[test]
    fn a_client_that_does_all_is_followed() {
        for (text, wanted) in [
            ("a", "/w/a"),
            ("/a", "/a"),
            ("~", "/home/ann"),
            ("~/.ssh/id", "/home/ann/.ssh/id"),
            ("@~/.ssh/id", "/home/ann/.ssh/id"),
            ("@@a", "/w/@a"),
            (" ~/x\n", "/home/ann/x"),
            ("\u{feff}~/x", "/home/ann/x"),
            ("a\u{a0}b\u{202f}c\u{3000}d", "/w/a b c d"),
            ("~bob/x", "/w/~bob/x"),
            ("$HOME/x", "/w/$HOME/x"),
            ("file:///etc/%73hadow", "/etc/shadow"),
            ("file://localhost/etc/shadow", "/etc/shadow"),
        ] {
            assert_eq!(read(text, ALL), Ok(vec![wanted.to_owned()]), "{text:?}");
        }
    }

    #[test]
    fn a_client_that_does_nothing_gets_the_words_as_they_are() {
        for text in ["~/x", "@a", " a ", "a\u{a0}b", "%2e%2e"] {
            let all = read(text, NONE).unwrap();
            assert!(all.contains(&format!("/w/{text}")), "{text:?} {all:?}");
        }
        assert_eq!(read("file:///etc/x", NONE).unwrap(), ["/w/file:///etc/x", "/w/file:/etc/x"]);
    }

    #[test]
    fn dots_are_read_both_ways() {
        assert_eq!(read("link/../x", NONE).unwrap(), ["/w/link/../x", "/w/x"]);
        assert_eq!(read("a//b/.", NONE).unwrap(), ["/w/a//b/.", "/w/a/b"]);
        let percent = Spelling { decodes_percent: true, ..NONE };
        assert_eq!(read("a/%2e%2e/x", percent).unwrap(), ["/w/a/%2e%2e/x", "/w/a/../x", "/w/x"]);
        assert_eq!(read("100%", percent).unwrap(), ["/w/100%"]);
        assert_eq!(read("a%00b", percent), Err(Unreadable::Nul));
    }

    #[test]
    fn what_programs_read_differently_is_no_path() {
        for text in [
            "file:/etc/x",
            "FILE:///etc/x",
            "file://host/etc/x",
            "file:///a%2fb",
            "file:///a%5Cb",
            "file:///a?b",
            "file:///a#b",
            "file:///a\\b",
            "file:///%zz",
            "file:///a%2",
        ] {
            assert_eq!(read(text, ALL), Err(Unreadable::Url), "{text}");
        }
        assert_eq!(read("a\0b", ALL), Err(Unreadable::Nul));
        assert_eq!(read("file:///a%00", ALL), Err(Unreadable::Nul));
        assert_eq!(read(&"a".repeat(5000), ALL), Err(Unreadable::TooLong));
        assert_eq!(readings("a", NONE, Path::new("/h"), Path::new("rel")), Err(Unreadable::NoDirectory));
    }
}
