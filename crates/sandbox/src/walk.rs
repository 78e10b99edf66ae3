//! One walk over a tree by names: `getdents64` and no stat, so that it costs less than listing files does.
//!
//! The tree may be changed by a hostile process during the walk: directories are opened beneath their
//! parent's descriptor without following symlinks, and depth is bounded.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;

/// Deeper than this nothing is looked at: the caller is told, and says so.
pub(crate) const MAX_DEPTH: usize = 400;

/// One name met by the walk.
pub(crate) struct Met<'a> {
    /// The directory it is in, open.
    pub(crate) dir: BorrowedFd<'a>,
    /// The path relative to the walk's top, without a leading slash.
    pub(crate) path: &'a [u8],
    /// Where the name starts in `path`.
    pub(crate) name_at: usize,
    pub(crate) kind: FileType,
    pub(crate) ino: u64,
}

impl Met<'_> {
    pub(crate) fn name(&self) -> &[u8] {
        &self.path[self.name_at..]
    }
}

/// What to do below a directory.
#[derive(PartialEq, Eq)]
pub(crate) enum Descend {
    Yes,
    No,
}

/// What a walk could not see.
#[derive(Debug, Default)]
pub(crate) struct Unseen {
    /// Directories that could not be opened or were too deep, relative.
    pub(crate) dirs: Vec<Vec<u8>>,
}

struct Frame {
    fd: OwnedFd,
    path_len: usize,
    subdirs: Vec<Box<[u8]>>,
}

/// Walks everything below `top`, which is opened anew, calling `visit` for each name.
pub(crate) fn walk(top: BorrowedFd<'_>, prefix: &[u8], visit: &mut dyn FnMut(&Met<'_>) -> Descend) -> Unseen {
    let mut unseen = Unseen::default();
    let mut path = prefix.to_vec();
    let mut buffer = Vec::with_capacity(32 * 1024);
    let mut stack = Vec::new();
    read_dir(open_dir(top, c"."), &mut path, &mut stack, &mut buffer, visit, &mut unseen);
    while let Some(frame) = stack.last_mut() {
        path.truncate(frame.path_len);
        let Some(name) = frame.subdirs.pop() else {
            stack.pop();
            continue;
        };
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(&name);
        if stack.len() >= MAX_DEPTH {
            unseen.dirs.push(path.clone());
            continue;
        }
        let Ok(c_name) = std::ffi::CString::new(&*name) else { continue };
        let Some(parent) = stack.last().map(|f| f.fd.as_fd()) else { continue };
        let opened = open_dir(parent, &c_name);
        read_dir(opened, &mut path, &mut stack, &mut buffer, visit, &mut unseen);
    }
    unseen
}

fn open_dir(parent: BorrowedFd<'_>, name: &std::ffi::CStr) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(
        parent,
        name,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

/// Reads one directory whole, calls `visit` for each name, and pushes it with the subdirectories to enter.
fn read_dir(
    opened: rustix::io::Result<OwnedFd>,
    path: &mut Vec<u8>,
    stack: &mut Vec<Frame>,
    buffer: &mut Vec<u8>,
    visit: &mut dyn FnMut(&Met<'_>) -> Descend,
    unseen: &mut Unseen,
) {
    let fd = match opened {
        Ok(fd) => fd,
        // Gone or replaced since its name was read: what replaced it is a name of its own in the parent.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return,
        Err(_) => return unseen.dirs.push(path.clone()),
    };
    let mut subdirs = Vec::new();
    let base = path.len();
    let spare: &mut [MaybeUninit<u8>] = {
        buffer.clear();
        buffer.spare_capacity_mut()
    };
    let mut entries = RawDir::new(&fd, spare);
    while let Some(entry) = entries.next() {
        let Ok(entry) = entry else {
            unseen.dirs.push(path.clone());
            break;
        };
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        let mut kind = entry.file_type();
        if kind == FileType::Unknown {
            let Ok(stat) = rustix::fs::statat(&fd, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) else { continue };
            kind = FileType::from_raw_mode(stat.st_mode);
        }
        if base > 0 {
            path.push(b'/');
        }
        let name_at = path.len();
        path.extend_from_slice(name);
        let descend = visit(&Met { dir: fd.as_fd(), path, name_at, kind, ino: entry.ino() });
        if kind == FileType::Directory && descend == Descend::Yes {
            subdirs.push(name.into());
        }
        path.truncate(base);
    }
    stack.push(Frame { fd, path_len: base, subdirs });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symlinked_directories_are_named_and_not_entered() {
        let top = std::env::temp_dir().join(format!("mantlet-walk-{}", std::process::id()));
        std::fs::create_dir_all(top.join("a/b")).expect("mkdir");
        std::fs::write(top.join("a/b/file"), b"").expect("write");
        std::os::unix::fs::symlink("/usr", top.join("out")).expect("symlink");
        let fd = std::fs::File::open(&top).expect("open");
        let mut seen = Vec::new();
        let unseen = walk(fd.as_fd(), b"", &mut |met| {
            seen.push(String::from_utf8_lossy(met.path).into_owned());
            Descend::Yes
        });
        seen.sort();
        std::fs::remove_dir_all(&top).expect("cleanup");
        assert_eq!(seen, ["a", "a/b", "a/b/file", "out"]);
        assert!(unseen.dirs.is_empty());
    }
}
