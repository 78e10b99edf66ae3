//! The system calls a jailed program may not make, as a table with reasons.
//!
//! Everything else is allowed: the walls are the namespaces and Landlock, this closes kernel surface that neither
//! of them covers.

use libc::c_long;

use crate::tier::Tier;

mod server;

pub(crate) use server::rows_of_server;

/// A test of the low 32 bits of an argument: the kernel itself compares only those for every call in the table.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Test {
    /// Any of these bits is set.
    Bits(u8, u32),
    /// The value under a mask is this.
    Is(u8, u32, u32),
    /// The value, of which both halves count, is larger.
    Above(u8, u32),
    /// The value is none of these.
    NotIn(u8, &'static [u32]),
}

/// One denial.
pub(crate) struct Row {
    pub(crate) calls: &'static [c_long],
    pub(crate) tests: &'static [Test],
    pub(crate) errno: i32,
    pub(crate) reason: &'static str,
}

const SETID: u32 = libc::S_ISUID | libc::S_ISGID;
const NAMESPACES: u32 = (libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP) as u32;
const CREATES: u32 = (libc::O_CREAT | (libc::O_TMPFILE & !libc::O_DIRECTORY)) as u32;
pub(crate) const FAMILIES: &[u32] =
    &[libc::AF_UNIX as u32, libc::AF_INET as u32, libc::AF_INET6 as u32, libc::AF_NETLINK as u32];
const PERSONALITIES: &[u32] = &[0, libc::ADDR_NO_RANDOMIZE as u32, u32::MAX];
const SYS_OPEN_TREE_ATTR: c_long = 467;
const SYS_FCHMODAT2: c_long = 452;
const SYS_SETXATTRAT: c_long = 463;
const SYS_REMOVEXATTRAT: c_long = 466;

