//! Whether a place may be written, and a file replaced there whole or not at all.
//!
//! The attack: another user who can write a directory on the way puts a link or a file of theirs in the place of
//! the settings, and an install by root would write through it.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, RenameFlags, Uid, XattrFlags};
use rustix::io::Errno;
use rustix::process::{getegid, geteuid};

use crate::ChangeError;

/// Settings are pages of text; a larger file is a mistake.
const MAX_TEXT: usize = 8 << 20;

/// What is changed and is no text: a client's database.
const MAX_BYTES: u64 = 64 << 20;

/// A sealed record of such a change, which holds it in base64.
pub(crate) const MAX_RECORD: u64 = 256 << 20;

const STICKY: u32 = 0o1000;

/// Says where a name leads, once everything on the way belongs to the caller or to root.
///
/// A link stays in place: the file that it names is the one that is changed.
pub(crate) fn resolve(path: &Path) -> Result<PathBuf, ChangeError> {
    if !path.is_absolute() {
        return Err(ChangeError::Relative(path.into()));
    }
    judge(path)?;
    let there = match std::fs::canonicalize(path) {
        Ok(there) => there,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if path.symlink_metadata().is_ok() {
                return Err(ChangeError::Dangling(path.into()));
            }
            // The deepest directory that exists, by its own name.
            let missing = path.ancestors().take_while(|above| above.symlink_metadata().is_err()).last().unwrap_or(path);
            let above = missing.parent().unwrap_or(Path::new("/"));
            let real = std::fs::canonicalize(above).map_err(|source| failed("resolve", above, source))?;
            let rest = path.strip_prefix(above).unwrap_or(path);
            real.join(rest)
        }
        Err(source) => return Err(failed("resolve", path, source)),
    };
    if there != path {
        judge(&there)?;
    }
    Ok(there)
}

fn judge(path: &Path) -> Result<(), ChangeError> {
    // In a user namespace that does not map root, root's directories seem to be owned by the overflow uid.
    let system = std::fs::symlink_metadata("/").map_err(|source| failed("examine", Path::new("/"), source))?.uid();
    for above in path.ancestors() {
        let meta = match std::fs::symlink_metadata(above) {
            Ok(meta) => meta,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(source) => return Err(failed("examine", above, source)),
        };
        if ![0, system, geteuid().as_raw()].contains(&meta.uid()) {
            return Err(ChangeError::Foreign { path: path.into(), at: above.into(), uid: meta.uid() });
        }
        // In a sticky directory only owners rename; but in the file's own one anybody could have made the file.
        let is_own = path.parent() == Some(above);
        if !meta.is_symlink() && is_open_to_others(&meta) && (is_own || meta.mode() & STICKY == 0) {
            return Err(ChangeError::Open { path: path.into(), at: above.into() });
        }
    }
    Ok(())
}

/// A group of one's own (umask 002, as Ubuntu has it) is nobody else.
fn is_open_to_others(meta: &Metadata) -> bool {
    let is_own_group = meta.gid() == getegid().as_raw() && meta.uid() == geteuid().as_raw() && meta.gid() != 0;
    let others = if is_own_group { 0o002 } else { 0o022 };
    meta.mode() & others != 0
}

/// Reads a text, or nothing when there is none.
pub(crate) fn read_text(path: &Path) -> Result<Option<String>, ChangeError> {
    let Some(bytes) = read(path)? else { return Ok(None) };
    let text = (bytes.len() <= MAX_TEXT).then_some(bytes).and_then(|bytes| String::from_utf8(bytes).ok());
    text.map(Some).ok_or_else(|| ChangeError::NotText(path.into()))
}

/// Reads a file, or nothing when there is none.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, ChangeError> {
    read_at_most(path, MAX_BYTES)
}

/// As [`read`], for what may be larger.
pub(crate) fn read_at_most(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, ChangeError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = match rustix::fs::openat(CWD, path, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(errno) => return Err(failed("read", path, errno.into())),
    };
    let file = File::from(fd);
    let meta = file.metadata().map_err(|source| failed("examine", path, source))?;
    if !meta.is_file() || meta.len() > limit {
        return Err(ChangeError::NotAFile(path.into()));
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|source| failed("read", path, source))?;
    Ok(Some(bytes))
}

