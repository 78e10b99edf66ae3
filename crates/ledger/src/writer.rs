//! Appends entries, each in a single write(2), so that processes need no lock between them.
//!
//! It writes one file below the owner's state directory and nothing else. No fsync per entry: it sits on the path
//! of every command, and a crash of the machine may cost the last lines, never the earlier ones.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, SeekFrom};
use rustix::process::geteuid;

use crate::Entry;
use crate::place::{FILE_NAME, open_dir};

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
    /// The file cannot be read at its end, or written.
    #[error("cannot append to the ledger {path:?}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// Only a part was written, as on a full disk. The next writer repairs the torn line.
    #[error("only {written} of {length} bytes went to the ledger {path:?}\nhint: free some disk space")]
    Short {
        /// The file.
        path: PathBuf,
        /// How much was written.
        written: usize,
        /// How much there was.
        length: usize,
    },
    /// Other writers' torn lines swallowed every attempt.
    #[error("the ledger {path:?} kept being torn by other writers")]
    Torn {
        /// The file.
        path: PathBuf,
    },
}

/// The ledger, open for appending.
#[derive(Debug)]
pub struct Writer {
    file: OwnedFd,
    path: PathBuf,
}

impl Writer {
    /// Opens the ledger in `dir` (see [`crate::ledger_dir`]), making what is missing: directories 0700, file 0600.
    ///
    /// # Errors
    /// When the place belongs to somebody else, can be written by others, or lies in one of `workspaces`.
    pub fn open(dir: &Path, workspaces: &[&Path]) -> Result<Writer, OpenError> {
        let (dir_fd, dir) = open_dir(dir, workspaces)?;
        let path = dir.join(FILE_NAME);
        // NOFOLLOW: a planted symlink would send the evidence elsewhere. NONBLOCK: a planted FIFO would hang us.
        let flags = OFlags::RDWR
            | OFlags::APPEND
            | OFlags::CREATE
            | OFlags::NOFOLLOW
            | OFlags::NONBLOCK
            | OFlags::NOCTTY
            | OFlags::CLOEXEC;
        let failed = |source: rustix::io::Errno| OpenError::File { path: path.clone(), source: source.into() };
        let file = rustix::fs::openat(&dir_fd, FILE_NAME, flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
        let stat = rustix::fs::fstat(&file).map_err(failed)?;
        let why = if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            Some("it is not a regular file")
        } else if stat.st_uid != geteuid().as_raw() {
            Some("another user owns it")
        } else if stat.st_nlink != 1 {
            Some("it has a second name (hard link)")
        } else if stat.st_mode & 0o077 != 0 {
            Some("others may read or write it")
        } else {
            None
        };
        match why {
            Some(why) => Err(OpenError::Untrusted { path, why }),
            None => Ok(Writer { file, path }),
        }
    }

    /// Returns the file that is written.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends one entry as one line.
    ///
    /// # Errors
    /// When the entry is not, or not wholly, in the file. What was there before is intact in every case.
    pub fn append(&mut self, entry: &Entry) -> Result<(), AppendError> {
        const ATTEMPTS: usize = 8;
        let mut line = vec![b'\n'];
        serde_json::to_writer(&mut line, entry)?;
        line.push(b'\n');
        for _ in 0..ATTEMPTS {
            if self.append_line(&line)? {
                return Ok(());
            }
        }
        Err(AppendError::Torn { path: self.path.clone() })
    }

    /// Writes `line`, which begins and ends with a newline, and says whether it stands on a line of its own.
    fn append_line(&self, line: &[u8]) -> Result<bool, AppendError> {
        let failed = |source: rustix::io::Errno| AppendError::Write { path: self.path.clone(), source: source.into() };
        // A writer that died in the middle left a torn line: the leading newline keeps it from swallowing ours.
        let end = rustix::fs::seek(&self.file, SeekFrom::End(0)).map_err(failed)?;
        let is_torn = !self.is_line_start(end).map_err(failed)?;
        let text = if is_torn { line } else { line.get(1..).unwrap_or(line) };
        let written = rustix::io::write(&self.file, text).map_err(failed)?;
        if written < text.len() {
            return Err(AppendError::Short { path: self.path.clone(), written, length: text.len() });
        }
        // O_APPEND moved the offset to the end of what was written. Another writer may have torn its line between
        // the look and the write: then ours is glued to it, and is written once more.
        let after = rustix::fs::seek(&self.file, SeekFrom::Current(0)).map_err(failed)?;
        let start = after.saturating_sub(text.len() as u64);
        if is_torn { Ok(true) } else { self.is_line_start(start).map_err(failed) }
    }

    fn is_line_start(&self, offset: u64) -> rustix::io::Result<bool> {
        let Some(before) = offset.checked_sub(1) else {
            return Ok(true);
        };
        let mut byte = [0];
        let read = rustix::io::pread(&self.file, &mut byte, before)?;
        Ok(read == 1 && byte == *b"\n")
    }
}
