//! Numbers that client, monitor and keeper share: a page that forks inherit.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32};

/// What the keeper of the covers and those who ask it tell each other.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Board {
    /// How often the keeper was asked to look.
    pub(crate) asked: AtomicU32,
    /// The question it has answered last.
    pub(crate) answered: AtomicU32,
    /// One more than the number of the denied thing that could be opened for a moment.
    pub(crate) breach: AtomicU32,
    /// The jail is dead and has been looked at for the last time: what is replaced now is no matter of its.
    pub(crate) is_over: AtomicBool,
    /// Since when, in seconds and nanoseconds of the kernel's file times.
    pub(crate) since: [AtomicI64; 2],
    /// Which covers have been off. The last stands for all that have no place of their own.
    pub(crate) was_off: [AtomicBool; 4096],
}

impl Board {
    /// The place of a cover among those that have been off.
    pub(crate) fn was_off(&self, number: usize) -> &AtomicBool {
        &self.was_off[number.min(self.was_off.len() - 1)]
    }
}

/// Makes a board. It lives as long as the process.
pub(crate) fn board() -> io::Result<&'static Board> {
    let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    // SAFETY: an anonymous mapping at an address of the kernel's choice.
    let page = unsafe { libc::mmap(std::ptr::null_mut(), size_of::<Board>(), prot, flags, -1, 0) };
    if page == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the mapping is zeroed, which is a valid Board, aligned to a page, never unmapped, and all its fields are
    // atomic.
    Ok(unsafe { &*page.cast::<Board>() })
}
