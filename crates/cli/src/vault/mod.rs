//! `mantlet vault`: arguments, terminals and exit codes around the room that holds secrets.

mod import;
mod provide;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use mantlet_vault::sys::Locked;
use mantlet_vault::{Identity, gather};

use crate::policy_cmd::tell;

/// Keep secrets encrypted at rest, in files that SOPS reads and writes as well
#[derive(Debug, Clone, Args)]
pub(crate) struct VaultArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    Provide(provide::ProvideArgs),
    Import(import::ImportArgs),
}

pub(crate) fn run(args: &VaultArgs) -> anyhow::Result<ExitCode> {
    protect()?;
    match &args.command {
        Command::Provide(args) => provide::run(args),
        Command::Import(args) => import::run(args),
    }
}

/// Switches core dumps off, and keeps memory out of swap where the limit allows it.
fn protect() -> anyhow::Result<()> {
    let locked = mantlet_vault::sys::protect().context("cannot switch core dumps off")?;
    if let Locked::Limited(limit) = locked
        && mantlet_vault::sys::is_swap_on()
    {
        tell(&format!(
            "memory is not locked: the limit is {limit} bytes, and swap is on\nhint: ulimit -l unlimited, or encrypted swap"
        ))?;
    }
    Ok(())
}

/// Where settings of this user are.
pub(crate) fn config_home() -> anyhow::Result<PathBuf> {
    let given = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    match (given, std::env::home_dir().filter(|home| home.is_absolute())) {
        (Some(path), _) => Ok(path),
        (None, Some(home)) => Ok(home.join(".config")),
        (None, None) => bail!("this user has no home directory\nhint: set HOME"),
    }
}

/// Every identity that is there.
pub(crate) fn identities() -> anyhow::Result<Vec<Identity>> {
    let variable = |name: &str| std::env::var_os(name).filter(|value: &OsString| !value.is_empty());
    let sources = gather::sources(variable, &config_home()?);
    Ok(gather::gather(&sources)?)
}
