//! The arguments of `mantlet watch`, and what it prints.

use std::io::IsTerminal as _;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use mantlet_ledger::{Kind, Line, escape, stored};
use serde_json::json;

use super::hold::{self, Hold};
use super::line::Shown;
use super::{Source, copy, run as running, status};
use crate::REFUSED;
use crate::install::question;
use crate::policy_cmd::{json_text, print, tell};

/// Watch protected files, and undo what should not have changed
///
/// Settings, plugins and hooks of agents' clients, shell profiles, units, keys that log in, the policy and Mantlet itself
/// are compared with a signed baseline. What changes is put back within milliseconds as far as the rights suffice, told,
/// and kept for study. Settings are compared by their security keys, so that a client may go on writing its own.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Watch, in the foreground; the first time, what is there becomes the baseline
    Run(From),
    /// Say what the running watch holds; exit code 1 where something differs and stands, or none runs
    Status(Shape),
    /// List what is watched, and why
    List(Shape),
    /// Show how places differ from the baseline; exit code 1 where one does
    Diff(Paths),
    /// Take a change that you made: shown, asked, signed
    ///
    /// What was undone meanwhile is taken from the copy that was kept. Never from a jail.
    Accept(Accept),
    /// Run a command that may change what is watched, such as an upgrade; then show what it changed, and ask
    Hold(HoldArgs),
    /// Print a systemd unit that runs the watch: for `systemctl --user`, or for root's own agents
    Unit {
        /// Whose
        #[arg(value_parser = ["user", "system"])]
        kind: String,
    },
}

