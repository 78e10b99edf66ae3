//! The end of a plaintext file, and of what a writer that was killed has left beside one.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::{MARK, Place, StoreError, read_all};
use crate::secret::Secret;

const TO_WIPE: OFlags = OFlags::RDWR.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

impl Place {
    /// Overwrites and removes a plaintext file, if it still says what was read of it.
    ///
    /// # Errors
    /// It was changed meanwhile, has other names, or cannot be written; then it is as it was, or the error says where.
    pub fn destroy(&self, before: &Secret) -> Result<(), StoreError> {
        // Opened before anything moves: what cannot be overwritten stays where it is.
        let mut file = self.open_to_wipe()?;
        let meta = file.metadata().map_err(|source| self.failed("examine", source))?;
        if meta.nlink() > 1 {
            return Err(StoreError::Linked(self.path.clone()));
        }
        self.is_unchanged(&mut file, before)?;
        // Under another name first: a kill from here on leaves nothing half overwritten under its own.
        let aside = self.beside("wipe");
        self.rename(&self.name, &aside).map_err(|e| self.failed("move", e.into()))?;
        // Who takes no lock may have replaced it before, or written into it. Now nobody finds it by its name.
        let same = rustix::fs::statat(&self.directory, &aside, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|now| (now.st_dev, now.st_ino) == (meta.dev(), meta.ino()));
        let judged = if same { self.is_unchanged(&mut file, before) } else { Err(self.changed()) };
        if let Err(error) = judged {
            // When there is a new one already, the one that was moved is an old version that its writer gave up.
            self.rename(&aside, &self.name).ok();
            return Err(error);
        }
        let wiped = self.sync().and_then(|()| self.overwrite(&mut file)).and_then(|()| self.remove(&aside));
        wiped.and_then(|()| self.sync()).map_err(|error| {
            let is_there = rustix::fs::statat(&self.directory, &aside, AtFlags::SYMLINK_NOFOLLOW).is_ok();
            match is_there {
                true => StoreError::Aside { path: self.path.clone(), aside, source: Box::new(error) },
                false => error,
            }
        })
    }

    fn open_to_wipe(&self) -> Result<File, StoreError> {
        let open = |flags| rustix::fs::openat(&self.directory, &self.name, flags, Mode::empty()).map(File::from);
        let opened = match open(TO_WIPE) {
            // A key that even its owner may only read, as ssh likes it.
            Err(Errno::ACCESS) => open(TO_WIPE.difference(OFlags::RDWR)).and_then(|file| {
                rustix::fs::fchmod(&file, Mode::RUSR | Mode::WUSR)?;
                open(TO_WIPE)
            }),
            other => other,
        };
        opened.map_err(|e| self.failed("overwrite", e.into()))
    }

    fn is_unchanged(&self, file: &mut File, before: &Secret) -> Result<(), StoreError> {
        let length = before.expose().len() as u64;
        let now = file.rewind().and_then(|()| read_all(file.take(length + 1), length));
        let now = now.map_err(|source| self.failed("read", source))?;
        if now == *before { Ok(()) } else { Err(self.changed()) }
    }

    fn overwrite(&self, file: &mut File) -> Result<(), StoreError> {
        let zeros = file.rewind().and_then(|()| file.metadata()).and_then(|meta| {
            std::io::copy(&mut std::io::repeat(0).take(meta.len()), file)?;
            file.flush()?;
            file.sync_all()
        });
        zeros.map_err(|source| self.failed("overwrite", source))
    }

    /// Takes away what writers that were killed have left here: ciphertext, and a plaintext that was about to be wiped.
    pub(super) fn sweep(&self) -> Result<(), StoreError> {
        self.remove(&self.beside("new"))?;
        self.wipe(&self.beside("wipe"))?;
        let entries = Dir::read_from(&self.directory).map_err(|e| self.failed("list the directory of", e.into()))?;
        for entry in entries {
            let entry = entry.map_err(|e| self.failed("list the directory of", e.into()))?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            // Beside other files, and as far as it goes: in /tmp anybody could plant one that nobody else can remove.
            if is_left(name, "new") {
                self.remove(name).ok();
            } else if is_left(name, "wipe") {
                self.wipe(name).ok();
            }
        }
        Ok(())
    }

    fn wipe(&self, name: &OsStr) -> Result<(), StoreError> {
        let mut file = match rustix::fs::openat(&self.directory, name, TO_WIPE, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::NOENT) => return Ok(()),
            // A link: nothing of ours.
            Err(Errno::LOOP) => return self.remove(name),
            Err(errno) => return Err(self.failed("clean up beside", errno.into())),
        };
        let meta = file.metadata().map_err(|source| self.failed("examine", source))?;
        // Somebody else's link to another file of the owner's, planted under this name, is not to be emptied.
        if meta.is_file() && meta.nlink() == 1 {
            self.overwrite(&mut file)?;
        }
        self.remove(name)
    }

    pub(super) fn remove(&self, name: &OsStr) -> Result<(), StoreError> {
        match rustix::fs::unlinkat(&self.directory, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(self.failed("clean up beside", errno.into())),
        }
    }

    /// Renames within the directory, over nothing.
    fn rename(&self, from: &OsStr, to: &OsStr) -> rustix::io::Result<()> {
        let directory = &self.directory;
        match rustix::fs::renameat_with(directory, from, directory, to, RenameFlags::NOREPLACE) {
            // A file system that cannot promise that.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => rustix::fs::renameat(directory, from, directory, to),
            other => other,
        }
    }

    fn changed(&self) -> StoreError {
        StoreError::Meanwhile(self.path.clone())
    }
}

/// Whether it is a name that [`Place::beside`] gives.
fn is_left(name: &OsStr, what: &str) -> bool {
    let stem = name.as_bytes().strip_suffix(what.as_bytes()).and_then(|name| name.strip_suffix(MARK.as_bytes()));
    stem.is_some_and(|stem| stem.starts_with(b".") && stem.len() > 1)
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
