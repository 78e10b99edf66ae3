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

use rustix::fs::{AtFlags, FlockOperation, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use zeroize::Zeroizing;

use crate::secret::Secret;

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
    /// It changed since it was read.
    #[error("{} was changed meanwhile by somebody else; nothing was written", mantlet_ledger::escape(.0.as_os_str().as_encoded_bytes()))]
    Meanwhile(PathBuf),
}

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
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
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
        // What a writer that was killed has left: ciphertext, and a plaintext that it was about to wipe.
        place.remove(&place.beside("new"))?;
        place.wipe(&place.beside("wipe"))?;
        Ok(place)
    }

    /// Returns the place of another file in the same directory, under the same lock.
    ///
    /// # Errors
    /// It has no name, or the descriptor cannot be copied.
    pub fn sibling(&self, path: &Path) -> Result<Place, StoreError> {
        let name = path.file_name().ok_or_else(|| StoreError::NotAFile(path.into()))?.to_owned();
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
        let written = self.fill(File::from(fd), contents).and_then(|()| {
            if self.read()?.as_ref() == before { Ok(()) } else { Err(StoreError::Meanwhile(self.path.clone())) }
        });
        let renamed = written.and_then(|()| {
            let renamed = rustix::fs::renameat(&self.directory, &temporary, &self.directory, &self.name);
            renamed.map_err(|e| self.failed("replace", e.into()))
        });
        if let Err(error) = renamed {
            // Best effort on a failure that is being reported; the next writer takes it away.
            rustix::fs::unlinkat(&self.directory, &temporary, AtFlags::empty()).ok();
            return Err(error);
        }
        self.sync()
    }

    fn fill(&self, mut file: File, contents: &[u8]) -> Result<(), StoreError> {
        if let Ok(old) = rustix::fs::statat(&self.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
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

    /// Overwrites and removes a plaintext file, if it still says what was read of it.
    ///
    /// # Errors
    /// It was changed meanwhile, has other names, or cannot be written.
    pub fn destroy(&self, before: &Secret) -> Result<(), StoreError> {
        let stat = rustix::fs::statat(&self.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|e| self.failed("examine", e.into()))?;
        if stat.st_nlink > 1 {
            return Err(StoreError::Linked(self.path.clone()));
        }
        if self.read()?.as_ref() != Some(before) {
            return Err(StoreError::Meanwhile(self.path.clone()));
        }
        // Under another name first: a kill from here on leaves nothing half overwritten under its own.
        let aside = self.beside("wipe");
        rustix::fs::renameat(&self.directory, &self.name, &self.directory, &aside)
            .map_err(|e| self.failed("move", e.into()))?;
        self.sync()?;
        self.wipe(&aside)?;
        self.sync()
    }

    fn wipe(&self, name: &OsStr) -> Result<(), StoreError> {
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut file = match rustix::fs::openat(&self.directory, name, flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::NOENT) => return Ok(()),
            // A link, or a pipe without a reader: nothing of ours.
            Err(Errno::LOOP | Errno::NXIO) => return self.remove(name),
            Err(errno) => return Err(self.failed("overwrite what was", errno.into())),
        };
        let meta = file.metadata().map_err(|source| self.failed("examine", source))?;
        // Somebody else's link to another file of the owner's, planted under this name, is not to be emptied.
        if !meta.is_file() || meta.nlink() > 1 {
            return self.remove(name);
        }
        let size = meta.len();
        let zeros = std::io::copy(&mut std::io::repeat(0).take(size), &mut file).and_then(|_| file.sync_all());
        zeros.map_err(|source| self.failed("overwrite what was", source))?;
        self.remove(name)
    }

    fn remove(&self, name: &OsStr) -> Result<(), StoreError> {
        match rustix::fs::unlinkat(&self.directory, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(self.failed("clean up beside", errno.into())),
        }
    }

    fn sync(&self) -> Result<(), StoreError> {
        rustix::fs::fsync(&self.directory).map_err(|e| self.failed("make durable", e.into()))
    }

    fn beside(&self, what: &str) -> OsString {
        let mut name = OsString::from(".");
        name.push(&self.name);
        name.push(".mantlet-");
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
    read_all(file, meta.len()).map(Some).map_err(|source| failed("read", path, source))
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

fn failed(step: &'static str, path: &Path, source: std::io::Error) -> StoreError {
    StoreError::Io { step, path: path.into(), source }
}

/// What a removed file leaves on its file system, in a sentence for its owner.
pub fn remains(directory: &Path) -> &'static str {
    let kind = rustix::fs::statfs(directory).map(|stat| stat.f_type.cast_unsigned());
    match kind {
        Ok(0x0102_1994 | 0x8584_58f6) => "in memory: nothing is left, unless it was swapped out before",
        Ok(0xef53) => {
            "on ext: its blocks were overwritten; older versions of the file, the journal (with data=journal), \
             snapshots below and a flash disk's spare blocks may still hold it"
        }
        Ok(0x9123_683e | 0x2fc1_2fc1 | 0xca45_1a4e) => {
            "on a file system that never overwrites in place (btrfs, ZFS, bcachefs): the old blocks stay until they \
             are reused, and in every snapshot"
        }
        Ok(0x5846_5342) => {
            "on XFS: its blocks were overwritten, unless they were shared (reflink); snapshots below and a flash \
             disk's spare blocks may still hold it"
        }
        Ok(0x794c_7630) => "on an overlay: a lower layer may still hold it, and what is below the upper one",
        Ok(0x6969 | 0xfe53_4d42 | 0xff53_4d42 | 0x6573_5546) => {
            "on a network or FUSE file system: what its server keeps cannot be told from here"
        }
        Ok(_) | Err(_) => "on a file system that is not known here: whether its blocks were overwritten cannot be told",
    }
}

#[cfg(test)]
mod tests {
    use std::io::Seek as _;

    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("mantlet-store-{}-{name}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        dir
    }

    #[test]
    fn a_file_is_replaced_only_if_it_says_what_was_read() {
        let dir = scratch("replace");
        let path = dir.join("a");
        let place = Place::lock(&path).unwrap();
        place.replace(None, b"one").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let before = place.read().unwrap();
        std::fs::write(&path, "other").unwrap();
        assert!(matches!(place.replace(before.as_ref(), b"two"), Err(StoreError::Meanwhile(_))));
        assert_eq!(std::fs::read(&path).unwrap(), b"other");
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1, "nothing is left beside it");
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn what_a_killed_writer_left_is_cleaned_up() {
        let dir = scratch("clean");
        std::fs::write(dir.join(".a.mantlet-new"), "half").unwrap();
        std::fs::write(dir.join("other"), "mine").unwrap();
        std::fs::hard_link(dir.join("other"), dir.join(".b.mantlet-wipe")).unwrap();
        Place::lock(&dir.join("b")).unwrap();
        assert_eq!(std::fs::read(dir.join("other")).unwrap(), b"mine", "a planted link empties nothing");
        std::fs::remove_file(dir.join("other")).unwrap();
        std::fs::write(dir.join(".a.mantlet-wipe"), "plain").unwrap();
        let watched = File::options().read(true).open(dir.join(".a.mantlet-wipe")).unwrap();
        Place::lock(&dir.join("a")).unwrap();
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
        let mut left = Vec::new();
        (&watched).rewind().and_then(|()| (&watched).read_to_end(&mut left)).unwrap();
        assert_eq!(left, b"\0\0\0\0\0");
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_plaintext_with_other_names_is_not_wiped() {
        let dir = scratch("linked");
        let path = dir.join("a");
        std::fs::write(&path, "plain").unwrap();
        std::fs::hard_link(&path, dir.join("b")).unwrap();
        let place = Place::lock(&path).unwrap();
        assert!(matches!(place.destroy(&Secret::from("plain")), Err(StoreError::Linked(_))));
        std::fs::remove_file(dir.join("b")).unwrap();
        assert!(matches!(place.destroy(&Secret::from("other")), Err(StoreError::Meanwhile(_))));
        place.destroy(&Secret::from("plain")).unwrap();
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
        std::os::unix::fs::symlink("/etc/hostname", &path).unwrap();
        assert!(matches!(place.read(), Err(StoreError::NotAFile(_))), "a link is not followed");
        std::fs::remove_dir_all(dir).unwrap();
    }
}
