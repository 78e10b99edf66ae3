//! Pipes by which the kernel moves bytes from one socket to another without a copy of them here: splice(2).
//!
//! A pipe that still holds bytes of one connection must never serve another: it is closed instead of kept.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

/// As many pipes as there are at a time; tunnels beyond them copy.
const MOST: usize = 16;
/// As many of them as are kept when nobody uses them.
const MOST_SPARE: usize = 4;
/// What one holds: half of it costs half as much CPU time again. All together are a quarter of what the kernel allows the
/// pipes of an ordinary user (pipe(7)).
const SIZE: usize = 1 << 20;

static SPARE: Mutex<Vec<Ends>> = Mutex::new(Vec::new());
static THERE: AtomicUsize = AtomicUsize::new(0);

#[derive(Debug)]
struct Ends {
    read: OwnedFd,
    write: OwnedFd,
}

impl Ends {
    fn new() -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // A smaller one works as well.
        let _resized = fcntl_setpipe_size(&write, SIZE);
        Ok(Ends { read, write })
    }
}

/// A pipe in use.
#[derive(Debug)]
pub(crate) struct Pipe {
    ends: Option<Ends>,
    left: usize,
}

impl Pipe {
    /// An empty pipe; nothing when there are enough of them, or no descriptors.
    pub(crate) fn take() -> Option<Self> {
        let spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let ends = match spare {
            Some(ends) => ends,
            None => {
                THERE.fetch_update(Relaxed, Relaxed, |there| (there < MOST).then_some(there + 1)).ok()?;
                match Ends::new() {
                    Ok(ends) => ends,
                    Err(_) => {
                        THERE.fetch_sub(1, Relaxed);
                        return None;
                    }
                }
            }
        };
        Some(Pipe { ends: Some(ends), left: 0 })
    }

    /// How many bytes are in it.
    pub(crate) fn left(&self) -> usize {
        self.left
    }

    /// Moves what has come at a socket into it; 0 at the end. Only for an empty pipe: a full one would look as if nothing
    /// had come.
    pub(crate) fn fill(&mut self, from: impl AsFd) -> io::Result<usize> {
        let Some(ends) = &self.ends else { return Ok(0) };
        let count = splice(from, None, &ends.write, None, SIZE, SpliceFlags::NONBLOCK)?;
        self.left += count;
        Ok(count)
    }

    /// Moves what fits out of it.
    pub(crate) fn empty(&mut self, to: impl AsFd) -> io::Result<()> {
        let Some(ends) = &self.ends else { return Ok(()) };
        let count = splice(&ends.read, None, to, None, self.left, SpliceFlags::NONBLOCK)?;
        self.left = self.left.saturating_sub(count);
        if count == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(()) }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let Some(ends) = self.ends.take() else { return };
        let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
        match self.left {
            0 if spare.len() < MOST_SPARE => spare.push(ends),
            _ => drop(THERE.fetch_sub(1, Relaxed)),
        }
    }
}
