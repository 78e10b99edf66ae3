//! What a caller asks for: the arguments of `exec`, parsed without the large command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// The command to run.
#[derive(Debug, Clone)]
pub enum Command {
    /// A program and its arguments.
    Argv(Vec<OsString>),
    /// A line for the shell, of any length.
    Shell(OsString),
}

/// One call of `exec`.
#[derive(Debug, Clone)]
pub struct Request {
    /// `--agent`.
    pub agent: Option<String>,
    /// `--client`.
    pub client: Option<String>,
    /// `--policy`.
    pub policy: Option<PathBuf>,
    /// `--workspace`.
    pub workspace: Option<PathBuf>,
    /// `--cwd`.
    pub cwd: Option<PathBuf>,
    /// `--env NAME=VALUE`, in order.
    pub env: Vec<(OsString, OsString)>,
    /// `--timeout`, which can only shorten the policy's.
    pub timeout: Option<Duration>,
    /// `--report`.
    pub report: Option<PathBuf>,
    /// `--with`: programs mounted read-only below /run/mantlet.
    pub programs: Vec<PathBuf>,
    /// What to run.
    pub command: Command,
}
