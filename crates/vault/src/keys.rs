//! age: who may open a file (recipients), and who can (identities). The data key is encrypted to each by itself.

use std::io::Read as _;
use std::str::FromStr as _;

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use age::secrecy::ExposeSecret as _;
use age::x25519;
use zeroize::Zeroizing;

use crate::cipher::DataKey;
use crate::secret::Secret;

/// Why a text is no key, or a key does not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A kind of recipient or identity that is not age's own.
    #[error("{0} is not supported here; hint: use an X25519 key (age1..., AGE-SECRET-KEY-1...)")]
    Unsupported(&'static str),
    /// Not a recipient at all.
    #[error("`{0}` is not an age recipient")]
    Recipient(String),
    /// A line of an identity file that is none.
    #[error("line {0} is not an age identity")]
    Identity(usize),
    /// A file encrypted with a passphrase, where none was asked for.
    #[error("the identity is protected with a passphrase")]
    Passphrase,
    /// The library failed.
    #[error("age could not encrypt")]
    Encrypt,
}

/// Somebody who may open a file.
#[derive(Clone)]
pub struct Recipient(x25519::Recipient);

impl Recipient {
    /// Reads one.
    ///
    /// # Errors
    /// It is none, or of a kind that is not age's own.
    pub fn parse(text: &str) -> Result<Recipient, KeyError> {
        for (prefix, kind) in [
            ("ssh-", "an ssh key"),
            ("age1yubikey", "a YubiKey"),
            ("age1tpm", "a TPM plugin"),
            ("age1pq", "a post-quantum recipient"),
            ("age1tag", "a tagged recipient"),
        ] {
            if text.starts_with(prefix) {
                return Err(KeyError::Unsupported(kind));
            }
        }
        let read = x25519::Recipient::from_str(text);
        read.map(Recipient).map_err(|_| KeyError::Recipient(mantlet_ledger::escape(text.as_bytes())))
    }

    /// Encrypts a data key, armored as SOPS stores it.
    pub(crate) fn wrap(&self, key: &DataKey) -> Result<String, KeyError> {
        let sealed = seal_to(std::slice::from_ref(self), key.bytes()).map_err(|_| KeyError::Encrypt)?;
        String::from_utf8(sealed).map_err(|_| KeyError::Encrypt)
    }
}

impl std::fmt::Display for Recipient {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(out)
    }
}

impl PartialEq for Recipient {
    fn eq(&self, other: &Recipient) -> bool {
        self.to_string() == other.to_string()
    }
}

/// Encrypts bytes to recipients, armored.
///
/// # Errors
/// The library failed, or there is no recipient.
pub fn seal_to(recipients: &[Recipient], plain: &[u8]) -> Result<Vec<u8>, KeyError> {
    use std::io::Write as _;
    let recipients = recipients.iter().map(|recipient| &recipient.0 as &dyn age::Recipient);
    let encryptor = age::Encryptor::with_recipients(recipients).map_err(|_| KeyError::Encrypt)?;
    let mut out = Vec::new();
    let write = || -> std::io::Result<()> {
        let armor = ArmoredWriter::wrap_output(&mut out, Format::AsciiArmor)?;
        let mut writer = encryptor.wrap_output(armor)?;
        writer.write_all(plain)?;
        writer.finish()?.finish()?;
        Ok(())
    };
    write().map_err(|_| KeyError::Encrypt)?;
    Ok(out)
}

/// Somebody who can open files.
pub struct Identity(x25519::Identity);

impl Identity {
    /// Makes a new one.
    pub fn generate() -> Identity {
        Identity(x25519::Identity::generate())
    }

    /// Returns who that is to others.
    pub fn recipient(&self) -> Recipient {
        Recipient(self.0.to_public())
    }

    /// Writes the file that [`parse_identities`] reads.
    pub fn file(&self, created: &str) -> Secret {
        let mut text =
            Zeroizing::new(format!("# created: {created}\n# public key: {}\n", self.recipient()).into_bytes());
        text.reserve_exact(128);
        text.extend_from_slice(self.0.to_string().expose_secret().as_bytes());
        text.push(b'\n');
        Secret::new(std::mem::take(&mut text))
    }

    /// Decrypts what [`seal_to`] made; nothing when it is for somebody else, or damaged.
    pub fn open(&self, sealed: &[u8]) -> Option<Secret> {
        let decryptor = age::Decryptor::new_buffered(ArmoredReader::new(sealed)).ok()?;
        let mut reader = decryptor.decrypt(std::iter::once(&self.0 as &dyn age::Identity)).ok()?;
        let mut plain = Zeroizing::new(Vec::with_capacity(sealed.len()));
        reader.read_to_end(&mut plain).ok()?;
        Some(Secret::new(std::mem::take(&mut *plain)))
    }
}

/// Reads an identity file: a key per line, and comments.
///
/// # Errors
/// A line is something else, or a kind of key that is not age's own.
pub fn parse_identities(text: &[u8]) -> Result<Vec<Identity>, KeyError> {
    if text.starts_with(b"age-encryption.org/") || text.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----") {
        return Err(KeyError::Passphrase);
    }
    let text = std::str::from_utf8(text).map_err(|_| KeyError::Identity(1))?;
    let mut identities = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        for (prefix, kind) in [
            ("AGE-PLUGIN-", "an age plugin"),
            ("AGE-SECRET-KEY-PQ-", "a post-quantum identity"),
            ("-----BEGIN ", "an ssh or PGP key"),
        ] {
            if line.starts_with(prefix) {
                return Err(KeyError::Unsupported(kind));
            }
        }
        let identity = x25519::Identity::from_str(line).map_err(|_| KeyError::Identity(index + 1))?;
        identities.push(Identity(identity));
    }
    Ok(identities)
}

/// Decrypts a data key with whichever identity can.
pub(crate) fn unwrap(sealed: &str, identities: &[Identity]) -> Option<DataKey> {
    identities.iter().find_map(|identity| DataKey::from_bytes(identity.open(sealed.as_bytes())?.expose()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_key_is_for_its_recipients_only() {
        let (mine, other) = (Identity::generate(), Identity::generate());
        let key = DataKey::generate().unwrap();
        let sealed = mine.recipient().wrap(&key).unwrap();
        let opened = unwrap(&sealed, std::slice::from_ref(&mine)).unwrap();
        assert_eq!(opened.bytes(), key.bytes());
        assert!(unwrap(&sealed, &[other]).is_none());
    }

    #[test]
    fn an_identity_file_is_read_and_foreign_keys_are_named() {
        let file = Identity::generate().file("2026-01-01T00:00:00Z");
        assert_eq!(parse_identities(file.expose()).ok().unwrap().len(), 1);
        assert_eq!(parse_identities(b"# x\nAGE-PLUGIN-YUBIKEY-1Q").err(), Some(KeyError::Unsupported("an age plugin")));
        assert_eq!(parse_identities(b"\nhello").err(), Some(KeyError::Identity(2)));
        assert_eq!(Recipient::parse("ssh-ed25519 AAAA").err(), Some(KeyError::Unsupported("an ssh key")));
        assert!(Recipient::parse("age1\u{1b}[2J").err().unwrap().to_string().contains("\\"));
    }
}
