//! Why a watch cannot work.

use std::path::PathBuf;

use crate::baseline::BaselineError;
use crate::place::PlaceError;
use crate::state::StateError;

/// Why a watch cannot work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A place cannot be protected.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The state directory cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The baseline is refused.
    #[error(transparent)]
    Baseline(#[from] BaselineError),
    /// The kernel refuses what noticing needs.
    #[error("cannot {step}: {source}")]
    Kernel {
        /// What was tried.
        step: &'static str,
        /// Its answer.
        source: std::io::Error,
    },
    /// What was to be accepted is no protected place.
    #[error("{path:?} is no protected place, and not below one")]
    Unknown {
        /// The path.
        path: PathBuf,
    },
    /// It cannot be looked at.
    #[error("cannot look at {path:?}: {why}")]
    Look {
        /// The path.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// What stands there is not what was shown.
    #[error("{path:?} is not what was shown: it has changed meanwhile, and nothing was accepted\nhint: look again")]
    Changed {
        /// The path.
        path: PathBuf,
    },
}
