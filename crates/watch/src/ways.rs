//! The directories on the way to every place. Each is held open, so that one that is moved away is found again, and so that
//! no name above a place has to be believed twice.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use rustix::fs::{Mode, OFlags, RenameFlags, ResolveFlags, Statx};
use rustix::io::Errno;

use crate::kept::Scene;
use crate::look::{self, Found};
use crate::record::{Attributes, Is, Record, What};
use crate::report::Report;
use crate::undo::{self, Hands, Job, Stands, TEMPORARY};
use crate::watch::{Heard, Watch};
use crate::watches::On;

/// One directory on the way.
#[derive(Debug)]
pub(crate) struct Way {
    /// Where it is there: the directory itself, whatever it is called by now.
    pub(crate) fd: Option<Arc<OwnedFd>>,
    /// What the baseline says of it, or what it was when it was first seen.
    was: Option<Attributes>,
    id: Option<((u32, u32), u64, u64)>,
    wd: Option<i32>,
}

impl Way {
    pub(crate) fn new(record: Option<&Record>) -> Way {
        let record = record.filter(|r| matches!(r.is, Is::Way | Is::Directory));
        Way { fd: None, was: record.and_then(|r| r.attributes.clone()), id: None, wd: None }
    }

    /// Whether a file system was mounted there, where that is known.
    pub(crate) fn was_mount(&self) -> Option<bool> {
        self.was.as_ref().map(|was| was.mount)
    }

    /// What the baseline keeps of it.
    pub(crate) fn record(&self) -> Option<Record> {
        self.was.clone().map(|attributes| Record { is: Is::Way, attributes: Some(attributes) })
    }
}

fn id(stat: &Statx) -> ((u32, u32), u64, u64) {
    ((stat.stx_dev_major, stat.stx_dev_minor), stat.stx_ino, stat.stx_mnt_id)
}

/// How a way was found.
enum State {
    /// As it should be, or not there and needed by nothing.
    Fine,
    /// Another directory than before, which is now the one.
    New,
    /// It was put right.
    Undone(What, Option<PathBuf>),
    /// It stands as it was found, and nothing below is touched.
    Stands(What, Stands),
}

impl Watch {
    /// Returns the directory that holds a path.
    pub(crate) fn dir_of(&self, path: &Path) -> Result<Arc<OwnedFd>, Errno> {
        let parent = path.parent().ok_or(Errno::NOENT)?;
        if let Some(way) = self.ways.get(parent) {
            return way.fd.clone().ok_or(Errno::NOENT);
        }
        let base = parent.ancestors().find_map(|at| self.ways.get(at).map(|way| (at, way)));
        let (at, way) = base.ok_or(Errno::NOENT)?;
        let fd = way.fd.as_ref().ok_or(Errno::NOENT)?;
        let rest = parent.strip_prefix(at).map_err(|_| Errno::NOENT)?;
        // A symlink among the names is an intruder, and must lead us nowhere.
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat2(fd, rest, flags, Mode::empty(), resolve).map(Arc::new)
    }

    /// Looks at every way from the top, puts back what was moved or covered, and then looks at what lies below.
    pub(crate) fn check_ways(&mut self, heard: Heard, report: &mut dyn Report) {
        let paths: Vec<PathBuf> = self.ways.keys().cloned().collect();
        let mut changed: Vec<PathBuf> = Vec::new();
        for path in paths {
            if self.pace.rests(&path, Instant::now()) {
                continue;
            }
            match self.check_way(&path) {
                State::Fine => continue,
                State::New => {}
                State::Undone(what, copy) => self.say_undone(&path, what, copy, heard, report),
                State::Stands(what, why) => {
                    self.say_stands(&path, &[what], &Record::absent(), why, heard, report);
                    continue;
                }
            }
            self.standing.remove(&path);
            if !changed.iter().any(|above| path.starts_with(above)) {
                changed.push(path);
            }
        }
        for path in changed {
            self.look_below(&path, heard, report);
        }
    }

    /// Holds what stands on the ways to a place, and below it, which its owner has accepted, or is about to write in. Nothing
    /// is put right: where a way ends, or is none, it is not held, and the next look says so.
    pub(crate) fn hold_ways(&mut self, place: &Path) {
        let is_near = |way: &&PathBuf| place.starts_with(way) || way.starts_with(place);
        let near: Vec<PathBuf> = self.ways.keys().filter(is_near).cloned().collect();
        for at in near {
            let Some((up, name)) = at.parent().zip(at.file_name()) else {
                // Without the root nothing below is held.
                drop(self.check_root());
                continue;
            };
            let Some(way) = self.ways.get(&at) else { continue };
            let up = self.ways.get(up).and_then(|up| up.fd.clone());
            let stat = up.as_ref().and_then(|up| look::stat(up.as_fd(), name).ok().flatten());
            if way.id.is_some() && way.id == stat.as_ref().map(id) {
                continue;
            }
            let is_way = |stat: &Statx| {
                look::is_directory(stat) && way.was_mount().is_none_or(|was| was == look::is_mount(stat))
            };
            let can_be_held = stat.as_ref().is_some_and(is_way);
            let was = way.was.clone().filter(|_| way.id.is_none());
            if let Some(way) = self.ways.get_mut(&at).filter(|_| can_be_held) {
                way.was = was;
            }
            if !can_be_held || up.is_none_or(|up| self.adopt(&at, up.as_fd(), name).is_err()) {
                self.lose(&at);
            }
        }
    }

