//! SOPS and age documents: secrets encrypted at rest. The one room that holds them in the clear.
//!
//! No network and no processes. Plaintext is in wiped memory only, and leaves through standard output or a file system
//! that the caller has made sure of.
#![deny(unsafe_code)]

mod cipher;
mod compare;
mod document;
mod dotenv;
mod flat;
mod format;
pub mod gather;
mod json;
mod keys;
mod metadata;
mod number;
pub mod passphrase;
mod path;
pub mod rules;
mod scope;
mod secret;
pub mod store;
pub mod sys;
pub mod tree;
pub mod unseal;
pub mod variables;
mod walk;
mod witness;
mod yaml;

/// Properties for fuzz targets.
#[cfg(fuzzing)]
pub mod fuzzing {
    /// What must hold of any text as YAML.
    pub fn yaml(bytes: &[u8]) {
        crate::yaml::property::yaml(bytes);
    }
}

pub use cipher::CipherError;
pub use compare::{LostError, compare};
pub use document::{FormatError, OpenError, Opened, Plan, SealError, Sealed, encrypt_file};
pub use format::{Format, IniError};
pub use keys::{Identity, KeyError, Recipient, parse_identities, seal_to};
pub use metadata::MetadataError;
pub use path::{PathError, parse_path, write_path};
pub use scope::{Rule, ScopeError};
pub use secret::Secret;
pub use walk::{MacOver, WalkError};
pub use witness::{Witness, name_hash};
pub use yaml::YamlError;
