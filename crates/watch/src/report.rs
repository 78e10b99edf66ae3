//! What a watch tells its caller: changes, that somebody keeps trying, and what is not as it was asked for.

use std::path::{Path, PathBuf};

use mantlet_ledger::Change;

/// Who is told.
pub trait Report {
    /// A protected place differed, and what became of it.
    fn change(&mut self, change: Change);
    /// Somebody kept trying after every other step: the caller should stop everything (see [`crate::Escalation::Halt`]).
    fn halt(&mut self, path: &Path, tries: u64);
    /// Something about the watch itself.
    fn notice(&mut self, notice: Notice);
}

/// Something about the watch itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// There was no baseline: what stands there now has become it. Whether that was right, nobody has said.
    Made {
        /// How many paths.
        paths: usize,
    },
    /// Places that the baseline did not know were added, as they stand.
    Added {
        /// Their real paths.
        paths: Vec<PathBuf>,
    },
    /// The kernel's queue of events overflowed: everything is looked at again.
    Overflow,
    /// The clock was set: nothing that was known by times counts any more.
    ClockSet,
    /// These are not watched for events, only looked at by interval: no right to read them, or too many watches.
    Unwatched {
        /// How many.
        count: usize,
        /// Some of them.
        some: Vec<PathBuf>,
    },
    /// Files above the largest size that is kept, or that may not be read: changes are reported, and cannot be undone.
    Uncopied {
        /// How many.
        count: usize,
        /// Some of them.
        some: Vec<PathBuf>,
    },
    /// The baseline could not be written.
    Unsigned {
        /// Why.
        why: String,
    },
}

/// What a watch holds at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Paths in the baseline.
    pub paths: usize,
    /// Inodes that are watched for events.
    pub watched: usize,
    /// Paths that could not be.
    pub unwatched: Vec<PathBuf>,
    /// Whether culprits are named.
    pub names_culprits: bool,
    /// How often something was undone.
    pub undone: u64,
    /// Paths that differ and stand, because the privilege does not suffice.
    pub standing: Vec<PathBuf>,
    /// Paths that are locked against somebody who kept trying.
    pub locked: Vec<PathBuf>,
    /// How often the queue overflowed.
    pub overflows: u64,
    /// How often everything was read.
    pub rescans: u64,
    /// The Ed25519 public key of the baseline, in hex.
    pub key: String,
}