#[derive(Debug, Args)]
struct From {
    /// The policy file, instead of /etc/mantlet/mantlet.toml or ~/.config/mantlet/mantlet.toml
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Shape {
    #[command(flatten)]
    from: From,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Paths {
    /// These places; all of them when none is named
    paths: Vec<PathBuf>,
    #[command(flatten)]
    shape: Shape,
}

#[derive(Debug, Args)]
struct Accept {
    /// The places
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    from: From,
}

#[derive(Debug, Args)]
struct HoldArgs {
    /// Take what the command changes without asking
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    from: From,
    /// The command
    #[arg(last = true, required = true)]
    command: Vec<std::ffi::OsString>,
}

/// Runs `mantlet watch`.
pub(crate) fn run(args: &WatchArgs) -> anyhow::Result<ExitCode> {
    let source = |from: &From| Source::new(from.policy.as_deref());
    match &args.task {
        Task::Run(from) => running::run(from.policy.as_deref()),
        Task::Status(shape) => tell_status(&source(&shape.from)?, shape.json),
        Task::List(shape) => list(&source(&shape.from)?, shape.json),
        Task::Diff(args) => diff(&source(&args.shape.from)?, args),
        Task::Accept(args) => accept(&source(&args.from)?, args),
        Task::Hold(args) => held(&source(&args.from)?, args),
        Task::Unit { kind } => unit(kind),
    }
}

fn tell_status(source: &Source, json: bool) -> anyhow::Result<ExitCode> {
    let Some(status) = hold::status(source)? else {
        match json {
            true => print(&json_text(&json!({"v": 1, "runs": false}))?)?,
            false => print("no watch runs: nothing is undone\n")?,
        };
        return Ok(ExitCode::FAILURE);
    };
    print(&if json { json_text(&status)? } else { status::sentences(&status) })?;
    let differs = status.get("standing").and_then(|standing| standing.as_array()).is_none_or(|list| !list.is_empty());
    Ok(ExitCode::from(u8::from(differs)))
}

fn list(source: &Source, json: bool) -> anyhow::Result<ExitCode> {
    let places = source.places();
    if json {
        let all = places.iter().map(|reasoned| {
            let place = &reasoned.place;
            json!({"path": shown(&place.path), "kind": format!("{:?}", place.kind), "content": format!("{:?}", place.content),
                   "whose": reasoned.whose, "why": reasoned.why})
        });
        return print(&json_text(&json!({"v": 1, "places": all.collect::<Vec<_>>()}))?);
    }
    let line = |reasoned: &super::Reasoned| {
        format!("{}\n    {} ({})\n", shown(&reasoned.place.path), escape(reasoned.why.as_bytes()), reasoned.whose)
    };
    print(&places.iter().map(line).collect::<String>())
}

fn diff(source: &Source, args: &Paths) -> anyhow::Result<ExitCode> {
    let mut hold = Hold::begin(source)?;
    if matches!(hold, Hold::Nothing) {
        bail!("there is no baseline yet\nhint: mantlet watch run");
    }
    let diffs = hold.differences(&absolute(&args.paths)?)?;
    match args.shape.json {
        true => print(&json_text(&json!({"v": 1, "differences": diffs}))?)?,
        false => print(&text(&diffs))?,
    };
    Ok(ExitCode::from(u8::from(!diffs.is_empty())))
}

fn accept(source: &Source, args: &Accept) -> anyhow::Result<ExitCode> {
    let mut hold = Hold::begin(source)?;
    if matches!(hold, Hold::Nothing) {
        bail!("there is no baseline yet: what is there becomes it\nhint: mantlet watch run");
    }
    let paths = absolute(&args.paths)?;
    let before = hold.differences(&paths)?;
    if before.is_empty() {
        return accept_kept(source, &mut hold, &paths, args.yes);
    }
    print(&text(&before))?;
    if !args.yes && !is_wanted()? {
        return Ok(ExitCode::from(REFUSED));
    }
    // Somebody may have been quick while the owner read: what was shown is taken, or nothing.
    let taken = hold.accept(&paths, &before)?;
    tell(&format!("accepted: {} paths", taken.len()))?;
    Ok(ExitCode::SUCCESS)
}

/// Takes what was undone, from the copy that was kept of it.
fn accept_kept(source: &Source, hold: &mut Hold, paths: &[PathBuf], yes: bool) -> anyhow::Result<ExitCode> {
    let mut code = ExitCode::FAILURE;
    for path in paths {
        // The ledger knows it by its real name, which many a profile's is not.
        let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let Some(copy) = kept(&source.owner()?.join("ledger"), path)? else {
            tell(&format!("{} is as the baseline says, and nothing was undone", shown(path)))?;
            continue;
        };
        let new = copy::read(&copy)?;
        let sha256 = mantlet_watch::content_hash(&new);
        let old = std::fs::read(path).unwrap_or_default();
        let (old, new) = (String::from_utf8_lossy(&old), String::from_utf8_lossy(&new));
        let diff = mantlet_policy::unified(&old, &new, path);
        print(&diff.lines().map(|line| escape(line.as_bytes()) + "\n").collect::<String>())?;
        if !yes && !is_wanted()? {
            return Ok(ExitCode::from(REFUSED));
        }
        hold.accept_content(path, &copy, sha256)?;
        tell(&format!("accepted: {}", shown(path)))?;
        code = ExitCode::SUCCESS;
    }
    Ok(code)
}

/// Asks on a terminal. Without one nobody has seen the difference, so that only `--yes` is a yes.
fn is_wanted() -> anyhow::Result<bool> {
    let is_wanted = match std::io::stdin().is_terminal() {
        true => matches!(question("Accept this? [y/N] ")?.as_str(), "y" | "Y" | "yes"),
        false => {
            tell("nobody was asked\nhint: look at the difference, then call again with --yes")?;
            false
        }
    };
    if !is_wanted {
        tell("nothing was accepted")?;
    }
    Ok(is_wanted)
}

/// Where the newest undone content of a path is kept, by the ledger.
fn kept(ledger: &Path, path: &Path) -> anyhow::Result<Option<PathBuf>> {
    let name = escape(path.as_os_str().as_encoded_bytes());
    let mut found = None;
    for file in stored(ledger)? {
        for line in file.read()? {
            if let Line::Entry(entry) = line?
                && let Kind::Change(change) = entry.kind
                && change.path == name
                && change.copy.is_some()
            {
                found = change.copy.map(PathBuf::from);
            }
        }
    }
    Ok(found)
}

fn held(source: &Source, args: &HoldArgs) -> anyhow::Result<ExitCode> {
    let [program, words @ ..] = args.command.as_slice() else { bail!("no command") };
    let mut hold = Hold::begin(source)?;
    let status = Command::new(program).args(words).status().with_context(|| format!("cannot start {program:?}"))?;
    let diffs = hold.differences(&[])?;
    if !diffs.is_empty() {
        print(&text(&diffs))?;
        if args.yes || is_wanted()? {
            let paths: Vec<PathBuf> = diffs.iter().map(|diff| diff.path.clone()).collect();
            hold.accept(&paths, &diffs)?;
        } else {
            tell(if hold.is_running() { "it is undone" } else { "the next watch undoes it" })?;
            // Whatever the command said: what it did does not stay.
            return Ok(ExitCode::from(REFUSED));
        }
    }
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

fn text(diffs: &[Shown]) -> String {
    let one = |diff: &Shown| {
        let lines: String = diff.lines.iter().map(|line| format!("    {}\n", escape(line.as_bytes()))).collect();
        format!("{}: {}\n{lines}", shown(&diff.path), escape(diff.what.join(", ").as_bytes()))
    };
    diffs.iter().map(one).collect()
}

fn shown(path: &Path) -> String {
    escape(path.as_os_str().as_encoded_bytes())
}

/// The paths as the watch knows them; a name that is gone is one as well.
fn absolute(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let here = std::env::current_dir().context("there is no current directory")?;
    Ok(paths.iter().map(|path| here.join(path).components().collect()).collect())
}

fn unit(kind: &str) -> anyhow::Result<ExitCode> {
    let own = std::env::current_exe().context("cannot find this program\nhint: /proc must be mounted")?;
    let own =
        String::from_utf8(own.into_os_string().into_vec()).ok().filter(|path| !path.contains(['%', '"', '\\', '\n']));
    let own =
        own.context("the path of this program cannot be written into a unit\nhint: install it in /usr/local/bin")?;
    let wanted_by = if kind == "user" { "default.target" } else { "multi-user.target" };
    // Mixed: where the supervisor was killed, the rest is killed at once as well, and all starts again.
    // No NoNewPrivileges: sendmail and notify-send may need theirs.
    // The system's manager sets no HOME, below which policy and state are.
    let home = if kind == "user" { "" } else { "Environment=HOME=%h\n" };
    print(&format!(
        "[Unit]\nDescription=Mantlet: protected files\n\n[Service]\n{home}ExecStart=\"{own}\" watch run\nKillMode=mixed\nRestart=always\nRestartSec=1\n\
         OOMScoreAdjust=-500\n\n[Install]\nWantedBy={wanted_by}\n"
    ))
}
