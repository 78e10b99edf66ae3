//! `mantlet vault unseal`: a decrypted file in memory for as long as a systemd service runs.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use mantlet_vault::Format;
use mantlet_vault::unseal::{Medium, Owner, Service, Shelf, fits_environment_file};

use super::unit::{self, Part};
use super::{Kind, load, open};
use crate::policy_cmd::tell;

/// Put a file's plaintext into memory for a systemd service
///
/// For services that read `EnvironmentFile=`, or a file. Two small files make systemd do it: a unit that decrypts before
/// the service starts and wipes when it has stopped, however it ended, and a drop-in that makes the service wait for it.
///
///   mantlet vault unseal app.env --tmpfs --service app --user app --print unit >
///     /etc/systemd/system/mantlet-vault-app.service
///
///   mantlet vault unseal app.env --tmpfs --service app --print drop-in >
///     /etc/systemd/system/app.service.d/mantlet-vault.conf
///
/// then `systemctl daemon-reload` and `systemctl restart app`.
///
/// Called by root, the file is /run/mantlet/vault/NAME/env (`secret` unless it is dotenv) on a file system of its own
/// that is never swapped out: tmpfs with noswap (Linux 6.4), else ramfs. Mode 0600, owned by --user. Called by anybody
/// else it is $XDG_RUNTIME_DIR/mantlet/vault/NAME/env, for `systemctl --user`: in memory too, but the kernel may swap
/// it out. No jail shows either place, whatever its policy names.
#[derive(Debug, Clone, Args)]
pub(crate) struct UnsealArgs {
    /// The encrypted file
    #[arg(required_unless_present = "stop")]
    file: Option<PathBuf>,
    /// Into memory: there is no other way, and this says so where it is called
    #[arg(long, required_unless_present = "stop")]
    tmpfs: bool,
    /// The service, as `systemctl` shows it
    #[arg(long, value_name = "NAME")]
    service: String,
    /// Whose the file is: the user the service runs as, by name or number (default: root, or who calls)
    #[arg(long, value_name = "USER", conflicts_with = "stop")]
    user: Option<String>,
    /// How the file is written, when its name and its contents do not say it
    #[arg(long = "type", value_enum, value_name = "TYPE", conflicts_with = "stop")]
    kind: Option<Kind>,
    /// Wipe what is there for the service
    #[arg(long, conflicts_with_all = ["file", "tmpfs"])]
    stop: bool,
    /// Print the unit or the drop-in instead
    #[arg(long, value_enum, value_name = "PART", conflicts_with = "stop")]
    print: Option<Part>,
}

pub(crate) fn run(args: &UnsealArgs) -> anyhow::Result<ExitCode> {
    let service = Service::parse(&args.service)?;
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    let shelf = Shelf::of_caller(runtime);
    let Some(file) = args.file.as_deref().filter(|_| !args.stop) else {
        shelf.take(&service)?;
        return Ok(ExitCode::SUCCESS);
    };
    let owner = owner(args.user.as_deref())?;
    let sealed = load(file, args.kind)?;
    let name = name(sealed.format());
    if let Some(part) = args.print {
        let kind = args.kind.map(|_| sealed.format().name());
        let asked = unit::Asked { service: &service, file, kind, name, user: args.user.as_deref() };
        return unit::print(part, &asked);
    }
    let opened = open(file, sealed)?;
    let plain = opened.plain().with_context(|| format!("cannot write the plaintext of {}", file.display()))?;
    if opened.format() == Format::Dotenv {
        fits_environment_file(&plain).with_context(|| format!("{} is no EnvironmentFile", file.display()))?;
    }
    drop(opened);
    let medium = shelf.put(&service, name, owner, &plain)?;
    let at = shelf.path(&service, name);
    match medium {
        Medium::TmpfsNoSwap => tell(&format!("{} is there, on a tmpfs that is never swapped out", at.display()))?,
        Medium::Ramfs => tell(&format!("{} is there, on a ramfs, which is never swapped out", at.display()))?,
        Medium::Tmpfs if mantlet_vault::sys::is_swap_on() => tell(&format!(
            "{} is there, on a tmpfs that the kernel may swap out, and swap is on\n\
             hint: encrypted swap, or a system service with User=, whose file is never swapped out",
            at.display()
        ))?,
        Medium::Tmpfs => tell(&format!("{} is there, on a tmpfs; swap is off", at.display()))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Only a dotenv file may be named in `EnvironmentFile=`: of others systemd would write lines into its journal.
fn name(format: Format) -> &'static str {
    if format == Format::Dotenv { "env" } else { "secret" }
}

fn owner(user: Option<&str>) -> anyhow::Result<Owner> {
    let own = Owner { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() };
    let Some(user) = user else { return Ok(own) };
    let found = account(Path::new("/etc/passwd"), user)?;
    if own.uid != 0 && found.uid != own.uid {
        bail!("only root gives a file to another user\nhint: as root for a system service, or leave --user out");
    }
    Ok(found)
}

/// Finds a user. Only in the file: a static program has no name service.
fn account(passwd: &Path, user: &str) -> anyhow::Result<Owner> {
    let text = match std::fs::read_to_string(passwd) {
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        read => read.with_context(|| format!("cannot read {}", passwd.display()))?,
    };
    let number = user.parse::<u32>().ok();
    let found = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, uid, gid) = (fields.next()?, fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
        (name == user || number == Some(uid)).then_some(Owner { uid, gid })
    });
    match (found, number) {
        (Some(owner), _) => Ok(owner),
        (None, Some(uid)) => Ok(Owner { uid, gid: uid }),
        (None, None) => bail!(
            "there is no user {user} in {}\nhint: a user of LDAP or another directory can be given by number",
            passwd.display()
        ),
    }
}
