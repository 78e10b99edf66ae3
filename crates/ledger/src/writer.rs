//! Appends entries, one writer at a time, each behind the one before it in the chain.
//!
//! It writes below the owner's state directory and nothing else. A writer that is killed leaves a torn line at most, which
//! the next one cuts off and tells of. Acknowledged means written; with [`Durability::Durable`], on the disk.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, FallocateFlags, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::chain::{is_checkpoint_due, push, upkeep};
use crate::durable::Mark;
use crate::key::Key;
use crate::lock::{self, PATIENCE};
use crate::place::{FILE_NAME, open_dir};
use crate::segment;
use crate::tail::Tail;
use crate::{AppendError, Entry, Head, OpenError, Upkeep, rfc3339};

/// The file that will be written, until it has its name.
const NEXT: &str = ".next";
/// More than the longest entry: what is kept free for those of the calls that run.
const ROOM: u64 = 1 << 20;
/// The longest line. A longer one would outgrow what is kept free, and what readers take.
const LINE_MAX: usize = 512 << 10;

/// What an acknowledged entry has survived.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Durability {
    /// The end of every process: the kernel has it.
    #[default]
    Written,
    /// A power cut: the disk has it.
    Durable,
}

/// How much is kept, and how safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// What an acknowledged entry has survived.
    pub durability: Durability,
    /// From how many bytes on the file is rotated away.
    pub segment: u64,
    /// After which time it is.
    pub age: Duration,
    /// How many bytes all segments may have together: the oldest ones are dropped.
    pub total: u64,
}

impl Default for Keep {
    fn default() -> Self {
        let age = Duration::from_secs(30 * 86_400);
        Keep { durability: Durability::Written, segment: 16 << 20, age, total: 1 << 30 }
    }
}

/// The ledger, open for appending.
#[derive(Debug)]
pub struct Writer {
    pub(crate) dir: OwnedFd,
    pub(crate) dir_path: PathBuf,
    file: OwnedFd,
    /// Device and inode of `file`.
    identity: (u64, u64),
    path: PathBuf,
    pub(crate) keep: Keep,
    mark: Option<Mark>,
    key: Option<Key>,
    /// Whether this writer has ended a segment since it last tidied.
    pub(crate) has_rotated: bool,
}

impl Writer {
    /// Opens the ledger in `dir` (see [`crate::ledger_dir`]), making what is missing: directories 0700, file 0600.
    ///
    /// # Errors
    /// When the place belongs to somebody else, can be written by others, or lies in one of `workspaces`.
    pub fn open(dir: &Path, workspaces: &[&Path]) -> Result<Writer, OpenError> {
        Writer::open_with(dir, workspaces, Keep::default())
    }

    /// Opens the ledger as [`Writer::open`] does, to be kept as the policy says.
    ///
    /// # Errors
    /// As [`Writer::open`].
    pub fn open_with(dir: &Path, workspaces: &[&Path], keep: Keep) -> Result<Writer, OpenError> {
        let (dir, dir_path) = open_dir(dir, workspaces)?;
        let path = dir_path.join(FILE_NAME);
        let (file, stat) = open_file(&dir, &path)?;
        let identity = identity(&stat);
        Ok(Writer { dir, dir_path, file, identity, path, keep, mark: None, key: None, has_rotated: false })
    }

    /// Returns the file that is written.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends one entry as one line, and gives it its place in the chain.
    ///
    /// # Errors
    /// When the entry is not in the file as the policy wants it. What was there before is intact in every case.
    pub fn append(&mut self, entry: &Entry) -> Result<Head, AppendError> {
        self.append_with(entry, self.keep.durability)
    }

    /// Appends an entry as [`Writer::append`] does, with a durability of its own.
    ///
    /// # Errors
    /// As [`Writer::append`].
    pub fn append_with(&mut self, entry: &Entry, durability: Durability) -> Result<Head, AppendError> {
        let (head, end) = self.locked(|ledger| ledger.append_locked(entry))?;
        if durability == Durability::Durable {
            self.wait_for_disk(end)?;
        }
        Ok(head)
    }