/// Rows of every tier.
const ROWS: &[Row] = &[
    Row {
        calls: &[libc::SYS_openat],
        tests: &[Test::Bits(2, CREATES), Test::Bits(3, SETID)],
        errno: libc::EPERM,
        reason: "a setuid file made in the workspace would be one on the host",
    },
    Row {
        calls: &[libc::SYS_ioctl],
        tests: &[Test::Is(1, u32::MAX, libc::TIOCSTI as u32)],
        errno: libc::EPERM,
        reason: "TIOCSTI types into a terminal (CVE-2016-10124 class); the kernel compares 32 bits of the request (CVE-2019-10063)",
    },
    Row {
        calls: &[libc::SYS_ioctl],
        tests: &[Test::Is(1, u32::MAX, libc::TIOCLINUX as u32)],
        errno: libc::EPERM,
        reason: "TIOCLINUX pastes into a virtual console (CVE-2023-1523)",
    },
    Row {
        calls: &[libc::SYS_ioctl],
        tests: &[Test::Is(1, u32::MAX, 0x5423)],
        errno: libc::EPERM,
        reason: "TIOCSETD loads line-discipline modules, a source of kernel holes (CVE-2023-31082)",
    },
    Row {
        calls: &[libc::SYS_clone],
        tests: &[Test::Bits(0, NAMESPACES)],
        errno: libc::EPERM,
        reason: "a nested user namespace gives capabilities over new kernel surface",
    },
    Row {
        calls: &[libc::SYS_clone3],
        tests: &[],
        errno: libc::ENOSYS,
        reason: "its flags are behind a pointer, so they cannot be judged; libc falls back to clone",
    },
    Row {
        calls: &[libc::SYS_openat2],
        tests: &[],
        errno: libc::ENOSYS,
        reason: "its mode is behind a pointer, so a setuid bit cannot be seen; callers fall back to openat",
    },
    Row {
        calls: &[libc::SYS_fchmod],
        tests: &[Test::Bits(1, SETID)],
        errno: libc::EPERM,
        reason: "a setuid file made in the workspace would be one on the host",
    },
    Row {
        calls: &[libc::SYS_fchmodat, SYS_FCHMODAT2],
        tests: &[Test::Bits(2, SETID)],
        errno: libc::EPERM,
        reason: "a setuid file made in the workspace would be one on the host",
    },
    Row {
        calls: &[libc::SYS_mkdirat],
        tests: &[Test::Bits(2, SETID)],
        errno: libc::EPERM,
        reason: "a setgid directory passes its group to what others make in it",
    },
    Row {
        calls: &[libc::SYS_mknodat],
        tests: &[Test::Bits(2, SETID)],
        errno: libc::EPERM,
        reason: "a setuid file made in the workspace would be one on the host",
    },
    Row {
        calls: &[libc::SYS_mknodat],
        tests: &[Test::Is(2, libc::S_IFMT, libc::S_IFCHR)],
        errno: libc::EPERM,
        reason: "no device nodes",
    },
    Row {
        calls: &[libc::SYS_mknodat],
        tests: &[Test::Is(2, libc::S_IFMT, libc::S_IFBLK)],
        errno: libc::EPERM,
        reason: "no device nodes",
    },
    Row {
        calls: &[libc::SYS_socket, libc::SYS_socketpair],
        tests: &[Test::NotIn(0, FAMILIES)],
        errno: libc::EAFNOSUPPORT,
        reason: "vsock reaches the hypervisor past every network namespace; other families are kernel surface (CVE-2017-6074)",
    },
    Row {
        calls: &[libc::SYS_socket],
        tests: &[Test::Is(0, u32::MAX, libc::AF_NETLINK as u32), Test::NotIn(2, &[0])],
        errno: libc::EPROTONOSUPPORT,
        reason: "of netlink only NETLINK_ROUTE, which getaddrinfo asks, is needed; nfnetlink and others are kernel surface (CVE-2024-1086)",
    },
    Row {
        calls: &[libc::SYS_personality],
        tests: &[Test::NotIn(0, PERSONALITIES)],
        errno: libc::EPERM,
        reason: "READ_IMPLIES_EXEC and 32-bit layouts weaken the address space",
    },
    Row {
        calls: &[libc::SYS_unshare, libc::SYS_setns],
        tests: &[],
        errno: libc::EPERM,
        reason: "a nested user namespace gives capabilities over new kernel surface",
    },
    Row {
        calls: &[
            libc::SYS_mount,
            libc::SYS_umount2,
            libc::SYS_pivot_root,
            libc::SYS_chroot,
            libc::SYS_open_tree,
            libc::SYS_move_mount,
            libc::SYS_fsopen,
            libc::SYS_fsconfig,
            libc::SYS_fsmount,
            libc::SYS_fspick,
            libc::SYS_mount_setattr,
            SYS_OPEN_TREE_ATTR,
        ],
        tests: &[],
        errno: libc::EPERM,
        reason: "the mounts are the wall (CVE-2022-0185 is in fsconfig)",
    },
    Row {
        calls: &[libc::SYS_bpf, libc::SYS_perf_event_open, libc::SYS_userfaultfd],
        tests: &[],
        errno: libc::EPERM,
        reason: "verifier and race primitives of most kernel exploits (CVE-2021-3490, CVE-2013-2094)",
    },
    Row {
        calls: &[libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register],
        tests: &[],
        errno: libc::ENOSYS,
        reason: "its requests pass no filter (CVE-2022-29582); runtimes fall back to epoll",
    },
    Row {
        calls: &[libc::SYS_add_key, libc::SYS_request_key, libc::SYS_keyctl],
        tests: &[],
        errno: libc::EPERM,
        reason: "keyrings are not wholly namespaced; request_key starts a program outside",
    },
    Row {
        calls: &[libc::SYS_open_by_handle_at, libc::SYS_name_to_handle_at],
        tests: &[],
        errno: libc::EPERM,
        reason: "file handles reach around every mount (the Shocker attack)",
    },
    Row {
        calls: &[libc::SYS_fanotify_init, libc::SYS_fanotify_mark],
        tests: &[],
        errno: libc::EPERM,
        reason: "watches whole file systems, beyond what is mounted here",
    },
    Row {
        calls: &[libc::SYS_kcmp, libc::SYS_pidfd_getfd],
        tests: &[],
        errno: libc::EPERM,
        reason: "takes descriptors and facts from other processes",
    },
    Row {
        calls: &[libc::SYS_shmget],
        tests: &[Test::Above(1, 64 << 10)],
        errno: libc::ENOSPC,
        reason: "System V segments outlive their maker and no unprivileged limit bounds them; small ones, as databases use for locking, pass",
    },
    Row {
        calls: &[libc::SYS_memfd_secret],
        tests: &[],
        errno: libc::ENOSYS,
        reason: "memory that no limit of ours can see",
    },
    Row {
        calls: &[
            libc::SYS_init_module,
            libc::SYS_finit_module,
            libc::SYS_delete_module,
            libc::SYS_kexec_load,
            libc::SYS_kexec_file_load,
            libc::SYS_reboot,
            libc::SYS_swapon,
            libc::SYS_swapoff,
            libc::SYS_acct,
            libc::SYS_quotactl,
            libc::SYS_quotactl_fd,
            libc::SYS_syslog,
            libc::SYS_settimeofday,
            libc::SYS_clock_settime,
            libc::SYS_adjtimex,
            libc::SYS_clock_adjtime,
            libc::SYS_sethostname,
            libc::SYS_setdomainname,
            libc::SYS_vhangup,
            libc::SYS_lookup_dcookie,
            libc::SYS_nfsservctl,
            libc::SYS_move_pages,
            libc::SYS_migrate_pages,
        ],
        tests: &[],
        errno: libc::EPERM,
        reason: "administration of the host",
    },
];

