//! For what runs long and is in no jail: to be told when everything is halted, and when it may go on.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use super::{Halted, look};

/// How often the file is looked for where the kernel has no more watches for this user.
const PERIOD: Duration = Duration::from_millis(300);

/// A watch over the owner's state directory.
#[derive(Debug)]
pub struct Notice {
    state: PathBuf,
    inotify: Option<OwnedFd>,
}

impl Notice {
    /// Watches a state directory.
    pub fn new(state: &Path) -> Notice {
        let events = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF;
        let watch = || -> rustix::io::Result<OwnedFd> {
            let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
            inotify::add_watch(&inotify, state, events | WatchFlags::ONLYDIR)?;
            Ok(inotify)
        };
        Notice { state: state.to_owned(), inotify: watch().ok() }
    }

    /// What becomes readable when it is time to look.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(|inotify| inotify.as_fd())
    }

    /// After how long to look in any case; nothing when the descriptor tells.
    pub fn period(&self) -> Option<Duration> {
        self.inotify.is_none().then_some(PERIOD)
    }

    /// Whether everything is halted now.
    #[must_use]
    pub fn look(&self) -> Option<Halted> {
        let mut events = [0; 4096];
        // What happened is of no interest, but that something did: emptied before the look, so that none is missed.
        while self.inotify.as_ref().is_some_and(|inotify| rustix::io::read(inotify, &mut events).is_ok_and(|n| n > 0)) {
        }
        look(&self.state)
    }
}