    /// Returns when the disk has the file up to there.
    fn wait_for_disk(&mut self, end: u64) -> Result<(), AppendError> {
        self.open_mark()?;
        let Some(mark) = &self.mark else { return Err(self.failed(Errno::BADF)) };
        mark.wait(&self.file, &self.path, self.identity.1, end)
    }

    /// Makes sure that an entry of any length the next seconds may bring has room, on a disk that fills up meanwhile.
    ///
    /// # Errors
    /// When the disk has no room for it.
    pub fn reserve(&mut self) -> Result<(), AppendError> {
        let failed = |source: Errno| AppendError::NoRoom { path: self.path.clone(), source: source.into() };
        let stat = rustix::fs::fstat(&self.file).map_err(failed)?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let held = u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
        if held.saturating_sub(size) > ROOM / 2 {
            return Ok(());
        }
        match rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, size, ROOM) {
            Ok(()) => Ok(()),
            // No such thing on this file system: what is free now is all that can be known.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                let free = rustix::fs::fstatvfs(&self.file).map_err(failed)?;
                if free.f_bavail.saturating_mul(free.f_frsize) > ROOM { Ok(()) } else { Err(failed(Errno::NOSPC)) }
            }
            Err(e) => Err(failed(e)),
        }
    }

    /// Writes a checkpoint now, onto the disk: what is signed before it can be told from what somebody else appends later.
    ///
    /// # Errors
    /// As [`Writer::append`]. An empty ledger has nothing to sign, and none is returned.
    pub fn checkpoint(&mut self) -> Result<Option<Head>, AppendError> {
        let (head, end) = self.locked(|ledger| {
            let ((mut head, size), mut text) = (ledger.find_end()?, Vec::new());
            ledger.push_checkpoint(&mut text, &mut head)?;
            ledger.write(&text)?;
            Ok((head, size + text.len() as u64))
        })?;
        // A head that is kept elsewhere must not be of what a power cut takes back.
        self.wait_for_disk(end)?;
        Ok(head)
    }

    /// Does something while no other writer does.
    pub(crate) fn locked<T>(
        &mut self,
        work: impl FnOnce(&mut Writer) -> Result<T, AppendError>,
    ) -> Result<T, AppendError> {
        lock::take(&self.dir).map_err(|e| match e {
            Errno::WOULDBLOCK => AppendError::Locked { path: self.dir_path.clone(), seconds: PATIENCE.as_secs() },
            other => self.failed(other),
        })?;
        let result = work(self);
        lock::give(&self.dir);
        result
    }

    /// Appends under the lock; returns the entry's place and where it ends.
    fn append_locked(&mut self, entry: &Entry) -> Result<(Head, u64), AppendError> {
        let (mut head, mut size) = self.find_end()?;
        if size >= self.keep.segment {
            self.rotate(&mut head)?;
            size = self.refresh()?;
        }
        let mut text = Vec::with_capacity(1024);
        self.push(&mut text, entry, &mut head)?;
        if text.len() > LINE_MAX {
            return Err(AppendError::TooLong { path: self.path.clone(), length: text.len() });
        }
        self.write(&text)?;
        let head = head.unwrap_or(Head { seq: 0, hash: String::new() });
        Ok((head, size + text.len() as u64))
    }

    /// The last entry and the file's size, after what stands behind that entry was told of.
    pub(crate) fn find_end(&mut self) -> Result<(Option<Head>, u64), AppendError> {
        let size = self.refresh()?;
        let mut tail = Tail::read(&self.file, size).map_err(|e| self.failed(e))?;
        if tail.torn.is_some() {
            self.cut(tail.whole)?;
        }
        if tail.head.is_none() {
            tail.head = self.end_of_rotated()?;
        }
        let (mut head, mut text) = (tail.head, Vec::new());
        for (event, rest) in [("foreign", tail.foreign), ("torn", tail.torn)] {
            if let Some(rest) = rest {
                let (bytes, sha256) = (Some(rest.bytes), Some(rest.sha256));
                let told = Upkeep { event: event.into(), bytes, sha256, ..Upkeep::default() };
                self.push(&mut text, &upkeep(now(), told), &mut head)?;
            }
        }
        self.write(&text)?;
        Ok((head, tail.whole + text.len() as u64))
    }

    /// Where an empty file goes on: behind the last segment that was rotated away.
    fn end_of_rotated(&self) -> Result<Option<Head>, AppendError> {
        let failed = |source| AppendError::Write { path: self.dir_path.clone(), source };
        let Some(last) = segment::rotated(&self.dir_path).map_err(failed)?.pop() else { return Ok(None) };
        segment::last_entry(&last).map_err(failed)
    }

    /// Follows the file where another writer rotated it; returns its size.
    fn refresh(&mut self) -> Result<u64, AppendError> {
        let there = match rustix::fs::statat(&self.dir, FILE_NAME, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Some(stat),
            Err(Errno::NOENT) => None,
            Err(e) => return Err(self.failed(e)),
        };
        if let Some(stat) = there.filter(|stat| identity(stat) == self.identity) {
            return Ok(u64::try_from(stat.st_size).unwrap_or(0));
        }
        let opened = open_file(&self.dir, &self.path);
        let (file, stat) = opened.map_err(|error| self.failed(std::io::Error::other(error.to_string())))?;
        (self.file, self.identity) = (file, identity(&stat));
        Ok(u64::try_from(stat.st_size).unwrap_or(0))
    }

    /// Ends the segment with a checkpoint and begins another.
    pub(crate) fn rotate(&mut self, head: &mut Option<Head>) -> Result<(), AppendError> {
        let mut text = Vec::new();
        self.push_checkpoint(&mut text, head)?;
        self.write(&text)?;
        let Some(last) = head.as_ref() else { return Ok(()) };
        // A power cut must not leave the new segment without the old one's end.
        rustix::fs::fdatasync(&self.file).map_err(|e| self.failed(e))?;
        if !self.make_next()? {
            // A disk without room for the next file has some left in this one, which was reserved there.
            return Ok(());
        }
        let name = segment::name(last.seq);
        match rustix::fs::renameat_with(&self.dir, FILE_NAME, &self.dir, name, RenameFlags::NOREPLACE) {
            Ok(()) => {
                self.has_rotated = true;
                rustix::fs::renameat(&self.dir, NEXT, &self.dir, FILE_NAME).map_err(|e| self.failed(e))?;
            }
            // Somebody cut the chain, and it has come to the same number again: what is there stays, and this goes on.
            Err(Errno::EXIST) => return Ok(()),
            Err(e) => return Err(self.failed(e)),
        }
        self.refresh()?;
        rustix::fs::fsync(&self.dir).map_err(|e| self.failed(e))
    }

    /// Makes the file that takes the place of this one, with the room that calls have reserved in this one. Whether
    /// there was room.
    fn make_next(&mut self) -> Result<bool, AppendError> {
        match rustix::fs::unlinkat(&self.dir, NEXT, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(e) => return Err(self.failed(e)),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::openat(&self.dir, NEXT, flags, Mode::RUSR | Mode::WUSR);
        let room = made.and_then(|file| rustix::fs::fallocate(&file, FallocateFlags::KEEP_SIZE, 0, ROOM));
        match room {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
            Err(_) => {
                rustix::fs::unlinkat(&self.dir, NEXT, AtFlags::empty()).ok();
                return Ok(false);
            }
        }
        // It may have the inode number of a file that was synced.
        Mark::forget_in(&self.dir).map_err(|e| self.failed(e))?;
        Ok(true)
    }

    /// Makes an entry the next line, behind a checkpoint where one is due.
    fn push(&mut self, text: &mut Vec<u8>, entry: &Entry, head: &mut Option<Head>) -> Result<(), AppendError> {
        if head.as_ref().is_some_and(|head| is_checkpoint_due(head.seq)) {
            self.push_checkpoint(text, head)?;
        }
        Ok(push(text, entry, head)?)
    }

    fn push_checkpoint(&mut self, text: &mut Vec<u8>, head: &mut Option<Head>) -> Result<(), AppendError> {
        let Some(signed) = head.clone() else { return Ok(()) };
        if self.key.is_none() {
            let key = Key::of(&self.dir);
            self.key = Some(key.map_err(|source| AppendError::Sign { path: self.path.clone(), source })?);
        }
        let Some(key) = &self.key else { return Ok(()) };
        let (key, signature) = (Some(key.public()), Some(key.sign(&signed)));
        let told = Upkeep { event: "checkpoint".into(), key, signature, ..Upkeep::default() };
        Ok(push(text, &upkeep(now(), told), head)?)
    }

    /// Writes lines at the end of the file in one write(2), or leaves it as it was.
    fn write(&mut self, text: &[u8]) -> Result<(), AppendError> {
        if text.is_empty() {
            return Ok(());
        }
        let result = loop {
            match rustix::io::write(&self.file, text) {
                Err(Errno::INTR) => {}
                result => break result,
            }
        };
        let written = result.map_err(|e| self.failed(e))?;
        if written == text.len() {
            return Ok(());
        }
        // What cannot be taken back is a torn line, which the next writer finds.
        let after = rustix::fs::fstat(&self.file).map_err(|e| self.failed(e))?.st_size;
        self.cut(u64::try_from(after).unwrap_or(0).saturating_sub(written as u64)).ok();
        Err(AppendError::Short { path: self.path.clone(), written, length: text.len() })
    }

    fn cut(&mut self, length: u64) -> Result<(), AppendError> {
        self.open_mark()?;
        let cut = self.mark.as_ref().map_or(Err(Errno::BADF), |mark| mark.cut(&self.file, length));
        cut.map_err(|e| self.failed(e))
    }

    fn open_mark(&mut self) -> Result<(), AppendError> {
        if self.mark.is_none() {
            self.mark = Some(Mark::open(&self.dir).map_err(|e| self.failed(e))?);
        }
        Ok(())
    }

    pub(crate) fn failed(&self, source: impl Into<std::io::Error>) -> AppendError {
        AppendError::Write { path: self.path.clone(), source: source.into() }
    }
}