/// Calls that only the older architectures have.
#[cfg(target_arch = "x86_64")]
const LEGACY: &[Row] = &[
    Row {
        calls: &[libc::SYS_open],
        tests: &[Test::Bits(1, CREATES), Test::Bits(2, SETID)],
        errno: libc::EPERM,
        reason: "a setuid file made in the workspace would be one on the host",
    },
    Row {
        calls: &[libc::SYS_chmod, libc::SYS_creat, libc::SYS_mkdir, libc::SYS_mknod],
        tests: &[Test::Bits(1, SETID)],
        errno: libc::EPERM,
        reason: "a setuid file made in the workspace would be one on the host",
    },
    Row {
        calls: &[libc::SYS_mknod],
        tests: &[Test::Is(1, libc::S_IFMT, libc::S_IFCHR)],
        errno: libc::EPERM,
        reason: "no device nodes",
    },
    Row {
        calls: &[libc::SYS_mknod],
        tests: &[Test::Is(1, libc::S_IFMT, libc::S_IFBLK)],
        errno: libc::EPERM,
        reason: "no device nodes",
    },
    Row {
        calls: &[
            libc::SYS_iopl,
            libc::SYS_ioperm,
            libc::SYS_modify_ldt,
            libc::SYS_uselib,
            libc::SYS_ustat,
            libc::SYS_sysfs,
        ],
        tests: &[],
        errno: libc::EPERM,
        reason: "ports, descriptor tables and calls nothing uses any more",
    },
];
#[cfg(not(target_arch = "x86_64"))]
const LEGACY: &[Row] = &[];

/// Which sockets a jail may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sockets {
    /// Those of its tier: all in a network namespace of its own, none without one.
    OfTheTier,
    /// Without a network namespace those of the internet all the same: the owner accepts that nothing confines them.
    Internet,
}

/// Without a network namespace the sockets of the host are in reach, so there are none.
const NO_SOCKETS: &[Row] = &[Row {
    calls: &[libc::SYS_socket],
    tests: &[],
    errno: libc::EACCES,
    reason: "tier landlock: no network namespace, and path sockets escape Landlock before ABI 9",
}];

/// TCP and UDP, with the flags that socket(2) takes beside the kind.
const KINDS: &[u32] = &[1, 2, 0o4001, 0o4002, 0o2_000_001, 0o2_000_002, 0o2_004_001, 0o2_004_002];

