//! What was changed, written down before it is changed: one file per client and level, under one lock.
//!
//! It holds the text of settings as they were, secrets included: mode 0600 in a directory of mode 0700, and sealed where
//! what is changed is exactly that secrets lie about.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::lent::{Lent, Row};
use crate::op::{Format, Undo};
use crate::place::{
    MAX_RECORD, Old, failed, make_dir, read, read_at_most, read_text, remove_dir, replace, resolve, sweep,
};
use crate::said::{Said, short};
use crate::{ChangeError, Level};

/// How long a journal in use is waited for.
const PATIENCE: Duration = Duration::from_millis(500);

/// What was installed for one client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The version of this format: 1.
    v: u32,
    /// The client's id.
    pub client: String,
    /// Whose settings.
    pub level: Level,
    pub(crate) phase: Phase,
    pub(crate) steps: Vec<Step>,
    /// Directories that were made, the outermost first.
    pub(crate) dirs: Vec<PathBuf>,
    /// What a live call through the client showed.
    pub seen: Seen,
    /// What was installed before, until this install is known to work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) previous: Option<Box<Record>>,
}

/// How far an install is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Phase {
    /// Files are being written, or the client is being tried: what is cut off here is taken back.
    Applying,
    /// It stands.
    Installed,
    /// Files are being put back: what is cut off here is finished.
    Removing,
}

/// A live call that showed the seam at work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verified {
    /// The client's version, as it says itself.
    pub version: String,
    /// When, RFC 3339.
    pub time: String,
}

/// What a live call showed of an installed seam.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seen {
    /// None was made.
    #[default]
    Untried,
    /// The last one was not refused as it should be.
    Failed,
    /// It was refused as it should be.
    Verified(Verified),
}

/// One file: what it says without us, what it said when the install began, and what it says with us.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    pub(crate) path: PathBuf,
    pub(crate) base: Option<Said>,
    pub(crate) start: Option<Said>,
    #[serde(serialize_with = "short")]
    pub(crate) after: Option<Said>,
    pub(crate) mode: u32,
    /// None for a file that is wholly ours, or gone, or a database.
    pub(crate) format: Option<Format>,
    pub(crate) undos: Vec<Undo>,
    /// What is edited in a database.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) rows: Vec<RowEdit>,
}

/// The edits in one row of a database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RowEdit {
    pub(crate) row: Row,
    pub(crate) undos: Vec<Undo>,
}

impl Step {
    /// What the file said when the install began.
    pub(crate) fn start(&self) -> Option<&[u8]> {
        // Where only its hash was kept, it is the text without us.
        let start = if self.start == self.base { &self.base } else { &self.start };
        start.as_ref().and_then(Said::bytes)
    }
}

/// Whether a file still says this.
pub(crate) fn says(now: Option<&[u8]>, said: Option<&Said>) -> bool {
    match (now, said) {
        (None, None) => true,
        (Some(now), Some(said)) => match said.bytes() {
            Some(bytes) => now == bytes,
            None => Said::Bytes(now.to_vec()) == *said,
        },
        _ => false,
    }
}

impl Record {
    pub(crate) fn new(client: &str, level: Level, steps: Vec<Step>, dirs: Vec<PathBuf>) -> Record {
        let client = client.to_owned();
        Record { v: 1, client, level, phase: Phase::Applying, steps, dirs, seen: Seen::Untried, previous: None }
    }

    /// Names the files that are changed.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.steps.iter().map(|step| step.path.as_path())
    }
}

/// The directory of the records, held under its lock.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    pub(crate) lent: Option<Box<dyn Lent>>,
    _lock: OwnedFd,
}

/// Returns where records are kept: the machine's for root, else below the user's state directory.
///
/// A relative `XDG_STATE_HOME` is ignored, as the XDG base directory specification asks.
pub fn changes_dir(is_root: bool, xdg_state_home: Option<&std::ffi::OsStr>, home: &Path) -> PathBuf {
    if is_root {
        return "/var/lib/mantlet/changes".into();
    }
    let state = xdg_state_home.map(PathBuf::from).filter(|path| path.is_absolute());
    state.unwrap_or_else(|| home.join(".local/state")).join("mantlet/changes")
}

