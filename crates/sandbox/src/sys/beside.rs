//! Children that share this process's memory: a fork without the copy. They are gone, or have become another program,
//! before what they share is used again; no thread ever runs beside another.

use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};

use super::{Wait, check, exit_now, loopback_up, reap, setns, unshare};
use std::os::fd::AsFd;

/// Enough for looking up a program and executing it; untouched pages cost nothing.
const STACK: usize = 256 * 1024;

/// Starts `child` on a stack of its own. The stack is never given back: a process starts two such children at most.
///
/// # Safety
/// `argument` must stay valid until the child has ended or executed another program, and what the child touches must
/// not be touched meanwhile.
unsafe fn start(child: extern "C" fn(*mut c_void) -> c_int, argument: *mut c_void, flags: c_int) -> io::Result<i32> {
    let (prot, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK);
    // SAFETY: an anonymous mapping at an address of the kernel's choice.
    let stack = unsafe { libc::mmap(std::ptr::null_mut(), STACK, prot, kind, -1, 0) };
    if stack == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the stack grows down from its end, which is aligned to a page; the rest is the caller's promise.
    let pid = unsafe { libc::clone(child, stack.byte_add(STACK), flags | libc::CLONE_VM | libc::SIGCHLD, argument) };
    check(pid.into()).map(|pid| pid as i32)
}

/// Starts a child that executes another program or ends, and waits until it has done either (vfork(2)).
pub(crate) fn vfork(mut child: impl FnMut() -> c_int) -> io::Result<i32> {
    extern "C" fn run(argument: *mut c_void) -> c_int {
        // SAFETY: `argument` is the reference below, whose owner waits for this child.
        let child = unsafe { &mut *argument.cast::<&mut dyn FnMut() -> c_int>() };
        exit_now(child())
    }
    let mut child: &mut dyn FnMut() -> c_int = &mut child;
    // SAFETY: CLONE_VFORK holds this process until the child no longer shares its memory.
    unsafe { start(run, (&raw mut child).cast(), libc::CLONE_VFORK) }
}

/// A network namespace that a child beside this process makes, while this process goes on: the kernel takes longer
/// for it than for all the others together.
pub(crate) struct Network {
    pid: i32,
    /// The namespace, or the negative errno of the step that failed.
    made: &'static AtomicI32,
}

impl Network {
    /// Starts making it.
    pub(crate) fn begin() -> io::Result<Network> {
        extern "C" fn run(argument: *mut c_void) -> c_int {
            // SAFETY: `argument` is the leaked number below. Descriptors are shared, so the number opened here is one
            // in the parent, too; nothing is allocated, and errno, which is shared, is read only when all is lost.
            let made = unsafe { &*argument.cast::<AtomicI32>() };
            let value = match make() {
                Ok(fd) => fd,
                Err(e) => -e.raw_os_error().unwrap_or(libc::EIO),
            };
            made.store(value, Ordering::SeqCst);
            exit_now(0)
        }
        let made: &'static AtomicI32 = Box::leak(Box::new(AtomicI32::new(-libc::EIO)));
        let argument = std::ptr::from_ref(made).cast_mut().cast();
        // SAFETY: `made` lives forever and is atomic; the child touches nothing else.
        let pid = unsafe { start(run, argument, libc::CLONE_FILES) }?;
        Ok(Network { pid, made })
    }

    /// Waits for it and enters it.
    pub(crate) fn enter(self) -> io::Result<OwnedFd> {
        reap(self.pid, Wait::Block)?;
        match self.made.load(Ordering::SeqCst) {
            fd @ 0.. => {
                // SAFETY: the child opened it in the table it shared with this process, and is gone.
                let namespace = unsafe { OwnedFd::from_raw_fd(fd) };
                setns(namespace.as_fd(), libc::CLONE_NEWNET)?;
                Ok(namespace)
            }
            errno => Err(io::Error::from_raw_os_error(-errno)),
        }
    }
}

/// In the child: the namespace, with `lo` up.
fn make() -> io::Result<RawFd> {
    unshare(libc::CLONE_NEWNET)?;
    loopback_up()?;
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
    Ok(rustix::fs::open(c"/proc/self/ns/net", flags, rustix::fs::Mode::empty())?.into_raw_fd())
}
