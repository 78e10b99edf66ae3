//! Looks at one name in an open directory, without following anything and without changing anything.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;
use std::time::SystemTime;

use rustix::fs::{AtFlags, Mode, OFlags, Statx, StatxAttributes, StatxFlags, XattrFlags};
use rustix::io::Errno;
use sha2::Digest as _;

use crate::record::{Attributes, Flags, Is, Record, Xattr};
use crate::text::Sha256;

const TYPE: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;
const SYMLINK: u32 = 0o120_000;

/// The bits by which an inode is known again, and a change of it noticed without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) dev: (u32, u32),
    pub(crate) ino: u64,
    pub(crate) mount: u64,
    pub(crate) size: u64,
    /// No system call sets it: only a clock set back, a raw device or a server that lies could make it stand still.
    pub(crate) ctime: (i64, u32),
}

/// What stands at a name.
pub(crate) struct Look {
    pub(crate) stat: Statx,
    /// Open for reading, where it is a file or a directory that we may read.
    pub(crate) file: Option<File>,
    pub(crate) target: Option<PathBuf>,
    /// When that was, by the clock that also stamps changes.
    pub(crate) at: SystemTime,
}

/// What was found at a name, with its content looked at.
pub(crate) struct Found {
    pub(crate) record: Record,
    pub(crate) look: Option<Look>,
}

pub(crate) fn stat(dir: BorrowedFd<'_>, name: &OsStr) -> Result<Option<Statx>, Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    match rustix::fs::statx(dir, name, flags, StatxFlags::BASIC_STATS | StatxFlags::MNT_ID) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(e),
    }
}

pub(crate) fn stat_of(file: impl AsFd) -> Result<Statx, Errno> {
    rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS | StatxFlags::MNT_ID)
}

pub(crate) fn stamp(stat: &Statx) -> Stamp {
    Stamp {
        dev: (stat.stx_dev_major, stat.stx_dev_minor),
        ino: stat.stx_ino,
        mount: stat.stx_mnt_id,
        size: stat.stx_size,
        ctime: (stat.stx_ctime.tv_sec, stat.stx_ctime.tv_nsec),
    }
}

pub(crate) fn is_directory(stat: &Statx) -> bool {
    u32::from(stat.stx_mode) & TYPE == DIRECTORY
}

pub(crate) fn is_regular(stat: &Statx) -> bool {
    u32::from(stat.stx_mode) & TYPE == REGULAR
}

pub(crate) fn is_symlink(stat: &Statx) -> bool {
    u32::from(stat.stx_mode) & TYPE == SYMLINK
}

pub(crate) fn is_mount(stat: &Statx) -> bool {
    stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)
}

/// Looks at a name. Nothing but files and directories is opened: a FIFO would hang, a device might act.
pub(crate) fn look(dir: BorrowedFd<'_>, name: &OsStr) -> Result<Option<Look>, Errno> {
    const TRIES: usize = 8;
    for _ in 0..TRIES {
        let at = SystemTime::now();
        let Some(stat) = stat(dir, name)? else { return Ok(None) };
        let kind = u32::from(stat.stx_mode) & TYPE;
        if kind == SYMLINK {
            match rustix::fs::readlinkat(dir, name, Vec::new()) {
                Ok(target) => {
                    let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                    return Ok(Some(Look { stat, file: None, target: Some(target), at }));
                }
                // Replaced in between: look again.
                Err(Errno::INVAL | Errno::NOENT) => continue,
                Err(e) => return Err(e),
            }
        }
        if kind != REGULAR && kind != DIRECTORY {
            return Ok(Some(Look { stat, file: None, target: None, at }));
        }
        let file = match open(dir, name, kind == DIRECTORY) {
            Ok(file) => file,
            Err(Errno::ACCESS | Errno::PERM) => return Ok(Some(Look { stat, file: None, target: None, at })),
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::NXIO) => continue,
            Err(e) => return Err(e),
        };
        let opened = stat_of(&file)?;
        if u32::from(opened.stx_mode) & TYPE == kind {
            return Ok(Some(Look { stat: opened, file: Some(File::from(file)), target: None, at }));
        }
    }
    Err(Errno::AGAIN)
}

fn open(dir: BorrowedFd<'_>, name: &OsStr, is_directory: bool) -> Result<OwnedFd, Errno> {
    let mut flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    if is_directory {
        flags |= OFlags::DIRECTORY;
    }
    // Looking must not write the access time; only an owner may ask for that.
    match rustix::fs::openat(dir, name, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => rustix::fs::openat(dir, name, flags, Mode::empty()),
        other => other,
    }
}

impl Look {
    pub(crate) fn attributes(&self) -> Attributes {
        let stat = &self.stat;
        let has = |flag| stat.stx_attributes.contains(flag);
        Attributes {
            mode: u32::from(stat.stx_mode) & 0o7777,
            uid: stat.stx_uid,
            gid: stat.stx_gid,
            nlink: if is_directory(stat) { 0 } else { stat.stx_nlink },
            flags: Flags { immutable: has(StatxAttributes::IMMUTABLE), append: has(StatxAttributes::APPEND) },
            mount: is_mount(stat),
            xattrs: self.file.as_ref().map(xattrs).unwrap_or_default(),
        }
    }