/// Each record is stored with its own hash: half a record is none, and must not be replayed.
const MARK: &str = "sha256:";

fn parse(path: &Path, text: &str) -> Result<Record, ChangeError> {
    let broken = |why: &str| ChangeError::Journal { path: path.into(), why: why.into() };
    let (hash, body) = text.split_once('\n').ok_or_else(|| broken("it is cut off"))?;
    if hash != format!("{MARK}{}", hex(body)) {
        return Err(broken("it was damaged or edited"));
    }
    let record: Record = serde_json::from_str(body).map_err(|error| broken(&error.to_string()))?;
    if record.v != 1 {
        return Err(broken("it was written by another version of Mantlet"));
    }
    Ok(record)
}

fn hex(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads a record without the lock: whoever writes one replaces it whole.
///
/// # Errors
/// It cannot be read or understood.
pub fn peek(dir: &Path, client: &str, level: Level) -> Result<Option<Record>, ChangeError> {
    let path = dir.join(format!("{client}.{}.journal", level.name()));
    read_text(&path)?.map(|text| parse(&path, &text)).transpose()
}

impl Journal {
    /// As [`Journal::open`], for records that are sealed: whoever reads the directory learns nothing of what files said.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn open_sealed(dir: &Path, lent: Box<dyn Lent>) -> Result<Journal, ChangeError> {
        Ok(Journal { lent: Some(lent), ..Journal::open(dir)? })
    }

    /// Makes the directory if it is missing, and takes its lock.
    ///
    /// # Errors
    /// Others can write there, or another install holds the lock.
    pub fn open(dir: &Path) -> Result<Journal, ChangeError> {
        use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
        let dir = resolve(dir)?;
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        made.map_err(|source| failed("make the directory", &dir, source))?;
        // The records are closed to others by themselves; beside them stands what everybody may read.
        if let Some(above) = dir.parent().filter(|_| dir.starts_with("/var/lib")) {
            let open = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(above, open).map_err(|source| failed("open", above, source))?;
        }
        // What stands in it is judged as a file's place is.
        resolve(&dir.join("lock"))?;
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
        let lock = rustix::fs::open(&dir, flags, Mode::empty()).map_err(|e| failed("open", &dir, e.into()))?;
        // Whoever is about to end, or has just started a program that does not keep the lock, is waited for.
        let deadline = Instant::now() + PATIENCE;
        loop {
            match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Journal { dir, lent: None, _lock: lock }),
                Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(rustix::io::Errno::WOULDBLOCK) => return Err(ChangeError::Locked),
                Err(errno) => return Err(failed("lock", &dir, errno.into())),
            }
        }
    }

    fn file(&self, client: &str, level: Level) -> PathBuf {
        self.dir.join(format!("{client}.{}.journal", level.name()))
    }

    /// Returns the record of a client.
    ///
    /// # Errors
    /// It cannot be read or understood.
    pub fn record(&self, client: &str, level: Level) -> Result<Option<Record>, ChangeError> {
        self.read_record(&self.file(client, level))
    }

    fn read_record(&self, path: &Path) -> Result<Option<Record>, ChangeError> {
        let Some(lent) = &self.lent else { return read_text(path)?.map(|text| parse(path, &text)).transpose() };
        let Some(sealed) = read_at_most(path, MAX_RECORD)? else { return Ok(None) };
        let bytes = lent.open(&sealed).map_err(|source| ChangeError::Lent { path: path.into(), source })?;
        let text = String::from_utf8(bytes).map_err(|_| ChangeError::NotText(path.into()))?;
        parse(path, &text).map(Some)
    }

    /// Names the clients of all records, sorted.
    ///
    /// # Errors
    /// A record cannot be read.
    pub fn clients(&self) -> Result<Vec<String>, ChangeError> {
        let mut names: Vec<String> = self.records()?.into_iter().map(|record| record.client).collect();
        names.sort();
        Ok(names)
    }

    pub(crate) fn records(&self) -> Result<Vec<Record>, ChangeError> {
        let entries = std::fs::read_dir(&self.dir).map_err(|source| failed("read", &self.dir, source))?;
        let mut records = Vec::new();
        for entry in entries {
            let path = entry.map_err(|source| failed("read", &self.dir, source))?.path();
            if path.extension().is_some_and(|extension| extension == "journal")
                && !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
                && let Some(record) = self.read_record(&path)?
            {
                records.push(record);
            }
        }
        Ok(records)
    }

    pub(crate) fn store(&self, record: &Record) -> Result<(), ChangeError> {
        let path = self.file(&record.client, record.level);
        let broken = |error: serde_json::Error| ChangeError::Journal { path: path.clone(), why: error.to_string() };
        let body = serde_json::to_string(record).map_err(broken)?;
        let text = format!("{MARK}{}\n{body}", hex(&body)).into_bytes();
        let lent = |source| ChangeError::Lent { path: path.clone(), source };
        let bytes = match &self.lent {
            Some(lender) => lender.seal(&text).map_err(lent)?,
            None => text,
        };
        let before = read_at_most(&path, MAX_RECORD)?;
        replace(&path, before.as_deref(), Some(&bytes), 0o600, Old::Left)
    }

    pub(crate) fn forget(&self, record: &Record) -> Result<(), ChangeError> {
        let path = self.file(&record.client, record.level);
        let before = read_at_most(&path, MAX_RECORD)?;
        replace(&path, before.as_deref(), None, 0o600, Old::Left)
    }

    /// Lets a change stand that needs no trial: nothing about it is told to others.
    ///
    /// # Errors
    /// The record cannot be written.
    pub fn keep(&self, mut record: Record) -> Result<(), ChangeError> {
        record.phase = Phase::Installed;
        record.previous = None;
        self.store(&record)
    }

    /// Writes down what a live call showed, or that none did. The install stands from here on.
    ///
    /// # Errors
    /// The record cannot be written.
    pub fn confirm(&self, mut record: Record, seen: Seen) -> Result<Record, ChangeError> {
        record.phase = Phase::Installed;
        record.previous = None;
        record.seen = seen;
        self.unseal(&record.client, record.level)?;
        let path = seal(&self.dir, &record.client, record.level);
        let broken = |error: serde_json::Error| ChangeError::Journal { path: path.clone(), why: error.to_string() };
        let text = serde_json::to_string(&record.seen).map_err(broken)?;
        if let Some(above) = path.parent() {
            make_dir(above, 0o755)?;
        }
        replace(&path, None, Some(text.as_bytes()), 0o644, Old::Left)?;
        // Last: what stands has its seal, and an install that is cut off before is taken back with it.
        self.store(&record)?;
        Ok(record)
    }

    pub(crate) fn unseal(&self, client: &str, level: Level) -> Result<(), ChangeError> {
        let path = seal(&self.dir, client, level);
        match read(&path)? {
            Some(text) => replace(&path, Some(&text), None, 0, Old::Left)?,
            None if path.parent().is_some_and(Path::is_dir) => sweep(&path, Old::Left)?,
            None => return Ok(()),
        }
        path.parent().map_or(Ok(()), remove_dir)
    }
}

/// Answers what is known of a client's seam without trying it; nothing where none is installed. Everybody can ask, also
/// about the machine's level.
///
/// `dir` is [`changes_dir`]'s answer for that level: root's for [`Level::Managed`].
///
/// # Errors
/// The answer cannot be read.
pub fn standing(dir: &Path, client: &str, level: Level) -> Result<Option<Seen>, ChangeError> {
    let path = seal(dir, client, level);
    let Some(text) = read_text(&path)? else { return Ok(None) };
    let broken = |error: serde_json::Error| ChangeError::Journal { path: path.clone(), why: error.to_string() };
    serde_json::from_str(&text).map(Some).map_err(broken)
}

/// The one part of a record without anybody's settings in it: who starts an agent may read it.
fn seal(dir: &Path, client: &str, level: Level) -> PathBuf {
    dir.with_file_name("verified").join(format!("{client}.{}", level.name()))
}
