//! Memory that secrets pass through: wiped when it is freed, kept out of swap and of core dumps.
//!
//! The one place of this crate with `unsafe`. Libraries copy what they are given; an allocator that wipes is the only
//! place where all copies come by.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::mm::MlockAllFlags;
use rustix::process::DumpableBehavior;

static IS_WIPING: AtomicBool = AtomicBool::new(false);
/// Whether what is allocated from now on is locked.
static IS_LOCKING: AtomicBool = AtomicBool::new(false);
static HAS_GIVEN_UP: AtomicBool = AtomicBool::new(false);

/// The system's allocator, which wipes what is freed from [`protect`] on.
pub struct Wiping;

// SAFETY: every call goes to `System` with the layout it was made for; memory is written only between the caller's last
// use and its release.
unsafe impl GlobalAlloc for Wiping {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise, passed on.
        let memory = unsafe { System.alloc(layout) };
        if memory.is_null() && gives_up_locking() {
            // SAFETY: as above.
            return unsafe { System.alloc(layout) };
        }
        memory
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        let memory = unsafe { System.alloc_zeroed(layout) };
        if memory.is_null() && gives_up_locking() {
            // SAFETY: as above.
            return unsafe { System.alloc_zeroed(layout) };
        }
        memory
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        if IS_WIPING.load(Ordering::Relaxed) {
            // SAFETY: the block is the caller's, of that size, and nobody uses it again. A plain write before `free`
            // would be optimised away.
            unsafe { libc::explicit_bzero(memory.cast(), layout.size()) };
        }
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !IS_WIPING.load(Ordering::Relaxed) {
            // SAFETY: as above.
            return unsafe { System.realloc(memory, layout, size) };
        }
        // SAFETY: `size` is not zero and fits the alignment, which the caller promised; both blocks hold what is copied,
        // and do not overlap.
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !new.is_null() {
                std::ptr::copy_nonoverlapping(memory, new, layout.size().min(size));
                self.dealloc(memory, layout);
            }
            new
        }
    }
}

/// Unlocks everything when no more can be locked: the kernel then refuses memory that there is plenty of, and the process
/// would die in the middle of its work. Answers whether that was so.
fn gives_up_locking() -> bool {
    let was_locking = IS_LOCKING.swap(false, Ordering::Relaxed);
    if was_locking {
        HAS_GIVEN_UP.store(true, Ordering::Relaxed);
    }
    was_locking && rustix::mm::munlockall().is_ok()
}

/// Returns whether the limit was reached after [`protect`] had promised that all is locked.
pub fn has_given_up_locking() -> bool {
    HAS_GIVEN_UP.load(Ordering::Relaxed)
}

/// Does what needs more memory than may be locked, while what was there before stays locked.
pub fn beyond_the_limit<T>(work: impl FnOnce() -> T) -> T {
    if !IS_LOCKING.swap(false, Ordering::Relaxed) {
        return work();
    }
    // Only all of it can be taken back, so that what was locked is locked again by itself.
    let is_locked = rustix::mm::munlockall().and_then(|()| lock_writable()).is_ok();
    let done = work();
    let is_locked = is_locked && rustix::mm::mlockall(MlockAllFlags::FUTURE).and_then(|()| lock_writable()).is_ok();
    IS_LOCKING.store(is_locked, Ordering::Relaxed);
    HAS_GIVEN_UP.fetch_or(!is_locked, Ordering::Relaxed);
    done
}

/// How far the process' memory is kept out of swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Locked {
    /// All that secrets pass through.
    Full,
    /// Not: this limit (`RLIMIT_MEMLOCK`, bytes) is too small.
    Limited(u64),
}

/// Prepares the process for secrets: from here on no core dump, no other process of the user attaches, freed memory is
/// wiped, and what is allocated stays out of swap as far as the limit allows.
///
/// # Errors
/// The kernel refused to switch dumps off.
pub fn protect() -> std::io::Result<Locked> {
    IS_WIPING.store(true, Ordering::Relaxed);
    // The soft limit is the user's habit, the hard one the system's word.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Memlock);
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    let locked = rustix::process::setrlimit(rustix::process::Resource::Memlock, raised)
        .and_then(|()| rustix::mm::mlockall(MlockAllFlags::FUTURE))
        .and_then(|()| lock_writable());
    // After the maps were read, which then belong to root.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    IS_LOCKING.store(locked.is_ok(), Ordering::Relaxed);
    Ok(match locked {
        Ok(()) => Locked::Full,
        Err(_) => {
            // Half of it would make the next allocation fail. That it cannot be taken back is no reason to stop.
            rustix::mm::munlockall().ok();
            Locked::Limited(limit.maximum.unwrap_or(u64::MAX))
        }
    })
}

/// Locks what is writable already: stack, heap and statics. Code holds no secret, and is most of what there is.
fn lock_writable() -> rustix::io::Result<()> {
    let maps = std::fs::read_to_string("/proc/self/maps").map_err(|_| rustix::io::Errno::NOENT)?;
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (Some(range), Some(access)) = (words.next(), words.next()) else { continue };
        let Some((start, end)) = range.split_once('-') else { continue };
        let (Ok(start), Ok(end)) = (usize::from_str_radix(start, 16), usize::from_str_radix(end, 16)) else { continue };
        if access.starts_with("rw") {
            // SAFETY: locking changes no byte; a range that is gone meanwhile is an error, not a danger.
            unsafe { rustix::mm::mlock(std::ptr::without_provenance_mut(start), end - start) }?;
        }
    }
    Ok(())
}

/// Says whether anything could be swapped out at all.
pub fn is_swap_on() -> bool {
    std::fs::read_to_string("/proc/swaps").is_ok_and(|text| text.lines().count() > 1)
}
