//! The keeper: a process in the jail's mount namespace that puts covers back, and says which were off.
//!
//! It holds the monitor's rights over the jail's mounts and nothing else of it, and dies with it.

use std::collections::{HashMap, HashSet};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::SeqCst;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, ReadFlags};
use rustix::fs::{AtFlags, CWD, FileType, Statx, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags};

use crate::covers::{Cover, Kind, Watch};
use crate::layout;
use crate::live::Namespaces;
use crate::sys::{self, Depth, Fork, attr};

/// How often a cover is tried that is replaced again and again.
const MOST_TRIES: u32 = 1000;

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

struct Keeper<'a> {
    watch: &'a mut Watch,
    init: i32,
    /// Every covered path and every directory above one: what else comes and goes does not matter.
    names: HashSet<PathBuf>,
}

impl Keeper<'_> {
    fn enter<'a>(
        watch: &'a mut Watch,
        namespaces: &Namespaces,
        init: i32,
        monitor: rustix::process::Pid,
    ) -> io::Result<Keeper<'a>> {
        // Nothing of the client's or of init's: each must see the monitor's end.
        let mut keep = vec![watch.changes.fd.as_raw_fd(), watch.ask.as_raw_fd(), namespaces.mount.as_raw_fd()];
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
        let names = watch.covers.iter().flat_map(|c| c.path.ancestors()).map(Path::to_owned).collect();
        Ok(Keeper { watch, init, names })
    }

    fn run(&mut self) -> io::Result<()> {
        // What fell off before the watch began is heard of by nobody.
        self.check(|_| true);
        let mut answered = 0;
        loop {
            let mut fds =
                [PollFd::new(&self.watch.changes.fd, PollFlags::IN), PollFd::new(&self.watch.ask, PollFlags::IN)];
            match poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
            let asked = self.watch.board.asked.load(SeqCst);
            // An eventfd only wakes; the board counts.
            rustix::io::read(&self.watch.ask, &mut [0; 8]).ok();
            self.hear();
            if asked != answered {
                // A rename shows before the word of it is in the queue.
                self.check(|cover| cover.kind == Kind::Denied);
                self.watch.board.answered.store(asked, SeqCst);
                answered = asked;
            }
        }
    }

    /// Hears what came and went, and puts covers back.
    fn hear(&mut self) {
        let heard = self.events();
        if heard.is_empty() {
            return;
        }
        let came = ReadFlags::CREATE | ReadFlags::MOVED_TO | ReadFlags::QUEUE_OVERFLOW;
        for number in 0..self.watch.covers.len() {
            let Some(cover) = self.watch.covers.get(number) else { continue };
            let (kind, path) = (cover.kind, cover.path.clone());
            for (above, what) in path.ancestors().filter_map(|p| Some((p, *heard.get(p)?))) {
                match kind {
                    Kind::Pin => {}
                    Kind::Protected => self.watch.board.was_off(number).store(true, SeqCst),
                    // Linked, moved away or opened in a way that tells nobody: it is not asked what was done with it.
                    Kind::Denied if above == path && what.intersects(came) => self.breach(number),
                    // A directory that was made starts empty; one that was moved here may bring the name with it.
                    Kind::Denied if what.intersects(came - ReadFlags::CREATE) => self.breach(number),
                    Kind::Denied => {}
                }
            }
        }
        for dir in heard.iter().filter(|(_, what)| what.intersects(came)).map(|(dir, _)| dir) {
            self.watch_again(dir);
        }
        self.check(|cover| cover.path.ancestors().any(|p| heard.contains_key(p)));
    }

    /// Takes all events that are there: which of our names came or went.
    fn events(&self) -> HashMap<PathBuf, ReadFlags> {
        let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
        let mut heard: HashMap<PathBuf, ReadFlags> = HashMap::new();
        let mut reader = inotify::Reader::new(&self.watch.changes.fd, &mut buffer);
        while let Ok(event) = reader.next() {
            let path = if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                Some(PathBuf::from("/"))
            } else {
                event.file_name().and_then(|name| self.watch.changes.path(event.wd(), name.to_bytes()))
            };
            if let Some(path) = path.filter(|path| self.names.contains(path)) {
                *heard.entry(path).or_insert(ReadFlags::empty()) |= event.events();
            }
        }
        heard
    }

    /// A directory above a cover that was replaced is another one: its names must be heard of, too.
    fn watch_again(&mut self, dir: &Path) {
        let is_dir = rustix::fs::lstat(dir).is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::Directory);
        if is_dir && self.watch.changes.add(dir, dir).is_err() {
            // Whatever is replaced below it is not heard of: nothing of it can be sworn to.
            self.watch.board.was_off(usize::MAX).store(true, SeqCst);
        }
    }

    /// Puts back every chosen cover that is off.
    fn check(&mut self, is_chosen: impl Fn(&Cover) -> bool) {
        for number in 0..self.watch.covers.len() {
            if self.watch.covers.get(number).is_some_and(&is_chosen) {
                self.restore(number);
            }
        }
    }

    fn restore(&self, number: usize) {
        let Some(cover) = self.watch.covers.get(number) else { return };
        // As often as it is replaced meanwhile: a mount on a name that has just gone is refused (ENOENT).
        for _ in 0..MOST_TRIES {
            let Some(stat) = uncovered(&cover.path) else { return };
            let put = put(cover, FileType::from_raw_mode(u32::from(stat.stx_mode)) == FileType::Directory);
            self.watch.board.was_off(number).store(true, SeqCst);
            if cover.kind == Kind::Denied {
                self.breach(number);
            }
            match put {
                Ok(()) => return,
                Err(Errno::NOENT) => {}
                // A symlink leads to what the jail sees anyhow. What else cannot be covered has been told.
                Err(_) => return,
            }
        }
    }

    /// Something denied could be reached: nothing of the jail goes on.
    fn breach(&self, number: usize) {
        let board = self.watch.board;
        if board.is_over.load(SeqCst) {
            return;
        }
        if board.breach.load(SeqCst) == 0 {
            let (seconds, nanoseconds) = self.watch.covers.get(number).map_or((0, 0), |c| since(&c.path));
            board.since[0].store(seconds, SeqCst);
            board.since[1].store(nanoseconds, SeqCst);
            board.breach.store(u32::try_from(number + 1).unwrap_or(1), SeqCst);
        }
        // The monitor reaps it, and reads the board.
        drop(sys::kill(self.init, libc::SIGKILL));
    }
}

/// What is at a covered name when it is not the cover.
fn uncovered(path: &Path) -> Option<Statx> {
    let wanted = StatxFlags::TYPE | StatxFlags::MODE | StatxFlags::CTIME;
    let stat = rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, wanted).ok()?;
    (!stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)).then_some(stat)
}

/// Since when something can have been at this name: a rename or a creation sets the change time. It may have been
/// replaced more than once since this process slept, so that the last two seconds count in any case.
fn since(path: &Path) -> (i64, i64) {
    let (seconds, nanoseconds) = crate::journal::coarse_now();
    let late = (seconds - 2, nanoseconds);
    uncovered(path).map_or(late, |s| late.min((s.stx_ctime.tv_sec, i64::from(s.stx_ctime.tv_nsec))))
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
