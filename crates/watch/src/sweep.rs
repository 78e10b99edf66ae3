//! Looking without reading: what can be told from inodes and change times, and when that may be believed.
//!
//! No system call sets a change time (ctime). Four things could still hide a change from it, and each is met: a clock that
//! is set back (nothing known by times counts then), two changes within one tick of the clock (a time that is as young
//! as the look is not believed), a mapping whose page is dirty already (a file that somebody has open for writing is
//! read again and again), and a file system that does not stamp what is written through a mapping: there, writers are
//! asked for in each sweep, or everything is read again all the time where not even that is told. What is left is whoever writes to the raw device; for that, everything is read at intervals.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags};

use crate::look::{self, Found, Look, Stamp};
use crate::record::{Is, Record};
use crate::report::Report;
use crate::sys::{self, Writer};
use crate::undo::{Hands, Job, Stands};
use crate::watch::{Heard, Node, Watch};
use crate::watches::On;

/// Longer than a tick of the clock that stamps changes (10 ms at `CONFIG_HZ=100`).
const TICK: Duration = Duration::from_millis(25);

/// What a file system tells of a write through a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tells {
    /// A change time when a clean page is first written, and whether anybody may write to a dirty one.
    Times,
    /// Only that somebody may write.
    Writers,
    /// Nothing that is known. On overlayfs the mapping belongs to a file below, whose writers do not count above.
    Nothing,
}

/// File systems of which that is known.
const KNOWN: [(i64, Tells); 5] = [
    (0xEF53, Tells::Times),        // ext2, ext3, ext4
    (0x5846_5342, Tells::Times),   // xfs
    (0x9123_683E, Tells::Times),   // btrfs
    (0xF2F5_2010, Tells::Times),   // f2fs
    (0x0102_1994, Tells::Writers), // tmpfs
];

impl Watch {
    /// Looks at everything without reading it; reads what may have changed.
    pub(crate) fn sweep(&mut self, heard: Heard, report: &mut dyn Report) {
        self.check_ways(heard, report);
        for path in self.suspects() {
            self.look_wholly(&path, heard, report);
        }
        for path in self.written_beside() {
            self.check(&path, heard, report);
        }
        // What kept us from undoing something may be gone: space on the disk, a right, a mount.
        const RETRY: Duration = Duration::from_secs(5);
        if self.retried.elapsed() >= RETRY {
            self.retried = Instant::now();
            let standing: Vec<PathBuf> = self.standing.keys().cloned().collect();
            for path in standing {
                self.look_wholly(&path, heard, report);
            }
        }
    }

    /// The judged files whose changes stand in a file beside them, where that one has changed.
    fn written_beside(&mut self) -> Vec<PathBuf> {
        let mut changed = Vec::new();
        for at in &mut self.beside {
            let stat = rustix::fs::statx(rustix::fs::CWD, &at.path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS);
            // One that is as young as this look may change within the same tick: it is seen as changed once more.
            let now = stat.ok().map(|stat| look::stamp(&stat));
            if now != at.seen {
                at.seen = now.filter(|stamp| is_older(stamp, SystemTime::now()));
                changed.push(at.of.clone());
            }
        }
        changed
    }

    fn suspects(&mut self) -> Vec<PathBuf> {
        let mut suspects = Vec::new();
        let mut hot = Vec::new();
        let mut last: Option<(&Path, Option<Arc<OwnedFd>>)> = None;
        for (path, node) in &self.nodes {
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { continue };
            let dir = match &last {
                Some((at, dir)) if *at == parent => dir.clone(),
                _ => {
                    let dir = self.dir_of(path).ok();
                    last = Some((parent, dir.clone()));
                    dir
                }
            };
            let is_absent = node.record.is == Is::Absent;
            let stat = dir.as_ref().map(|dir| look::stat(dir.as_fd(), name));
            let is_same = match stat {
                None | Some(Ok(None)) => is_absent,
                Some(Ok(Some(stat))) => !is_absent && node.stamp == Some(look::stamp(&stat)),
                Some(Err(_)) => false,
            };
            let is_missing_parent = dir.is_none() && self.standing.contains_key(path);
            // After the clock was set everything is read anyway, between events and not at once.
            let is_to_be_read = self.cursor.is_some() && node.stamp.is_none() && !is_absent;
            if !is_same && !is_missing_parent && !is_to_be_read {
                suspects.push(path.clone());
            } else if let Some(dir) = dir.filter(|_| node.tells == Tells::Writers)
                && has_writer(&dir, name)
            {
                hot.push(path.clone());
            }
        }
        self.hot.extend(hot);
        suspects
    }

    /// Remembers how a place was found, and watches what stands there.
    pub(crate) fn settle(&mut self, path: &Path, found: &Found, update: Option<Record>) {
        if let Some(record) = update {
            self.renew(path, found, record);
        }
        let tells = found.look.as_ref().map_or(Tells::Times, |look| self.tells(look));
        let Some(node) = self.nodes.get_mut(path) else { return };
        let Some(look) = &found.look else {
            node.stamp = None;
            if let Some((_, _, wd)) = node.watched.take() {
                self.watches.forget(path, Some(wd));
            }
            return;
        };
        let stamp = look::stamp(&look.stat);
        let old = node.watched;
        if old.is_none_or(|(dev, ino, _)| (dev, ino) != (stamp.dev, stamp.ino))
            && let Some(file) = &look.file
        {
            let on = if look::is_directory(&look.stat) { On::Directory } else { On::File };
            let wd = self.watches.add(path, file, on, old.map(|(_, _, wd)| wd));
            node.watched = wd.map(|wd| (stamp.dev, stamp.ino, wd));
            if on == On::Directory
                && let Some(fan) = &mut self.fan
            {
                fan.add(path, file.as_fd());
            }
        }
        let writer = match &look.file {
            Some(file) if look::is_regular(&look.stat) => sys::writer_of(file),
            _ => Writer::Absent,
        };
        node.tells = tells;
        node.stamp = is_older(&stamp, look.at).then_some(stamp);
        let is_blind = tells == Tells::Nothing && look::is_regular(&look.stat) && look.file.is_some();
        if writer == Writer::Present || is_blind {
            self.hot.insert(path.to_owned());
        }
    }