/// What stays refused where the owner accepts the host's network.
const INTERNET_ONLY: &[Row] = &[
    Row {
        calls: &[libc::SYS_socket],
        tests: &[Test::NotIn(0, &[libc::AF_INET as u32, libc::AF_INET6 as u32])],
        errno: libc::EACCES,
        reason: "tier landlock: path sockets escape Landlock before ABI 9; netlink is the host's",
    },
    Row {
        calls: &[libc::SYS_socket],
        tests: &[Test::NotIn(1, KINDS)],
        errno: libc::EACCES,
        reason: "tier landlock: TCP and UDP are accepted, packets of the jail's own making are not",
    },
    Row {
        calls: &[libc::SYS_socket],
        tests: &[Test::NotIn(2, &[0, libc::IPPROTO_TCP as u32, libc::IPPROTO_UDP as u32])],
        errno: libc::EACCES,
        reason: "tier landlock: TCP and UDP are accepted, other protocols are kernel surface",
    },
];

/// Without namespaces.
const LANDLOCK_ONLY: &[Row] = &[
    Row {
        calls: &[libc::SYS_socketpair],
        tests: &[Test::NotIn(1, &[1, 1 | 0o4000, 1 | 0o2_000_000, 1 | 0o2_004_000])],
        errno: libc::EACCES,
        reason: "tier landlock: a datagram socketpair can be connected anew to a path socket",
    },
    Row {
        calls: &[
            libc::SYS_shmget,
            libc::SYS_shmat,
            libc::SYS_shmctl,
            libc::SYS_msgget,
            libc::SYS_msgsnd,
            libc::SYS_msgrcv,
            libc::SYS_msgctl,
            libc::SYS_semget,
            libc::SYS_semop,
            libc::SYS_semtimedop,
            libc::SYS_semctl,
            libc::SYS_mq_open,
            libc::SYS_mq_unlink,
        ],
        tests: &[],
        errno: libc::EACCES,
        reason: "tier landlock: no IPC namespace, and Landlock knows nothing of System V segments and message queues",
    },
    Row {
        calls: &[
            libc::SYS_prlimit64,
            libc::SYS_sched_setaffinity,
            libc::SYS_sched_setscheduler,
            libc::SYS_sched_setparam,
            libc::SYS_sched_setattr,
        ],
        tests: &[Test::NotIn(0, &[0])],
        errno: libc::EPERM,
        reason: "tier landlock: no pid namespace, and the owner's other processes could be limited or starved",
    },
    Row {
        calls: &[libc::SYS_setpriority, libc::SYS_ioprio_set],
        tests: &[Test::NotIn(1, &[0])],
        errno: libc::EPERM,
        reason: "tier landlock: no pid namespace, and the owner's other processes could be starved",
    },
    Row {
        calls: &[
            libc::SYS_setxattr,
            libc::SYS_lsetxattr,
            libc::SYS_removexattr,
            libc::SYS_lremovexattr,
            SYS_SETXATTRAT,
            SYS_REMOVEXATTRAT,
        ],
        tests: &[],
        errno: libc::ENOTSUP,
        reason: "tier landlock: Landlock does not judge attributes, and an access list would open the owner's files to others",
    },
];

/// The rows of a tier.
pub(crate) fn rows(tier: Tier, sockets: Sockets) -> impl Iterator<Item = &'static Row> {
    let (first, extra) = match (tier, sockets) {
        (Tier::Full, _) => (&[][..], &[][..]),
        (Tier::Landlock, Sockets::OfTheTier) => (NO_SOCKETS, LANDLOCK_ONLY),
        (Tier::Landlock, Sockets::Internet) => (INTERNET_ONLY, LANDLOCK_ONLY),
    };
    first.iter().chain(extra).chain(ROWS).chain(LEGACY)
}

/// The table as text lines for the documentation: how many calls, which error, why.
pub fn table() -> Vec<(usize, i32, &'static str)> {
    rows(Tier::Full, Sockets::OfTheTier).map(|r| (r.calls.len(), r.errno, r.reason)).collect()
}
