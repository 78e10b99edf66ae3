//! Before a whole agent starts: what `mantlet install` put in front of its tools must have been seen at work in this very
//! version of the client. Clients change what they ask their hooks every month, and say nothing when they stop asking.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use mantlet_change::seams::{self, Seam};
use mantlet_change::{Level, Seen, canary};
use mantlet_policy::{Agent, Host as _};
use mantlet_sandbox::RealHost;

use crate::install;
use crate::policy_cmd::tell;
use crate::run::RunArgs;
use crate::throwaway::Throwaway;

/// Refuses a client whose installed protection was not seen at work, and cannot be shown to be now.
pub(crate) fn check(args: &RunArgs) -> anyhow::Result<()> {
    let host = RealHost::new()?;
    // What is wrong with the policy or the name, the jailer says, and starts nothing.
    let Ok(Some(loaded)) = mantlet_sandbox::load(args.policy.as_deref().map(Path::new), &host) else { return Ok(()) };
    let agent = args.agent.to_str().and_then(|name| loaded.policy.agent(name));
    let Some(agent) = agent else { return Ok(()) };
    let Some(seam) = agent.client().and_then(seams::seam) else { return Ok(()) };
    let is_root = rustix::process::geteuid().is_root();
    let state = std::env::var_os("XDG_STATE_HOME");
    let mut version = None;
    for level in [Level::Managed, Level::User] {
        let dir = mantlet_change::changes_dir(is_root || level == Level::Managed, state.as_deref(), host.home());
        let seen = install::explained(mantlet_change::standing(&dir, seam.client, level))?;
        let before = match seen {
            // Never tried is what the owner chose with --no-verify.
            None | Some(Seen::Untried) => continue,
            Some(Seen::Failed) => None,
            Some(Seen::Verified(verified)) => Some(verified.version),
        };
        let Some(program) = program(args, seam)? else { return Ok(()) };
        only_outside(agent, &program)?;
        if version.is_none() {
            let throwaway = Throwaway::new("version")?;
            version = Some(canary::version(&program, &throwaway.path)?);
        }
        if before.is_none() || before != version {
            again(seam, level, &program, before.as_deref(), is_root)?;
        }
    }
    Ok(())
}

/// The client's own program; nothing when the command is another one, in which no hook is to fire.
fn program(args: &RunArgs, seam: &Seam) -> anyhow::Result<Option<PathBuf>> {
    let asked = args.command.first().map_or(Path::new(seam.program), Path::new);
    if asked.file_name().is_none_or(|name| name != seam.program) {
        return Ok(None);
    }
    let found = match asked.components().count() {
        1 => install::in_path(seam.program),
        _ => Some(asked.to_owned()),
    };
    let found = found.filter(|path| path.is_file());
    found
        .map(|path| std::fs::canonicalize(&path).with_context(|| format!("cannot find {}", path.display())))
        .transpose()
}

/// What is asked for its version here runs outside the jail. The attack: a `node_modules/.bin/claude` that the agent, or
/// the repository, has put where the client's own was.
fn only_outside(agent: &Agent, program: &Path) -> anyhow::Result<()> {
    let places = mantlet_policy::opened(agent, |path| std::fs::canonicalize(path));
    let mut open = places.iter().filter(|place| place.is_writable).map(|place| place.source.as_path());
    match program.starts_with(agent.workspace()) || open.any(|place| program.starts_with(place)) {
        true => bail!(
            "{} lies where agent `{}` can write, and its version would be asked for outside the jail\nhint: start the client's program from another place",
            escaped(&program.to_string_lossy()),
            agent.name()
        ),
        false => Ok(()),
    }
}

fn again(seam: &Seam, level: Level, program: &Path, before: Option<&str>, is_root: bool) -> anyhow::Result<()> {
    let client = seam.client;
    let call = format!("mantlet verify {client} --level {}", level.name());
    let why = match before {
        Some(before) => format!("{client} was verified as {}, and is another version now", escaped(before)),
        None => format!("{client} was not protected when it was last tried"),
    };
    if level == Level::Managed && !is_root {
        bail!("{why}: it is not started\nhint: sudo {call}");
    }
    tell(&format!("{why}: trying it with a live call ..."))?;
    match install::verify_at(client, level, program)? {
        true => Ok(()),
        false => bail!("{client} is not started\nhint: {call}, or mantlet uninstall {client} to go without its hooks"),
    }
}

fn escaped(text: &str) -> String {
    mantlet_ledger::escape(text.as_bytes())
}
