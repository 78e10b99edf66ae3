//! `mantlet install | uninstall | verify CLIENT`: shows, asks, and has the room `change` do it.
//!
//! What is installed for a client is the room's table; what is added here is the policy's section and the questions.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use mantlet_change::seams::{SEAMS, Seam, Site};
use mantlet_change::{ChangeError, Journal, Level, Plan, Prepared, Record, Seen, canary};
use mantlet_sandbox::RealHost;

use crate::install_policy::{self, Section};
use crate::policy_cmd::{is_in_jail, tell};
use crate::watch::Hold;
use crate::{REFUSED, install_trial};

/// Put Mantlet between a client and its tools, and try it with a live call
///
/// Shows every change with the attack it stops, asks, writes, and has the real client make one call that must be
/// refused and one that must work. If that fails, everything is put back. `mantlet uninstall` does so at any time.
#[derive(Debug, Args)]
pub(crate) struct InstallArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// The agent's workspace, for its section in the policy, if it has none yet
    #[arg(long, value_name = "DIR")]
    pub(crate) workspace: Option<String>,
    /// The name of that section (default: the client's, or `main` for OpenClaw)
    #[arg(long, value_name = "NAME")]
    pub(crate) agent: Option<String>,
    /// Only show what would be changed
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Do not try it: nothing is known to work then
    #[arg(long)]
    no_verify: bool,
}

/// Take back what `mantlet install` changed
///
/// A file that nobody changed since is as it was before, byte for byte; in others only Mantlet's own keys go.
#[derive(Debug, Args)]
pub(crate) struct UninstallArgs {
    #[command(flatten)]
    target: TargetArgs,
}

/// Try the installed protection of a client with a live call
///
/// The real client is asked, by a model on loopback and in a throwaway home, to read a planted file outside its
/// workspace and to run one command in it. Exit code 0: the first was refused by Mantlet and the second worked.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    target: TargetArgs,
}

/// Which client, and whose settings.
#[derive(Debug, Args)]
pub(crate) struct TargetArgs {
    /// The client
    #[arg(value_parser = ["claude", "codex", "gemini", "copilot", "cursor", "opencode", "openclaw"])]
    client: String,
    /// Whose settings: the machine's (as root, if the client has such), or the calling user's
    #[arg(long, value_parser = ["user", "managed"])]
    level: Option<String>,
    /// The client's program (default: as PATH finds it)
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

/// Everything that a call is about.
pub(crate) struct Call {
    pub(crate) seam: &'static Seam,
    pub(crate) site: Site,
    pub(crate) host: RealHost,
    program: Option<PathBuf>,
}

impl Call {
    fn new(target: &TargetArgs, agent: Option<&str>) -> anyhow::Result<Call> {
        if is_in_jail() {
            bail!("a jailed command cannot change its client's settings\nhint: ask the owner to run this call outside");
        }
        let seam = SEAMS.iter().find(|seam| seam.client == target.client).context("no such client")?;
        let is_root = rustix::process::geteuid().is_root();
        let level = match target.level.as_deref() {
            Some("managed") => Level::Managed,
            Some(_) => Level::User,
            None if is_root && seam.has_managed => Level::Managed,
            None => Level::User,
        };
        if level == Level::Managed && !seam.has_managed {
            bail!("{} has no settings of the machine's owner\nhint: --level user", seam.client);
        }
        if level == Level::Managed && !is_root {
            bail!("the machine's settings are root's\nhint: call as root, or with --level user");
        }
        let host = RealHost::new()?;
        let home = mantlet_policy::Host::home(&host).to_owned();
        // The kernel's own name of this program: `PATH` could name another.
        let own = std::fs::read_link("/proc/self/exe").context("cannot find this program")?;
        let programs = own.parent().context("this program has no directory")?.to_owned();
        let moved = mantlet_change::seams::MOVING.iter().filter_map(|name| Some((*name, std::env::var_os(name)?)));
        let agent = agent.unwrap_or(seam.agent).to_owned();
        let site = Site { level, home, programs, moved: moved.collect(), agent };
        Ok(Call { seam, site, host, program: target.program.clone() })
    }

    fn journal(&self) -> anyhow::Result<Journal> {
        let state = std::env::var_os("XDG_STATE_HOME");
        let is_root = rustix::process::geteuid().is_root();
        let dir = mantlet_change::changes_dir(is_root, state.as_deref(), &self.site.home);
        let journal = explained(Journal::open(&dir))?;
        for note in explained(journal.recover())? {
            tell(&note)?;
        }
        Ok(journal)
    }

