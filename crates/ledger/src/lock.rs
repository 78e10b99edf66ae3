//! One writer at a time: a lock on the ledger's directory, which dies with its holder.
//!
//! The directory and not a file in it: whoever removed the file would let two writers in.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

/// How long is waited for a writer that holds the lock, which takes microseconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// So long a waiter only lets others run: sleeping costs more than the lock is ever held.
const BRISK: Duration = Duration::from_millis(50);

/// Takes the lock. `WOULDBLOCK`: somebody keeps it.
pub(crate) fn take(file: &OwnedFd) -> rustix::io::Result<()> {
    let mut began = None;
    while !try_take(file)? {
        let waited = began.get_or_insert_with(Instant::now).elapsed();
        match waited {
            waited if waited < BRISK => std::thread::yield_now(),
            waited if waited < PATIENCE => std::thread::sleep(Duration::from_millis(1)),
            _ => return Err(Errno::WOULDBLOCK),
        }
    }
    Ok(())
}

/// Takes the lock if nobody has it, and says whether.
pub(crate) fn try_take(file: &OwnedFd) -> rustix::io::Result<bool> {
    loop {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
}

/// Gives the lock back. Closing the descriptor would as well.
pub(crate) fn give(file: &OwnedFd) {
    rustix::fs::flock(file, FlockOperation::Unlock).ok();
}
