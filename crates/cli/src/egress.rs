//! `mantlet egress ...`: the way out, asked about and served for what runs in no jail.

mod asked;
mod learn;
mod proxy;
mod test;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use mantlet_ledger::posix_word;
use mantlet_policy::Agent;
use mantlet_sandbox::Loaded;

/// Ask what may leave for the network, or serve it to what runs in no jail
#[derive(Debug, Args)]
pub(crate) struct EgressArgs {
    #[command(subcommand)]
    command: EgressCommand,
}

#[derive(Debug, Subcommand)]
enum EgressCommand {
    Test(test::TestArgs),
    Learn(learn::LearnArgs),
    Proxy(proxy::ProxyArgs),
}

/// Runs `mantlet egress ...`.
pub(crate) fn run(args: &EgressArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        EgressCommand::Test(args) => test::run(args),
        EgressCommand::Learn(args) => learn::run(args),
        EgressCommand::Proxy(args) => proxy::run(args),
    }
}

/// The words that make a printed `mantlet allow` speak of the policy in force.
fn source_words(given: Option<&std::path::Path>, loaded: &Loaded, agent: &Agent) -> String {
    match (given, &loaded.file) {
        (Some(file), _) => format!(" --policy {}", posix_word(file)),
        (None, Some(_)) => String::new(),
        (None, None) => format!(" --workspace {}", posix_word(agent.workspace())),
    }
}