    /// Makes a record the baseline's. The copy of the old one goes, unless another path has the same content.
    fn renew(&mut self, path: &Path, found: &Found, record: Record) {
        let new = record.sha256();
        if let (Is::Judged { sha256, size, .. }, Some(look)) = (&record.is, &found.look)
            && *size <= self.store.max()
            && !self.store.has(*sha256, *size)
            && let Some(file) = &look.file
            && let Ok(Some(bytes)) = look::read(file, self.store.max())
        {
            // Without a copy the next tampering is put back by the judge, or reported.
            self.store.put(&bytes).ok();
        }
        let snapshot = |record: &Record| match record.is {
            Is::Judged { snapshot, .. } => snapshot,
            _ => None,
        };
        let kept = [new, snapshot(&record)];
        let node = self.nodes.entry(path.to_owned()).or_insert_with(|| Node::new(Record::absent()));
        let old = std::mem::replace(&mut node.record, record);
        for gone in [old.sha256(), snapshot(&old)].into_iter().flatten().filter(|old| !kept.contains(&Some(*old))) {
            let is_used = |n: &Node| n.record.sha256() == Some(gone) || snapshot(&n.record) == Some(gone);
            if !self.nodes.values().any(is_used) {
                self.store.remove(gone);
            }
        }
        self.unsigned_since.get_or_insert_with(Instant::now);
    }

    fn tells(&mut self, look: &Look) -> Tells {
        let dev = (look.stat.stx_dev_major, look.stat.stx_dev_minor);
        let Some(file) = &look.file else { return Tells::Times };
        *self.tells.entry(dev).or_insert_with(|| {
            let kind = rustix::fs::fstatfs(file).map(|fs| fs.f_type);
            let known = KNOWN.iter().find(|(known, _)| kind == Ok(*known));
            known.map_or(Tells::Nothing, |(_, tells)| *tells)
        })
    }

    /// Makes a place what is wanted there, without asking whether it differs. The content of what is judged stays.
    pub(crate) fn apply(&mut self, path: &Path) -> Result<(), Stands> {
        let is_judged = matches!(self.wanted(path).is, Is::Judged { .. });
        self.put(path, if is_judged { Puts::WhatStands } else { Puts::Record })
    }

    /// Makes a place what is wanted there, with this as its content.
    pub(crate) fn apply_content(&mut self, path: &Path, content: &[u8]) -> Result<(), Stands> {
        self.put(path, Puts::This(content))
    }

    fn put(&mut self, path: &Path, puts: Puts<'_>) -> Result<(), Stands> {
        let wanted = self.wanted(path);
        let name = path.file_name().ok_or_else(|| Stands("it has no name".into()))?;
        let dir = self.dir_of(path)?;
        let most = self.most(&wanted);
        let found = look::find(dir.as_fd(), name, most)?;
        let content = match (&puts, &found.look) {
            (Puts::This(content), _) => Some(content.to_vec()),
            (Puts::WhatStands, Some(Look { file: Some(file), .. })) => look::read(file, self.store.max())?,
            _ => None,
        };
        let (dir_fd, scene) = (dir.as_fd(), self.scene(path));
        let (wanted, found) = (&wanted, &found);
        let job = Job { dir: dir_fd, name, wanted, found, known: None, content, in_place: false, scene: &scene };
        Hands { store: &self.store, kept: &mut self.kept }.undo(&job)?;
        let found = look::find(dir.as_fd(), name, most)?;
        self.settle(path, &found, None);
        let is_same = wanted.sha256() == found.record.sha256();
        if let Some(node) = self.nodes.get_mut(path).filter(|_| !is_same) {
            // Somebody has written there since, or it is the judge who says what matters: it is looked at again.
            node.stamp = None;
            self.hot.insert(path.to_owned());
        }
        let differs = wanted.attributes != found.record.attributes;
        match puts {
            // It was put there. Whoever changed it since must not keep the owner from accepting it: that is undone.
            Puts::This(_) => Ok(()),
            _ if differs => Err(Stands("its attributes did not stay".into())),
            _ => Ok(()),
        }
    }
}

/// Which content is put in a place.
enum Puts<'a> {
    Record,
    WhatStands,
    This(&'a [u8]),
}

/// Whether a change time is so old that no change after the look can have the same one.
fn is_older(stamp: &Stamp, at: SystemTime) -> bool {
    let (Ok(seconds), nanoseconds) = (u64::try_from(stamp.ctime.0), stamp.ctime.1) else { return false };
    let changed = UNIX_EPOCH + Duration::new(seconds, nanoseconds);
    at.duration_since(changed).is_ok_and(|age| age > TICK)
}

fn has_writer(dir: &OwnedFd, name: &std::ffi::OsStr) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, name, flags, Mode::empty());
    file.is_ok_and(|file| sys::writer_of(&file) == Writer::Present)
}
