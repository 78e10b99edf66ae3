//! What a policy shows beyond the workspace, and what it takes away again there. Which of it exists, the host says.

use std::io;
use std::path::{Path, PathBuf};

use crate::types::{Agent, PathRule};

/// A place that a `read` or `write` rule opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// What is shown, without a symlink in its name.
    pub source: PathBuf,
    /// Under which name.
    pub target: PathBuf,
    /// Whether it may be written.
    pub is_writable: bool,
}

/// Returns the places that an agent's rules open outside its workspace, outer ones before inner ones. A place that
/// does not exist yet is absent.
pub fn opened(agent: &Agent, canonical: impl Fn(&Path) -> io::Result<PathBuf>) -> Vec<Opened> {
    let files = agent.files();
    let lists = [(files.read(), false), (files.write(), true)];
    let rules = lists.iter().flat_map(|(rules, is_writable)| rules.iter().map(|rule| (rule, *is_writable)));
    let outside = rules.filter_map(|(rule, is_writable)| {
        let target = rule.path().filter(|path| !path.starts_with(agent.workspace()))?;
        Some(Opened { source: canonical(target).ok()?, target: target.to_owned(), is_writable })
    });
    let mut places: Vec<Opened> = outside.collect();
    places.sort_by(|a, b| a.target.cmp(&b.target));
    places
}

/// A rule that names something outside the workspace could not be resolved: it would hold nothing.
#[derive(Debug, thiserror::Error)]
#[error("{path:?}, which a rule names, cannot be resolved: {source}")]
pub struct Unresolved {
    /// What the rule names.
    pub path: PathBuf,
    /// The kernel's answer.
    pub source: io::Error,
}

/// Returns what literal rules name outside the workspace and something of `shown` (source and target) shows, under each
/// name that it has there, with its rule: a place opened through a symlink shows the same file elsewhere.
///
/// # Errors
/// A name that neither resolves nor is missing.
pub fn named_outside(
    rules: &[PathRule],
    workspace: &Path,
    shown: &[(PathBuf, PathBuf)],
    canonical: impl Fn(&Path) -> io::Result<PathBuf>,
) -> Result<Vec<(PathBuf, String)>, Unresolved> {
    use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    let mut named: Vec<(PathBuf, String)> = Vec::new();
    for rule in rules {
        let Some(path) = rule.path().filter(|p| !p.starts_with(workspace)) else { continue };
        let real = match canonical(path) {
            Ok(real) => real,
            // What is not there, or closed to the owner, is shown to nobody.
            Err(e) if matches!(e.kind(), NotFound | NotADirectory | PermissionDenied) => continue,
            Err(source) => return Err(Unresolved { path: path.to_owned(), source }),
        };
        for (source, target) in shown {
            let Ok(rest) = real.strip_prefix(source) else { continue };
            let path = if rest.as_os_str().is_empty() { target.clone() } else { target.join(rest) };
            if named.iter().all(|(known, _)| *known != path) {
                named.push((path, rule.pattern().to_owned()));
            }
        }
    }
    Ok(named)
}
