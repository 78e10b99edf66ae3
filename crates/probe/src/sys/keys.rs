//! Keyrings: the kernel's own store of secrets, inherited over fork and exec.

use std::io;

use super::{Arg, c, raw};

/// The special numbers of a process's own keyrings.
pub(crate) const PROCESS: i32 = -2;
/// The session keyring.
pub(crate) const SESSION: i32 = -3;
/// The keyring of the uid.
pub(crate) const USER: i32 = -4;

/// Joins a new, empty session keyring.
pub(crate) fn join_session() -> io::Result<i64> {
    raw(libc::SYS_keyctl, [Arg::N(libc::KEYCTL_JOIN_SESSION_KEYRING.into()), Arg::N(0)])
}

/// Adds a `user` key.
pub(crate) fn add(ring: i32, name: &str, payload: &[u8]) -> io::Result<i64> {
    let len = i64::try_from(payload.len()).unwrap_or(0);
    raw(libc::SYS_add_key, [Arg::Str(c"user"), Arg::Str(&c(name)?), Arg::In(payload), Arg::N(len), Arg::N(ring.into())])
}

/// Lets a key expire.
pub(crate) fn expire_after(key: i64, seconds: i64) -> io::Result<()> {
    raw(libc::SYS_keyctl, [Arg::N(libc::KEYCTL_SET_TIMEOUT.into()), Arg::N(key), Arg::N(seconds)]).map(drop)
}

/// Gives a key's permissions: possessor and owner may do everything.
pub(crate) fn open_to_owner(key: i64) -> io::Result<()> {
    raw(libc::SYS_keyctl, [Arg::N(libc::KEYCTL_SETPERM.into()), Arg::N(key), Arg::N(0x3f3f_0000)]).map(drop)
}

/// Searches a keyring and those below it.
pub(crate) fn search(ring: i32, name: &str) -> io::Result<i64> {
    let op = Arg::N(libc::KEYCTL_SEARCH.into());
    raw(libc::SYS_keyctl, [op, Arg::N(ring.into()), Arg::Str(c"user"), Arg::Str(&c(name)?), Arg::N(0)])
}

/// Asks for a key in all of the process's keyrings.
pub(crate) fn request(name: &str) -> io::Result<i64> {
    raw(libc::SYS_request_key, [Arg::Str(c"user"), Arg::Str(&c(name)?), Arg::N(0), Arg::N(0)])
}

/// Reads a key.
pub(crate) fn read(key: i64) -> io::Result<Vec<u8>> {
    let mut buf = vec![0u8; 4096];
    let n = raw(libc::SYS_keyctl, [Arg::N(libc::KEYCTL_READ.into()), Arg::N(key), Arg::Out(&mut buf), Arg::N(4096)])?;
    buf.truncate(usize::try_from(n).unwrap_or(0));
    Ok(buf)
}

/// Removes a key's content.
pub(crate) fn revoke(key: i64) -> io::Result<()> {
    raw(libc::SYS_keyctl, [Arg::N(libc::KEYCTL_REVOKE.into()), Arg::N(key)]).map(drop)
}
