//! Attacks that no safe wrapper offers: a shared mapping, and a write through io_uring.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_long};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::ptr;

/// The first page of a file, mapped shared and writable.
pub(crate) struct Mapping(*mut u8);

// SAFETY: the mapping belongs to the process, whichever thread uses it; nobody else in these tests does.
unsafe impl Send for Mapping {}

const PAGE: usize = 4096;

impl Mapping {
    /// Maps it; the descriptor may be closed afterwards.
    pub(crate) fn of(file: &File) -> io::Result<Mapping> {
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
        // SAFETY: a new mapping of an open file at an address of the kernel's choice.
        let at = unsafe { libc::mmap(ptr::null_mut(), PAGE, protection, flags, file.as_raw_fd(), 0) };
        if at == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(Mapping(at.cast())) }
    }

    /// Writes one byte within the file.
    pub(crate) fn write(&self, at: usize, byte: u8) {
        assert!(at < PAGE, "one page is mapped");
        // SAFETY: within the mapping; the file is longer than that.
        unsafe { self.0.add(at).write_volatile(byte) };
    }

    /// Reads one byte.
    pub(crate) fn read(&self, at: usize) -> u8 {
        assert!(at < PAGE, "one page is mapped");
        // SAFETY: as above.
        unsafe { self.0.add(at).read_volatile() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `of`, and used by nobody afterwards.
        unsafe { libc::munmap(self.0.cast(), PAGE) };
    }
}

/// `struct io_uring_params` as far as it is used: offsets of the rings come behind the first ten words.
#[repr(C)]
#[derive(Default)]
struct Params {
    sq_entries: u32,
    cq_entries: u32,
    flags: u32,
    cpu: u32,
    idle: u32,
    features: u32,
    wq: u32,
    reserved: [u32; 3],
    /// head, tail, ring_mask, ring_entries, flags, dropped, array, reserved, then an address of 64 bits.
    sq: [u32; 10],
    /// head, tail, ring_mask, ring_entries, overflow, cqes, flags, reserved, then an address of 64 bits.
    cq: [u32; 10],
}

/// `struct io_uring_sqe`, for a write.
#[repr(C)]
struct Entry {
    opcode: u8,
    flags: u8,
    priority: u16,
    fd: i32,
    offset: u64,
    address: u64,
    length: u32,
    rest: [u32; 9],
}

/// Writes to a file through io_uring, and waits for it.
pub(crate) fn io_uring_write(file: &File, bytes: &[u8]) -> io::Result<()> {
    const OP_WRITE: u8 = 23;
    const GETEVENTS: c_int = 1;
    const SQES_AT: i64 = 0x1000_0000;
    let check = |value: c_long| if value < 0 { Err(io::Error::last_os_error()) } else { Ok(value) };
    let mut params = Params::default();
    // SAFETY: `Params` has the layout and size of `struct io_uring_params` (120 bytes), and lives through the call.
    let fd = check(unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, &raw mut params) })?;
    // SAFETY: the kernel has just made it.
    let ring = unsafe { OwnedFd::from_raw_fd(c_int::try_from(fd).map_err(io::Error::other)?) };
    let map = |offset: i64| {
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_POPULATE);
        // SAFETY: a new mapping of the ring at an address of the kernel's choice.
        let at = unsafe { libc::mmap(ptr::null_mut(), PAGE, protection, flags, ring.as_raw_fd(), offset) };
        if at == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(at.cast::<u8>()) }
    };
    let (queue, entries) = (map(0)?, map(SQES_AT)?);
    let entry = Entry {
        opcode: OP_WRITE,
        flags: 0,
        priority: 0,
        fd: file.as_raw_fd(),
        offset: 0,
        address: bytes.as_ptr() as u64,
        length: u32::try_from(bytes.len()).map_err(io::Error::other)?,
        rest: [0; 9],
    };
    // SAFETY: both mappings hold a ring of one entry; the offsets are the kernel's own, within the first page for so few.
    unsafe {
        entries.cast::<Entry>().write(entry);
        queue.add(params.sq[6] as usize).cast::<u32>().write_volatile(0);
        queue.add(params.sq[1] as usize).cast::<u32>().write_volatile(1);
    }
    let none = ptr::null::<u8>();
    // SAFETY: integers and a null pointer; what the entry points to outlives the call, which waits for its end.
    let done = check(unsafe { libc::syscall(libc::SYS_io_uring_enter, ring.as_raw_fd(), 1, 1, GETEVENTS, none, 0) });
    // SAFETY: mapped above, and not used after this.
    unsafe {
        libc::munmap(queue.cast(), PAGE);
        libc::munmap(entries.cast(), PAGE);
    }
    done.map(drop)
}
