//! What can go wrong with the ledger, and what to do about it.

use std::path::PathBuf;

/// Why the ledger was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The directory was given by a relative path.
    #[error("the ledger's directory {path:?} is not absolute\nhint: set HOME or XDG_STATE_HOME to an absolute path")]
    Relative {
        /// The path as given.
        path: PathBuf,
    },
    /// The directory cannot be made, resolved, opened or examined.
    #[error("cannot {step} {path:?}, where the ledger goes: {source}")]
    Directory {
        /// What failed.
        step: &'static str,
        /// The path it failed at.
        path: PathBuf,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// The directory, or one above it, belongs to somebody else.
    #[error(
        "the ledger's place {path:?} belongs to uid {owner}, who could replace it\nhint: chown it, or set XDG_STATE_HOME to a directory of your own"
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Who owns it.
        owner: u32,
    },
    /// The directory, or one above it, can be written by others.
    #[error("the ledger's place {path:?} can be written by others\nhint: chmod go-w {path:?}")]
    Writable {
        /// The directory.
        path: PathBuf,
    },
    /// The directory lies in a workspace.
    #[error(
        "the ledger's directory {path:?} lies in the workspace {workspace:?}, where the agent could rewrite it\nhint: set XDG_STATE_HOME to a directory outside"
    )]
    InWorkspace {
        /// The directory.
        path: PathBuf,
        /// The workspace.
        workspace: PathBuf,
    },
    /// The file cannot be opened.
    #[error("cannot open the ledger {path:?}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// What is there is no ledger of ours: not a regular file, another owner, several names, or a loose mode.
    #[error("the ledger {path:?} cannot be trusted: {why}\nhint: move it away; a new one is made")]
    Untrusted {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// Why an entry was not appended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The entry cannot be put into JSON.
    #[error("cannot encode the entry: {0}")]
    Encode(#[from] serde_json::Error),
    /// The file cannot be opened again, read at its end, rotated or written.
    #[error("cannot append to the ledger {path:?}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// Only a part was written, as on a full disk, and was taken back.
    #[error("only {written} of {length} bytes went to the ledger {path:?}\nhint: free some disk space")]
    Short {
        /// The file.
        path: PathBuf,
        /// How much was written.
        written: usize,
        /// How much there was.
        length: usize,
    },
    /// It is longer than any entry may be.
    #[error("an entry of {length} bytes is too long for the ledger {path:?}")]
    TooLong {
        /// The file.
        path: PathBuf,
        /// How long it is.
        length: usize,
    },
    /// It is written, but not known to be on the disk.
    #[error("the ledger {path:?} is written, but did not reach the disk: {source}")]
    Sync {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// Somebody holds the lock and does not give it back: a writer that was stopped, or another program of the owner's.
    #[error(
        "the ledger {path:?} stayed locked for {seconds} seconds\nhint: find who holds it: fuser -v {path:?}; a stopped process goes on with kill -CONT"
    )]
    Locked {
        /// The file or directory.
        path: PathBuf,
        /// How long was waited.
        seconds: u64,
    },
    /// A checkpoint is due and cannot be signed.
    #[error("cannot sign the ledger {path:?}: {source}")]
    Sign {
        /// The file.
        path: PathBuf,
        /// What failed.
        source: std::io::Error,
    },
    /// The policy wants no command to run that could not be told of, and there is no room to tell.
    #[error(
        "there is no room for the ledger {path:?}: {source}\nhint: free some disk space, or set `full = \"run\"` in [ledger]"
    )]
    NoRoom {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: std::io::Error,
    },
}

impl AppendError {
    /// Whether the disk had no room for the entry, which a policy may take. Nothing else is that.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let full = [std::io::ErrorKind::StorageFull, std::io::ErrorKind::QuotaExceeded];
        match self {
            AppendError::Short { .. } => true,
            AppendError::Write { source, .. } | AppendError::NoRoom { source, .. } => full.contains(&source.kind()),
            _ => false,
        }
    }
}
