//! Bytes as text in files of ours: hex for hashes, percent signs for names that are no UTF-8. Pure.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

/// A SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Sha256(pub(crate) [u8; 32]);

impl Sha256 {
    pub(crate) fn of(bytes: &[u8]) -> Sha256 {
        use sha2::Digest as _;
        Sha256(sha2::Sha256::digest(bytes).into())
    }

    pub(crate) fn hex(&self) -> String {
        hex(&self.0)
    }
}

impl serde::Serialize for Sha256 {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.hex())
    }
}

impl<'de> serde::Deserialize<'de> for Sha256 {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Sha256, D::Error> {
        let text = String::deserialize(from)?;
        let bytes = unhex(&text).and_then(|b| <[u8; 32]>::try_from(b).ok());
        bytes.map(Sha256).ok_or_else(|| serde::de::Error::custom("not the hex of a SHA-256"))
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a String cannot fail.
        write!(out, "{byte:02x}").ok();
    }
    out
}

pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len() / 2).map(|i| u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok()).collect()
}

/// Writes a path as text that leads back to the same bytes.
pub(crate) fn path_text(path: &Path) -> String {
    let mut out = String::new();
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        out.push_str(&chunk.valid().replace('%', "%25"));
        for byte in chunk.invalid() {
            out.push('%');
            out.push_str(&hex(&[*byte]));
        }
    }
    out
}

/// Reads what [`path_text`] wrote.
pub(crate) fn text_path(text: &str) -> Option<PathBuf> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let code = after.get(..2).and_then(|c| std::str::from_utf8(c).ok())?;
            bytes.extend(unhex(code)?);
            rest = after.get(2..)?;
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    Some(PathBuf::from(OsString::from_vec(bytes)))
}

/// Paths and byte strings in serde's hands.
pub(crate) mod as_path {
    use super::{path_text, text_path};
    use serde::Deserialize as _;
    use std::path::{Path, PathBuf};

    pub(crate) fn serialize<S: serde::Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&path_text(path))
    }

    pub(crate) fn deserialize<'de, D: serde::Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
        text_path(&String::deserialize(from)?)
            .ok_or_else(|| serde::de::Error::custom("not a path as it is written here"))
    }
}

/// Byte strings in hex, in serde's hands.
pub(crate) mod as_hex {
    use super::{hex, unhex};
    use serde::Deserialize as _;

    pub(crate) fn serialize<S: serde::Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex(bytes))
    }

    pub(crate) fn deserialize<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        unhex(&String::deserialize(from)?).ok_or_else(|| serde::de::Error::custom("not hex"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_any_bytes_is_read_back() {
        for bytes in [&b"/a/b%c"[..], b"/\xff\xfe/%25", b"/\n/\xe2\x80\xae"] {
            let path = PathBuf::from(OsString::from_vec(bytes.to_vec()));
            assert_eq!(text_path(&path_text(&path)).as_deref(), Some(path.as_path()));
        }
        assert_eq!(text_path("/a%zz"), None);
        assert_eq!(text_path("/a%2"), None);
    }
}
