//! `mantlet vault`: arguments, terminals and exit codes around the room that holds secrets.
//!
//! A value is never an argument: it comes from standard input or a terminal without echo, and goes to a pipe.

pub(crate) mod alert;
mod create;
mod credential;
mod edit;
mod exec;
mod import;
mod init;
mod known;
mod output;
mod provide;
mod read;
mod seal;
mod terminal;
mod unit;
mod unseal;
mod witness;
mod write;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use mantlet_vault::store::read_file;
use mantlet_vault::sys::Locked;
use mantlet_vault::{Format, Opened, Sealed};

use crate::policy_cmd::tell;
pub(crate) use known::{identities, identities_for};

/// Keep secrets encrypted at rest, in files that SOPS reads and writes as well
///
/// Files are encrypted with age (X25519) in the format of SOPS: dotenv, JSON, YAML by their values, anything else whole.
/// Names stay readable, so that a difference between two versions says what changed. Plaintext goes to standard output
/// or to a program, and never to a disk.
#[derive(Debug, Clone, Args)]
pub(crate) struct VaultArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    Init(init::InitArgs),
    Seal(seal::SealArgs),
    Encrypt(create::EncryptArgs),
    Decrypt(read::DecryptArgs),
    Get(read::GetArgs),
    List(read::ListArgs),
    Set(write::SetArgs),
    Unset(write::UnsetArgs),
    Edit(edit::EditArgs),
    Rotate(write::RotateArgs),
    Accept(witness::AcceptArgs),
    Exec(exec::ExecArgs),
    Unseal(unseal::UnsealArgs),
    Provide(provide::ProvideArgs),
    Import(import::ImportArgs),
}

/// How a file is written, when its name does not say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// NAME=value lines
    Dotenv,
    /// JSON
    Json,
    /// YAML
    Yaml,
    /// The whole file as one value, byte for byte
    Binary,
}

impl From<Kind> for Format {
    fn from(kind: Kind) -> Format {
        match kind {
            Kind::Dotenv => Format::Dotenv,
            Kind::Json => Format::Json,
            Kind::Yaml => Format::Yaml,
            Kind::Binary => Format::Binary,
        }
    }
}

/// An encrypted file.
#[derive(Debug, Clone, Args)]
pub(crate) struct FileArgs {
    /// The encrypted file
    file: PathBuf,
    /// How it is written, when its name and its contents do not say it
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    kind: Option<Kind>,
}

pub(crate) fn run(args: &VaultArgs) -> anyhow::Result<ExitCode> {
    protect()?;
    let done = command(&args.command);
    if mantlet_vault::sys::has_given_up_locking() && mantlet_vault::sys::is_swap_on() {
        tell(
            "more memory was needed than may be locked, and swap is on\nhint: ulimit -l unlimited, or encrypted swap",
        )?;
    }
    done
}

fn command(command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Init(args) => init::run(args),
        Command::Seal(args) => seal::run(args),
        Command::Encrypt(args) => create::encrypt(args),
        Command::Decrypt(args) => read::decrypt(args),
        Command::Get(args) => read::get(args),
        Command::List(args) => read::list(args),
        Command::Set(args) => write::set(args),
        Command::Unset(args) => write::unset(args),
        Command::Edit(args) => edit::run(args),
        Command::Rotate(args) => write::rotate(args),
        Command::Accept(args) => witness::accept(args),
        Command::Exec(args) => exec::run(args),
        Command::Unseal(args) => unseal::run(args),
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

/// Reads an encrypted file without opening it.
pub(crate) fn load(path: &Path, kind: Option<Kind>) -> anyhow::Result<Sealed> {
    let text = read_file(path)?;
    let sealed = parse(path, text.expose(), kind)?;
    witness::compare(path, &sealed, text.expose())?;
    Ok(sealed)
}

pub(crate) fn parse(path: &Path, text: &[u8], kind: Option<Kind>) -> anyhow::Result<Sealed> {
    let format = match kind {
        Some(kind) => kind.into(),
        None => match Format::of_name(path)? {
            // `secret.json` may hold a binary file only if asked for, as with SOPS.
            Some(format) => format,
            None => Format::of_sealed(text),
        },
    };
    Sealed::parse(text, format).with_context(|| format!("cannot read {}", path.display()))
}

/// Opens an encrypted file, and says what its MAC does not cover.
pub(crate) fn open(path: &Path, sealed: Sealed) -> anyhow::Result<Opened> {
    let identities = identities_for(&sealed)?;
    let opened = sealed.open(identities).with_context(|| format!("cannot open {}", path.display()))?;
    if opened.plain_comments() > 0 {
        tell(&format!(
            "{}: {} comment(s) stand in the clear among encrypted ones: anybody can have written them",
            path.display(),
            opened.plain_comments()
        ))?;
    }
    Ok(opened)
}
