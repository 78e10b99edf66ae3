//! Changes to the files of a client: planned, shown, backed up, applied, verified, and taken back byte for byte.
//!
//! A plan is data. [`Journal`] compares it with the files, writes down what it is going to do, does it, and replays
//! that backwards. It writes the files of a plan and its own records, and nothing else.
#![forbid(unsafe_code)]

pub mod canary;
mod error;
mod install;
mod journal;
mod json;
mod json_edit;
mod lent;
mod op;
mod place;
mod plan;
mod said;
#[cfg(test)]
mod sealed_tests;
pub mod seams;
#[cfg(test)]
mod tests;
mod toml_text;

pub use error::ChangeError;
pub use install::{Listed, Notes, Prepared};
pub use journal::{Journal, Record, Seen, Verified, changes_dir, peek, standing};
pub use lent::{Lent, LentError, Row};
pub use op::{EditError, Format, Op, Undo, apply, take_back, value};
pub use plan::{Change, Content, FilePlan, Level, Plan};

/// Between two steps on the disk: where a test kills the process.
fn point() {
    #[cfg(test)]
    tests::point();
}
