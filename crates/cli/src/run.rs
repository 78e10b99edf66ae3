//! `mantlet run`: hands its words to the jailer, as `mantlet-run run` does with its own.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::bail;

use crate::run_seam;

/// Run a whole agent in a jail of its own
///
/// AGENT is a section of the policy. Its `client` says what is run when no command is given, which parts of the
/// client's state are shown and which of them can be written; the workspace is where it always is, and everything else
/// of the home is absent. What the agent runs through `mantlet exec` gets a jail of its own, by the same policy.
///
/// Exit code: the agent's own, 128+n if signal n ended it; 125 if Mantlet failed or refused.
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// The agent
    #[arg(value_name = "AGENT")]
    pub(crate) agent: OsString,
    /// The network: none but its own loopback, or the host's, which is not confined
    #[arg(long, value_name = "NETWORK", value_parser = ["none", "host"], default_value = "none")]
    network: String,
    /// The policy (default: /etc/mantlet/mantlet.toml, else ~/.config/mantlet/mantlet.toml)
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<OsString>,
    /// Writes the report of what is enforced, as JSON: when the agent starts, and again when it ends
    #[arg(long, value_name = "FILE")]
    report: Option<OsString>,
    /// Says what would be shown, and runs nothing
    #[arg(long)]
    dry_run: bool,
    /// The command and its arguments, if it is not the client's usual one
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

/// Runs the jailer on these words, in this process.
pub(crate) fn pass_on(args: &RunArgs, words: &[OsString]) -> anyhow::Result<ExitCode> {
    if !args.dry_run {
        // The jailer asks for itself; before it does, the client's program would be asked for its version.
        if let Some(halted) = mantlet_sandbox::halted()? {
            bail!("{halted}\nhint: the owner lets agents go on with: mantlet resume");
        }
        run_seam::check(args)?;
    }
    mantlet_sandbox::close_inherited();
    match mantlet_sandbox::run_words(words.iter().skip(1).cloned()) {
        Ok(code) => Ok(ExitCode::from(u8::try_from(code)?)),
        Err(error) => bail!("{error}\nhint: mantlet run --help"),
    }
}
