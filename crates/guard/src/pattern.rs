//! Patterns that name paths: the directories that a glob can reach into, each alternative by itself.

/// More alternatives than anyone writes: `{a,b}{a,b}...` doubles with each group.
const MOST: usize = 256;

/// Why a pattern is not judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unclear {
    #[error("it has more alternatives than can be judged")]
    Many,
    #[error("it has a NUL in it")]
    Nul,
    #[error("`..` after a wildcard leads wherever the names before it lead")]
    Climbs,
}

/// One alternative of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// The path up to the first wildcard.
    pub(crate) prefix: String,
    /// The names from there on.
    pub(crate) rest: String,
}

const WILD: [char; 8] = ['*', '?', '[', ']', '{', '}', '\\', '('];

/// Splits a pattern into its alternatives.
pub(crate) fn parts(pattern: &str) -> Result<Vec<Part>, Unclear> {
    if pattern.contains('\0') {
        return Err(Unclear::Nul);
    }
    let mut open = vec![pattern.to_owned()];
    let mut out = Vec::new();
    while let Some(text) = open.pop() {
        if open.len() + out.len() > MOST {
            return Err(Unclear::Many);
        }
        match first_group(&text) {
            Some((before, choices, after)) => {
                if choices.len() > MOST {
                    return Err(Unclear::Many);
                }
                open.extend(choices.iter().map(|choice| format!("{before}{choice}{after}")));
            }
            None => out.push(part(&text)?),
        }
    }
    Ok(out)
}

/// The first `{a,b}` of a text: what is before, its choices, what is after.
fn first_group(text: &str) -> Option<(&str, Vec<&str>, &str)> {
    let start = text.find('{')?;
    let mut depth = 0;
    let mut from = start + 1;
    let mut choices = Vec::new();
    for (at, c) in text[start..].char_indices().map(|(i, c)| (start + i, c)) {
        match c {
            '{' => depth += 1,
            ',' if depth == 1 => {
                choices.push(&text[from..at]);
                from = at + 1;
            }
            '}' => {
                depth -= 1;
                if depth == 0 {
                    choices.push(&text[from..at]);
                    return (choices.len() > 1).then(|| (&text[..start], choices, &text[at + 1..]));
                }
            }
            _ => {}
        }
    }
    None
}

fn part(text: &str) -> Result<Part, Unclear> {
    let is_wild = |name: &str| name.contains(WILD);
    let mut length = 0;
    for name in text.split('/') {
        if is_wild(name) {
            break;
        }
        length += name.len() + 1;
    }
    let (prefix, rest) = if length > text.len() { (text, "") } else { text.split_at(length) };
    // `[.][.]`, `\.\.`: no matcher should take these for `..`, and nobody writes them for anything else.
    let bare = |name: &str| name.replace(WILD, "");
    // In braces that were not taken apart here (`{a}{..,b}`), another program may find one.
    let hides = |name: &str| name.contains("..") && name.contains(['{', '}', ',']);
    if rest.split('/').any(|name| bare(name) == ".." || hides(name)) {
        return Err(Unclear::Climbs);
    }
    Ok(Part { prefix: prefix.to_owned(), rest: rest.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixes(pattern: &str) -> Vec<String> {
        let mut all: Vec<String> = parts(pattern).unwrap().into_iter().map(|part| part.prefix).collect();
        all.sort();
        all
    }

    #[test]
    fn each_alternative_has_its_own_directory() {
        for (pattern, wanted) in [
            ("**/*.rs", vec![""]),
            ("src/*.rs", vec!["src/"]),
            ("src/a.rs", vec!["src/a.rs"]),
            ("/etc/*", vec!["/etc/"]),
            ("../*/x", vec!["../"]),
            ("~/.ssh/*", vec!["~/.ssh/"]),
            ("{src,/etc}/*", vec!["/etc/", "src/"]),
            ("{a,{b,c/d}}/x*", vec!["a/", "b/", "c/d/"]),
            ("*.{js,ts}", vec!["", ""]),
            ("{..,a}/x", vec!["../x", "a/x"]),
            ("a{b", vec![""]),
            ("a/{b}/c", vec!["a/"]),
        ] {
            assert_eq!(prefixes(pattern), wanted, "{pattern}");
        }
    }

    #[test]
    fn what_climbs_after_a_wildcard_or_multiplies_is_not_judged() {
        for pattern in
            ["*/../../etc/*", "a*/..", "x/[.][.]/y", "x/\\.\\./y", "*/{..,a}/b", "{a}{..,b}/x", "a{b/{..,x}/y"]
        {
            assert_eq!(parts(pattern), Err(Unclear::Climbs), "{pattern}");
        }
        assert_eq!(parts("a*\0"), Err(Unclear::Nul));
        assert_eq!(parts(&"{a,b}".repeat(20)), Err(Unclear::Many));
        assert_eq!(parts(&format!("{{{}}}", "a,".repeat(1000))), Err(Unclear::Many));
    }
}
