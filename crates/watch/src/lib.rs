//! Protected files against a signed baseline: what changes is noticed, undone and said.
//!
//! No network, no processes, no async. One `sys` module holds what the kernel offers no safe wrapper for.
#![deny(unsafe_code)]

mod accept;
mod baseline;
mod check;
mod content;
mod error;
mod fan;
mod kept;
mod look;
mod options;
mod pace;
mod place;
mod record;
mod report;
mod say;
mod spots;
mod standing;
mod state;
mod status;
mod store;
mod sweep;
mod sys;
mod text;
mod told;
mod undo;
mod verdict;
mod watch;
mod watches;
mod ways;

pub use accept::{Diff, content_hash};
pub use baseline::BaselineError;
pub use content::{Content, ContentError, Difference, Restored, Whole};
pub use error::Error;
pub use options::{Escalation, Options};
pub use place::{Compare, Place, PlaceError, PlaceKind};
pub use report::{Notice, Report, Status};
pub use state::StateError;
pub use watch::Watch;
