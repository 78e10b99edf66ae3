//! Which names of a workspace matter: the table applied to relative paths, as a jail and a guard both do.

use crate::protected::{Action, PROTECTED, Protected, Scope};

/// Directories of other people's code, where protected names are many and nobody works by hand: a mount on
/// each would stop installs and clean-ups. What appears there is reviewed, not mounted.
const VENDORED: &[&[u8]] =
    &[b"node_modules", b".venv", b"venv", b"site-packages", b"vendor", b"target", b".tox", b".cache", b"__pycache__"];

/// Says whether a directory name is one of other people's code.
#[must_use]
pub fn is_vendored(name: &[u8]) -> bool {
    VENDORED.contains(&name)
}

/// Returns the row a relative path falls under, if any.
#[must_use]
pub fn classify(path: &[u8]) -> Option<&'static Protected> {
    let parts: Vec<&[u8]> = path.split(|b| *b == b'/').collect();
    crate::classify(&parts)
}

/// Says whether names below this directory can fall under a row because of the directory's own path.
///
/// Objects of git are data under hashed names; nothing obeys them.
#[must_use]
pub fn is_hot(dir: &[u8]) -> bool {
    let mut parts = dir.split(|b| *b == b'/');
    let leads = parts.by_ref().any(crate::interesting);
    leads && !parts.any(|part| part == b"objects")
}

/// Says whether a path is a row itself: the thing that is mounted, not what lies below it.
#[must_use]
pub fn is_row_itself(row: &Protected, path: &[u8]) -> bool {
    let wanted = row.path.trim_end_matches('/').split('/').count();
    let parts: Vec<&[u8]> = path.split(|b| *b == b'/').collect();
    (0..parts.len()).any(|at| parts.len() - at == wanted && matches_at(row, &parts, at))
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

/// One name against a name, `*`, or `*` with an ending.
fn matches_name(want: &[u8], part: &[u8]) -> bool {
    match want.strip_prefix(b"*") {
        None => want == part,
        Some(ending) => part.ends_with(ending),
    }
}

/// Says whether a row is enforced rather than only named in the report.
#[must_use]
pub fn is_enforced(row: &Protected) -> bool {
    row.action == Action::Protect
}

/// Returns the row of a git directory with this path.
#[must_use]
pub fn git_row(path: &str) -> Option<&'static Protected> {
    PROTECTED.iter().find(|row| row.scope == Scope::GitDir && row.path == path)
}

/// Says whether a directory of this name holds protected files: a symlink of that name is one by another way.
#[must_use]
pub fn leads_to_protected(name: &[u8]) -> bool {
    name == b".git"
        || PROTECTED
            .iter()
            .filter(|row| is_enforced(row) && row.scope != Scope::GitDir)
            .any(|row| row.path.split_once('/').is_some_and(|(head, _)| head.as_bytes() == name))
}
