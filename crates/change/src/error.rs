//! Why a change was not made. Every variant says what to do about it.

use std::path::PathBuf;

use crate::EditError;

/// Why a change was not made, or not taken back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// A name that depends on the current directory.
    #[error("{0:?} is not an absolute path")]
    Relative(PathBuf),
    /// A link to nothing.
    #[error("{0:?} is a link to a file that is not there")]
    Dangling(PathBuf),
    /// Something on the way belongs to somebody else.
    #[error("{path:?} is not written: {at:?} belongs to user {uid}, who could put another file there")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What belongs to the other.
        at: PathBuf,
        /// The other.
        uid: u32,
    },
    /// Others can write a directory on the way.
    #[error("{path:?} is not written: other users can write {at:?}")]
    Open {
        /// The file.
        path: PathBuf,
        /// The directory.
        at: PathBuf,
    },
    /// A file that cannot be edited as text.
    #[error("{0:?} is no text file of at most 8 MiB")]
    NotText(PathBuf),
    /// A directory, a device, or too much to be written down before it changes.
    #[error("{0:?} is no file of at most 64 MiB")]
    NotAFile(PathBuf),
    /// The room's records are sealed, or hold a database, and what opens them failed.
    #[error("{path:?}: {source}")]
    Lent {
        /// The file.
        path: PathBuf,
        /// What was lent says why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file changed between looking and writing.
    #[error("{0:?} has changed meanwhile")]
    Meanwhile(PathBuf),
    /// The file's content is in the way.
    #[error("{path:?}: {source}")]
    Edit {
        /// The file.
        path: PathBuf,
        /// What is in the way.
        source: EditError,
    },
    /// A file of that name that is not ours.
    #[error("{0:?} exists already, and is not Mantlet's")]
    Exists(PathBuf),
    /// Another install is at work.
    #[error("another install or uninstall is at work")]
    Locked,
    /// The journal cannot be understood.
    #[error("the journal {path:?} cannot be read: {why}")]
    Journal {
        /// Its file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The kernel refused.
    #[error("cannot {step} {path:?}: {source}")]
    Io {
        /// What was tried.
        step: &'static str,
        /// On which path.
        path: PathBuf,
        /// The kernel's answer.
        source: std::io::Error,
    },
}

impl ChangeError {
    /// Returns what to do about it.
    pub fn hint(&self) -> String {
        match self {
            ChangeError::Relative(_) => "set HOME and the client's directory variables to absolute paths".into(),
            ChangeError::Dangling(_) => "remove the link, or make the file it names".into(),
            ChangeError::Foreign { .. } => "run this as the user whose settings they are".into(),
            ChangeError::Open { at, .. } => format!("chmod go-w {}", quoted(at)),
            ChangeError::NotText(_) | ChangeError::NotAFile(_) => "look what it is, and move it away".into(),
            ChangeError::Meanwhile(_) | ChangeError::Locked => "call again".into(),
            ChangeError::Edit { .. } => "correct the file by hand and call again; nothing was written".into(),
            ChangeError::Lent { .. } => "remove the cause and call again; the record holds the way back".into(),
            ChangeError::Exists(_) => "move it away and call again".into(),
            ChangeError::Journal { path, .. } => {
                format!("it holds the way back; compare it with the files it names, then remove {path:?}")
            }
            ChangeError::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                "run this as the owner of that file; for files of the machine, as root".into()
            }
            ChangeError::Io { .. } => "remove the cause and call again".into(),
        }
    }
}

/// A path as a shell reads it.
fn quoted(path: &std::path::Path) -> String {
    format!("'{}'", mantlet_ledger::escape(path.to_string_lossy().replace('\'', "'\\''").as_bytes()))
}
