//! How much a watch says: the same again within a second is one entry, and no flood of changes becomes one of entries.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use mantlet_ledger::Change;

use crate::report::Report;

const WINDOW: Duration = Duration::from_secs(1);
/// Entries that wait; beyond them only their number is kept.
const WAITING_MAX: usize = 1024;

type Sort = (String, String, String);

/// What was told lately, and what waits.
#[derive(Debug)]
pub(crate) struct Told {
    per_second: usize,
    since: Instant,
    told: usize,
    lately: HashMap<Sort, Instant>,
    waiting: HashMap<Sort, Change>,
    beyond: u64,
}

impl Told {
    pub(crate) fn new(per_second: usize) -> Told {
        Told { per_second, since: Instant::now(), told: 0, lately: HashMap::new(), waiting: HashMap::new(), beyond: 0 }
    }

    pub(crate) fn tell(&mut self, change: Change, report: &mut dyn Report) {
        let now = Instant::now();
        if now.duration_since(self.since) >= WINDOW {
            self.flush(report);
        }
        let sort = (change.path.clone(), change.what.clone(), change.outcome.clone());
        if !self.lately.contains_key(&sort) && self.told < self.per_second {
            self.told += 1;
            self.lately.insert(sort, now);
            report.change(change);
        } else if let Some(waiting) = self.waiting.get_mut(&sort) {
            let count = waiting.count + change.count;
            *waiting = Change { count, ..change };
        } else if self.waiting.len() < WAITING_MAX {
            self.waiting.insert(sort, change);
        } else {
            self.beyond += change.count;
        }
    }

    /// When something waits, and until when.
    pub(crate) fn due(&self) -> Option<Instant> {
        (!self.waiting.is_empty() || self.beyond > 0).then(|| self.since + WINDOW)
    }

    /// Tells what has waited for its second, as far as this one's measure goes.
    pub(crate) fn flush(&mut self, report: &mut dyn Report) {
        let now = Instant::now();
        if now.duration_since(self.since) < WINDOW {
            return;
        }
        (self.since, self.told) = (now, 0);
        self.lately.clear();
        self.give(self.per_second, report);
    }

    /// Tells everything: the watch ends.
    pub(crate) fn finish(&mut self, report: &mut dyn Report) {
        self.give(usize::MAX, report);
    }

    fn give(&mut self, most: usize, report: &mut dyn Report) {
        let mut sorts: Vec<Sort> = self.waiting.keys().cloned().collect();
        sorts.sort_unstable();
        for sort in sorts.into_iter().take(most) {
            if let Some(change) = self.waiting.remove(&sort) {
                self.told += 1;
                self.lately.insert(sort, self.since);
                report.change(change);
            }
        }
        if self.beyond > 0 && self.waiting.is_empty() {
            report.change(Change {
                path: "-".into(),
                what: "written".into(),
                outcome: "reported".into(),
                noticed: "inotify".into(),
                took_ms: 0,
                before: None,
                after: None,
                keys: Vec::new(),
                culprit: None,
                copy: None,
                reason: Some("more changes at once than are told one by one; each was handled as the others".into()),
                count: self.beyond,
            });
            self.beyond = 0;
        }
    }
}
