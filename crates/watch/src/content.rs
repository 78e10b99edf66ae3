//! How the content of a place is compared where not every byte of it matters: implemented by the top floor, which knows
//! what settings mean. Nothing here reads a file.

use std::path::{Path, PathBuf};

/// How the content of a place is compared where not every byte of it matters.
pub trait Content: Send {
    /// Whether this judge knows the place (else it is compared whole).
    fn knows(&self, path: &Path) -> bool;
    /// What of the file matters, in a canonical form to keep in the baseline. `None`: nothing there that matters.
    ///
    /// # Errors
    /// When the file cannot be read as what it should be; it is then as tampered with.
    fn snapshot(&self, path: &Path, file: &std::fs::File) -> Result<Option<Vec<u8>>, ContentError>;
    /// Compares a snapshot of the baseline with what was found. A snapshot that was `None`, or of a file that was not
    /// there, is handed in empty.
    fn compare(&self, path: &Path, baseline: &[u8], found: &[u8]) -> Difference;
    /// Puts the baseline's values back into the place, leaving the rest as it was found; atomically.
    /// Returns the new whole content for an ordinary file (the caller replaces it), or says that it was done in place
    /// (databases).
    ///
    /// # Errors
    /// When that cannot be done; the last good copy is then put back whole.
    fn restore(&self, path: &Path, baseline: &[u8], found: &std::fs::File) -> Result<Restored, ContentError>;
    /// What changes in the place of the file: a database is written into the log beside it, and keeps its own bytes for
    /// long. Equal bytes of such a file say nothing.
    fn beside(&self, _path: &Path) -> Vec<PathBuf> {
        Vec::new()
    }
    /// Whether an earlier copy may take the place of the file. That of a database may not, while its client has it open or
    /// a log lies beside it: the two would be of different times, and the database broken.
    fn may_be_replaced(&self, _path: &Path) -> bool {
        true
    }
}

/// What a comparison of two snapshots found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Difference {
    /// Nothing that matters differs.
    Same,
    /// These keys differ, and may.
    Accepted {
        /// Their names, never their values.
        keys: Vec<String>,
    },
    /// These keys differ, and must not.
    Tampered {
        /// Their names, never their values.
        keys: Vec<String>,
    },
}

/// How values were put back.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Restored {
    /// This is the file's new content; the caller replaces the file.
    Content(Vec<u8>),
    /// The file was changed as it stands.
    InPlace,
}

/// Why a judge cannot say, or cannot put back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ContentError(String);

impl ContentError {
    /// Makes one from what is wrong.
    pub fn new(why: impl Into<String>) -> ContentError {
        ContentError(why.into())
    }
}

/// Knows no place: everything is compared whole.
#[derive(Debug, Clone, Copy, Default)]
pub struct Whole;

impl Content for Whole {
    fn knows(&self, _: &Path) -> bool {
        false
    }

    fn snapshot(&self, _: &Path, _: &std::fs::File) -> Result<Option<Vec<u8>>, ContentError> {
        Err(ContentError::new("nothing is judged here"))
    }

    fn compare(&self, _: &Path, _: &[u8], _: &[u8]) -> Difference {
        Difference::Tampered { keys: Vec::new() }
    }

    fn restore(&self, _: &Path, _: &[u8], _: &std::fs::File) -> Result<Restored, ContentError> {
        Err(ContentError::new("nothing is judged here"))
    }
}
