//! The journal: a call is written down before it starts and struck out when it is reviewed and cleaned.
//!
//! The entry is locked by the monitor and by init, so an entry that can be locked belongs to a call whose
//! monitor was killed. The next call finishes it before anything runs.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::plan::Refusal;
use crate::sys;

/// The directories of Mantlet below the owner's state directory.
pub(crate) struct State {
    pub(crate) top: PathBuf,
}

/// What a finisher needs to know of an unfinished call.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) call: String,
    pub(crate) agent: String,
    pub(crate) policy: String,
    /// What runs, masked and escaped, and what the client calls its conversation and turn.
    #[serde(default)]
    pub(crate) command: String,
    #[serde(default)]
    pub(crate) session: Option<String>,
    #[serde(default)]
    pub(crate) run: Option<String>,
    /// Bytes of the workspace's path.
    pub(crate) workspace: Vec<u8>,
    /// Wall clock of the start in the kernel's own coarse time, which is what file times are made of.
    pub(crate) started: (i64, i64),
    /// The client's pid and start time: while it lives, the call is its own affair.
    pub(crate) client: (i32, u64),
    /// The same of the jail's init.
    pub(crate) init: (i32, u64),
    /// The monitor's pid; its start time only where there is no pid namespace, so that what descends from it is the jail.
    #[serde(default)]
    pub(crate) monitor: (i32, u64),
    /// Directories to remove: control groups.
    pub(crate) cgroups: Vec<PathBuf>,
    /// What the review does with a finding.
    pub(crate) review: String,
    /// Relative paths the policy exempts from the table.
    pub(crate) exempt: Vec<Vec<u8>>,
    /// The policy's own protect patterns.
    pub(crate) protect: Vec<String>,
    /// Other trees that the call could write: the bytes of each path, and what is protected in it.
    #[serde(default)]
    pub(crate) state: Vec<(Vec<u8>, Vec<String>)>,
    /// Where symlinks in those may lead.
    #[serde(default)]
    pub(crate) leads: Vec<Vec<u8>>,
}

impl Record {
    pub(crate) fn workspace(&self) -> PathBuf {
        path(&self.workspace)
    }
}

/// Where the state directory of an owner is.
pub(crate) fn place(home: &Path) -> PathBuf {
    let named = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    named.unwrap_or_else(|| home.join(".local/state")).join("mantlet")
}

/// The calling user's state directory, made where it is missing.
///
/// # Errors
/// There is no home, or the directory is not the user's alone.
pub fn state_dir() -> Result<PathBuf, Refusal> {
    let host = crate::host::RealHost::new().map_err(|e| Refusal::new(e.to_string()))?;
    let state = State::open(mantlet_policy::Host::home(&host), &[])?.top;
    // Whoever owns a directory on the way could put another socket or lock in the place of the daemon's.
    mantlet_ledger::Writer::open(&state.join("ledger"), &[]).map_err(|e| Refusal::new(e.to_string()))?;
    Ok(state)
}

/// Names the call, and its agent, in whose jail a process runs: by its pid namespace, which no process leaves.
#[must_use]
pub fn call_of(state: &Path, pid: i32) -> Option<(String, String)> {
    let namespace = |pid: i32| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let wanted = namespace(pid)?;
    let entries = std::fs::read_dir(state.join("journal")).ok()?.flatten();
    let records = entries.filter_map(|entry| serde_json::from_slice::<Record>(&std::fs::read(entry.path()).ok()?).ok());
    // Where there is no jail's namespace (tier `landlock`), init is in that of everybody.
    let own = std::fs::read_link("/proc/self/ns/pid").ok()?;
    let mut inside = records.filter(|record| namespace(record.init.0).is_some_and(|at| at == wanted && at != own));
    inside.next().map(|record| (record.call, record.agent))
}

/// An entry of the journal, locked.
pub(crate) struct Entry {
    pub(crate) path: PathBuf,
    file: OwnedFd,
}

impl State {
    /// Finds the state directory of the owner, making it where it is missing.
    pub(crate) fn open(home: &Path, workspaces: &[&Path]) -> Result<State, Refusal> {
        let state = State { top: place(home) };
        state.make("journal")?;
        let real = std::fs::canonicalize(&state.top)?;
        if let Some(inside) = workspaces.iter().find(|w| real.starts_with(w)) {
            let what = format!("the state directory {real:?} lies inside the workspace {inside:?}");
            return Err(Refusal::new(what).hint("choose a workspace that does not contain it, or set XDG_STATE_HOME"));
        }
        Ok(State { top: real })
    }

