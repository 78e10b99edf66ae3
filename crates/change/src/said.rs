//! What a file says: a text where it is one, bytes where it is not, and a hash where only sameness is asked.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// What a file says, or what that hashes to. Two are equal when the files are.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub(crate) enum Said {
    /// A text.
    Text(String),
    /// Anything else: a database.
    Bytes(Vec<u8>),
    /// Only the hash: what a file said is not needed again, but whether it still says it.
    Hash(String),
}

/// As a record holds it. Settings are texts in it, which a person can compare.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Base64 { base64: String },
    Hash { sha256: String },
}

impl Said {
    pub(crate) fn of(bytes: Vec<u8>) -> Said {
        String::from_utf8(bytes).map_or_else(|error| Said::Bytes(error.into_bytes()), Said::Text)
    }

    /// Lends what is said; nothing when only its hash was kept.
    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        match self {
            Said::Text(text) => Some(text.as_bytes()),
            Said::Bytes(bytes) => Some(bytes),
            Said::Hash(_) => None,
        }
    }

    /// Lends the text, if it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Said::Text(text) => Some(text),
            Said::Bytes(_) | Said::Hash(_) => None,
        }
    }

    /// Keeps the hash of what is no text.
    pub(crate) fn shortened(&self) -> Said {
        match self {
            Said::Bytes(bytes) => Said::Hash(hash(bytes)),
            other => other.clone(),
        }
    }

    fn hash(&self) -> String {
        match self {
            Said::Hash(hash) => hash.clone(),
            other => hash(other.bytes().unwrap_or_default()),
        }
    }
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl PartialEq for Said {
    fn eq(&self, other: &Said) -> bool {
        match (self.bytes(), other.bytes()) {
            (Some(one), Some(two)) => one == two,
            _ => self.hash() == other.hash(),
        }
    }
}

impl From<Written> for Said {
    fn from(written: Written) -> Said {
        match written {
            Written::Text(text) => Said::Text(text),
            // What cannot be decoded equals no file, and is never written into one: the record's own hash has held.
            Written::Base64 { base64 } => STANDARD.decode(base64).map_or(Said::Hash(String::new()), Said::Bytes),
            Written::Hash { sha256 } => Said::Hash(sha256),
        }
    }
}

impl From<Said> for Written {
    fn from(said: Said) -> Written {
        match said {
            Said::Text(text) => Written::Text(text),
            Said::Bytes(bytes) => Written::Base64 { base64: STANDARD.encode(bytes) },
            Said::Hash(sha256) => Written::Hash { sha256 },
        }
    }
}

/// What a file says with us is compared and never written again: of a database the record keeps the hash.
pub(crate) fn short<S: Serializer>(said: &Option<Said>, serializer: S) -> Result<S::Ok, S::Error> {
    said.as_ref().map(Said::shortened).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_survives_the_record_and_equals_its_hash() {
        for bytes in [b"text\n".to_vec(), b"\xff\x00binary".to_vec(), Vec::new()] {
            let said = Said::of(bytes.clone());
            let again: Said = serde_json::from_str(&serde_json::to_string(&said).unwrap()).unwrap();
            assert_eq!(again.bytes(), Some(bytes.as_slice()));
            assert!(said == again && Said::Hash(hash(&bytes)) == said && said.shortened() == said);
            assert!(said != Said::Hash(hash(b"other")) && said != Said::of(b"other".to_vec()));
        }
        assert_eq!(serde_json::to_string(&Said::of(b"a".to_vec())).unwrap(), "\"a\"");
    }
}
