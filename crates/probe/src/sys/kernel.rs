//! Kernel surface: calls that an agent's command has no business with.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::{Arg, c, own, raw};

/// Makes an io_uring: file and network access that no system-call filter sees.
pub(crate) fn io_uring_setup() -> io::Result<OwnedFd> {
    let mut params = [0u8; 120];
    own(raw(libc::SYS_io_uring_setup, [Arg::N(4), Arg::Out(&mut params)])?)
}

/// Makes a userfaultfd: the classic way to win a race inside the kernel.
pub(crate) fn userfaultfd() -> io::Result<OwnedFd> {
    const USER_MODE_ONLY: i64 = 1;
    own(raw(libc::SYS_userfaultfd, [Arg::N(USER_MODE_ONLY)])?)
}

/// Makes a BPF array map.
pub(crate) fn bpf_map() -> io::Result<OwnedFd> {
    let mut attr = [0u8; 72];
    for (i, v) in [2u32, 4, 8, 1].iter().enumerate() {
        attr[i * 4..i * 4 + 4].copy_from_slice(&v.to_ne_bytes());
    }
    own(raw(libc::SYS_bpf, [Arg::N(0), Arg::In(&attr), Arg::N(72)])?)
}

/// Counts the caller's own instructions in software.
pub(crate) fn perf_open() -> io::Result<OwnedFd> {
    let mut attr = [0u8; 64];
    attr[..4].copy_from_slice(&1u32.to_ne_bytes());
    attr[4..8].copy_from_slice(&64u32.to_ne_bytes());
    attr[8..16].copy_from_slice(&1u64.to_ne_bytes());
    // disabled, exclude_kernel, exclude_hv: what an ordinary user may ask for.
    attr[40..48].copy_from_slice(&(1u64 | 1 << 5 | 1 << 6).to_ne_bytes());
    own(raw(libc::SYS_perf_event_open, [Arg::In(&attr), Arg::N(0), Arg::N(-1), Arg::N(-1), Arg::N(0)])?)
}

/// Forks with namespace flags through clone(2); the child ends at once.
pub(crate) fn clone_with(flags: i32) -> io::Result<()> {
    let got =
        raw(libc::SYS_clone, [Arg::N(i64::from(flags | libc::SIGCHLD)), Arg::N(0), Arg::N(0), Arg::N(0), Arg::N(0)])?;
    reap_or_exit(got)
}

/// Forks with namespace flags through clone3(2), whose flags a seccomp filter cannot see; the child ends at once.
pub(crate) fn clone3_with(flags: i32) -> io::Result<()> {
    let mut args = [0u8; 88];
    args[..8].copy_from_slice(&(flags as u64).to_ne_bytes());
    args[32..40].copy_from_slice(&(libc::SIGCHLD as u64).to_ne_bytes());
    let got = raw(libc::SYS_clone3, [Arg::In(&args), Arg::N(88)])?;
    reap_or_exit(got)
}

fn reap_or_exit(got: i64) -> io::Result<()> {
    if got == 0 {
        // SAFETY: ends the child of a fork without running anything of the parent's.
        unsafe { libc::_exit(0) }
    }
    raw(libc::SYS_wait4, [Arg::N(got), Arg::N(0), Arg::N(0), Arg::N(0)]).map(drop)
}

/// Mounts a file system.
pub(crate) fn mount(kind: &str, at: &str, flags: u64) -> io::Result<()> {
    let kind = c(kind)?;
    raw(libc::SYS_mount, [Arg::Str(&kind), Arg::Str(&c(at)?), Arg::Str(&kind), Arg::N(flags as i64), Arg::N(0)])
        .map(drop)
}

/// Binds one place over another.
pub(crate) fn bind(from: &str, to: &str) -> io::Result<()> {
    let flags = (libc::MS_BIND | libc::MS_REC) as i64;
    raw(libc::SYS_mount, [Arg::Str(&c(from)?), Arg::Str(&c(to)?), Arg::N(0), Arg::N(flags), Arg::N(0)]).map(drop)
}

