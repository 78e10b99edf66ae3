//! Operations on files, through calls that shell tools do not make.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, RenameFlags};

use super::{Done, Op, Words, done, print};
use crate::sys::kernel as sys;

/// The table.
pub(super) const OPS: &[(&str, Op)] = &[
    ("openat", openat),
    ("open-here", open_here),
    ("reopen", reopen),
    ("read-fd", read_fd),
    ("write-fd", write_fd),
    ("fd-chdir", fd_chdir),
    ("chmod", |w| done(sys::chmod(w.get(0)?, w.mode(1)?))),
    ("fchmod", |w| done(sys::fchmod(w.get(0)?, w.mode(1)?))),
    ("fchmodat2", |w| done(sys::fchmodat2(w.get(0)?, w.mode(1)?))),
    ("open-mode", |w| done(sys::open_mode(w.get(0)?, w.mode(1)?))),
    ("openat2-mode", |w| done(sys::openat2_mode(w.get(0)?, w.mode(1)?))),
    ("mknod", |w| done(sys::mknod(w.get(0)?, w.mode(1)?, 0))),
    ("mknod-device", mknod_device),
    ("exchange", exchange),
    ("write", write),
];

/// Opens the inherited descriptor of this number again through /proc, which makes it the caller's own.
fn inherited(number: i32) -> Result<OwnedFd, Box<dyn std::error::Error>> {
    let path = format!("/proc/self/fd/{number}");
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

fn read_all(fd: OwnedFd) -> Result<Vec<u8>, std::io::Error> {
    let mut text = Vec::new();
    File::from(fd).take(1 << 20).read_to_end(&mut text)?;
    Ok(text)
}

/// Opens a path relative to an inherited directory descriptor, `..` included.
fn openat(w: &Words<'_>) -> Done {
    let dir = inherited(w.int(0)?)?;
    print(&read_all(rustix::fs::openat(dir.as_fd(), w.get(1)?, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)?)
}

/// The same commands on a directory that the command opened by itself.
fn open_here(w: &Words<'_>) -> Done {
    let dir = rustix::fs::open(w.get(0)?, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    print(&read_all(rustix::fs::openat(&dir, w.get(1)?, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)?)
}

/// Turns an inherited O_PATH descriptor into one that reads.
fn reopen(w: &Words<'_>) -> Done {
    print(&std::fs::read(format!("/proc/self/fd/{}", w.int(0)?))?)
}

fn borrowed(number: i32) -> Result<File, Box<dyn std::error::Error>> {
    // A descriptor that this program did not open: a copy of it is its own.
    Ok(File::from(crate::sys::proc::dup_number(number)?))
}

/// Reads what an inherited descriptor gives: a file, a memfd, a socket somebody else connected.
fn read_fd(w: &Words<'_>) -> Done {
    let mut file = borrowed(w.int(0)?)?;
    // A pipe or socket cannot be rewound, and need not be.
    drop(std::io::Seek::rewind(&mut file));
    let mut buf = vec![0u8; 4096];
    let n = file.read(&mut buf)?;
    print(&buf[..n])
}

/// Writes the mark through an inherited descriptor.
fn write_fd(w: &Words<'_>) -> Done {
    Ok(borrowed(w.int(0)?)?.write_all(w.mark.as_bytes())?)
}

/// Stands in an inherited directory and reads from there.
fn fd_chdir(w: &Words<'_>) -> Done {
    let dir = inherited(w.int(0)?)?;
    rustix::process::fchdir(&dir)?;
    print(&std::fs::read(w.get(1)?)?)
}

/// Makes a device node: kind `c` or `b`, major, minor.
fn mknod_device(w: &Words<'_>) -> Done {
    let kind = if w.get(1)? == "b" { libc::S_IFBLK } else { libc::S_IFCHR };
    let device = rustix::fs::makedev(w.mode(2)?, w.mode(3)?);
    Ok(sys::mknod(w.get(0)?, kind | 0o666, device)?)
}

/// Exchanges two names in one step.
fn exchange(w: &Words<'_>) -> Done {
    Ok(rustix::fs::renameat_with(CWD, w.get(0)?, CWD, w.get(1)?, RenameFlags::EXCHANGE)?)
}

/// Writes a text into a file with write(2) alone.
fn write(w: &Words<'_>) -> Done {
    Ok(std::fs::write(w.get(0)?, w.get(1)?)?)
}
