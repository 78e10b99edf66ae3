//! Finding the row of a path, for walkers that ask it of every name: no allocation, no search for names that cannot match.

use crate::protected::{Action, PROTECTED, Protected, Scope};

/// Bit n of entry b: some row begins with a name of n bytes (63 and more count as 63) whose first byte is b.
static HEADS: [u64; 256] = heads();

const fn heads() -> [u64; 256] {
    let mut table = [0; 256];
    let mut row = 0;
    while row < PROTECTED.len() {
        let path = PROTECTED[row].path.as_bytes();
        let mut len = 0;
        while len < path.len() && path[len] != b'/' {
            len += 1;
        }
        // Rows of git directories are asked for by `classify_git`, below a `.git` that is interesting itself.
        let is_git = matches!(PROTECTED[row].scope, Scope::GitDir);
        if !is_git && path[0] != b'*' {
            table[path[0] as usize] |= 1 << clamp(len);
        }
        row += 1;
    }
    table[b'.' as usize] |= 1 << 4;
    table
}

const fn clamp(len: usize) -> usize {
    if len > 63 { 63 } else { len }
}

/// The endings of rows that begin with `*`.
const ENDINGS: &[&[u8]] = &[b".pth", b".code-workspace"];

/// Returns whether a file or directory of this name can be, or can lead to, a row: `.git` and the first names of all rows.
///
/// A walker asks this of every name; only for the few that pass it needs [`classify`].
#[must_use]
pub fn interesting(name: &[u8]) -> bool {
    let Some(first) = name.first() else {
        return false;
    };
    if HEADS[usize::from(*first)] & (1 << clamp(name.len())) != 0 {
        return name.eq_ignore_ascii_case(b".git")
            || PROTECTED.iter().any(|row| row.scope != Scope::GitDir && is_same(row, head(row), name));
    }
    ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// Compares a name with that of a row. Names with a dot in front, and those of git, are the same in any case: on a
/// file system that ignores case `.GIT/hooks` is a hook (CVE-2014-9390, CVE-2025-59944), and nobody needs one elsewhere.
/// Other names are exact: `docs/agents.md` is a document.
fn is_same(row: &Protected, wanted: &[u8], name: &[u8]) -> bool {
    match row.path.starts_with('.') || row.scope == Scope::GitDir {
        true => wanted.eq_ignore_ascii_case(name),
        false => wanted == name,
    }
}

fn head(row: &Protected) -> &'static [u8] {
    row.path.split('/').next().unwrap_or(row.path).as_bytes()
}

/// Returns the row of a path below the workspace, given as its names from the top.
///
/// A row that protects comes before a row that lists, and an outer one before an inner one:
/// a git hook inside `node_modules` is a git hook.
#[must_use]
pub fn classify(names: &[&[u8]]) -> Option<&'static Protected> {
    let mut listed = None;
    for depth in 0..names.len() {
        if !interesting(names[depth]) {
            continue;
        }
        let below = &names[depth..];
        let found = match below[0].eq_ignore_ascii_case(b".git") {
            true => classify_git(&below[1..]),
            false => rows(below, |scope| scope == Scope::AnyDepth || (scope == Scope::Top && depth == 0)),
        };
        match found {
            Some(row) if row.action == Action::Protect => return found,
            Some(_) => listed = listed.or(found),
            None => {}
        }
    }
    listed
}

/// Returns the row of a path below a git directory, given as its names from there: below `.git`, or below a bare repository.
#[must_use]
pub fn classify_git(names: &[&[u8]]) -> Option<&'static Protected> {
    if let Some(row) = rows(names, |scope| scope == Scope::GitDir) {
        return Some(row);
    }
    if !names.first().is_some_and(|name| name.eq_ignore_ascii_case(b"modules")) {
        return None;
    }
    // The name of a submodule may have slashes in it, so that its git directory stands at any depth of `modules`.
    // What git names after branches and objects is not searched: a branch may be called `config`.
    let inner = &names[1..];
    let end = inner.iter().position(|name| [&b"objects"[..], b"refs", b"logs"].contains(name)).unwrap_or(inner.len());
    (1..end).find_map(|depth| rows(&inner[depth..], |scope| scope == Scope::GitDir))
}

fn rows(names: &[&[u8]], is_in: impl Fn(Scope) -> bool) -> Option<&'static Protected> {
    let of = |action| PROTECTED.iter().find(|row| row.action == action && is_in(row.scope) && matches(row, names));
    of(Action::Protect).or_else(|| of(Action::List))
}

