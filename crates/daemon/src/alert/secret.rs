//! Secrets of channels: read from a file that is the owner's alone, or from the vault through what the caller lends.
//!
//! The attacks: a file that others can read or replace, a link or a FIFO in its place, and one that an agent can reach.

use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mantlet_ledger::escape;
use mantlet_policy::SecretRef;
use rustix::fs::{FileType, Mode, OFlags};
use zeroize::Zeroizing;

/// Looks a name up in the vault. What it answers when it fails may be shown to the owner.
pub type VaultLookup = Arc<dyn Fn(&str) -> Result<Secret, String> + Send + Sync>;

/// A secret of one line. It cannot be printed, and is wiped.
pub struct Secret(Zeroizing<String>);

/// As long as a token or a URL is at most.
const MOST: usize = 4096;

/// Why a secret cannot be used. The secret is in none of them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// It cannot be opened or read.
    #[error("cannot read the secret in {path}: {source}")]
    Read {
        /// The file, escaped.
        path: String,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// The file is not what a secret may stand in.
    #[error("the secret in {path} is refused: {why}")]
    Untrusted {
        /// The file, escaped.
        path: String,
        /// Why.
        why: String,
    },
    /// What was read is not one line of visible characters.
    #[error("the secret in {place} is refused: {why}")]
    Malformed {
        /// Where it is, escaped.
        place: String,
        /// Why.
        why: &'static str,
    },
    /// The vault did not give it.
    #[error("the vault gives no {name}: {why}")]
    Vault {
        /// The name.
        name: String,
        /// Why, escaped.
        why: String,
    },
}

impl Secret {
    /// Takes a secret: one line of visible ASCII; a line break at its end is no part of it.
    ///
    /// Nothing that could begin another header, another path or another command of a protocol gets through.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(text: Zeroizing<String>) -> Result<Secret, &'static str> {
        let line = text.trim_end_matches(['\n', '\r']);
        if line.is_empty() {
            return Err("it is empty");
        }
        if line.len() > MOST {
            return Err("it is longer than 4096 bytes");
        }
        match line.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
            true => Ok(Secret(Zeroizing::new(line.to_owned()))),
            false => Err("it is not one line of visible ASCII characters"),
        }
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

/// Where secrets may come from, and may not lie.
pub(super) struct Sources<'s> {
    pub(super) vault: Option<&'s VaultLookup>,
    /// What agents can read.
    pub(super) readable: &'s [PathBuf],
}

impl Sources<'_> {
    pub(super) fn read(&self, from: &SecretRef) -> Result<Secret, SecretError> {
        let text = match from {
            SecretRef::File(path) => self.file(path)?,
            SecretRef::Vault(name) => {
                let failed = |why: &str| SecretError::Vault { name: name.clone(), why: escape(why.as_bytes()) };
                let lookup = self.vault.ok_or_else(|| failed("this program was started without it"))?;
                return lookup(name).map_err(|why| failed(&why));
            }
        };
        Secret::new(text).map_err(|why| SecretError::Malformed { place: from.place(), why })
    }

    fn file(&self, path: &Path) -> Result<Zeroizing<String>, SecretError> {
        let shown = escape(path.as_os_str().as_encoded_bytes());
        let failed = |source: std::io::Error| SecretError::Read { path: shown.clone(), source };
        // NOFOLLOW: a planted link would send another file of the owner's to a server. NONBLOCK: a FIFO would hang us.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match rustix::fs::open(path, flags, Mode::empty()) {
            Err(rustix::io::Errno::LOOP) => return Err(untrusted(&shown, "it is a symbolic link")),
            other => other.map_err(|e| failed(e.into()))?,
        };
        let stat = rustix::fs::fstat(&file).map_err(|e| failed(e.into()))?;
        let why = if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            Some("it is not a regular file")
        } else if stat.st_uid != rustix::process::geteuid().as_raw() {
            Some("another user owns it")
        } else if stat.st_mode & 0o177 != 0 {
            Some("others may read or write it, or it is a program\nhint: chmod 600")
        } else if stat.st_nlink != 1 {
            Some("it has a second name (hard link)")
        } else {
            None
        };
        if let Some(why) = why {
            return Err(untrusted(&shown, why));
        }
        // Its real place: a link among the directories above may lead into a workspace.
        let real = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).map_err(failed)?;
        if self.readable.iter().any(|place| real.starts_with(place)) {
            return Err(untrusted(&shown, "an agent can read it"));
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(MOST + 2));
        std::fs::File::from(file).take(MOST as u64 + 2).read_to_end(&mut bytes).map_err(failed)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| untrusted(&shown, "it is not text"))?;
        Ok(Zeroizing::new(text.to_owned()))
    }
}

fn untrusted(path: &str, why: &str) -> SecretError {
    SecretError::Untrusted { path: path.to_owned(), why: why.to_owned() }
}
