//! Which names of a workspace matter: the clients' table applied to relative paths.

use mantlet_clients::{Action, PROTECTED, Protected, Scope};

/// Directories of other people's code, where protected names are many and nobody works by hand: a mount on
/// each would stop installs and clean-ups. What appears there is reviewed, not mounted.
const VENDORED: &[&[u8]] =
    &[b"node_modules", b".venv", b"venv", b"site-packages", b"vendor", b"target", b".tox", b".cache", b"__pycache__"];

/// Whether a directory name is one of other people's code.
pub(crate) fn is_vendored(name: &[u8]) -> bool {
    VENDORED.contains(&name)
}

/// Answers the row a relative path falls under, if any.
pub(crate) fn classify(path: &[u8]) -> Option<&'static Protected> {
    let parts: Vec<&[u8]> = path.split(|b| *b == b'/').collect();
    PROTECTED.iter().find(|row| matches_row(row, &parts))
}

/// Whether a path is a row itself: the thing that is mounted, not what lies below it.
pub(crate) fn is_row_itself(row: &Protected, path: &[u8]) -> bool {
    let wanted = row.path.trim_end_matches('/').split('/').count();
    let parts: Vec<&[u8]> = path.split(|b| *b == b'/').collect();
    (0..parts.len()).any(|at| parts.len() - at == wanted && matches_at(row, &parts, at))
}

fn matches_row(row: &Protected, parts: &[&[u8]]) -> bool {
    match row.scope {
        Scope::Top => matches_at(row, parts, 0),
        Scope::AnyDepth => (0..parts.len()).any(|at| matches_at(row, parts, at)),
        Scope::GitDir => (1..parts.len()).any(|at| parts[at - 1] == b".git" && matches_at(row, parts, at)),
    }
}

/// Whether the row's path stands at `at`, and reaches to the end or, for a directory row, beyond.
fn matches_at(row: &Protected, parts: &[&[u8]], at: usize) -> bool {
    let is_dir = row.path.ends_with('/');
    let mut rest = parts[at..].iter();
    for want in row.path.trim_end_matches('/').split('/') {
        match rest.next() {
            Some(part) if matches_name(want.as_bytes(), part) => {}
            _ => return false,
        }
    }
    is_dir || rest.next().is_none()
}

/// One name against a pattern with at most one `*`. Case-insensitive: the file system may be.
fn matches_name(want: &[u8], part: &[u8]) -> bool {
    match want.iter().position(|b| *b == b'*') {
        None => want.eq_ignore_ascii_case(part),
        Some(star) => {
            let (head, tail) = (&want[..star], &want[star + 1..]);
            part.len() >= head.len() + tail.len()
                && part[..head.len()].eq_ignore_ascii_case(head)
                && part[part.len() - tail.len()..].eq_ignore_ascii_case(tail)
        }
    }
}

/// Whether any row can end in this name, or in a directory of this name: the filter before `classify`.
pub(crate) fn may_matter(name: &[u8]) -> bool {
    PROTECTED.iter().any(|row| {
        let path = row.path.trim_end_matches('/');
        let last = path.rsplit('/').next().unwrap_or(path);
        matches_name(last.as_bytes(), name)
    })
}

/// Whether a row is enforced rather than only named in the report.
pub(crate) fn is_enforced(row: &Protected) -> bool {
    row.action == Action::Protect
}

/// The row of a git directory with this path.
pub(crate) fn git_row(path: &str) -> Option<&'static Protected> {
    PROTECTED.iter().find(|row| row.scope == Scope::GitDir && row.path == path)
}
