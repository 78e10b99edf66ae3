//! The walk before a call: what of the workspace is denied or protected, and which directories there are.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use mantlet_clients::watchlist;
use mantlet_policy::Rules;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};

use crate::review;
use crate::walk::{self, Descend, Met, Unseen};

/// A name of the workspace that a rule speaks of.
#[derive(Debug, Clone)]
pub(crate) struct Hit {
    /// Relative to the workspace.
    pub(crate) path: Vec<u8>,
    pub(crate) is_dir: bool,
    /// The rule, as a person would name it.
    pub(crate) rule: String,
    /// Whether renaming an ancestor would take it out of the rule's reach.
    pub(crate) needs_pins: bool,
}

/// A file that the review looks at again: one of the table that is not mounted read-only.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) path: Vec<u8>,
}

/// What the walk found.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Every directory, relative; the top is empty.
    pub(crate) dirs: Vec<Box<[u8]>>,
    pub(crate) denied: Vec<Hit>,
    pub(crate) protected: Vec<Hit>,
    pub(crate) known: Vec<Known>,
    pub(crate) unseen: Unseen,
    /// Paths that an existing git configuration names for git to obey, relative.
    pub(crate) named: Vec<Vec<u8>>,
}

/// Walks the workspace.
pub(crate) fn scan(top: &OwnedFd, rules: &Rules) -> Scan {
    let mut scan = Scan { dirs: vec![Box::default()], ..Scan::default() };
    let mut linked = HashSet::new();
    let mut parent = Parent::default();
    let unseen = walk::walk(top.as_fd(), b"", &mut |met| visit(top, met, rules, &mut parent, &mut scan, &mut linked));
    scan.unseen = unseen;
    add_named(top, &mut scan, &mut linked);
    if !linked.is_empty() {
        add_other_names(top, &linked, &mut scan);
    }
    scan
}

/// A file with several links, and which list all its names belong in.
#[derive(PartialEq, Eq, Hash, Clone, Copy)]
struct Linked {
    dev: u64,
    ino: u64,
    is_denied: bool,
}

/// What is known of the directory whose names are being visited.
#[derive(Default)]
struct Parent {
    path: Vec<u8>,
    is_hot: bool,
}

impl Parent {
    /// Answers for the directory a name is in, asking the table only when it is another one than before.
    fn is_hot(&mut self, met: &Met<'_>) -> bool {
        let path = &met.path[..met.name_at.saturating_sub(1)];
        if path != self.path {
            self.path = path.to_vec();
            self.is_hot = watchlist::is_hot(path);
        }
        self.is_hot
    }
}

fn visit(
    top: &OwnedFd,
    met: &Met<'_>,
    rules: &Rules,
    parent: &mut Parent,
    scan: &mut Scan,
    linked: &mut HashSet<Linked>,
) -> Descend {
    let is_dir = met.kind == FileType::Directory;
    if let Some((rule, needs_pins)) = rules.denying(met.path) {
        note_links(met, true, linked);
        if met.kind != FileType::Symlink {
            scan.denied.push(Hit { path: met.path.to_vec(), is_dir, rule: rule.to_owned(), needs_pins });
        }
        return Descend::No;
    }
    if let Some((rule, needs_pins)) = rules.protecting_itself(met.path).filter(|_| !rules.is_exempt(met.path)) {
        note_links(met, false, linked);
        if met.kind != FileType::Symlink {
            scan.protected.push(Hit { path: met.path.to_vec(), is_dir, rule: rule.to_owned(), needs_pins });
        }
    } else if parent.is_hot(met) || mantlet_clients::interesting(met.name()) {
        visit_row(met, rules, scan, linked);
    } else if !is_dir && review::bare_part(met.path).is_some_and(|dir| review::is_bare(top, dir)) {
        scan.known.push(Known { path: met.path.to_vec() });
    }
    if is_dir {
        scan.dirs.push(met.path.into());
    }
    Descend::Yes
}

fn visit_row(met: &Met<'_>, rules: &Rules, scan: &mut Scan, linked: &mut HashSet<Linked>) {
    if rules.is_exempt(met.path) {
        return;
    }
    if met.name() == b".git" && met.kind == FileType::RegularFile {
        let rule = ".git, which names a repository elsewhere".to_owned();
        note_links(met, false, linked);
        return scan.protected.push(Hit { path: met.path.to_vec(), is_dir: false, rule, needs_pins: true });
    }
    let Some(row) = watchlist::classify(met.path) else { return };
    let below_vendored = met.path[..met.name_at].split(|b| *b == b'/').any(watchlist::is_vendored);
    let is_mounted = watchlist::is_enforced(row)
        && watchlist::is_row_itself(row, met.path)
        && !below_vendored
        && met.kind != FileType::Symlink;
    if is_mounted {
        note_links(met, false, linked);
        let is_dir = met.kind == FileType::Directory;
        scan.protected.push(Hit { path: met.path.to_vec(), is_dir, rule: row.path.to_owned(), needs_pins: true });
    } else if met.kind != FileType::Directory && (!below_vendored || watchlist::is_enforced(row)) {
        scan.known.push(Known { path: met.path.to_vec() });
    }
}

