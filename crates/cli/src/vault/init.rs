//! `mantlet vault init`: the identity that opens this user's files.

use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context as _, bail};
use clap::Args;
use mantlet_vault::store::Place;
use mantlet_vault::{Identity, gather, passphrase};

use super::credential::{self, Key};
use super::{config_home, terminal};
use crate::policy_cmd::{print, tell};

/// Make the identity that opens this user's files; prints its recipient
///
/// Without an option it is a file of this user's alone (0600): whoever reads it, or a copy of the disk, opens everything.
/// With a passphrase a person is asked each time, so that no service starts with it. A credential of systemd's is for
/// root's services; bound to a TPM it opens on this machine only.
#[derive(Debug, Clone, Args)]
pub(crate) struct InitArgs {
    /// Protect it with a passphrase, asked for on the terminal (age's scrypt)
    #[arg(long)]
    passphrase: bool,
    /// The same, with the first line of this descriptor: --passphrase-fd 3 3<FILE
    #[arg(long, value_name = "N", conflicts_with = "passphrase")]
    passphrase_fd: Option<u32>,
    /// Make it a credential of systemd's (250), bound to the TPM or to a key that only root reads; needs root
    #[arg(
        long, value_enum, value_name = "KEY", num_args = 0..=1, require_equals = true, default_missing_value = "auto",
        conflicts_with_all = ["passphrase", "passphrase_fd"]
    )]
    systemd_creds: Option<Key>,
}

pub(crate) fn run(args: &InitArgs) -> anyhow::Result<ExitCode> {
    let config = config_home()?;
    let (plain, bound) = (gather::own_identity(&config), credential::place(&config));
    let path = if args.systemd_creds.is_some() { &bound } else { &plain };
    let parent = path.parent().context("the identity has no directory")?;
    let mut maker = std::fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(maker.recursive(true), 0o700)
        .create(parent)
        .with_context(|| format!("cannot make {}", parent.display()))?;
    let place = Place::lock(path)?;
    if let Some(path) = [&plain, &bound].into_iter().find(|path| path.symlink_metadata().is_ok()) {
        bail!("{} exists: with another identity, what it opens could not be opened any more", path.display());
    }
    let identity = Identity::generate();
    let file = identity.file(&mantlet_ledger::rfc3339(SystemTime::now()));
    let how = match args.systemd_creds {
        Some(key) => {
            place.replace(None, credential::encrypt(&file, key)?.expose())?;
            bound_to(key)
        }
        None if args.passphrase || args.passphrase_fd.is_some() => {
            let phrase = args.passphrase_fd.map_or_else(terminal::ask_new_passphrase, terminal::from_descriptor)?;
            place.replace(None, &passphrase::protect(&file, &phrase)?)?;
            "protected with the passphrase"
        }
        None => {
            place.replace(None, file.expose())?;
            "a file of this user's alone (0600), not protected with anything else"
        }
    };
    told(path, how)?;
    print(&format!("{}\n", identity.recipient()))
}

fn bound_to(key: Key) -> &'static str {
    match key {
        Key::Tpm2 => "bound to this machine's TPM",
        Key::Auto if credential::has_tpm() => "bound to this machine's TPM, and to a key on its disk",
        Key::Auto => "bound to a key on this machine's disk, which only root reads: there is no TPM (/dev/tpmrm0)",
        Key::Host => "bound to a key on this machine's disk, which only root reads",
    }
}

fn told(path: &Path, how: &str) -> anyhow::Result<()> {
    tell(&format!(
        "{} opens what is encrypted for the following recipient: keep a copy of it in a safe place\nit is {how}",
        path.display()
    ))
}
