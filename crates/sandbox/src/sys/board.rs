//! Numbers that client, monitor and keeper share: a page that forks inherit.

use std::io;
use std::sync::atomic::{AtomicI64, AtomicU32};

/// What the keeper of the covers and those who ask it tell each other.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Board {
    /// How often the keeper was asked to look.
    pub(crate) asked: AtomicU32,
    /// The question it has answered last.
    pub(crate) answered: AtomicU32,
    /// Not 0 while it has taken events and not judged them yet.
    pub(crate) busy: AtomicU32,
    /// How many covers it has put back.
    pub(crate) restored: AtomicU32,
    /// How many it could not put back.
    pub(crate) lost: AtomicU32,
    /// One more than the number of the cover that the jail got past.
    pub(crate) breach: AtomicU32,
    /// Since when that was possible, in seconds and nanoseconds of the kernel's file times.
    pub(crate) since: [AtomicI64; 2],
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
