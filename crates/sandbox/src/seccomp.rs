//! The system calls a jailed program may not make, as a table with reasons, and the assembler for it.
//!
//! Everything else is allowed: the walls are the namespaces and Landlock, this closes kernel surface
//! that neither of them covers. One filter needs several errors and tests of arguments, and an x32
//! guard, which is why it is assembled here.

use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, c_long, sock_filter,
};

use crate::tier::Tier;

/// A test of the low 32 bits of an argument: the kernel itself compares only those for every call in the table.
#[derive(Debug, Clone, Copy)]
enum Test {
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
struct Row {
    calls: &'static [c_long],
    tests: &'static [Test],
    errno: i32,
    reason: &'static str,
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
const FAMILIES: &[u32] = &[libc::AF_UNIX as u32, libc::AF_INET as u32, libc::AF_INET6 as u32, libc::AF_NETLINK as u32];
const PERSONALITIES: &[u32] = &[0, libc::ADDR_NO_RANDOMIZE as u32, u32::MAX];
const SYS_OPEN_TREE_ATTR: c_long = 467;
const SYS_FCHMODAT2: c_long = 452;

/// Rows of every tier. The frequent calls come first: a program without arguments to test costs nothing.
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

/// Without a network namespace the sockets of the host are in reach, so there are none.
const LANDLOCK_ONLY: &[Row] = &[
    Row {
        calls: &[libc::SYS_socket],
        tests: &[],
        errno: libc::EACCES,
        reason: "tier landlock: no network namespace, and path sockets escape Landlock before ABI 9",
    },
    Row {
        calls: &[libc::SYS_socketpair],
        tests: &[Test::NotIn(1, &[1, 1 | 0o4000, 1 | 0o2_000_000, 1 | 0o2_004_000])],
        errno: libc::EACCES,
        reason: "tier landlock: a datagram socketpair can be connected anew to a path socket",
    },
];

#[cfg(target_arch = "x86_64")]
const ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCH: u32 = 0xc000_00b7;

const DATA_NR: u32 = 0;
const DATA_ARCH: u32 = 4;
const X32_BIT: u32 = 0x4000_0000;

fn stmt(code: u32, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

fn jump(op: u32, k: u32, jt: usize, jf: usize) -> sock_filter {
    debug_assert!(jt < 256 && jf < 256);
    sock_filter { code: (BPF_JMP | op | BPF_K) as u16, jt: jt as u8, jf: jf as u8, k }
}

fn errno(value: i32) -> sock_filter {
    stmt(BPF_RET | BPF_K, libc::SECCOMP_RET_ERRNO | value as u32)
}

/// The instructions of one test; each falls through when it holds and jumps `miss` past the end when not.
fn test_block(test: Test, miss: usize) -> Vec<sock_filter> {
    let load = |arg: u8| stmt(BPF_LD | BPF_W | BPF_ABS, 16 + 8 * u32::from(arg));
    match test {
        Test::Bits(arg, mask) => {
            vec![load(arg), stmt(BPF_ALU | BPF_AND | BPF_K, mask), jump(BPF_JEQ, 0, miss, 0)]
        }
        Test::Is(arg, mask, value) => {
            vec![load(arg), stmt(BPF_ALU | BPF_AND | BPF_K, mask), jump(BPF_JEQ, value, 0, miss)]
        }
        Test::Above(arg, limit) => {
            let high = stmt(BPF_LD | BPF_W | BPF_ABS, 16 + 8 * u32::from(arg) + 4);
            vec![high, jump(BPF_JEQ, 0, 0, 2), load(arg), jump(BPF_JGT, limit, 0, miss)]
        }
        Test::NotIn(arg, values) => {
            let mut block = vec![load(arg)];
            for (i, value) in values.iter().enumerate() {
                block.push(jump(BPF_JEQ, *value, miss + values.len() - 1 - i, 0));
            }
            block
        }
    }
}

/// The block of one call of a row. The number is in the accumulator before and after it.
fn row_block(call: c_long, row: &Row) -> Vec<sock_filter> {
    // From the end backwards, so that each test knows how far the end is.
    let mut tail = vec![errno(row.errno), stmt(BPF_LD | BPF_W | BPF_ABS, DATA_NR)];
    for test in row.tests.iter().rev() {
        let mut block = test_block(*test, tail.len() - 1);
        block.append(&mut tail);
        tail = block;
    }
    if row.tests.is_empty() {
        tail.pop();
    }
    let mut block = vec![jump(BPF_JEQ, call as u32, 0, tail.len())];
    block.append(&mut tail);
    block
}

/// Assembles the filter of a tier.
pub(crate) fn program(tier: Tier) -> Vec<sock_filter> {
    let mut out = vec![
        stmt(BPF_LD | BPF_W | BPF_ABS, DATA_ARCH),
        jump(BPF_JEQ, ARCH, 1, 0),
        stmt(BPF_RET | BPF_K, libc::SECCOMP_RET_KILL_PROCESS),
        stmt(BPF_LD | BPF_W | BPF_ABS, DATA_NR),
        jump(BPF_JGE, X32_BIT, 0, 1),
        errno(libc::ENOSYS),
    ];
    for row in rows(tier) {
        for call in row.calls {
            out.append(&mut row_block(*call, row));
        }
    }
    out.push(stmt(BPF_RET | BPF_K, libc::SECCOMP_RET_ALLOW));
    out
}

fn rows(tier: Tier) -> impl Iterator<Item = &'static Row> {
    let extra = match tier {
        Tier::Full => &[][..],
        Tier::Landlock => LANDLOCK_ONLY,
    };
    extra.iter().chain(ROWS).chain(LEGACY)
}

/// The table as text lines for the documentation: how many calls, which error, why.
pub fn table() -> Vec<(usize, i32, &'static str)> {
    rows(Tier::Full).map(|r| (r.calls.len(), r.errno, r.reason)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tiny interpreter of the instructions used above.
    fn run(program: &[sock_filter], nr: u32, args: [u64; 6]) -> u32 {
        let word = |offset: u32| match offset {
            DATA_NR => nr,
            DATA_ARCH => ARCH,
            o => {
                let (i, high) = (((o - 16) / 8) as usize, (o - 16) % 8 == 4);
                if high { (args[i] >> 32) as u32 } else { args[i] as u32 }
            }
        };
        let (mut pc, mut acc) = (0, 0);
        loop {
            let i = program[pc];
            pc += 1;
            match u32::from(i.code) {
                c if c == BPF_LD | BPF_W | BPF_ABS => acc = word(i.k),
                c if c == BPF_ALU | BPF_AND | BPF_K => acc &= i.k,
                c if c == BPF_JMP | BPF_JEQ | BPF_K => pc += usize::from(if acc == i.k { i.jt } else { i.jf }),
                c if c == BPF_JMP | BPF_JGT | BPF_K => pc += usize::from(if acc > i.k { i.jt } else { i.jf }),
                c if c == BPF_JMP | BPF_JGE | BPF_K => pc += usize::from(if acc >= i.k { i.jt } else { i.jf }),
                c if c == BPF_RET | BPF_K => return i.k,
                other => panic!("unknown instruction {other:#x}"),
            }
        }
    }

    fn errno_of(nr: c_long, args: [u64; 6]) -> Option<i32> {
        let action = run(&program(Tier::Full), nr as u32, args);
        (action != libc::SECCOMP_RET_ALLOW).then_some((action & 0xffff) as i32)
    }

    #[test]
    fn setuid_bits_are_denied_and_plain_modes_pass() {
        assert_eq!(errno_of(libc::SYS_fchmodat, [0, 0, 0o4755, 0, 0, 0]), Some(libc::EPERM));
        assert_eq!(errno_of(libc::SYS_fchmodat, [0, 0, 0o755, 0, 0, 0]), None);
        let create = libc::O_CREAT as u64;
        assert_eq!(errno_of(libc::SYS_openat, [0, 0, create, 0o2644, 0, 0]), Some(libc::EPERM));
        assert_eq!(errno_of(libc::SYS_openat, [0, 0, create, 0o644, 0, 0]), None);
    }

    #[test]
    fn a_mode_register_left_over_without_creat_passes() {
        assert_eq!(errno_of(libc::SYS_openat, [0, 0, libc::O_DIRECTORY as u64, 0o6777, 0, 0]), None);
    }

    #[test]
    fn ioctl_requests_are_compared_in_32_bits() {
        let high = 0x1_0000_0000u64;
        assert_eq!(errno_of(libc::SYS_ioctl, [0, libc::TIOCSTI | high, 0, 0, 0, 0]), Some(libc::EPERM));
        assert_eq!(errno_of(libc::SYS_ioctl, [0, libc::TIOCGWINSZ, 0, 0, 0, 0]), None);
    }

    #[test]
    fn only_plain_socket_families_pass() {
        assert_eq!(errno_of(libc::SYS_socket, [40, 1, 0, 0, 0, 0]), Some(libc::EAFNOSUPPORT));
        for family in FAMILIES {
            assert_eq!(errno_of(libc::SYS_socket, [u64::from(*family), 1, 0, 0, 0, 0]), None);
        }
        assert_eq!(errno_of(libc::SYS_socket, [16, 3, 12, 0, 0, 0]), Some(libc::EPROTONOSUPPORT));
    }

    #[test]
    fn threads_pass_and_namespaces_do_not() {
        assert_eq!(errno_of(libc::SYS_clone, [0x003d_0f00, 0, 0, 0, 0, 0]), None);
        assert_eq!(errno_of(libc::SYS_clone, [libc::CLONE_NEWUSER as u64, 0, 0, 0, 0, 0]), Some(libc::EPERM));
        assert_eq!(errno_of(libc::SYS_clone3, [0; 6]), Some(libc::ENOSYS));
    }

    #[test]
    fn large_segments_are_denied_by_either_half_of_their_size() {
        assert_eq!(errno_of(libc::SYS_shmget, [0, 56, 0, 0, 0, 0]), None);
        assert_eq!(errno_of(libc::SYS_shmget, [0, 65537, 0, 0, 0, 0]), Some(libc::ENOSPC));
        assert_eq!(errno_of(libc::SYS_shmget, [0, 1 << 40, 0, 0, 0, 0]), Some(libc::ENOSPC));
    }

    #[test]
    fn x32_numbers_do_not_exist() {
        let action = run(&program(Tier::Full), X32_BIT | libc::SYS_openat as u32, [0; 6]);
        assert_eq!(action & 0xffff, libc::ENOSYS as u32);
    }

    #[test]
    fn every_listed_call_is_denied_by_some_argument() {
        for row in rows(Tier::Full).filter(|r| r.tests.is_empty()) {
            for call in row.calls {
                assert_eq!(errno_of(*call, [0; 6]), Some(row.errno), "{call}: {}", row.reason);
            }
        }
    }
}
