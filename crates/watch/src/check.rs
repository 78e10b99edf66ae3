//! What one look means: the same, accepted, or to be undone; and the undoing, until the place is as it should be.

use std::collections::BTreeSet;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::io::Errno;

use crate::kept::{Aside, Scene};
use crate::look::{self, Found};
use crate::record::{Is, Record, What};
use crate::report::Report;
use crate::sys::{self, Writer};
use crate::undo::{Hands, Job, Stands};
use crate::verdict::{Back, Verdict};
use crate::watch::{Heard, Lock, Watch};

/// How often one look undoes and looks again before it leaves the rest to the next event.
const TRIES: usize = 6;

/// What the first look found, for the report.
pub(crate) struct First {
    pub(crate) whats: Vec<What>,
    pub(crate) keys: Vec<String>,
    pub(crate) found: Record,
    pub(crate) copy: Option<PathBuf>,
    is_remade: bool,
}

impl Watch {
    /// Looks at what events spoke of.
    pub(crate) fn look_at(&mut self, paths: &BTreeSet<PathBuf>, heard: Heard, report: &mut dyn Report) {
        if paths.iter().any(|path| self.ways.contains_key(path)) {
            self.check_ways(heard, report);
            // A directory that gave its rights back may have kept us from undoing something below.
            let is_near = |at: &&PathBuf| paths.iter().any(|path| at.starts_with(path));
            let standing: Vec<PathBuf> = self.standing.keys().filter(is_near).cloned().collect();
            for at in standing {
                self.look_again(&at, heard, report);
            }
        }
        for path in paths {
            if self.nodes.contains_key(path) {
                self.look_wholly(path, heard, report);
            } else if path.parent().is_some_and(|parent| self.is_listed(parent)) {
                self.check(path, heard, report);
            }
        }
    }

    /// Looks at a path; at the names in it as well, where it is a directory.
    pub(crate) fn look_wholly(&mut self, path: &Path, heard: Heard, report: &mut dyn Report) {
        self.check(path, heard, report);
        if self.is_listed(path) {
            self.check_listing(path, heard, report);
        }
    }

    /// Looks again at what rested or stood.
    pub(crate) fn look_again(&mut self, path: &Path, heard: Heard, report: &mut dyn Report) {
        if self.ways.contains_key(path) {
            self.check_ways(heard, report);
        }
        self.look_wholly(path, heard, report);
    }

    /// Looks at everything below a path, and at it.
    pub(crate) fn look_below(&mut self, path: &Path, heard: Heard, report: &mut dyn Report) {
        let paths: Vec<PathBuf> = self.below(path).map(|(at, _)| at.clone()).collect();
        for at in paths {
            self.look_wholly(&at, heard, report);
        }
    }

    /// Whether a path is a directory whose names are all in the baseline.
    fn is_listed(&self, path: &Path) -> bool {
        // Where a file is protected and a directory stands, nobody has said what is in it.
        self.nodes.get(path).is_some_and(|node| node.record.is == Is::Directory)
            && self.spot_of(path).is_some_and(|(_, spot)| spot.is_tree)
    }

    fn check_listing(&mut self, path: &Path, heard: Heard, report: &mut dyn Report) {
        // Those beyond that follow in the next sweep: taking these away has changed the directory.
        const INTRUDERS_MAX: usize = 4096;
        let is_new = |at: &Path| !self.nodes.contains_key(at);
        let Some(intruders) = self.names(path, INTRUDERS_MAX, is_new) else { return };
        for at in intruders {
            self.check(&at, heard, report);
        }
    }

    /// The paths in a protected directory that are asked for; nothing when it is no directory that can be listed at the
    /// moment, which the look at itself deals with.
    pub(crate) fn names(&self, path: &Path, most: usize, is_asked: impl Fn(&Path) -> bool) -> Option<Vec<PathBuf>> {
        use std::os::unix::ffi::OsStrExt as _;
        let dir = self.dir_of(path).ok()?;
        let inner = crate::state::open_dir(dir.as_fd(), path.file_name()?).ok()?;
        let listing = rustix::fs::Dir::read_from(&inner).ok()?;
        let names = listing.flatten().filter(|e| !matches!(e.file_name().to_bytes(), b"." | b".."));
        let paths = names.map(|e| path.join(std::ffi::OsStr::from_bytes(e.file_name().to_bytes())));
        Some(paths.filter(|at| is_asked(at)).take(most).collect())
    }

