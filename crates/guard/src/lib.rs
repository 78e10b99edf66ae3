//! One tool call in, one decision out, from the same policy as the jail.
//!
//! It opens directories to resolve paths as the kernel would, reads git's configurations there, and nothing else; it
//! writes and starts nothing. Its answer holds for the moment in which it looked: the kernel holds what comes after.
#![forbid(unsafe_code)]

mod arguments;
mod below;
mod call;
mod covers;
mod decision;
pub mod dialect;
mod forms;
mod guard;
mod heredoc;
mod host;
mod judge;
mod mentions;
mod patch;
mod pattern;
mod spelling;
mod tree;
mod walk;
mod wrap;

pub use call::{McpServer, ServerRuns, ToolCall};
pub use decision::{Decision, Denial};
pub use guard::{Guard, GuardError};
pub use heredoc::heredoc_patch;
pub use wrap::{Jailer, Line};
