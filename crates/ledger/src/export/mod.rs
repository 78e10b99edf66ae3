//! Entries in forms that other programs read. Pure: an entry goes in, text comes out.
//!
//! Each form gets every entry and every field of it; what its vocabulary has no word for goes where the form keeps the rest.

use crate::{Entry, escape_json};

/// A form of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The entries as they are kept, one JSON object per line.
    Jsonl,
}

/// Why an entry cannot be said in a form.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// It cannot be put into JSON.
    #[error("cannot encode the entry: {0}")]
    Encode(#[from] serde_json::Error),
}

/// Turns entries into text, one after the other.
#[derive(Debug)]
pub struct Exporter {
    format: Format,
}

impl Exporter {
    /// One that has seen no entry yet.
    pub fn new(format: Format) -> Exporter {
        Exporter { format }
    }

    /// Appends what comes before the first entry.
    pub fn begin(&self, _out: &mut String) {}

    /// Appends what is known of the output with this entry.
    ///
    /// # Errors
    /// When the form cannot say it; `out` is as it was.
    pub fn push(&mut self, entry: &Entry, out: &mut String) -> Result<(), Unfit> {
        match self.format {
            Format::Jsonl => out.push_str(&escape_json(&serde_json::to_string(entry)?)),
        }
        out.push('\n');
        Ok(())
    }

    /// Appends what comes after the last entry.
    pub fn finish(&mut self, _out: &mut String) {}
}