    /// Makes one of the directories, 0700, and answers it.
    pub(crate) fn make(&self, name: &str) -> Result<PathBuf, Refusal> {
        use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
        let path = self.top.join(name);
        if let Ok(meta) = std::fs::symlink_metadata(&path) {
            let owner = rustix::process::geteuid().as_raw();
            if !meta.is_dir() || meta.uid() != owner || meta.permissions().mode() & 0o022 != 0 {
                let what = format!("{path:?} is not a directory of your own that only you can write");
                return Err(
                    Refusal::new(what).hint(format!("move it away: mv {0} {0}.old", mantlet_ledger::posix_word(&path)))
                );
            }
            return Ok(path);
        }
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .map_err(|e| Refusal::new(format!("cannot make the state directory {path:?}: {e}")))?;
        Ok(path)
    }

    /// Writes a call down, locked, before it starts. Under its name it is always whole.
    pub(crate) fn begin(&self, record: &Record) -> io::Result<Entry> {
        let journal = self.top.join("journal");
        let (path, half) = (journal.join(&record.call), journal.join(format!(".{}", record.call)));
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::open(&half, flags, Mode::from_raw_mode(0o600))?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        let entry = Entry { path, file };
        let written = entry.write(record).and_then(|()| std::fs::rename(&half, &entry.path));
        // A full disk leaves no half entry behind.
        written.inspect_err(|_| drop(std::fs::remove_file(&half))).map(|()| entry)
    }

    /// Answers the entries whose calls are dead, locked by us now.
    ///
    /// A call whose client lives is somebody's own and left alone. One whose client is gone is ending: its monitor
    /// reviews and strikes it out, or is dead as well and its init about to be. Either is waited for.
    pub(crate) fn unfinished(&self) -> io::Result<Vec<(Entry, Option<Record>)>> {
        let mut out = Vec::new();
        for item in std::fs::read_dir(self.top.join("journal"))? {
            let path = item?.path();
            // Being written by a call that has not started, and locked in a moment; a left one is cleared away later.
            let is_half = path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"."));
            if is_half && std::fs::symlink_metadata(&path).is_ok_and(|meta| meta.ctime() + HALF_LIFE > coarse_now().0) {
                continue;
            }
            let deadline = Instant::now() + PATIENCE;
            loop {
                let opened = rustix::fs::open(&path, OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty());
                let Ok(file) = opened else { break };
                let is_ours = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
                // Struck out between the listing and the lock.
                if is_ours && rustix::fs::fstat(&file).is_ok_and(|s| s.st_nlink == 0) {
                    break;
                }
                let mut text = String::new();
                let mut reader = std::fs::File::from(file);
                reader.read_to_string(&mut text)?;
                let record: Option<Record> = serde_json::from_str(&text).ok();
                if is_ours {
                    if let Some(record) = &record {
                        end_of_jail(record.init, deadline)?;
                    }
                    out.push((Entry { path, file: reader.into() }, record));
                    break;
                }
                if record.is_none_or(|r| process_start(r.client.0) == Some(r.client.1)) {
                    break;
                }
                if Instant::now() > deadline {
                    return Err(io::Error::other("a call whose client is gone does not end"));
                }
                std::thread::sleep(Duration::from_micros(100));
            }
        }
        Ok(out)
    }
}

/// Waits for a jail whose monitor is dead, and kills it. A dying init lets go of the journal's lock before the kernel
/// has killed what else runs in its pid namespace, which is done when init is a zombie or gone.
fn end_of_jail((pid, start): (i32, u64), deadline: Instant) -> io::Result<()> {
    // Held by descriptor while it is compared: the number may belong to somebody else by now.
    let Ok(init) = sys::pidfd(pid) else { return Ok(()) };
    while process_start(pid) == Some(start) {
        rustix::process::pidfd_send_signal(&init, rustix::process::Signal::KILL).ok();
        if Instant::now() > deadline {
            return Err(io::Error::other("a jail whose monitor is gone does not end"));
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    Ok(())
}

/// How long a half-written entry is left alone, in seconds.
const HALF_LIFE: i64 = 10;

/// How long an ending call is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// When a process started, in the kernel's ticks: with its pid, that names it. Nothing for a dead one.
pub(crate) fn process_start(pid: i32) -> Option<u64> {
    let text = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&text);
    // After the last ')': the state is field 3, the start time field 22.
    let mut fields = text.rsplit(')').next()?.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

impl Entry {
    fn write(&self, record: &Record) -> io::Result<()> {
        let mut file = std::fs::File::from(self.file.try_clone()?);
        file.write_all(&serde_json::to_vec(record)?)
    }

    /// Strikes the call out: it is reviewed and cleaned.
    pub(crate) fn finish(self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }

    /// The locked descriptor, which init keeps open as long as it lives.
    pub(crate) fn lock(&self) -> std::os::fd::BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// The kernel's coarse wall clock: file times come from it, so a file changed after this has a time not before it.
pub(crate) fn coarse_now() -> (i64, i64) {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
    (now.tv_sec, now.tv_nsec)
}

/// The path of a record's bytes.
pub(crate) fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(std::ffi::OsString::from_vec(bytes.to_vec()))
}

/// A path as the bytes of a record.
pub(crate) fn bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_vec()
}
