//! What of a workspace the jail covers: takes away, or shows read-only. The same rules as its walk before a call.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::Read as _;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use mantlet_clients::{Scope, watchlist};
use mantlet_policy::Rules;
use rustix::fs::{AtFlags, Dir, DirEntry, FileType, Mode, OFlags, ResolveFlags};

use crate::below::{self, Next};

/// What is done about a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cover {
    /// A deny rule takes it away.
    Denied { name: Vec<u8>, rule: String },
    /// It is read-only, or undone after the call.
    Protected { name: Vec<u8>, rule: String, why: String },
}

/// The covers of one workspace.
pub(crate) struct Covers<'g> {
    pub(crate) rules: &'g Rules,
    /// The workspace, open.
    pub(crate) top: &'g OwnedFd,
}

const OWNERS: &str = "is protected by the owner";
const NAMES_A_REPOSITORY: &str = "names the repository whose configuration git obeys here";

impl Covers<'_> {
    /// Says what the jail mounts over this name itself. A symlink is never covered: what it leads to is.
    fn on(&self, path: &[u8], kind: FileType) -> Option<Cover> {
        if kind == FileType::Symlink {
            return None;
        }
        if let Some((rule, _)) = self.rules.denying(path) {
            return Some(Cover::Denied { name: path.to_vec(), rule: rule.to_owned() });
        }
        if self.rules.is_exempt(path) {
            return None;
        }
        let protected = |rule: &str, why: &str| {
            Some(Cover::Protected { name: path.to_vec(), rule: rule.to_owned(), why: why.to_owned() })
        };
        if let Some((rule, _)) = self.rules.protecting_itself(path) {
            return protected(rule, OWNERS);
        }
        let (parent, name) = split(path);
        if !(watchlist::is_hot(parent) || mantlet_clients::interesting(name)) {
            return None;
        }
        if name == b".git" && kind == FileType::RegularFile {
            return protected(".git", NAMES_A_REPOSITORY);
        }
        let row = watchlist::classify(path)?;
        let is_vendored = parent.split(|b| *b == b'/').any(watchlist::is_vendored);
        let is_mounted = watchlist::is_enforced(row) && watchlist::is_row_itself(row, path) && !is_vendored;
        is_mounted.then_some(()).and_then(|()| protected(row.path, &runs(row.runs)))
    }

    /// Says what covers a path that exists: it itself, or a directory above it.
    pub(crate) fn over(&self, path: &[u8], kind: FileType) -> Option<Cover> {
        self.mounted_over(path, kind).or_else(|| self.named_by_git(path))
    }

    /// What is denied stays so in a directory that is only protected.
    fn mounted_over(&self, path: &[u8], kind: FileType) -> Option<Cover> {
        let above = ends(path).map(|end| (&path[..end], FileType::Directory));
        let mut protected = None;
        for cover in above.chain([(path, kind)]).filter_map(|(path, kind)| self.on(path, kind)) {
            match cover {
                Cover::Denied { .. } => return Some(cover),
                Cover::Protected { .. } => protected = protected.or(Some(cover)),
            }
        }
        protected
    }

    /// Says why the review would undo a file of this name that is new or changed. What it would judge by content is
    /// undone: a guard sees none.
    pub(crate) fn undone(&self, path: &[u8]) -> Option<Cover> {
        if self.rules.is_exempt(path) {
            return None;
        }
        let protected = |rule: &str, why: &str| {
            Some(Cover::Protected { name: path.to_vec(), rule: rule.to_owned(), why: why.to_owned() })
        };
        if let Some(rule) = self.rules.protecting(path) {
            return protected(rule, OWNERS);
        }
        let (parent, name) = split(path);
        if let Some(row) = watchlist::classify(path).filter(|row| watchlist::is_enforced(row)) {
            let is_sample = row.scope == Scope::GitDir && row.path.starts_with("hooks") && name.ends_with(b".sample");
            return if is_sample { None } else { protected(row.path, &runs(row.runs)) };
        }
        if name == b".git" {
            return protected(".git", NAMES_A_REPOSITORY);
        }
        self.named_by_git(path).or_else(|| self.in_bare_repository(path, parent, name))
    }

    /// Git takes a directory with HEAD, objects and refs for a repository, wherever it stands (CVE-2022-24765 class).
    fn in_bare_repository(&self, path: &[u8], parent: &[u8], name: &[u8]) -> Option<Cover> {
        let is_bare = |dir: &[u8]| {
            split(dir).1 != b".git"
                && [&b"HEAD"[..], b"objects", b"refs"].iter().all(|name| {
                    let at = [dir, if dir.is_empty() { b"" } else { b"/" }, name].concat();
                    rustix::fs::statat(self.top, OsStr::from_bytes(&at), AtFlags::SYMLINK_NOFOLLOW).is_ok()
                })
        };
        let is_config = name == b"config" && is_bare(parent);
        let is_hook = split(parent).1 == b"hooks" && !name.ends_with(b".sample") && is_bare(split(parent).0);
        let why = runs("git, on any command in this bare repository");
        (is_config || is_hook).then(|| Cover::Protected { name: path.to_vec(), rule: "bare repository".into(), why })
    }

    /// What the configuration of a repository around this path includes, or takes hooks from.
    fn named_by_git(&self, path: &[u8]) -> Option<Cover> {
        let above = ends(path).map(|end| path[..end].to_vec()).chain([Vec::new()]);
        for tree in above.flat_map(|dir| self.with_children(dir)) {
            let tree = tree.as_slice();
            let slash: &[u8] = if tree.is_empty() { b"" } else { b"/" };
            let git_dir = [tree, slash, b".git"].concat();
            let Some(text) = self.read_small(&[&git_dir[..], b"/config"].concat()) else { continue };
            for value in mantlet_clients::git_named_paths(&text) {
                for base in [&git_dir[..], tree] {
                    let named = mantlet_clients::beneath(base, &value);
                    if named.is_some_and(|named| {
                        path.strip_prefix(&named[..]).is_some_and(|r| r.is_empty() || r[0] == b'/')
                    }) {
                        let rule = "named by a git configuration".to_owned();
                        let why = runs("git, on any command: its configuration includes it or takes hooks from it");
                        return Some(Cover::Protected { name: path.to_vec(), rule, why });
                    }
                }
            }
        }
        None
    }

    /// A directory and those in it: a repository may name what lies beside it. From further below nobody does.
    fn with_children(&self, dir: Vec<u8>) -> Vec<Vec<u8>> {
        let at: &[u8] = if dir.is_empty() { b"." } else { &dir };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let opened = rustix::fs::openat2(self.top, Path::new(OsStr::from_bytes(at)), flags, Mode::empty(), resolve);
        let entries = opened.and_then(Dir::new).into_iter().flatten().flatten();
        let is_child = |entry: &DirEntry| entry.file_type().is_dir() && !entry.file_name().to_bytes().starts_with(b".");
        let slash: &[u8] = if dir.is_empty() { b"" } else { b"/" };
        let name = |entry: DirEntry| [&dir, slash, entry.file_name().to_bytes()].concat();
        let mut all: Vec<Vec<u8>> = entries.filter(is_child).map(name).collect();
        all.push(dir);
        all
    }

    /// Reads a configuration of git's: no symlink, no special file, and no more than one has.
    fn read_small(&self, path: &[u8]) -> Option<Vec<u8>> {
        const MOST: u64 = 1 << 20;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let at = Path::new(OsStr::from_bytes(path));
        let fd = rustix::fs::openat2(self.top, at, flags, Mode::empty(), resolve).ok()?;
        if !FileType::from_raw_mode(rustix::fs::fstat(&fd).ok()?.st_mode).is_file() {
            return None;
        }
        let mut text = Vec::new();
        std::fs::File::from(fd).take(MOST + 1).read_to_end(&mut text).ok()?;
        (text.len() as u64 <= MOST).then_some(text)
    }

    /// Every cover that another name of a file has: a hard link is the same file.
    pub(crate) fn on_other_names(&self, id: (u64, u64)) -> rustix::io::Result<Vec<Cover>> {
        let mut covers = Vec::new();
        below::below(self.top.as_fd(), b"", &mut |met| {
            let is_same = met.kind == FileType::RegularFile
                && met.ino == id.1
                && met.stat().is_ok_and(|stat| stat.st_dev == id.0);
            if is_same {
                covers.extend(self.over(met.path, met.kind));
            }
            Next::Enter
        })?;
        Ok(covers)
    }

    /// The first denied thing below a directory of the workspace, be it by another name of a denied file.
    pub(crate) fn denied_below(
        &self,
        dir: &OwnedFd,
        path: &[u8],
        wanted: &dyn Fn(&[u8], FileType) -> bool,
    ) -> rustix::io::Result<Option<Cover>> {
        if self.rules.denies_nothing() {
            return Ok(None);
        }
        let mut found = None;
        below::below(dir.as_fd(), path, &mut |met| match self.on(met.path, met.kind) {
            Some(cover @ Cover::Denied { .. }) if wanted(met.path, met.kind) => {
                found = Some(cover);
                Next::Stop
            }
            _ => Next::Enter,
        })?;
        if found.is_some() {
            return Ok(found);
        }
        let linked = self.denied_with_links()?;
        if linked.is_empty() {
            return Ok(None);
        }
        below::below(dir.as_fd(), path, &mut |met| {
            let is_one = met.kind == FileType::RegularFile && linked.iter().any(|(_, ino)| *ino == met.ino);
            if is_one && met.stat().is_ok_and(|s| linked.contains(&(s.st_dev, s.st_ino))) && wanted(met.path, met.kind)
            {
                let rule = "another name (hard link) of a denied file".to_owned();
                found = Some(Cover::Denied { name: met.path.to_vec(), rule });
                return Next::Stop;
            }
            Next::Enter
        })?;
        Ok(found)
    }

    /// The denied files of the workspace that have more than one name.
    fn denied_with_links(&self) -> rustix::io::Result<HashSet<(u64, u64)>> {
        let mut linked = HashSet::new();
        below::below(self.top.as_fd(), b"", &mut |met| {
            if met.kind == FileType::RegularFile
                && matches!(self.mounted_over(met.path, met.kind), Some(Cover::Denied { .. }))
                && let Ok(stat) = met.stat()
                && stat.st_nlink > 1
            {
                linked.insert((stat.st_dev, stat.st_ino));
            }
            Next::Enter
        })?;
        Ok(linked)
    }

    /// The first covered thing below a directory: what has one in it cannot be removed.
    pub(crate) fn covered_below(&self, dir: &OwnedFd, path: &[u8]) -> rustix::io::Result<Option<Cover>> {
        let mut found = None;
        below::below(dir.as_fd(), path, &mut |met| {
            found = self.on(met.path, met.kind);
            if found.is_some() { Next::Stop } else { Next::Enter }
        })?;
        Ok(found)
    }
}

/// Why a file that something outside executes or obeys is closed.
fn runs(by: &str) -> String {
    format!("is run or obeyed by {by}")
}

/// Where the directories above a path end.
fn ends(path: &[u8]) -> impl Iterator<Item = usize> {
    path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(i, _)| i)
}

/// The directory and the name of a relative path.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    path.iter().rposition(|b| *b == b'/').map_or((&b""[..], path), |i| (&path[..i], &path[i + 1..]))
}
