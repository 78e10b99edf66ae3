//! `mantlet demo`: attacks on planted secrets, with and without the jail. It renders what `mantlet-probe` judged.
//!
//! Each attack runs in a throwaway world of its own; no file, process or socket of this machine is its target.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Read, Write as _};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

/// See attacks on planted secrets succeed without Mantlet and fail with it
///
/// Runs each attack three times in throwaway worlds: bare, in the jail, and once more in the jail on something allowed,
/// so that a jail in which nothing works is not taken for a good one. Needs no network. Exits 0 only if every attack
/// succeeded without the jail and none did in it.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// One JSON document instead of the table
    #[arg(long)]
    json: bool,
}

/// The part of the probe's report that the demo shows.
#[derive(Debug, Deserialize)]
struct Report {
    cases: Vec<Case>,
}

#[derive(Debug, Deserialize)]
struct Case {
    id: String,
    class: String,
    title: String,
    shows: String,
    verdict: String,
    arms: BTreeMap<String, Arm>,
}

#[derive(Debug, Deserialize)]
struct Arm {
    result: String,
    #[serde(default)]
    reason: String,
}

/// One line of the table.
#[derive(Debug, Serialize)]
struct Row {
    id: String,
    family: String,
    attack: String,
    shows: String,
    without: Fate,
    with: Fate,
    /// Whether the same commands on something allowed worked in the jail.
    work: Fate,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
}

/// What became of an arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Fate {
    Succeeded,
    Stopped,
    NotPossibleHere,
    Unknown,
}

impl Fate {
    fn word(self) -> &'static str {
        match self {
            Fate::Succeeded => "succeeds",
            Fate::Stopped => "stopped",
            Fate::NotPossibleHere => "not possible here",
            Fate::Unknown => "unknown",
        }
    }
}

impl Row {
    fn new(case: Case) -> Row {
        let fate = |arm: &str| match case.arms.get(arm).map(|a| a.result.as_str()) {
            Some("succeeded") => Fate::Succeeded,
            Some("failed") => Fate::Stopped,
            Some("not_applicable") => Fate::NotPossibleHere,
            // An arm that hung or could not be run has shown nothing.
            _ => Fate::Unknown,
        };
        let (without, with, work) = (fate("control"), fate("jail"), fate("twin"));
        let reason = if case.verdict == "holds" {
            String::new()
        } else {
            let told = case.arms.values().map(|a| a.reason.as_str()).find(|r| !r.is_empty());
            told.map_or_else(|| case.verdict.replace('_', " "), str::to_owned)
        };
        Row { id: case.id, family: case.class, attack: case.title, shows: case.shows, without, with, work, reason }
    }

    /// Whether this line is what the demo promises, or cannot be tried on this host at all.
    fn holds(&self) -> bool {
        self.is_shown() || self.without == Fate::NotPossibleHere
    }

    fn is_shown(&self) -> bool {
        self.without == Fate::Succeeded && self.with == Fate::Stopped && self.work == Fate::Succeeded
    }
}

/// Runs the demo; exits 1 when a control failed, an attack went through or work did not.
pub(crate) fn run(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    let text = probe()?;
    let report: Report = serde_json::from_str(&text).context("the report of mantlet-probe cannot be read")?;
    let rows: Vec<Row> = report.cases.into_iter().map(Row::new).collect();
    let is_shown = !rows.is_empty() && rows.iter().all(Row::holds) && rows.iter().any(Row::is_shown);
    let text = if args.json { json(&rows, is_shown) } else { table(&rows) };
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error).context("cannot write the table"),
        _ if is_shown => Ok(ExitCode::SUCCESS),
        _ => Ok(ExitCode::FAILURE),
    }
}

/// Finds a program of ours beside this one, and never by PATH: a jailer from elsewhere proves nothing.
fn beside(name: &str) -> anyhow::Result<PathBuf> {
    let me = std::fs::canonicalize("/proc/self/exe").context("cannot find this program's own file")?;
    let path = me.with_file_name(name);
    if !path.is_file() {
        bail!(
            "{} is not there\nhint: the programs mantlet, mantlet-run and mantlet-probe belong in one directory",
            path.display()
        );
    }
    Ok(path)
}

