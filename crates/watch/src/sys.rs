//! Every system call that rustix does not wrap, and the only unsafe code of this room: leases, fanotify, file handles.
#![allow(unsafe_code)]

use std::ffi::{CString, c_int};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

/// Which signal tells of a broken lease (`linux/fcntl.h`); the libc crate lacks it here.
const F_SETSIG: c_int = 10;

/// Whether somebody has a file open for writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writer {
    /// Nobody has: not by a descriptor, and not by a shared mapping, which keeps its descriptor's file alive.
    Absent,
    /// Somebody has.
    Present,
    /// The kernel does not say: not our file, or a file system without leases.
    Unknown,
}

/// Asks the kernel whether a file, open here for reading, is open for writing anywhere: it grants a read lease only where
/// nobody writes (`fcntl(2)`, `F_SETLEASE`).
pub(crate) fn writer_of(file: impl AsFd) -> Writer {
    let fd = file.as_fd().as_raw_fd();
    // An opener that comes between the two calls breaks the lease, which would send SIGIO and end us: SIGURG is ignored
    // by default. It waits no longer than until the lease is given back.
    // SAFETY: integer arguments to a descriptor that is open for the length of the call.
    if unsafe { libc::fcntl(fd, F_SETSIG, libc::SIGURG) } < 0 {
        return Writer::Unknown;
    }
    // SAFETY: as above.
    if unsafe { libc::fcntl(fd, libc::F_SETLEASE, libc::F_RDLCK) } < 0 {
        let is_busy = io::Error::last_os_error().raw_os_error() == Some(libc::EAGAIN);
        return if is_busy { Writer::Present } else { Writer::Unknown };
    }
    // SAFETY: as above. The lease ends with the descriptor at the latest.
    unsafe { libc::fcntl(fd, libc::F_SETLEASE, libc::F_UNLCK) };
    Writer::Absent
}

/// What is asked of fanotify at each mark: what inotify is asked, with the process that did it.
const MARKED: u64 = libc::FAN_MODIFY
    | libc::FAN_ATTRIB
    | libc::FAN_CLOSE_WRITE
    | libc::FAN_CREATE
    | libc::FAN_DELETE
    | libc::FAN_MOVED_FROM
    | libc::FAN_MOVED_TO
    | libc::FAN_EVENT_ON_CHILD
    | libc::FAN_ONDIR;

/// Opens a fanotify group that names directory and name of each event. Needs `CAP_SYS_ADMIN`; without it the kernel would
/// still open one, whose events say no process, so that it is of no use.
pub(crate) fn fanotify() -> io::Result<OwnedFd> {
    let flags = libc::FAN_CLASS_NOTIF
        | libc::FAN_CLOEXEC
        | libc::FAN_NONBLOCK
        | libc::FAN_UNLIMITED_MARKS
        | libc::FAN_REPORT_DFID_NAME;
    // SAFETY: integer arguments only.
    let fd = unsafe { libc::fanotify_init(flags, (libc::O_RDONLY | libc::O_CLOEXEC) as u32) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made it, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Marks a directory: events on it and its children are told.
pub(crate) fn fanotify_mark(group: impl AsFd, directory: BorrowedFd<'_>) -> io::Result<()> {
    // A descriptor opened with O_PATH is none to mark by: its path below /proc/self/fd leads to the same inode.
    let path = CString::new(format!("/proc/self/fd/{}", directory.as_raw_fd())).map_err(io::Error::other)?;
    // SAFETY: the path is a C string that lives through the call; the group is open.
    let done = unsafe {
        libc::fanotify_mark(group.as_fd().as_raw_fd(), libc::FAN_MARK_ADD, MARKED, libc::AT_FDCWD, path.as_ptr())
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The most that a handle has (`MAX_HANDLE_SZ`).
const HANDLE_MAX: usize = 128;

/// Room for a `struct file_handle`, aligned as the kernel wants it.
#[repr(C)]
struct Handle {
    bytes: u32,
    kind: c_int,
    handle: [u8; HANDLE_MAX],
}

/// Returns the handle by which fanotify names what is open: its type, then its bytes.
pub(crate) fn handle_of(file: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    let mut handle = Handle { bytes: HANDLE_MAX as u32, kind: 0, handle: [0; HANDLE_MAX] };
    let mut mount: c_int = 0;
    // SAFETY: `Handle` has the layout of `struct file_handle` with as many bytes behind it as it says; both pointers live
    // through the call, and the empty path is a C string.
    let done = unsafe {
        libc::name_to_handle_at(
            file.as_raw_fd(),
            c"".as_ptr(),
            (&raw mut handle).cast(),
            &raw mut mount,
            libc::AT_EMPTY_PATH,
        )
    };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut said = handle.kind.to_ne_bytes().to_vec();
    said.extend(handle.handle.iter().take(handle.bytes as usize));
    Ok(said)
}
