//! The state directory: who may see it, how files in it are written whole, and that there is one watch at a time.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// It, or something in it, cannot be made, read or written.
    #[error("cannot {step} {path:?}: {source}")]
    Io {
        /// What was tried.
        step: &'static str,
        /// At which path.
        path: PathBuf,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// Others could read or write it.
    #[error("{path:?} belongs to another user, or others may enter it\nhint: chmod 700 {path:?}")]
    Loose {
        /// The directory.
        path: PathBuf,
    },
    /// Another watch works with it.
    #[error("another watch is at work with {path:?}")]
    Busy {
        /// The directory.
        path: PathBuf,
    },
    /// The key beside the baseline is none.
    #[error("{path:?} is no signing key of 64 hex digits\nhint: find out who wrote it; a new baseline takes a new key")]
    Key {
        /// The key file.
        path: PathBuf,
    },
}

/// The state directory, open and locked.
#[derive(Debug)]
pub(crate) struct StateDir {
    dir: OwnedFd,
    path: PathBuf,
    _lock: OwnedFd,
}

pub(crate) fn failed(step: &'static str, path: &Path) -> impl FnOnce(Errno) -> StateError {
    let path = path.to_owned();
    move |source| StateError::Io { step, path, source: source.into() }
}

impl StateDir {
    pub(crate) fn open(path: &Path) -> Result<StateDir, StateError> {
        let io = |step, source| StateError::Io { step, path: path.to_owned(), source };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|e| io("make", e))?;
        let path = path.canonicalize().map_err(|e| io("follow", e))?;
        let dir = open_dir(rustix::fs::CWD, path.as_os_str()).map_err(failed("open", &path))?;
        let stat = rustix::fs::fstat(&dir).map_err(failed("look at", &path))?;
        if stat.st_uid != rustix::process::geteuid().as_raw() || stat.st_mode & 0o077 != 0 {
            return Err(StateError::Loose { path });
        }
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let lock = rustix::fs::openat(&dir, "lock", flags, Mode::RUSR | Mode::WUSR).map_err(failed("lock", &path))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(StateError::Busy { path }),
            Err(e) => return Err(failed("lock", &path)(e)),
        }
        Ok(StateDir { dir, path, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a directory in it, which is made when it is missing.
    pub(crate) fn sub(&self, name: &'static str) -> Result<(OwnedFd, PathBuf), StateError> {
        let path = self.path.join(name);
        match rustix::fs::mkdirat(&self.dir, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(failed("make", &path)(e)),
        }
        Ok((open_dir(self.dir.as_fd(), name.as_ref()).map_err(failed("open", &path))?, path))
    }

    pub(crate) fn read(&self, name: &'static str) -> Result<Option<Vec<u8>>, StateError> {
        let path = self.path.join(name);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.dir, name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(e) => return Err(failed("open", &path)(e)),
        };
        // A million records of a few hundred bytes.
        const MAX: u64 = 512 * 1024 * 1024;
        let bytes = crate::look::read(&file, MAX).map_err(failed("read", &path))?;
        bytes.map(Some).ok_or_else(|| failed("read", &path)(Errno::FBIG))
    }

    /// Writes a file whole: who reads it, after a kill as well, finds the old or the new content.
    pub(crate) fn write(&self, name: &'static str, bytes: &[u8]) -> Result<(), StateError> {
        write_whole(self.dir.as_fd(), name, bytes, Sync::Disk).map_err(failed("write", &self.path.join(name)))
    }
}

/// Whether a file must be on the disk before it gets its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sync {
    Disk,
    /// Its content is checked by hash whenever it is used.
    Later,
}

pub(crate) fn write_whole(dir: BorrowedFd<'_>, name: &str, bytes: &[u8], sync: Sync) -> Result<(), Errno> {
    let temporary = format!("{name}.new");
    match rustix::fs::unlinkat(dir, &temporary, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(e) => return Err(e),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::openat(dir, &temporary, flags, Mode::RUSR | Mode::WUSR)?);
    file.write_all(bytes).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
    if sync == Sync::Disk {
        rustix::fs::fsync(&file)?;
    }
    rustix::fs::renameat(dir, &temporary, dir, name)
}

pub(crate) fn open_dir(dir: BorrowedFd<'_>, name: &std::ffi::OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}
