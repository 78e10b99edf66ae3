//! The watch as a whole: what it holds, how it begins, and its loop. What one look means is in `check`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use crate::baseline::{self, BaselineError, Key};
use crate::content::Content;
use crate::error::Error;
use crate::fan::Fan;
use crate::kept::Kept;
use crate::look::Stamp;
use crate::options::Options;
use crate::pace::Pace;
use crate::place::Place;
use crate::record::{Is, Record};
use crate::report::{Notice, Report};
use crate::spots::{Spot, apart, covering, spots};
use crate::state::{StateDir, StateError};
use crate::store::Store;
use crate::sweep::Tells;
use crate::text::Sha256;
use crate::told::Told;
use crate::watches::Watches;
use crate::ways::Way;

/// How a place is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lock {
    Immutable,
    Mode,
}

/// One path of the baseline, and what is known of it now.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) record: Record,
    /// Where nothing has differed since: only with it a look without reading counts.
    pub(crate) stamp: Option<Stamp>,
    /// The inode whose watch that is.
    pub(crate) watched: Option<((u32, u32), u64, i32)>,
    pub(crate) lock: Option<Lock>,
    /// What its file system tells without being read.
    pub(crate) tells: Tells,
}

impl Node {
    pub(crate) fn new(record: Record) -> Node {
        Node { record, stamp: None, watched: None, lock: None, tells: Tells::Times }
    }
}

/// How and when something was noticed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heard {
    pub(crate) how: &'static str,
    pub(crate) when: Instant,
}

impl Heard {
    pub(crate) fn now(how: &'static str) -> Heard {
        Heard { how, when: Instant::now() }
    }
}

/// A watch over protected places.
pub struct Watch {
    pub(crate) options: Options,
    pub(crate) content: Box<dyn Content>,
    pub(crate) state: StateDir,
    pub(crate) key: Key,
    pub(crate) store: Store,
    pub(crate) kept: Kept,
    pub(crate) spots: BTreeMap<PathBuf, Spot>,
    pub(crate) nodes: BTreeMap<PathBuf, Node>,
    pub(crate) ways: BTreeMap<PathBuf, Way>,
    pub(crate) has_baseline: bool,
    pub(crate) watches: Watches,
    pub(crate) fan: Option<Fan>,
    mounts: File,
    clock: OwnedFd,
    pub(crate) pace: Pace,
    pub(crate) told: Told,
    pub(crate) standing: HashMap<PathBuf, Record>,
    pub(crate) hot: BTreeSet<PathBuf>,
    /// Judged files that are being written, and until when their writers have time.
    pub(crate) pending: HashMap<PathBuf, Instant>,
    pub(crate) tells: HashMap<(u32, u32), Tells>,
    pub(crate) can_lock: bool,
    pub(crate) unsigned_since: Option<Instant>,
    pub(crate) undone: u64,
    pub(crate) overflows: u64,
    pub(crate) rescans: u64,
    sweep_at: Instant,
    rescan_at: Instant,
    hot_at: Instant,
    /// How far a rescan has come.
    pub(crate) cursor: Option<PathBuf>,
    /// Which of the files that are being written was read last.
    hot_cursor: PathBuf,
    pub(crate) retried: Instant,
    pub(crate) told_unwatched: usize,
    /// Files beside judged ones, and the state in which they were last seen: what is written there is theirs.
    pub(crate) beside: Vec<Beside>,
}

/// A file in which another one's changes stand.
#[derive(Debug)]
pub(crate) struct Beside {
    pub(crate) of: PathBuf,
    pub(crate) path: PathBuf,
    pub(crate) seen: Option<Stamp>,
}

fn kernel(step: &'static str) -> impl FnOnce(Errno) -> Error {
    move |source| Error::Kernel { step, source: source.into() }
}

