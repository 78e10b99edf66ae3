//! The key that signs checkpoints: an Ed25519 seed beside the ledger, for its owner alone.
//!
//! It tells a ledger that its owner wrote from one that somebody else made. Whoever acts with the owner's uid can sign as
//! well: against them only a head that is kept elsewhere helps.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::geteuid;
use zeroize::{Zeroize as _, Zeroizing};

use crate::Head;
use crate::chain::{hex, unhex};

/// The seed in hex, in the ledger's directory.
pub(crate) const KEY_NAME: &str = "key";
/// The public key in hex, beside it.
pub(crate) const PUBLIC_NAME: &str = "key.pub";

/// The signing key.
pub(crate) struct Key(SigningKey);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    /// Reads the key of a ledger's directory, and makes it when there is none. The caller holds the ledger's lock.
    pub(crate) fn of(dir: &OwnedFd) -> std::io::Result<Key> {
        match read(dir.as_fd()) {
            Ok(key) => Ok(key),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => make(dir),
            Err(e) => Err(e),
        }
    }

    pub(crate) fn public(&self) -> String {
        hex(self.0.verifying_key().as_bytes())
    }

    pub(crate) fn sign(&self, head: &Head) -> String {
        hex(&self.0.sign(head.signed_text().as_bytes()).to_bytes())
    }
}

/// Whether a signature over a head holds under a public key, both in hex.
pub(crate) fn is_signed(head: &Head, public: &str, signature: &str) -> bool {
    let Some(Ok(key)) = unhex::<32>(public).map(|bytes| VerifyingKey::from_bytes(&bytes)) else { return false };
    let Some(bytes) = unhex::<64>(signature) else { return false };
    // Strict: a key of small order would verify signatures that its owner never made.
    key.verify_strict(head.signed_text().as_bytes(), &Signature::from_bytes(&bytes)).is_ok()
}

fn read(dir: impl AsFd) -> std::io::Result<Key> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, KEY_NAME, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&file)?;
    let is_own = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
        && stat.st_uid == geteuid().as_raw()
        && stat.st_mode & 0o077 == 0;
    if !is_own {
        return Err(odd("it is not a file that only its owner may read"));
    }
    let mut text = Zeroizing::new([0; 65]);
    let length = rustix::io::pread(&file, &mut text[..], 0)?;
    let text = text.get(..length).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default();
    let mut seed = unhex::<32>(text.trim_end()).ok_or_else(|| odd("it does not hold 64 digits of hex"))?;
    let key = SigningKey::from_bytes(&seed);
    seed.zeroize();
    Ok(Key(key))
}

fn odd(what: &str) -> std::io::Error {
    let text = format!("the ledger's `{KEY_NAME}` cannot be used: {what}\nhint: move it away; a new one is made");
    std::io::Error::new(std::io::ErrorKind::InvalidData, text)
}

fn make(dir: &OwnedFd) -> std::io::Result<Key> {
    let mut seed = Zeroizing::new([0; 32]);
    if rustix::rand::getrandom(&mut seed[..], rustix::rand::GetRandomFlags::empty())? != seed.len() {
        return Err(std::io::Error::other("the kernel gave too few random bytes"));
    }
    let key = Key(SigningKey::from_bytes(&seed));
    replace(dir, PUBLIC_NAME, key.public().as_bytes())?;
    let mut text = Zeroizing::new(hex(&seed[..]));
    text.push('\n');
    replace(dir, KEY_NAME, text.as_bytes())?;
    // A key that a power cut takes back would be followed by another one.
    rustix::fs::fsync(dir)?;
    Ok(key)
}

/// Whole or not at all: half a key would stop every later checkpoint.
fn replace(dir: &OwnedFd, name: &str, text: &[u8]) -> std::io::Result<()> {
    let beside = format!(".{name}.new");
    match rustix::fs::unlinkat(dir, &beside, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(e) => return Err(e.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, &beside, flags, Mode::RUSR | Mode::WUSR)?;
    if rustix::io::write(&file, text)? != text.len() {
        return Err(Errno::NOSPC.into());
    }
    rustix::fs::fsync(&file)?;
    Ok(rustix::fs::renameat(dir, &beside, dir, name)?)
}
