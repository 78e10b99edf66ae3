//! Operations that change the workspace.
//!
//! A file appears whole or not at all: it is written beside its name and then renamed onto it. Each operation opens what
//! it works on once, and speaks of it by that descriptor.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;
use serde_json::{Value, json};

use super::paths::{self, Entry, Mkdir, Pinned, Reach, Root};
use super::pieces::Frames;
use super::{Failure, Op, Request};

/// The bits that a caller may set. The jail refuses the others, and so does this, with a better reason.
const PERMISSIONS: u32 = 0o777;

/// `pinned`, `mkdir`, `mode`, `unsynced`: the pieces become the file. `create` answers `created: false` where a name exists.
pub(super) fn write(
    root: &Root<'_>,
    request: &Request,
    frames: &mut Frames<impl Read, impl Write>,
) -> Result<Value, Failure> {
    let entry = destination(root, request, &request.path)?;
    let old = entry.stat()?;
    if request.op == Op::Create && old.is_some() {
        return Ok(json!({ "created": false }));
    }
    if let Some(old) = &old {
        paths::refuse_links(old, &entry.path)?;
    }
    let kept = old.filter(|s| FileType::from_raw_mode(s.st_mode) == FileType::RegularFile).map(|s| s.st_mode);
    let beside = Beside::new(&entry.dir)?;
    while let Some(piece) = frames.piece()? {
        write_all(beside.fd.as_fd(), piece)?;
    }
    if let Some(mode) = request.mode.or(kept) {
        rustix::fs::fchmod(&beside.fd, Mode::from_raw_mode(mode & PERMISSIONS))?;
    }
    if !request.unsynced {
        rustix::fs::fsync(&beside.fd)?;
    }
    if request.op == Op::Create {
        return Ok(json!({ "created": beside.become_new(&entry.name)? }));
    }
    beside.replace(&entry.name)?;
    Ok(json!({ "path": root.real(&entry.path) }))
}

/// `pinned`, `mkdir`: the pieces go to the end of the file, which is made when it is missing.
pub(super) fn append(
    root: &Root<'_>,
    request: &Request,
    frames: &mut Frames<impl Read, impl Write>,
) -> Result<Value, Failure> {
    let entry = destination(root, request, &request.path)?;
    let (fd, _) = entry.open(OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE)?;
    while let Some(piece) = frames.piece()? {
        write_all(fd.as_fd(), piece)?;
    }
    rustix::fs::fsync(&fd)?;
    Ok(json!({ "path": root.real(&entry.path) }))
}

/// `pinned`: a directory, and those above it.
pub(super) fn mkdir(root: &Root<'_>, request: &Request) -> Result<Value, Failure> {
    root.refuse_readonly(&request.readonly, &request.path, Reach::Itself)?;
    let path = if request.pinned { request.path.clone() } else { root.resolve(&request.path)? };
    root.refuse_denied(&path)?;
    root.refuse_readonly(&request.readonly, &path, Reach::Itself)?;
    root.walk(&path, Mkdir::Yes)?;
    Ok(json!({ "path": root.real(&path) }))
}

/// `pinned`, `recursive`, `force`: takes a name away. A symlink is a name; what it leads to stays.
pub(super) fn remove(root: &Root<'_>, request: &Request) -> Result<Value, Failure> {
    let reach = if request.recursive { Reach::Below } else { Reach::Itself };
    root.refuse_readonly(&request.readonly, &request.path, reach)?;
    let is_missing = |e: &Failure| request.force && e.code == "ENOENT";
    let entry = match root.entry(&request.path, Pinned::from(request.pinned), Mkdir::No) {
        Err(e) if is_missing(&e) => return Ok(json!({ "removed": false })),
        other => other?,
    };
    root.refuse_readonly(&request.readonly, &entry.path, reach)?;
    let removed = if request.recursive {
        remove_tree(entry.dir.as_fd(), &entry.name)
    } else {
        remove_one(entry.dir.as_fd(), &entry.name)
    };
    match removed {
        Err(e) if is_missing(&e) => Ok(json!({ "removed": false })),
        other => other.map(|()| json!({ "removed": true })),
    }
}

