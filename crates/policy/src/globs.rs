//! The path rules of an agent compiled for paths below its workspace, as a walk of it meets them.
//!
//! One compilation for all who judge: where two differed, what one shows the other would take away.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::types::{Agent, PathRule};

/// The globs of one kind of rule.
struct Globs {
    set: GlobSet,
    rules: Vec<(String, bool)>,
}

impl Globs {
    fn new<'p>(patterns: impl Iterator<Item = &'p str>, workspace: &Path) -> Result<Globs, globset::Error> {
        let mut builder = GlobSetBuilder::new();
        let mut names = Vec::new();
        for written in patterns {
            let pattern = match Path::new(written).strip_prefix(workspace) {
                Ok(inside) => inside.to_string_lossy().into_owned(),
                Err(_) if written.starts_with('/') => continue,
                Err(_) => written.to_owned(),
            };
            let pattern = pattern.trim_start_matches("./");
            // A directory's contents mean the directory: covered whole, it stays covered for later names.
            let pattern = pattern.strip_suffix("/**").or(pattern.strip_suffix('/')).unwrap_or(pattern);
            builder.add(GlobBuilder::new(pattern).literal_separator(true).backslash_escape(true).build()?);
            let floats = pattern.strip_prefix("**/").is_some_and(|rest| !rest.contains('/'));
            names.push((written.to_owned(), !floats));
        }
        Ok(Globs { set: builder.build()?, rules: names })
    }

    fn find(&self, path: &[u8]) -> Option<(&str, bool)> {
        if self.rules.is_empty() {
            return None;
        }
        let path = Path::new(std::ffi::OsStr::from_bytes(path));
        let first = *self.set.matches(path).first()?;
        self.rules.get(first).map(|(rule, pins)| (rule.as_str(), *pins))
    }
}

/// The rules of an agent in the form that a walk needs: every path is relative to the workspace, without a slash in front.
pub struct Rules {
    deny: Globs,
    protect: Globs,
    /// Paths the policy makes writable by name, against the table.
    exempt: HashSet<Vec<u8>>,
}

impl Rules {
    /// Compiles the rules of an agent.
    ///
    /// # Errors
    /// When a pattern is no glob; validation has refused that already.
    pub fn compile(agent: &Agent) -> Result<Rules, globset::Error> {
        let workspace = agent.workspace();
        let inside = |r: &PathRule| Some(r.path()?.strip_prefix(workspace).ok()?.as_os_str().as_bytes().to_vec());
        Ok(Rules {
            deny: Globs::new(agent.files().deny().iter().map(PathRule::pattern), workspace)?,
            protect: Globs::new(agent.files().protect().iter().map(PathRule::pattern), workspace)?,
            exempt: agent.files().write().iter().filter_map(inside).filter(|p| !p.is_empty()).collect(),
        })
    }

    /// Says whether no deny rule speaks of anything inside the workspace.
    pub fn denies_nothing(&self) -> bool {
        self.deny.rules.is_empty()
    }

    /// Returns the deny rule that names this path itself, and whether renaming a directory above it would undo the rule.
    pub fn denying(&self, path: &[u8]) -> Option<(&str, bool)> {
        self.deny.find(path)
    }

    /// Says whether any rule denies something in the workspace.
    pub fn denies_something(&self) -> bool {
        !self.deny.rules.is_empty()
    }

    /// Returns the protect rule of the policy that names this path itself, as [`Rules::denying`].
    pub fn protecting_itself(&self, path: &[u8]) -> Option<(&str, bool)> {
        self.protect.find(path)
    }

    /// Says whether the policy makes this path writable by name, itself or by an ancestor.
    pub fn is_exempt(&self, path: &[u8]) -> bool {
        self.exempt.contains(path)
            || path.iter().enumerate().any(|(i, b)| *b == b'/' && self.exempt.contains(&path[..i]))
    }

    /// Returns the paths the policy makes writable by name.
    pub fn exempt(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.exempt.iter()
    }

    /// Makes the rules for the review of a call that was killed, from what its journal entry kept of them.
    ///
    /// # Errors
    /// When a pattern is no glob.
    pub fn of_record(exempt: &[Vec<u8>], protect: &[String], workspace: &Path) -> Result<Rules, globset::Error> {
        Ok(Rules {
            deny: Globs::new(std::iter::empty(), workspace)?,
            protect: Globs::new(protect.iter().map(String::as_str), workspace)?,
            exempt: exempt.iter().cloned().collect(),
        })
    }

    /// Returns the protect patterns of the policy, for the journal.
    pub fn protect_patterns(&self) -> impl Iterator<Item = &str> {
        self.protect.rules.iter().map(|(rule, _)| rule.as_str())
    }

    /// Returns the protect rule of the policy that a path falls under, itself or by a directory above it.
    pub fn protecting(&self, path: &[u8]) -> Option<&str> {
        let above = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(i, _)| &path[..i]);
        above.chain([path]).find_map(|p| self.protect.find(p)).map(|(rule, _)| rule)
    }
}