    /// Everything but the content of a file.
    pub(crate) fn shape(&self) -> Is {
        let kind = u32::from(self.stat.stx_mode) & TYPE;
        match (kind, &self.target) {
            (DIRECTORY, _) => Is::Directory,
            (SYMLINK, Some(target)) => Is::Symlink { target: target.clone() },
            (REGULAR, _) => Is::Unreadable { size: self.stat.stx_size },
            _ => Is::Other { kind },
        }
    }
}

/// Looks at a name with its content, as far as that may be what is wanted: a file of more than `most` bytes is not read. An
/// attacker makes one of a petabyte with one call, and reading it would be the end of the watch.
pub(crate) fn find(dir: BorrowedFd<'_>, name: &OsStr, most: u64) -> Result<Found, Errno> {
    let Some(mut look) = look(dir, name)? else {
        return Ok(Found { record: Record::absent(), look: None });
    };
    let mut is = look.shape();
    if let (Is::Unreadable { .. }, Some(file)) = (&is, look.file.as_mut())
        && let Some((sha256, size)) = hash(file, most)?
    {
        is = Is::File { sha256, size };
    }
    let record = Record { is, attributes: Some(look.attributes()) };
    Ok(Found { record, look: Some(look) })
}

/// Hashes a file from its beginning, and counts its bytes, unless there are more than `most`.
fn hash(mut file: &File, most: u64) -> Result<Option<(Sha256, u64)>, Errno> {
    const CHUNK: usize = 64 * 1024;
    let mut chunk = [0; CHUNK];
    let mut hash = sha2::Sha256::new();
    let mut size = 0;
    if stat_of(file)?.stx_size > most {
        return Ok(None);
    }
    rustix::fs::seek(file, rustix::fs::SeekFrom::Start(0))?;
    loop {
        match file.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => {
                hash.update(chunk.get(..n).unwrap_or_default());
                size += n as u64;
                if size > most {
                    return Ok(None);
                }
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Errno::from_io_error(&e).unwrap_or(Errno::IO)),
        }
    }
    Ok(Some((Sha256(hash.finalize().into()), size)))
}

/// Reads a file whole, when it is no larger than `max`.
pub(crate) fn read(mut file: &File, max: u64) -> Result<Option<Vec<u8>>, Errno> {
    let mut bytes = Vec::new();
    rustix::fs::seek(file, rustix::fs::SeekFrom::Start(0))?;
    // One byte more shows that there is more.
    let read = file.by_ref().take(max.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
    Ok((bytes.len() as u64 <= max).then_some(bytes))
}

/// Kernel's own seals over content: they follow it by themselves, and nobody may write them directly.
const SEALS: [&[u8]; 2] = [b"security.ima", b"security.evm"];

fn xattrs(file: &File) -> Vec<Xattr> {
    let mut all: Vec<Xattr> = list(file).split(|b| *b == 0).filter_map(|name| xattr(file, name)).collect();
    all.sort_unstable();
    all
}

fn list(file: &File) -> Vec<u8> {
    let mut names = [0; 1024];
    match rustix::fs::flistxattr(file, &mut names) {
        Ok(length) => names.get(..length).unwrap_or_default().to_vec(),
        Err(Errno::RANGE) => {
            let mut names = vec![0; 64 * 1024];
            let length = rustix::fs::flistxattr(file, &mut names[..]).unwrap_or(0);
            names.truncate(length);
            names
        }
        Err(_) => Vec::new(),
    }
}

fn xattr(file: &File, name: &[u8]) -> Option<Xattr> {
    if name.is_empty() || SEALS.contains(&name) {
        return None;
    }
    let mut value = vec![0; 64 * 1024];
    let length = rustix::fs::fgetxattr(file, OsStr::from_bytes(name), &mut value[..]).ok()?;
    value.truncate(length);
    // A name that is no UTF-8 is compared, and cannot be put back.
    Some(Xattr { name: String::from_utf8_lossy(name).into_owned(), value })
}

/// Gives a file these extended attributes and no others. Answers which could not be set.
pub(crate) fn set_xattrs(file: &File, wanted: &[Xattr]) -> Vec<String> {
    let found = xattrs(file);
    let mut failed = Vec::new();
    for old in found.iter().filter(|old| !wanted.iter().any(|w| w.name == old.name)) {
        if rustix::fs::fremovexattr(file, old.name.as_str()).is_err() {
            failed.push(old.name.clone());
        }
    }
    for new in wanted.iter().filter(|new| !found.contains(new)) {
        if rustix::fs::fsetxattr(file, new.name.as_str(), &new.value, XattrFlags::empty()).is_err() {
            failed.push(new.name.clone());
        }
    }
    failed
}
