//! `mantlet vault decrypt`, `get` and `list`.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use mantlet_vault::{parse_path, write_path};

use super::output::{Force, give};
use super::{FileArgs, load, open};
use crate::policy_cmd::print;

/// Write a file's plaintext to a pipe
#[derive(Debug, Clone, Args)]
pub(crate) struct DecryptArgs {
    #[command(flatten)]
    file: FileArgs,
    #[command(flatten)]
    force: Force,
}

/// Write one value to a pipe, without a line break
#[derive(Debug, Clone, Args)]
pub(crate) struct GetArgs {
    #[command(flatten)]
    file: FileArgs,
    /// Its name, or `["name"]["inner"][0]`
    name: String,
    #[command(flatten)]
    force: Force,
}

/// List the names of a file's values; needs no key
#[derive(Debug, Clone, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    file: FileArgs,
    /// One JSON object: names, recipients, type
    #[arg(long)]
    json: bool,
}

pub(crate) fn decrypt(args: &DecryptArgs) -> anyhow::Result<ExitCode> {
    let path = &args.file.file;
    // What is opened is dropped, and wiped, before somebody else decides how long the writing takes.
    let plain = open(path, load(path, args.file.kind)?)?.plain();
    give(&plain.with_context(|| format!("cannot write the plaintext of {}", path.display()))?, &args.force)
}

pub(crate) fn get(args: &GetArgs) -> anyhow::Result<ExitCode> {
    let path = &args.file.file;
    let steps = parse_path(&args.name)?;
    let value = open(path, load(path, args.file.kind)?)?.get(&steps)?;
    match value {
        Some(value) => give(&value, &args.force),
        None => bail!("{} has no `{}`\nhint: mantlet vault list", path.display(), write_path(&steps)),
    }
}

pub(crate) fn list(args: &ListArgs) -> anyhow::Result<ExitCode> {
    let sealed = load(&args.file.file, args.file.kind)?;
    let names: Vec<String> = sealed.names().iter().map(|path| write_path(path)).collect();
    if args.json {
        let listed = serde_json::json!({
            "type": sealed.format().name(),
            "names": names,
            "recipients": sealed.recipients(),
        });
        return print(&format!("{}\n", mantlet_ledger::escape_json(&listed.to_string())));
    }
    print(&names.iter().map(|name| format!("{name}\n")).collect::<String>())
}
