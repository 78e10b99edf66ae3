//! `mantlet exec` and `mantlet shell`: both hand their words to the jailer, as `mantlet-run` does with its own.
//!
//! The words are passed on as they came, so that what is not UTF-8 stays what it is.

use std::ffi::{OsStr, OsString};
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};

/// What both subcommands take.
#[derive(Debug, clap::Args)]
pub(crate) struct JailArgs {
    /// The agent whose policy applies
    #[arg(long, value_name = "NAME")]
    agent: Option<OsString>,
    /// The client it runs in, to choose the agent by
    #[arg(long, value_name = "NAME")]
    client: Option<OsString>,
    /// The policy (default: /etc/mantlet/mantlet.toml, else ~/.config/mantlet/mantlet.toml)
    #[arg(long, value_name = "FILE")]
    policy: Option<OsString>,
    /// The workspace, or a directory in it (default without a policy: the current directory)
    #[arg(long, value_name = "DIR")]
    workspace: Option<OsString>,
    /// Where the command starts
    #[arg(long, value_name = "DIR")]
    cwd: Option<OsString>,
    /// Adds to the command's environment; may be repeated. A name alone takes the caller's own value, which no other
    /// user can then read on a command line
    #[arg(long, value_name = "NAME[=VALUE]")]
    env: Vec<OsString>,
    /// Ends the call after this time (500ms, 90s, 10m), if the policy's limit is not shorter
    #[arg(long, value_name = "TIME")]
    timeout: Option<OsString>,
    /// Writes the report of what was enforced, as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<OsString>,
    /// Gives the command a terminal of this size, such as 24x80, though the caller has none: keys come from standard
    /// input, what it shows goes to standard output
    #[arg(long, value_name = "ROWSxCOLUMNS")]
    terminal: Option<OsString>,
    /// Mounts this program read-only at /run/mantlet/NAME; may be repeated
    #[arg(long = "with", value_name = "PROGRAM")]
    programs: Vec<OsString>,
}

/// Run a command in the jail of an agent's policy
///
/// Exit code: the command's own, 128+n if signal n ended it; 125 if Mantlet failed or refused, 126 if the command
/// could not be executed, 127 if it was not found.
#[derive(Debug, clap::Args)]
pub(crate) struct ExecArgs {
    #[command(flatten)]
    jail: JailArgs,
    /// What the client calls the conversation; kept in the ledger, decides nothing
    #[arg(long, value_name = "KEY")]
    session: Option<OsString>,
    /// What the client calls the turn; kept in the ledger, decides nothing
    #[arg(long, value_name = "ID")]
    run: Option<OsString>,
    /// No command: serves file operations of a client's file tools on standard input and output (read, write)
    #[arg(long, value_name = "ACCESS")]
    files: Option<OsString>,
    /// A line for the shell; repeated ones are joined, so it may be of any length
    #[arg(short = 'c', value_name = "LINE", allow_hyphen_values = true)]
    line: Vec<OsString>,
    /// The command and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// Open a shell in the jail, to look around as an agent's command would
#[derive(Debug, clap::Args)]
pub(crate) struct ShellArgs {
    #[command(flatten)]
    jail: JailArgs,
}

/// Whether these words are for `mantlet-run` as they stand: only help and version are answered here.
///
/// Asked before anything else, so that a call does not pay for the large command line.
pub(crate) fn is_passed_on(words: &[OsString]) -> bool {
    let is_help = |word: &OsString| ["-h", "--help", "-V", "--version"].iter().any(|help| word == help);
    words.first().is_some_and(|word| word == "exec") && !words.get(1).is_some_and(is_help)
}

/// Runs the jailer on these words. In this process: to execute `mantlet-run` would cost a third of a start.
pub(crate) fn pass_on(words: &[OsString]) -> anyhow::Result<ExitCode> {
    mantlet_sandbox::close_inherited();
    match mantlet_sandbox::exec_words(words.iter().skip(1).cloned()) {
        Ok(code) => Ok(ExitCode::from(u8::try_from(code)?)),
        Err(error) if error.asks_for_help() => crate::run(&["exec".into(), "--help".into()]),
        Err(error) => bail!("{error}\nhint: mantlet exec --help"),
    }
}

/// Becomes a shell in the jail.
pub(crate) fn shell(args: &ShellArgs) -> anyhow::Result<ExitCode> {
    if std::io::stdin().is_terminal() && std::io::stderr().is_terminal() {
        let line = "mantlet: a shell in the jail: what it starts, and what is in HOME and /tmp, ends with it";
        writeln!(std::io::stderr().lock(), "{line}").context("cannot write to standard error")?;
    }
    let mut words: Vec<OsString> = vec!["exec".into()];
    args.jail.words(&mut words);
    let bash = "/bin/bash";
    words.push("--".into());
    words.push(if std::path::Path::new(bash).exists() { bash } else { "/bin/sh" }.into());
    pass_on(&words)
}

impl JailArgs {
    fn words(&self, words: &mut Vec<OsString>) {
        let single = [
            ("--agent", &self.agent),
            ("--client", &self.client),
            ("--policy", &self.policy),
            ("--workspace", &self.workspace),
            ("--cwd", &self.cwd),
            ("--timeout", &self.timeout),
            ("--report", &self.report),
            ("--terminal", &self.terminal),
        ];
        let single = single.into_iter().filter_map(|(name, value)| value.as_ref().map(|value| (name, value)));
        let env = self.env.iter().map(|value| ("--env", value));
        let programs = self.programs.iter().map(|value| ("--with", value));
        for (name, value) in single.chain(env).chain(programs) {
            words.push(joined(name, value));
        }
    }
}

/// One word, so that a value that begins with a hyphen stays a value.
fn joined(name: &str, value: &OsStr) -> OsString {
    let mut word = OsString::from(name);
    word.push("=");
    word.push(value);
    word
}

/// The jailer beside this program. Never by PATH: whoever sets that would choose what enforces the policy.
pub(crate) fn jailer() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find this program\nhint: /proc must be mounted")?;
    let program = own.with_file_name("mantlet-run");
    if !program.is_file() {
        bail!("{} is missing\nhint: install mantlet and mantlet-run in the same directory", program.display());
    }
    Ok(program)
}
