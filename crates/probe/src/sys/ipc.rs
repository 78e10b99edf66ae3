//! System V and POSIX interprocess communication.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use super::{Arg, c, own, raw};

const SIZE: usize = 4096;

/// Makes a segment of shared memory that holds a text.
pub(crate) fn shm_make(key: i32, text: &[u8]) -> io::Result<()> {
    let id =
        raw(libc::SYS_shmget, [Arg::N(key.into()), Arg::N(SIZE as i64), Arg::N(i64::from(libc::IPC_CREAT | 0o600))])?;
    shm_with(id, |memory| memory[..text.len().min(SIZE)].copy_from_slice(&text[..text.len().min(SIZE)]))
}

/// Reads a segment of shared memory.
pub(crate) fn shm_read(key: i32) -> io::Result<Vec<u8>> {
    let id = raw(libc::SYS_shmget, [Arg::N(key.into()), Arg::N(0), Arg::N(0)])?;
    let mut got = Vec::new();
    shm_with(id, |memory| got.extend_from_slice(memory))?;
    Ok(got)
}

fn shm_with(id: i64, f: impl FnOnce(&mut [u8; SIZE])) -> io::Result<()> {
    let id = i32::try_from(id).map_err(io::Error::other)?;
    // SAFETY: a null address lets the kernel choose where to map; nothing is replaced.
    let at = unsafe { libc::shmat(id, std::ptr::null(), 0) };
    if at as isize == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the segment has SIZE bytes, is mapped read-write at `at`, and this process makes no other reference to it.
    f(unsafe { &mut *at.cast::<[u8; SIZE]>() });
    // SAFETY: `at` came from shmat and the reference above has ended.
    unsafe { libc::shmdt(at) };
    Ok(())
}

/// Makes a private segment of this size and touches every page of it; it stays when the process ends.
pub(crate) fn shm_fill(key: i32, size: usize) -> io::Result<()> {
    let size_word = i64::try_from(size).map_err(io::Error::other)?;
    let id =
        raw(libc::SYS_shmget, [Arg::N(key.into()), Arg::N(size_word), Arg::N(i64::from(libc::IPC_CREAT | 0o600))])?;
    let id = i32::try_from(id).map_err(io::Error::other)?;
    // SAFETY: a null address lets the kernel choose where to map; nothing is replaced.
    let at = unsafe { libc::shmat(id, std::ptr::null(), 0) };
    if at as isize == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the segment was made with `size` bytes and is mapped read-write at `at`; nothing else here refers to it.
    unsafe { std::ptr::write_bytes(at.cast::<u8>(), b'x', size) };
    // SAFETY: `at` came from shmat and is not used again.
    unsafe { libc::shmdt(at) };
    Ok(())
}

/// Makes a message queue with one message in it.
pub(crate) fn msg_send(key: i32, text: &[u8]) -> io::Result<()> {
    let id = raw(libc::SYS_msgget, [Arg::N(key.into()), Arg::N(i64::from(libc::IPC_CREAT | 0o600))])?;
    let mut message = 1i64.to_ne_bytes().to_vec();
    message.extend_from_slice(text);
    raw(libc::SYS_msgsnd, [Arg::N(id), Arg::In(&message), Arg::N(text.len() as i64), Arg::N(0)]).map(drop)
}

/// Takes one message from a queue.
pub(crate) fn msg_take(key: i32) -> io::Result<Vec<u8>> {
    let id = raw(libc::SYS_msgget, [Arg::N(key.into()), Arg::N(0)])?;
    let mut buf = vec![0u8; 8 + SIZE];
    let wait = i64::from(libc::IPC_NOWAIT);
    let n = raw(libc::SYS_msgrcv, [Arg::N(id), Arg::Out(&mut buf), Arg::N(SIZE as i64), Arg::N(0), Arg::N(wait)])?;
    let n = usize::try_from(n).unwrap_or(0);
    Ok(buf[8..8 + n].to_vec())
}

/// Makes a semaphore of this value.
pub(crate) fn sem_make(key: i32, value: i64) -> io::Result<()> {
    let id = raw(libc::SYS_semget, [Arg::N(key.into()), Arg::N(1), Arg::N(i64::from(libc::IPC_CREAT | 0o600))])?;
    raw(libc::SYS_semctl, [Arg::N(id), Arg::N(0), Arg::N(16), Arg::N(value)]).map(drop)
}

/// Reads a semaphore's value.
pub(crate) fn sem_read(key: i32) -> io::Result<i64> {
    let id = raw(libc::SYS_semget, [Arg::N(key.into()), Arg::N(0), Arg::N(0)])?;
    raw(libc::SYS_semctl, [Arg::N(id), Arg::N(0), Arg::N(12), Arg::N(0)])
}

/// Makes a POSIX queue with one message in it. The queue lives on in its namespace without a descriptor.
pub(crate) fn mq_send(name: &str, text: &[u8]) -> io::Result<()> {
    let q = mq_open(name, libc::O_RDWR | libc::O_CREAT)?;
    let fd = Arg::N(q.as_raw_fd().into());
    raw(libc::SYS_mq_timedsend, [fd, Arg::In(text), Arg::N(text.len() as i64), Arg::N(0), Arg::N(0)]).map(drop)
}

/// Takes one message from a POSIX queue.
pub(crate) fn mq_take(name: &str) -> io::Result<Vec<u8>> {
    let q = mq_open(name, libc::O_RDONLY | libc::O_NONBLOCK)?;
    let mut buf = vec![0u8; 8192];
    let n = raw(
        libc::SYS_mq_timedreceive,
        [Arg::N(q.as_raw_fd().into()), Arg::Out(&mut buf), Arg::N(8192), Arg::N(0), Arg::N(0)],
    )?;
    buf.truncate(usize::try_from(n).unwrap_or(0));
    Ok(buf)
}

fn mq_open(name: &str, flags: i32) -> io::Result<OwnedFd> {
    // The system call wants the name without the leading slash that mq_open(3) has.
    let name = c(name.trim_start_matches('/'))?;
    own(raw(libc::SYS_mq_open, [Arg::Str(&name), Arg::N(flags.into()), Arg::N(0o600), Arg::N(0)])?)
}
