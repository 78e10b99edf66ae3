//! A tree of the host that a jail can write and that is watched and reviewed: the workspace, and a client's own state.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use mantlet_policy::Rules;
use rustix::fs::{CWD, Mode, OFlags};

use crate::plan::{Plan, Refusal};
use crate::scan::{self, Scan};
use crate::spots::Spot;

/// A writable part of a client's state.
pub(crate) struct Tree {
    pub(crate) top: PathBuf,
    pub(crate) fd: OwnedFd,
    pub(crate) rules: Rules,
    pub(crate) scan: Scan,
}

impl Tree {
    /// Opens a tree and walks it; these names at its top are protected.
    pub(crate) fn open(top: PathBuf, protect: &[String]) -> Result<Tree, Refusal> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let refuse = |e: String| Refusal::new(format!("cannot look through {top:?}: {e}"));
        let fd = rustix::fs::openat(CWD, &top, flags, Mode::empty()).map_err(|e| refuse(e.to_string()))?;
        let rules = Rules::of_record(&[], protect, &top).map_err(|e| refuse(e.to_string()))?;
        let mut scan = scan::scan(&fd, &rules);
        // What the table names deeper down is reviewed: a client makes and changes repositories of its own there.
        scan.protected.retain(|hit| rules.protecting_itself(&hit.path).is_some());
        Ok(Tree { top, fd, rules, scan })
    }

    /// What of it is mounted read-only.
    pub(crate) fn spots(&self) -> impl Iterator<Item = Spot> {
        let rule = "obeyed by the client's next session";
        let path = |hit: &scan::Hit| self.top.join(OsStr::from_bytes(&hit.path));
        self.scan.protected.iter().map(move |hit| Spot { path: path(hit), rule: rule.to_owned() })
    }
}

/// One of a plan's trees.
#[derive(Clone, Copy)]
pub(crate) struct TreeRef<'p> {
    pub(crate) top: &'p Path,
    pub(crate) fd: &'p OwnedFd,
    pub(crate) rules: &'p Rules,
    pub(crate) scan: &'p Scan,
}

/// The first of every plan's trees: its workspace.
pub(crate) const WORKSPACE: usize = 0;

impl Plan {
    /// How many trees there are.
    pub(crate) fn trees(&self) -> usize {
        1 + self.whole.as_ref().map_or(0, |whole| whole.trees.len())
    }

    /// One of them; what is not there is the workspace.
    pub(crate) fn tree(&self, number: usize) -> TreeRef<'_> {
        let whole = self.whole.as_ref();
        match whole.and_then(|whole| whole.trees.get(number.checked_sub(1)?)) {
            Some(tree) => TreeRef { top: &tree.top, fd: &tree.fd, rules: &tree.rules, scan: &tree.scan },
            None => TreeRef { top: &self.workspace, fd: &self.workspace_fd, rules: &self.rules, scan: &self.scan },
        }
    }

    /// A path of a tree as reports name it, and its own bytes: in the workspace relative to it, elsewhere whole.
    pub(crate) fn named(&self, tree: usize, path: &[u8]) -> Vec<u8> {
        match tree {
            WORKSPACE => path.to_vec(),
            _ => self.tree(tree).top.join(OsStr::from_bytes(path)).as_os_str().as_bytes().to_vec(),
        }
    }
}