pub(crate) fn now() -> String {
    rfc3339(SystemTime::now())
}

fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

/// Opens the file that is written, once it has been judged.
fn open_file(dir: &OwnedFd, path: &Path) -> Result<(OwnedFd, Stat), OpenError> {
    // NOFOLLOW: a planted symlink would send the evidence elsewhere. NONBLOCK: a planted FIFO would hang us.
    let flags = OFlags::RDWR | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let failed = |source: Errno| OpenError::File { path: path.into(), source: source.into() };
    let open = |more: OFlags| rustix::fs::openat(dir, FILE_NAME, flags | more, Mode::RUSR | Mode::WUSR);
    let (file, is_made) = match open(OFlags::empty()) {
        Err(Errno::NOENT) => match open(OFlags::CREATE | OFlags::EXCL) {
            // Another writer was faster.
            Err(Errno::EXIST) => (open(OFlags::empty()).map_err(failed)?, false),
            other => (other.map_err(failed)?, true),
        },
        other => (other.map_err(failed)?, false),
    };
    if is_made {
        // It may have the inode number of one that was removed, up to where that was synced.
        Mark::forget_in(dir).map_err(failed)?;
    }
    let stat = rustix::fs::fstat(&file).map_err(failed)?;
    let why = if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        Some("it is not a regular file")
    } else if stat.st_uid != geteuid().as_raw() {
        Some("another user owns it")
    } else if stat.st_nlink != 1 {
        Some("it has a second name (hard link)")
    } else if stat.st_mode & 0o077 != 0 {
        Some("others may read or write it")
    } else {
        None
    };
    match why {
        Some(why) => Err(OpenError::Untrusted { path: path.into(), why }),
        None => Ok((file, stat)),
    }
}
