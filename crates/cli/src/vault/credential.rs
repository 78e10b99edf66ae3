//! The identity as a credential of systemd: bound to this machine, or to its TPM. `systemd-creds` does it, as root.
//!
//! The key of `host` lies on the same disk, for root alone: it holds against a copy of this one file, or of a home, and
//! against nobody who has the whole disk. A TPM holds against that as well.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use mantlet_vault::Secret;
use mantlet_vault::store::read_stream;

/// The name that is bound into the credential, so that it stands for nothing else.
pub(super) const NAME: &str = mantlet_vault::gather::CREDENTIAL;

/// What the credential is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Key {
    /// The TPM where there is one, else a key on this machine's disk
    Auto,
    /// A key on this machine's disk that only root reads
    Host,
    /// This machine's TPM
    Tpm2,
}

impl Key {
    fn word(self) -> &'static str {
        match self {
            Key::Auto => "auto",
            Key::Host => "host",
            Key::Tpm2 => "tpm2",
        }
    }
}

/// Returns where the encrypted credential is kept.
pub(super) fn place(config: &Path) -> PathBuf {
    config.join("mantlet/vault/identity.credential")
}

/// Returns whether this machine has a TPM that can be asked.
pub(super) fn has_tpm() -> bool {
    Path::new("/dev/tpmrm0").exists()
}

/// Encrypts an identity file.
pub(super) fn encrypt(file: &Secret, key: Key) -> anyhow::Result<Secret> {
    if key == Key::Tpm2 && !has_tpm() {
        bail!(
            "this machine has no TPM (/dev/tpmrm0)\nhint: --systemd-creds host, --passphrase, or a plain identity (0600)"
        );
    }
    through(&["encrypt", "--name", NAME, "--with-key", key.word(), "-", "-"], Some(file))
}

/// Decrypts what [`encrypt`] made.
pub(super) fn decrypt(path: &Path) -> anyhow::Result<Secret> {
    let mut words = vec!["decrypt", "--name", NAME];
    words.push(path.to_str().context("the path of the credential is not UTF-8")?);
    words.push("-");
    through(&words, None)
}

fn through(words: &[&str], input: Option<&Secret>) -> anyhow::Result<Secret> {
    if !rustix::process::geteuid().is_root() {
        bail!("only root can use the machine's credentials\nhint: --passphrase, or a plain identity (0600)");
    }
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    let started = Command::new("systemd-creds").args(words).stdin(stdin).stdout(Stdio::piped()).spawn();
    let mut child = match started {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("systemd-creds is not there (systemd 250)\nhint: --passphrase, or a plain identity (0600)")
        }
        started => started.context("cannot start systemd-creds")?,
    };
    // It reads to the end before it writes, and an identity fits into a pipe.
    if let (Some(mut to), Some(text)) = (child.stdin.take(), input) {
        to.write_all(text.expose()).context("cannot write to systemd-creds")?;
    }
    let from = child.stdout.take().context("systemd-creds has no output")?;
    let text = read_stream(from).context("cannot read from systemd-creds");
    let status = child.wait().context("cannot wait for systemd-creds")?;
    if !status.success() {
        bail!("systemd-creds failed ({status})");
    }
    text
}
