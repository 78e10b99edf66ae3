//! One file, read and replaced whole or not at all, by one writer at a time.
//!
//! Only ciphertext is ever written here. The one plaintext file that is touched is wiped.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FlockOperation, Gid, Mode, OFlags, RenameFlags, Uid};
use rustix::io::Errno;
use zeroize::Zeroizing;

use crate::secret::Secret;

mod wipe;

pub use wipe::remains;

/// How long another writer is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// As large as a file of secrets may be.
pub const MAX_SIZE: u64 = 16 << 20;

/// Why a file cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The kernel refused.
    #[error("cannot {step} {}", mantlet_ledger::escape(.path.as_os_str().as_encoded_bytes()))]
    Io {
        /// What was tried.
        step: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It is a link, a directory, a device, or too large.
    #[error("{} is not a regular file of at most 16 MiB; hint: name the file itself, not a link to it", mantlet_ledger::escape(.0.as_os_str().as_encoded_bytes()))]
    NotAFile(PathBuf),
    /// It has other names, which would keep what is removed here.
    #[error("{} has other names (hard links); hint: remove them first", mantlet_ledger::escape(.0.as_os_str().as_encoded_bytes()))]
    Linked(PathBuf),
    /// Another writer holds the lock.
    #[error("{} is being written by another process; hint: try again when it has ended", mantlet_ledger::escape(.0.as_os_str().as_encoded_bytes()))]
    Locked(PathBuf),
    /// The plaintext is under another name, and not removed.
    #[error("the plaintext of {} is not removed yet: it is now {}; hint: the same command again goes on with it", mantlet_ledger::escape(.path.as_os_str().as_encoded_bytes()), mantlet_ledger::escape(.aside.as_encoded_bytes()))]
    Aside {
        /// Its own name.
        path: PathBuf,
        /// Its name now.
        aside: OsString,
        /// What went wrong.
        source: Box<StoreError>,
    },
    /// It changed since it was read.
    #[error("{} was changed meanwhile by somebody else; nothing was written", mantlet_ledger::escape(.0.as_os_str().as_encoded_bytes()))]
    Meanwhile(PathBuf),
}

/// In the names of what a writer keeps beside a file while it works.
const MARK: &str = ".mantlet-";

/// A file's name in its directory, with the lock that writers there take.
pub struct Place {
    path: PathBuf,
    name: OsString,
    directory: OwnedFd,
}

impl Place {
    /// Takes the lock of the file's directory.
    ///
    /// # Errors
    /// There is no such directory, or another writer does not end.
    pub fn lock(path: &Path) -> Result<Place, StoreError> {
        let name = path.file_name().ok_or_else(|| StoreError::NotAFile(path.into()))?.to_owned();
        let parent = parent_of(path);
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(parent, flags, Mode::empty()).map_err(|e| failed("open", parent, e.into()))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(10)),
                Err(Errno::WOULDBLOCK) => return Err(StoreError::Locked(path.into())),
                Err(errno) => return Err(failed("lock", parent, errno.into())),
            }
        }
        let place = Place { path: path.into(), name, directory };
        place.sweep()?;
        Ok(place)
    }

    /// Takes the lock of another file: the one held already, when it is in the same directory.
    ///
    /// # Errors
    /// As [`Place::lock`], or the descriptor cannot be copied.
    pub fn another(&self, path: &Path) -> Result<Place, StoreError> {
        let name = path.file_name().ok_or_else(|| StoreError::NotAFile(path.into()))?.to_owned();
        // By what it is, not by how it is written: `a` and `./a` are in one directory, and this process has its lock.
        let stat = |e: Errno| self.failed("examine the directory of", e.into());
        let mine = rustix::fs::fstat(&self.directory).map_err(stat)?;
        let other = rustix::fs::stat(parent_of(path)).map_err(|e| failed("open", parent_of(path), e.into()))?;
        if (mine.st_dev, mine.st_ino) != (other.st_dev, other.st_ino) {
            return Place::lock(path);
        }
        let directory =
            rustix::io::fcntl_dupfd_cloexec(&self.directory, 3).map_err(|e| self.failed("lock", e.into()))?;
        Ok(Place { path: path.into(), name, directory })
    }

    /// Reads the file; nothing when there is none.
    ///
    /// # Errors
    /// It cannot be read, or is no regular file of a bearable size.
    pub fn read(&self) -> Result<Option<Secret>, StoreError> {
        read_at(&self.directory, &self.name, &self.path)
    }

    /// Puts new contents in the file's place, if it still says `before`. A new file is the owner's alone.
    ///
    /// # Errors
    /// It was changed meanwhile, or the disk refuses; then it is as it was.
    pub fn replace(&self, before: Option<&Secret>, contents: &[u8]) -> Result<(), StoreError> {
        let temporary = self.beside("new");
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.directory, &temporary, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|e| self.failed("write beside", e.into()))?;
        let written = self.fill(File::from(fd), before, contents).and_then(|()| {
            if self.read()?.as_ref() == before { Ok(()) } else { Err(StoreError::Meanwhile(self.path.clone())) }
        });
        if let Err(error) = written.and_then(|()| self.swap(&temporary, before)) {
            // Best effort on a failure that is being reported; the next writer takes it away.
            rustix::fs::unlinkat(&self.directory, &temporary, AtFlags::empty()).ok();
            return Err(error);
        }
        self.sync()
    }

    /// Gives the new file the name. Who takes no lock (sops, an editor) may write between a look at the old one and its
    /// end: so both change places, and the old one is looked at where nobody else writes.
    fn swap(&self, temporary: &OsStr, before: Option<&Secret>) -> Result<(), StoreError> {
        let flags = if before.is_some() { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
        let renamed = |e: Errno| self.failed("replace", e.into());
        let both = || rustix::fs::renameat_with(&self.directory, temporary, &self.directory, &self.name, flags);
        match both() {
            Ok(()) => {}
            Err(Errno::EXIST | Errno::NOENT) => return Err(StoreError::Meanwhile(self.path.clone())),
            // A file system that cannot do that: NFS, and what is older.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                return rustix::fs::renameat(&self.directory, temporary, &self.directory, &self.name).map_err(renamed);
            }
            Err(errno) => return Err(renamed(errno)),
        }
        let Some(before) = before else { return Ok(()) };
        let old = read_at(&self.directory, temporary, &self.path);
        if !matches!(&old, Ok(Some(old)) if old == before) {
            both().map_err(renamed)?;
            return Err(old.err().unwrap_or_else(|| StoreError::Meanwhile(self.path.clone())));
        }
        self.remove(temporary)
    }

    fn fill(&self, mut file: File, before: Option<&Secret>, contents: &[u8]) -> Result<(), StoreError> {
        // Of a file that was not there when it was looked at, somebody else would choose who reads the new one.
        if before.is_some() {
            let old = rustix::fs::statat(&self.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|e| self.failed("examine", e.into()))?;
            let mine = file.metadata().map_err(|source| self.failed("examine beside", source))?;
            if (mine.uid(), mine.gid()) != (old.st_uid, old.st_gid) {
                let (uid, gid) = (Uid::from_raw(old.st_uid), Gid::from_raw(old.st_gid));
                let kept = rustix::fs::fchown(&file, Some(uid), Some(gid));
                kept.map_err(|e| self.failed("keep the owner of", e.into()))?;
            }
            let kept = rustix::fs::fchmod(&file, Mode::from_raw_mode(old.st_mode & 0o777));
            kept.map_err(|e| self.failed("keep the mode of", e.into()))?;
        }
        let written = file.write_all(contents).and_then(|()| file.sync_all());
        written.map_err(|source| self.failed("write beside", source))
    }

    fn sync(&self) -> Result<(), StoreError> {
        rustix::fs::fsync(&self.directory).map_err(|e| self.failed("make durable", e.into()))
    }

    /// Makes sure that a file that somebody wrote, who may have been killed, outlives a power cut.
    ///
    /// # Errors
    /// It is not there, or the disk refuses.
    pub fn settle(&self) -> Result<(), StoreError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.directory, &self.name, flags, Mode::empty());
        let synced = fd.and_then(rustix::fs::fsync);
        synced.map_err(|e| self.failed("make durable", e.into()))?;
        self.sync()
    }

    fn beside(&self, what: &str) -> OsString {
        let mut name = OsString::from(".");
        name.push(&self.name);
        name.push(MARK);
        name.push(what);
        name
    }

    fn failed(&self, step: &'static str, source: std::io::Error) -> StoreError {
        failed(step, &self.path, source)
    }
}

