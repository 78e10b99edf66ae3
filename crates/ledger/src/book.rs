//! What repeats is one entry: which of a jail's network events are written when. Pure; who writes asks it.
//!
//! The attacks: a flood that fills the owner's disk, and a flood of refusals under which a connection that passed is not
//! seen. So what passed and what was refused have rooms of their own here, and neither grows without bounds.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::Egress;

/// How long repetitions are summed up. Twice as long after each entry, while they go on.
const WINDOW: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(300);
/// How many different events are told apart at a time, of each outcome.
const KEYS: usize = 512;
/// How many new ones are written one by one: so many at once, of each outcome, and one more every `REFILL`.
const FIRSTS: u32 = 100;
const REFILL: Duration = Duration::from_millis(100);
/// The host of the entry that stands for all that exceeds.
const OTHERS: &str = "(others)";

/// Folds the events of one jail or proxy into entries.
#[derive(Debug, Default)]
pub struct Book {
    passed: Half,
    refused: Half,
}

impl Book {
    /// Takes an event; returns the entry to write now, if it is the first of its kind.
    #[must_use]
    pub fn take(&mut self, entry: Egress, now: Instant) -> Option<Egress> {
        let half = if entry.outcome == "passed" { &mut self.passed } else { &mut self.refused };
        half.take(entry, now)
    }

    /// Returns when [`Book::flush`] is wanted next.
    pub fn due(&self) -> Option<Instant> {
        [&self.passed, &self.refused].into_iter().flat_map(Half::windows).map(|window| window.until).min()
    }

    /// Returns the entries of the repetitions whose time is over.
    #[must_use]
    pub fn flush(&mut self, now: Instant) -> Vec<Egress> {
        [&mut self.passed, &mut self.refused].into_iter().flat_map(|half| half.flush(now)).collect()
    }

    /// Returns the entries of everything that was not told yet: nothing more will come.
    #[must_use]
    pub fn close(self) -> Vec<Egress> {
        let told = [&self.passed, &self.refused].into_iter().flat_map(Half::windows);
        told.filter(|window| window.sum.count > 0).map(|window| window.sum.clone()).collect()
    }
}

/// What makes two events the same: all but the call, the address and the numbers.
type Key = (String, String, Option<String>, Option<String>);

#[derive(Debug, Default)]
struct Half {
    windows: BTreeMap<Key, Window>,
    others: Option<Window>,
    /// How many first ones were written, less what time gave back since `counted`.
    firsts: u32,
    counted: Option<Instant>,
}

impl Half {
    fn take(&mut self, entry: Egress, now: Instant) -> Option<Egress> {
        let key = (entry.way.clone(), entry.host.clone(), entry.rule.clone(), entry.reason.clone());
        if let Some(window) = self.windows.get_mut(&key) {
            window.add(&entry);
            return None;
        }
        if self.windows.len() < KEYS && self.may_be_written(now) {
            self.windows.insert(key, Window::new(&entry, now));
            return Some(entry);
        }
        self.others.get_or_insert_with(|| Window::new(&others(&entry), now)).add(&Egress { address: None, ..entry });
        None
    }

    fn may_be_written(&mut self, now: Instant) -> bool {
        let counted = *self.counted.get_or_insert(now);
        let periods = now.saturating_duration_since(counted).as_millis() / REFILL.as_millis();
        let back = u32::try_from(periods).unwrap_or(u32::MAX);
        if back > 0 {
            self.firsts = self.firsts.saturating_sub(back);
            self.counted = Some(now);
        }
        let may = self.firsts < FIRSTS;
        self.firsts += u32::from(may);
        may
    }

    fn windows(&self) -> impl Iterator<Item = &Window> {
        self.windows.values().chain(&self.others)
    }

    fn flush(&mut self, now: Instant) -> Vec<Egress> {
        let mut told = Vec::new();
        self.windows.retain(|_, window| window.is_kept(now, &mut told));
        if self.others.as_mut().is_some_and(|window| !window.is_kept(now, &mut told)) {
            self.others = None;
        }
        told
    }
}

/// Repetitions since the last entry.
#[derive(Debug)]
struct Window {
    until: Instant,
    length: Duration,
    sum: Egress,
}

impl Window {
    fn new(first: &Egress, now: Instant) -> Self {
        let sum = Egress { up: 0, down: 0, count: 0, ..first.clone() };
        Window { until: now + WINDOW, length: WINDOW, sum }
    }

    fn add(&mut self, entry: &Egress) {
        self.sum.count = self.sum.count.saturating_add(entry.count);
        self.sum.up = self.sum.up.saturating_add(entry.up);
        self.sum.down = self.sum.down.saturating_add(entry.down);
        if entry.address.is_some() {
            self.sum.address.clone_from(&entry.address);
        }
    }

    /// Tells what is due, and whether the window goes on: what did not repeat is new when it comes again.
    fn is_kept(&mut self, now: Instant, told: &mut Vec<Egress>) -> bool {
        if now < self.until {
            return true;
        }
        if self.sum.count == 0 {
            return false;
        }
        told.push(self.sum.clone());
        self.sum = Egress { up: 0, down: 0, count: 0, ..self.sum.clone() };
        self.length = LONGEST.min(self.length * 2);
        self.until = now + self.length;
        true
    }
}

