//! `mantlet vault exec`: a program with values of a file in its environment, and in no other.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use anyhow::Context as _;
use clap::Args;
use mantlet_vault::variables::variables;

use super::{FileArgs, load, open};
use crate::policy_cmd::tell;

/// As env(1): the command could not be executed, or was not found.
const NOT_EXECUTED: u8 = 126;
const NOT_FOUND: u8 = 127;

/// Run a command with the values of a file in its environment
///
/// Each NAME=value of a dotenv file, or each single value at the top of a JSON or YAML file, is a variable of the command
/// and of what it starts. The command takes this process's place: signals and the exit code are its own; 125 if Mantlet
/// refused, 126 if the command could not be executed, 127 if it was not found.
///
/// An environment is no secret from its own user: every process of that user, and root, reads it in
/// /proc/PID/environ while the command runs, and the command's children inherit it. Where a program can read a file or
/// standard input, prefer `mantlet vault get` in a pipe.
///
/// Values are taken literally: quotes in a dotenv file are part of the value, as with SOPS.
#[derive(Debug, Clone, Args)]
pub(crate) struct ExecArgs {
    #[command(flatten)]
    file: FileArgs,
    /// Take this name from the file though it decides what the command runs (PATH, LD_PRELOAD, ...); may be repeated
    #[arg(long, value_name = "NAME")]
    allow_name: Vec<String>,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub(crate) fn run(args: &ExecArgs) -> anyhow::Result<ExitCode> {
    let path = &args.file.file;
    let opened = open(path, load(path, args.file.kind)?)?;
    let variables = variables(&opened, &args.allow_name)
        .with_context(|| format!("cannot make an environment of {}", path.display()))?;
    drop(opened);
    if !variables.left_out.is_empty() {
        tell(&format!("left out, no single values: {}", variables.left_out.join(", ")))?;
    }
    let Some((program, words)) = args.command.split_first() else { return Ok(ExitCode::from(crate::REFUSED)) };
    let mut command = Command::new(program);
    command.args(words);
    for (name, value) in &variables.set {
        command.env(name, OsStr::from_bytes(value.expose()));
    }
    drop(variables);
    // The kernel takes this process's memory apart; what the new program gets is its environment alone.
    let error = command.exec();
    drop(command);
    let code = if error.kind() == std::io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTED };
    tell(&format!("cannot execute {}: {error}", program.display()))?;
    Ok(ExitCode::from(code))
}