/// Reads a file without the lock: writers replace it whole.
///
/// # Errors
/// It is not there, cannot be read, or is no regular file of a bearable size.
pub fn read_file(path: &Path) -> Result<Secret, StoreError> {
    let missing = || failed("read", path, Errno::NOENT.into());
    read_at(rustix::fs::CWD, path.as_os_str(), path)?.ok_or_else(missing)
}

/// Whether there is something of that name. That it cannot be told is no "no": whoever goes on would go on without it.
///
/// # Errors
/// It cannot be told.
pub fn is_there(path: &Path) -> Result<bool, StoreError> {
    path.try_exists().map_err(|source| failed("look for", path, source))
}

fn read_at(at: impl std::os::fd::AsFd, name: &OsStr, path: &Path) -> Result<Option<Secret>, StoreError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(at, name, flags, Mode::empty()) {
        Ok(fd) => File::from(fd),
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => return Err(StoreError::NotAFile(path.into())),
        Err(errno) => return Err(failed("read", path, errno.into())),
    };
    let meta = file.metadata().map_err(|source| failed("examine", path, source))?;
    if !meta.is_file() || meta.len() > MAX_SIZE {
        return Err(StoreError::NotAFile(path.into()));
    }
    // One that grows meanwhile is no file of secrets.
    read_all(file.take(MAX_SIZE + 1), meta.len()).map(Some).map_err(|source| failed("read", path, source))
}

/// Reads a stream to its end into memory that is wiped, at most [`MAX_SIZE`] bytes.
///
/// # Errors
/// It cannot be read, or is too long.
pub fn read_stream(stream: impl std::io::Read) -> std::io::Result<Secret> {
    let text = read_all(stream.take(MAX_SIZE + 1), 4096)?;
    if text.expose().len() as u64 > MAX_SIZE {
        return Err(std::io::Error::other("more than 16 MiB"));
    }
    Ok(text)
}

fn read_all(mut source: impl std::io::Read, expected: u64) -> std::io::Result<Secret> {
    let mut sink = crate::secret::Sink::default();
    let mut piece = Zeroizing::new(vec![0; usize::try_from(expected.clamp(512, 1 << 16)).unwrap_or(512)]);
    loop {
        match source.read(&mut piece) {
            Ok(0) => return Ok(sink.into_secret()),
            Ok(count) => sink.push(piece.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn failed(step: &'static str, path: &Path, source: std::io::Error) -> StoreError {
    StoreError::Io { step, path: path.into(), source }
}

#[cfg(test)]
mod tests;
