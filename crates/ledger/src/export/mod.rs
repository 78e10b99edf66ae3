//! Entries in forms that other programs read. Pure: an entry goes in, text comes out.
//!
//! One entry is held at a time, in OTLP one batch. What a form's vocabulary has no word for goes where the form keeps the
//! rest; only the table (CSV) leaves fields out. See docs/export.md for what becomes of each field.

mod csv;
mod facts;
mod ocsf;
mod otlp;

use crate::{Entry, escape_json};

/// A form of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The entries as they are kept, one JSON object per line.
    Jsonl,
    /// Events of the Open Cybersecurity Schema Framework, one per line.
    Ocsf,
    /// OpenTelemetry logs in OTLP/JSON, one request per line.
    Otlp,
    /// A table after RFC 4180 that no spreadsheet takes for formulas.
    Csv,
}

/// Where the entries are from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The host's name.
    pub host: String,
    /// The version of Mantlet.
    pub version: String,
}

/// Why an entry cannot be said in a form.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// It cannot be put into JSON.
    #[error("cannot encode the entry: {0}")]
    Encode(#[from] serde_json::Error),
    /// Its time is none, and the form demands one.
    #[error("its time is no time: {time:?}\nhint: --format jsonl writes it as it is")]
    Time {
        /// What stands there.
        time: String,
    },
}

/// Turns entries into text, one after the other.
#[derive(Debug)]
pub struct Exporter {
    format: Format,
    origin: Origin,
    batch: otlp::Batch,
}

impl Exporter {
    /// One that has seen no entry yet.
    pub fn new(format: Format, origin: Origin) -> Exporter {
        Exporter { format, origin, batch: otlp::Batch::default() }
    }

    /// Appends what comes before the first entry.
    pub fn begin(&self, out: &mut String) {
        if self.format == Format::Csv {
            csv::header(out);
        }
    }

    /// Appends what is known of the output with this entry, which may be nothing yet.
    ///
    /// # Errors
    /// When the form cannot say it; then nothing of it is, or will be, in `out`.
    pub fn push(&mut self, entry: &Entry, out: &mut String) -> Result<(), Unfit> {
        match self.format {
            Format::Jsonl => line(&serde_json::to_string(entry)?, out),
            Format::Ocsf => line(&serde_json::to_string(&ocsf::event(entry, &self.origin)?)?, out),
            Format::Csv => csv::row(entry, out),
            Format::Otlp => {
                self.batch.push(entry)?;
                if self.batch.is_full() {
                    line(&self.batch.take(&self.origin), out);
                }
            }
        }
        Ok(())
    }

    /// Appends what comes after the last entry.
    pub fn finish(&mut self, out: &mut String) {
        if !self.batch.is_empty() {
            line(&self.batch.take(&self.origin), out);
        }
    }
}

/// A terminal may be where it ends: nothing in it is obeyed there.
fn line(json: &str, out: &mut String) {
    out.push_str(&escape_json(json));
    out.push('\n');
}