impl Watch {
    /// Opens the state directory, reads the baseline and follows the places. Nothing is watched before [`Watch::begin`].
    ///
    /// # Errors
    /// When the state directory is not ours alone, the baseline's signature does not fit, or a place is none.
    pub fn open(options: Options, places: Vec<Place>, content: Box<dyn Content>) -> Result<Watch, Error> {
        let state = StateDir::open(&options.state)?;
        let key = Key::open(&state)?;
        let records = baseline::read(&state, &key)?;
        let has_baseline = records.is_some();
        let records = records.unwrap_or_default();
        let spots = spots(&places, &records)?;
        apart(&spots, state.path())?;
        let mut ways = BTreeMap::new();
        for (path, spot) in &spots {
            let above = path.ancestors().skip(usize::from(!spot.is_tree));
            ways.extend(above.map(|way| (way.to_owned(), Way::new(records.get(way)))));
        }
        let is_covered =
            |path: &Path, record: &Record| !matches!(record.is, Is::Way) && covering(&spots, path).is_some();
        let nodes = records.into_iter().filter(|(path, record)| is_covered(path, record));
        let nodes = nodes.map(|(path, record)| (path, Node::new(record))).collect();
        let store = Store::open(&state, options.copy_max)?;
        let kept = Kept::open(&state, options.kept_items, options.kept_bytes, options.copy_max)?;
        let mounts = File::open("/proc/self/mountinfo")
            .map_err(|source| Error::Kernel { step: "read the list of mounts", source })?;
        let now = Instant::now();
        let mut watch = Watch {
            told: Told::new(options.told_per_second),
            content,
            state,
            key,
            store,
            kept,
            spots,
            nodes,
            ways,
            has_baseline,
            watches: Watches::new().map_err(kernel("open inotify"))?,
            fan: Fan::new(),
            mounts,
            clock: clock().map_err(kernel("watch the clock"))?,
            pace: Pace::default(),
            standing: HashMap::new(),
            hot: BTreeSet::new(),
            pending: HashMap::new(),
            tells: HashMap::new(),
            can_lock: may_set_immutable(),
            unsigned_since: None,
            undone: 0,
            overflows: 0,
            rescans: 0,
            sweep_at: now + options.sweep,
            rescan_at: now + options.rescan,
            hot_at: now,
            cursor: None,
            hot_cursor: PathBuf::new(),
            retried: now,
            told_unwatched: 0,
            beside: Vec::new(),
            options,
        };
        watch.beside = watch.found_beside();
        Ok(watch)
    }

    /// The files beside judged ones, as the judge names them.
    fn found_beside(&self) -> Vec<Beside> {
        let judged = self.spots.keys().filter_map(|real| Some((real, self.judged(real)?)));
        let named = judged.flat_map(|(real, given)| {
            let names = self.content.beside(&given).into_iter();
            names.filter_map(|path| {
                Some(Beside { of: real.clone(), path: real.with_file_name(path.file_name()?), seen: None })
            })
        });
        named.collect()
    }

    /// Begins: watches first, then makes the baseline where there is none, or looks at everything against it and undoes
    /// what was done while nobody watched.
    ///
    /// # Errors
    /// When the baseline cannot be made or written.
    pub fn begin(&mut self, report: &mut dyn Report) -> Result<(), Error> {
        self.sweep_temporaries();
        self.check_ways(Heard::now("start"), report);
        let new: Vec<PathBuf> = self.spots.keys().filter(|path| !self.nodes.contains_key(*path)).cloned().collect();
        for path in &new {
            self.take(path)?;
        }
        if !new.is_empty() {
            self.sign()?;
            report.notice(if self.has_baseline {
                Notice::Added { paths: new }
            } else {
                Notice::Made { paths: self.nodes.len() }
            });
            self.has_baseline = true;
        }
        self.drop_copies()?;
        self.look_at_everything("start", report);
        self.say_uncopied(report);
        self.say_unwatched(report);
        self.rescan_at = Instant::now() + self.options.rescan;
        Ok(())
    }

    /// Looks at everything now, reading it all.
    pub fn rescan(&mut self, report: &mut dyn Report) {
        self.look_at_everything("rescan", report);
        self.told.finish(report);
    }

    /// Watches until something can be read from `stop`, or its other end is closed. Events that come between two runs
    /// wait in the kernel, so that a caller may stop, accept a change and run again.
    ///
    /// # Errors
    /// When the kernel refuses to wait.
    pub fn run(&mut self, report: &mut dyn Report, stop: OwnedFd) -> Result<(), Error> {
        while self.wait(report, stop.as_fd())? == Turn::Again {}
        if self.unsigned_since.is_some() {
            self.sign()?;
        }
        self.kept.make_all_ours();
        self.told.finish(report);
        Ok(())
    }

