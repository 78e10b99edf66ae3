//! One tool call in, one decision out, from the same policy as the jail.
//!
//! It opens directories to resolve paths as the kernel would, and reads, writes and starts nothing.
#![forbid(unsafe_code)]

mod call;
mod decision;
pub mod dialect;
mod guard;
mod wrap;

pub use call::{McpServer, ServerRuns, ToolCall};
pub use decision::{Decision, Denial};
pub use guard::{Guard, GuardError};
pub use wrap::{Jailer, Line};
