//! Raw system calls: the one place of this program with unsafe code.
//!
//! Attacks call the kernel directly, because a library would refuse to. Each function here is safe to
//! call: it hands the kernel only pointers into slices it was lent, with their own lengths.
#![allow(unsafe_code)]

pub(crate) mod ipc;
pub(crate) mod kernel;
pub(crate) mod keys;
pub(crate) mod mounts;
pub(crate) mod net;
pub(crate) mod proc;
pub(crate) mod world;

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// One argument of a system call.
pub(crate) enum Arg<'a> {
    /// A number, or a null pointer.
    N(i64),
    /// Bytes that the kernel reads.
    In(&'a [u8]),
    /// A string that the kernel reads.
    Str(&'a CStr),
    /// Bytes that the kernel writes.
    Out(&'a mut [u8]),
}

/// Makes the system call `nr`.
///
/// Private to `sys`: each caller here passes lengths that fit the slices.
fn raw<const K: usize>(nr: libc::c_long, args: [Arg<'_>; K]) -> io::Result<i64> {
    let mut words = [0i64; 6];
    for (word, arg) in words.iter_mut().zip(args) {
        *word = match arg {
            Arg::N(n) => n,
            Arg::In(b) => b.as_ptr() as i64,
            Arg::Str(s) => s.as_ptr() as i64,
            Arg::Out(b) => b.as_mut_ptr() as i64,
        };
    }
    let [a, b, c, d, e, f] = words;
    // SAFETY: every pointer among the words comes from a slice or string borrowed for the length of this call; the functions
    // of `sys`, the only callers, pass the kernel lengths within those slices and no call that touches other memory.
    let got = unsafe { libc::syscall(nr, a, b, c, d, e, f) };
    if got == -1 { Err(io::Error::last_os_error()) } else { Ok(got) }
}

/// Takes ownership of a descriptor that the kernel just returned.
fn own(fd: i64) -> io::Result<OwnedFd> {
    let fd = RawFd::try_from(fd).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    // SAFETY: the callers pass the result of a successful call that makes a new descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Turns a path or word into the string the kernel wants.
pub(crate) fn c(word: &str) -> io::Result<CString> {
    CString::new(word).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}