fn matches(row: &Protected, names: &[&[u8]]) -> bool {
    let (pattern, is_tree) = row.path.strip_suffix('/').map_or((row.path, false), |pattern| (pattern, true));
    let mut parts = 0;
    for part in pattern.split('/') {
        let Some(name) = names.get(parts) else {
            return false;
        };
        let is_match = match part.strip_prefix('*') {
            Some("") => true,
            Some(ending) => name.ends_with(ending.as_bytes()) && name.len() > ending.len(),
            None => is_same(row, part.as_bytes(), name),
        };
        if !is_match {
            return false;
        }
        parts += 1;
    }
    is_tree || parts == names.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protected::MEMORY;

    fn find(path: &str) -> Option<&'static Protected> {
        let names: Vec<&[u8]> = path.split('/').map(str::as_bytes).collect();
        classify(&names)
    }

    fn row(path: &str) -> Option<(&'static str, Action)> {
        find(path).map(|row| (row.path, row.action))
    }

    #[test]
    fn every_row_finds_itself_and_no_other() {
        for (index, row) in PROTECTED.iter().enumerate() {
            let sample = row.path.replace("*.", "x.").replace('*', "x");
            let inside = match sample.strip_suffix('/') {
                Some(directory) => format!("{directory}/deep/file"),
                None => sample.clone(),
            };
            let prefix = if row.scope == Scope::GitDir { ".git/" } else { "" };
            for path in [sample.trim_end_matches('/'), &inside] {
                let found = find(&format!("{prefix}{path}"));
                assert_eq!(found, Some(row), "{path}");
                let deep = find(&format!("a/b/{prefix}{path}"));
                assert_eq!(deep.is_some(), row.scope != Scope::Top, "a/b/{prefix}{path}");
            }
            let twins = PROTECTED.iter().filter(|other| other.path == row.path && other.scope == row.scope).count();
            assert_eq!(twins, 1, "row {index}: {}", row.path);
            assert!(!row.runs.is_empty() && !row.reason.is_empty());
            assert!(!row.path.starts_with('/') && !row.path.contains("//"));
        }
    }

    #[test]
    fn no_path_is_claimed_by_two_rows_of_one_action() {
        for row in PROTECTED {
            for other in
                PROTECTED.iter().filter(|other| *other != row && other.scope == row.scope && other.action == row.action)
            {
                let names: Vec<&[u8]> = row.path.trim_end_matches('/').split('/').map(str::as_bytes).collect();
                assert!(!matches(other, &names), "{} and {}", row.path, other.path);
            }
        }
    }

    #[test]
    fn interesting_is_exactly_the_first_names() {
        for row in PROTECTED.iter().filter(|row| row.scope != Scope::GitDir) {
            let name = row.path.split('/').next().unwrap().replace('*', "x");
            assert!(interesting(name.as_bytes()), "{name}");
        }
        for name in
            ["", "a", "main.rs", ".gitx", "config", "hooks", "README.md", "src", "pth", ".gitattributes", "x.py"]
        {
            assert!(!interesting(name.as_bytes()), "{name}");
        }
        assert!(interesting(b".git"));
    }

    #[test]
    fn git_directories_are_found_wherever_they_are() {
        for path in [
            ".git/hooks",
            ".git/hooks/pre-commit",
            "a/b/.git/config",
            ".git/modules/sub/hooks/post-checkout",
            ".git/modules/lib/name/config",
            ".git/modules/a/modules/b/config",
            ".git/worktrees/w/commondir",
            "node_modules/x/.git/hooks/pre-commit",
            ".GIT/Hooks/pre-commit",
            ".git/MODULES/sub/CONFIG",
            ".cUrSoR/mcp.json",
        ] {
            assert_eq!(row(path).map(|(_, action)| action), Some(Action::Protect), "{path}");
        }
        for path in [
            ".git",
            ".git/HEAD",
            ".git/index",
            ".git/refs/heads/config",
            ".git/objects/hooks",
            ".git/modules/sub/index",
            ".git/modules/sub/refs/heads/config",
            ".git/modules/sub/logs/refs/heads/hooks/x",
            ".git/worktrees/w/HEAD",
            ".git/info/exclude",
        ] {
            assert_eq!(row(path), None, "{path}");
        }
        assert_eq!(classify_git(&[b"hooks", b"update"]).map(|row| row.path), Some("hooks/"));
    }

    #[test]
    fn what_protects_comes_before_what_lists() {
        assert_eq!(row("node_modules/x/index.js"), Some(("node_modules/", Action::List)));
        assert_eq!(row("node_modules/x/.vscode/settings.json"), Some((".vscode/settings.json", Action::Protect)));
        assert_eq!(row(".venv/lib/x.pth"), Some((".venv/", Action::List)));
        assert_eq!(row("sub/SECURITY.md"), None);
        assert_eq!(row("docs/agents.md"), None);
        assert_eq!(row("SECURITY.md").map(|(_, action)| action), Some(Action::Protect));
        assert_eq!(row(".github/workflows/x/ci.yml"), Some((".github/workflows/", Action::List)));
        assert_eq!(row(".claude/plans/x.md"), None);
    }

    #[test]
    fn an_agents_memory_is_its_own() {
        for name in MEMORY {
            assert_eq!(row(&format!("{}/x", name.trim_end_matches('/'))), None, "{name}");
            assert_eq!(row(name.trim_end_matches('/')), None, "{name}");
        }
    }
}
