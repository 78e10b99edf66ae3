//! `@file` in a prompt: the client reads the file into the conversation by itself, and asks no hook about it.
//!
//! Clients differ in where a name ends. Each end that one of them could see makes a name here; one that leads nowhere
//! costs a look.

use std::collections::BTreeSet;

use crate::spelling::is_space;

/// Longer names the kernel does not take (NAME_MAX, PATH_MAX).
const LONGEST_NAME: usize = 255;
const LONGEST: usize = 4095;

/// Returns what could be the name of a file.
pub(crate) fn paths(text: &str) -> BTreeSet<&str> {
    let mut out = BTreeSet::new();
    for (at, _) in text.match_indices('@') {
        let rest = &text[at + 1..];
        let quoted = rest.strip_prefix('"').and_then(|rest| rest.split_once('"')).map(|(name, _)| name);
        let end = rest.find(|c| is_space(c) || matches!(c, '`' | ',')).unwrap_or(rest.len());
        let word = &rest[..end];
        let hash = word.split_once('#').map(|(front, _)| front);
        for name in [Some(word), quoted, hash].into_iter().flatten() {
            out.insert(name);
            out.insert(name.trim_end_matches(|c: char| c.is_ascii_punctuation() && !matches!(c, '/' | '_' | '-')));
            // To OpenCode a name ends before the second of two dots that no letter stands between.
            out.extend(name.match_indices("..").flat_map(|(end, _)| [&name[..end], &name[..=end]]));
        }
    }
    out.retain(|name| {
        !name.is_empty() && name.len() <= LONGEST && name.split('/').all(|part| part.len() <= LONGEST_NAME)
    });
    out
}

#[cfg(test)]
mod tests {
    use super::paths;

    #[test]
    fn every_end_of_a_name_is_taken() {
        for (text, wanted) in [
            ("see @a/b.txt, and", "a/b.txt"),
            ("see @a/b.txt.", "a/b.txt"),
            ("(@/etc/shadow)", "/etc/shadow"),
            ("@\"a b\" c", "a b"),
            ("@a#L1-2", "a"),
            ("x@y@z", "z"),
            ("@/a/.ssh..x", "/a/.ssh"),
            ("@../x", "../x"),
            ("@a\u{85}b", "a\u{85}b"),
            ("@`x", ""),
        ] {
            assert!(wanted.is_empty() && paths(text).is_empty() || paths(text).contains(wanted), "{text}");
        }
        assert!(paths("nothing").is_empty() && paths(&format!("@{}", "A".repeat(300))).is_empty());
    }
}
