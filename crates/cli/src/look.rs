//! `mantlet look`: what a command could take here, beside what it could take in the jail, both observed.
//!
//! It changes nothing and shows no value: names and counts only. The jail's own records go to a throwaway directory.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, bail};
use serde::Serialize;

use crate::exec::jailer;
use crate::look_walk::{GROUPS, Seen, Walk};
use crate::throwaway::Throwaway;

/// Show what an agent's command could take on this machine now, and what in the jail
///
/// Looks at names and permissions; opens nothing to read it, prints no value, changes nothing.
#[derive(Debug, clap::Args)]
pub(crate) struct LookArgs {
    /// The workspace of the jail to compare with (default: the current directory, or an empty one where that is none)
    #[arg(long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// One JSON object, with every name
    #[arg(long)]
    json: bool,
    /// The walk itself, as JSON: what runs in the jail
    #[arg(long, hide = true)]
    inside: bool,
    /// The caller's id outside the jail
    #[arg(long, hide = true)]
    uid: Option<u32>,
}

#[derive(Serialize)]
struct Looked {
    v: u32,
    here: Seen,
    /// Absent when the jail did not run.
    jail: Option<Seen>,
    /// Why it did not; or why the jail is the default one, with an empty workspace.
    reason: Option<String>,
}

/// Walks here and in the jail and prints both.
pub(crate) fn run(args: &LookArgs) -> anyhow::Result<ExitCode> {
    let home = std::env::var_os("HOME").context("HOME is not set\nhint: set it to the home to look at")?;
    let home = PathBuf::from(home);
    let workspace = args.workspace.clone().unwrap_or_else(|| ".".into());
    let workspace =
        std::fs::canonicalize(&workspace).with_context(|| format!("cannot find {}", workspace.display()))?;
    let uid = args.uid.unwrap_or_else(|| rustix::process::getuid().as_raw());
    let here = Walk { home: &home, workspace: &workspace, uid }.run();
    if args.inside {
        return print(&format!("{}\n", serde_json::to_string(&here)?));
    }
    let (jail, reason) = match in_the_jail(None, &workspace, uid) {
        Ok(seen) => (Some(seen), None),
        // A person who has set nothing up stands in his home, which is no workspace.
        Err(error) if args.workspace.is_none() => match in_an_empty_jail(uid) {
            Ok(seen) => (Some(seen), Some(format!("{error:#}"))),
            Err(_) => (None, Some(format!("{error:#}"))),
        },
        Err(error) => (None, Some(format!("{error:#}"))),
    };
    let looked = Looked { v: 1, here, jail, reason };
    if args.json {
        print(&format!("{}\n", mantlet_ledger::escape_json(&serde_json::to_string(&looked)?)))?;
    } else {
        print(&render(&looked))?;
    }
    Ok(ExitCode::from(if looked.jail.is_some() { 0 } else { crate::REFUSED }))
}

/// The jail of the default policy, around nothing.
fn in_an_empty_jail(uid: u32) -> anyhow::Result<Seen> {
    let scratch = Throwaway::new("look-empty")?;
    let workspace = scratch.path.join("workspace");
    std::fs::create_dir(&workspace).context("cannot make a workspace")?;
    let text = format!("version = 1\n[agent.look]\nrole = \"builder\"\nworkspace = {}\n", quoted(&workspace)?);
    let policy = scratch.path.join("mantlet.toml");
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&policy)?;
    file.write_all(text.as_bytes()).context("cannot write a policy")?;
    in_the_jail(Some(&policy), &workspace, uid)
}

/// A path as TOML writes a string; JSON's escapes are TOML's.
fn quoted(path: &Path) -> anyhow::Result<String> {
    Ok(serde_json::to_string(path.to_str().context("the temporary directory's path is not UTF-8")?)?)
}

fn in_the_jail(policy: Option<&Path>, workspace: &Path, uid: u32) -> anyhow::Result<Seen> {
    let own = std::env::current_exe().context("cannot find this program")?;
    let name = own.file_name().context("this program has no name")?;
    let state = Throwaway::new("look")?;
    let mut command = Command::new(jailer()?);
    command.env("XDG_STATE_HOME", &state.path).stdin(Stdio::null());
    command.arg("exec").args(policy.iter().flat_map(|file| [OsStr::new("--policy"), file.as_os_str()]));
    command.args(["--timeout", "2s", "--workspace"]).arg(workspace).arg("--cwd").arg(workspace);
    command.arg("--with").arg(&own).arg("--").arg(Path::new("/run/mantlet").join(name));
    command.args(["look", "--inside", "--uid", &uid.to_string(), "--workspace"]).arg(workspace);
    let output = command.output().context("cannot run mantlet-run")?;
    if !output.status.success() {
        bail!("the jail did not run: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).context("the walk in the jail gave no answer")
}

fn render(looked: &Looked) -> String {
    let mut text = String::from("What a command could take here, as you:\n");
    for taken in &looked.here.taken {
        writeln!(text, "  {:<20} {}  ({})", taken.kind, taken.name, taken.what).ok();
    }
    if let Some(jail) = &looked.jail {
        text.push_str("\nAnd in the jail:\n");
        for taken in &jail.taken {
            writeln!(text, "  {:<20} {}  ({})", taken.kind, taken.name, taken.what).ok();
        }
        if jail.taken.is_empty() {
            text.push_str("  nothing of the inventory\n");
        }
    }
    text.push_str("\n--- counts only, safe to paste ---\n");
    writeln!(text, "{:<22}{:>6}{:>10}", "", "here", "in jail").ok();
    let count = |seen: &Seen, group: &str| seen.taken.iter().filter(|taken| taken.kind == group).count();
    let jailed = |of: &dyn Fn(&Seen) -> usize| looked.jail.as_ref().map_or("unknown".to_owned(), |s| of(s).to_string());
    for group in GROUPS {
        let (here, jail) = (count(&looked.here, group), jailed(&|seen| count(seen, group)));
        if here > 0 || (jail != "0" && jail != "unknown") {
            writeln!(text, "{group:<22}{here:>6}{jail:>10}").ok();
        }
    }
    writeln!(text, "{:<22}{:>6}{:>10}", "total", looked.here.taken.len(), jailed(&|seen| seen.taken.len())).ok();
    if looked.here.is_cut || looked.jail.as_ref().is_some_and(|seen| seen.is_cut) {
        text.push_str("The walk was cut short: there may be more.\n");
    }
    text.push_str("---\n");
    if let Some(reason) = &looked.reason {
        let lines: Vec<String> = reason.lines().map(|line| mantlet_ledger::escape(line.as_bytes())).collect();
        writeln!(text, "{}", lines.join("\n")).ok();
    }
    text.push_str(match (&looked.jail, &looked.reason) {
        (None, _) => "Next: mantlet doctor\n",
        (Some(_), None) => "Next: mantlet exec -- COMMAND, or mantlet shell\n",
        (Some(_), Some(_)) => {
            "So the jail above is the default one, with an empty workspace.\n\
             Next: change to the directory of a project, then mantlet exec -- COMMAND, or mantlet shell\n"
        }
    });
    text
}

/// Prints; a reader that has seen enough is no failure.
pub(crate) fn print(text: &str) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        other => other.context("cannot write to standard output").map(|()| ExitCode::SUCCESS),
    }
}