    /// What is to stand at a path: its record, as far as it is not locked.
    pub(crate) fn wanted(&self, path: &Path) -> Record {
        let Some(node) = self.nodes.get(path) else { return Record::absent() };
        let mut record = node.record.clone();
        if let (Some(lock), Some(attributes)) = (node.lock, record.attributes.as_mut()) {
            match (lock, &record.is) {
                (Lock::Immutable, _) => attributes.flags.immutable = true,
                (Lock::Mode, Is::Directory) => attributes.mode &= 0o500,
                (Lock::Mode, _) => attributes.mode &= 0o400,
            }
        }
        record
    }

    /// Looks at one name, and undoes what differs.
    pub(crate) fn check(&mut self, path: &Path, heard: Heard, report: &mut dyn Report) {
        // What is neither in the baseline nor in a directory of it is nobody's intruder, whoever asks.
        let is_ours = self.nodes.contains_key(path) || path.parent().is_some_and(|parent| self.is_listed(parent));
        if !is_ours || self.pace.rests(&self.counted(path), Instant::now()) {
            return;
        }
        let mut first: Option<First> = None;
        let mut has_regained = false;
        for attempt in 0..TRIES {
            let wanted = self.wanted(path);
            let Some(dir) = self.dir_for(path, &wanted, heard, report) else { return };
            let Some(name) = path.file_name() else { return };
            let found = match look::find(dir.as_fd(), name, self.most(&wanted)) {
                Ok(found) => found,
                Err(Errno::ACCESS) if !has_regained && self.regain(path, heard, report) => {
                    has_regained = true;
                    continue;
                }
                Err(e) => return self.say_stands(path, &[What::Replaced], &Record::absent(), e.into(), heard, report),
            };
            // Whoever writes has had time before the first undoing, and what was undone is told in any case.
            if first.is_none() && self.is_being_written(path, &wanted, &found) {
                return;
            }
            match self.judge(path, &wanted, &found) {
                Verdict::Same { update } => {
                    self.settle(path, &found, update);
                    self.refill(path, &found);
                    return self.finish(path, first, heard, report);
                }
                Verdict::Accepted { keys, record } => {
                    let now = found.record.clone();
                    self.settle(path, &found, Some(record));
                    self.finish(path, first, heard, report);
                    return self.say_accepted(path, &wanted, &now, keys, heard, report);
                }
                Verdict::Differs { whats, keys } => {
                    let seen = First { whats, keys, found: found.record.clone(), copy: None, is_remade: false };
                    let job = Differing { dir: dir.as_fd(), wanted: &wanted, found: &found, whats: &seen.whats };
                    let undone = self.undo(path, &job, attempt);
                    let now = first.get_or_insert(seen);
                    match undone {
                        Ok(copy) => now.copy = now.copy.take().or(copy),
                        Err(_) if !has_regained && self.regain(path, heard, report) => has_regained = true,
                        Err(why) => {
                            self.settle(path, &found, None);
                            let (whats, record) = (now.whats.clone(), now.found.clone());
                            return self.say_stands(path, &whats, &record, why, heard, report);
                        }
                    }
                    now.is_remade |= wanted.is == Is::Directory && found.record.is != Is::Directory;
                }
            }
        }
        if let Some(First { whats, found, .. }) = first {
            let why = Stands("it was changed again each time it was put back".into());
            self.say_stands(path, &whats, &found, why, heard, report);
            // Whoever is that fast is counted as well; and the next sweep looks again.
            self.count(path, heard, report);
        }
    }

    /// Gives the directory of a path the mode back that lets us work in it. Answers whether that was it.
    ///
    /// Without this, whoever is the same user would write to a file and take the right to write from its directory.
    fn regain(&mut self, path: &Path, heard: Heard, report: &mut dyn Report) -> bool {
        let Some(parent) = path.parent().map(Path::to_owned) else { return false };
        if self.ways.contains_key(&parent) && !self.is_listed(&parent) {
            return self.regain_way(&parent, heard, report);
        }
        let before = self.undone;
        if self.is_listed(&parent) {
            self.check(&parent, heard, report);
        }
        self.undone > before
    }

    /// The largest file that may be what is wanted.
    pub(crate) fn most(&self, wanted: &Record) -> u64 {
        // A database that is judged grows.
        const JUDGED_MAX: u64 = 1 << 30;
        match &wanted.is {
            Is::File { size, .. } => self.store.max().max(*size),
            Is::Judged { size, .. } => JUDGED_MAX.max(*size),
            // One that was too large to be read at first is no smaller now.
            _ => self.store.max(),
        }
    }

