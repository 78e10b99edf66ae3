//! The keeper: a process in the jail's mount namespace that puts covers back, and judges what happened until then.
//!
//! It holds the monitor's rights over the jail's mounts and nothing else of it, and dies with it.

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::SeqCst;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, ReadFlags};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Statx, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags};

use crate::covers::{Cover, Kind, Watch, Watches};
use crate::layout;
use crate::live::Namespaces;
use crate::sys::{self, Depth, Fork, attr};

/// Starts the keeper of a jail. Answers its descriptor, which becomes readable when it ends.
pub(crate) fn start(watch: &mut Watch, namespaces: &Namespaces, init: i32) -> io::Result<OwnedFd> {
    let monitor = rustix::process::getpid();
    match sys::clone(0)? {
        Fork::Child => {
            sys::set_process_name(c"mantlet-keeper");
            let _ended = Keeper::enter(watch, namespaces, init, monitor).and_then(|mut keeper| keeper.run());
            sys::exit_now(1)
        }
        Fork::Parent(pid) => sys::pidfd(pid),
    }
}

/// What was opened is looked at this often even when nothing happens: a full queue would count against the command.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 250_000_000 };

/// How often a cover is tried that is replaced again and again.
const MOST_TRIES: u32 = 1000;

/// A covered name that was replaced, until its cover is back.
#[derive(Default)]
struct Exposed {
    /// Opens that are the maker's own: creating a file opens it once.
    allowed: u32,
    opened: u32,
    written: u32,
    was_created: bool,
}

struct Keeper<'a> {
    watch: &'a mut Watch,
    init: i32,
    numbers: HashMap<PathBuf, usize>,
    exposed: HashMap<usize, Exposed>,
}

impl Keeper<'_> {
    fn enter<'a>(
        watch: &'a mut Watch,
        namespaces: &Namespaces,
        init: i32,
        monitor: rustix::process::Pid,
    ) -> io::Result<Keeper<'a>> {
        // Nothing of the client's or of init's: each must see the monitor's end.
        let mut keep = vec![watch.changes.fd.as_raw_fd(), watch.uses.fd.as_raw_fd(), watch.ask.as_raw_fd()];
        keep.push(namespaces.mount.as_raw_fd());
        keep.extend(namespaces.user.as_ref().map(AsRawFd::as_raw_fd));
        sys::close_all_but(&keep)?;
        if let Some(user) = &namespaces.user {
            sys::setns(user.as_fd(), libc::CLONE_NEWUSER)?;
        }
        sys::setns(namespaces.mount.as_fd(), libc::CLONE_NEWNS)?;
        // After the change of ids, which clears it.
        sys::die_with_parent()?;
        if rustix::process::getppid() != Some(monitor) {
            return Err(io::Error::other("the monitor is gone"));
        }
        let files = watch.covers.iter().enumerate().filter(|(_, c)| c.kind != Kind::Pin);
        let numbers = files.map(|(i, c)| (c.path.clone(), i)).collect();
        Ok(Keeper { watch, init, numbers, exposed: HashMap::new() })
    }

    fn run(&mut self) -> io::Result<()> {
        // What fell off before the watch began is heard of by nobody. Nothing ran then.
        self.watch.board.busy.store(1, SeqCst);
        for number in 0..self.watch.covers.len() {
            self.restore_one(number);
        }
        self.judge();
        self.watch.board.busy.store(0, SeqCst);
        let has_denied = self.watch.covers.iter().any(|c| c.kind == Kind::Denied);
        loop {
            let mut fds =
                [PollFd::new(&self.watch.changes.fd, PollFlags::IN), PollFd::new(&self.watch.ask, PollFlags::IN)];
            match poll(&mut fds, has_denied.then_some(&LOOK)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
            self.watch.board.busy.store(1, SeqCst);
            let asked = self.watch.board.asked.load(SeqCst);
            // An eventfd only wakes; the board counts.
            rustix::io::read(&self.watch.ask, &mut [0; 8]).ok();
            self.restore();
            self.judge();
            self.watch.board.answered.store(asked, SeqCst);
            self.watch.board.busy.store(0, SeqCst);
        }
    }

    /// Puts back what fell off, at once.
    fn restore(&mut self) {
        for (path, _) in events(&self.watch.changes) {
            let touched: Vec<usize> = (0..self.watch.covers.len())
                .filter(|i| self.watch.covers.get(*i).is_some_and(|c| c.path.starts_with(&path)))
                .collect();
            for number in touched {
                self.restore_one(number);
            }
        }
    }

    fn restore_one(&mut self, number: usize) {
        // As often as it is replaced meanwhile: a mount on a name that has just gone is refused (ENOENT).
        for _ in 0..MOST_TRIES {
            let Some(cover) = self.watch.covers.get(number) else { return };
            let Some(stat) = uncovered(&cover.path) else { return };
            self.exposed.entry(number).or_default();
            let since = (stat.stx_ctime.tv_sec, i64::from(stat.stx_ctime.tv_nsec));
            let is_dir = FileType::from_raw_mode(u32::from(stat.stx_mode)) == FileType::Directory;
            let reader = (cover.kind == Kind::Protected && !is_dir).then(|| open_reader(&cover.path)).flatten();
            let put = put(cover, is_dir);
            if put == Err(Errno::NOENT) {
                continue;
            }
            let count = if put.is_ok() { &self.watch.board.restored } else { &self.watch.board.lost };
            count.fetch_add(1, SeqCst);
            let has_writer = reader.is_some_and(|fd| sys::has_writer(fd.as_fd()));
            let (kind, path) = (cover.kind, cover.path.clone());
            if kind == Kind::Pin {
                self.watch_again(&path);
            } else if is_dir && kind == Kind::Denied || has_writer {
                // What was opened below a directory that came from elsewhere is not known.
                self.breach(number, since);
            }
            return;
        }
        self.watch.board.lost.fetch_add(1, SeqCst);
    }

    /// A directory that was replaced is another one: its names must be heard of, too.
    fn watch_again(&mut self, dir: &Path) {
        // Without a watch the covers below it count as lost.
        if self.watch.changes.add(dir, dir).is_err() || self.watch.uses.add(dir, dir).is_err() {
            self.watch.board.lost.fetch_add(1, SeqCst);
        }
    }

    /// Judges what was opened and written while a cover was off.
    fn judge(&mut self) {
        let mut overflowed = false;
        for (path, what) in events(&self.watch.uses) {
            overflowed |= what.contains(ReadFlags::QUEUE_OVERFLOW);
            let Some(number) = self.numbers.get(&path).copied() else { continue };
            if what.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO) {
                let was_created = what.contains(ReadFlags::CREATE);
                let exposed = self.exposed.entry(number).or_default();
                exposed.allowed += u32::from(was_created);
                exposed.was_created |= was_created;
            } else if let Some(exposed) = self.exposed.get_mut(&number) {
                exposed.opened += u32::from(what.contains(ReadFlags::OPEN));
                exposed.written += u32::from(what.intersects(ReadFlags::MODIFY | ReadFlags::CLOSE_WRITE));
            } else if what.contains(ReadFlags::OPEN) && self.is_off(number) {
                // Opened past a cover that is off, of which the word has not arrived yet.
                self.exposed.insert(number, Exposed { opened: 1, ..Exposed::default() });
            }
        }
        let exposed = std::mem::take(&mut self.exposed);
        for (number, seen) in exposed {
            let Some(cover) = self.watch.covers.get(number) else { continue };
            let is_past = match cover.kind {
                Kind::Denied => overflowed || seen.opened > seen.allowed,
                // Who makes a file writes to it himself; one that is moved into place is whole.
                Kind::Protected => !seen.was_created && seen.written > 0,
                Kind::Pin => false,
            };
            if is_past {
                self.breach(number, changed(&cover.path));
            } else if self.is_off(number) {
                self.exposed.insert(number, seen);
            }
        }
    }

    fn is_off(&self, number: usize) -> bool {
        self.watch.covers.get(number).is_some_and(|cover| uncovered(&cover.path).is_some())
    }

    /// The jail got past a cover: nothing of it goes on.
    fn breach(&mut self, number: usize, since: (i64, i64)) {
        let board = self.watch.board;
        if board.breach.load(SeqCst) == 0 {
            board.since[0].store(since.0, SeqCst);
            board.since[1].store(since.1, SeqCst);
            board.breach.store(u32::try_from(number + 1).unwrap_or(1), SeqCst);
        }
        // The monitor reaps it, and reads the board.
        drop(sys::kill(self.init, libc::SIGKILL));
    }
}

