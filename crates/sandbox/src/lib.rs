//! A policy found, compiled to a jail, and the jail entered.
//!
//! [`exec`] runs one command. The order of a call: `call` makes the plan, `monitor` owns the jail, `init` builds it
//! around itself (`root`, `landlock_rules`, `seccomp`), `client` carries bytes, `keeper` keeps mounts up, `review` looks at
//! what was left.

mod advice;
mod ask;
mod budget;
mod call;
mod cgroup;
pub mod channel;
mod client;
mod covers;
mod disk;
mod evidence;
mod fallback;
mod files;
mod gitconfig;
pub mod halt;
mod host;
mod idmap;
mod ids;
mod init;
mod inside;
mod journal;
mod keeper;
mod landlock_rules;
mod layout;
mod limits;
mod live;
mod made;
mod mechanisms;
mod monitor;
mod outcome;
mod plan;
mod quarantine;
mod recovery;
mod report;
mod request;
mod review;
mod root;
mod scan;
mod seccomp;
mod server;
mod source;
mod spots;
mod streams;
mod supervisor;
mod sweep;
mod sys;
mod syscalls;
mod text;
mod tier;
mod tracked;
mod tree;
mod walk;
mod way_out;
mod whole;
mod wire;

pub use budget::Budget;
pub use call::exec;
pub use evidence::keep as ledger_keep;
pub use halt::{halt, halted, resume};
pub use host::RealHost;
pub use ids::{Ids, Mapping};
pub use journal::{call_of, state_dir};
pub use layout::MARKER;
pub use plan::Refusal;
pub use report::{Finding, Held, Report};
pub use request::{Access, Command, Kind, Request, TerminalSize, UsageError, env_pairs, exec_words, parse_exec};
pub use server::confine_server;
pub use source::{Loaded, SourceError, load, locate, policy_for, select, user_file};
pub use sys::{close_inherited, signal_fd};
pub use syscalls::table as seccomp_table;
pub use tier::{Extent, Mechanisms, Tier};
pub use whole::{Network, Told, Whole, parse_run, run_words};
