//! The assembler of the seccomp filter: the table of `syscalls` as classic BPF.
//!
//! One filter needs several errors and tests of arguments, and an x32 guard, which is why it is assembled here.

use std::ops::Range;

use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter,
};

use crate::syscalls::{Row, Sockets, Test, rows, rows_of_server};
use crate::tier::Tier;

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

/// Appends what a call meets: its rows in order, and allowed in the end. The last instruction is always a return.
fn leaf<'r>(rows: impl Iterator<Item = &'r Row>, out: &mut Vec<sock_filter>) {
    for row in rows {
        // From the end backwards, so that each test knows how far the end of this row is.
        let mut block = vec![errno(row.errno)];
        for test in row.tests.iter().rev() {
            let mut tested = test_block(*test, block.len());
            tested.append(&mut block);
            block = tested;
        }
        out.append(&mut block);
        if row.tests.is_empty() {
            return;
        }
    }
    out.push(stmt(BPF_RET | BPF_K, libc::SECCOMP_RET_ALLOW));
}

/// Calls that meet the same, from the first number on: what they meet is a part of the shared code.
struct Run {
    first: u32,
    code: Range<usize>,
}

/// A binary search over runs of calls: the kernel walks the filter once for each of its calls when it is installed, so
/// a long chain of comparisons costs every start.
fn search(runs: &[Run], code: &[sock_filter], out: &mut Vec<sock_filter>) {
    let (below, above) = runs.split_at(runs.len() / 2);
    let Some(run) = above.first() else { return };
    if below.is_empty() {
        return out.extend_from_slice(&code[run.code.clone()]);
    }
    let at = out.len();
    out.push(jump(BPF_JGE, run.first, 0, 0));
    search(below, code, out);
    let low = out.len() - at - 1;
    if let Ok(near) = u8::try_from(low) {
        out[at].jt = near;
    } else {
        // Conditional jumps reach 255 instructions.
        out[at].jf = 1;
        out.insert(at + 1, stmt(BPF_JMP | BPF_JA, low as u32));
    }
    search(above, code, out);
}

/// Assembles the filter of a tier.
pub(crate) fn program(tier: Tier, sockets: Sockets) -> Vec<sock_filter> {
    assemble(rows(tier, sockets))
}

/// Assembles the filter of a process that serves ways out.
pub(crate) fn program_of_server() -> Vec<sock_filter> {
    assemble(rows_of_server())
}

fn assemble<'r>(rows: impl Iterator<Item = &'r Row>) -> Vec<sock_filter> {
    let mut met: Vec<(u32, &Row)> = rows.flat_map(|row| row.calls.iter().map(move |c| (*c as u32, row))).collect();
    // Stable: of several rows for one call, the first stays the first.
    met.sort_by_key(|(number, _)| *number);
    let (mut code, mut runs) = (Vec::with_capacity(512), Vec::<Run>::with_capacity(met.len()));
    let mut begin = |first: u32, rows: &[(u32, &Row)]| {
        runs.pop_if(|run| run.first == first);
        let start = code.len();
        leaf(rows.iter().map(|(_, row)| *row), &mut code);
        match runs.last() {
            Some(run) if is_same(&code[run.code.clone()], &code[start..]) => code.truncate(start),
            _ => runs.push(Run { first, code: start..code.len() }),
        }
    };
    begin(0, &[]);
    for rows in met.chunk_by(|a, b| a.0 == b.0) {
        begin(rows[0].0, rows);
        begin(rows[0].0 + 1, &[]);
    }
    // The x32 numbers begin here: no call has them.
    let start = code.len();
    code.push(errno(libc::ENOSYS));
    runs.push(Run { first: X32_BIT, code: start..code.len() });
    let mut out = vec![
        stmt(BPF_LD | BPF_W | BPF_ABS, DATA_ARCH),
        jump(BPF_JEQ, ARCH, 1, 0),
        stmt(BPF_RET | BPF_K, libc::SECCOMP_RET_KILL_PROCESS),
        stmt(BPF_LD | BPF_W | BPF_ABS, DATA_NR),
    ];
    search(&runs, &code, &mut out);
    out
}

fn is_same(a: &[sock_filter], b: &[sock_filter]) -> bool {
    let words = |i: &sock_filter| (i.code, i.jt, i.jf, i.k);
    a.iter().map(words).eq(b.iter().map(words))
}

#[cfg(test)]
mod tests {
    use libc::c_long;