/// `to`: moves an entry over another name. Directories above the new name are made.
pub(super) fn rename(root: &Root<'_>, request: &Request) -> Result<Value, Failure> {
    let to = second(request)?;
    for path in [&request.path, to] {
        root.refuse_readonly(&request.readonly, path, Reach::Below)?;
    }
    let from = root.entry(&request.path, Pinned::No, Mkdir::No)?;
    let to = root.entry(to, Pinned::No, Mkdir::Yes)?;
    for entry in [&from, &to] {
        root.refuse_readonly(&request.readonly, &entry.path, Reach::Below)?;
    }
    match rustix::fs::renameat(&from.dir, &from.name, &to.dir, &to.name) {
        // Directories above protected files are mounts in the jail, and nothing is renamed from one mount to another.
        Err(Errno::XDEV) => move_across(&from, &to)?,
        other => other?,
    }
    Ok(json!({ "path": root.real(&to.path) }))
}

/// `to`, `pinned`, `mkdir`: a regular file, with its mode.
pub(super) fn copy(root: &Root<'_>, request: &Request) -> Result<Value, Failure> {
    let from = root.entry(&request.path, Pinned::No, Mkdir::No)?;
    let to = destination(root, request, second(request)?)?;
    if let Some(old) = to.stat()? {
        paths::refuse_links(&old, &to.path)?;
    }
    let beside = Beside::new(&to.dir)?;
    fill(&beside, &from)?;
    beside.replace(&to.name)?;
    Ok(json!({ "path": root.real(&to.path) }))
}

fn second(request: &Request) -> Result<&Path, Failure> {
    request.to.as_deref().ok_or_else(|| Failure::new("EINVAL", "the second path is missing"))
}

fn destination(root: &Root<'_>, request: &Request, path: &Path) -> Result<Entry, Failure> {
    root.refuse_readonly(&request.readonly, path, Reach::Itself)?;
    // Where it leads is asked first: nothing is made on the way to what may not be changed.
    let parent = path.parent().unwrap_or(Path::new(""));
    if let (false, Some(name)) = (request.pinned, path.file_name()) {
        root.refuse_readonly(&request.readonly, &root.resolve(parent)?.join(name), Reach::Itself)?;
    }
    let entry = root.entry(path, Pinned::from(request.pinned), Mkdir::from(request.mkdir))?;
    root.refuse_readonly(&request.readonly, &entry.path, Reach::Itself)?;
    Ok(entry)
}

/// A new file in the directory of the name it will take, removed again unless it takes it.
struct Beside<'d> {
    dir: &'d OwnedFd,
    name: Option<OsString>,
    fd: OwnedFd,
}

impl<'d> Beside<'d> {
    fn new(dir: &'d OwnedFd) -> Result<Beside<'d>, Failure> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut tries = 0;
        loop {
            let name = fresh_name()?;
            match rustix::fs::openat(dir, &name, flags, Mode::RUSR | Mode::WUSR) {
                Err(Errno::EXIST) if tries < 100 => tries += 1,
                other => return Ok(Beside { dir, name: Some(name), fd: other? }),
            }
        }
    }

    fn replace(mut self, name: &OsStr) -> Result<(), Failure> {
        if let Some(own) = &self.name {
            rustix::fs::renameat(self.dir, own, self.dir, name)?;
            self.name = None;
        }
        Ok(())
    }

    /// Takes a name that nobody has; false when somebody does.
    fn become_new(mut self, name: &OsStr) -> Result<bool, Failure> {
        let Some(own) = self.name.clone() else { return Ok(false) };
        match rustix::fs::renameat_with(self.dir, &own, self.dir, name, RenameFlags::NOREPLACE) {
            Ok(()) => {
                self.name = None;
                Ok(true)
            }
            Err(Errno::EXIST) => Ok(false),
            // Not every file system can; a link does not replace either.
            Err(Errno::INVAL | Errno::NOSYS) => {
                match rustix::fs::linkat(self.dir, &own, self.dir, name, AtFlags::empty()) {
                    Ok(()) => Ok(true),
                    Err(Errno::EXIST) => Ok(false),
                    Err(e) => Err(e.into()),
                }
            }
            Err(e) => Err(e.into()),
        }
    }
}

