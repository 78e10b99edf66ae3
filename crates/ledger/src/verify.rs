//! Verifies a ledger: every line, the chain over all segments, the checkpoints, and heads that were kept elsewhere.
//!
//! An edit, a dropped, swapped or doubled line is found without any help. That the newest lines are all there cannot be
//! seen in the ledger itself: it is said up to which entry it is complete, and a head kept elsewhere tells the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use sha2::{Digest as _, Sha256};

use crate::chain::{End, GENESIS, end, hex, is_checkpoint_due, is_whole};
use crate::key::is_signed;
use crate::segment::{self, Segment};
use crate::{Entry, Head, Kind, ReadError, Upkeep, lock, tidy};

/// A longer line is damage: no writer of ours makes one, and it must not fill the reader's memory.
const LINE_MAX: u64 = 8 << 20;
/// No more findings than somebody reads; the others are counted.
const MOST_FINDINGS: usize = 100;

/// What is known from elsewhere.
#[derive(Debug, Default, Clone)]
pub struct Expected {
    /// Entries that must be there.
    pub heads: Vec<Head>,
    /// The public key of all checkpoints, in hex.
    pub key: Option<String>,
}

/// Something that is not as a writer leaves it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// The segment; none where the ledger as a whole is meant.
    pub file: Option<PathBuf>,
    /// The line in it, from 1.
    pub line: Option<u64>,
    /// What is wrong.
    pub what: String,
}

/// What a ledger was found to be.
#[derive(Debug, Default, Clone, serde::Serialize)]
pub struct Verified {
    /// How many entries are in the chain.
    pub entries: u64,
    /// The first of them: 0 unless older ones were dropped.
    pub first: Option<u64>,
    /// The last of them: complete up to here.
    pub head: Option<Head>,
    /// How many checkpoints hold.
    pub checkpoints: u64,
    /// The last entry that a checkpoint signs.
    pub signed: Option<u64>,
    /// The keys that signed, in hex.
    pub keys: BTreeSet<String>,
    /// How many of the heads from elsewhere were found.
    pub anchored: u64,
    /// The newest of them.
    pub anchor: Option<u64>,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// Findings beyond those.
    pub more: u64,
    /// What is worth knowing and no damage.
    pub notes: Vec<String>,
}

impl Verified {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }
}

/// Verifies the ledger in a directory as it is at this moment, also while it is written.
///
/// # Errors
/// When it is not there or cannot be read: nothing is known then.
pub fn verify(dir: &Path, expected: &Expected) -> Result<Verified, ReadError> {
    let failed = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => ReadError::Missing { path: dir.into() },
        _ => ReadError::Read { path: dir.into(), source },
    };
    let held = Held::open(dir).map_err(failed)?;
    let mut verifier = Verifier::new(expected);
    for segment in &held.segments {
        let read = |source| ReadError::Read { path: segment.path.clone(), source };
        let text: Box<dyn Read> = match segment.last {
            Some(_) => segment.open().map_err(read)?,
            None => match &held.written {
                Some((file, size)) => Box::new(file.try_clone().map_err(read)?.take(*size)),
                None => continue,
            },
        };
        if let Err(e) = verifier.read_segment(segment, text) {
            verifier.find(segment, None, format!("it cannot be read to its end: {e}"));
        }
    }
    Ok(verifier.finish())
}

/// The segments of one moment, kept from being tidied away.
struct Held {
    segments: Vec<Segment>,
    written: Option<(File, u64)>,
    _tidy: Option<OwnedFd>,
}

impl Held {
    fn open(path: &Path) -> std::io::Result<Held> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(path, flags, Mode::empty())?;
        // On a copy that cannot be written nobody tidies.
        let tidy = tidy::open_lock(&dir).ok();
        if let Some(tidy) = &tidy {
            lock::take(tidy)?;
        }
        lock::take(&dir)?;
        let held = Held::of(path, tidy);
        lock::give(&dir);
        held
    }

    fn of(path: &Path, tidy: Option<OwnedFd>) -> std::io::Result<Held> {
        let segments = segment::all(path)?;
        let written = match segments.last().map(|segment| segment::open(&segment.path)) {
            Some(Ok(file)) => Some((file.metadata()?.len(), file)).map(|(size, file)| (file, size)),
            Some(Err(e)) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
            _ => None,
        };
        if written.is_none() && segments.len() < 2 {
            return Err(std::io::ErrorKind::NotFound.into());
        }
        Ok(Held { segments, written, _tidy: tidy })
    }
}