    /// The client's program: the given one, or the first of its name in an absolute directory of `PATH`.
    pub(crate) fn program(&self) -> anyhow::Result<PathBuf> {
        let found = match &self.program {
            Some(given) => Some(given.clone()),
            None => in_path(self.seam.program),
        };
        let Some(found) = found else {
            let client = self.seam.client;
            bail!(
                "{client} is not in PATH, so that nothing can be tried\nhint: --program FILE, or install with --no-verify"
            )
        };
        std::fs::canonicalize(&found).with_context(|| format!("cannot find {}", found.display()))
    }

    fn plan(&self, policy: &Section) -> Plan {
        let (added, keep) = match policy {
            Section::Added(file) => (Some(file.clone()), Vec::new()),
            Section::There(path) => (None, vec![path.clone()]),
        };
        let files = added.into_iter().chain((self.seam.files)(&self.site)).collect();
        Plan { client: self.seam.client.into(), level: self.site.level, files, keep }
    }
}

/// Gives an error of the room its hint.
pub(crate) fn explained<T>(result: Result<T, ChangeError>) -> anyhow::Result<T> {
    result.map_err(|error| {
        let hint = error.hint();
        anyhow::anyhow!("{error}\nhint: {hint}")
    })
}

/// Runs `mantlet install`.
pub(crate) fn install(args: &InstallArgs) -> anyhow::Result<ExitCode> {
    let call = Call::new(&args.target, args.agent.as_deref())?;
    for name in ["mantlet", "mantlet-run"] {
        let path = call.site.programs.join(name);
        if !path.is_file() {
            bail!("{} is missing, and every call of the client would fail\nhint: install it there", path.display());
        }
    }
    let journal = call.journal()?;
    let policy = install_policy::section(&call, args)?;
    let prepared = explained(journal.prepare(&call.plan(&policy)))?;
    if let Section::Added(policy) = &policy {
        install_policy::check(&call, &policy.path, &prepared)?;
    }
    let trial = match (args.no_verify, call.seam.start) {
        (false, Some(_)) if !args.dry_run => Some(call.program()?),
        _ => None,
    };
    show(&call, &prepared)?;
    let record = explained(journal.record(call.seam.client, call.site.level))?;
    if let (true, Some(record)) = (prepared.is_nothing(), record) {
        return match trial {
            Some(program) if !install_trial::is_known(&record, &program)? => confirm(&call, &journal, record, &program),
            _ => {
                tell(&format!("{}: nothing to do", call.seam.client))?;
                Ok(ExitCode::SUCCESS)
            }
        };
    }
    if args.dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    if !args.yes && !is_confirmed()? {
        tell("nothing was changed")?;
        return Ok(ExitCode::from(REFUSED));
    }
    let mut hold = Hold::usual()?;
    hold.must_be_whole(&prepared.files().iter().map(|file| file.path.clone()).collect::<Vec<_>>())?;
    let record = explained(journal.apply(prepared))?;
    let files: Vec<PathBuf> = record.files().map(Path::to_owned).collect();
    let code = finish(&call, &journal, record, trial.as_deref())?;
    hold.settle(&files)?;
    Ok(code)
}

fn finish(call: &Call, journal: &Journal, record: Record, program: Option<&Path>) -> anyhow::Result<ExitCode> {
    let Some(program) = program else {
        explained(journal.confirm(record, Seen::Untried))?;
        tell(&format!("{} is installed, and NOT verified: no live call was made", call.seam.client))?;
        return next(call);
    };
    tell("trying it with a live call through the real client ...")?;
    match install_trial::run(call, program) {
        Ok((verified, denial)) => {
            let version = verified.version.clone();
            explained(journal.confirm(record, Seen::Verified(verified)))?;
            tell(&format!("{} ({version}) is installed and verified. Its model was told: {denial}", call.seam.client))?;
            next(call)
        }
        Err(error) => {
            tell(&format!("{error:#}"))?;
            for note in explained(journal.roll_back(record))? {
                tell(&note)?;
            }
            tell(
                "everything is as it was before this call\nhint: `mantlet doctor` says what this host can give; --no-verify installs without proof",
            )?;
            Ok(ExitCode::FAILURE)
        }
    }
}

fn next(call: &Call) -> anyhow::Result<ExitCode> {
    for line in (call.seam.next)(&call.site) {
        tell(&format!("note: {line}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What changes, why, and how: the diff on standard output, since it is what a script may want.
fn show(call: &Call, prepared: &Prepared) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for file in prepared.files().iter().filter(|file| !file.diff.is_empty()) {
        let name = |path: &Path| mantlet_ledger::escape(path.as_os_str().as_encoded_bytes());
        let mut text = format!("{}\n", name(&file.path));
        if let Some(target) = &file.target {
            text += &format!("  a link, which stays; what changes is {}\n", name(target));
        }
        for stops in &file.stops {
            text += &format!("  stops: {stops}\n");
        }
        writeln!(out, "{text}{}", file.diff).context("cannot write to standard output")?;
    }
    if !prepared.is_nothing() {
        writeln!(out, "The way back: mantlet uninstall {} --level {}", call.seam.client, call.site.level.name())
            .context("cannot write to standard output")?;
    }
    Ok(())
}

/// Asks on a terminal. Without one nobody has seen the changes, so that only `--yes` is a yes.
pub(crate) fn is_confirmed() -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("nobody was asked\nhint: look with --dry-run, then call again with --yes");
    }
    Ok(matches!(question("Write this? [y/N] ")?.as_str(), "y" | "Y" | "yes"))
}

pub(crate) fn question(text: &str) -> anyhow::Result<String> {
    let mut err = std::io::stderr().lock();
    err.write_all(text.as_bytes()).and_then(|()| err.flush()).context("cannot ask")?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).context("cannot read the answer")?;
    Ok(answer.trim().to_owned())
}

/// Runs `mantlet uninstall`.
pub(crate) fn uninstall(args: &UninstallArgs) -> anyhow::Result<ExitCode> {
    let call = Call::new(&args.target, None)?;
    let journal = call.journal()?;
    let (client, level) = (call.seam.client, call.site.level);
    let record = explained(journal.record(client, level))?;
    let files: Vec<PathBuf> = record.iter().flat_map(Record::files).map(Path::to_owned).collect();
    let mut hold = Hold::usual()?;
    hold.must_be_whole(&files)?;
    match explained(journal.uninstall(client, level))? {
        None => tell(&format!("{client}: nothing is installed at level {}", level.name()))?,
        Some(notes) => {
            for note in notes {
                tell(&note)?;
            }
            tell(&format!("{client} is as it was before `mantlet install`"))?;
        }
    }
    hold.settle(&files)?;
    Ok(ExitCode::SUCCESS)
}

/// Runs `mantlet verify`.
pub(crate) fn verify(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let call = Call::new(&args.target, None)?;
    let journal = call.journal()?;
    let (client, level) = (call.seam.client, call.site.level);
    let Some(record) = explained(journal.record(client, level))? else {
        tell(&format!("{client} is not installed at level {}\nhint: mantlet install {client}", level.name()))?;
        return Ok(ExitCode::FAILURE);
    };
    if call.seam.start.is_none() {
        tell(&format!("{client} cannot run without its vendor's service, so that nothing can be tried"))?;
        return Ok(ExitCode::FAILURE);
    }
    confirm(&call, &journal, record, &call.program()?)
}

/// As `mantlet verify`, for a program that is about to be started. Answers whether it holds.
pub(crate) fn verify_at(client: &str, level: Level, program: &Path) -> anyhow::Result<bool> {
    let target =
        TargetArgs { client: client.into(), level: Some(level.name().into()), program: Some(program.to_owned()) };
    Ok(verify(&VerifyArgs { target })? == ExitCode::SUCCESS)
}

/// The first program of this name in an absolute directory of `PATH`.
pub(crate) fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let dirs = std::env::split_paths(&path).filter(|dir| dir.is_absolute());
    dirs.map(|dir| dir.join(name)).find(|candidate| candidate.is_file())
}

/// Tries what is installed, and writes down what was seen.
fn confirm(call: &Call, journal: &Journal, record: Record, program: &Path) -> anyhow::Result<ExitCode> {
    let client = call.seam.client;
    match install_trial::run(call, program) {
        Ok((verified, denial)) => {
            let version = verified.version.clone();
            explained(journal.confirm(record, Seen::Verified(verified)))?;
            tell(&format!("{client} ({version}) is verified. Its model was told: {denial}"))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            // What held for one version is no promise for another.
            explained(journal.confirm(record, Seen::Failed))?;
            let fatal = matches!(error.downcast_ref(), Some(canary::CanaryError::Leaked));
            let advice = if fatal { "do not use this client until it holds: " } else { "" };
            tell(&format!(
                "{error:#}\nhint: {advice}mantlet uninstall {client}, mantlet install {client}; if that fails as well, this version of {client} is not supported"
            ))?;
            Ok(ExitCode::FAILURE)
        }
    }
}
