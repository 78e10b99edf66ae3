//! How often the owner is disturbed: so many messages in a minute and in an hour, the same thing once, and of the rest one
//! message that sums it up. Pure; who sends asks it.
//!
//! The attack: a flood of alerts under which the one that matters is not read, or that makes a server refuse them all. So
//! there is room that only urgent ones use, and they wait behind nothing.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Alert;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
/// As many different alerts as are held by their names; further ones are only counted.
const KEPT: usize = 64;
/// As many as a summary names.
const NAMED: usize = 6;

/// What becomes of an alert.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Verdict {
    /// It is sent now.
    Send(Alert),
    /// It waits for the summary; it is the first one that does.
    FirstHeld(Alert),
    /// It waits for the summary.
    Held,
}

/// Counts what was sent, and keeps what was not.
#[derive(Debug)]
pub(super) struct Limiter {
    /// In an hour and in a minute.
    most: [usize; 2],
    /// What of that is for urgent ones only.
    reserved: [usize; 2],
    /// When the messages of the last hour were sent.
    sent: VecDeque<Instant>,
    /// What was sent in the last minute.
    recent: VecDeque<(Instant, Alert)>,
    held: Vec<(Alert, u64)>,
    /// How many alerts are only counted.
    others: u64,
    since: Option<Instant>,
}

impl Limiter {
    pub(super) fn new(per_hour: u32, burst: u32) -> Limiter {
        let most = [per_hour as usize, burst as usize];
        Limiter {
            most,
            // A quarter, and where there is one message only nothing can be kept back.
            reserved: most.map(|most| if most > 1 { most.div_ceil(4) } else { 0 }),
            sent: VecDeque::new(),
            recent: VecDeque::new(),
            held: Vec::new(),
            others: 0,
            since: None,
        }
    }

    /// Takes an alert.
    pub(super) fn take(&mut self, alert: Alert, now: Instant) -> Verdict {
        self.forget(now);
        let is_known = self.recent.iter().any(|(_, sent)| sent.key() == alert.key());
        // Behind what waits already, so that nothing overtakes.
        let is_free = alert.is_urgent() || self.since.is_none();
        if !is_known && is_free && self.opens(alert.is_urgent(), now) <= now {
            self.note(&alert, now);
            return Verdict::Send(alert);
        }
        let count = alert.count();
        let is_first = self.since.is_none();
        self.since.get_or_insert(now);
        let first = is_first.then(|| alert.clone());
        if let Some((_, times)) = self.held.iter_mut().find(|(held, _)| held.key() == alert.key()) {
            *times = times.saturating_add(count);
        } else if self.held.len() < KEPT {
            self.held.push((alert, count));
        } else if let Some(other) = self.held.iter_mut().find(|(held, _)| alert.is_urgent() && !held.is_urgent()) {
            self.others = self.others.saturating_add(other.1);
            *other = (alert, count);
        } else {
            self.others = self.others.saturating_add(count);
        }
        first.map_or(Verdict::Held, Verdict::FirstHeld)
    }

    /// Returns when [`Limiter::flush`] is wanted.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        // A moment later what comes in a rush is in one message.
        let is_urgent = self.held.iter().any(|(held, _)| held.is_urgent());
        self.since.map(|since| (since + MINUTE).max(self.opens(is_urgent, now)))
    }

    /// Returns the message of what was held, if its time has come, and how many alerts it stands for.
    pub(super) fn flush(&mut self, now: Instant) -> Option<(Alert, u64)> {
        self.forget(now);
        match self.due(now) {
            Some(due) if due <= now => self.summed(now),
            _ => None,
        }
    }

    /// Returns the message of what is held, whatever the time: nothing more will come.
    pub(super) fn close(&mut self, now: Instant) -> Option<(Alert, u64)> {
        self.since.and_then(|_| self.summed(now))
    }

    fn summed(&mut self, now: Instant) -> Option<(Alert, u64)> {
        let mut held = std::mem::take(&mut self.held);
        held.sort_by_key(|(alert, _)| !alert.is_urgent());
        let others = std::mem::take(&mut self.others);
        self.since = None;
        let total = held.iter().fold(others, |sum, (_, count)| sum.saturating_add(*count));
        let alert = match held.as_slice() {
            [] => return None,
            [(only, count)] if others == 0 => only.clone().times(*count),
            _ => summary(&held, total),
        };
        for (each, _) in &held {
            self.recent.push_back((now, each.clone()));
        }
        self.sent.push_back(now);
        Some((alert, total))
    }

    fn note(&mut self, alert: &Alert, now: Instant) {
        self.sent.push_back(now);
        self.recent.push_back((now, alert.clone()));
    }

    fn forget(&mut self, now: Instant) {
        let is_over = |at: Instant, length| now.saturating_duration_since(at) >= length;
        while self.sent.front().is_some_and(|at| is_over(*at, HOUR)) {
            self.sent.pop_front();
        }
        while self.recent.front().is_some_and(|(at, _)| is_over(*at, MINUTE)) {
            self.recent.pop_front();
        }
    }

    /// When the next message may go.
    fn opens(&self, is_urgent: bool, now: Instant) -> Instant {
        let after = |index: usize, length| {
            let most = self.most[index] - if is_urgent { 0 } else { self.reserved[index] };
            let oldest = self.sent.len().checked_sub(most).and_then(|index| self.sent.get(index));
            oldest.map_or(now, |at| *at + length)
        };
        after(0, HOUR).max(after(1, MINUTE))
    }
}

