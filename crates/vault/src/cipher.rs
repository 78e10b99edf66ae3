//! One value in SOPS's form: `ENC[AES256_GCM,data:..,iv:..,tag:..,type:..]`. AES-256-GCM with a 32-byte nonce; the
//! names that lead to the value are authenticated with it, so that a value cannot be moved.

use aes_gcm::aead::consts::U32;
use aes_gcm::aead::{AeadInPlace as _, KeyInit as _};
use aes_gcm::aes::Aes256;
use aes_gcm::{AesGcm, Key, Nonce, Tag};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::number::{float_text, parse_float};
use crate::secret::Secret;
use crate::tree::Value;

pub(crate) const NONCE_SIZE: usize = 32;
const TAG_SIZE: usize = 16;
pub(crate) const KEY_SIZE: usize = 32;

/// The key of one file.
pub(crate) struct DataKey(Zeroizing<[u8; KEY_SIZE]>);

impl DataKey {
    pub(crate) fn generate() -> Result<DataKey, CipherError> {
        let mut key = Zeroizing::new([0; KEY_SIZE]);
        random(key.as_mut_slice())?;
        Ok(DataKey(key))
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<DataKey> {
        let mut key = Zeroizing::new([0; KEY_SIZE]);
        (bytes.len() == KEY_SIZE).then(|| key.copy_from_slice(bytes))?;
        Some(DataKey(key))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    fn cipher(&self) -> AesGcm<Aes256, U32> {
        AesGcm::new(Key::<Aes256>::from_slice(self.0.as_slice()))
    }
}

/// Why a value cannot be encrypted or decrypted. Never with the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CipherError {
    /// It is not in SOPS's form.
    #[error("is not encrypted")]
    NotEncrypted,
    /// The form is right and its parts are not.
    #[error("is damaged: its {0} cannot be read")]
    Damaged(&'static str),
    /// Authentication failed.
    #[error("was changed, moved from another name, or belongs to another key")]
    Forged,
    /// The text does not fit the type it says.
    #[error("does not hold what its type says")]
    Type,
    /// The system gives no random bytes.
    #[error("cannot be encrypted: the system gives no random bytes")]
    Random,
}

/// Fills a buffer with random bytes.
pub(crate) fn random(into: &mut [u8]) -> Result<(), CipherError> {
    let mut done = 0;
    while done < into.len() {
        let rest = into.get_mut(done..).ok_or(CipherError::Random)?;
        done +=
            rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty()).map_err(|_| CipherError::Random)?;
    }
    Ok(())
}

/// A value's type as SOPS writes it, and its text, which is also what the file's MAC is made of.
pub(crate) fn plain_text(value: &Value) -> Option<(&'static str, Secret)> {
    Some(match value {
        Value::Text(text) => ("str", text.duplicate()),
        Value::Int(number) => ("int", Secret::new(number.to_string().into_bytes())),
        Value::Float(number) => ("float", Secret::new(float_text(*number).into_bytes())),
        Value::Bool(is_true) => ("bool", Secret::from(if *is_true { "True" } else { "False" })),
        Value::Time(text) => ("time", Secret::from(text.as_str())),
        Value::Null | Value::List(_) | Value::Map(_) => return None,
    })
}

/// Encrypts a text; an empty one stays empty, as SOPS does it.
pub(crate) fn encrypt(key: &DataKey, kind: &str, text: &Secret, path: &str) -> Result<String, CipherError> {
    let mut nonce = [0; NONCE_SIZE];
    random(&mut nonce)?;
    encrypt_with(key, kind, text, path, nonce)
}

/// As [`encrypt`], with a nonce that was only ever used for the same text at the same place.
pub(crate) fn encrypt_with(
    key: &DataKey,
    kind: &str,
    text: &Secret,
    path: &str,
    nonce: [u8; NONCE_SIZE],
) -> Result<String, CipherError> {
    if text.expose().is_empty() {
        return Ok(String::new());
    }
    let mut data = Zeroizing::new(text.expose().to_vec());
    let tag = key
        .cipher()
        .encrypt_in_place_detached(Nonce::<U32>::from_slice(&nonce), path.as_bytes(), &mut data)
        .map_err(|_| CipherError::Forged)?;
    let [data, nonce, tag] = [&data[..], &nonce[..], &tag[..]].map(|bytes| STANDARD.encode(bytes));
    Ok(format!("ENC[AES256_GCM,data:{data},iv:{nonce},tag:{tag},type:{kind}]"))
}

/// What a ciphertext held: its type, its text, and the nonce it was made with.
pub(crate) struct Decrypted<'v> {
    pub(crate) kind: &'v str,
    pub(crate) text: Secret,
    pub(crate) nonce: [u8; NONCE_SIZE],
}

