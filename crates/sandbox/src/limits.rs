//! The sampler: what a jail uses up, read from its own /proc, for hosts that lend no control group.
//!
//! It runs in the monitor, outside, where a jailed process cannot hide from it by making itself undumpable.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use mantlet_policy::Limits;
use rustix::fs::{Mode, OFlags, RawDir};

use crate::request::Kind;

/// A limit that was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Breach {
    Memory,
    Processes,
    Cpu,
    Time,
    Output,
    Disk,
    DiskFiles,
    FileSize,
}

impl Breach {
    /// Says which limit, how large, and how to raise it.
    pub(crate) fn message(self, limits: &Limits, agent: &str) -> String {
        let (what, value, key) = match self {
            Breach::Memory => ("memory", bytes(limits.memory), "memory"),
            Breach::Processes => ("processes", limits.processes.to_string(), "processes"),
            Breach::Cpu => ("CPU time", format!("{} s", limits.cpu.as_secs()), "cpu"),
            Breach::Time => ("wall clock", format!("{:?}", limits.time), "time"),
            Breach::Output => ("output", bytes(limits.output), "output"),
            Breach::Disk => ("bytes written", bytes(limits.disk), "disk"),
            Breach::FileSize => ("file size", bytes(limits.file_size), "file_size"),
            Breach::DiskFiles => ("files made", limits.disk_files.to_string(), "disk_files"),
        };
        format!(
            "killed: the limit of {what} ({value}) was reached; raise `{key}` in [agent.{agent}.limits] if this was legitimate"
        )
    }
}

fn bytes(value: u64) -> String {
    match value {
        v if v >= 1 << 30 && v.is_multiple_of(1 << 30) => format!("{} GiB", v >> 30),
        v if v >= 1 << 20 && v.is_multiple_of(1 << 20) => format!("{} MiB", v >> 20),
        v if v >= 1 << 10 && v.is_multiple_of(1 << 10) => format!("{} KiB", v >> 10),
        v => format!("{v} B"),
    }
}

/// What is sampled.
pub(crate) struct Sampler {
    limits: Limits,
    /// The jail's /proc.
    proc: OwnedFd,
    /// The private tmpfs.
    tmpfs: Option<OwnedFd>,
    next: Instant,
    pace: Pace,
    interval: Duration,
    was_full: bool,
    round: u32,
    page: u64,
    tick: u64,
}

/// How often is looked.
#[derive(Clone, Copy)]
struct Pace {
    slowest: Duration,
    /// Near a limit: a hog fills gigabytes a second.
    near: Duration,
    /// The part of a limit that is near it, as its denominator.
    part: u64,
}

impl Pace {
    /// A service may live for months, and half of what it may have is its everyday.
    fn of(kind: Kind) -> Pace {
        match kind {
            Kind::Command => Pace { slowest: Duration::from_millis(100), near: Duration::from_millis(5), part: 4 },
            Kind::Service => Pace { slowest: Duration::from_secs(1), near: Duration::from_millis(50), part: 2 },
        }
    }
}

const FIRST: Duration = Duration::from_millis(20);

#[derive(Default)]
struct Usage {
    anonymous: u64,
    shared: u64,
    memfd: u64,
    processes: u64,
    cpu_ticks: u64,
}

impl Sampler {
    pub(crate) fn new(limits: &Limits, kind: Kind, proc: OwnedFd, tmpfs: Option<OwnedFd>) -> Sampler {
        Sampler {
            limits: limits.clone(),
            proc,
            tmpfs,
            next: Instant::now() + FIRST,
            pace: Pace::of(kind),
            interval: FIRST,
            was_full: false,
            round: 0,
            page: rustix::param::page_size() as u64,
            tick: rustix::param::clock_ticks_per_second(),
        }
    }

    /// When to sample next.
    pub(crate) fn due(&self) -> Instant {
        self.next
    }