fn summary(held: &[(Alert, u64)], total: u64) -> Alert {
    let line = |(alert, count): &(Alert, u64)| alert.clone().times(*count).line();
    let named: Vec<String> = held.iter().take(NAMED).map(line).collect();
    let told = held.iter().take(NAMED).fold(0, |sum: u64, (_, count)| sum.saturating_add(*count));
    let is_urgent = held.iter().any(|(alert, _)| alert.is_urgent());
    let rest = match total.saturating_sub(told) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    Alert::new(&format!("{total} more alerts"), &format!("{}{rest}", named.join("; ")))
        .outcome("They came faster than messages may be sent; the ledger has each of them.")
        .next("mantlet log -n 200")
        .urgent_if(is_urgent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(text: &str) -> Alert {
        Alert::new(text, "something")
    }

    fn second(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn ten_thousand_in_a_second_are_a_few_messages_and_one_sum() {
        let (mut limiter, start) = (Limiter::new(20, 5), Instant::now());
        let mut sent = 0;
        let mut first_held = 0;
        for number in 0..10_000 {
            match limiter.take(alert(&format!("file {number}")), start) {
                Verdict::Send(_) => sent += 1,
                Verdict::FirstHeld(_) => first_held += 1,
                Verdict::Held => {}
            }
        }
        assert_eq!((sent, first_held, limiter.held.len()), (3, 1, KEPT));
        assert_eq!(limiter.flush(second(start, 59)), None);
        let (sum, total) = limiter.flush(second(start, 60)).unwrap();
        assert_eq!(total, 9_997);
        assert_eq!(sum.line(), "9997 more alerts");
        assert!(sum.body().contains("file 3; file 4") && sum.body().contains("; and 9991 more"), "{}", sum.body());
        assert_eq!(limiter.flush(second(start, 600)), None);
    }

    #[test]
    fn the_same_again_is_one_message_that_counts() {
        let (mut limiter, start) = (Limiter::new(20, 5), Instant::now());
        assert!(matches!(limiter.take(alert("a"), start), Verdict::Send(_)));
        for _ in 0..9 {
            assert!(!matches!(limiter.take(alert("a"), start), Verdict::Send(_)));
        }
        let (sum, total) = limiter.flush(second(start, 61)).unwrap();
        assert_eq!((sum.line().as_str(), total), ("a (9 times)", 9));
        assert!(matches!(limiter.take(alert("a"), second(start, 200)), Verdict::Send(_)));
    }

    #[test]
    fn no_more_than_so_many_in_any_hour() {
        let (mut limiter, start) = (Limiter::new(20, 5), Instant::now());
        let mut times = Vec::new();
        for tick in 0..3 * 3600 {
            let now = second(start, tick);
            if matches!(limiter.take(alert(&format!("{tick}")), now), Verdict::Send(_)) {
                times.push(tick);
            }
            times.extend(limiter.flush(now).map(|_| tick));
        }
        for (index, at) in times.iter().enumerate() {
            let within = |length| times[index..].iter().take_while(|later| **later < at + length).count();
            assert!(within(3600) <= 20 && within(60) <= 5, "{times:?}");
        }
        // Control: it does not fall silent either.
        assert!(times.len() >= 40, "{times:?}");
    }

    #[test]
    fn a_flood_does_not_hold_up_what_is_urgent() {
        let (mut limiter, start) = (Limiter::new(20, 5), Instant::now());
        for hour in 0..3600 {
            for number in 0..3 {
                drop(limiter.take(alert(&format!("{hour} {number}")), second(start, hour)));
            }
            drop(limiter.flush(second(start, hour)));
        }
        let now = second(start, 3599);
        // Control: an ordinary one waits.
        assert!(!matches!(limiter.take(alert("ordinary"), now), Verdict::Send(_)));
        let urgent = |text: &str| alert(text).urgent_if(true);
        for number in 0..5 {
            assert!(matches!(limiter.take(urgent(&format!("urgent {number}")), now), Verdict::Send(_)), "{number}");
        }
        // As many as there may be, and not one more; and in what sums them up it comes first.
        assert_eq!(limiter.take(urgent("urgent 5"), now), Verdict::Held);
        let (sum, _) = limiter.close(now).unwrap();
        assert!(sum.body().starts_with("what: urgent 5; "), "{}", sum.body());
    }

    #[test]
    fn what_is_held_at_the_end_is_told() {
        let (mut limiter, now) = (Limiter::new(1, 1), Instant::now());
        for text in ["a", "b", "c"] {
            drop(limiter.take(alert(text), now));
        }
        assert_eq!(limiter.close(now).map(|(sum, total)| (sum.line(), total)), Some(("2 more alerts".into(), 2)));
        assert_eq!(limiter.close(now), None);
    }
}
