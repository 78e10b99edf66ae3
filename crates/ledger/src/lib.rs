//! The evidence: one [`Entry`] per decision, written as JSON Lines.
//!
//! The type is pure; the writer beside it appends under the owner's state directory and nowhere else.
//! Text that comes from an agent is escaped and masked by the caller before it gets here.

#![forbid(unsafe_code)]

mod anchor;
mod book;
mod chain;
mod durable;
mod entry;
mod error;
mod escape;
pub mod export;
mod follow;
mod key;
mod lock;
mod place;
mod reader;
mod segment;
mod tail;
mod tidy;
mod time;
mod verify;
mod word;
mod writer;

pub use anchor::{Anchored, Heads, NoHead, read_heads};
pub use book::Book;
pub use entry::{Alert, Change, Culprit, Egress, Entry, Exec, Halt, Head, Kind, Link, Tool, Upkeep};
pub use error::{AppendError, OpenError};
pub use escape::{escape, escape_json, shorten};
pub use follow::Follower;
pub use place::{FILE_NAME, ledger_dir};
pub use reader::{Line, ReadError, Reader, Stored, stored};
pub use tidy::Tidied;
pub use time::rfc3339;
pub use verify::{Expected, Finding, Verified, verify};
pub use word::posix_word;
pub use writer::{Durability, Keep, Writer};