/// Takes what is mounted at a place away.
pub(crate) fn umount(at: &str) -> io::Result<()> {
    raw(libc::SYS_umount2, [Arg::Str(&c(at)?), Arg::N(libc::MNT_DETACH.into())]).map(drop)
}

/// Opens a file system through the newer mount interface.
pub(crate) fn fsopen(kind: &str) -> io::Result<OwnedFd> {
    own(raw(libc::SYS_fsopen, [Arg::Str(&c(kind)?), Arg::N(0)])?)
}

/// Clones a mount tree.
pub(crate) fn open_tree(path: &str) -> io::Result<OwnedFd> {
    let flags = 1 | i64::from(libc::O_CLOEXEC);
    own(raw(libc::SYS_open_tree, [Arg::N(libc::AT_FDCWD.into()), Arg::Str(&c(path)?), Arg::N(flags)])?)
}

/// Changes the root directory.
pub(crate) fn chroot(path: &str) -> io::Result<()> {
    raw(libc::SYS_chroot, [Arg::Str(&c(path)?)]).map(drop)
}

/// Names a file by handle. Returns the handle's bytes, header included.
pub(crate) fn name_to_handle(path: &str) -> io::Result<Vec<u8>> {
    let mut handle = vec![0u8; 8 + 128];
    handle[..4].copy_from_slice(&128u32.to_ne_bytes());
    let mut mount = [0u8; 8];
    let at = Arg::N(libc::AT_FDCWD.into());
    raw(
        libc::SYS_name_to_handle_at,
        [at, Arg::Str(&c(path)?), Arg::Out(&mut handle), Arg::Out(&mut mount), Arg::N(0)],
    )?;
    Ok(handle)
}

/// Opens a file by its handle: past every mount and directory permission.
pub(crate) fn open_by_handle(near: BorrowedFd<'_>, handle: &[u8]) -> io::Result<OwnedFd> {
    if handle.len() != 8 + 128 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let near = Arg::N(near.as_raw_fd().into());
    own(raw(libc::SYS_open_by_handle_at, [near, Arg::In(handle), Arg::N(libc::O_RDONLY.into())])?)
}

/// Makes a fanotify group that reports names, as an ordinary user may.
pub(crate) fn fanotify() -> io::Result<OwnedFd> {
    const REPORT_DFID_NAME: i64 = 0x0c00;
    own(raw(libc::SYS_fanotify_init, [Arg::N(REPORT_DFID_NAME), Arg::N(0)])?)
}

/// Makes a fanotify group that decides over other processes' opens.
pub(crate) fn fanotify_permission() -> io::Result<OwnedFd> {
    const CLASS_CONTENT: i64 = 4;
    own(raw(libc::SYS_fanotify_init, [Arg::N(CLASS_CONTENT), Arg::N(0)])?)
}

/// Sets the execution domain; the old one is returned.
pub(crate) fn personality(value: i64) -> io::Result<i64> {
    raw(libc::SYS_personality, [Arg::N(value)])
}

/// Calls getpid through the x32 table.
pub(crate) fn x32_getpid() -> io::Result<i64> {
    raw(libc::SYS_getpid | 0x4000_0000, [])
}

/// Calls getpid through the 32-bit entry, whose numbers mean other calls than a 64-bit filter thinks.
#[cfg(target_arch = "x86_64")]
pub(crate) fn i386_getpid() -> io::Result<i64> {
    let got: i64;
    // SAFETY: int 0x80 with eax=20 is getpid: it touches no memory, and the registers the kernel may change are declared.
    unsafe {
        std::arch::asm!("int 0x80", inlateout("rax") 20i64 => got,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _, options(nostack));
    }
    if got > 0 { Ok(got) } else { Err(io::Error::from_raw_os_error(i32::try_from(-got).unwrap_or(libc::EINVAL))) }
}

/// Other machines have no such entry.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn i386_getpid() -> io::Result<i64> {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}

/// Pushes one byte into a terminal's input, with extra bits set in the request.
pub(crate) fn tiocsti(fd: i32, byte: u8, high: i64) -> io::Result<()> {
    raw(libc::SYS_ioctl, [Arg::N(fd.into()), Arg::N(libc::TIOCSTI as i64 | high), Arg::In(&[byte])]).map(drop)
}

