//! The kill switch: a file in the owner's state directory, while which no jail starts; and the end of all that run.
//!
//! The race that it must win: a call writes its journal entry and then looks for the file, a halt writes the file and then
//! reads the journal. Whichever comes first, the call is refused or found. Whatever stands at the file's name halts, also
//! what nobody can read: a forged one can stop the owner's agents, which is what it would do anyway, and never free them.

mod ending;
mod mark;
mod notice;
mod resume;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use mantlet_ledger::{Entry, Kind, Writer};
use mantlet_policy::Host as _;
use rustix::fs::{AtFlags, CWD};
use serde::{Deserialize, Serialize};

use crate::host::RealHost;
use crate::journal;
use crate::layout;
use crate::plan::Refusal;
use ending::Jails;

pub use notice::Notice;
pub use resume::{Resumed, resume};

/// The file's name in the state directory.
const NAME: &str = "halted";

/// How long the end of all jails is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest reason that is kept.
const LONGEST: usize = 1000;

/// Who stops everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The owner.
    Owner,
    /// The watch, after too many tries.
    Watch,
}

impl By {
    fn word(self) -> &'static str {
        match self {
            By::Owner => "owner",
            By::Watch => "watch",
        }
    }
}

/// That everything is stopped, and what is known of it. Its text is masked and escaped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Halted {
    /// Since when, RFC 3339.
    pub when: String,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
    /// `owner` or `watch`; another word where nobody can tell.
    pub by: String,
}

impl fmt::Display for Halted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "halted by the {} since {}", self.by, self.when)?;
        self.reason.as_ref().map_or(Ok(()), |reason| write!(f, ": {reason}"))
    }
}

/// What a halt came to.
#[derive(Debug, Default, Serialize)]
#[must_use]
pub struct Ended {
    /// How many jails were running, or about to, and are dead.
    pub ended: u64,
    /// How many of these are still reviewed by their monitors.
    pub reviewing: u64,
    /// The jails that could not be ended, and what may start in spite of the halt; for the person, escaped.
    pub left: Vec<String>,
    /// What else went wrong, above all evidence that could not be written.
    pub trouble: Vec<String>,
}

/// Ends every jail of the calling user, and lets none start before [`resume`].
///
/// It acts on `$XDG_STATE_HOME/mantlet` and on `~/.local/state/mantlet`: what a hook starts with `--home` obeys no variable.
///
/// # Errors
/// It is asked for inside a jail, or no state directory is the caller's.
pub fn halt(by: By, reason: Option<&str>) -> Result<Ended, Refusal> {
    refuse_in_jail("halts")?;
    let reason = reason.map(|text| clean(&mantlet_dlp::mask(text)));
    let halted = Halted { when: now(), reason, by: by.word().into() };
    let mut done = Ended::default();
    let mut places = Vec::new();
    for place in usual_places()? {
        match Place::open(&place) {
            Ok(place) => places.push(place),
            Err(refusal) => done.left.push(format!("{refusal}: what runs there goes on, and more may start")),
        }
    }
    if places.is_empty() {
        return Err(Refusal::new(done.left.join("\n")).hint("run it as the user whose agents are to end"));
    }
    // Every place is shut before anything is killed: what dies may be started again at once, by whoever watches over it.
    for place in &places {
        if let Err(e) = mark::write(&place.top, &halted) {
            let at = escaped(&place.top.join(NAME));
            done.left.push(format!("{at} cannot be written ({e}): more may start as soon as there is room for it"));
        }
    }
    let mut all: Vec<Jails> = places.iter().map(|place| Jails::of(&place.top)).collect();
    let deadline = Instant::now() + PATIENCE;
    ending::end(&mut all, deadline);
    for (place, jails) in places.iter().zip(all) {
        let counted = jails.count();
        let entry = mantlet_ledger::Halt {
            action: "halt".into(),
            by: halted.by.clone(),
            reason: halted.reason.clone(),
            ended: counted.ended,
            left: counted.left.len() as u64,
        };
        if let Err(why) = record(&place.top, entry) {
            done.trouble.push(format!("the halt is not in the ledger: {why}"));
        }
        done.ended += counted.ended;
        done.reviewing += counted.reviewing;
        done.left.extend(counted.left);
    }
    Ok(done)
}

