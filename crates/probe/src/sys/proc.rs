//! One process reaching into another.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use super::{Arg, own, raw};

/// Reads another process's memory with process_vm_readv(2).
pub(crate) fn vm_read(pid: i32, at: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut buf = vec![0u8; len];
    let (local, remote) = iovecs(buf.as_mut_ptr() as u64, at, len);
    let done = raw(libc::SYS_process_vm_readv, transfer(pid, &local, &remote))?;
    buf.truncate(usize::try_from(done).unwrap_or(0));
    Ok(buf)
}

/// Writes another process's memory with process_vm_writev(2).
pub(crate) fn vm_write(pid: i32, at: u64, text: &[u8]) -> io::Result<()> {
    let (local, remote) = iovecs(text.as_ptr() as u64, at, text.len());
    raw(libc::SYS_process_vm_writev, transfer(pid, &local, &remote)).map(drop)
}

/// Two `struct iovec` as the kernel reads them.
fn iovecs(mine: u64, theirs: u64, len: usize) -> ([u8; 16], [u8; 16]) {
    let make = |at: u64| {
        let mut v = [0u8; 16];
        v[..8].copy_from_slice(&at.to_ne_bytes());
        v[8..].copy_from_slice(&(len as u64).to_ne_bytes());
        v
    };
    (make(mine), make(theirs))
}

fn transfer<'a>(pid: i32, local: &'a [u8; 16], remote: &'a [u8; 16]) -> [Arg<'a>; 6] {
    [Arg::N(pid.into()), Arg::In(local), Arg::N(1), Arg::In(remote), Arg::N(1), Arg::N(0)]
}

/// Stops another process and reads words of its memory as a debugger does.
pub(crate) fn ptrace_read(pid: i32, at: u64, len: usize) -> io::Result<Vec<u8>> {
    let ask = |request: libc::c_uint, addr: i64, data: Arg<'_>| {
        raw(libc::SYS_ptrace, [Arg::N(request.into()), Arg::N(pid.into()), Arg::N(addr), data])
    };
    ask(libc::PTRACE_ATTACH, 0, Arg::N(0))?;
    raw(libc::SYS_wait4, [Arg::N(pid.into()), Arg::N(0), Arg::N(0x4000_0000), Arg::N(0)])?;
    let mut text = Vec::new();
    let start = i64::try_from(at).map_err(io::Error::other)?;
    while text.len() < len {
        let mut word = [0u8; 8];
        if ask(libc::PTRACE_PEEKDATA, start + text.len() as i64, Arg::Out(&mut word)).is_err() {
            break;
        }
        text.extend_from_slice(&word);
    }
    ask(libc::PTRACE_DETACH, 0, Arg::N(0))?;
    Ok(text)
}

/// Seizes a process without stopping it; a debugger's other way in.
pub(crate) fn ptrace_seize(pid: i32) -> io::Result<()> {
    raw(libc::SYS_ptrace, [Arg::N(libc::PTRACE_SEIZE.into()), Arg::N(pid.into()), Arg::N(0), Arg::N(0)]).map(drop)
}

/// Opens a process by number.
pub(crate) fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    own(raw(libc::SYS_pidfd_open, [Arg::N(pid.into()), Arg::N(0)])?)
}

/// Copies a descriptor out of another process.
pub(crate) fn pidfd_getfd(pid: i32, fd: i32) -> io::Result<OwnedFd> {
    let p = pidfd_open(pid)?;
    own(raw(libc::SYS_pidfd_getfd, [Arg::N(p.as_raw_fd().into()), Arg::N(fd.into()), Arg::N(0)])?)
}

/// Sends a signal through a pidfd.
pub(crate) fn pidfd_signal(pid: i32, signal: i32) -> io::Result<()> {
    let p = pidfd_open(pid)?;
    let fd = Arg::N(p.as_raw_fd().into());
    raw(libc::SYS_pidfd_send_signal, [fd, Arg::N(signal.into()), Arg::N(0), Arg::N(0)]).map(drop)
}

/// Sends a signal to one thread.
pub(crate) fn tgkill(pid: i32, signal: i32) -> io::Result<()> {
    raw(libc::SYS_tgkill, [Arg::N(pid.into()), Arg::N(pid.into()), Arg::N(signal.into())]).map(drop)
}

/// Sends a queued signal.
pub(crate) fn sigqueue(pid: i32, signal: i32) -> io::Result<()> {
    // siginfo_t: si_signo, si_errno, si_code = SI_QUEUE.
    let mut info = [0u8; 128];
    info[..4].copy_from_slice(&signal.to_ne_bytes());
    info[8..12].copy_from_slice(&(-1i32).to_ne_bytes());
    raw(libc::SYS_rt_sigqueueinfo, [Arg::N(pid.into()), Arg::N(signal.into()), Arg::In(&info)]).map(drop)
}

/// Makes the kernel send a signal to a process whenever a descriptor is ready, F_SETOWN and O_ASYNC: a signal without kill(2).
pub(crate) fn signal_by_descriptor(pid: i32, signal: i32) -> io::Result<()> {
    let (read, write) = rustix::pipe::pipe()?;
    let fd = i64::from(read.as_raw_fd());
    raw(libc::SYS_fcntl, [Arg::N(fd), Arg::N(libc::F_SETOWN.into()), Arg::N(pid.into())])?;
    raw(libc::SYS_fcntl, [Arg::N(fd), Arg::N(10), Arg::N(signal.into())])?;
    raw(libc::SYS_fcntl, [Arg::N(fd), Arg::N(libc::F_SETFL.into()), Arg::N(libc::O_ASYNC.into())])?;
    rustix::io::write(&write, b"x")?;
    Ok(())
}

/// Sets the CPU-time limit of another process, so that the kernel kills it.
pub(crate) fn prlimit_cpu(pid: i32, seconds: u64) -> io::Result<()> {
    let mut limit = [0u8; 16];
    limit[..8].copy_from_slice(&seconds.to_ne_bytes());
    limit[8..].copy_from_slice(&seconds.to_ne_bytes());
    raw(libc::SYS_prlimit64, [Arg::N(pid.into()), Arg::N(libc::RLIMIT_CPU.into()), Arg::In(&limit), Arg::N(0)])
        .map(drop)
}

/// Compares two processes' kernel objects.
pub(crate) fn kcmp(a: i32, b: i32) -> io::Result<i64> {
    raw(libc::SYS_kcmp, [Arg::N(a.into()), Arg::N(b.into()), Arg::N(1), Arg::N(0), Arg::N(0)])
}

/// Enters a namespace through its descriptor.
pub(crate) fn setns(fd: &OwnedFd, kind: i32) -> io::Result<()> {
    raw(libc::SYS_setns, [Arg::N(fd.as_raw_fd().into()), Arg::N(kind.into())]).map(drop)
}

/// Copies a descriptor that this program was started with.
pub(crate) fn dup_number(number: i32) -> io::Result<OwnedFd> {
    own(raw(libc::SYS_dup, [Arg::N(number.into())])?)
}

/// Pins another process to one processor.
pub(crate) fn pin_to_first_processor(pid: i32) -> io::Result<()> {
    let mask = 1u64.to_ne_bytes();
    raw(libc::SYS_sched_setaffinity, [Arg::N(pid.into()), Arg::N(8), Arg::In(&mask)]).map(drop)
}
