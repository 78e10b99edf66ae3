//! How much has passed in this run, against the policy's budgets. No I/O.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::decision::{Allowed, Given, Reason};
use crate::http::web;
use crate::name::HostName;
use crate::rules::Rules;

/// As many new names under wildcards and `web` as may be asked for in a day, when the policy says nothing.
const MOST_NAMES: u64 = 500;
/// As many bits that look random as those names may have together in a day, and as a reader may tell one host in an hour.
const MOST_BITS: u64 = 16 * 1024;
const HOUR: Duration = Duration::from_secs(3600);
/// As many hosts as are counted for readers; beyond them all are full until the hour is over.
const MOST_HOSTS: usize = 10_000;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Up,
    Down,
}

#[derive(Debug, Default)]
struct Counter {
    up: AtomicU64,
    down: AtomicU64,
    requests: AtomicU64,
}

/// All counters of a run. They outlive the rules: a reload gives nothing back.
#[derive(Debug, Default)]
pub(crate) struct Budgets {
    counters: Mutex<HashMap<String, Arc<Counter>>>,
    names: Mutex<Names>,
}

#[derive(Debug)]
struct Names {
    /// All of this run.
    seen: HashSet<HostName>,
    /// Since when the next two count.
    day: Instant,
    new: u64,
    bits: u64,
    /// Since when the last one counts.
    hour: Instant,
    read_bits: HashMap<HostName, u64>,
}

impl Default for Names {
    fn default() -> Self {
        let now = Instant::now();
        let (seen, read_bits) = Default::default();
        Names { seen, day: now, new: 0, bits: 0, hour: now, read_bits }
    }
}

impl Names {
    /// Begins a new day or hour when the last one is over: an agent that runs for weeks is not stopped by its first ones.
    fn roll(&mut self, now: Instant) {
        if now.duration_since(self.day) >= 24 * HOUR {
            (self.day, self.new, self.bits) = (now, 0, 0);
        }
        if now.duration_since(self.hour) >= HOUR {
            self.hour = now;
            self.read_bits.clear();
        }
    }
}

/// The counters that one connection draws on, with their limits.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meter(Vec<(Arc<Counter>, Option<u64>, Option<u64>)>);

impl Meter {
    /// Counts bytes that pass.
    pub(crate) fn add(&self, direction: Direction, bytes: u64) -> Result<(), Reason> {
        for (counter, up, down) in &self.0 {
            let (count, limit, what) = match direction {
                Direction::Up => (&counter.up, up, "bytes outwards"),
                Direction::Down => (&counter.down, down, "bytes inwards"),
            };
            let total = count.fetch_add(bytes, Relaxed).saturating_add(bytes);
            if limit.is_some_and(|limit| total > limit) {
                return Err(Reason::Budget(what.into()));
            }
        }
        Ok(())
    }
}

impl Budgets {
    /// Admits a connection or request: counts it, and its name when that is a new one.
    pub(crate) fn admit(&self, rules: &Rules, allowed: &Allowed) -> Result<Meter, Reason> {
        self.admit_name(rules, allowed)?;
        let mut meter = Meter::default();
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        let name = &allowed.endpoint.name;
        for budget in rules.budgets(name) {
            let key = budget.host.clone().unwrap_or_default();
            let counter = counters.entry(key).or_default();
            if budget.requests.is_some_and(|limit| counter.requests.load(Relaxed) >= limit) {
                return Err(Reason::Budget("requests".into()));
            }
            let is_over =
                |count: &AtomicU64, limit: Option<u64>| limit.is_some_and(|limit| count.load(Relaxed) >= limit);
            if is_over(&counter.up, budget.upload) {
                return Err(Reason::Budget("bytes outwards".into()));
            }
            if is_over(&counter.down, budget.download) {
                return Err(Reason::Budget("bytes inwards".into()));
            }
            meter.0.push((Arc::clone(counter), budget.upload, budget.download));
        }
        // Counted only when all of them agree.
        for (counter, _, _) in &meter.0 {
            counter.requests.fetch_add(1, Relaxed);
        }
        Ok(meter)
    }

    fn admit_name(&self, rules: &Rules, allowed: &Allowed) -> Result<(), Reason> {
        if allowed.given == Given::ByName {
            return Ok(());
        }
        let name = &allowed.endpoint.name;
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if names.seen.contains(name) {
            return Ok(());
        }
        let bits = u64::from(web::new_name(name).map_err(Reason::Request)?);
        names.roll(Instant::now());
        let limits = rules.budgets(name).filter_map(|budget| Some((budget.host.as_deref(), budget.names?)));
        let limits: Vec<(Option<&str>, u64)> = limits.collect();
        let is_said = !limits.is_empty();
        for (host, limit) in limits {
            let counted = names.seen.iter().filter(|seen| covers(host, seen)).count();
            if counted as u64 >= limit {
                return Err(Reason::Budget("different names".into()));
            }
        }
        if !is_said && names.new >= MOST_NAMES {
            return Err(Reason::Budget("different names in a day".into()));
        }
        if names.bits + bits > MOST_BITS {
            return Err(Reason::Budget("names that look random in a day".into()));
        }
        names.new += 1;
        names.bits += bits;
        names.seen.insert(name.clone());
        Ok(())
    }

