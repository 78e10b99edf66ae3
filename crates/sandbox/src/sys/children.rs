//! Children and signals: waiting for, sending, and learning why an exec failed.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::check;

/// Asks the kernel to kill this process when its parent dies.
pub(crate) fn die_with_parent() -> io::Result<()> {
    // SAFETY: plain integers.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) }.into()).map(drop)
}

/// Makes orphans of this process's descendants come back to it.
pub(crate) fn become_subreaper() -> io::Result<()> {
    // SAFETY: plain integers.
    check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }.into()).map(drop)
}

/// Blocks signals, and returns a signalfd for them. Threads that begin later have them blocked too.
///
/// # Errors
/// The kernel's answer.
pub fn signal_fd(signals: &[c_int]) -> io::Result<OwnedFd> {
    // SAFETY: all-zero is a valid sigset_t, and the calls below only write to it.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, *signal);
        }
        check(libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()).into())?;
        let fd = check(libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK).into())?;
        Ok(OwnedFd::from_raw_fd(fd as RawFd))
    }
}

/// Reads one signal number from a signalfd, if one is there.
pub(crate) fn next_signal(fd: BorrowedFd<'_>) -> Option<c_int> {
    // SAFETY: all-zero is a valid signalfd_siginfo; read writes at most its size.
    unsafe {
        let mut info: libc::signalfd_siginfo = std::mem::zeroed();
        let size = size_of::<libc::signalfd_siginfo>();
        let got = libc::read(fd.as_raw_fd(), (&raw mut info).cast(), size);
        (got == size as isize).then_some(info.ssi_signo as c_int)
    }
}

/// Sets every signal to its default action and unblocks all, as a freshly started program expects.
pub(crate) fn reset_signals() {
    // SAFETY: SIG_DFL for every signal number; those that cannot be changed answer EINVAL, which is fine.
    unsafe {
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
    }
}

/// Whether the caller has this process ignore a signal, as nohup(1) does.
pub(crate) fn is_ignored(signal: c_int) -> bool {
    // SAFETY: a null action asks only; `old` is written by the kernel or stays zeroed, which is SIG_DFL.
    unsafe {
        let mut old: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut old);
        old.sa_sigaction == libc::SIG_IGN
    }
}

/// Ignores a signal in this process.
pub(crate) fn ignore_signal(signal: c_int) {
    // SAFETY: SIG_IGN runs no code of ours.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// Sends a signal to a pid, or to a group when negative.
pub(crate) fn kill(pid: i32, signal: c_int) -> io::Result<()> {
    // SAFETY: plain integers.
    check(unsafe { libc::kill(pid, signal) }.into()).map(drop)
}

/// A child that ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reaped {
    pub(crate) pid: i32,
    /// The exit code, or 128 plus the signal.
    pub(crate) code: i32,
}

/// Reaps one ended child. `Ok(None)`: children exist but none has ended.
pub(crate) fn reap(pid: i32, wait: Wait) -> io::Result<Option<Reaped>> {
    let flags = match wait {
        Wait::Block => 0,
        Wait::Poll => libc::WNOHANG,
    };
    let mut status = 0;
    loop {
        // SAFETY: `status` is writable for the call.
        let got = unsafe { libc::waitpid(pid, &raw mut status, flags | libc::__WALL) };
        if got > 0 {
            let code = if libc::WIFSIGNALED(status) { 128 + libc::WTERMSIG(status) } else { libc::WEXITSTATUS(status) };
            return Ok(Some(Reaped { pid: got, code }));
        }
        if got == 0 {
            return Ok(None);
        }
        let err = io::Error::last_os_error();
        if err.kind() != io::ErrorKind::Interrupted {
            return Err(err);
        }
    }
}

/// A descriptor that becomes readable when a process has ended.
pub(crate) fn pidfd(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: plain integers.
    let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: `fd` was just made and has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Whether to wait for a child.
#[derive(Clone, Copy)]
pub(crate) enum Wait {
    Block,
    Poll,
}
