//! `mantlet vault init`: the identity that opens this user's files.

use std::io::{BufRead as _, IsTerminal as _};
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context as _, bail};
use clap::Args;
use mantlet_vault::store::Place;
use mantlet_vault::{Identity, Secret, gather};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use super::config_home;
use crate::policy_cmd::{print, tell};

/// Make the identity that opens this user's files; prints its recipient
#[derive(Debug, Clone, Args)]
pub(crate) struct InitArgs {}

pub(crate) fn run(_args: &InitArgs) -> anyhow::Result<ExitCode> {
    let path = gather::own_identity(&config_home()?);
    let parent = path.parent().context("the identity has no directory")?;
    let mut maker = std::fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(maker.recursive(true), 0o700)
        .create(parent)
        .with_context(|| format!("cannot make {}", parent.display()))?;
    let place = Place::lock(&path)?;
    if place.read()?.is_some() {
        bail!("{} exists: with another identity, what it opens could not be opened any more", path.display());
    }
    let identity = Identity::generate();
    place.replace(None, identity.file(&mantlet_ledger::rfc3339(SystemTime::now())).expose())?;
    tell(&format!(
        "{} opens what is encrypted for the following recipient: keep a copy of it in a safe place",
        path.display()
    ))?;
    print(&format!("{}\n", identity.recipient()))
}

/// Writes a question to standard error, without a line break.
pub(crate) fn show(question: &str) -> anyhow::Result<()> {
    let text = mantlet_ledger::escape(question.as_bytes());
    std::io::Write::write_all(&mut std::io::stderr().lock(), text.as_bytes()).context("cannot write to standard error")
}

/// Asks on the terminal, without echo.
pub(crate) fn ask(prompt: &str) -> anyhow::Result<Secret> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        bail!("standard input is no terminal");
    }
    show(prompt)?;
    let before = tcgetattr(&stdin).context("cannot examine the terminal")?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    silent.local_modes.insert(LocalModes::ECHONL);
    tcsetattr(&stdin, OptionalActions::Flush, &silent).context("cannot switch the terminal's echo off")?;
    let mut line = Vec::new();
    let read = stdin.lock().read_until(b'\n', &mut line);
    tcsetattr(&stdin, OptionalActions::Flush, &before).context("cannot switch the terminal's echo on")?;
    read.context("cannot read from the terminal")?;
    if line.is_empty() {
        bail!("nothing was entered");
    }
    Ok(Secret::new(line))
}