    /// Samples once, if it is time.
    pub(crate) fn sample(&mut self) -> Option<Breach> {
        let now = Instant::now();
        if now < self.next {
            return None;
        }
        self.round = self.round.wrapping_add(1);
        let usage = self.usage();
        let tmpfs = self.tmpfs.as_ref().and_then(|fd| rustix::fs::fstatfs(fd).ok());
        let tmpfs = tmpfs.map_or(0, |s| s.f_blocks.saturating_sub(s.f_bfree) * (s.f_bsize as u64));
        let memory = usage.anonymous + usage.shared.max(tmpfs + usage.memfd);
        let Pace { slowest, near, part } = self.pace;
        let is_near = memory > self.limits.memory / part || usage.processes * part > u64::from(self.limits.processes);
        self.interval = if is_near { near } else { (self.interval * 2).min(slowest) };
        self.next = now + self.interval;
        let is_full = usage.processes >= u64::from(self.limits.processes);
        let was_full = std::mem::replace(&mut self.was_full, is_full);
        if memory > self.limits.memory {
            return Some(Breach::Memory);
        }
        // Twice in a row: a build that once touches the bound gets EAGAIN and goes on.
        if is_full && was_full {
            return Some(Breach::Processes);
        }
        (usage.cpu_ticks / self.tick.max(1) > self.limits.cpu.as_secs()).then_some(Breach::Cpu)
    }

    fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        let mut buffer = Vec::with_capacity(8192);
        let Ok(dir) =
            rustix::fs::openat(&self.proc, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        else {
            return usage;
        };
        let mut entries = RawDir::new(&dir, buffer.spare_capacity_mut());
        while let Some(Ok(entry)) = entries.next() {
            let name = entry.file_name().to_bytes();
            if !name.first().is_some_and(u8::is_ascii_digit) {
                continue;
            }
            let Ok(process) =
                rustix::fs::openat(&dir, entry.file_name(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            else {
                continue;
            };
            self.add_process(process.as_fd(), name == b"1", &mut usage);
        }
        usage
    }

    fn add_process(&self, process: BorrowedFd<'_>, is_init: bool, usage: &mut Usage) {
        let mut buffer = [0; 4096];
        if let Some(text) = read(process, "stat", &mut buffer) {
            // After the last ')': state is field 3; utime, stime, cutime, cstime are 14 to 17.
            let fields: Vec<&str> = text.rsplit(')').next().unwrap_or("").split_ascii_whitespace().collect();
            let ticks = |i: usize| fields.get(i - 3).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
            usage.cpu_ticks += ticks(14) + ticks(15) + ticks(16) + ticks(17);
            if !is_init {
                usage.processes += ticks(20).max(1);
            }
        }
        if let Some(text) = read(process, "status", &mut buffer) {
            for line in text.lines() {
                let mut words = line.split_ascii_whitespace();
                let (name, value) = (words.next(), words.next().and_then(|v| v.parse::<u64>().ok()));
                match (name, value) {
                    (Some("RssAnon:" | "VmSwap:"), Some(kib)) => usage.anonymous += kib * 1024,
                    (Some("RssShmem:"), Some(kib)) => usage.shared += kib * 1024,
                    _ => {}
                }
            }
        }
        if !is_init && self.round.is_multiple_of(4) {
            usage.memfd += self.memfds(process);
        }
    }

    /// Bytes of memfds that a process holds, whether mapped or not.
    fn memfds(&self, process: BorrowedFd<'_>) -> u64 {
        let mut sum = 0;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Ok(dir) = rustix::fs::openat(process, "fd", flags, Mode::empty()) else { return 0 };
        let mut buffer = Vec::with_capacity(4096);
        let mut entries = RawDir::new(&dir, buffer.spare_capacity_mut());
        while let Some(Ok(entry)) = entries.next() {
            let Ok(target) = rustix::fs::readlinkat(&dir, entry.file_name(), Vec::new()) else { continue };
            if target.to_bytes().starts_with(b"/memfd:")
                && let Ok(stat) = rustix::fs::statat(&dir, entry.file_name(), rustix::fs::AtFlags::empty())
            {
                sum += (stat.st_blocks as u64) * 512;
            }
        }
        sum.next_multiple_of(self.page)
    }
}

/// Reads a file of /proc. Lossily: a process may give itself a name that is no UTF-8, and must not vanish by it.
fn read<'b>(process: BorrowedFd<'_>, name: &str, buffer: &'b mut [u8; 4096]) -> Option<std::borrow::Cow<'b, str>> {
    let fd = rustix::fs::openat(process, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let got = rustix::io::read(&fd, &mut buffer[..]).ok()?;
    Some(String::from_utf8_lossy(&buffer[..got]))
}
