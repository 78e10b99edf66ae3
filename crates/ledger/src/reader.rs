//! Reads the ledger line by line. A damaged line is reported as such and never hides the ones after it.
//!
//! What it returns is as untrusted as what was written: escape it before showing it.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::Entry;

/// Why the ledger cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// There is none yet.
    #[error("no ledger at {path:?}: no command has run yet")]
    Missing {
        /// Where it would be.
        path: PathBuf,
    },
    /// The kernel refused.
    #[error("cannot read the ledger {path:?}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: std::io::Error,
    },
}

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    /// An entry.
    Entry(Box<Entry>),
    /// A line that is no entry this version understands.
    Unreadable {
        /// Its number, from 1.
        number: u64,
        /// Why.
        why: String,
    },
}

/// The lines of a ledger, oldest first.
#[derive(Debug)]
pub struct Reader {
    file: BufReader<File>,
    path: PathBuf,
    number: u64,
}

/// A longer line is damage: no writer of ours makes one, and it must not fill the reader's memory.
const LINE_MAX: u64 = 8 << 20;

impl Reader {
    /// Opens the ledger file.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn open(path: &Path) -> Result<Reader, ReadError> {
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY).bits();
        let flags = i32::from_ne_bytes(flags.to_ne_bytes());
        match File::options().read(true).custom_flags(flags).open(path) {
            Ok(file) => Ok(Reader { file: BufReader::new(file), path: path.into(), number: 0 }),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(ReadError::Missing { path: path.into() }),
            Err(source) => Err(ReadError::Read { path: path.into(), source }),
        }
    }

    fn read_line(&mut self) -> std::io::Result<Option<Line>> {
        loop {
            let mut text = Vec::new();
            let read = self.file.by_ref().take(LINE_MAX).read_until(b'\n', &mut text)?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            let number = self.number;
            if read as u64 == LINE_MAX && !text.ends_with(b"\n") {
                self.file.skip_until(b'\n')?;
                return Ok(Some(Line::Unreadable { number, why: format!("longer than {LINE_MAX} bytes") }));
            }
            let text = text.trim_ascii();
            // Two writers that repaired the same torn line leave an empty one between them.
            if text.is_empty() {
                continue;
            }
            return Ok(Some(match serde_json::from_slice::<Entry>(text) {
                Ok(entry) => Line::Entry(Box::new(entry)),
                Err(e) => Line::Unreadable { number, why: e.to_string() },
            }));
        }
    }
}

impl Iterator for Reader {
    type Item = Result<Line, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = self.read_line();
        let path = || self.path.clone();
        line.map_err(|source| ReadError::Read { path: path(), source }).transpose()
    }
}
