//! inotify: what is watched, and which paths its events speak of. It says that something happened, never what stands:
//! that is looked up afterwards.

use std::collections::{BTreeSet, HashMap};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

/// What is asked about a directory: its names, and attributes of what they name.
fn of_directory() -> WatchFlags {
    WatchFlags::ATTRIB
        | WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVE
        | WatchFlags::MOVE_SELF
        | WatchFlags::EXCL_UNLINK
}

/// What is asked about a file: a watch on the inode sees what is done through other names as well.
fn of_file() -> WatchFlags {
    WatchFlags::ATTRIB | WatchFlags::MODIFY | WatchFlags::CLOSE_WRITE | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF
}

/// What a watch is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    Directory,
    File,
}

/// The watches of one inotify instance.
#[derive(Debug)]
pub(crate) struct Watches {
    fd: OwnedFd,
    /// Two names of one inode share a watch.
    paths: HashMap<i32, Vec<PathBuf>>,
    /// Where there is none: no right to read, or too many.
    unwatched: BTreeSet<PathBuf>,
    buffer: Vec<MaybeUninit<u8>>,
}

/// What one reading brought.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) paths: BTreeSet<PathBuf>,
    /// The queue was full: anything may have happened.
    pub(crate) is_overflown: bool,
}

impl Watches {
    pub(crate) fn new() -> Result<Watches, Errno> {
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let buffer = vec![MaybeUninit::uninit(); 64 * 1024];
        Ok(Watches { fd, paths: HashMap::new(), unwatched: BTreeSet::new(), buffer })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(crate) fn count(&self) -> usize {
        self.paths.len()
    }

    pub(crate) fn unwatched(&self) -> &BTreeSet<PathBuf> {
        &self.unwatched
    }

    /// Watches what is open, and gives up the watch that the path had before, when it is another.
    pub(crate) fn add(&mut self, path: &Path, open: impl AsFd, on: On, old: Option<i32>) -> Option<i32> {
        // By the descriptor: a path could lead elsewhere by now.
        let through = format!("/proc/self/fd/{}", open.as_fd().as_raw_fd());
        let mask = match on {
            On::Directory => of_directory(),
            On::File => of_file(),
        };
        let new = inotify::add_watch(&self.fd, through, mask).ok();
        match new {
            Some(wd) => {
                let paths = self.paths.entry(wd).or_default();
                if !paths.iter().any(|p| p == path) {
                    paths.push(path.to_owned());
                }
                self.unwatched.remove(path);
            }
            None => drop(self.unwatched.insert(path.to_owned())),
        }
        if old != new {
            self.forget(path, old);
        }
        new
    }

    /// Notes what cannot be seen.
    pub(crate) fn miss(&mut self, path: &Path) {
        self.unwatched.insert(path.to_owned());
    }

    pub(crate) fn forget(&mut self, path: &Path, wd: Option<i32>) {
        let Some(wd) = wd else { return };
        let Some(paths) = self.paths.get_mut(&wd) else { return };
        paths.retain(|p| p != path);
        if paths.is_empty() {
            self.paths.remove(&wd);
            // It is gone with its inode already, or goes now.
            inotify::remove_watch(&self.fd, wd).ok();
        }
    }

    /// Reads what has happened, a bounded part at a time.
    pub(crate) fn read(&mut self) -> Result<Heard, Errno> {
        const EVENTS_MAX: usize = 8192;
        let mut heard = Heard::default();
        let mut gone = Vec::new();
        let mut reader = Reader::new(&self.fd, &mut self.buffer);
        let mut count = 0;
        // What one call has brought into the buffer is read to its end: the reader goes, and the rest with it.
        while count < EVENTS_MAX || !reader.is_buffer_empty() {
            count += 1;
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => continue,
                Err(e) => return Err(e),
            };
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                heard.is_overflown = true;
                continue;
            }
            let name = event.file_name().map(|name| std::ffi::OsStr::from_bytes(name.to_bytes()));
            for path in self.paths.get(&event.wd()).into_iter().flatten() {
                heard.paths.insert(name.map_or_else(|| path.clone(), |name| path.join(name)));
            }
            if event.events().contains(ReadFlags::IGNORED) {
                gone.push(event.wd());
            }
        }
        for wd in gone {
            self.paths.remove(&wd);
        }
        Ok(heard)
    }
}
