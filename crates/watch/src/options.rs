//! How a watch works: where its state is, how often it looks, what it does with somebody who keeps trying. Values only.

use std::path::PathBuf;
use std::time::Duration;

/// How a watch works.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// Where baseline, key, copies and quarantine are: 0700, below the owner's state directory.
    pub state: PathBuf,
    /// How often every place is looked at without being read. Rarer where that would take more than about half a percent
    /// of one processor, which is from some hundred paths on.
    pub sweep: Duration,
    /// How often everything is read and hashed.
    pub rescan: Duration,
    /// The largest file of which a copy is kept, so that it can be put back.
    pub copy_max: u64,
    /// How many items the quarantine holds; the oldest go first.
    pub kept_items: usize,
    /// How many bytes it holds.
    pub kept_bytes: u64,
    /// How often within `within` a place is put back before the next step is taken.
    pub tries: usize,
    /// See `tries`.
    pub within: Duration,
    /// What is done, step by step, against somebody who keeps trying.
    pub escalation: Vec<Escalation>,
    /// How long a place is left alone after each step and after the last one, so that undoing cannot be made to take the
    /// whole machine. What was done meanwhile is undone then.
    pub pause: Duration,
    /// How long a judged file that somebody has open for writing is left to its writer, who may have truncated it and not
    /// written it yet. Without that, what an owner's program saves would be undone half-way, and lost.
    pub patience: Duration,
    /// How many entries of changes are handed out in a second; further ones are counted, and told later.
    pub told_per_second: usize,
}

/// One step against somebody who keeps trying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escalation {
    /// The place is made unchangeable: `chattr +i` with the privilege, else without any right to write.
    Lock,
    /// The caller is asked to stop everything.
    Halt,
}

impl Options {
    /// The defaults, with the state in `state`.
    pub fn new(state: PathBuf) -> Options {
        const MIB: u64 = 1024 * 1024;
        Options {
            state,
            sweep: Duration::from_millis(100),
            rescan: Duration::from_secs(600),
            copy_max: 16 * MIB,
            kept_items: 256,
            kept_bytes: 256 * MIB,
            tries: 20,
            within: Duration::from_secs(10),
            escalation: vec![Escalation::Lock, Escalation::Halt],
            pause: Duration::from_secs(1),
            patience: Duration::from_millis(50),
            told_per_second: 50,
        }
    }
}