    fn wait(&mut self, report: &mut dyn Report, stop: BorrowedFd<'_>) -> Result<Turn, Error> {
        let timeout = self.timeout();
        let timeout =
            Timespec { tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(60), tv_nsec: timeout.subsec_nanos().into() };
        let (stopped, mounted, clock_set) = {
            let fan = self.fan.as_ref().map_or(self.watches.fd(), Fan::fd);
            let mut fds = [
                PollFd::from_borrowed_fd(stop, PollFlags::IN),
                PollFd::from_borrowed_fd(self.watches.fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(fan, PollFlags::IN),
                PollFd::from_borrowed_fd(self.mounts.as_fd(), PollFlags::PRI),
                PollFd::from_borrowed_fd(self.clock.as_fd(), PollFlags::IN),
            ];
            match rustix::event::poll(&mut fds, Some(&timeout)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(e) => return Err(kernel("wait for events")(e)),
            }
            let [stopped, _, _, mounted, clock] = fds.map(|fd| !fd.revents().is_empty());
            (stopped, mounted, clock)
        };
        if clock_set {
            self.clock_was_set(report);
        }
        self.hear(report)?;
        if mounted {
            self.sweep(Heard::now("rescan"), report);
        }
        self.keep_time(report);
        Ok(if stopped { Turn::Over } else { Turn::Again })
    }

    fn timeout(&self) -> Duration {
        if self.cursor.is_some() {
            return Duration::ZERO;
        }
        let hot = (!self.hot.is_empty()).then_some(self.hot_at);
        let signing = self.unsigned_since.map(|since| since + Duration::from_secs(1));
        let pending = self.pending.values().min().copied();
        let dues = [
            pending,
            Some(self.sweep_at),
            Some(self.rescan_at),
            hot,
            signing,
            self.pace.due(),
            self.told.due(),
            self.kept.due(),
        ];
        let due = dues.into_iter().flatten().min().unwrap_or(self.sweep_at);
        due.saturating_duration_since(Instant::now())
    }

    /// Reads events, and looks at what they speak of.
    fn hear(&mut self, report: &mut dyn Report) -> Result<(), Error> {
        // Culprits first: they are gone the sooner.
        let by = self.fan.as_mut().map(Fan::read).unwrap_or_default();
        let heard = self.watches.read().map_err(kernel("read events"))?;
        if heard.is_overflown {
            self.overflows += 1;
            report.notice(Notice::Overflow);
        }
        let now = Instant::now();
        let only_by: BTreeSet<PathBuf> = by.difference(&heard.paths).cloned().collect();
        self.look_at(&heard.paths, Heard { how: "inotify", when: now }, report);
        self.look_at(&only_by, Heard { how: "fanotify", when: now }, report);
        if heard.is_overflown {
            // At once what inodes and times tell; then everything, between the events that go on coming.
            self.sweep(Heard { how: "rescan", when: now }, report);
            self.cursor.get_or_insert_default();
        }
        Ok(())
    }

    /// Does what is due.
    fn keep_time(&mut self, report: &mut dyn Report) {
        let now = Instant::now();
        for path in self.pace.rested(now) {
            self.look_again(&path, Heard { how: "rescan", when: now }, report);
        }
        let pending: Vec<PathBuf> =
            self.pending.iter().filter(|(_, until)| **until <= now).map(|(p, _)| p.clone()).collect();
        for path in pending {
            self.check(&path, Heard { how: "inotify", when: now }, report);
            // One that could not be looked at is left to the next sweep, or we would ask again without a pause.
            self.pending.remove(&path);
        }
        if !self.hot.is_empty() && now >= self.hot_at {
            self.look_at_hot(report);
        }
        if now >= self.sweep_at {
            self.sweep(Heard { how: "rescan", when: now }, report);
            let took = now.elapsed();
            // Half a percent of a processor, whatever the number of files.
            self.sweep_at = Instant::now() + (took * 200).clamp(self.options.sweep, Duration::from_secs(60));
            self.say_unwatched(report);
        }
        if now >= self.rescan_at {
            self.cursor = Some(PathBuf::new());
            self.rescan_at = now + self.options.rescan;
        }
        self.rescan_slice(report);
        self.kept.make_ours();
        self.kept.empty_trash(now + Duration::from_millis(5));
        if self.unsigned_since.is_some_and(|since| since.elapsed() >= Duration::from_secs(1))
            && let Err(error) = self.sign()
        {
            // Tried again in a second; what is protected in memory stays so.
            self.unsigned_since = Some(Instant::now());
            report.notice(Notice::Unsigned { why: error.to_string() });
        }
        self.told.flush(report);
    }

    /// Reads again what somebody has open for writing, a part at a time.
    fn look_at_hot(&mut self, report: &mut dyn Report) {
        const SLICE: Duration = Duration::from_millis(20);
        let began = Instant::now();
        let cursor = std::mem::take(&mut self.hot_cursor);
        let (before, after): (Vec<PathBuf>, Vec<PathBuf>) = self.hot.iter().cloned().partition(|path| *path <= cursor);
        for path in after.into_iter().chain(before) {
            self.hot.remove(&path);
            self.check(&path, Heard::now("rescan"), report);
            self.hot_cursor = path;
            if began.elapsed() >= SLICE {
                break;
            }
        }
        // Half a percent of a processor, as for the sweeps.
        self.hot_at =
            Instant::now() + (began.elapsed() * 200).clamp(Duration::from_millis(100), Duration::from_secs(60));
    }

    /// Reads a part of what a rescan has left, so that events do not wait for the whole.
    fn rescan_slice(&mut self, report: &mut dyn Report) {
        const SLICE: Duration = Duration::from_millis(20);
        let began = Instant::now();
        while let Some(cursor) = self.cursor.take() {
            let next =
                self.nodes.range::<Path, _>((std::ops::Bound::Excluded(cursor.as_path()), std::ops::Bound::Unbounded));
            let Some(path) = { next }.next().map(|(path, _)| path.clone()) else {
                self.rescans += 1;
                return self.sign_again(report);
            };
            self.look_wholly(&path, Heard::now("rescan"), report);
            self.cursor = Some(path);
            if began.elapsed() >= SLICE {
                return;
            }
        }
    }

    /// Writes the baseline again when somebody has changed it under us: what is in memory is what was signed.
    fn sign_again(&mut self, report: &mut dyn Report) {
        if !baseline::is_signed(&self.state, &self.key) {
            report.notice(Notice::Unsigned { why: "somebody removed or changed it; it is written again".into() });
            self.unsigned_since.get_or_insert_with(Instant::now);
        }
    }

    fn look_at_everything(&mut self, how: &'static str, report: &mut dyn Report) {
        self.check_ways(Heard::now(how), report);
        let paths: Vec<PathBuf> = self.nodes.keys().cloned().collect();
        for path in paths {
            self.look_wholly(&path, Heard::now(how), report);
        }
        self.rescans += 1;
    }

    /// A clock that was set back could give two states of a file the same times.
    fn clock_was_set(&mut self, report: &mut dyn Report) {
        if let Ok(clock) = clock() {
            self.clock = clock;
        }
        for node in self.nodes.values_mut() {
            node.stamp = None;
        }
        self.cursor = Some(PathBuf::new());
        report.notice(Notice::ClockSet);
    }

    /// Signs the baseline as it is in memory.
    pub(crate) fn sign(&mut self) -> Result<(), BaselineError> {
        self.sign_as(&self.nodes)?;
        self.unsigned_since = None;
        Ok(())
    }

    /// Looks at everything that has no stamp at the next turn.
    pub(crate) fn sweep_soon(&mut self) {
        self.sweep_at = Instant::now();
    }

    /// Signs and writes these records, and the ways.
    pub(crate) fn sign_as(&self, nodes: &BTreeMap<PathBuf, Node>) -> Result<(), BaselineError> {
        let on_the_way = self.ways.iter().filter(|(path, _)| !nodes.contains_key(*path));
        let ways: Vec<(&Path, Record)> =
            on_the_way.filter_map(|(path, way)| way.record().map(|record| (path.as_path(), record))).collect();
        let nodes = nodes.iter().map(|(path, node)| (path.as_path(), &node.record));
        let all: Vec<(&Path, &Record)> = nodes.chain(ways.iter().map(|(path, record)| (*path, record))).collect();
        baseline::write(&self.state, &self.key, &all)
    }

    fn drop_copies(&self) -> Result<(), StateError> {
        let mut needed: BTreeSet<Sha256> = self.nodes.values().filter_map(|node| node.record.sha256()).collect();
        needed.extend(self.nodes.values().filter_map(|node| match &node.record.is {
            Is::Judged { snapshot, .. } => *snapshot,
            _ => None,
        }));
        self.store.sweep(&needed)
    }

    /// The place that a path belongs to.
    pub(crate) fn spot_of(&self, path: &Path) -> Option<(&Path, &Spot)> {
        covering(&self.spots, path)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Again,
    Over,
}

/// A timer that never fires, and tells when the clock is set.
fn clock() -> Result<OwnedFd, Errno> {
    let fd = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
    let far = Timespec { tv_sec: 1 << 33, tv_nsec: 0 };
    let never = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: far };
    timerfd_settime(&fd, TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET, &never)?;
    Ok(fd)
}

/// Whether this process may set the immutable flag.
fn may_set_immutable() -> bool {
    const CAP_LINUX_IMMUTABLE: u64 = 1 << 9;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    bits.is_some_and(|bits| bits & CAP_LINUX_IMMUTABLE != 0)
}
