//! What is said of a change, and what follows when there are too many.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use mantlet_ledger::{Change, Culprit, escape};

use crate::check::First;
use crate::options::Escalation;
use crate::pace::Next;
use crate::record::{Is, Record, What};
use crate::report::Report;
use crate::text::Sha256;
use crate::undo::Stands;
use crate::watch::{Heard, Lock, Watch};

/// How many keys of one change are named.
const KEYS_MAX: usize = 32;

fn text(path: &Path) -> String {
    escape(path.as_os_str().as_bytes())
}

fn entry(path: &Path, what: What, outcome: &str, heard: Heard) -> Change {
    Change {
        path: text(path),
        what: what.word().into(),
        outcome: outcome.into(),
        noticed: heard.how.into(),
        took_ms: u64::try_from(heard.when.elapsed().as_millis()).unwrap_or(u64::MAX),
        before: None,
        after: None,
        keys: Vec::new(),
        culprit: None,
        copy: None,
        reason: None,
        count: 1,
    }
}

fn keys(keys: &[String]) -> Vec<String> {
    keys.iter().take(KEYS_MAX).map(|key| escape(key.as_bytes())).collect()
}

fn weightiest(whats: &[What]) -> What {
    whats.first().copied().unwrap_or(What::Replaced)
}

impl Watch {
    /// The hash of what should be at a path.
    fn before(&self, path: &Path) -> Option<String> {
        self.nodes.get(path).and_then(|node| node.record.sha256()).as_ref().map(Sha256::hex)
    }

    fn culprit(&mut self, path: &Path) -> Option<Culprit> {
        let fan = self.fan.as_mut()?;
        if fan.culprit(path).is_none() {
            // inotify was heard first. What else is heard here, it has heard as well.
            fan.read();
        }
        let culprit = fan.culprit(path);
        fan.forget(path);
        culprit
    }

    pub(crate) fn say_change(&mut self, path: &Path, first: First, heard: Heard, report: &mut dyn Report) {
        self.undone += 1;
        self.kept.make_ours();
        let change = Change {
            before: self.before(path),
            after: first.found.sha256().as_ref().map(Sha256::hex),
            keys: keys(&first.keys),
            culprit: self.culprit(path),
            copy: first.copy.as_deref().map(text),
            ..entry(path, weightiest(&first.whats), "undone", heard)
        };
        self.told.tell(change, report);
    }

    pub(crate) fn say_undone(
        &mut self,
        path: &Path,
        what: What,
        copy: Option<PathBuf>,
        heard: Heard,
        report: &mut dyn Report,
    ) {
        self.undone += 1;
        self.kept.make_ours();
        let culprit = self.culprit(path);
        let change = Change { culprit, copy: copy.as_deref().map(text), ..entry(path, what, "undone", heard) };
        self.told.tell(change, report);
        self.count(path, heard, report);
    }

    pub(crate) fn say_accepted(
        &mut self,
        path: &Path,
        before: &Record,
        after: &Record,
        names: Vec<String>,
        heard: Heard,
        report: &mut dyn Report,
    ) {
        let change = Change {
            before: before.sha256().as_ref().map(Sha256::hex),
            after: after.sha256().as_ref().map(Sha256::hex),
            keys: keys(&names),
            culprit: self.culprit(path),
            ..entry(path, What::Keys, "accepted", heard)
        };
        self.told.tell(change, report);
    }

    /// Says that something stands; once for each state in which it is found.
    pub(crate) fn say_stands(
        &mut self,
        path: &Path,
        whats: &[What],
        found: &Record,
        why: Stands,
        heard: Heard,
        report: &mut dyn Report,
    ) {
        const STANDING_MAX: usize = 4096;
        if self.standing.get(path) == Some(found) {
            return;
        }
        if self.standing.len() < STANDING_MAX {
            self.standing.insert(path.to_owned(), found.clone());
        }
        let change = Change {
            before: self.before(path),
            after: found.sha256().as_ref().map(Sha256::hex),
            culprit: self.culprit(path),
            reason: Some(escape(why.0.as_bytes())),
            ..entry(path, weightiest(whats), "reported", heard)
        };
        self.told.tell(change, report);
    }

    /// The place for which an undoing counts: names that come and go count for their directory.
    pub(crate) fn counted(&self, path: &Path) -> PathBuf {
        let is_known = self.nodes.contains_key(path) || self.ways.contains_key(path);
        let counted = if is_known { Some(path) } else { path.parent() };
        counted.unwrap_or(path).to_owned()
    }

    /// Counts an undoing, and takes the step that is due.
    pub(crate) fn count(&mut self, path: &Path, heard: Heard, report: &mut dyn Report) {
        let counted = self.counted(path);
        let mut next = self.pace.undone(&counted, Instant::now(), &self.options);
        while let Next::Step(step, tries) = next {
            match step {
                Escalation::Halt => return report.halt(&counted, tries),
                Escalation::Lock if self.lock(&counted, heard, report) => return,
                // What cannot be locked is not tried again: the step after it is due.
                Escalation::Lock => next = self.pace.step(&counted, &self.options),
            }
        }
    }

    fn lock(&mut self, path: &Path, heard: Heard, report: &mut dyn Report) -> bool {
        let kinds = if self.can_lock { &[Lock::Immutable, Lock::Mode][..] } else { &[Lock::Mode] };
        for kind in kinds {
            let Some(node) = self.nodes.get_mut(path) else { return false };
            if !matches!(node.record.is, Is::File { .. } | Is::Judged { .. } | Is::Directory) || node.lock.is_some() {
                return false;
            }
            node.lock = Some(*kind);
            if self.apply(path).is_ok() {
                let reason = match kind {
                    Lock::Immutable => "made immutable after too many tries",
                    Lock::Mode => "made read-only after too many tries; its owner can undo that",
                };
                let change = Change { reason: Some(reason.into()), ..entry(path, What::Attributes, "locked", heard) };
                self.told.tell(change, report);
                return true;
            }
            if let Some(node) = self.nodes.get_mut(path) {
                node.lock = None;
            }
        }
        false
    }

    /// Takes the lock from a place that its owner has looked at, and counts anew.
    ///
    /// # Errors
    /// When its attributes cannot be put back.
    pub fn unlock(&mut self, path: &Path) -> Result<(), crate::Error> {
        self.pace.forget(path);
        if self.nodes.get_mut(path).and_then(|node| node.lock.take()).is_none() {
            return Ok(());
        }
        self.apply(path).map_err(|why| crate::Error::Look { path: path.to_owned(), why: why.0 })
    }
}
