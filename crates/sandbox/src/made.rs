//! Repositories that earlier calls have made: what is protected in them is reviewed, not mounted.
//!
//! A mount would stop `rm -rf` of a clone, `git worktree remove` and `git remote add` in the next call, and would
//! hold nothing that the call that made them had not free anyway. They are known by device, inode and time of birth,
//! kept in the owner's state directory; none of the three can be forged. One in which the owner, or anybody, has
//! put something that git would run is mounted like the owner's own, and so is the repository at the top.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use mantlet_clients::watchlist;
use rustix::fs::{AtFlags, FileType, OFlags, Statx, StatxFlags};

use crate::quarantine::open_beneath;
use crate::review::Judge;
use crate::scan::{Hit, Known, Scan};
use crate::walk::{self, Descend};

/// More are forgotten, the oldest first: a forgotten one is mounted.
const MOST: usize = 1000;
/// What so many take at most.
const MOST_BYTES: u64 = 128 * 1024;

/// Device, inode, and seconds and nanoseconds of birth.
type Id = (u64, u64, i64, u32);

fn file(state: &Path) -> std::path::PathBuf {
    state.join("made.json")
}

fn load(state: &Path) -> Vec<Id> {
    let mut text = Vec::new();
    let read = std::fs::File::open(file(state)).and_then(|f| f.take(MOST_BYTES).read_to_end(&mut text));
    // Unreadable or cut off: nothing is known, so that everything is mounted.
    read.ok().and_then(|_| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

fn statx(top: &OwnedFd, path: &[u8]) -> Option<Statx> {
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    rustix::fs::statx(top, Path::new(std::ffi::OsStr::from_bytes(path)), AtFlags::SYMLINK_NOFOLLOW, wanted).ok()
}

fn id(top: &OwnedFd, path: &[u8]) -> Option<Id> {
    let stat = statx(top, path)?;
    let has_birth = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::BTIME);
    let device = rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor);
    has_birth.then_some((device, stat.stx_ino, stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec))
}

/// Answers the thing that was made as one: a nested `.git`, or what a worktree has in the repository at the top.
pub(crate) fn root_of(path: &[u8]) -> Option<&[u8]> {
    let ends: Vec<usize> =
        path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(i, _)| i).chain([path.len()]).collect();
    let first = ends.iter().position(|end| path[..*end].ends_with(b".git") && is_name(&path[..*end], b".git"))?;
    if first > 0 {
        return Some(&path[..ends[first]]);
    }
    let below = ends.get(1).is_some_and(|end| &path[..*end] == b".git/worktrees");
    ends.get(2).filter(|_| below).map(|end| &path[..*end])
}

fn is_name(path: &[u8], name: &[u8]) -> bool {
    path.rsplit(|b| *b == b'/').next() == Some(name)
}

/// Takes what earlier calls have made, and is still harmless, out of what is mounted. Answers what was taken out.
pub(crate) fn release(scan: &mut Scan, judge: &Judge<'_>, state: &Path) -> Vec<Hit> {
    let mut groups: BTreeMap<Vec<u8>, bool> = BTreeMap::new();
    for root in scan.protected.iter().filter_map(|h| root_of(&h.path)) {
        groups.insert(root.to_vec(), false);
    }
    if groups.is_empty() {
        return Vec::new();
    }
    let made: HashSet<Id> = load(state).into_iter().collect();
    for (root, is_free) in &mut groups {
        *is_free = id(judge.top, root).is_some_and(|id| made.contains(&id))
            && scan.protected.iter().filter(|h| root_of(&h.path) == Some(root)).all(|h| is_harmless(judge, h));
    }
    let is_free = |h: &Hit| root_of(&h.path).is_some_and(|root| groups.get(root) == Some(&true));
    let (free, kept): (Vec<Hit>, Vec<Hit>) = std::mem::take(&mut scan.protected).into_iter().partition(is_free);
    scan.protected = kept;
    scan.known.extend(free.iter().filter(|h| !h.is_dir).map(|h| Known { path: h.path.clone() }));
    free
}

/// Whether a protected thing is there because of git's own table, and says nothing that git would run.
fn is_harmless(judge: &Judge<'_>, hit: &Hit) -> bool {
    let is_gitfile = !hit.is_dir && is_name(&hit.path, b".git");
    let is_gits = watchlist::classify(&hit.path).is_some_and(|row| row.path == hit.rule);
    if !(is_gitfile || is_gits) || judge.rules.protecting(&hit.path).is_some() {
        return false;
    }
    if !hit.is_dir {
        let is_alone = statx(judge.top, &hit.path).is_some_and(|s| s.stx_nlink == 1);
        return is_alone && judge.judge(&hit.path, FileType::RegularFile, 0).is_none();
    }
    let Ok(dir) = open_beneath(judge.top, &hit.path, OFlags::RDONLY | OFlags::DIRECTORY) else { return false };
    let mut is_harmless = true;
    let unseen = walk::walk(dir.as_fd(), &hit.path, &mut |met| {
        is_harmless &= met.kind == FileType::Directory || judge.judge(met.path, met.kind, 0).is_none();
        if is_harmless { Descend::Yes } else { Descend::No }
    });
    is_harmless && unseen.dirs.is_empty()
}

/// Remembers what a call has made: names that were not there before it, and were born in it.
pub(crate) fn remember(judge: &Judge<'_>, started: (i64, i64), state: &Path) -> io::Result<()> {
    let made = judge.made.borrow();
    let born = |id: &Id| (id.2, i64::from(id.3)) >= started;
    let new: Vec<Id> = made.iter().filter_map(|path| id(judge.top, path)).filter(born).collect();
    if new.is_empty() {
        return Ok(());
    }
    let mut all = load(state);
    all.retain(|id| !new.contains(id));
    all.extend(new);
    let oldest = all.len().saturating_sub(MOST);
    // Two calls that end at once may lose the memory of one: its repositories are mounted.
    let half = state.join(format!(".made-{}", std::process::id()));
    std::fs::write(&half, serde_json::to_vec(&all[oldest..])?)?;
    std::fs::rename(&half, file(state))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_belongs_to_a_nested_repository_or_a_worktree_of_the_top() {
        let cases: [(&str, Option<&str>); 9] = [
            ("a/.git/config", Some("a/.git")),
            ("a/b/.git/hooks", Some("a/b/.git")),
            ("wt/.git", Some("wt/.git")),
            ("a/.git/modules/x/config", Some("a/.git")),
            (".git/worktrees/w/commondir", Some(".git/worktrees/w")),
            (".git/config", None),
            (".git/modules/x/config", None),
            (".git", None),
            ("a.git/config", None),
        ];
        for (path, root) in cases {
            assert_eq!(root_of(path.as_bytes()), root.map(str::as_bytes), "{path}");
        }
    }
}