    use super::*;
    use crate::syscalls::FAMILIES;

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
                c if c == BPF_JMP | BPF_JA => pc += i.k as usize,
                c if c == BPF_RET | BPF_K => return i.k,
                other => panic!("unknown instruction {other:#x}"),
            }
        }
    }

    fn errno_of(nr: c_long, args: [u64; 6]) -> Option<i32> {
        let action = run(&program(Tier::Full, Sockets::OfTheTier), nr as u32, args);
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
    fn in_tier_landlock_the_sockets_of_the_internet_pass_when_accepted_and_no_others() {
        let met = |sockets, family: i32, kind: i32, protocol: i32| {
            let args = [family as u64, kind as u64, protocol as u64, 0, 0, 0];
            run(&program(Tier::Landlock, sockets), libc::SYS_socket as u32, args) == libc::SECCOMP_RET_ALLOW
        };
        let flags = [0, libc::SOCK_CLOEXEC, libc::SOCK_NONBLOCK, libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK];
        for family in [libc::AF_INET, libc::AF_INET6] {
            for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM] {
                for flags in flags {
                    assert!(met(Sockets::Internet, family, kind | flags, 0), "{family} {kind} {flags}");
                    assert!(!met(Sockets::OfTheTier, family, kind | flags, 0), "{family} {kind} {flags}");
                }
            }
            for (kind, protocol) in [
                (libc::SOCK_RAW, libc::IPPROTO_ICMP),
                (libc::SOCK_DGRAM, libc::IPPROTO_ICMP),
                (libc::SOCK_SEQPACKET, libc::IPPROTO_SCTP),
                (libc::SOCK_STREAM, libc::IPPROTO_MPTCP),
            ] {
                assert!(!met(Sockets::Internet, family, kind, protocol), "{family} {kind} {protocol}");
            }
        }
        for family in [libc::AF_UNIX, libc::AF_NETLINK, libc::AF_PACKET, libc::AF_VSOCK] {
            assert!(!met(Sockets::Internet, family, libc::SOCK_STREAM, 0), "{family}");
        }
    }

    #[test]
    fn a_server_has_tcp_udp_and_threads_and_nothing_of_its_owners() {
        let met = |call: c_long, args| run(&program_of_server(), call as u32, args) == libc::SECCOMP_RET_ALLOW;
        let socket = |family: i32, kind: i32, protocol: i32| {
            met(libc::SYS_socket, [family as u64, (kind | libc::SOCK_CLOEXEC) as u64, protocol as u64, 0, 0, 0])
        };
        assert!(socket(libc::AF_INET, libc::SOCK_STREAM, 0) && socket(libc::AF_INET6, libc::SOCK_DGRAM, 0));
        assert!(socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_SOCK_DIAG));
        assert!(!socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE));
        assert!(!socket(libc::AF_UNIX, libc::SOCK_STREAM, 0) && !socket(libc::AF_UNIX, libc::SOCK_DGRAM, 0));
        assert!(!socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0) && !socket(libc::AF_INET, libc::SOCK_RAW, 1));
        assert!(met(libc::SYS_clone, [0x003d_0f00, 0, 0, 0, 0, 0]));
        for call in [libc::SYS_clone, libc::SYS_execve, libc::SYS_kill, libc::SYS_tgkill, libc::SYS_fchmodat] {
            assert!(!met(call, [0; 6]), "{call}");
        }
        assert!(met(libc::SYS_prlimit64, [0; 6]) && !met(libc::SYS_prlimit64, [1, 0, 0, 0, 0, 0]));
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
        let action = run(&program(Tier::Full, Sockets::OfTheTier), X32_BIT | libc::SYS_openat as u32, [0; 6]);
        assert_eq!(action & 0xffff, libc::ENOSYS as u32);
    }

    #[test]
    fn every_listed_call_is_denied_by_some_argument() {
        for row in rows(Tier::Full, Sockets::OfTheTier).filter(|r| r.tests.is_empty()) {
            for call in row.calls {
                assert_eq!(errno_of(*call, [0; 6]), Some(row.errno), "{call}: {}", row.reason);
            }
        }
    }

    #[test]
    fn the_search_finds_every_call_of_the_table_and_no_other() {
        let all = [
            (Tier::Full, Sockets::OfTheTier),
            (Tier::Landlock, Sockets::OfTheTier),
            (Tier::Landlock, Sockets::Internet),
        ];
        for (tier, sockets) in all {
            let program = program(tier, sockets);
            assert!(program.len() < 1000, "{} instructions", program.len());
            for nr in 0..1000 {
                let rows: Vec<&Row> = rows(tier, sockets).filter(|r| r.calls.contains(&c_long::from(nr))).collect();
                let action = run(&program, nr as u32, [0; 6]);
                match rows.first() {
                    None => assert_eq!(action, libc::SECCOMP_RET_ALLOW, "{nr}"),
                    Some(row) if row.tests.is_empty() => assert_eq!(action & 0xffff, row.errno as u32, "{nr}"),
                    Some(_) => {}
                }
            }
        }
    }
}