    /// Whether a judged file differs while somebody has it open for writing, who still has time. The end of the writing is
    /// an event, and so is looked at at once.
    fn is_being_written(&mut self, path: &Path, wanted: &Record, found: &Found) -> bool {
        const PENDING_MAX: usize = 1024;
        let file = found.look.as_ref().and_then(|look| look.file.as_ref()).filter(|_| found.record.is_regular());
        let is_open = file.is_some_and(|file| {
            wanted.sha256() != found.record.sha256()
                && matches!(wanted.is, Is::Judged { .. } | Is::Absent)
                && self.judged(path).is_some()
                && sys::writer_of(file) != Writer::Absent
        });
        let now = Instant::now();
        let has_time = is_open && self.pending.get(path).is_none_or(|until| *until > now);
        if has_time && self.pending.len() < PENDING_MAX {
            self.pending.entry(path.to_owned()).or_insert(now + self.options.patience);
            return true;
        }
        self.pending.remove(path);
        false
    }

    fn undo(&mut self, path: &Path, differing: &Differing<'_>, attempt: usize) -> Result<Option<PathBuf>, Stands> {
        let Differing { dir, wanted, found, whats } = *differing;
        let name = path.file_name().ok_or_else(|| Stands("it has no name".into()))?;
        let mut content = None;
        let mut in_place = false;
        match self.put_back(path, wanted, found, whats, attempt) {
            Back::Whole => {}
            Back::Content(bytes) => content = Some(bytes),
            Back::Attributes(bytes) => (content, in_place) = (bytes, true),
            Back::Done => return Ok(None),
            Back::Never => return Err(Stands("an earlier copy of a database would break it".into())),
        }
        let known = self.nodes.get(path).and_then(|node| {
            node.watched.map(|(dev, ino, _)| look::Stamp { dev, ino, mount: 0, size: 0, ctime: (0, 0) })
        });
        let scene = self.scene(path);
        let job = Job { dir, name, wanted, found, known, content, in_place, scene: &scene };
        let lock = path.parent().and_then(|parent| self.set_lock(parent, None));
        let undone = Hands { store: &self.store, kept: &mut self.kept }.undo(&job);
        if let Some(parent) = path.parent().filter(|_| lock.is_some()) {
            self.set_lock(parent, lock);
        }
        undone
    }

    /// From where something at a path is taken away.
    pub(crate) fn scene(&self, path: &Path) -> Scene {
        let tree = path.ancestors().filter(|at| self.spots.get(*at).is_some_and(|spot| spot.is_tree)).last();
        // Beside the outermost tree no name is compared.
        let top = tree.unwrap_or(path);
        let beside = self.dir_of(top).ok().zip(top.parent());
        Scene {
            place: self.spot_of(path).map_or(path, |(place, _)| place).to_owned(),
            is_tree: tree.is_some(),
            aside: beside.map(|(dir, path)| Aside { dir, path: path.to_owned() }),
        }
    }

    /// Locks a directory of ours or takes its lock, so that something in it can be put back. Answers how it was locked.
    fn set_lock(&mut self, path: &Path, lock: Option<Lock>) -> Option<Lock> {
        let node = self.nodes.get_mut(path)?;
        let old = std::mem::replace(&mut node.lock, lock);
        if old != lock {
            // What fails here shows in what was to be done, or in the next look at the directory.
            self.apply(path).ok();
        }
        old
    }

    /// The directory of a path. One that is missing is put back first, when something is to be in it.
    fn dir_for(
        &mut self,
        path: &Path,
        wanted: &Record,
        heard: Heard,
        report: &mut dyn Report,
    ) -> Option<std::sync::Arc<std::os::fd::OwnedFd>> {
        match self.dir_of(path) {
            Ok(dir) => return Some(dir),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) if wanted.is == Is::Absent => return None,
            Err(_) => {}
        }
        let parent = path.parent()?;
        if !self.ways.contains_key(parent) && self.is_listed(parent) {
            self.check(parent, heard, report);
        }
        match self.dir_of(path) {
            Ok(dir) => Some(dir),
            Err(e) => {
                self.say_stands(path, &[What::Deleted], &Record::absent(), e.into(), heard, report);
                None
            }
        }
    }

    /// What was undone is told and counted; what a directory held that had to be made anew follows.
    fn finish(&mut self, path: &Path, first: Option<First>, heard: Heard, report: &mut dyn Report) {
        self.standing.remove(path);
        let Some(first) = first else { return };
        let is_remade = first.is_remade;
        self.say_change(path, first, heard, report);
        if is_remade {
            self.look_below(path, heard, report);
        }
        self.count(path, heard, report);
    }
}

/// One name that differs, as the last look found it.
struct Differing<'a> {
    dir: std::os::fd::BorrowedFd<'a>,
    wanted: &'a Record,
    found: &'a Found,
    whats: &'a [What],
}
