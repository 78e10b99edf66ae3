//! Every system call that rustix does not wrap, and the only unsafe code of this room.
//!
//! The programs that use it are single-threaded, so a raw `clone` may allocate in the child.
#![allow(unsafe_code)]

mod beside;
mod board;
mod children;
mod netlink;

pub(crate) use beside::{Network, vfork};
pub(crate) use board::{Board, board};
pub use children::signal_fd;
pub(crate) use children::*;
pub(crate) use netlink::make_addresses_local;

use std::ffi::{CString, c_char, c_int, c_long};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU8, Ordering};

/// Namespaces of a jail made without privilege; that of the network follows, made beside (see [`Network`]).
pub(crate) const NS_ALL: c_int = NS_ROOT | libc::CLONE_NEWUSER;
/// Namespaces of a jail made by root: the user namespace follows after the ids have dropped.
pub(crate) const NS_ROOT: c_int =
    libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | libc::CLONE_NEWCGROUP;

/// `MOUNT_ATTR_*` of `mount_setattr(2)`.
pub(crate) mod attr {
    pub(crate) const RDONLY: u64 = 0x1;
    pub(crate) const NOSUID: u64 = 0x2;
    pub(crate) const NODEV: u64 = 0x4;
    pub(crate) const NOEXEC: u64 = 0x8;
    pub(crate) const IDMAP: u64 = 0x0010_0000;
}

fn check(ret: c_long) -> io::Result<c_long> {
    if ret < 0 { Err(io::Error::last_os_error()) } else { Ok(ret) }
}

/// What a process is after a fork.
pub(crate) enum Fork {
    /// In the new process.
    Child,
    /// In the old one, with the new one's pid.
    Parent(i32),
}

/// Forks with `clone(2)` flags, without a new stack.
pub(crate) fn clone(flags: c_int) -> io::Result<Fork> {
    // SAFETY: no stack, tls or tid pointers are passed, so the child goes on with a copy of this one thread;
    // the programs are single-threaded, so no lock is held by a thread that does not exist in the child.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone, flags | libc::SIGCHLD, 0, 0, 0, 0) })?;
    Ok(if pid == 0 { Fork::Child } else { Fork::Parent(pid as i32) })
}

/// Makes new namespaces for this process.
pub(crate) fn unshare(flags: c_int) -> io::Result<()> {
    // SAFETY: only namespace flags are passed; CLONE_FILES, which could pull descriptors away, never is.
    check(unsafe { libc::unshare(flags) }.into()).map(drop)
}

/// Ends the process at once, without running destructors or flushing buffers of the parent's copy.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(code) }
}

#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Sets attributes of the mount at `fd`, with all mounts below it when `recursive`.
pub(crate) fn mount_setattr(
    fd: BorrowedFd<'_>,
    set: u64,
    depth: Depth,
    userns: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let userns_fd = userns.map_or(0, |f| f.as_raw_fd() as u64);
    change_mount(fd, depth, &MountAttr { attr_set: set, attr_clr: 0, propagation: 0, userns_fd })
}

/// Makes the mount at `fd`, and none below it, writable again.
pub(crate) fn mount_make_writable(fd: BorrowedFd<'_>) -> io::Result<()> {
    change_mount(fd, Depth::One, &MountAttr { attr_set: 0, attr_clr: attr::RDONLY, propagation: 0, userns_fd: 0 })
}

fn change_mount(fd: BorrowedFd<'_>, depth: Depth, attr: &MountAttr) -> io::Result<()> {
    let flags = libc::AT_EMPTY_PATH | if matches!(depth, Depth::Tree) { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a NUL-terminated constant and `attr` outlives the call; its size is passed with it.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of::<MountAttr>(),
        )
    })
    .map(drop)
}

/// How far down a mount operation reaches.
#[derive(Clone, Copy)]
pub(crate) enum Depth {
    /// This mount.
    One,
    /// This mount and all below it.
    Tree,
}

/// Gives up every uid, gid and group at once. Raw calls: they change this thread, which is the only one.
pub(crate) fn set_ids(uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: setgroups with length 0 reads no memory.
    check(unsafe { libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<u32>()) })?;
    set_uid_gid(uid, gid)
}

/// Sets the real, effective and saved ids.
pub(crate) fn set_uid_gid(uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: plain integers.
    check(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) })?;
    // SAFETY: plain integers.
    check(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) }).map(drop)
}

/// Whether the bounding set must be emptied.
#[derive(Clone, Copy)]
pub(crate) enum Bounding {
    /// It must: anything else would make the report untrue.
    MustEmpty,
    /// An ordinary caller without a user namespace of its own cannot; no_new_privs keeps an exec from using it.
    MayStay,
}

