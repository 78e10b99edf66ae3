//! The patterns of `deny` and `protect`: what is written, and under which names the walk of a workspace meets it.
//!
//! The attack here is a rule that holds nothing: one that no path can match, or that names a file by another name.

use std::io;
use std::path::{Path, PathBuf};

use crate::place;
use crate::types::Host;

/// One name under which a rule holds: a glob, relative to the workspace where it lies inside, and its path when it has
/// no wildcard.
pub(crate) type Held = (String, Option<PathBuf>);

/// Reads a pattern. A symlink on its way gives it a second name.
pub(crate) fn pattern(text: &str, base: &Path, host: &dyn Host) -> Result<Vec<Held>, String> {
    place::check(text)?;
    if text.starts_with('!') {
        return Err("a rule cannot be taken back by a later one; write only what is meant".into());
    }
    let text = text.strip_suffix('/').filter(|rest| !rest.is_empty()).unwrap_or(text);
    if text.split('/').any(|name| name == "..") {
        return Err("`..` could lead anywhere through a symlink; write the path it stands for".into());
    }
    if text.split('/').skip(1).any(|name| name.is_empty() || name == ".") && text != "/" {
        return Err("an empty name, or `.`, inside a path matches nothing; write the path without it".into());
    }
    match text.find(['*', '?', '[', '{', '\\']) {
        None => literal(text, base, host),
        Some(first) => glob(text, first, base, host),
    }
}

fn literal(text: &str, base: &Path, host: &dyn Host) -> Result<Vec<Held>, String> {
    let path = place::literal(text, Some(base), host.home())?;
    let real = resolved(&path, host)?;
    if base.starts_with(&path) || base.starts_with(&real) {
        return Err("this is the workspace itself, or contains it".into());
    }
    let mut held = Vec::new();
    for path in names(path, real, base) {
        let pattern = match path.strip_prefix(base) {
            Ok(inside) => escaped(inside)?,
            Err(_) => escaped(&path)?,
        };
        held.push((pattern, Some(path)));
    }
    Ok(held)
}

/// A glob holds inside the workspace only: nobody walks what else the policy opens.
fn glob(text: &str, first: usize, base: &Path, host: &dyn Host) -> Result<Vec<Held>, String> {
    let text = text.strip_prefix("./").unwrap_or(text);
    let first = text.find(['*', '?', '[', '{', '\\']).unwrap_or(first);
    // Parsing finds every error; the automaton is built only where it is used, off the hot path.
    if let Err(error) = globset::GlobBuilder::new(text).literal_separator(true).build() {
        return Err(error.kind().to_string());
    }
    let Some(slash) = text[..first].rfind('/') else {
        return match text.starts_with('~') {
            true => Err("`~name` is not expanded; write the whole path".into()),
            false => Ok(vec![(text.to_owned(), None)]),
        };
    };
    let (directory, rest) = (&text[..slash], &text[slash + 1..]);
    let directory = place::literal(if directory.is_empty() { "/" } else { directory }, Some(base), host.home())?;
    let real = resolved(&directory, host)?;
    let mut held = Vec::new();
    for directory in names(directory, real, base) {
        let Ok(inside) = directory.strip_prefix(base) else { continue };
        held.push(match inside.as_os_str().is_empty() {
            true => (rest.to_owned(), None),
            false => (format!("{}/{rest}", escaped(inside)?), None),
        });
    }
    match held.is_empty() {
        true => Err("a wildcard is possible inside the workspace only; elsewhere, name the file or directory".into()),
        false => Ok(held),
    }
}

/// The name as it is written, and the one it leads to where that is another. What a name outside leads to is found
/// when the jail is planned.
fn names(written: PathBuf, real: PathBuf, base: &Path) -> Vec<PathBuf> {
    if written == real {
        return vec![written];
    }
    match (written.starts_with(base), real.starts_with(base)) {
        (true, _) => vec![written, real],
        (false, true) => vec![real],
        (false, false) => vec![written],
    }
}

/// Resolves as much of a path as exists. What the owner may not search cannot be shown to the owner's jail; any other
/// failure would leave a rule without its second name.
fn resolved(path: &Path, host: &dyn Host) -> Result<PathBuf, String> {
    for above in path.ancestors() {
        match host.canonical(above) {
            Ok(real) if above == path => return Ok(real),
            Ok(real) => return Ok(path.strip_prefix(above).map_or_else(|_| path.to_owned(), |rest| real.join(rest))),
            Err(error) if is_no_path(&error) => {}
            Err(error) => return Err(format!("it cannot be resolved: {error}")),
        }
    }
    Ok(path.to_owned())
}

fn is_no_path(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    matches!(error.kind(), NotFound | NotADirectory | PermissionDenied)
}

/// A path as a glob that matches nothing else.
fn escaped(path: &Path) -> Result<String, String> {
    path.to_str().map(globset::escape).ok_or_else(|| "it leads to a path that is not UTF-8".to_owned())
}
