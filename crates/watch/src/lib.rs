//! Protected files against a signed baseline: what changes is noticed, undone and said.
//!
//! No network, no processes, no async. One `sys` module holds what the kernel offers no safe wrapper for.
#![deny(unsafe_code)]

mod content;

pub use content::{Content, ContentError, Difference, Restored, Whole};
