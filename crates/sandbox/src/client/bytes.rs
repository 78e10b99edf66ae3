//! Bytes from one descriptor to another, and how many of them may pass.

use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

fn wait_readable(fd: BorrowedFd<'_>) {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    poll(&mut fds, None).ok();
}

pub(super) fn wait_writable(fd: BorrowedFd<'_>) {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
    // A signal meanwhile is seen by the loop.
    poll(&mut fds, None).ok();
}

/// The most that is moved at once.
pub(super) const MOST: usize = 1 << 20;

/// What of a stream may be passed on.
pub(super) enum Passes {
    /// This many bytes.
    UpTo(usize),
    /// Nothing for the moment.
    Nothing,
    /// Nothing any more.
    Never,
    /// Nothing any more, and it is not known why.
    Unanswered,
}

/// Whether the last writer of an empty stream is gone: nothing can come any more.
pub(super) fn is_at_end(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).is_ok() && fds[0].revents().contains(PollFlags::HUP)
}

/// Reads once and writes all of it.
pub(super) fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>, most: usize) -> rustix::io::Result<usize> {
    let mut buffer = [0; 65536];
    let most = most.min(buffer.len());
    let got = loop {
        match rustix::io::read(from, &mut buffer[..most]) {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait_readable(from),
            other => break other?,
        }
    };
    let mut rest = &buffer[..got];
    while !rest.is_empty() {
        match rustix::io::write(to, rest) {
            Ok(count) => rest = &rest[count..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait_writable(to),
            Err(e) => return Err(e),
        }
    }
    Ok(got)
}
