//! What the making of a throwaway world needs: namespaces, identity, the loopback interface.

use std::io;

use super::{Arg, raw};

/// Which side of a fork the caller is on.
pub(crate) enum Side {
    /// The new process.
    Child,
    /// The old one; the number is the child's.
    Parent(i32),
}

/// Forks. The program has one thread wherever it forks.
pub(crate) fn fork() -> io::Result<Side> {
    // SAFETY: the callers have a single thread, so the child's copy of every lock is free; it may go on as a normal program.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Side::Child),
        n => Ok(Side::Parent(n)),
    }
}

/// Enters new namespaces.
pub(crate) fn unshare(flags: i32) -> io::Result<()> {
    raw(libc::SYS_unshare, [Arg::N(flags.into())]).map(drop)
}

/// Becomes another user for good: groups, then gid, then uid.
pub(crate) fn become_user(uid: u32, gid: u32) -> io::Result<()> {
    raw(libc::SYS_setgroups, [Arg::N(0), Arg::N(0)])?;
    raw(libc::SYS_setresgid, [Arg::N(gid.into()), Arg::N(gid.into()), Arg::N(gid.into())])?;
    raw(libc::SYS_setresuid, [Arg::N(uid.into()), Arg::N(uid.into()), Arg::N(uid.into())]).map(drop)
}

/// Makes the process dumpable again after a change of user, so that it may write its own uid_map.
pub(crate) fn set_dumpable() -> io::Result<()> {
    raw(libc::SYS_prctl, [Arg::N(libc::PR_SET_DUMPABLE.into()), Arg::N(1), Arg::N(0), Arg::N(0), Arg::N(0)]).map(drop)
}

/// Asks the kernel to kill this process when its parent dies.
pub(crate) fn die_with_parent() -> io::Result<()> {
    let sig = i64::from(libc::SIGKILL);
    raw(libc::SYS_prctl, [Arg::N(libc::PR_SET_PDEATHSIG.into()), Arg::N(sig), Arg::N(0), Arg::N(0), Arg::N(0)])
        .map(drop)
}

/// Lets any process of the same user trace this one, as a kernel without Yama would.
pub(crate) fn allow_tracers() -> io::Result<()> {
    raw(libc::SYS_prctl, [Arg::N(libc::PR_SET_PTRACER.into()), Arg::N(-1), Arg::N(0), Arg::N(0), Arg::N(0)]).map(drop)
}

/// Sets the name that `/proc/PID/comm` shows.
pub(crate) fn set_name(name: &str) -> io::Result<()> {
    let name = super::c(name)?;
    raw(libc::SYS_prctl, [Arg::N(libc::PR_SET_NAME.into()), Arg::Str(&name), Arg::N(0), Arg::N(0), Arg::N(0)]).map(drop)
}

/// Makes standard input the controlling terminal of a new session.
pub(crate) fn take_terminal() -> io::Result<()> {
    raw(libc::SYS_setsid, [])?;
    raw(libc::SYS_ioctl, [Arg::N(0), Arg::N(i64::from(libc::TIOCSCTTY as u32)), Arg::N(0)]).map(drop)
}

/// Brings the loopback interface up and gives it one more address.
pub(crate) fn loopback_up(address: [u8; 4]) -> io::Result<()> {
    use rustix::net::{AddressFamily, SocketType, socket};
    use std::os::fd::AsRawFd;
    let sock = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    let fd = i64::from(sock.as_raw_fd());
    // struct ifreq: 16 bytes of name, then the value, 40 bytes in all.
    let mut up = [0u8; 40];
    up[..2].copy_from_slice(b"lo");
    let flags = libc::IFF_UP | libc::IFF_RUNNING;
    up[16..18].copy_from_slice(&(flags as i16).to_ne_bytes());
    raw(libc::SYS_ioctl, [Arg::N(fd), Arg::N(libc::SIOCSIFFLAGS as i64), Arg::Out(&mut up)])?;
    let mut alias = [0u8; 40];
    alias[..4].copy_from_slice(b"lo:1");
    alias[16..18].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
    alias[20..24].copy_from_slice(&address);
    raw(libc::SYS_ioctl, [Arg::N(fd), Arg::N(libc::SIOCSIFADDR as i64), Arg::Out(&mut alias)]).map(drop)
}