/// Notes a covered file that has other names; of a covered directory, everything in it that has.
///
/// The attack: a hard link, from before any call, to a key in a denied directory or a hook in a protected one is as good
/// as a way around the cover.
fn note_links(met: &Met<'_>, is_denied: bool, linked: &mut HashSet<Linked>) {
    let Ok(name) = std::ffi::CString::new(met.name()) else { return };
    match met.kind {
        FileType::RegularFile => note(met.dir, &name, is_denied, linked),
        FileType::Directory => {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let Ok(dir) = rustix::fs::openat(met.dir, &name, flags, Mode::empty()) else { return };
            walk::walk(dir.as_fd(), b"", &mut |met| {
                if met.kind == FileType::RegularFile
                    && let Ok(name) = std::ffi::CString::new(met.name())
                {
                    note(met.dir, &name, is_denied, linked);
                }
                Descend::Yes
            });
        }
        _ => {}
    }
}

fn note(dir: BorrowedFd<'_>, name: &std::ffi::CStr, is_denied: bool, linked: &mut HashSet<Linked>) {
    if let Ok(stat) = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
        && stat.st_nlink > 1
    {
        linked.insert(Linked { dev: stat.st_dev, ino: stat.st_ino, is_denied });
    }
}

/// A hard link is another name of the same file: every name of it in the workspace is covered too, and one that is only
/// protected is denied where another is.
fn add_other_names(top: &OwnedFd, linked: &HashSet<Linked>, scan: &mut Scan) {
    let inodes: HashSet<u64> = linked.iter().map(|l| l.ino).collect();
    let paths = |hits: &[Hit]| -> HashSet<Vec<u8>> { hits.iter().map(|h| h.path.clone()).collect() };
    let (denied, protected) = (paths(&scan.denied), paths(&scan.protected));
    walk::walk(top.as_fd(), b"", &mut |met| {
        if denied.contains(met.path) {
            return Descend::No;
        }
        if met.kind == FileType::RegularFile && inodes.contains(&met.ino) {
            let Ok(name) = std::ffi::CString::new(met.name()) else { return Descend::Yes };
            let Ok(stat) = rustix::fs::statat(met.dir, &name, AtFlags::SYMLINK_NOFOLLOW) else { return Descend::Yes };
            let is = |is_denied| linked.contains(&Linked { dev: stat.st_dev, ino: stat.st_ino, is_denied });
            let rule = "another name (hard link) of a covered file".to_owned();
            let hit = Hit { path: met.path.to_vec(), is_dir: false, rule, needs_pins: true };
            if is(true) {
                scan.denied.push(hit);
            } else if is(false) && !is_below(&protected, met.path) {
                scan.protected.push(hit);
            }
        }
        Descend::Yes
    });
}

/// Whether a path, or a directory it is in, is one of these.
fn is_below(paths: &HashSet<Vec<u8>>, path: &[u8]) -> bool {
    paths.contains(path) || path.iter().enumerate().any(|(i, b)| *b == b'/' && paths.contains(&path[..i]))
}

fn open_parent(top: &OwnedFd, dir: &[u8]) -> rustix::io::Result<OwnedFd> {
    crate::quarantine::open_beneath(top, dir, OFlags::RDONLY | OFlags::DIRECTORY)
}

/// What a repository's configuration includes or takes hooks from is as good as the configuration itself.
fn add_named(top: &OwnedFd, scan: &mut Scan, linked: &mut HashSet<Linked>) {
    let configs: Vec<Vec<u8>> =
        scan.protected.iter().map(|h| h.path.clone()).filter(|p| p.ends_with(b".git/config")).collect();
    for config in configs {
        let Some(text) = crate::quarantine::read_small(top, &config) else { continue };
        let git_dir = &config[..config.len() - b"/config".len()];
        let tree = &git_dir[..git_dir.len() - b".git".len()];
        for value in mantlet_clients::git_named_paths(&text) {
            // An include is relative to the configuration, a hooks path to the work tree: both are taken.
            for base in [git_dir, tree] {
                let Some(path) = mantlet_clients::beneath(base, &value).filter(|p| !scan.named.contains(p)) else {
                    continue;
                };
                let name = Path::new(std::ffi::OsStr::from_bytes(&path));
                let stat = rustix::fs::statat(top, name, AtFlags::SYMLINK_NOFOLLOW);
                let kind = stat.map(|s| FileType::from_raw_mode(s.st_mode));
                if let Ok(kind @ (FileType::RegularFile | FileType::Directory)) = kind {
                    let rule = "named by a git configuration".to_owned();
                    let is_dir = kind == FileType::Directory;
                    let name_at = path.iter().rposition(|b| *b == b'/').map_or(0, |at| at + 1);
                    if let Ok(dir) = open_parent(top, &path[..name_at]) {
                        note_links(&Met { dir: dir.as_fd(), path: &path, name_at, kind, ino: 0 }, false, linked);
                    }
                    scan.protected.push(Hit { path: path.clone(), is_dir, rule, needs_pins: true });
                }
                scan.named.push(path);
            }
        }
    }
}