/// Reads lines and keeps what the next one must follow.
struct Verifier<'e> {
    out: Verified,
    key: Option<&'e str>,
    /// Heads from elsewhere that were not met yet.
    wanted: BTreeMap<u64, Vec<&'e str>>,
    /// What is said to have been dropped.
    dropped: Vec<Head>,
    /// What the first entry follows, where that is not the beginning.
    follows: Option<Head>,
    /// Lines since the last entry that are none.
    foreign: Option<(u64, u64, Sha256)>,
}

impl<'e> Verifier<'e> {
    fn new(expected: &'e Expected) -> Self {
        let mut wanted: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
        for head in &expected.heads {
            wanted.entry(head.seq).or_default().push(&head.hash);
        }
        let (out, dropped) = (Verified::default(), Vec::new());
        Verifier { out, key: expected.key.as_deref(), wanted, dropped, follows: None, foreign: None }
    }

    fn find(&mut self, segment: &Segment, line: Option<u64>, what: String) {
        if self.out.findings.len() < MOST_FINDINGS {
            self.out.findings.push(Finding { file: Some(segment.path.clone()), line, what });
        } else {
            self.out.more += 1;
        }
    }

    fn note(&mut self, note: String) {
        if self.out.notes.len() < MOST_FINDINGS {
            self.out.notes.push(note);
        }
    }

    fn read_segment(&mut self, segment: &Segment, text: Box<dyn Read>) -> std::io::Result<()> {
        let mut text = BufReader::with_capacity(1 << 16, text);
        let (mut line, mut number) = (Vec::new(), 0);
        loop {
            line.clear();
            number += 1;
            if text.by_ref().take(LINE_MAX).read_until(b'\n', &mut line)? == 0 {
                break;
            }
            match line.strip_suffix(b"\n") {
                Some(whole) => self.read_line(segment, number, whole),
                None => {
                    let what = format!("a line of {} bytes has no end: torn by a writer's death, or cut", line.len());
                    self.find(segment, Some(number), what);
                }
            }
        }
        if segment.last.is_some() && segment.last != self.out.head.as_ref().map(|head| head.seq) {
            self.find(segment, None, "it does not end with the entry that it is named after".into());
        }
        Ok(())
    }

    fn read_line(&mut self, segment: &Segment, number: u64, line: &[u8]) {
        let Some(end) = end(line) else {
            let (count, bytes, hash) = self.foreign.get_or_insert_with(|| (0, 0, Sha256::new()));
            (*count, *bytes) = (*count + 1, *bytes + line.len() as u64 + 1);
            hash.update(line);
            hash.update(b"\n");
            // At the very beginning they may be of before the chain, which the first entry then says.
            if self.out.entries > 0 {
                self.find(segment, Some(number), "this is no entry".into());
            }
            return;
        };
        if !is_whole(line, &end) {
            self.find(segment, Some(number), format!("entry {} was changed: its hash is of another text", end.seq));
        }
        if let Some(what) = self.link(&end) {
            self.find(segment, Some(number), what);
        }
        let upkeep = match serde_json::from_slice::<Entry>(line) {
            Ok(Entry { kind: Kind::Ledger(upkeep), .. }) => Some(upkeep),
            Ok(_) => None,
            Err(e) => {
                self.note(format!("entry {} is of a kind that this version does not know: {e}", end.seq));
                None
            }
        };
        for what in self.judge(&end, upkeep.as_ref()) {
            self.find(segment, Some(number), what);
        }
        let is_wanted = self.wanted.remove(&end.seq);
        for hash in is_wanted.into_iter().flatten() {
            if hash == end.hash {
                self.out.anchored += 1;
                self.out.anchor = Some(end.seq);
            } else {
                self.find(segment, Some(number), format!("entry {} is not the one that was kept elsewhere", end.seq));
            }
        }
        self.out.entries += 1;
        self.out.head = Some(end.head());
    }