    /// Counts what a reader tells a host.
    pub(crate) fn read(&self, name: &HostName, bits: u32) -> Result<(), Reason> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.roll(Instant::now());
        if names.read_bits.len() >= MOST_HOSTS && !names.read_bits.contains_key(name) {
            return Err(Reason::Budget("hosts to read in an hour".into()));
        }
        let told = names.read_bits.entry(name.clone()).or_default();
        *told += u64::from(bits);
        match *told > MOST_BITS {
            true => Err(Reason::Budget("what looks random in an hour's requests to this host".into())),
            false => Ok(()),
        }
    }
}

fn covers(host: Option<&str>, name: &HostName) -> bool {
    match host.map(|host| (host, host.strip_prefix('*'))) {
        None => true,
        Some((_, Some(rest))) => name.as_str().len() > rest.len() && name.as_str().ends_with(rest),
        Some((host, None)) => name.as_str() == host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::Decision;
    use crate::rules::tests::{endpoint, rules};

    fn allowed(rules: &Rules, text: &str) -> Allowed {
        match rules.decide(&endpoint(text)) {
            Decision::Allow(allowed) => allowed,
            Decision::Deny(denial) => panic!("{denial}"),
        }
    }

    #[test]
    fn bytes_and_requests_are_counted_per_host_and_for_all() {
        let rules = rules(
            "builder",
            "allow = [\"a.test\", \"b.test\"]\nbudget = [{ host = \"a.test\", upload = \"10B\", requests = 3 }, { download = \"100B\" }]",
        );
        let budgets = Budgets::default();
        let a = allowed(&rules, "a.test:443");
        let meter = budgets.admit(&rules, &a).unwrap();
        assert_eq!(meter.add(Direction::Up, 10), Ok(()));
        assert!(meter.add(Direction::Up, 1).is_err(), "the eleventh byte");
        assert!(budgets.admit(&rules, &a).is_err());
        let b = budgets.admit(&rules, &allowed(&rules, "b.test:443")).unwrap();
        assert_eq!(b.add(Direction::Up, 1000), Ok(()));
        assert!(b.add(Direction::Down, 101).is_err());
        assert!(budgets.admit(&rules, &allowed(&rules, "b.test:443")).is_err(), "the whole agent's");
    }

    #[test]
    fn new_names_below_a_wildcard_are_counted_once_each() {
        let rules =
            rules("builder", "allow = [\"*.a.test\", \"b.test\"]\nbudget = [{ host = \"*.a.test\", names = 2 }]");
        let budgets = Budgets::default();
        for host in ["x.a.test:443", "y.a.test:443", "x.a.test:443", "b.test:443"] {
            assert!(budgets.admit(&rules, &allowed(&rules, host)).is_ok(), "{host}");
        }
        assert!(budgets.admit(&rules, &allowed(&rules, "z.a.test:443")).is_err());
        assert!(budgets.admit(&rules, &allowed(&rules, "y.a.test:443")).is_ok());
    }

    #[test]
    fn names_that_look_random_are_few() {
        let rules = rules("builder", "allow = [\"*.a.test\"]");
        let budgets = Budgets::default();
        let mut dice = crate::testing::Dice::new(23);
        let mut admitted = 0;
        for _ in 0..1000 {
            let label: String =
                (0..28).map(|_| char::from(b"abcdefghijklmnopqrstuvwxyz234567"[dice.below(32)])).collect();
            let admit = budgets.admit(&rules, &allowed(&rules, &format!("{label}.a.test:443")));
            admitted += usize::from(admit.is_ok());
        }
        assert!((1..=200).contains(&admitted), "{admitted}");
    }

    #[test]
    fn a_new_day_begins_without_the_counts_of_the_last() {
        let mut names = Names { new: 5, bits: 7, ..Names::default() };
        let name = endpoint("a.test:1").name;
        names.seen.insert(name.clone());
        names.read_bits.insert(name, 9);
        names.roll(names.day + HOUR);
        assert_eq!((names.new, names.bits, names.read_bits.len(), names.seen.len()), (5, 7, 0, 1));
        names.roll(names.day + 24 * HOUR);
        assert_eq!((names.new, names.bits, names.seen.len()), (0, 0, 1));
    }
}