/// Whether everything of the calling user is stopped.
///
/// # Errors
/// There is no home directory.
pub fn halted() -> Result<Option<Halted>, Refusal> {
    Ok(usual_places()?.iter().find_map(|state| look(state)))
}

/// Whether a state directory says that everything is stopped. Only that nothing stands at the file's name says no.
pub fn look(state: &Path) -> Option<Halted> {
    let path = state.join(NAME);
    match rustix::fs::statat(CWD, &path, AtFlags::SYMLINK_NOFOLLOW) {
        Err(rustix::io::Errno::NOENT) => None,
        _ => Some(mark::read(&path).unwrap_or_else(|why| odd(&path, &why))),
    }
}

/// Why nothing may start, and the way out.
pub(crate) fn refusal(state: &Path) -> Option<String> {
    look(state).map(|halted| format!("{halted}\nhint: the owner lets agents go on with: mantlet resume"))
}

fn odd(path: &Path, why: &str) -> Halted {
    let reason = format!("{} is not as Mantlet writes it ({why}), which counts as halted", escaped(path));
    Halted { when: "an unknown time".into(), reason: Some(reason), by: "unknown".into() }
}

/// A state directory of the owner's, held: a resume waits until the halt has done, and a halt until a resume has.
struct Place {
    top: PathBuf,
    dir: std::os::fd::OwnedFd,
}

impl Place {
    /// Finds it, and makes it where it is missing: a call that makes it later must find the file.
    fn open(named: &Path) -> Result<Place, Refusal> {
        use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
        let shown = escaped(named);
        let failed = |e: std::io::Error| Refusal::new(format!("the state directory {shown} cannot be used: {e}"));
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(named).map_err(failed)?;
        let top = std::fs::canonicalize(named).map_err(failed)?;
        let owner = std::fs::metadata(&top).map_err(failed)?.uid();
        if owner != rustix::process::geteuid().as_raw() {
            return Err(Refusal::new(format!("the state directory {shown} belongs to uid {owner}"))
                .hint("run it as that user; a sudo keeps the HOME of whoever calls it"));
        }
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
        let dir = rustix::fs::open(&top, flags, rustix::fs::Mode::empty()).map_err(|e| failed(e.into()))?;
        let place = Place { top, dir };
        // A resume that hangs is no reason not to halt.
        place.lock(rustix::fs::FlockOperation::NonBlockingLockShared, Duration::from_secs(1));
        Ok(place)
    }

    /// Waits for a lock for so long. Answers whether it is had.
    fn lock(&self, operation: rustix::fs::FlockOperation, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while rustix::fs::flock(&self.dir, operation).is_err() {
            if Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }
}

/// Where state of this user lies, each once.
fn usual_places() -> Result<Vec<PathBuf>, Refusal> {
    let host = RealHost::new().map_err(|e| Refusal::new(e.to_string()))?;
    let mut places = vec![journal::place(host.home()), host.home().join(".local/state/mantlet")];
    places.dedup();
    Ok(places)
}

/// Writes an entry of the kill switch into the ledger.
fn record(top: &Path, halt: mantlet_ledger::Halt) -> Result<(), String> {
    let entry = Entry { v: 1, time: now(), agent: "-".into(), policy: "-".into(), kind: Kind::Halt(halt), chain: None };
    let mut ledger = Writer::open(&top.join("ledger"), &[]).map_err(|e| e.to_string())?;
    ledger.append(&entry).map(drop).map_err(|e| e.to_string())
}

/// In a jail there is nothing to be found, and nothing to be told: the attack is an agent that frees itself.
fn refuse_in_jail(what: &str) -> Result<(), Refusal> {
    use rustix::io::Errno;
    match rustix::fs::lstat(layout::MARKER) {
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
        _ => Err(Refusal::new(format!("nothing in a jail {what}")).hint("ask the owner to do it outside")),
    }
}

fn now() -> String {
    mantlet_ledger::rfc3339(SystemTime::now())
}

fn clean(text: &str) -> String {
    mantlet_ledger::shorten(&mantlet_ledger::escape(text.as_bytes()), LONGEST).into_owned()
}

fn escaped(path: &Path) -> String {
    mantlet_ledger::escape(path.as_os_str().as_encoded_bytes())
}

#[cfg(test)]
mod tests;
