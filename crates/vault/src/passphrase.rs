//! An identity file that a passphrase protects: age's own format (scrypt), as `age --passphrase` writes it.

use std::io::{Read as _, Write as _};

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use age::secrecy::SecretString;
use zeroize::Zeroizing;

use crate::secret::{Secret, Sink};

/// As age(1) has it. The library's own limit depends on how busy the machine is at that moment.
const MOST_WORK: u8 = 22;

/// Why a passphrase opens or protects nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PassphraseError {
    /// It has no text.
    #[error("the passphrase is empty, or not UTF-8")]
    Empty,
    /// It is another one.
    #[error("the passphrase does not open it")]
    Wrong,
    /// The file is no such file.
    #[error("it is not protected with a passphrase, or damaged")]
    Other,
    /// The library failed.
    #[error("age could not encrypt")]
    Encrypt,
}

/// Protects an identity file.
///
/// # Errors
/// There is no passphrase, or the library failed.
pub fn protect(file: &Secret, passphrase: &Secret) -> Result<Vec<u8>, PassphraseError> {
    let encryptor = age::Encryptor::with_user_passphrase(text(passphrase)?);
    let write = || -> std::io::Result<Vec<u8>> {
        let mut writer = encryptor.wrap_output(ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor)?)?;
        writer.write_all(file.expose())?;
        let mut out = writer.finish()?.finish()?;
        out.push(b'\n');
        Ok(out)
    };
    crate::sys::beyond_the_limit(write).map_err(|_| PassphraseError::Encrypt)
}

/// Opens what [`protect`] made, or age.
///
/// # Errors
/// It is another passphrase, or another kind of file.
pub fn unprotect(sealed: &[u8], passphrase: &Secret) -> Result<Secret, PassphraseError> {
    let mut identity = age::scrypt::Identity::new(text(passphrase)?);
    identity.set_max_work_factor(MOST_WORK);
    let decryptor = age::Decryptor::new_buffered(ArmoredReader::new(sealed)).map_err(|_| PassphraseError::Other)?;
    if !decryptor.is_scrypt() {
        return Err(PassphraseError::Other);
    }
    // scrypt's table is larger than an ordinary user may lock.
    let decrypt = || decryptor.decrypt(std::iter::once(&identity as &dyn age::Identity));
    let reader = crate::sys::beyond_the_limit(decrypt);
    let mut reader = reader.map_err(|_| PassphraseError::Wrong)?;
    let mut sink = Sink::default();
    let mut piece = Zeroizing::new([0; 4096]);
    loop {
        match reader.read(piece.as_mut_slice()) {
            Ok(0) => return Ok(sink.into_secret()),
            Ok(count) => sink.push(piece.get(..count).unwrap_or_default()),
            Err(_) => return Err(PassphraseError::Other),
        }
    }
}

fn text(passphrase: &Secret) -> Result<SecretString, PassphraseError> {
    let text = passphrase.expose_text().filter(|text| !text.is_empty()).ok_or(PassphraseError::Empty)?;
    Ok(SecretString::from(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Identity, KeyError, parse_identities};

    #[test]
    fn an_identity_opens_with_its_passphrase_only() {
        let file = Identity::generate().file("2026-01-01T00:00:00Z");
        let sealed = protect(&file, &Secret::from("correct horse")).unwrap();
        assert_eq!(parse_identities(&sealed).err(), Some(KeyError::Passphrase));
        let opened = unprotect(&sealed, &Secret::from("correct horse")).ok().unwrap();
        assert!(opened == file);
        assert_eq!(unprotect(&sealed, &Secret::from("wrong")).err(), Some(PassphraseError::Wrong));
        assert_eq!(unprotect(&sealed, &Secret::from("")).err(), Some(PassphraseError::Empty));
        assert_eq!(protect(&file, &Secret::from("")).err(), Some(PassphraseError::Empty));
        let mut damaged = sealed.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 1;
        assert!(unprotect(&damaged, &Secret::from("correct horse")).is_err());
        // A file to a recipient is another thing, and no passphrase is asked for it.
        let other = crate::seal_to(&[Identity::generate().recipient()], b"x").unwrap();
        assert_eq!(unprotect(&other, &Secret::from("x")).err(), Some(PassphraseError::Other));
    }
}