/// Returns the mode of a file, if it is there.
pub(crate) fn mode_of(path: &Path) -> Result<Option<u32>, ChangeError> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) => Ok(Some(meta.mode() & 0o7777)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(failed("examine", path, source)),
    }
}

/// What becomes of the blocks of a file that is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Old {
    /// The file system's to reuse; who has the file open reads on.
    Left,
    /// They are overwritten: a secret was in them, and nobody is reading.
    Wiped,
}

/// Makes `path` say `bytes`, or go away, if it still says `before`; a new file gets `mode`.
pub(crate) fn replace(
    path: &Path,
    before: Option<&[u8]>,
    bytes: Option<&[u8]>,
    mode: u32,
    old: Old,
) -> Result<(), ChangeError> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(ChangeError::Relative(path.into()));
    };
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(parent, flags, Mode::empty()).map_err(|e| failed("open", parent, e.into()))?;
    let temporary = temporary(name);
    let in_it = directory.as_fd();
    crate::point();
    discard(in_it, path, &temporary, old)?;
    let Some(bytes) = bytes else {
        if read_at_most(path, MAX_RECORD)?.as_deref() != before {
            return Err(ChangeError::Meanwhile(path.into()));
        }
        if old == Old::Wiped {
            // Under the other name first: a kill from here on leaves nothing half overwritten under its own.
            rustix::fs::renameat(in_it, name, in_it, &temporary).map_err(|e| failed("move", path, e.into()))?;
            crate::point();
            discard(in_it, path, &temporary, old)?;
        } else {
            remove(in_it, path, name)?;
        }
        crate::point();
        return rustix::fs::fsync(&directory).map_err(|e| failed("sync", parent, e.into()));
    };
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(in_it, &temporary, flags, Mode::RUSR | Mode::WUSR);
    let mut file = File::from(fd.map_err(|e| failed("write beside", path, e.into()))?);
    crate::point();
    let written = like_the_old(&file, path, mode).and_then(|()| {
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        written.map_err(|source| failed("write beside", path, source))
    });
    crate::point();
    let checked = written.and_then(|()| match read_at_most(path, MAX_RECORD)?.as_deref() == before {
        true => Ok(()),
        false => Err(ChangeError::Meanwhile(path.into())),
    });
    if let Err(error) = checked {
        // Best effort on a failure that is already being reported.
        rustix::fs::unlinkat(in_it, &temporary, AtFlags::empty()).ok();
        return Err(error);
    }
    put_in_place(in_it, path, &temporary, name, old)?;
    crate::point();
    rustix::fs::fsync(&directory).map_err(|e| failed("sync", parent, e.into()))
}

/// The name is the same in every run, so that the next one finds what a killed one left.
fn temporary(name: &OsStr) -> OsString {
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(".mantlet-new");
    temporary
}

/// The new file takes the name at once; the old one then has the temporary name, where a killed run's successor finds it.
fn put_in_place(
    directory: BorrowedFd<'_>,
    path: &Path,
    temporary: &OsStr,
    name: &OsStr,
    old: Old,
) -> Result<(), ChangeError> {
    let exchanged = match old {
        Old::Wiped => rustix::fs::renameat_with(directory, temporary, directory, name, RenameFlags::EXCHANGE),
        Old::Left => Err(Errno::NOENT),
    };
    let renamed = match exchanged {
        Ok(()) => {
            crate::point();
            return discard(directory, path, temporary, old);
        }
        // There is no old file, or the file system cannot exchange names: then its old blocks stay.
        Err(Errno::NOENT | Errno::INVAL | Errno::NOSYS) => rustix::fs::renameat(directory, temporary, directory, name),
        Err(errno) => Err(errno),
    };
    renamed.map_err(|errno| {
        // As above: the failure is being reported.
        rustix::fs::unlinkat(directory, temporary, AtFlags::empty()).ok();
        failed("replace", path, errno.into())
    })
}

