//! Somebody who keeps trying: how often each place was put back lately, and which step comes next. Pure but for the clock
//! that is handed in.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::options::{Escalation, Options};

/// Places that are counted at once; more are counted together.
const PLACES_MAX: usize = 4096;

#[derive(Debug, Default)]
struct Count {
    lately: VecDeque<Instant>,
    steps: usize,
    total: u64,
    until: Option<Instant>,
}

/// What is to be done after a place was put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Next {
    /// Nothing beside it.
    GoOn,
    /// This step, and the place rests.
    Step(Escalation, u64),
    /// There is no further step: the place rests.
    Rest,
}

/// The counts of all places.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    counts: HashMap<PathBuf, Count>,
}

impl Pace {
    /// Counts one undoing.
    pub(crate) fn undone(&mut self, path: &Path, now: Instant, options: &Options) -> Next {
        let key = if self.counts.len() < PLACES_MAX || self.counts.contains_key(path) { path } else { Path::new("/") };
        let count = self.counts.entry(key.to_owned()).or_default();
        count.total += 1;
        count.lately.push_back(now);
        while count.lately.front().is_some_and(|first| now.duration_since(*first) > options.within) {
            count.lately.pop_front();
        }
        if count.lately.len() <= options.tries {
            return Next::GoOn;
        }
        count.lately.clear();
        count.until = Some(now + options.pause);
        self.step(key, options)
    }

    /// The step that is due now.
    pub(crate) fn step(&mut self, path: &Path, options: &Options) -> Next {
        let Some(count) = self.counts.get_mut(path) else { return Next::Rest };
        let Some(step) = options.escalation.get(count.steps) else { return Next::Rest };
        count.steps += 1;
        Next::Step(*step, count.total)
    }

    /// Says until when a place rests.
    pub(crate) fn rests(&self, path: &Path, now: Instant) -> bool {
        self.counts.get(path).and_then(|c| c.until).is_some_and(|until| until > now)
    }

    /// When the next rest ends.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.counts.values().filter_map(|c| c.until).min()
    }

    /// Ends the rests that are over, and names their places, which are to be looked at.
    pub(crate) fn rested(&mut self, now: Instant) -> Vec<PathBuf> {
        let over = self.counts.iter_mut().filter(|(_, c)| c.until.is_some_and(|until| until <= now));
        let paths: Vec<PathBuf> = over.map(|(path, c)| (c.until = None, path.clone()).1).collect();
        paths
    }

    /// Begins again: the owner has looked at it.
    pub(crate) fn forget(&mut self, path: &Path) {
        self.counts.remove(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn steps_are_taken_in_order_and_each_once() {
        let mut options = Options::new("/s".into());
        options.tries = 2;
        let (mut pace, path, start) = (Pace::default(), Path::new("/a"), Instant::now());
        let mut at = |ms| pace.undone(path, start + Duration::from_millis(ms), &options);
        assert_eq!([at(0), at(1)], [Next::GoOn; 2]);
        assert_eq!(at(2), Next::Step(Escalation::Lock, 3));
        assert_eq!([at(3), at(4)], [Next::GoOn; 2]);
        assert_eq!(at(5), Next::Step(Escalation::Halt, 6));
        assert_eq!([at(6), at(7), at(8)], [Next::GoOn, Next::GoOn, Next::Rest]);
        assert_eq!([at(20_000), at(40_000), at(60_000), at(80_000)], [Next::GoOn; 4], "slowly");
        assert!(!pace.rests(Path::new("/b"), start));
    }

    #[test]
    fn a_place_rests_and_is_looked_at_afterwards() {
        let mut options = Options::new("/s".into());
        options.tries = 0;
        let (mut pace, path, start) = (Pace::default(), Path::new("/a"), Instant::now());
        assert!(matches!(pace.undone(path, start, &options), Next::Step(..)));
        assert!(pace.rests(path, start));
        assert_eq!(pace.due(), Some(start + options.pause));
        assert_eq!(pace.rested(start), Vec::<PathBuf>::new());
        assert_eq!(pace.rested(start + options.pause), [path]);
        assert!(!pace.rests(path, start + options.pause));
    }
}
