//! The first process of a throwaway world: an ordinary owner, who plants, lets the agent run, and looks.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::corpus::{Case, Need, Trial};
use crate::fixture::Planted;
use crate::world::{self, Arm, Spec};
use crate::{corpus, judge, launch};

/// What one arm of a case came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "result")]
pub(crate) enum Outcome {
    /// What it tried was done.
    Succeeded(Seen),
    /// It was not done.
    Failed(Seen),
    /// It did not end in time.
    Hung(Seen),
    /// This host or user cannot do it even without a jail.
    NotApplicable {
        /// Why.
        reason: String,
    },
    /// The arm could not be run, so it proves nothing.
    Error {
        /// Why.
        reason: String,
    },
}

/// What was seen of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// The exit code; none when a signal ended it.
    pub exit: Option<i32>,
    /// Milliseconds.
    pub ms: u64,
    /// The last words on standard error, escaped.
    pub complaint: String,
}

/// What keeps the first process from doing its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InsideError {
    /// The spec, or the answer.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The spec is not one.
    #[error("the spec: {0}")]
    Spec(#[from] serde_json::Error),
    /// The corpus is broken.
    #[error("{0}")]
    Corpus(#[from] corpus::CorpusError),
    /// The case does not exist.
    #[error("no case `{0}`")]
    NoCase(String),
}

/// Runs the one arm the world was made for and prints its outcome.
///
/// # Errors
/// When there is no outcome to print.
pub(crate) fn run() -> Result<(), InsideError> {
    let spec: Spec = serde_json::from_slice(&fs::read(world::SPEC)?)?;
    fs::remove_file(world::SPEC)?;
    let case = corpus::load()?.into_iter().find(|c| c.id == spec.case);
    let case = case.ok_or_else(|| InsideError::NoCase(spec.case.clone()))?;
    let outcome = match unmet(&case.needs) {
        Some(reason) => Outcome::NotApplicable { reason },
        None => arm(&case, &spec).unwrap_or_else(|e| Outcome::Error { reason: e.to_string() }),
    };
    let mut out = io::stdout();
    serde_json::to_writer(&mut out, &outcome)?;
    out.write_all(b"\n")?;
    Ok(())
}

/// Says which need of a case this host or user does not meet.
fn unmet(needs: &[Need]) -> Option<String> {
    let is_root = rustix::process::geteuid().is_root();
    let number = |path: &str| fs::read_to_string(path).ok().and_then(|t| t.trim().parse::<i64>().ok());
    needs.iter().find_map(|need| match need {
        Need::Root => (!is_root).then(|| "only root could do it without a jail".to_owned()),
        Need::X32 => {
            crate::sys::kernel::x32_getpid().is_err().then(|| "this kernel has no x32 system calls".to_owned())
        }
        Need::I386 => (!crate::ops::has_i386()).then(|| "this kernel has no 32-bit system calls".to_owned()),
        Need::Mptcp => (crate::sys::net::socket(libc::AF_INET, libc::SOCK_STREAM, 262).is_err())
            .then(|| "this kernel has no multipath TCP".to_owned()),
        Need::Vsock => (crate::sys::net::socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0).is_err())
            .then(|| "this kernel has no AF_VSOCK".to_owned()),
        Need::Fchmodat2 => {
            let asked = crate::sys::kernel::fchmodat2("/nonexistent", 0o600);
            let is_missing = asked.is_err_and(|e| e.raw_os_error() == Some(libc::ENOSYS));
            is_missing.then(|| "this kernel has no fchmodat2".to_owned())
        }
        Need::Disk => (!has_disk()).then(|| "this host shows no disk".to_owned()),
        Need::Perf => {
            let is_open = is_root || number("/proc/sys/kernel/perf_event_paranoid").is_some_and(|n| n <= 2);
            (!is_open).then(|| "kernel.perf_event_paranoid closes it to ordinary users".to_owned())
        }
        Need::IoUring => (number("/proc/sys/kernel/io_uring_disabled").unwrap_or(0) != 0)
            .then(|| "kernel.io_uring_disabled closes it".to_owned()),
        Need::Tiocsti => (number("/proc/sys/dev/tty/legacy_tiocsti").unwrap_or(1) != 1)
            .then(|| "dev.tty.legacy_tiocsti is off".to_owned()),
    })
}

fn has_disk() -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    let is_disk = |e: &fs::DirEntry| e.file_type().is_ok_and(|t| t.is_block_device());
    fs::read_dir("/dev").is_ok_and(|dev| dev.flatten().any(|e| is_disk(&e)))
}

fn arm(case: &Case, spec: &Spec) -> io::Result<Outcome> {
    let trial = if spec.arm == Arm::Twin { &case.twin } else { &case.attack };
    let uid = rustix::process::geteuid().as_raw();
    let home = world::home_of(uid);
    let mut planted = Planted::new(words(spec, &home, uid), world::environment(&home, uid));
    fs::write(
        home.join(".gitconfig"),
        "[user]\nname = Owner\nemail = owner@example.invalid\n[init]\ndefaultBranch = main\n",
    )?;
    if !case.policy.is_empty() {
        leave_policy(&home, &planted.fill(&case.policy))?;
    }
    let outcome = try_it(trial, case, spec, &mut planted);
    planted.clear();
    outcome
}

fn try_it(trial: &Trial, case: &Case, spec: &Spec, planted: &mut Planted) -> io::Result<Outcome> {
    for step in &trial.setup {
        planted.plant(step).map_err(|e| io::Error::other(format!("planting {step:?}: {e}")))?;
    }
    let ended = launch::run(&trial.action, spec, planted, !case.policy.is_empty(), case.within)?;
    let seen = Seen {
        exit: ended.exit,
        ms: u64::try_from(ended.took.as_millis()).unwrap_or(u64::MAX),
        complaint: ended.complaint.clone(),
    };
    let after = if trial.after.is_empty() { Vec::new() } else { launch::run_as_owner(&trial.after, planted)?.output };
    let is_done = judge::succeeded(&trial.success, &ended, &after, planted);
    Ok(match (is_done, ended.is_hung) {
        (true, _) => Outcome::Succeeded(seen),
        (false, true) => Outcome::Hung(seen),
        (false, false) => Outcome::Failed(seen),
    })
}

/// The words that commands and paths of a case may use.
fn words(spec: &Spec, home: &Path, uid: u32) -> BTreeMap<String, String> {
    let home = home.display().to_string();
    let address = world::HOST_ADDRESS.map(|b| b.to_string()).join(".");
    let pairs = [
        ("{ws}", format!("{home}/project")),
        ("{home}", home),
        ("{probe}", world::PROBE.to_owned()),
        ("{bin}", world::BIN.to_owned()),
        ("{canary}", spec.canary.clone()),
        ("{mark}", spec.mark.clone()),
        ("{uid}", uid.to_string()),
        ("{address}", address),
        ("{big}", "x".repeat(100_000)),
    ];
    pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
}

/// Writes the owner's policy where the jail looks for it, closed to everybody else.
fn leave_policy(home: &Path, lines: &str) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = home.join(".config/mantlet");
    fs::create_dir_all(&dir)?;
    let path = dir.join("mantlet.toml");
    let head = "version = 1\n[agent.probe]\nrole = \"builder\"\nworkspace = \"~/project\"\n";
    fs::write(&path, format!("{head}{lines}\n"))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
}
