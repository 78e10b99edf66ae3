//! Ends what the journal names. A jail's init is killed by this process, never by its monitor's grace: one that is stopped
//! saves nobody. The monitor is woken, reviews what was left and writes its entry.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::process::Signal;

use crate::fallback;
use crate::journal::{Record, process_start};
use crate::sys;

use super::escaped;

/// How long a monitor in the tier `landlock` may take to kill what descends from it, before it is done for it.
const GRACE: Duration = Duration::from_secs(2);

/// More than this is no entry of ours.
const LONGEST_ENTRY: u64 = 16 << 20;

/// The jails of one journal.
pub(super) struct Jails {
    running: Vec<Jail>,
    /// How many there were.
    found: u64,
    /// What could not be looked at.
    unknown: Vec<String>,
}

/// What became of them.
pub(super) struct Counted {
    pub(super) ended: u64,
    pub(super) reviewing: u64,
    pub(super) left: Vec<String>,
}

/// A call of which its monitor or its init still lives.
struct Jail {
    path: PathBuf,
    record: Record,
}

impl Jails {
    /// Lists what runs. A name that comes later is that of a call which finds the file, and is refused.
    pub(super) fn of(top: &Path) -> Jails {
        let journal = top.join("journal");
        let mut jails = Jails { running: Vec::new(), found: 0, unknown: Vec::new() };
        let names = match std::fs::read_dir(&journal) {
            Ok(names) => names,
            // Nothing has ever run.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return jails,
            Err(e) => {
                jails.unknown.push(format!("the journal {} cannot be read: {e}", escaped(&journal)));
                return jails;
            }
        };
        for name in names {
            match name {
                // Not whole yet: a call that looks for the file only later.
                Ok(name) if name.file_name().as_encoded_bytes().starts_with(b".") => {}
                Ok(name) => jails.add(name.path()),
                Err(e) => jails.unknown.push(format!("the journal {} cannot be read: {e}", escaped(&journal))),
            }
        }
        jails
    }

    fn add(&mut self, path: PathBuf) {
        match read(&path).map(|record| Jail { path: path.clone(), record }) {
            Ok(jail) if jail.is_over() => {}
            Ok(jail) => {
                self.found += 1;
                self.running.push(jail);
            }
            Err(_) if is_free(&path) => {}
            Err(why) => self.unknown.push(format!("the journal's entry {} cannot be read: {why}", escaped(&path))),
        }
    }

    /// Sorts what is not over.
    pub(super) fn count(self) -> Counted {
        let (mut left, mut reviewing) = (self.unknown, 0);
        for jail in &self.running {
            if jail.is_dead() {
                reviewing += 1;
            } else {
                let call = mantlet_ledger::escape(jail.record.call.as_bytes());
                let agent = mantlet_ledger::escape(jail.record.agent.as_bytes());
                left.push(format!("call {call} of agent {agent}, with process {}, does not end", jail.record.init.0));
            }
        }
        let alive = self.running.len() as u64 - reviewing;
        Counted { ended: self.found - alive, reviewing, left }
    }
}

/// Ends everything, until it is over or the time is.
pub(super) fn end(all: &mut [Jails], deadline: Instant) {
    let began = Instant::now();
    loop {
        let mut is_done = true;
        for jails in all.iter_mut() {
            jails.running.iter().for_each(|jail| jail.strike(began));
            jails.running.retain(|jail| !jail.is_over());
            is_done &= jails.running.is_empty();
        }
        if is_done || Instant::now() > deadline {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Jail {
    /// Without a pid namespace the monitor is what everything in the jail descends from, and is known by its start too.
    fn has_no_namespace(&self) -> bool {
        self.record.monitor.1 != 0
    }

    fn strike(&self, began: Instant) {
        // SIGKILL ends a stopped process as well, and with a pid namespace's init everything in it.
        signal(self.record.init, Signal::KILL);
        for group in &self.record.cgroups {
            // Version 2 only; there is none any more when the jail is dead.
            std::fs::write(group.join("cgroup.kill"), "1").ok();
        }
        let (monitor, start) = self.record.monitor;
        if self.has_no_namespace() {
            signal((monitor, start), Signal::CONT);
            if began.elapsed() > GRACE && process_start(monitor) == Some(start) {
                fallback::kill_below(monitor);
            }
        } else if is_monitor(monitor) {
            // By its name alone: to another monitor this would say nothing.
            signal_by_number(monitor, Signal::CONT);
        }
    }

    /// A dying init lets go of the entry before the kernel has killed what else is in its pid namespace.
    fn is_over(&self) -> bool {
        is_free(&self.path) && !self.has_init()
    }

    fn has_init(&self) -> bool {
        process_start(self.record.init.0) == Some(self.record.init.1)
    }

    /// Whether nothing of it runs, though its entry is not struck out.
    fn is_dead(&self) -> bool {
        // Of processes in another pid namespace nothing is known from here.
        !self.has_no_namespace() && !self.has_init() && is_monitor(self.record.monitor.0)
    }
}

/// Signals a process that is still the one that was written down: held by descriptor while it is compared, since the number
/// may belong to somebody else by now.
fn signal((pid, start): (i32, u64), signal: Signal) {
    if let Ok(process) = sys::pidfd(pid)
        && process_start(pid) == Some(start)
    {
        // One that has just ended needs none.
        rustix::process::pidfd_send_signal(&process, signal).ok();
    }
}

fn signal_by_number(pid: i32, signal: Signal) {
    if let Ok(process) = sys::pidfd(pid)
        && is_monitor(pid)
    {
        rustix::process::pidfd_send_signal(&process, signal).ok();
    }
}

fn is_monitor(pid: i32) -> bool {
    std::fs::read(format!("/proc/{pid}/comm")).is_ok_and(|name| name == b"mantlet-monitor\n")
}

/// Whether a call is struck out, or everybody who holds its entry is dead: the next call reviews it then.
fn is_free(path: &Path) -> bool {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    match rustix::fs::open(path, flags, Mode::empty()) {
        Err(rustix::io::Errno::NOENT) => true,
        Err(_) => false,
        Ok(file) => rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared).is_ok(),
    }
}

fn read(path: &Path) -> Result<Record, String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| std::io::Error::from(e).to_string())?;
    let mut text = Vec::new();
    File::from(file).take(LONGEST_ENTRY).read_to_end(&mut text).map_err(|e| e.to_string())?;
    serde_json::from_slice(&text).map_err(|_| "it is none".to_owned())
}