fn others(entry: &Egress) -> Egress {
    let reason = (entry.outcome != "passed").then(|| "more than are written one by one".to_owned());
    Egress { way: "various".into(), host: OTHERS.into(), rule: None, reason, address: None, ..entry.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(outcome: &str, host: &str) -> Egress {
        Egress {
            call: Some("c1".into()),
            outcome: outcome.into(),
            way: "direct".into(),
            host: host.into(),
            rule: None,
            reason: None,
            address: Some("192.0.2.1:443".into()),
            up: 10,
            down: 20,
            count: 1,
        }
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn the_first_is_written_at_once_and_the_others_are_summed_up() {
        let (mut book, start) = (Book::default(), Instant::now());
        assert_eq!(book.due(), None);
        assert_eq!(book.take(event("passed", "a:443"), start), Some(event("passed", "a:443")));
        let second = Egress { address: Some("192.0.2.2:443".into()), ..event("passed", "a:443") };
        assert_eq!(book.take(second.clone(), start + seconds(1)), None);
        assert_eq!(book.take(second.clone(), start + seconds(4)), None);
        assert_eq!(book.due(), Some(start + seconds(5)));
        assert_eq!(book.flush(start + seconds(4)), []);
        let sum = Egress { up: 20, down: 40, count: 2, ..second };
        assert_eq!(book.flush(start + seconds(5)), [sum]);
        assert_eq!(book.flush(start + seconds(5)), []);
    }

    #[test]
    fn what_stopped_is_forgotten_and_what_goes_on_is_told_less_often() {
        let (mut book, start) = (Book::default(), Instant::now());
        assert!(book.take(event("refused", "a:443"), start).is_some());
        assert_eq!(book.flush(start + seconds(5)), []);
        assert_eq!(book.due(), None);
        let mut written = 0;
        for second in 10..3610 {
            written += usize::from(book.take(event("refused", "a:443"), start + seconds(second)).is_some());
            written += book.flush(start + seconds(second)).len();
        }
        assert!((10..25).contains(&written), "{written} entries in an hour");
        assert!(book.close().iter().all(|entry| entry.count > 1), "what was not told yet is told at the end");
    }

    #[test]
    fn every_part_of_the_key_tells_events_apart_and_the_address_does_not() {
        let (mut book, now) = (Book::default(), Instant::now());
        let base = event("refused", "a:443");
        let different = [
            base.clone(),
            Egress { outcome: "passed".into(), ..base.clone() },
            Egress { way: "dns".into(), ..base.clone() },
            Egress { host: "b:443".into(), ..base.clone() },
            Egress { rule: Some("r".into()), ..base.clone() },
            Egress { reason: Some("r".into()), ..base.clone() },
        ];
        for entry in different {
            assert_eq!(book.take(entry.clone(), now), Some(entry));
        }
        assert_eq!(book.take(Egress { address: None, ..base }, now), None);
    }

    #[test]
    fn a_flood_is_one_entry_and_hides_nothing_that_passed() {
        let (mut book, start) = (Book::default(), Instant::now());
        let mut written = 0;
        for number in 0..100_000 {
            written += u64::from(book.take(event("refused", &format!("h{number}:443")), start).is_some());
        }
        assert_eq!(written, u64::from(FIRSTS));
        assert!(book.take(event("passed", "a:443"), start).is_some());
        let told = book.flush(start + seconds(5));
        let [others] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!(
            (others.host.as_str(), others.outcome.as_str(), others.count),
            (OTHERS, "refused", 100_000 - written)
        );
        assert_eq!((others.up, others.address.as_deref()), (10 * others.count, None));
    }

    #[test]
    fn a_flood_that_goes_on_stays_small() {
        let (mut book, start) = (Book::default(), Instant::now());
        let (mut written, mut taken, mut counted) = (0, 0, 0);
        for millis in 0..120_000u64 {
            let now = start + Duration::from_millis(millis);
            // Cycling through names so that each comes back when it was forgotten is the most that can be had.
            let entry = event("refused", &format!("h{}:443", millis % 20_000));
            taken += 1;
            let told: Vec<Egress> = book.take(entry, now).into_iter().chain(book.flush(now)).collect();
            written += told.len();
            counted += told.iter().map(|entry| entry.count).sum::<u64>();
            assert!(book.refused.windows.len() <= KEYS);
        }
        counted += book.close().iter().map(|entry| entry.count).sum::<u64>();
        assert_eq!(counted, taken, "nothing is lost");
        assert!(written < 120 * 15, "{written} entries in two minutes");
    }

    #[test]
    fn a_moment_later_there_is_room_again() {
        let (mut book, start) = (Book::default(), Instant::now());
        for number in 0..1000 {
            drop(book.take(event("refused", &format!("h{number}:443")), start));
        }
        assert!(book.take(event("refused", "late:443"), start).is_none());
        assert!(book.take(event("refused", "later:443"), start + seconds(1)).is_some());
    }
}
