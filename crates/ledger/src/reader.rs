//! Reads the ledger line by line. A damaged line is reported as such and never hides the ones after it.
//!
//! What it returns is as untrusted as what was written: escape it before showing it.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
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
    /// What was read of a line whose end is not there yet.
    begun: Vec<u8>,
    /// How much was read.
    place: u64,
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
            Ok(file) => {
                Ok(Reader { file: BufReader::new(file), path: path.into(), number: 0, begun: Vec::new(), place: 0 })
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(ReadError::Missing { path: path.into() }),
            Err(source) => Err(ReadError::Read { path: path.into(), source }),
        }
    }

    /// The next line, be it the last and without its end.
    pub(crate) fn read_line(&mut self) -> std::io::Result<Option<Line>> {
        match self.next_whole()? {
            None if self.begun.is_empty() => Ok(None),
            None => {
                self.number += 1;
                Ok(self.line())
            }
            line => Ok(line),
        }
    }

    /// The next line that has its end; what there is of one that has none yet waits for the rest.
    pub(crate) fn next_whole(&mut self) -> std::io::Result<Option<Line>> {
        loop {
            let room = LINE_MAX.saturating_sub(self.begun.len() as u64);
            let read = self.file.by_ref().take(room).read_until(b'\n', &mut self.begun)?;
            self.place += read as u64;
            let is_long = self.begun.len() as u64 == LINE_MAX;
            if !self.begun.ends_with(b"\n") && !is_long {
                return Ok(None);
            }
            self.number += 1;
            if is_long && !self.begun.ends_with(b"\n") {
                self.place += self.file.skip_until(b'\n')? as u64;
                self.begun.clear();
                let why = format!("longer than {LINE_MAX} bytes");
                return Ok(Some(Line::Unreadable { number: self.number, why }));
            }
            // Two writers that repaired the same torn line leave an empty one between them.
            if let Some(line) = self.line() {
                return Ok(Some(line));
            }
        }
    }

    /// What was read of the line, as a line; nothing when it is empty.
    fn line(&mut self) -> Option<Line> {
        let text = std::mem::take(&mut self.begun);
        let text = text.trim_ascii();
        (!text.is_empty()).then(|| match serde_json::from_slice::<Entry>(text) {
            Ok(entry) => Line::Entry(Box::new(entry)),
            Err(e) => Line::Unreadable { number: self.number, why: e.to_string() },
        })
    }

    /// Whether it reads the file with this identity.
    pub(crate) fn is_file(&self, dev: u64, ino: u64) -> std::io::Result<bool> {
        let meta = self.file.get_ref().metadata()?;
        Ok((meta.dev(), meta.ino()) == (dev, ino))
    }

    /// Whether the file has become shorter than what was read of it.
    pub(crate) fn is_cut(&self) -> std::io::Result<bool> {
        Ok(self.file.get_ref().metadata()?.len() < self.place)
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
