//! Durable: known to be on the disk. One fdatasync(2) for all that wait, across processes.
//!
//! Whoever gets the lock of the mark syncs everything that is written by then and says so in the mark; the others find
//! themselves covered by it. The mark holds which file, and up to where.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::AppendError;
use crate::lock::{self, PATIENCE};

/// The mark, in the ledger's directory.
const MARK_NAME: &str = "synced";
/// How often somebody who waits looks whether it is covered: far less than a disk takes.
const LOOK: Duration = Duration::from_micros(200);

/// The mark, open.
#[derive(Debug)]
pub(crate) struct Mark(OwnedFd);

impl Mark {
    pub(crate) fn open(dir: impl AsFd) -> rustix::io::Result<Mark> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        rustix::fs::openat(dir, MARK_NAME, flags, Mode::RUSR | Mode::WUSR).map(Mark)
    }

    /// Forgets what was synced, where there is a mark: a disk may have no room for another file.
    pub(crate) fn forget_in(dir: impl AsFd) -> rustix::io::Result<()> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match rustix::fs::openat(dir, MARK_NAME, flags, Mode::empty()) {
            Ok(mark) => Mark(mark).forget(),
            Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Returns when `file` (whose inode is `ino`) is on the disk up to `end`.
    pub(crate) fn wait(&self, file: &OwnedFd, path: &Path, ino: u64, end: u64) -> Result<(), AppendError> {
        let failed = |e: Errno| AppendError::Sync { path: path.into(), source: e.into() };
        let began = Instant::now();
        loop {
            if self.covers(ino, end, length(file).map_err(failed)?).map_err(failed)? {
                return Ok(());
            }
            if lock::try_take(&self.0).map_err(failed)? {
                let result = self.sync(file, ino, end);
                lock::give(&self.0);
                return result.map_err(failed);
            }
            if began.elapsed() > PATIENCE {
                return Err(AppendError::Locked { path: path.with_file_name(MARK_NAME), seconds: PATIENCE.as_secs() });
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Syncs for all that are written by now.
    fn sync(&self, file: &OwnedFd, ino: u64, end: u64) -> rustix::io::Result<()> {
        // Whoever had the lock may have covered this one in the meantime.
        let written = length(file)?;
        if self.covers(ino, end, written)? {
            return Ok(());
        }
        rustix::fs::fdatasync(file)?;
        self.set(ino, written)
    }

    /// Cuts the file to `length`. What is written behind it afterwards must not count as synced with what was there.
    pub(crate) fn cut(&self, file: &OwnedFd, length: u64) -> rustix::io::Result<()> {
        lock::take(&self.0)?;
        let result = rustix::fs::ftruncate(file, length).and_then(|()| self.set(0, 0));
        lock::give(&self.0);
        result
    }

    /// Forgets what was synced: a new file may have the inode number of an old one.
    fn forget(&self) -> rustix::io::Result<()> {
        lock::take(&self.0)?;
        let result = self.set(0, 0);
        lock::give(&self.0);
        result
    }

    /// Whether the mark is of this file, and reaches there. One that reaches beyond the file's end is of another.
    fn covers(&self, ino: u64, end: u64, length: u64) -> rustix::io::Result<bool> {
        let mut bytes = [0; 24];
        let read = rustix::io::pread(&self.0, &mut bytes, 0)?;
        let number = |at: usize| {
            let part = bytes.get(at..at + 8).and_then(|part| part.try_into().ok());
            part.map_or(0, u64::from_le_bytes)
        };
        // Read while somebody writes it, it may be of two marks: then the third number is of neither.
        let is_whole = read == bytes.len() && number(16) == check(number(0), number(8));
        Ok(is_whole && number(0) == ino && (end..=length).contains(&number(8)))
    }

    fn set(&self, ino: u64, end: u64) -> rustix::io::Result<()> {
        let mut bytes = [0; 24];
        for (place, number) in bytes.chunks_exact_mut(8).zip([ino, end, check(ino, end)]) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        // Where the disk is full for these bytes the next one syncs for itself.
        rustix::io::pwrite(&self.0, &bytes, 0).map(drop)
    }
}

fn length(file: &OwnedFd) -> rustix::io::Result<u64> {
    Ok(u64::try_from(rustix::fs::fstat(file)?.st_size).unwrap_or(0))
}

fn check(ino: u64, end: u64) -> u64 {
    (ino ^ end.rotate_left(32) ^ 0x6d61_6e74_6c65_7431).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
