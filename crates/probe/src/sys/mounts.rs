//! Mount attributes, which no library call here sets.

use std::io;

use super::{Arg, c, raw};

const AT_RECURSIVE: i64 = 0x8000;
const RDONLY: u64 = 1;

/// Makes a place and all mounts below it read-only.
pub(crate) fn set_read_only(path: &str) -> io::Result<()> {
    set(path, AT_RECURSIVE, RDONLY, 0)
}

/// Makes one mount writable again.
pub(crate) fn set_writable(path: &str) -> io::Result<()> {
    set(path, 0, 0, RDONLY)
}

fn set(path: &str, flags: i64, on: u64, off: u64) -> io::Result<()> {
    // struct mount_attr: attr_set, attr_clr, propagation, userns_fd.
    let mut attr = [0u8; 32];
    attr[..8].copy_from_slice(&on.to_ne_bytes());
    attr[8..16].copy_from_slice(&off.to_ne_bytes());
    let at = Arg::N(libc::AT_FDCWD.into());
    raw(libc::SYS_mount_setattr, [at, Arg::Str(&c(path)?), Arg::N(flags), Arg::In(&attr), Arg::N(32)]).map(drop)
}