/// Asks a terminal driver for its TIOCLINUX call.
pub(crate) fn tioclinux(fd: i32, high: i64) -> io::Result<()> {
    const TIOCLINUX: i64 = 0x541c;
    // Subcode 6 only reports the shift state.
    let mut sub = [6u8; 8];
    raw(libc::SYS_ioctl, [Arg::N(fd.into()), Arg::N(TIOCLINUX | high), Arg::Out(&mut sub)]).map(drop)
}

/// Changes a mode.
pub(crate) fn chmod(path: &str, mode: u32) -> io::Result<()> {
    raw(libc::SYS_chmod, [Arg::Str(&c(path)?), Arg::N(mode.into())]).map(drop)
}

/// Changes a mode through a descriptor.
pub(crate) fn fchmod(path: &str, mode: u32) -> io::Result<()> {
    let file = std::fs::File::open(path)?;
    raw(libc::SYS_fchmod, [Arg::N(file.as_raw_fd().into()), Arg::N(mode.into())]).map(drop)
}

/// Changes a mode through fchmodat2(2), newer than many filters.
pub(crate) fn fchmodat2(path: &str, mode: u32) -> io::Result<()> {
    const NR: libc::c_long = 452;
    raw(NR, [Arg::N(libc::AT_FDCWD.into()), Arg::Str(&c(path)?), Arg::N(mode.into()), Arg::N(0)]).map(drop)
}

/// Makes a file of this mode with open(2).
pub(crate) fn open_mode(path: &str, mode: u32) -> io::Result<OwnedFd> {
    let flags = Arg::N(i64::from(libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY));
    own(raw(libc::SYS_open, [Arg::Str(&c(path)?), flags, Arg::N(mode.into())])?)
}

/// Makes a file of this mode with openat2(2), whose mode stands behind a pointer.
pub(crate) fn openat2_mode(path: &str, mode: u32) -> io::Result<OwnedFd> {
    let mut how = [0u8; 24];
    how[..8].copy_from_slice(&((libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY) as u64).to_ne_bytes());
    how[8..16].copy_from_slice(&u64::from(mode).to_ne_bytes());
    own(raw(libc::SYS_openat2, [Arg::N(libc::AT_FDCWD.into()), Arg::Str(&c(path)?), Arg::In(&how), Arg::N(24)])?)
}

/// Makes a node of this mode.
pub(crate) fn mknod(path: &str, mode: u32, device: u64) -> io::Result<()> {
    raw(libc::SYS_mknod, [Arg::Str(&c(path)?), Arg::N(mode.into()), Arg::N(device as i64)]).map(drop)
}

/// Reads the kernel's log.
pub(crate) fn syslog() -> io::Result<Vec<u8>> {
    let mut buf = vec![0u8; 4096];
    let n = raw(libc::SYS_syslog, [Arg::N(3), Arg::Out(&mut buf), Arg::N(4096)])?;
    buf.truncate(usize::try_from(n).unwrap_or(0));
    Ok(buf)
}

/// Sets the host's name.
pub(crate) fn sethostname(name: &str) -> io::Result<()> {
    raw(libc::SYS_sethostname, [Arg::In(name.as_bytes()), Arg::N(name.len() as i64)]).map(drop)
}

/// Makes anonymous memory that is a file.
pub(crate) fn memfd() -> io::Result<OwnedFd> {
    own(raw(libc::SYS_memfd_create, [Arg::Str(c"probe"), Arg::N(0)])?)
}

/// Unlocks a terminal's other side and tells its number.
pub(crate) fn unlock_terminal(master: &OwnedFd) -> io::Result<u32> {
    let fd = i64::from(master.as_raw_fd());
    raw(libc::SYS_ioctl, [Arg::N(fd), Arg::N(libc::TIOCSPTLCK as i64), Arg::In(&0i32.to_ne_bytes())])?;
    let mut number = [0u8; 4];
    raw(libc::SYS_ioctl, [Arg::N(fd), Arg::N(libc::TIOCGPTN as i64), Arg::Out(&mut number)])?;
    Ok(u32::from_ne_bytes(number))
}
