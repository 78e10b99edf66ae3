//! The review of a service while it runs: what the watch could not see at once is found by a walk, now and then.
//!
//! A call ends and is reviewed; a service may run for months. What may only be judged whole (a git configuration, a
//! symlink) is judged when it has stood there from one walk to the next.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use mantlet_policy::Review;

use crate::journal;
use crate::live::{self, Live};
use crate::plan::Plan;
use crate::request::Kind;
use crate::review::{self, Since};

/// The least time between two walks.
const INTERVAL: Duration = Duration::from_secs(10);

/// A walk takes at most this part of the time.
const PART: u32 = 50;

/// Walks over the trees of a service.
pub(crate) struct Sweep {
    /// None: nothing is walked.
    next: Option<Instant>,
    /// When the last two walks began: what has changed since the first of them is looked at.
    began: [(i64, i64); 2],
    /// What the last walk found: the tree, and the path.
    found: HashSet<(usize, Vec<u8>)>,
}

impl Sweep {
    /// Begins with the call.
    pub(crate) fn new(plan: &Plan, started: (i64, i64)) -> Sweep {
        // What is only reported is reported once, at the end.
        let is_needed = plan.kind == Kind::Service && plan.review != Review::Report && !plan.changes_nothing();
        let next = is_needed.then(|| Instant::now() + INTERVAL);
        Sweep { next, began: [started, started], found: HashSet::new() }
    }

    /// When to walk next, if ever.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.next
    }

    /// Walks once, if it is time.
    pub(crate) fn run(&mut self, plan: &Plan, live: &mut Live) {
        let now = Instant::now();
        if self.next.is_none_or(|next| now < next) {
            return;
        }
        let since = Since::Time(self.began[0]);
        self.began = [self.began[1], journal::coarse_now()];
        let mut found = HashSet::new();
        for tree in 0..plan.trees() {
            let judge = live::judge_of(plan, tree, &[]);
            for verdict in review::review(&judge, None, &[], since).verdicts {
                if verdict.is_listed {
                    continue;
                }
                let key = (tree, verdict.path.clone());
                let has_stood = self.found.contains(&key);
                live.undo(plan, tree, Some(verdict), !has_stood);
                found.insert(key);
            }
        }
        self.found = found;
        self.next = Some(Instant::now() + INTERVAL.max(now.elapsed() * PART));
    }
}
