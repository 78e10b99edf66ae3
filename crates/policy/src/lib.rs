//! `mantlet.toml` parsed and validated into a [`Policy`].
//!
//! Pure: text in, values out. It touches the host only through [`Host`], never opens a file,
//! never reads the environment. A `Policy` can only be made by validation.

mod types;

pub use types::*;
