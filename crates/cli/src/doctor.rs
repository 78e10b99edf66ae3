//! `mantlet doctor`: what this host can give, seen in real trials of the jail, with cause and fix of what is missing.
//!
//! A trial is an ordinary call with a throwaway policy and state directory, one for each tier until one holds. The
//! files of /proc only explain what it showed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::Context as _;
use mantlet_sandbox::halt::Halted;
use serde::{Deserialize, Serialize};

use crate::doctor_causes::{self, Cause};
use crate::exec::jailer;
use crate::throwaway::Throwaway;

/// Show what this host can enforce, and the cause and fix of what is missing
///
/// Runs /bin/true in the jail, in the best tier that holds. Exit code: 0 for the tier full, 1 for landlock, 2 when
/// nothing can run.
#[derive(Debug, clap::Args)]
pub(crate) struct DoctorArgs {
    /// Try on this directory's file system (default: a temporary directory)
    #[arg(long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// What a trial's report says, as far as it is shown.
#[derive(Debug, Default, Deserialize)]
struct Trial {
    tier: Option<String>,
    mechanisms: BTreeMap<String, String>,
    reason: Option<String>,
}

/// Whether a tier is to be had.
#[derive(Serialize)]
struct Attempt {
    tier: &'static str,
    granted: bool,
    /// Why not.
    reason: Option<String>,
}

#[derive(Serialize)]
struct Findings {
    v: u32,
    tier: String,
    /// Since when, why and by whom everything is stopped.
    halted: Option<Halted>,
    tiers: Vec<Attempt>,
    mechanisms: BTreeMap<String, String>,
    settings: BTreeMap<&'static str, Option<String>>,
    causes: Vec<Cause>,
}

/// Tries, explains, prints.
pub(crate) fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let findings = find(args.workspace.as_deref())?;
    if args.json {
        crate::look::print(&format!("{}\n", mantlet_ledger::escape_json(&serde_json::to_string(&findings)?)))?;
    } else {
        crate::look::print(&render(&findings))?;
    }
    Ok(ExitCode::from(match findings.tier.as_str() {
        "full" => 0,
        "landlock" => 1,
        _ => 2,
    }))
}

/// Tries the tiers from the best down.
fn find(workspace: Option<&Path>) -> anyhow::Result<Findings> {
    let (mut tiers, mut mechanisms, mut tier) = (Vec::new(), BTreeMap::new(), "none".to_owned());
    for wanted in ["full", "landlock"] {
        let trial = try_the_jail(workspace, wanted)?;
        // What runs is what the report says, never what was asked.
        let granted = trial.tier.as_deref() == Some(wanted);
        tiers.push(Attempt { tier: wanted, granted, reason: trial.reason.filter(|_| !granted) });
        if let Some(got) = trial.tier {
            (tier, mechanisms) = (got, trial.mechanisms);
            break;
        }
    }
    let settings = doctor_causes::settings();
    let reasons: Vec<&str> = tiers.iter().filter_map(|t| t.reason.as_deref()).collect();
    let causes = doctor_causes::causes(&reasons, &mechanisms, &settings);
    let halted = mantlet_sandbox::halted()?;
    Ok(Findings { v: 1, tier, halted, tiers, mechanisms, settings, causes })
}

fn try_the_jail(workspace: Option<&Path>, tier: &str) -> anyhow::Result<Trial> {
    let (state, scratch) = (Throwaway::new("doctor")?, Throwaway::new("doctor-workspace")?);
    let workspace = fs::canonicalize(workspace.unwrap_or(&scratch.path)).context("cannot find the workspace")?;
    let (policy, report) = (state.path.join("mantlet.toml"), state.path.join("report.json"));
    write_policy(&policy, &workspace, tier)?;
    let mut command = Command::new(jailer()?);
    command.env("XDG_STATE_HOME", &state.path).stdin(Stdio::null()).current_dir(&workspace);
    command.args(["exec", "--timeout", "10s", "--policy"]).arg(&policy).arg("--report").arg(&report);
    let output = command.args(["--", "/bin/true"]).output().context("cannot run mantlet-run")?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    match fs::read(&report) {
        Ok(text) => serde_json::from_slice(&text).context("the trial's report cannot be read"),
        // It failed before it could report: what it said is the finding.
        Err(_) => Ok(Trial { reason: Some(said), ..Trial::default() }),
    }
}

/// The exception lets a trial in a workspace with denied things say how far the tier holds.
fn write_policy(path: &Path, workspace: &Path, tier: &str) -> anyhow::Result<()> {
    let workspace = workspace.to_str().context("the path of the workspace is not UTF-8")?;
    let text = format!(
        "version = 1\n[agent.doctor]\nrole = \"builder\"\nworkspace = \"{}\"\ntier = \"{tier}\"\naccept = [\"deny\"]\n",
        toml_escape(workspace)
    );
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).context("cannot write the trial's policy")
}

/// A TOML basic string's inside.
fn toml_escape(text: &str) -> String {
    let escape = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        c if c.is_control() => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    };
    text.chars().map(escape).collect()
}

fn render(findings: &Findings) -> String {
    let mut text = String::new();
    let escape = |line: &str| mantlet_ledger::escape(line.as_bytes());
    for (name, extent) in &findings.mechanisms {
        writeln!(text, "{name:<20} {}", escape(extent)).ok();
    }
    for (name, value) in &findings.settings {
        writeln!(text, "{name:<46} {}", value.as_deref().map_or("not on this kernel".into(), escape)).ok();
    }
    for Attempt { tier, reason, .. } in findings.tiers.iter().filter(|attempt| !attempt.granted) {
        let why = reason.as_deref().unwrap_or("no reason was given");
        // Hints of a call are for a call; the causes below say more.
        for line in why.lines().filter(|line| !line.starts_with("hint: run `mantlet doctor`")) {
            writeln!(text, "not {tier}: {}", escape(line)).ok();
        }
    }
    for Cause { mechanisms, cause, fix } in &findings.causes {
        writeln!(text, "missing: {}\n  cause: {}\n  fix: {fix}", mechanisms.join(", "), escape(cause)).ok();
    }
    if let Some(halted) = &findings.halted {
        writeln!(text, "{halted}\n  nothing starts before: mantlet resume").ok();
    }
    writeln!(text, "tier {}", findings.tier).ok();
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_path_is_one_toml_string() {
        assert_eq!(super::toml_escape("/a \"b\"\\c\nd"), "/a \\\"b\\\"\\\\c\\u000ad");
    }
}
