//! The baseline: what every protected path was like, signed. A file whose signature does not fit is refused whole.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ed25519_dalek::{Signature, Signer as _, SigningKey};
use serde::{Deserialize, Serialize};

use crate::record::{Attributes, Is, Record};
use crate::state::{StateDir, StateError, failed};
use crate::text::{hex, path_text, text_path, unhex};

const VERSION: u32 = 1;
/// What is signed begins with this, so that no other signature of this key can be taken for one of a baseline.
const CONTEXT: &[u8] = b"mantlet watch baseline 1\n";

/// Why a baseline is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BaselineError {
    /// The state directory fails.
    #[error(transparent)]
    State(#[from] StateError),
    /// Somebody else wrote it, or changed it.
    #[error(
        "the baseline {path:?} is not signed by the key beside it: it was changed\nhint: compare what is protected with a copy you trust, then make a new baseline"
    )]
    Signature {
        /// The baseline.
        path: PathBuf,
    },
    /// It is signed, and cannot be read.
    #[error("the baseline {path:?} cannot be read, line {line}: {why}")]
    Format {
        /// The baseline.
        path: PathBuf,
        /// Where.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// It cannot be written down.
    #[error("cannot encode the baseline: {0}")]
    Encode(#[from] serde_json::Error),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    v: u32,
    records: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    path: String,
    is: Is,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attributes: Option<Attributes>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Trailer {
    signature: String,
}

/// The key that signs; made when there is none.
pub(crate) struct Key(SigningKey);

impl Key {
    pub(crate) fn open(state: &StateDir) -> Result<Key, StateError> {
        let path = state.path().join("key");
        if let Some(text) = state.read("key")? {
            let bytes = std::str::from_utf8(&text).ok().and_then(|t| unhex(t.trim_end()));
            let key = bytes.and_then(|b| <[u8; 32]>::try_from(b).ok());
            return key.map(|k| Key(SigningKey::from_bytes(&k))).ok_or(StateError::Key { path });
        }
        let mut secret = [0; 32];
        let random = rustix::rand::getrandom(&mut secret[..], rustix::rand::GetRandomFlags::empty());
        if random.map_err(failed("make", &path))? != secret.len() {
            return Err(failed("make", &path)(rustix::io::Errno::IO));
        }
        state.write("key", format!("{}\n", hex(&secret)).as_bytes())?;
        Ok(Key(SigningKey::from_bytes(&secret)))
    }

    /// Its public half, in hex.
    pub(crate) fn public(&self) -> String {
        hex(self.0.verifying_key().as_bytes())
    }
}

/// Reads the baseline. `None`: there is none.
pub(crate) fn read(state: &StateDir, key: &Key) -> Result<Option<BTreeMap<PathBuf, Record>>, BaselineError> {
    let path = state.path().join("baseline");
    let Some(bytes) = state.read("baseline")? else { return Ok(None) };
    let unsigned = || BaselineError::Signature { path: path.clone() };
    let body = signed_part(&bytes, key).ok_or_else(unsigned)?;
    let text = std::str::from_utf8(body).map_err(|_| unsigned())?;
    let wrong = |line: usize, why: &dyn ToString| BaselineError::Format {
        path: path.clone(),
        line: line + 1,
        why: why.to_string(),
    };
    let mut lines = text.lines().enumerate();
    let (_, first) = lines.next().ok_or_else(|| wrong(0, &"it is empty"))?;
    let header: Header = serde_json::from_str(first).map_err(|e| wrong(0, &e))?;
    if header.v != VERSION {
        return Err(wrong(0, &"a version that is not known here"));
    }
    let mut records = BTreeMap::new();
    for (number, line) in lines {
        let line: Line = serde_json::from_str(line).map_err(|e| wrong(number, &e))?;
        let at = text_path(&line.path).ok_or_else(|| wrong(number, &"not a path"))?;
        records.insert(at, Record { is: line.is, attributes: line.attributes });
    }
    if records.len() == header.records { Ok(Some(records)) } else { Err(wrong(0, &"another number of records")) }
}

/// Whether the baseline on the disk is one of ours still.
pub(crate) fn is_signed(state: &StateDir, key: &Key) -> bool {
    matches!(state.read("baseline"), Ok(Some(bytes)) if signed_part(&bytes, key).is_some())
}

/// Returns what stands before the last line, when that is its signature.
fn signed_part<'a>(bytes: &'a [u8], key: &Key) -> Option<&'a [u8]> {
    let whole = bytes.strip_suffix(b"\n")?;
    let end = whole.iter().rposition(|b| *b == b'\n')? + 1;
    let (body, last) = (whole.get(..end)?, whole.get(end..)?);
    let trailer: Trailer = serde_json::from_slice(last).ok()?;
    let signature = <[u8; 64]>::try_from(unhex(&trailer.signature)?).ok()?;
    let message = [CONTEXT, body].concat();
    key.0.verifying_key().verify_strict(&message, &Signature::from_bytes(&signature)).ok()?;
    Some(body)
}

/// Signs and writes the baseline.
pub(crate) fn write(state: &StateDir, key: &Key, records: &[(&Path, &Record)]) -> Result<(), BaselineError> {
    let mut message = CONTEXT.to_vec();
    serde_json::to_writer(&mut message, &Header { v: VERSION, records: records.len() })?;
    message.push(b'\n');
    for (path, record) in records {
        let line = Line { path: path_text(path), is: record.is.clone(), attributes: record.attributes.clone() };
        serde_json::to_writer(&mut message, &line)?;
        message.push(b'\n');
    }
    let signature = hex(&key.0.sign(&message).to_bytes());
    message.drain(..CONTEXT.len());
    serde_json::to_writer(&mut message, &Trailer { signature })?;
    message.push(b'\n');
    Ok(state.write("baseline", &message)?)
}