    /// Whether the line stands where it says.
    fn link(&mut self, end: &End<'_>) -> Option<String> {
        let Some(head) = &self.out.head else {
            self.out.first = Some(end.seq);
            if (end.seq, end.prev) == (0, GENESIS) {
                return None;
            }
            let Some(before) = end.seq.checked_sub(1) else {
                return Some("the first entry follows something that is not there".into());
            };
            self.follows = Some(Head { seq: before, hash: end.prev.into() });
            return None;
        };
        let Some(next) = head.seq.checked_add(1) else { return Some("its number cannot be".into()) };
        match end.seq {
            seq if seq == next && end.prev == head.hash => None,
            seq if seq == next => Some(format!("entry {seq} follows another one than what stands before it")),
            seq if seq > next && seq - next == 1 => Some(format!("entry {next} is missing")),
            seq if seq > next => Some(format!("entries {next} to {} are missing", seq - 1)),
            seq => Some(format!("entry {seq} stands behind entry {}: doubled, or moved", head.seq)),
        }
    }

    /// What the ledger says of itself in an entry, against what stands there.
    fn judge(&mut self, end: &End<'_>, upkeep: Option<&Upkeep>) -> Vec<String> {
        let mut wrong = Vec::new();
        let event = upkeep.map_or("", |upkeep| upkeep.event.as_str());
        if let Some((count, bytes, hash)) = self.foreign.take() {
            let told =
                upkeep.filter(|_| event == "foreign").and_then(|upkeep| upkeep.bytes.zip(upkeep.sha256.as_ref()));
            let is_told = told.is_some_and(|(told, sha256)| (told, sha256) == (bytes, &hex(&hash.finalize())));
            if is_told && end.seq == 0 {
                self.note(format!("{count} lines are of before the chain, and unchanged since it began"));
            } else if self.out.entries == 0 || !is_told {
                wrong.push(format!("{count} lines before entry {} are none of the chain", end.seq));
            }
        }
        match (event, upkeep) {
            ("checkpoint", Some(upkeep)) => wrong.extend(self.check(upkeep)),
            ("dropped", Some(upkeep)) => self.dropped.extend(upkeep.through.clone()),
            ("torn", Some(upkeep)) => {
                let bytes = upkeep.bytes.unwrap_or(0);
                self.note(format!("before entry {}, {bytes} bytes of a torn line were cut off", end.seq));
            }
            _ => {}
        }
        let is_due = self
            .out
            .head
            .as_ref()
            .is_some_and(|head| is_checkpoint_due(head.seq) && head.seq.checked_add(1) == Some(end.seq));
        if is_due && event != "checkpoint" {
            wrong.push(format!("entry {} must be a checkpoint", end.seq));
        }
        wrong
    }

    fn check(&mut self, upkeep: &Upkeep) -> Option<String> {
        let (Some(head), Some(key), Some(signature)) = (&self.out.head, &upkeep.key, &upkeep.signature) else {
            return (self.out.head.is_some()).then(|| "a checkpoint without a signature".into());
        };
        if !is_signed(head, key, signature) {
            return Some(format!("the signature of entry {} does not hold", head.seq));
        }
        if self.key.is_some_and(|expected| expected != key) {
            return Some(format!("entry {} is signed by another key: {}", head.seq, crate::escape(key.as_bytes())));
        }
        let is_other = !self.out.keys.is_empty() && !self.out.keys.contains(key);
        self.out.checkpoints += 1;
        self.out.signed = Some(head.seq);
        self.out.keys.insert(key.clone());
        is_other.then(|| format!("from entry {} on another key signs", head.seq))
    }

    fn finish(mut self) -> Verified {
        let mut whole = |what: String| self.out.findings.push(Finding { file: None, line: None, what });
        if let Some(follows) = &self.follows {
            if self.dropped.contains(follows) {
                let note = format!("entries up to {} were dropped to stay within the bound", follows.seq);
                self.out.notes.push(note);
            } else {
                whole(format!("entries 0 to {} are missing, and nothing says that they were dropped", follows.seq));
            }
        }
        if let Some((count, ..)) = &self.foreign {
            let what = format!("{count} lines at the end are none of the chain");
            whole(if self.out.entries == 0 { format!("nothing of it is of a chain: {what}") } else { what });
        }
        let (first, last) = (self.out.first.unwrap_or(0), self.out.head.as_ref().map(|head| head.seq));
        for seq in self.wanted.keys() {
            if *seq < first && self.follows.is_some() {
                self.out.notes.push(format!("entry {seq}, kept elsewhere, was dropped since"));
            } else {
                let end = last.map_or("is empty".into(), |last| format!("ends with entry {last}"));
                whole(format!("entry {seq} was there once, kept elsewhere says, and the ledger {end}: it was cut"));
            }
        }
        self.out
    }
}
