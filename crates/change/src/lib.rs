//! Changes to the files of a client: planned, shown, backed up, applied, verified, and taken back byte for byte.
#![forbid(unsafe_code)]

mod json;
mod json_edit;
mod op;
mod toml_text;

pub use op::{EditError, Format, Op, Undo, apply, take_back};
