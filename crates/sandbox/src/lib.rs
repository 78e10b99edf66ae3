//! A policy found, compiled to a jail, and the jail entered.

mod host;
mod source;

pub use host::RealHost;
pub use source::{Loaded, SourceError, load, locate, policy_for, select, user_file};