/// Removes what a run that was killed while it wrote has left beside a file.
pub(crate) fn sweep(path: &Path, old: Old) -> Result<(), ChangeError> {
    let Some(name) = path.file_name() else { return Ok(()) };
    let temporary = path.with_file_name(temporary(name));
    match discard(CWD, path, temporary.as_os_str(), old) {
        Err(ChangeError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotADirectory => Ok(()),
        swept => swept,
    }
}

fn discard(directory: BorrowedFd<'_>, path: &Path, name: &OsStr, old: Old) -> Result<(), ChangeError> {
    if old == Old::Wiped {
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let wiped = match rustix::fs::openat(directory, name, flags, Mode::empty()) {
            Ok(fd) => overwrite(File::from(fd)),
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => Ok(()),
            Err(errno) => Err(errno.into()),
        };
        wiped.map_err(|source| failed("overwrite what was", path, source))?;
    }
    remove(directory, path, name)
}

/// Another name of the file may be somebody's: then nothing is overwritten.
fn overwrite(mut file: File) -> std::io::Result<()> {
    let meta = file.metadata()?;
    if !meta.is_file() || meta.nlink() > 1 {
        return Ok(());
    }
    std::io::copy(&mut std::io::repeat(0).take(meta.len()), &mut file)?;
    file.sync_all()
}

fn remove(directory: BorrowedFd<'_>, path: &Path, name: &OsStr) -> Result<(), ChangeError> {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(failed("remove", path, errno.into())),
    }
}

/// Gives the new file the owner, the mode and the attributes of the one it will replace.
fn like_the_old(file: &File, path: &Path, mode: u32) -> Result<(), ChangeError> {
    let old = match File::options().read(true).open(path) {
        Ok(old) => old,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let set = rustix::fs::fchmod(file, Mode::from_raw_mode(mode));
            return set.map_err(|e| failed("set the mode beside", path, e.into()));
        }
        Err(source) => return Err(failed("open", path, source)),
    };
    let meta = old.metadata().map_err(|source| failed("examine", path, source))?;
    let mine = file.metadata().map_err(|source| failed("examine beside", path, source))?;
    if (mine.uid(), mine.gid()) != (meta.uid(), meta.gid()) {
        let (uid, gid) = (Uid::from_raw(meta.uid()), Gid::from_raw(meta.gid()));
        rustix::fs::fchown(file, Some(uid), Some(gid)).map_err(|e| failed("keep the owner of", path, e.into()))?;
    }
    attributes(&old, file).map_err(|e| failed("keep the attributes of", path, e.into()))?;
    // Last: an access list in the attributes writes the mode's group bits.
    let set = rustix::fs::fchmod(file, Mode::from_raw_mode(meta.mode()));
    set.map_err(|e| failed("keep the mode of", path, e.into()))
}

fn attributes(from: &File, to: &File) -> Result<(), Errno> {
    let mut names = vec![0; 1 << 16];
    let length = match rustix::fs::flistxattr(from, names.as_mut_slice()) {
        Ok(length) => length,
        Err(Errno::NOTSUP) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let value = attribute(from, name)?;
        // A security module gives the new file its label by itself; then there is nothing to set.
        if attribute(to, name) != Ok(value.clone()) {
            rustix::fs::fsetxattr(to, name, &value, XattrFlags::empty())?;
        }
    }
    Ok(())
}

fn attribute(file: &File, name: &[u8]) -> Result<Vec<u8>, Errno> {
    let mut value = vec![0; 1 << 16];
    let length = rustix::fs::fgetxattr(file, name, value.as_mut_slice())?;
    value.truncate(length);
    Ok(value)
}

/// Makes a directory that is missing, in one that exists.
pub(crate) fn make_dir(path: &Path, mode: u32) -> Result<(), ChangeError> {
    crate::point();
    match std::fs::DirBuilder::new().mode(mode).create(path) {
        Ok(()) => Ok(()),
        Err(_) if path.is_dir() => Ok(()),
        Err(source) => Err(failed("make the directory", path, source)),
    }
}

/// Removes a directory of ours when nothing is in it.
pub(crate) fn remove_dir(path: &Path) -> Result<(), ChangeError> {
    crate::point();
    match rustix::fs::unlinkat(CWD, path, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR | Errno::BUSY) => Ok(()),
        Err(errno) => Err(failed("remove the directory", path, errno.into())),
    }
}

pub(crate) fn failed(step: &'static str, path: &Path, source: std::io::Error) -> ChangeError {
    ChangeError::Io { step, path: path.into(), source }
}