/// Takes all events that are there: paths, and what happened to them.
fn events(watches: &Watches) -> Vec<(PathBuf, ReadFlags)> {
    let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
    let mut out = Vec::new();
    let mut reader = inotify::Reader::new(&watches.fd, &mut buffer);
    while let Ok(event) = reader.next() {
        if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
            out.push((PathBuf::new(), event.events()));
        }
        if let Some(path) = event.file_name().and_then(|name| watches.path(event.wd(), name.to_bytes())) {
            out.push((path, event.events()));
        }
    }
    out
}

/// What is at a covered name when it is not the cover.
fn uncovered(path: &Path) -> Option<Statx> {
    let wanted = StatxFlags::TYPE | StatxFlags::MODE | StatxFlags::CTIME;
    let stat = rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, wanted).ok()?;
    (!stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)).then_some(stat)
}

/// Since when what is outside under a covered name can have been there: its change time, seen past the cover.
fn changed(path: &Path) -> (i64, i64) {
    let seen = uncovered(path).map(|s| (s.stx_ctime.tv_sec, i64::from(s.stx_ctime.tv_nsec)));
    seen.unwrap_or_else(|| {
        let (seconds, nanoseconds) = crate::journal::coarse_now();
        // The cover is back: this is at most as long ago as it took to get here.
        (seconds - 1, nanoseconds)
    })
}

fn open_reader(path: &Path) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty()).ok()
}

/// Mounts a cover over its name.
fn put(cover: &Cover, is_dir: bool) -> rustix::io::Result<()> {
    const RECURSIVE: OpenTreeFlags = OpenTreeFlags::from_bits_retain(libc::AT_RECURSIVE as u32);
    let (source, set) = match (cover.kind, is_dir) {
        (Kind::Pin, _) => (cover.path.as_path(), 0),
        (Kind::Protected, _) => (cover.path.as_path(), attr::RDONLY),
        (Kind::Denied, true) => (Path::new(layout::DENIED_DIR), attr::RDONLY),
        (Kind::Denied, false) => (Path::new(layout::DENIED_FILE), attr::RDONLY),
    };
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    let tree = rustix::mount::open_tree(CWD, source, flags | RECURSIVE)?;
    sys::mount_setattr(tree.as_fd(), set, Depth::Tree, None)
        .map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
    rustix::mount::move_mount(&tree, "", CWD, &cover.path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}