/// Empties the bounding, ambient, inheritable, permitted and effective sets.
pub(crate) fn drop_capabilities(bounding: Bounding) -> io::Result<()> {
    for cap in 0..64 {
        // SAFETY: PR_CAPBSET_DROP takes plain integers; EINVAL says the kernel knows no such capability.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, cap, 0, 0, 0) } < 0 {
            let err = io::Error::last_os_error();
            let may_stay = matches!(bounding, Bounding::MayStay) && err.raw_os_error() == Some(libc::EPERM);
            if may_stay || err.raw_os_error() == Some(libc::EINVAL) {
                break;
            }
            return Err(err);
        }
    }
    // SAFETY: plain integers.
    check(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) }.into())?;
    let header: [u32; 2] = [0x2008_0522, 0]; // _LINUX_CAPABILITY_VERSION_3, this thread
    let none = [0u32; 6];
    // SAFETY: version 3 reads a header of two words and two sets of three words, which these arrays are.
    check(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) }).map(drop)
}

/// Sets `no_new_privs`.
pub(crate) fn set_no_new_privs() -> io::Result<()> {
    // SAFETY: plain integers.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }.into()).map(drop)
}

/// Makes this process unreadable through /proc and ptrace for everyone without CAP_SYS_PTRACE outside.
pub(crate) fn set_not_dumpable() -> io::Result<()> {
    // SAFETY: plain integers.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) }.into()).map(drop)
}

/// Makes this process's /proc entries its own again after a change of ids, for the id maps.
pub(crate) fn set_dumpable() -> io::Result<()> {
    // SAFETY: plain integers.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0) }.into()).map(drop)
}

/// Joins a new, anonymous session keyring, so that the caller's is out of reach (keyctl(2)).
pub(crate) fn new_session_keyring() -> io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: c_long = 1;
    // SAFETY: a null name asks for an anonymous keyring and is not read.
    match check(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, std::ptr::null::<c_char>()) }) {
        // No keyrings in this kernel: nothing to reach.
        Err(e) if e.raw_os_error() == Some(libc::ENOSYS) => Ok(()),
        other => other.map(drop),
    }
}

/// Installs a classic BPF program as a seccomp filter.
pub(crate) fn install_seccomp(program: &[libc::sock_filter]) -> io::Result<()> {
    let len = u16::try_from(program.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let prog = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel copies `len` instructions out of `program`, which lives through the call, and writes nothing.
    check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const prog) }).map(drop)
}

/// Closes every descriptor from `first` on.
pub(crate) fn close_from(first: RawFd) -> io::Result<()> {
    // SAFETY: only called right before exec or in a process whose other descriptors have no owner left.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) }).map(drop)
}

/// Marks every descriptor from `first` on to be closed by exec.
pub(crate) fn close_on_exec_from(first: RawFd) -> io::Result<()> {
    // SAFETY: closes nothing now.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) }).map(drop)
}

/// Closes every descriptor from 3 on but those in `keep`: a fork of the monitor must hold nothing of its caller.
pub(crate) fn close_all_but(keep: &[RawFd]) -> io::Result<()> {
    let mut keep: Vec<RawFd> = keep.iter().copied().filter(|fd| *fd >= 3).collect();
    keep.sort_unstable();
    let mut first: RawFd = 3;
    for fd in keep {
        if fd > first {
            // SAFETY: only called in a fork that never drops the descriptors it inherited.
            check(unsafe { libc::syscall(libc::SYS_close_range, first, fd - 1, 0) })?;
        }
        first = fd + 1;
    }
    close_from(first)
}

/// Puts `fd` at exactly `target`, inheritable.
pub(crate) fn dup_onto(fd: BorrowedFd<'_>, target: RawFd) -> io::Result<()> {
    if fd.as_raw_fd() == target {
        // SAFETY: F_SETFD takes a plain integer.
        return check(unsafe { libc::fcntl(target, libc::F_SETFD, 0) }.into()).map(drop);
    }
    // SAFETY: targets are 0, 1 and 2, which no owned descriptor uses.
    check(unsafe { libc::dup2(fd.as_raw_fd(), target) }.into()).map(drop)
}

/// Closes one of the standard descriptors.
pub(crate) fn close_standard(target: RawFd) {
    // SAFETY: targets are 0, 1 and 2, which no owned descriptor uses.
    unsafe { libc::close(target) };
}

/// Bit n: standard descriptor n was open when the process started.
static OPEN_AT_START: AtomicU8 = AtomicU8::new(0);

/// Runs before `main`: Rust's runtime opens /dev/null wherever a standard descriptor is closed.
// SAFETY: an entry of this section is a function that the C library calls once, before other threads exist.
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

extern "C" fn look() {
    // SAFETY: F_GETFD reads nothing.
    let is_open = |fd: &c_int| unsafe { libc::fcntl(*fd, libc::F_GETFD) >= 0 };
    OPEN_AT_START.store((0..3).filter(is_open).fold(0, |bits, fd| bits | 1 << fd), Ordering::Relaxed);
}

/// Says that all three standard descriptors are open now: they were put there for a call that somebody else asks for.
pub(crate) fn standard_are_open() {
    OPEN_AT_START.store(0b111, Ordering::Relaxed);
}

/// The pidfd of the process that connected a socket (unix(7), Linux 6.5).
pub(crate) fn peer_pidfd(socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    const SO_PEERPIDFD: c_int = 77;
    let (mut fd, mut size): (c_int, libc::socklen_t) = (-1, size_of::<c_int>() as libc::socklen_t);
    let value = (&raw mut fd).cast();
    // SAFETY: the kernel writes at most `size` bytes to `fd`, which is an int.
    let got = unsafe { libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, SO_PEERPIDFD, value, &raw mut size) };
    check(got.into())?;
    // SAFETY: `fd` was just made for this process and has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Whether the caller left a standard descriptor open.
