//! The system calls that a process which serves ways out may not make: those of tier `landlock`, since it has no namespaces
//! either, and whatever serving does not need and reaches something of the owner's.

use super::{KINDS, LANDLOCK_ONLY, LEGACY, ROWS, Row, SYS_FCHMODAT2, Test};

/// An ordinary owner's server has the owner's uid: these hold where Landlock does not.
const SERVER_ONLY: &[Row] = &[
    Row {
        calls: &[libc::SYS_execve, libc::SYS_execveat],
        tests: &[],
        errno: libc::EPERM,
        reason: "a server starts no program",
    },
    Row {
        calls: &[libc::SYS_clone],
        tests: &[Test::Is(0, libc::CLONE_THREAD as u32, 0)],
        errno: libc::EPERM,
        reason: "a server starts no process: it would outlive server and jail, with the jail's listeners in hand",
    },
    Row {
        calls: &[libc::SYS_socket],
        tests: &[Test::NotIn(0, &[libc::AF_INET as u32, libc::AF_INET6 as u32, libc::AF_NETLINK as u32])],
        errno: libc::EACCES,
        reason: "path sockets escape Landlock before ABI 9: the owner's session bus and agents start and sign what they are asked to",
    },
    Row {
        calls: &[libc::SYS_socket],
        tests: &[Test::Is(0, u32::MAX, libc::AF_NETLINK as u32), Test::NotIn(2, &[libc::NETLINK_SOCK_DIAG as u32])],
        errno: libc::EACCES,
        reason: "of netlink only what says whose a connection on the loopback is",
    },
    Row {
        calls: &[libc::SYS_socket],
        tests: &[Test::NotIn(0, &[libc::AF_NETLINK as u32]), Test::NotIn(1, KINDS)],
        errno: libc::EACCES,
        reason: "TCP and UDP are served, packets of a server's own making are not",
    },
    Row {
        calls: &[
            libc::SYS_kill,
            libc::SYS_tkill,
            libc::SYS_tgkill,
            libc::SYS_rt_sigqueueinfo,
            libc::SYS_rt_tgsigqueueinfo,
            libc::SYS_pidfd_send_signal,
            libc::SYS_ptrace,
            libc::SYS_process_vm_readv,
            libc::SYS_process_vm_writev,
        ],
        tests: &[],
        errno: libc::EPERM,
        reason: "the owner's other processes: Landlock knows signals from ABI 6 on",
    },
    Row {
        calls: &[
            libc::SYS_fchmod,
            libc::SYS_fchmodat,
            SYS_FCHMODAT2,
            libc::SYS_fchown,
            libc::SYS_fchownat,
            libc::SYS_utimensat,
        ],
        tests: &[],
        errno: libc::EPERM,
        reason: "Landlock judges no modes, owners and times: a key of the owner's could be opened to other users",
    },
];

/// The same, of calls that only the older architectures have.
#[cfg(target_arch = "x86_64")]
const SERVER_LEGACY: &[Row] = &[
    Row {
        calls: &[libc::SYS_fork, libc::SYS_vfork],
        tests: &[],
        errno: libc::EPERM,
        reason: "a server starts no process",
    },
    Row {
        calls: &[
            libc::SYS_chmod,
            libc::SYS_chown,
            libc::SYS_lchown,
            libc::SYS_utime,
            libc::SYS_utimes,
            libc::SYS_futimesat,
        ],
        tests: &[],
        errno: libc::EPERM,
        reason: "Landlock judges no modes, owners and times",
    },
];
#[cfg(not(target_arch = "x86_64"))]
const SERVER_LEGACY: &[Row] = &[];

/// The rows of a process that serves ways out.
pub(crate) fn rows_of_server() -> impl Iterator<Item = &'static Row> {
    // Of netlink a jail may use another protocol than a server.
    let others = ROWS.iter().filter(|row| row.errno != libc::EPROTONOSUPPORT);
    SERVER_ONLY.iter().chain(SERVER_LEGACY).chain(LANDLOCK_ONLY).chain(others).chain(LEGACY)
}
