//! `mantlet log`: shows the ledger. It reads and renders; it decides nothing.
//!
//! What the ledger holds came from agents: everything is escaped again here, whatever was written.

use std::collections::VecDeque;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use mantlet_ledger::{
    Egress, Entry, Exec, FILE_NAME, Kind, Line, ReadError, Reader, Tool, escape, escape_json, ledger_dir, rfc3339,
};

/// Show what ran, newest last
///
/// Each line is one command that an agent ran or was refused, or one tool of a client that was asked about: when, which
/// agent, what was enforced or decided, how it ended, and the command or arguments with their secrets masked.
#[derive(Debug, clap::Args)]
pub(crate) struct LogArgs {
    /// Only this agent's entries
    #[arg(long)]
    agent: Option<String>,
    /// Only entries since then: 90s, 10m, 2h, 3d, 2026-11-23 or 2026-11-23T09:15 (UTC)
    #[arg(long, value_parser = since)]
    since: Option<String>,
    /// At most so many entries
    #[arg(short = 'n', long = "lines", default_value_t = 20)]
    lines: usize,
    /// One JSON object per line
    #[arg(long)]
    json: bool,
}

/// Prints the ledger's last entries; exits 1 when a line of it could not be read.
pub(crate) fn run(args: &LogArgs) -> anyhow::Result<ExitCode> {
    let path = ledger_file()?;
    let reader = match Reader::open(&path) {
        Ok(reader) => reader,
        Err(e @ ReadError::Missing { .. }) => {
            tell(&e.to_string())?;
            return Ok(ExitCode::SUCCESS);
        }
        Err(e) => return Err(e.into()),
    };
    let (entries, damaged) = select(reader, args)?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    for entry in &entries {
        let line = if args.json { escape_json(&serde_json::to_string(entry)?) } else { render(entry) };
        match writeln!(out, "{line}") {
            // `mantlet log | head`: the reader has seen enough.
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
            other => other.context("cannot write to standard output")?,
        }
    }
    out.flush().context("cannot write to standard output")?;
    drop(out);
    for (number, why) in &damaged {
        let why = escape(why.as_bytes());
        tell(&format!("line {number} of {} cannot be read: {why}", escape(path.as_os_str().as_encoded_bytes())))?;
    }
    Ok(if damaged.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Says something to the person, beside the data on standard output.
fn tell(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stderr().lock(), "mantlet: {text}").context("cannot write to standard error")
}

fn ledger_file() -> anyhow::Result<PathBuf> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    let home = home.context("HOME is not set\nhint: the ledger lies below it, in .local/state/mantlet/ledger")?;
    let state = std::env::var_os("XDG_STATE_HOME");
    Ok(ledger_dir(state.as_deref(), &PathBuf::from(home)).join(FILE_NAME))
}

type Damaged = Vec<(u64, String)>;