impl Drop for Beside<'_> {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            // What stays is a file of the agent's own in its own workspace.
            rustix::fs::unlinkat(self.dir, name, AtFlags::empty()).ok();
        }
    }
}

/// The prefix is OpenClaw's own, which its watchers know.
fn fresh_name() -> Result<OsString, Failure> {
    let mut random = [0; 8];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
    Ok(format!(".openclaw-write-{:016x}", u64::from_ne_bytes(random)).into())
}

fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Failure> {
    while !bytes.is_empty() {
        let count = rustix::io::retry_on_intr(|| rustix::io::write(fd, bytes))?;
        bytes = bytes.get(count..).unwrap_or_default();
    }
    Ok(())
}

/// Copies a regular file's bytes and mode.
fn fill(beside: &Beside<'_>, from: &Entry) -> Result<(), Failure> {
    let (source, stat) = from.open(OFlags::RDONLY)?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = rustix::io::retry_on_intr(|| rustix::io::read(&source, &mut buffer[..]))?;
        if count == 0 {
            break;
        }
        write_all(beside.fd.as_fd(), buffer.get(..count).unwrap_or_default())?;
    }
    rustix::fs::fchmod(&beside.fd, Mode::from_raw_mode(stat.st_mode & PERMISSIONS))?;
    Ok(rustix::fs::fsync(&beside.fd)?)
}

fn remove_one(dir: BorrowedFd<'_>, name: &OsStr) -> Result<(), Failure> {
    let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    Ok(rustix::fs::unlinkat(dir, name, if is_dir { AtFlags::REMOVEDIR } else { AtFlags::empty() })?)
}

fn remove_tree(dir: BorrowedFd<'_>, name: &OsStr) -> Result<(), Failure> {
    let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        let below = open_dir(dir, name)?;
        for child in names(&below)? {
            remove_tree(below.as_fd(), &child)?;
        }
    }
    remove_one(dir, name)
}

fn open_dir(dir: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Failure> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(dir, name, flags, Mode::empty())?)
}

fn names(dir: &OwnedFd) -> Result<Vec<OsString>, Failure> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    Ok(names)
}

/// Copies, puts the copy in place, and only then takes the old one away.
fn move_across(from: &Entry, to: &Entry) -> Result<(), Failure> {
    let copy = fresh_name()?;
    let copied = copy_tree(from, &Entry { dir: dup(&to.dir)?, name: copy.clone(), path: to.path.clone() });
    let placed = copied.and_then(|()| Ok(rustix::fs::renameat(&to.dir, &copy, &to.dir, &to.name)?));
    if let Err(e) = placed {
        drop(remove_tree(to.dir.as_fd(), &copy));
        return Err(e);
    }
    remove_tree(from.dir.as_fd(), &from.name)
}

fn copy_tree(from: &Entry, to: &Entry) -> Result<(), Failure> {
    let stat: Stat = rustix::fs::statat(&from.dir, &from.name, AtFlags::SYMLINK_NOFOLLOW)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(&from.dir, &from.name, Vec::new())?;
            Ok(rustix::fs::symlinkat(target, &to.dir, &to.name)?)
        }
        FileType::Directory => {
            // Open to its owner until it is filled.
            rustix::fs::mkdirat(&to.dir, &to.name, Mode::RWXU)?;
            let (below, made) = (open_dir(from.dir.as_fd(), &from.name)?, open_dir(to.dir.as_fd(), &to.name)?);
            for child in names(&below)? {
                let (from_path, to_path) = (from.path.join(&child), to.path.join(&child));
                let inner = Entry { dir: dup(&below)?, name: child.clone(), path: from_path };
                copy_tree(&inner, &Entry { dir: dup(&made)?, name: child, path: to_path })?;
            }
            Ok(rustix::fs::fchmod(&made, Mode::from_raw_mode(stat.st_mode & PERMISSIONS))?)
        }
        _ => {
            let beside = Beside::new(&to.dir)?;
            fill(&beside, from)?;
            beside.replace(&to.name)
        }
    }
}

fn dup(fd: &OwnedFd) -> Result<OwnedFd, Failure> {
    Ok(rustix::io::fcntl_dupfd_cloexec(fd, 3)?)
}
