//! Reads a ledger that is still written: whole lines only, also when the file is made later, cut, or another takes its place.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::reader::{Line, ReadError, Reader};

/// A ledger that is followed as it grows.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    reader: Option<Reader>,
}

impl Follower {
    /// Follows the ledger at `path`, from its first line.
    pub fn new(path: &Path) -> Follower {
        Follower { path: path.into(), reader: None }
    }

    /// Returns the next line; nothing when there is none now.
    ///
    /// # Errors
    /// When there is a ledger that cannot be read.
    pub fn next_line(&mut self) -> Result<Option<Line>, ReadError> {
        loop {
            let Some(reader) = &mut self.reader else {
                match Reader::open(&self.path) {
                    Ok(reader) => self.reader = Some(reader),
                    Err(ReadError::Missing { .. }) => return Ok(None),
                    Err(error) => return Err(error),
                }
                continue;
            };
            let failed = |source| ReadError::Read { path: self.path.clone(), source };
            // Looked at before the read: what the old file got until it was replaced is still read.
            let is_same = match std::fs::symlink_metadata(&self.path) {
                Ok(meta) => reader.is_file(meta.dev(), meta.ino()).map_err(failed)?,
                // Moved away, and no other is there yet.
                Err(_) => true,
            };
            if reader.is_cut().map_err(failed)? {
                self.reader = None;
                continue;
            }
            // Nobody goes on with the last line of a file that was replaced.
            let line = if is_same { reader.next_whole() } else { reader.read_line() };
            match line.map_err(failed)? {
                Some(line) => return Ok(Some(line)),
                None if is_same => return Ok(None),
                None => self.reader = None,
            }
        }
    }
}