/// The last entries that the arguments ask for, and every line that is no entry.
fn select(reader: Reader, args: &LogArgs) -> anyhow::Result<(VecDeque<Entry>, Damaged)> {
    let (mut entries, mut damaged) = (VecDeque::new(), Vec::new());
    for line in reader {
        match line? {
            Line::Unreadable { number, why } => damaged.push((number, why)),
            Line::Entry(entry) if is_wanted(&entry, args) => {
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

fn is_wanted(entry: &Entry, args: &LogArgs) -> bool {
    // Times are of one width and in UTC, so their texts compare as they do.
    args.agent.as_ref().is_none_or(|agent| *agent == entry.agent)
        && args.since.as_ref().is_none_or(|since| entry.time >= *since)
}

fn render(entry: &Entry) -> String {
    let start = format!("{}  {}", short(&entry.time), short(&entry.agent));
    match &entry.kind {
        Kind::Exec(exec) => format!("{start}  {}", render_exec(exec)),
        Kind::Tool(tool) => format!("{start}  {}", render_tool(tool)),
        Kind::Egress(egress) => format!("{start}  {}", render_egress(egress)),
    }
}

fn short(text: &str) -> String {
    escape(text.as_bytes())
}

fn render_exec(exec: &Exec) -> String {
    let mut line = format!("{}  exit {}  {}  {}", short(&exec.tier), exec.exit, duration(exec), short(&exec.command));
    let names = [("session", &exec.session), ("run", &exec.run)];
    let names = names.iter().filter_map(|(what, name)| Some(format!("{what} {}", short(name.as_deref()?))));
    let names = names.collect::<Vec<_>>().join(", ");
    if !names.is_empty() {
        line.push_str("\n    ");
        line.push_str(&names);
    }
    if let Some(reason) = &exec.reason {
        line.push_str("\n    ");
        line.push_str(&short(reason));
    }
    for finding in &exec.findings {
        line.push_str("\n    found: ");
        line.push_str(&short(finding));
    }
    line
}

fn render_tool(tool: &Tool) -> String {
    let mut line = format!("{}  {}  {}", short(&tool.decision), short(&tool.tool), short(&tool.input));
    if let Some(reason) = &tool.reason {
        let rule = tool.rule.as_deref().unwrap_or("no rule");
        line.push_str(&format!("\n    {} ({})", short(reason), short(rule)));
    }
    line
}

fn render_egress(egress: &Egress) -> String {
    let times = if egress.count == 1 { String::new() } else { format!("  {} times", egress.count) };
    let (outcome, way, host) = (short(&egress.outcome), short(&egress.way), short(&egress.host));
    let why = [&egress.reason, &egress.rule].into_iter().flatten().next().map(|why| format!("  ({})", short(why)));
    let bytes = match (egress.up, egress.down) {
        (0, 0) => String::new(),
        (up, down) => format!("  {up} B out, {down} B in"),
    };
    format!("{outcome}  {way}  {host}{bytes}{times}{}", why.unwrap_or_default())
}

fn duration(exec: &Exec) -> String {
    match exec.duration_ms {
        ms @ 0..10_000 => format!("{ms} ms"),
        ms => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
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

    fn entry(command: &str) -> Entry {
        Entry {
            v: 1,
            time: "2026-11-23T09:15:38.042Z".into(),
            agent: "main".into(),
            policy: String::new(),
            kind: Kind::Exec(Exec {
                call: "c".into(),
                command: command.into(),
                session: None,
                run: None,
                tier: "full".into(),
                mechanisms: Default::default(),
                exit: 1,
                reason: None,
                duration_ms: 12,
                bytes_out: None,
                findings: vec!["a\x1b]0;x\x07".into()],
            }),
            chain: None,
        }
    }

    #[test]
    fn a_line_is_one_line_and_harmless() {
        assert_eq!(
            render(&entry("ls\x1b[2J\n2026 forged")),
            "2026-11-23T09:15:38.042Z  main  full  exit 1  12 ms  ls\\x1b[2J\\n2026 forged\n    found: a\\x1b]0;x\\x07"
        );
    }

    #[test]
    fn session_and_run_are_shown_where_the_client_named_them() {
        let mut entry = entry("ls");
        let Kind::Exec(exec) = &mut entry.kind else { panic!("no command") };
        exec.findings.clear();
        exec.session = Some("agent:main:a\nb".into());
        exec.run = Some("r1".into());
        assert!(render(&entry).ends_with("  ls\n    session agent:main:a\\nb, run r1"), "{}", render(&entry));
    }

    #[test]
    fn a_tool_is_shown_with_what_was_decided() {
        let kind = Kind::Tool(Tool {
            client: "claude".into(),
            tool: "Read\x1b[2J".into(),
            decision: "denied".into(),
            rule: Some("secrets".into()),
            reason: Some("it is a key".into()),
            session: None,
            by: None,
            input: "file_path=/x\n".into(),
        });
        assert_eq!(
            render(&Entry { kind, ..entry("") }),
            "2026-11-23T09:15:38.042Z  main  denied  Read\\x1b[2J  file_path=/x\\n\n    it is a key (secrets)"
        );
    }

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
        let args = |agent: Option<&str>, since: Option<&str>| LogArgs {
            agent: agent.map(Into::into),
            since: since.map(Into::into),
            lines: 20,
            json: false,
        };
        let entry = entry("ls");
        assert!(is_wanted(&entry, &args(None, None)));
        assert!(is_wanted(&entry, &args(Some("main"), Some("2026-11-23"))));
        assert!(!is_wanted(&entry, &args(Some("scout"), None)));
        assert!(!is_wanted(&entry, &args(None, Some("2026-11-23T09:16"))));
    }
}
