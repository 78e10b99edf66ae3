//! The evidence: one [`Entry`] per decision, written as JSON Lines.
//!
//! The type is pure; the writer beside it appends under the owner's state directory and nowhere else.
//! Text that comes from an agent is escaped and masked by the caller before it gets here.

#![forbid(unsafe_code)]

mod book;
mod entry;
mod escape;
pub mod export;
mod follow;
mod place;
mod reader;
mod time;
mod word;
mod writer;

pub use book::Book;
pub use entry::{Alert, Change, Culprit, Egress, Entry, Exec, Halt, Head, Kind, Link, Tool, Upkeep};
pub use escape::{escape, escape_json, shorten};
pub use follow::Follower;
pub use place::{FILE_NAME, ledger_dir};
pub use reader::{Line, ReadError, Reader};
pub use time::rfc3339;
pub use word::posix_word;
pub use writer::{AppendError, OpenError, Writer};
