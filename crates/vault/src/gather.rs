//! Where identities come from: what SOPS reads, and Mantlet's own.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::keys::{Identity, KeyError, parse_identities};
use crate::secret::Secret;
use crate::store::{StoreError, is_there, read_file};

/// Why an identity that is there cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GatherError {
    /// It cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is no identity that can be used here.
    #[error("{place}")]
    Key {
        /// The variable or file, escaped.
        place: String,
        /// What is wrong.
        source: KeyError,
    },
    /// Others can read it.
    #[error("{} can be read by other users; hint: chmod 600 it, and rotate what it opens", mantlet_ledger::escape(.0.as_os_str().as_encoded_bytes()))]
    Open(PathBuf),
}

/// A place where an identity is looked for.
pub enum Source {
    /// The text itself, in a variable.
    Variable(&'static str, Secret),
    /// A file that was asked for, and has to be there.
    Asked(PathBuf),
    /// A file that may be there.
    Usual(PathBuf),
}

/// The name of the credential that systemd decrypts for a unit (`LoadCredentialEncrypted=`).
pub const CREDENTIAL: &str = "mantlet-vault";

/// Returns where Mantlet's own identity is.
pub fn own_identity(config_home: &Path) -> PathBuf {
    config_home.join("mantlet/vault/identity")
}

/// Returns the places in their order, for an environment.
pub fn sources(variable: impl Fn(&str) -> Option<OsString>, config_home: &Path) -> Vec<Source> {
    let mut found = Vec::new();
    if let Some(text) = variable("SOPS_AGE_KEY") {
        found.push(Source::Variable("SOPS_AGE_KEY", Secret::new(text.as_bytes().to_vec())));
    }
    if let Some(path) = variable("SOPS_AGE_KEY_FILE") {
        found.push(Source::Asked(path.into()));
    }
    found.push(Source::Usual(config_home.join("sops/age/keys.txt")));
    found.push(Source::Usual(own_identity(config_home)));
    if let Some(directory) = variable("CREDENTIALS_DIRECTORY") {
        found.push(Source::Usual(Path::new(&directory).join(CREDENTIAL)));
    }
    found
}

/// An identity file that a passphrase protects.
pub struct Protected {
    /// Where it is.
    pub path: PathBuf,
    /// What is in it.
    pub sealed: Secret,
}

/// The identities that are there.
#[derive(Default)]
pub struct Gathered {
    /// Those that can be used.
    pub identities: Vec<Identity>,
    /// Those that somebody must be asked about.
    pub protected: Vec<Protected>,
}

/// Reads all of them.
///
/// # Errors
/// One that is there cannot be used: to go on without it would say "no identity" of a file that has one.
pub fn gather(sources: &[Source]) -> Result<Gathered, GatherError> {
    let mut gathered = Gathered::default();
    for source in sources {
        let (place, text) = match source {
            Source::Variable(name, text) => ((*name).to_owned(), text.duplicate()),
            Source::Usual(path) if !is_there(path)? => continue,
            Source::Asked(path) | Source::Usual(path) => {
                (mantlet_ledger::escape(path.as_os_str().as_bytes()), read_closed(path)?)
            }
        };
        match (parse_identities(text.expose()), source) {
            (Ok(read), _) => gathered.identities.extend(read),
            (Err(KeyError::Passphrase), Source::Asked(path) | Source::Usual(path)) => {
                gathered.protected.push(Protected { path: path.clone(), sealed: text });
            }
            (Err(source), _) => return Err(GatherError::Key { place, source }),
        }
    }
    Ok(gathered)
}

fn read_closed(path: &Path) -> Result<Secret, GatherError> {
    // A link is followed: dotfiles are often links, and what counts is the file.
    let failed = |source| StoreError::Io { step: "read", path: path.into(), source };
    let real = path.canonicalize().map_err(failed)?;
    let text = read_file(&real)?;
    let is_open = real.metadata().map_err(failed)?.mode() & 0o077 != 0;
    if is_open { Err(GatherError::Open(path.into())) } else { Ok(text) }
}
