//! Reads the ledger line by line. A damaged line is reported as such and never hides the ones after it.
//!
//! What it returns is as untrusted as what was written: escape it before showing it.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::Entry;
use crate::segment;

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

/// The lines of a segment, oldest first.
pub struct Reader {
    text: BufReader<Box<dyn Read>>,
    /// What they are read from, for its metadata.
    file: File,
    path: PathBuf,
    number: u64,
    /// What was read of a line whose end is not there yet.
    begun: Vec<u8>,
    /// How much was read.
    place: u64,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The files of the ledger in a directory, oldest first, the one that is written last.
///
/// # Errors
/// When the directory is not there, or cannot be read.
pub fn segments(dir: &Path) -> Result<Vec<PathBuf>, ReadError> {
    match segment::all(dir) {
        Ok(all) => Ok(all.into_iter().map(|segment| segment.path).collect()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(ReadError::Missing { path: dir.into() }),
        Err(source) => Err(ReadError::Read { path: dir.into(), source }),
    }
}

/// A longer line is damage: no writer of ours makes one, and it must not fill the reader's memory.
const LINE_MAX: u64 = 8 << 20;

impl Reader {
    /// Opens a segment; one whose name ends in `.gz` is decompressed as it is read.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn open(path: &Path) -> Result<Reader, ReadError> {
        match Reader::open_file(path) {
            Ok(reader) => Ok(reader),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(ReadError::Missing { path: path.into() }),
            Err(source) => Err(ReadError::Read { path: path.into(), source }),
        }
    }

    fn open_file(path: &Path) -> std::io::Result<Reader> {
        let file = segment::open(path)?;
        let text = BufReader::new(segment::text(file.try_clone()?, path));
        Ok(Reader { text, file, path: path.into(), number: 0, begun: Vec::new(), place: 0 })
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
            let read = self.text.by_ref().take(room).read_until(b'\n', &mut self.begun)?;
            self.place += read as u64;
            let is_long = self.begun.len() as u64 == LINE_MAX;
            if !self.begun.ends_with(b"\n") && !is_long {
                return Ok(None);
            }
            self.number += 1;
            if is_long && !self.begun.ends_with(b"\n") {
                self.place += self.text.skip_until(b'\n')? as u64;
                self.begun.clear();
                let why = format!("longer than {LINE_MAX} bytes");
                return Ok(Some(Line::Unreadable { number: self.number, why }));
            }
            // Of before the chain: two writers that repaired the same torn line left an empty one between them.
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
        let meta = self.file.metadata()?;
        Ok((meta.dev(), meta.ino()) == (dev, ino))
    }

    /// Whether the file has become shorter than what was read of it.
    pub(crate) fn is_cut(&self) -> std::io::Result<bool> {
        Ok(self.file.metadata()?.len() < self.place)
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