/// Decrypts one value.
pub(crate) fn decrypt<'v>(key: &DataKey, value: &'v [u8], path: &str) -> Result<Decrypted<'v>, CipherError> {
    let text = std::str::from_utf8(value).map_err(|_| CipherError::NotEncrypted)?;
    let parts = text.strip_prefix("ENC[AES256_GCM,data:").and_then(|rest| {
        let (data, rest) = rest.strip_suffix(']')?.split_once(",iv:")?;
        let (nonce, rest) = rest.split_once(",tag:")?;
        let (tag, kind) = rest.split_once(",type:")?;
        Some((data, nonce, tag, kind))
    });
    let (data, nonce, tag, kind) = parts.ok_or(CipherError::NotEncrypted)?;
    let read = |text: &str, what| STANDARD.decode(text).map_err(|_| CipherError::Damaged(what));
    let mut data = Zeroizing::new(read(data, "data")?);
    let (nonce, tag) = (read(nonce, "nonce")?, read(tag, "tag")?);
    let nonce: [u8; NONCE_SIZE] = nonce.try_into().map_err(|_| CipherError::Damaged("nonce"))?;
    if tag.len() != TAG_SIZE {
        return Err(CipherError::Damaged("tag"));
    }
    key.cipher()
        .decrypt_in_place_detached(Nonce::<U32>::from_slice(&nonce), path.as_bytes(), &mut data, Tag::from_slice(&tag))
        .map_err(|_| CipherError::Forged)?;
    Ok(Decrypted { kind, text: Secret::new(std::mem::take(&mut *data)), nonce })
}

/// Makes the value again that [`plain_text`] was made of.
pub(crate) fn typed(kind: &str, text: Secret) -> Result<Value, CipherError> {
    let word = || text.expose_text().ok_or(CipherError::Type);
    Ok(match kind {
        "str" | "bytes" => Value::Text(text),
        "int" => Value::Int(word()?.parse().map_err(|_| CipherError::Type)?),
        "float" => Value::Float(parse_float(word()?).ok_or(CipherError::Type)?),
        // What Go's strconv.ParseBool takes.
        "bool" => match word()? {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Value::Bool(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Value::Bool(false),
            _ => return Err(CipherError::Type),
        },
        "time" => Value::Time(word()?.to_owned()),
        _ => return Err(CipherError::Type),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_back_and_only_at_its_place() {
        let key = DataKey::generate().unwrap();
        let sealed = encrypt(&key, "str", &Secret::from("hunter2"), "a:b:").unwrap();
        assert!(!sealed.contains("hunter2"));
        let opened = decrypt(&key, sealed.as_bytes(), "a:b:").ok().unwrap();
        assert_eq!((opened.kind, opened.text.expose()), ("str", &b"hunter2"[..]));
        assert_eq!(decrypt(&key, sealed.as_bytes(), "a:c:").err(), Some(CipherError::Forged));
        let other = DataKey::generate().unwrap();
        assert_eq!(decrypt(&other, sealed.as_bytes(), "a:b:").err(), Some(CipherError::Forged));
        assert_eq!(decrypt(&key, b"hunter2", "a:b:").err(), Some(CipherError::NotEncrypted));
        let short = sealed.replace(",tag:", ",tag:AAAA");
        assert!(decrypt(&key, short.as_bytes(), "a:b:").is_err());
    }

    #[test]
    fn nonces_do_not_repeat() {
        let key = DataKey::generate().unwrap();
        let one = encrypt(&key, "str", &Secret::from("x"), ":").unwrap();
        assert_ne!(one, encrypt(&key, "str", &Secret::from("x"), ":").unwrap());
    }
}