/// Runs the attacks, with a line about where they are when a person looks on.
fn probe() -> anyhow::Result<String> {
    let (probe, jail) = (beside("mantlet-probe")?, beside("mantlet-run")?);
    let mut child = Command::new(&probe)
        .args(["run", "--demo", "--json", "--progress", "--jail"])
        .arg(&jail)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", probe.display()))?;
    let said = child.stderr.take().map(|pipe| std::thread::spawn(move || follow(pipe)));
    let mut text = String::new();
    if let Some(mut out) = child.stdout.take() {
        out.read_to_string(&mut text).context("cannot read from mantlet-probe")?;
    }
    let status = child.wait().context("cannot wait for mantlet-probe")?;
    let last = said.and_then(|thread| thread.join().ok()).unwrap_or_default();
    // 1 says that a case does not hold: the report tells which.
    if !matches!(status.code(), Some(0 | 1)) {
        bail!("mantlet-probe ended with {status}: {last}");
    }
    Ok(text)
}

/// Shows `12/90 read the SSH private key` on one line that is written over; returns the last line that is no progress.
fn follow(pipe: impl Read) -> String {
    let err = std::io::stderr();
    let is_watched = err.is_terminal();
    let mut other = String::new();
    for line in BufReader::new(pipe).lines().map_while(Result::ok) {
        if !line.starts_with(|c: char| c.is_ascii_digit()) {
            other = line;
        } else if is_watched {
            let short: String = line.chars().take(78).collect();
            // The progress line is a courtesy: a terminal that went away changes no result.
            write!(err.lock(), "\r\x1b[K{short}").ok();
        }
    }
    if is_watched {
        write!(err.lock(), "\r\x1b[K").ok();
    }
    other
}

fn json(rows: &[Row], is_shown: bool) -> String {
    format!("{}\n", serde_json::json!({ "version": 1, "holds": is_shown, "attacks": rows }))
}

fn table(rows: &[Row]) -> String {
    let width = |of: fn(&Row) -> &str, head: &str| {
        rows.iter().map(|r| of(r).chars().count()).chain([head.len()]).max().unwrap_or(0)
    };
    let (family, attack) = (width(|r| &r.family, "family"), width(|r| &r.attack, "attack"));
    let mut out = String::new();
    let mut line = |a: &str, b: &str, c: &str, d: &str| {
        // Writing to a String cannot fail.
        writeln!(out, "{a:<family$}  {b:<attack$}  {c:<17}  {d}").ok();
    };
    line("family", "attack", "without Mantlet", "with Mantlet");
    for row in rows {
        let with = if row.with == Fate::Succeeded { "SUCCEEDS" } else { row.with.word() };
        line(&row.family, &row.attack, row.without.word(), with);
    }
    for row in rows.iter().filter(|r| !r.is_shown()) {
        writeln!(out, "{}: {}", row.id, mantlet_ledger::escape(row.reason.as_bytes())).ok();
    }
    out.push_str(&summary(rows));
    out
}

/// The two lines that remain in memory.
fn summary(rows: &[Row]) -> String {
    let families: BTreeSet<&str> = rows.iter().map(|r| r.family.as_str()).collect();
    let bare = rows.iter().filter(|r| r.without == Fate::Succeeded).count();
    let stopped = rows.iter().filter(|r| r.is_shown()).count();
    format!(
        "{bare} attacks of {} families succeed without Mantlet; {stopped} of them are stopped by it, and the same commands \
         still work on what is allowed.\nEach ran in a throwaway world with planted secrets: nothing of this machine was \
         touched. Next: mantlet exec -- COMMAND\n",
        families.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(control: &str, jail: &str, twin: &str) -> Row {
        let arm = |result: &str| Arm { result: result.to_owned(), reason: String::new() };
        Row::new(Case {
            id: "a".into(),
            class: "b".into(),
            title: "c".into(),
            shows: "d".into(),
            verdict: "holds".into(),
            arms: [("control", control), ("jail", jail), ("twin", twin)].map(|(k, v)| (k.to_owned(), arm(v))).into(),
        })
    }

    #[test]
    fn an_attack_that_was_stopped_counts() {
        assert!(row("succeeded", "failed", "succeeded").holds());
    }

    #[test]
    fn a_control_that_failed_proves_nothing() {
        assert!(!row("failed", "failed", "succeeded").holds());
    }

    #[test]
    fn an_attack_that_went_through_is_not_hidden() {
        assert!(!row("succeeded", "succeeded", "succeeded").holds());
    }

    #[test]
    fn a_jail_in_which_nothing_works_is_no_jail() {
        assert!(!row("succeeded", "failed", "failed").holds());
    }

    #[test]
    fn an_arm_that_hung_is_unknown() {
        assert!(!row("succeeded", "hung", "succeeded").holds());
    }
}
