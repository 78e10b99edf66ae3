//! SOPS and age documents: secrets encrypted at rest. The one room that holds them in the clear.
//!
//! No network and no processes. Plaintext is in wiped memory only, and leaves through standard output or a file system
//! that the caller has made sure of.
#![deny(unsafe_code)]

mod secret;
pub mod tree;

pub use secret::Secret;

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `NAME=value` lines.
    Dotenv,
    /// RFC 8259.
    Json,
    /// YAML 1.2 as go-yaml reads it.
    Yaml,
    /// Anything, byte for byte.
    Binary,
}