pub(crate) fn is_open(fd: RawFd) -> bool {
    OPEN_AT_START.load(Ordering::Relaxed) & (1 << fd) != 0
}

/// One of the standard descriptors, or one this program keeps open by number.
pub(crate) fn standard(fd: RawFd) -> BorrowedFd<'static> {
    // SAFETY: the standard descriptors are never closed by the client.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// Replaces this process. Returns only on failure.
pub(crate) fn exec(path: &CString, argv: &[CString], envp: &[CString]) -> io::Error {
    let pointers = |list: &[CString]| -> Vec<*const c_char> {
        list.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (argv, envp) = (pointers(argv), pointers(envp));
    // SAFETY: both arrays end in null and point at NUL-terminated strings that live through the call.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    io::Error::last_os_error()
}

/// Overwrites the environment and argument strings that the kernel shows as /proc/PID/environ and cmdline.
///
/// The jail's init is a fork of the caller: without this its /proc entry would hold the caller's secrets.
pub(crate) fn wipe_initial_strings() {
    unsafe extern "C" {
        static mut environ: *mut *mut c_char;
    }
    // SAFETY: single-threaded; `environ` is null or a null-terminated array of strings that lie in writable
    // memory (the initial stack, or the heap for changed ones); nothing reads the environment afterwards.
    unsafe {
        let mut entry = environ;
        while !entry.is_null() && !(*entry).is_null() {
            std::ptr::write_bytes(*entry, 0, libc::strlen(*entry));
            entry = entry.add(1);
        }
        environ = std::ptr::null_mut();
    }
}

/// Sets the name shown in process lists.
pub(crate) fn set_process_name(name: &std::ffi::CStr) {
    // SAFETY: the name is NUL-terminated; the kernel copies at most 16 bytes.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0) };
}

/// Sets one resource limit, soft and hard.
pub(crate) fn set_rlimit(resource: libc::__rlimit_resource_t, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: `limit` lives through the call.
    check(unsafe { libc::setrlimit(resource, &raw const limit) }.into()).map(drop)
}

/// Reads the hard limit of a resource.
pub(crate) fn hard_rlimit(resource: libc::__rlimit_resource_t) -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is writable for the call.
    check(unsafe { libc::getrlimit(resource, &raw mut limit) }.into())?;
    Ok(limit.rlim_max)
}

/// Brings `lo` up in this network namespace.
pub(crate) fn loopback_up() -> io::Result<()> {
    // SAFETY: plain integers.
    let fd = check(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) }.into())?;
    // SAFETY: `fd` was just made and has no other owner.
    let socket = unsafe { OwnedFd::from_raw_fd(fd as RawFd) };
    // SAFETY: all-zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as c_char;
    request.ifr_name[1] = b'o' as c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    // SAFETY: SIOCSIFFLAGS reads an ifreq, which `request` is.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) }.into()).map(drop)
}

/// Sets the host name of this UTS namespace.
pub(crate) fn set_host_name(name: &str) -> io::Result<()> {
    // SAFETY: pointer and length are of one live string.
    check(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) }.into()).map(drop)
}

/// Enters a namespace.
pub(crate) fn setns(fd: BorrowedFd<'_>, kind: c_int) -> io::Result<()> {
    // SAFETY: plain integers; the caller is a forked helper with nothing shared.
    check(unsafe { libc::setns(fd.as_raw_fd(), kind) }.into()).map(drop)
}

/// Answers the slave of a PTY master without a path, so that no /dev/pts of ours need be reachable.
pub(crate) fn pty_peer(master: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    const TIOCGPTPEER: libc::Ioctl = 0x5441;
    let unlock: c_int = 0;
    // SAFETY: TIOCSPTLCK reads an int.
    check(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlock) }.into())?;
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: TIOCGPTPEER takes open flags and returns a new descriptor.
    let fd = check(unsafe { libc::ioctl(master.as_raw_fd(), TIOCGPTPEER, flags) }.into())?;
    // SAFETY: `fd` was just made and has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Makes `fd` the controlling terminal of this session.
pub(crate) fn controlling_terminal(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: TIOCSCTTY takes a plain integer.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSCTTY, 0) }.into()).map(drop)
}

/// Answers the Landlock ABI of the running kernel, 0 when it is absent or switched off.
pub(crate) fn landlock_abi() -> u32 {
    const LANDLOCK_CREATE_RULESET_VERSION: u32 = 1;
    // SAFETY: with this flag the kernel reads no attributes and returns a number.
    let abi = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<u8>(),
            0usize,
            LANDLOCK_CREATE_RULESET_VERSION,
        )
    };
    u32::try_from(abi).unwrap_or(0)
}

/// Closes what the caller left open beyond the standard descriptors. Called first, before anything is opened.
pub fn close_inherited() {
    if close_from(3).is_err() {
        exit_now(125);
    }
}
