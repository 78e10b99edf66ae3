//! Moving what may not stay out of the workspace, while a hostile process may still be moving things about.
//!
//! The parent is opened beneath the workspace without following a symlink, and the name is moved by `renameat`
//! into the owner's state directory; across file systems regular files are copied and the name is unlinked.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::io::Errno;

/// More than this of one file is not kept across file systems.
const KEEP: u64 = 64 << 20;
/// More than this many entries of one directory are not kept.
const KEEP_ENTRIES: usize = 10_000;

/// The quarantine of one call.
pub(crate) struct Quarantine {
    dir: PathBuf,
    count: usize,
}

impl Quarantine {
    /// A quarantine below the state directory; nothing is made until something is moved.
    pub(crate) fn new(state: &Path, call: &str) -> Quarantine {
        Quarantine { dir: state.join("quarantine").join(call), count: 0 }
    }

    /// Moves one thing out. Answers where it went.
    pub(crate) fn take(&mut self, workspace: &OwnedFd, path: &[u8]) -> io::Result<PathBuf> {
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        let (parent, name) = split(path);
        let parent = open_beneath(workspace, parent, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let name = Path::new(std::ffi::OsStr::from_bytes(name));
        let to = rustix::fs::open(&self.dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        loop {
            let target = self.next_name(path);
            let file_name = target.file_name().unwrap_or_default();
            match rustix::fs::renameat_with(&parent, name, &to, file_name, RenameFlags::NOREPLACE) {
                Ok(()) => return Ok(target),
                // The monitor of this call took names before it was killed.
                Err(Errno::EXIST) => {}
                Err(Errno::XDEV | Errno::INVAL) => match move_across(parent.as_fd(), name, &to, Path::new(file_name)) {
                    Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                    moved => return moved.map(|()| target),
                },
                Err(e) => return Err(e.into()),
            }
        }
    }

    fn next_name(&mut self, path: &[u8]) -> PathBuf {
        self.count += 1;
        let flat: Vec<u8> = path.iter().map(|b| if *b == b'/' { b'%' } else { *b }).collect();
        // Cut after it was escaped, which makes four of a byte: a name that is too long could not be moved away.
        let name = mantlet_ledger::escape(&flat).replace('/', "%");
        let start = (name.len().saturating_sub(200)..=name.len()).find(|at| name.is_char_boundary(*at));
        self.dir.join(format!("{:04}-{}", self.count, &name[start.unwrap_or(0)..]))
    }
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|b| *b == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b".", path),
    }
}

/// Opens a path beneath the workspace, following no symlink and leaving no mount point aside.
pub(crate) fn open_beneath(workspace: &OwnedFd, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let path: &[u8] = if path.is_empty() { b"." } else { path };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    // NONBLOCK: a FIFO put in place of a file must not hang us; openat2 refuses it together with O_PATH.
    let safe = if flags.contains(OFlags::PATH) { OFlags::empty() } else { OFlags::NONBLOCK | OFlags::NOCTTY };
    let flags = flags | OFlags::CLOEXEC | safe;
    rustix::fs::openat2(workspace, Path::new(std::ffi::OsStr::from_bytes(path)), flags, Mode::empty(), resolve)
}

/// Larger files are not read: a configuration is small.
const READ: u64 = 1 << 20;

/// Reads a small regular file beneath the workspace.
pub(crate) fn read_small(workspace: &OwnedFd, path: &[u8]) -> Option<Vec<u8>> {
    let fd = open_beneath(workspace, path, OFlags::RDONLY).ok()?;
    if !rustix::fs::fstat(&fd).is_ok_and(|s| rustix::fs::FileType::from_raw_mode(s.st_mode).is_file()) {
        return None;
    }
    let mut text = Vec::new();
    std::fs::File::from(fd).take(READ + 1).read_to_end(&mut text).ok()?;
    (text.len() as u64 <= READ).then_some(text)
}

fn move_across(parent: std::os::fd::BorrowedFd<'_>, name: &Path, to: &OwnedFd, target: &Path) -> io::Result<()> {
    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let kind = rustix::fs::FileType::from_raw_mode(stat.st_mode);
    if kind.is_dir() {
        return move_dir(parent, name, to, target);
    }
    if kind.is_file() {
        copy(parent, name, to, target)?;
    } else if kind.is_symlink() {
        let link = rustix::fs::readlinkat(parent, name, Vec::new())?;
        rustix::fs::symlinkat(link.as_c_str(), to, target)?;
    }
    Ok(rustix::fs::unlinkat(parent, name, AtFlags::empty())?)
}

fn copy(parent: std::os::fd::BorrowedFd<'_>, name: &Path, to: &OwnedFd, target: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let source = std::fs::File::from(rustix::fs::openat(parent, name, flags, Mode::empty())?);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut copy = std::fs::File::from(rustix::fs::openat(to, target, flags, Mode::from_raw_mode(0o600))?);
    io::copy(&mut source.take(KEEP), &mut copy).and_then(|_| copy.flush()).inspect_err(|_| {
        // A full disk: half a file would look like a whole one.
        rustix::fs::unlinkat(to, target, AtFlags::empty()).ok();
    })
}

fn move_dir(parent: std::os::fd::BorrowedFd<'_>, name: &Path, to: &OwnedFd, target: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    rustix::fs::mkdirat(to, target, Mode::from_raw_mode(0o700))?;
    let inner = rustix::fs::openat(to, target, flags, Mode::empty())?;
    let names: Vec<_> = rustix::fs::Dir::read_from(&dir)?
        .filter_map(|entry| entry.ok().map(|e| e.file_name().to_owned()))
        .filter(|n| n.to_bytes() != b"." && n.to_bytes() != b"..")
        .take(KEEP_ENTRIES)
        .collect();
    for child in names {
        let child = Path::new(std::ffi::OsStr::from_bytes(child.to_bytes()));
        move_across(dir.as_fd(), child, &inner, child)?;
    }
    Ok(rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_quarantine_of_the_same_call_finds_another_name() {
        let top = std::env::temp_dir().join(format!("mantlet-quarantine-{}", std::process::id()));
        std::fs::create_dir_all(top.join("work")).unwrap();
        let workspace = OwnedFd::from(std::fs::File::open(top.join("work")).unwrap());
        let taken: Vec<PathBuf> = ["one", "two"]
            .into_iter()
            .map(|text| {
                std::fs::write(top.join("work/.envrc"), text).unwrap();
                Quarantine::new(&top, "call").take(&workspace, b".envrc").unwrap()
            })
            .collect();
        let texts = taken.iter().map(|path| std::fs::read_to_string(path).unwrap());
        assert_eq!(texts.collect::<Vec<_>>(), ["one", "two"]);
        std::fs::remove_dir_all(&top).unwrap();
    }
}
