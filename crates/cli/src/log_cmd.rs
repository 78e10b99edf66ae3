//! `mantlet log`: shows the ledger. It reads and renders; it decides nothing.
//!
//! What the ledger holds came from agents: everything is escaped again here, whatever was written.

mod export;
mod outfile;
mod render;

use std::collections::VecDeque;
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use mantlet_ledger::{
    Entry, FILE_NAME, Follower, Kind, Line, ReadError, Reader, escape, escape_json, ledger_dir, rfc3339,
};
use rustix::event::{PollFd, PollFlags, Timespec};

use export::ExportArgs;
use render::{Ink, render};

/// How often a followed ledger is looked at.
const INTERVAL: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// Show what ran, newest last
///
/// Each line is one command that an agent ran or was refused, one tool of a client that was asked about, or one use of the
/// network that passed or was refused: when, which agent, what was enforced or decided, how it ended, and the command,
/// arguments or host with their secrets masked.
#[derive(Debug, Clone, clap::Args)]
// An option before a subcommand would be one that the subcommand never sees: that is refused.
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct LogArgs {
    #[command(subcommand)]
    task: Option<LogTask>,
    #[command(flatten)]
    filter: Filter,
    /// At most so many entries
    #[arg(short = 'n', long = "lines", default_value_t = 20)]
    lines: usize,
    /// Go on with new entries as they come, until interrupted
    #[arg(short, long)]
    follow: bool,
    /// One JSON object per line
    #[arg(long)]
    json: bool,
}

/// What is done with the ledger instead of showing it.
#[derive(Debug, Clone, clap::Subcommand)]
enum LogTask {
    Export(ExportArgs),
}

/// Which entries are meant.
#[derive(Debug, Clone, clap::Args)]
struct Filter {
    /// Only this agent's entries
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// Only entries of this kind; several with commas, or repeated
    #[arg(long, value_enum, value_delimiter = ',')]
    kind: Vec<Shown>,
    /// Only entries since then: 90s, 10m, 2h, 3d, 2026-11-23 or 2026-11-23T09:15 (UTC)
    #[arg(long, value_parser = since)]
    since: Option<String>,
}

/// What an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Shown {
    /// Commands
    Exec,
    /// Tools of a client
    Tool,
    /// The way out to the network, and what came in
    Egress,
    /// Changes of protected files
    Change,
    /// What you were told
    Alert,
    /// The kill switch
    Halt,
    /// What the ledger writes of itself
    Ledger,
}

/// Shows the ledger's last entries, or does what was asked instead; exits 1 when a line of it could not be read.
pub(crate) fn run(args: &LogArgs) -> anyhow::Result<ExitCode> {
    let path = ledger_file()?;
    let told = match &args.task {
        Some(LogTask::Export(export)) => export::run(&path, export),
        None if args.follow => follow(&path, args),
        None => show(&path, args),
    };
    match told {
        // `mantlet log | head`: the reader has seen enough.
        Err(error) if error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == ErrorKind::BrokenPipe) => {
            Ok(ExitCode::SUCCESS)
        }
        other => other,
    }
}

fn show(path: &Path, args: &LogArgs) -> anyhow::Result<ExitCode> {
    let reader = match Reader::open(path) {
        Ok(reader) => reader,
        Err(e @ ReadError::Missing { .. }) => {
            tell(&e.to_string())?;
            return Ok(ExitCode::SUCCESS);
        }
        Err(e) => return Err(e.into()),
    };
    let (entries, damaged) = select(reader, args)?;
    print(&entries, args)?;
    complain(path, &damaged)?;
    Ok(if damaged.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// As `tail -F`: the last entries, then what comes, also in a ledger that is made later or takes the place of this one.
fn follow(path: &Path, args: &LogArgs) -> anyhow::Result<ExitCode> {
    let mut follower = Follower::new(path);
    if !path.exists() {
        tell("no ledger yet: waiting for the first entry")?;
    }
    // What is there now is shown as far as -n says, all that comes later is.
    let mut lines = args.lines;
    loop {
        let there = std::iter::from_fn(|| follower.next_line().transpose());
        let (entries, damaged) = select(there, &LogArgs { lines, ..args.clone() })?;
        lines = usize::MAX;
        print(&entries, args)?;
        complain(path, &damaged)?;
        wait()?;
    }
}

/// Waits, but no longer than somebody reads: `mantlet log -f | head -1` would end with the next entry only.
fn wait() -> anyhow::Result<()> {
    let out = std::io::stdout();
    let mut polled = [PollFd::new(&out, PollFlags::empty())];
    match rustix::event::poll(&mut polled, Some(&INTERVAL)) {
        Ok(0) | Err(rustix::io::Errno::INTR) => Ok(()),
        Ok(_) => Err(std::io::Error::from(ErrorKind::BrokenPipe).into()),
        Err(error) => Err(error).context("cannot wait"),
    }
}

fn print(entries: &VecDeque<Entry>, args: &LogArgs) -> anyhow::Result<()> {
    let ink = Ink::of_stdout();
    let mut out = BufWriter::new(std::io::stdout().lock());
    for entry in entries {
        let line = if args.json { escape_json(&serde_json::to_string(entry)?) } else { render(entry, ink) };
        writeln!(out, "{line}").context("cannot write to standard output")?;
    }
    out.flush().context("cannot write to standard output")
}

fn complain(path: &Path, damaged: &Damaged) -> anyhow::Result<()> {
    for (number, why) in damaged {
        let why = escape(why.as_bytes());
        tell(&format!("line {number} of {} cannot be read: {why}", escape(path.as_os_str().as_encoded_bytes())))?;
    }
    Ok(())
}

/// Says something to the person, beside the data on standard output.
fn tell(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stderr().lock(), "mantlet: {text}").context("cannot write to standard error")
}

/// Where the ledger is.
pub(crate) fn ledger_file() -> anyhow::Result<PathBuf> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    let home = home.context("HOME is not set\nhint: the ledger lies below it, in .local/state/mantlet/ledger")?;
    let state = std::env::var_os("XDG_STATE_HOME");
    Ok(ledger_dir(state.as_deref(), &PathBuf::from(home)).join(FILE_NAME))
}

