//! `mantlet log export`: the ledger in a form that other programs read. It reads, converts and writes; it decides nothing.
//!
//! One entry is held at a time, so that a ledger of any length needs the same memory.

use std::collections::VecDeque;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use mantlet_ledger::export::{Exporter, Format, Origin};
use mantlet_ledger::{Entry, Line, ReadError, Reader, escape};

use super::outfile::OutFile;
use super::{Filter, complain, tell};

/// Write the entries in a form that other programs read
///
/// All entries, oldest first, unless options say less. Lines that are no entries are complained about on standard error and
/// end in exit code 1; they are never left out in silence.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ExportArgs {
    /// The form
    #[arg(long, value_enum)]
    format: Form,
    /// Into this file, which others cannot read and which appears whole; without it, to standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    filter: Filter,
    /// Only so many entries, the last ones
    #[arg(short = 'n', long = "lines")]
    lines: Option<usize>,
}

/// A form of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// As it is kept: one JSON object per line
    Jsonl,
    /// Open Cybersecurity Schema Framework, one event per line
    Ocsf,
    /// OpenTelemetry logs in OTLP/JSON, one request per line
    Otlp,
    /// A table (RFC 4180) that no spreadsheet takes for formulas
    Csv,
}

impl From<Form> for Format {
    fn from(form: Form) -> Format {
        match form {
            Form::Jsonl => Format::Jsonl,
            Form::Ocsf => Format::Ocsf,
            Form::Otlp => Format::Otlp,
            Form::Csv => Format::Csv,
        }
    }
}

/// Converts the ledger at `path`; exits 1 when a line of it could not be read or converted.
pub(super) fn run(path: &Path, args: &ExportArgs) -> anyhow::Result<ExitCode> {
    let reader = match Reader::open(path) {
        Ok(reader) => Some(reader),
        Err(error @ ReadError::Missing { .. }) => {
            tell(&error.to_string())?;
            None
        }
        Err(error) => return Err(error.into()),
    };
    let lines = reader.into_iter().flatten();
    let is_whole = match &args.output {
        None => {
            let mut out = BufWriter::new(std::io::stdout().lock());
            let is_whole = convert(path, lines, args, &mut out)?;
            out.flush().context("cannot write to standard output")?;
            is_whole
        }
        Some(file) => {
            refuse_own_place(file, path)?;
            let mut out = OutFile::create(file)?;
            let is_whole = convert(path, lines, args, &mut out)?;
            out.finish()?;
            is_whole
        }
    };
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Writes every entry that the arguments ask for, and says of each other line why it is none. Whether there was no such.
fn convert(
    path: &Path,
    lines: impl Iterator<Item = Result<Line, ReadError>>,
    args: &ExportArgs,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let mut sink =
        Sink { exporter: Exporter::new(args.format.into(), origin()), text: String::new(), out, is_whole: true };
    sink.exporter.begin(&mut sink.text);
    let mut last = VecDeque::new();
    for line in lines {
        match (line?, args.lines) {
            (Line::Unreadable { number, why }, _) => {
                complain(path, &vec![(number, why)])?;
                sink.is_whole = false;
            }
            (Line::Entry(entry), _) if !args.filter.wants(&entry) => {}
            (Line::Entry(entry), None) => sink.put(&entry)?,
            (Line::Entry(_), Some(0)) => {}
            (Line::Entry(entry), Some(most)) => {
                if last.len() >= most {
                    last.pop_front();
                }
                last.push_back(entry);
            }
        }
    }
    for entry in last {
        sink.put(&entry)?;
    }
    sink.exporter.finish(&mut sink.text);
    sink.flush()?;
    Ok(sink.is_whole)
}

/// The ledger's directory holds the ledger: an export must not take the place of the evidence.
fn refuse_own_place(file: &Path, ledger: &Path) -> anyhow::Result<()> {
    let directory = |path: &Path| {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        parent.unwrap_or(Path::new(".")).canonicalize()
    };
    let place = directory(file).with_context(|| format!("there is no directory for {file:?}"))?;
    if directory(ledger).is_ok_and(|ledger| place.starts_with(ledger)) {
        bail!("{file:?} lies where the ledger itself is\nhint: choose another directory");
    }
    Ok(())
}

/// This host: nobody else writes this ledger.
fn origin() -> Origin {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Origin { host, version: env!("CARGO_PKG_VERSION").into() }
}

/// Where converted entries go.
struct Sink<'a, W> {
    exporter: Exporter,
    text: String,
    out: &'a mut W,
    is_whole: bool,
}

impl<W: Write> Sink<'_, W> {
    fn put(&mut self, entry: &Entry) -> anyhow::Result<()> {
        if let Err(error) = self.exporter.push(entry, &mut self.text) {
            let seq = entry.chain.as_ref().map_or("without a number".into(), |chain| chain.seq.to_string());
            let time = escape(entry.time.as_bytes());
            tell(&format!("entry {seq} of {time} is left out: {}", escape(error.to_string().as_bytes())))?;
            self.is_whole = false;
        }
        self.flush()
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        // Without context: who calls tells a reader that has seen enough by the error's kind.
        self.out.write_all(self.text.as_bytes())?;
        self.text.clear();
        Ok(())
    }
}
