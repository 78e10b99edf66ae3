//! Landlock on top of the mounts: the same tree, and every scope the running kernel has.
//!
//! It survives a mistake in the mounts, and refuses reopening through /proc/self/fd what lies outside.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, Scope,
};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// What a place may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// List names only.
    List,
    /// Read and execute.
    Read,
    /// Everything but making devices.
    Write,
}

/// The newest ABI this was written for. Rights a kernel does not know are left out, never those it does.
const NEWEST: ABI = ABI::V9;

fn rights(usage: Use, is_dir: bool) -> BitFlags<AccessFs> {
    let all = match usage {
        Use::List => AccessFs::ReadDir.into(),
        Use::Read => AccessFs::from_read(NEWEST) | AccessFs::IoctlDev,
        Use::Write => AccessFs::from_all(NEWEST) & !(AccessFs::MakeChar | AccessFs::MakeBlock),
    };
    if is_dir { all } else { all & AccessFs::from_file(NEWEST) }
}

/// Restricts this process and all it will start to `places`. One that is not there, or out of the caller's own reach,
/// grants nothing.
///
/// # Errors
/// When the kernel refuses a rule; a place that cannot be opened for another reason is an error too.
pub(crate) fn restrict<'a>(places: impl Iterator<Item = (&'a Path, Use)>) -> Result<(), LandlockError> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .scope(Scope::AbstractUnixSocket | Scope::Signal)?
        .create()?;
    for (path, usage) in places {
        let fd = match open_path(path) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => continue,
            opened => opened.map_err(|e| LandlockError::Place(path.to_owned(), e))?,
        };
        let is_dir = rustix::fs::fstat(&fd)
            .map(|s| rustix::fs::FileType::from_raw_mode(s.st_mode).is_dir())
            .map_err(|e| LandlockError::Place(path.to_owned(), e))?;
        ruleset = ruleset.add_rule(PathBeneath::new(fd.as_fd(), rights(usage, is_dir)))?;
    }
    let status = ruleset.restrict_self()?;
    if status.ruleset == landlock::RulesetStatus::NotEnforced {
        return Err(LandlockError::NotEnforced);
    }
    Ok(())
}

fn open_path(path: &Path) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

/// Why Landlock could not be applied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LandlockError {
    #[error("landlock rule for {0:?}: {1}")]
    Place(std::path::PathBuf, Errno),
    #[error("landlock: {0}")]
    Ruleset(#[from] RulesetError),
    #[error("landlock is not enforced by this kernel")]
    NotEnforced,
}
