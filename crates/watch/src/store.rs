//! Copies of protected content by hash, so that it can be put back. Whatever comes out of here was hashed again.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::look;
use crate::state::{StateDir, StateError, Sync, failed, write_whole};
use crate::text::Sha256;

/// The copies, one file each, named by their hash.
#[derive(Debug)]
pub(crate) struct Store {
    dir: OwnedFd,
    path: PathBuf,
    max: u64,
}

impl Store {
    pub(crate) fn open(state: &StateDir, max: u64) -> Result<Store, StateError> {
        let (dir, path) = state.sub("store")?;
        Ok(Store { dir, path, max })
    }

    /// The largest file that is kept.
    pub(crate) fn max(&self) -> u64 {
        self.max
    }

    /// Keeps a copy.
    pub(crate) fn put(&self, bytes: &[u8]) -> Result<Sha256, StateError> {
        let sha256 = Sha256::of(bytes);
        if !self.has(sha256, bytes.len() as u64) {
            let name = sha256.hex();
            let put = write_whole(self.dir.as_fd(), &name, bytes, Sync::Later);
            put.map_err(failed("write", &self.path.join(name)))?;
        }
        Ok(sha256)
    }

    /// Says whether there seems to be a copy: by its size alone, since it is hashed when it is used.
    pub(crate) fn has(&self, sha256: Sha256, size: u64) -> bool {
        let stat = rustix::fs::statat(&self.dir, sha256.hex(), AtFlags::SYMLINK_NOFOLLOW);
        stat.is_ok_and(|stat| u64::try_from(stat.st_size) == Ok(size))
    }

    /// Returns a copy, unless it is missing or not what its name says.
    pub(crate) fn get(&self, sha256: Sha256) -> Option<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::openat(&self.dir, sha256.hex(), flags, Mode::empty()).ok()?);
        let bytes = look::read(&file, self.max).ok()??;
        (Sha256::of(&bytes) == sha256).then_some(bytes)
    }

    /// Removes one copy.
    pub(crate) fn remove(&self, sha256: Sha256) {
        // One that stays is removed by the next sweep.
        rustix::fs::unlinkat(&self.dir, sha256.hex(), AtFlags::empty()).ok();
    }

    /// Removes what the baseline does not name any more.
    pub(crate) fn sweep(&self, needed: &BTreeSet<Sha256>) -> Result<(), StateError> {
        let names: BTreeSet<String> = needed.iter().map(Sha256::hex).collect();
        let listing = rustix::fs::Dir::read_from(&self.dir).map_err(failed("list", &self.path))?;
        for entry in listing.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name == "." || name == ".." || names.contains(&name) {
                continue;
            }
            match rustix::fs::unlinkat(&self.dir, entry.file_name(), AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(e) => return Err(failed("remove", &self.path.join(name))(e)),
            }
        }
        Ok(())
    }
}
