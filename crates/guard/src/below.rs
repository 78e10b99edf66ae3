//! One walk over a tree of the host's by names, to see what of it is covered and which names one file has.
//!
//! The tree may change meanwhile under hostile hands: directories are opened beneath their parent, without symlinks.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

/// As deep as the jail's own walk looks, and a number of names that no workspace has.
const MOST_DEEP: usize = 400;
const MOST_NAMES: usize = 5_000_000;

/// One name.
pub(crate) struct Met<'a> {
    pub(crate) dir: BorrowedFd<'a>,
    /// Its path relative to the top of the walk's prefix.
    pub(crate) path: &'a [u8],
    pub(crate) name: &'a CStr,
    pub(crate) kind: FileType,
    pub(crate) ino: u64,
}

impl Met<'_> {
    pub(crate) fn stat(&self) -> rustix::io::Result<Stat> {
        rustix::fs::statat(self.dir, self.name, AtFlags::SYMLINK_NOFOLLOW)
    }
}

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Enter,
    Stop,
}

struct Frame {
    fd: OwnedFd,
    length: usize,
    below: Vec<Vec<u8>>,
}

const LIST: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Calls `visit` for every name below a directory; paths begin with `prefix`.
///
/// # Errors
/// The tree is too large or too deep to be told, or it cannot be read.
pub(crate) fn below(
    top: BorrowedFd<'_>,
    prefix: &[u8],
    visit: &mut dyn FnMut(&Met<'_>) -> Next,
) -> rustix::io::Result<()> {
    let mut path = prefix.to_vec();
    let mut names = 0;
    let fd = rustix::fs::openat(top, ".", LIST, Mode::empty())?;
    let mut stack: Vec<Frame> = Vec::new();
    let Some(first) = read(fd, &mut path, &mut names, visit)? else { return Ok(()) };
    stack.push(first);
    while let Some(frame) = stack.last_mut() {
        path.truncate(frame.length);
        let Some(name) = frame.below.pop() else {
            stack.pop();
            continue;
        };
        let opened = rustix::fs::openat(&frame.fd, os(&name), LIST, Mode::empty());
        join(&mut path, &name);
        let fd = match opened {
            Ok(fd) => fd,
            // Gone or replaced since, or closed to this user: then it is closed to the user's tools.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS) => continue,
            Err(e) => return Err(e),
        };
        if stack.len() >= MOST_DEEP {
            return Err(Errno::NAMETOOLONG);
        }
        match read(fd, &mut path, &mut names, visit)? {
            Some(frame) => stack.push(frame),
            None => return Ok(()),
        }
    }
    Ok(())
}

fn os(name: &[u8]) -> &std::ffi::OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(name)
}

fn join(path: &mut Vec<u8>, name: &[u8]) {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}

/// Visits the names of one directory. Nothing when the visitor has seen enough.
fn read(
    fd: OwnedFd,
    path: &mut Vec<u8>,
    names: &mut usize,
    visit: &mut dyn FnMut(&Met<'_>) -> Next,
) -> rustix::io::Result<Option<Frame>> {
    let length = path.len();
    let mut below = Vec::new();
    for entry in Dir::read_from(&fd)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        *names += 1;
        if *names > MOST_NAMES {
            return Err(Errno::TOOBIG);
        }
        let mut kind = entry.file_type();
        if kind == FileType::Unknown {
            let Ok(stat) = rustix::fs::statat(&fd, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            kind = FileType::from_raw_mode(stat.st_mode);
        }
        join(path, name.to_bytes());
        let next = visit(&Met { dir: fd.as_fd(), path, name, kind, ino: entry.ino() });
        path.truncate(length);
        match next {
            Next::Stop => return Ok(None),
            Next::Enter if kind.is_dir() => below.push(name.to_bytes().to_vec()),
            Next::Enter => {}
        }
    }
    Ok(Some(Frame { fd, length, below }))
}
