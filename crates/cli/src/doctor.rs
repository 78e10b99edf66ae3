//! `mantlet doctor`: what this host can give, seen in a real trial of the jail, with cause and fix of what is missing.
//!
//! The trial is an ordinary call with a throwaway state directory. The files of /proc only explain what it showed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::exec::jailer;
use crate::throwaway::Throwaway;

/// Show what this host can enforce, and the cause and fix of what is missing
///
/// Runs /bin/true in the jail. Exit code: 0 for the tier full, 1 for landlock, 2 when nothing can run.
#[derive(Debug, clap::Args)]
pub(crate) struct DoctorArgs {
    /// Try on this directory's file system (default: a temporary directory)
    #[arg(long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// What the trial's report says, as far as it is shown.
#[derive(Debug, Default, Deserialize)]
struct Trial {
    tier: Option<String>,
    mechanisms: BTreeMap<String, String>,
    reason: Option<String>,
}

#[derive(Serialize)]
struct Cause {
    cause: String,
    fix: &'static str,
}

#[derive(Serialize)]
struct Findings {
    v: u32,
    tier: String,
    mechanisms: BTreeMap<String, String>,
    reason: Option<String>,
    settings: BTreeMap<&'static str, Option<String>>,
    causes: Vec<Cause>,
}

/// Tries, explains, prints.
pub(crate) fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let trial = try_the_jail(args.workspace.as_deref())?;
    let settings: BTreeMap<_, _> = SETTINGS.iter().map(|name| (*name, setting(name))).collect();
    let tier = trial.tier.unwrap_or_else(|| "none".into());
    let causes = if tier == "full" { Vec::new() } else { causes(&settings) };
    let Trial { mechanisms, reason, .. } = trial;
    let findings = Findings { v: 1, tier, mechanisms, reason, settings, causes };
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

fn try_the_jail(workspace: Option<&Path>) -> anyhow::Result<Trial> {
    let (state, scratch) = (Throwaway::new("doctor")?, Throwaway::new("doctor-workspace")?);
    let workspace = workspace.unwrap_or(&scratch.path);
    let report = state.path.join("report.json");
    let mut command = Command::new(jailer()?);
    command.env("XDG_STATE_HOME", &state.path).stdin(Stdio::null()).current_dir(workspace);
    command.args(["exec", "--timeout", "10s", "--report"]).arg(&report);
    let output = command.args(["--", "/bin/true"]).output().context("cannot run mantlet-run")?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    match std::fs::read(&report) {
        Ok(text) => serde_json::from_slice(&text).context("the trial's report cannot be read"),
        // Refused before there was anything to report on: what it said is the finding.
        Err(_) => Ok(Trial { reason: Some(said), ..Trial::default() }),
    }
}

const APPARMOR: &str = "kernel.apparmor_restrict_unprivileged_userns";
const CLONE: &str = "kernel.unprivileged_userns_clone";
const MOST: &str = "user.max_user_namespaces";
const SETTINGS: &[&str] = &[APPARMOR, CLONE, MOST, "fs.inotify.max_user_instances", "fs.inotify.max_user_watches"];

fn setting(name: &str) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))).ok()?;
    Some(text.trim().to_owned())
}

fn causes(settings: &BTreeMap<&'static str, Option<String>>) -> Vec<Cause> {
    let table = [
        (
            APPARMOR,
            "1",
            "install packaging/apparmor/mantlet-run as /etc/apparmor.d/mantlet-run and mantlet-run in /usr/local/bin, both as root; then: sudo apparmor_parser -r /etc/apparmor.d/mantlet-run",
        ),
        (CLONE, "0", "sudo sysctl kernel.unprivileged_userns_clone=1"),
        (MOST, "0", "sudo sysctl user.max_user_namespaces=15000"),
    ];
    let is_so = |name, value: &str| settings.get(name).is_some_and(|now| now.as_deref() == Some(value));
    let found = table.into_iter().filter(|(name, value, _)| is_so(*name, value));
    found.map(|(name, value, fix)| Cause { cause: format!("{name} = {value}"), fix }).collect()
}

fn render(findings: &Findings) -> String {
    let mut text = String::new();
    for (name, extent) in &findings.mechanisms {
        writeln!(text, "{name:<20} {}", mantlet_ledger::escape(extent.as_bytes())).ok();
    }
    for (name, value) in &findings.settings {
        writeln!(text, "{name:<46} {}", value.as_deref().unwrap_or("not on this kernel")).ok();
    }
    for line in findings.reason.iter().flat_map(|reason| reason.lines()) {
        writeln!(text, "{}", mantlet_ledger::escape(line.as_bytes())).ok();
    }
    for Cause { cause, fix } in &findings.causes {
        writeln!(text, "cause: {cause}\nfix: {fix}").ok();
    }
    writeln!(text, "tier {}", findings.tier).ok();
    text
}
