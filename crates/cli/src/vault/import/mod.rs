//! `mantlet vault import openclaw`: takes OpenClaw's credentials out of its files and into the vault, and puts them back.
//!
//! Looks, shows, asks, seals, and only then has the room `change` write. Its record is sealed as well.

mod config;
mod discover;
mod profiles;
mod residue;
mod seal;
mod show;
mod site;
mod sqlite;
mod survey;
mod variables;

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use mantlet_change::{Journal, Level, Plan, Record};
use mantlet_clients::openclaw::PROFILE_STORES;

use crate::REFUSED;
use crate::install::{explained, is_confirmed};
use crate::policy_cmd::{is_in_jail, print, tell};
use crate::watch::Hold;
use site::Site;
use survey::Survey;

/// Take a client's credentials out of its files and into the vault
///
/// Finds what OpenClaw keeps in the clear: in openclaw.json, .env, its databases of auth profiles, units that start it,
/// copies that it makes, and typed commands. Says for each where it is, what it opens and what will be done, asks, seals
/// the values in an encrypted file, and puts SecretRefs in their place. `--undo` puts every file back as it was.
#[derive(Debug, Clone, Args)]
pub(crate) struct ImportArgs {
    /// The client
    #[arg(value_parser = ["openclaw"])]
    client: String,
    /// Only show what would be changed
    #[arg(long, conflicts_with = "undo")]
    dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Say it as JSON
    #[arg(long)]
    json: bool,
    /// Mask credentials in typed commands as well
    #[arg(long, conflicts_with = "undo")]
    history: bool,
    /// Put everything back as it was before the imports
    #[arg(long)]
    undo: bool,
}

/// What is done about typed commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Histories {
    Masked,
    Reported,
}

pub(super) fn run(args: &ImportArgs) -> anyhow::Result<ExitCode> {
    if is_in_jail() {
        bail!("a jailed command cannot change its client's settings\nhint: ask the owner to run this call outside");
    }
    if rustix::process::geteuid().is_root() {
        return carry_out(args);
    }
    // A database in memory is more than an ordinary user may lock, and SQLite asks the system for its own.
    mantlet_vault::sys::beyond_the_limit(|| carry_out(args))
}

fn carry_out(args: &ImportArgs) -> anyhow::Result<ExitCode> {
    let site = Site::find()?;
    let histories = if args.history { Histories::Masked } else { Histories::Reported };
    if args.dry_run {
        return say(args, &discover::survey(&site, histories)?, &site, "dry-run");
    }
    let journal = explained(Journal::open_sealed(&site.records, Box::new(seal::Lender)))?;
    if explained(journal.is_cut_off())? {
        settle(&site)?;
        for note in explained(journal.recover())? {
            tell(&note)?;
        }
    }
    if args.undo { undo(&site, &journal) } else { import(args, &site, &journal, histories) }
}

/// Every database is alone with us: what a running gateway holds in memory would be written over what we write.
fn settle(site: &Site) -> anyhow::Result<()> {
    let mut databases = PROFILE_STORES.iter().flat_map(|store| Site::matching(&site.state, store.database));
    databases.try_for_each(|path| sqlite::settle(&path))
}

fn say(args: &ImportArgs, survey: &Survey, site: &Site, done: &str) -> anyhow::Result<ExitCode> {
    match args.json {
        true => {
            let said = show::json(survey, site, done).to_string();
            print(&format!("{}\n", mantlet_ledger::escape_json(&said)))
        }
        false => print(&show::text(survey, site)),
    }
}

fn import(args: &ImportArgs, site: &Site, journal: &Journal, histories: Histories) -> anyhow::Result<ExitCode> {
    let survey = discover::survey(site, histories)?;
    if survey.files.is_empty() {
        say(args, &survey, site, "nothing")?;
        tell("nothing to do: what is left stays for the reasons above")?;
        return Ok(ExitCode::SUCCESS);
    }
    if !args.json {
        say(args, &survey, site, "")?;
    }
    if !args.yes && !is_confirmed()? {
        tell("nothing was changed")?;
        return Ok(ExitCode::from(REFUSED));
    }
    // A question may stand for hours: what was shown must be what is done.
    let again = discover::survey(site, histories)?;
    if (&again.found, &again.values) != (&survey.found, &survey.values) {
        bail!("OpenClaw's files have changed meanwhile, and nothing was changed\nhint: call again");
    }
    settle(site)?;
    for plan in &again.files {
        // The other name would keep what is taken out under this one.
        if plan.path.metadata().is_ok_and(|meta| meta.nlink() > 1) {
            let name = show::name(&plan.path, site);
            bail!("{name} has other names (hard links), which would keep its credentials\nhint: remove them first");
        }
    }
    seal::ensure_identity()?;
    if !survey.values.is_empty() {
        seal::store(&site.vault, &survey.values)?;
    }
    let plan = Plan { client: next(journal)?, level: Level::User, files: again.files, keep: Vec::new() };
    let prepared = explained(journal.prepare(&plan))?;
    let mut hold = Hold::usual()?;
    let record = explained(journal.apply(prepared))?;
    let files: Vec<PathBuf> = record.files().map(Path::to_owned).collect();
    explained(journal.keep(record))?;
    hold.settle(&files)?;
    if args.json {
        say(args, &survey, site, "done")?;
    }
    tell(&format!("done; the values are in {}, encrypted", site.vault.display()))?;
    for (path, what) in residue::leftovers(site, &survey.values) {
        tell(&format!("note: {} {what}", show::name(&path, site)))?;
    }
    tell("the way back: mantlet vault import openclaw --undo")?;
    tell("next: start the gateway, and ask it: openclaw secrets audit --allow-exec")?;
    tell("note: a gateway inside `mantlet run` sees no vault, and cannot use this yet")?;
    Ok(ExitCode::SUCCESS)
}

/// Each import has a record of its own: the next one begins from what the one before has left.
fn next(journal: &Journal) -> anyhow::Result<String> {
    let last = explained(journal.clients())?.iter().filter_map(|name| number(name)).max();
    Ok(format!("openclaw.{}", last.unwrap_or(0) + 1))
}

fn number(name: &str) -> Option<u32> {
    name.strip_prefix("openclaw.")?.parse().ok()
}

fn undo(site: &Site, journal: &Journal) -> anyhow::Result<ExitCode> {
    let mut records: Vec<(u32, String)> = Vec::new();
    for name in explained(journal.clients())? {
        records.extend(number(&name).map(|number| (number, name)));
    }
    if records.is_empty() {
        tell("nothing was imported")?;
        return Ok(ExitCode::SUCCESS);
    }
    settle(site)?;
    records.sort();
    let mut hold = Hold::usual()?;
    let mut files: Vec<PathBuf> = Vec::new();
    for (_, name) in records.iter().rev() {
        let record = explained(journal.record(name, Level::User))?;
        files.extend(record.iter().flat_map(Record::files).map(Path::to_owned));
        for note in explained(journal.uninstall(name, Level::User))?.unwrap_or_default() {
            tell(&note)?;
        }
    }
    hold.settle(&files)?;
    tell("OpenClaw's files are as they were before the import, with their credentials in the clear")?;
    if PathBuf::from(&site.vault).is_file() {
        tell(&format!("{} stays, encrypted; remove it when you no longer want it", site.vault.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}