    fn check_way(&mut self, path: &Path) -> State {
        let Some((parent, name)) = path.parent().zip(path.file_name()) else { return self.check_root() };
        let Some(parent) = self.ways.get(parent).and_then(|way| way.fd.clone()) else {
            self.lose(path);
            return State::Fine;
        };
        if self.nodes.get(path).is_some_and(|node| node.record.is == Is::Absent) {
            // A directory that nobody accepted is taken away, and not held: it would be brought back as one that was moved.
            self.lose(path);
            return State::Fine;
        }
        let stat = match look::stat(parent.as_fd(), name) {
            Ok(stat) => stat,
            Err(e) => return State::Stands(What::Replaced, e.into()),
        };
        let Some(way) = self.ways.get(path) else { return State::Fine };
        if let (Some(stat), Some(held)) = (&stat, way.id)
            && id(stat) == held
        {
            return State::Fine;
        }
        let was_mount = way.was.as_ref().map(|was| was.mount);
        let is_mount = stat.as_ref().is_some_and(look::is_mount);
        match (was_mount, is_mount) {
            (Some(false), true) => return self.uncover(path, parent.as_fd(), name),
            // Files that are put back below would land under what is mounted there later.
            (Some(true), false) => {
                self.lose(path);
                return State::Stands(
                    What::Mounted,
                    Stands("the file system that belongs there is not mounted".into()),
                );
            }
            _ => {}
        }
        self.find_again(path, parent.as_fd(), name, stat.as_ref())
    }