type Damaged = Vec<(u64, String)>;

/// The last entries that the arguments ask for, and every line that is no entry.
fn select(
    lines: impl Iterator<Item = Result<Line, ReadError>>,
    args: &LogArgs,
) -> anyhow::Result<(VecDeque<Entry>, Damaged)> {
    let (mut entries, mut damaged) = (VecDeque::new(), Vec::new());
    for line in lines {
        match line? {
            Line::Unreadable { number, why } => damaged.push((number, why)),
            Line::Entry(entry) if args.filter.wants(&entry) => {
                if entries.len() >= args.lines {
                    entries.pop_front();
                }
                if args.lines > 0 {
                    entries.push_back(*entry);
                }
            }
            Line::Entry(_) => {}
        }
    }
    Ok((entries, damaged))
}

impl Filter {
    fn wants(&self, entry: &Entry) -> bool {
        let kind = match &entry.kind {
            Kind::Exec(_) => Shown::Exec,
            Kind::Tool(_) => Shown::Tool,
            Kind::Egress(_) => Shown::Egress,
            Kind::Change(_) => Shown::Change,
            Kind::Alert(_) => Shown::Alert,
            Kind::Halt(_) => Shown::Halt,
            Kind::Ledger(_) => Shown::Ledger,
        };
        // Times are of one width and in UTC, so their texts compare as they do.
        self.agent.as_ref().is_none_or(|agent| *agent == entry.agent)
            && (self.kind.is_empty() || self.kind.contains(&kind))
            && self.since.as_ref().is_none_or(|since| entry.time >= *since)
    }
}

/// The text that a time must not be smaller than.
fn since(text: &str) -> Result<String, String> {
    let help = || "use 90s, 10m, 2h, 3d, 2026-11-23 or 2026-11-23T09:15 (UTC)".to_owned();
    const MOMENT: &[u8] = b"0000-00-00T00:00:00.000Z";
    if text.len() >= 4 && text.len() <= MOMENT.len() && text.bytes().zip(MOMENT).all(|(b, m)| has_shape(b, *m)) {
        return Ok(text.to_owned());
    }
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(help)?;
    let number: u64 = number.parse().map_err(|_| help())?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(help()),
    };
    let back = Duration::from_secs(number.checked_mul(seconds).ok_or_else(help)?);
    Ok(rfc3339(SystemTime::now().checked_sub(back).unwrap_or(SystemTime::UNIX_EPOCH)))
}

fn has_shape(byte: u8, model: u8) -> bool {
    if model == b'0' { byte.is_ascii_digit() } else { byte == model }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_takes_moments_and_durations() {
        assert_eq!(since("2026-11-23").unwrap(), "2026-11-23");
        assert_eq!(since("2026-11-23T09:15").unwrap(), "2026-11-23T09:15");
        assert_eq!(since("2026").unwrap(), "2026");
        assert!(since("10m").unwrap() > since("1h").unwrap());
        assert_eq!(since("99999999d").unwrap(), "1970-01-01T00:00:00.000Z");
        for bad in ["", "m", "10", "10x", "-5m", "2026-11-23 09:15", "23.11.2026", "ü"] {
            assert!(since(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn entries_are_chosen_by_agent_and_time() {
        let filter = |agent: Option<&str>, since: Option<&str>| Filter {
            agent: agent.map(Into::into),
            kind: vec![Shown::Exec, Shown::Egress],
            since: since.map(Into::into),
        };
        let entry = render::tests::entry("ls");
        assert!(filter(None, None).wants(&entry));
        assert!(filter(Some("main"), Some("2026-11-23")).wants(&entry));
        assert!(!filter(Some("scout"), None).wants(&entry));
        assert!(!filter(None, Some("2026-11-23T09:16")).wants(&entry));
        assert!(!Filter { kind: vec![Shown::Tool], ..filter(None, None) }.wants(&entry));
    }
}
