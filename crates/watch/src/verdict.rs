//! Whether what was found is what should be there: whole files by their hash, judged ones by what the judge says.

use std::path::{Path, PathBuf};

use crate::content::{Difference, Restored};
use crate::look::{self, Found};
use crate::record::{Is, Record, What};
use crate::text::Sha256;
use crate::watch::Watch;

/// What a look means.
#[must_use]
pub(crate) enum Verdict {
    /// As it should be; the record follows where only what does not matter differs.
    Same { update: Option<Record> },
    /// Different where it may be.
    Accepted { keys: Vec<String>, record: Record },
    /// To be undone.
    Differs { whats: Vec<What>, keys: Vec<String> },
}

/// How content is to be put back.
pub(crate) enum Back {
    /// From the store.
    Whole,
    /// This.
    Content(Vec<u8>),
    /// The content is right, and only the rest is not; this is the content, where it may be replaced.
    Attributes(Option<Vec<u8>>),
    /// It was.
    Done,
    /// Not at all: a copy of another time would break it.
    Never,
}

impl Watch {
    /// The path by which the owner knows a real one, where its content is judged.
    pub(crate) fn judged(&self, path: &Path) -> Option<PathBuf> {
        let (real, spot) = self.spot_of(path)?;
        let rest = path.strip_prefix(real).ok()?;
        // Joining nothing would add a slash.
        let given = if rest.as_os_str().is_empty() { spot.given.clone() } else { spot.given.join(rest) };
        (spot.is_judged && self.content.knows(&given)).then_some(given)
    }

    /// Compares what was found with what should be there.
    pub(crate) fn judge(&self, path: &Path, wanted: &Record, found: &Found) -> Verdict {
        let is_judged_kind = matches!(wanted.is, Is::Absent | Is::Judged { .. });
        match self.judged(path).filter(|_| is_judged_kind) {
            Some(given) => self.judge_content(&given, wanted, found),
            None => match wanted.differences(&found.record) {
                whats if whats.is_empty() => Verdict::Same { update: None },
                whats => Verdict::Differs { whats, keys: Vec::new() },
            },
        }
    }

    fn judge_content(&self, given: &Path, wanted: &Record, found: &Found) -> Verdict {
        let mut now = found.record.clone();
        if let Is::File { sha256, size } = now.is {
            now.is = Is::Judged { sha256, size, snapshot: None };
        }
        let mut whats = wanted.differences(&now);
        let is_comparable = matches!(now.is, Is::Judged { .. } | Is::Absent);
        let is_equal = wanted.sha256() == now.sha256();
        if !is_comparable || is_equal && self.content.beside(given).is_empty() {
            return match whats.is_empty() {
                true => Verdict::Same { update: None },
                false => Verdict::Differs { whats, keys: Vec::new() },
            };
        }
        // Appearing and vanishing are changes of content here, as long as the rest is ordinary.
        whats.retain(|what| !matches!(what, What::Made | What::Deleted));
        if wanted.is == Is::Absent && now.attributes.as_ref().is_some_and(|a| a.nlink != 1 || a.mount) {
            whats.push(What::Made);
        }
        let (difference, snapshot) = match self.compare(given, wanted, found) {
            Some(compared) => compared,
            None => {
                whats.insert(0, What::Written);
                return Verdict::Differs { whats, keys: Vec::new() };
            }
        };
        let (keys, is_same) = match difference {
            Difference::Same => (Vec::new(), true),
            Difference::Accepted { keys } => (keys, false),
            Difference::Tampered { keys } => {
                whats.insert(0, What::Keys);
                return Verdict::Differs { whats, keys };
            }
        };
        if !whats.is_empty() {
            return Verdict::Differs { whats, keys };
        }
        if let Is::Judged { snapshot: kept, .. } = &mut now.is {
            *kept = snapshot;
        }
        if is_same && is_equal {
            return Verdict::Same { update: None };
        }
        if is_same { Verdict::Same { update: Some(now) } } else { Verdict::Accepted { keys, record: now } }
    }

    /// What the judge says, and the snapshot of what was found, which is then in the store. Nothing where it cannot say.
    fn compare(&self, given: &Path, wanted: &Record, found: &Found) -> Option<(Difference, Option<Sha256>)> {
        let before = self.snapshot_of(wanted)?;
        let file = found.look.as_ref().and_then(|look| look.file.as_ref());
        let after = match file {
            Some(file) => {
                rustix::fs::seek(file, rustix::fs::SeekFrom::Start(0)).ok()?;
                self.content.snapshot(given, file).ok()?
            }
            None => None,
        };
        let difference = self.content.compare(given, &before, after.as_deref().unwrap_or_default());
        let kept = match (&difference, &after) {
            (Difference::Tampered { .. }, _) | (_, None) => None,
            (_, Some(bytes)) => Some(self.store.put(bytes).ok()?),
        };
        Some((difference, kept))
    }

    /// The snapshot in the baseline; empty where there is none.
    fn snapshot_of(&self, record: &Record) -> Option<Vec<u8>> {
        match &record.is {
            Is::Judged { snapshot: Some(sha256), .. } => self.store.get(*sha256),
            _ => Some(Vec::new()),
        }
    }

    /// Says how the content comes back. A judge's way is tried once; what it leaves wrong is put back whole.
    pub(crate) fn put_back(&self, path: &Path, wanted: &Record, found: &Found, whats: &[What], attempt: usize) -> Back {
        let Some(given) = self.judged(path) else { return Back::Whole };
        let Some(file) = found.look.as_ref().and_then(|l| l.file.as_ref()).filter(|_| found.record.is_regular()) else {
            return Back::Whole;
        };
        if matches!(wanted.is, Is::Judged { .. }) && !whats.iter().any(|w| is_of_content(*w)) {
            let bytes = look::read(file, self.store.max()).ok().flatten();
            // A second name lets somebody write past this one: only another inode ends that.
            return match bytes {
                Some(bytes) if whats.contains(&What::Linked) => Back::Content(bytes),
                bytes => Back::Attributes(bytes),
            };
        }
        let whole = if self.content.may_be_replaced(&given) { Back::Whole } else { Back::Never };
        if attempt > 0 || !whats.contains(&What::Keys) {
            return whole;
        }
        let Some(before) = self.snapshot_of(wanted) else { return whole };
        if rustix::fs::seek(file, rustix::fs::SeekFrom::Start(0)).is_err() {
            return whole;
        }
        match self.content.restore(&given, &before, file) {
            // What was not there has no attributes to be given: it is taken away whole.
            Ok(Restored::Content(_)) if wanted.is == Is::Absent => Back::Whole,
            Ok(Restored::Content(bytes)) => Back::Content(bytes),
            Ok(Restored::InPlace) => Back::Done,
            Err(_) => whole,
        }
    }

    /// Makes the copy of a file anew that somebody took from the store, while the file is still as it should be.
    pub(crate) fn refill(&self, path: &Path, found: &Found) {
        let Some(node) = self.nodes.get(path) else { return };
        let file = found.look.as_ref().and_then(|look| look.file.as_ref());
        if let (Is::File { sha256, size } | Is::Judged { sha256, size, .. }, Some(file)) = (&node.record.is, file)
            && *size <= self.store.max()
            && !self.store.has(*sha256, *size)
            && let Ok(Some(bytes)) = look::read(file, self.store.max())
            && Sha256::of(&bytes) == *sha256
        {
            // Tried again by the next look.
            self.store.put(&bytes).ok();
        }
    }
}

fn is_of_content(what: What) -> bool {
    matches!(what, What::Keys | What::Written | What::Replaced | What::Deleted | What::Made)
}