    fn check_root(&mut self) -> State {
        if self.ways.get(Path::new("/")).is_some_and(|way| way.fd.is_some()) {
            return State::Fine;
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::openat(rustix::fs::CWD, "/", flags, Mode::empty()) {
            Ok(root) => self.hold(Path::new("/"), root).map_or_else(|e| State::Stands(What::Moved, e), |()| State::New),
            Err(e) => State::Stands(What::Moved, e.into()),
        }
    }

    fn uncover(&mut self, path: &Path, parent: BorrowedFd<'_>, name: &OsStr) -> State {
        match undo::unmount(parent, name).and_then(|()| self.adopt(path, parent, name)) {
            Ok(()) => State::Undone(What::Mounted, None),
            Err(why) => State::Stands(What::Mounted, why),
        }
    }

    /// Another thing stands there than before, or nothing does.
    fn find_again(&mut self, path: &Path, parent: BorrowedFd<'_>, name: &OsStr, stat: Option<&Statx>) -> State {
        let held = self.ways.get(path).and_then(|way| way.fd.clone());
        let elsewhere = held.as_deref().and_then(whereabouts);
        let is_needed = self.is_needed(path);
        let is_directory = stat.is_some_and(look::is_directory);
        if elsewhere.is_none() && is_directory {
            // Ours is deleted, or was never seen: this one takes its place, and what is to be in it is put back.
            return match self.adopt(path, parent, name) {
                Ok(()) => State::New,
                Err(why) => State::Stands(What::Replaced, why),
            };
        }
        let is_link = stat.is_some_and(|s| u32::from(s.stx_mode) & 0o170_000 == 0o120_000);
        if elsewhere.is_none() && !is_needed && !is_link {
            self.lose(path);
            return State::Fine;
        }
        let mut copy = None;
        if stat.is_some() {
            let scene = self.scene(path);
            match self.kept.take(parent, name, name, &scene) {
                Ok(kept) => copy = kept,
                Err(e) => return State::Stands(What::Replaced, e.into()),
            }
        }
        if let (Some(held), Some(from)) = (&held, elsewhere)
            && bring_back(held, &from, parent, name).is_ok()
            && self.adopt(path, parent, name).is_ok()
        {
            return State::Undone(What::Moved, copy);
        }
        let what = if stat.is_some() { What::Replaced } else { What::Deleted };
        if !is_needed {
            self.lose(path);
            return State::Undone(what, copy);
        }
        match self.make_way(path, parent, name) {
            Ok(()) => State::Undone(what, copy),
            Err(why) => State::Stands(what, why),
        }
    }

    /// Gives a directory on the way its mode back, where its owner's own rights were taken.
    pub(crate) fn regain_way(&mut self, path: &Path, heard: Heard, report: &mut dyn Report) -> bool {
        const OWNER: u32 = 0o700;
        let Some(Way { fd: Some(fd), was: Some(was), .. }) = self.ways.get(path) else { return false };
        let Ok(stat) = look::stat_of(fd) else { return false };
        if was.mode & OWNER & !u32::from(stat.stx_mode) == 0 {
            return false;
        }
        // By the descriptor, which was opened when all was well.
        let open = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let is_regained = rustix::fs::chmod(open, Mode::from_raw_mode(was.mode)).is_ok();
        if is_regained {
            self.say_undone(path, What::Mode, None, heard, report);
        }
        is_regained
    }

    fn make_way(&mut self, path: &Path, parent: BorrowedFd<'_>, name: &OsStr) -> Result<(), Stands> {
        let attributes = self.ways.get(path).and_then(|way| way.was.clone());
        let wanted = Record { is: Is::Way, attributes };
        let found = Found { record: Record::absent(), look: None };
        let (scene, content) = (self.scene(path), None);
        let (wanted, found) = (&wanted, &found);
        let job = Job { dir: parent, name, wanted, found, known: None, content, in_place: false, scene: &scene };
        Hands { store: &self.store, kept: &mut self.kept }.undo(&job)?;
        self.adopt(path, parent, name)
    }

    /// Whether anything below is to be there.
    fn is_needed(&self, path: &Path) -> bool {
        self.below(path).any(|(_, node)| node.record.is != Is::Absent)
    }

    fn adopt(&mut self, path: &Path, parent: BorrowedFd<'_>, name: &OsStr) -> Result<(), Stands> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(parent, name, flags, Mode::empty())?;
        self.hold(path, fd)
    }

    fn hold(&mut self, path: &Path, fd: OwnedFd) -> Result<(), Stands> {
        let stat = look::stat_of(&fd)?;
        let Some(way) = self.ways.get_mut(path) else { return Ok(()) };
        way.wd = self.watches.add(path, &fd, On::Directory, way.wd);
        // Deeds in mere ancestors (/tmp, /home) are no evidence, and there are many.
        let holds_places = self.spots.keys().any(|spot| spot.parent() == Some(path) || spot == path);
        if let Some(fan) = self.fan.as_mut().filter(|_| holds_places) {
            fan.add(path, fd.as_fd());
        }
        way.id = Some(id(&stat));
        way.was.get_or_insert_with(|| {
            look::Look { stat, file: None, target: None, at: std::time::SystemTime::now() }.attributes()
        });
        way.fd = Some(Arc::new(fd));
        Ok(())
    }

    fn lose(&mut self, path: &Path) {
        if let Some(way) = self.ways.get_mut(path) {
            (way.fd, way.id) = (None, None);
            let wd = way.wd.take();
            self.watches.forget(path, wd);
        }
    }

    /// Moves away what a killed watch left beside places.
    pub(crate) fn sweep_temporaries(&mut self) {
        let directories: std::collections::BTreeSet<PathBuf> =
            self.spots.keys().filter_map(|spot| spot.parent()).map(Path::to_owned).collect();
        for path in directories {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
            let opened = rustix::fs::openat2(rustix::fs::CWD, &path, flags, Mode::empty(), resolve);
            let Ok(dir) = opened else { continue };
            let Ok(listing) = rustix::fs::Dir::read_from(&dir) else { continue };
            let names = listing.flatten().map(|entry| OsStr::from_bytes(entry.file_name().to_bytes()).to_owned());
            let left: Vec<OsString> = names.filter(|n| n.as_bytes().starts_with(TEMPORARY.as_bytes())).collect();
            for name in left {
                // One that cannot be moved harms nobody: it is not what anybody reads.
                let scene = Scene { place: path.clone(), is_tree: false, aside: None };
                self.kept.take(dir.as_fd(), &name, &name, &scene).ok();
            }
        }
    }
}

/// Where an open directory is now; `None` when it is deleted.
fn whereabouts(fd: &OwnedFd) -> Option<PathBuf> {
    let stat = look::stat_of(fd).ok()?;
    let path = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok()?;
    // The kernel says "x (deleted)", and anybody may call a directory so. Not every file system counts names down to none.
    let is_said_deleted = path.as_os_str().as_bytes().ends_with(b" (deleted)");
    let is_there =
        || look::stat(rustix::fs::CWD, path.as_os_str()).is_ok_and(|at| at.is_some_and(|at| id(&at) == id(&stat)));
    (stat.stx_nlink > 0 && (!is_said_deleted || is_there())).then_some(path)
}

/// Renames a directory back. What is renamed is compared with what is held: the attacker may put another in its place.
fn bring_back(held: &OwnedFd, from: &Path, parent: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
    let (Some(above), Some(called)) = (from.parent(), from.file_name()) else { return Err(Errno::NOENT) };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let dir = rustix::fs::openat2(rustix::fs::CWD, above, flags, Mode::empty(), resolve)?;
    let ours = id(&look::stat_of(held)?);
    let is_ours = |stat: Option<Statx>| stat.is_some_and(|stat| id(&stat) == ours);
    if !is_ours(look::stat(dir.as_fd(), called)?) {
        return Err(Errno::NOENT);
    }
    rustix::fs::renameat_with(&dir, called, parent, name, RenameFlags::NOREPLACE)?;
    if is_ours(look::stat(parent, name)?) { Ok(()) } else { Err(Errno::AGAIN) }
}
