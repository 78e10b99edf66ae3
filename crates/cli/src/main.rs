//! `mantlet`: reads its arguments and calls the rooms. It decides nothing.
#![forbid(unsafe_code)]

mod args;
mod demo;
mod generate;
mod log_cmd;
mod policy_cmd;
mod write;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use args::{Cli, Command};

/// Mantlet's own failure or refusal, as with every program that runs another (env(1)).
pub(crate) const REFUSED: u8 = 125;

fn main() -> ExitCode {
    let result = match &Cli::parse().command {
        Command::Policy(args) => policy_cmd::run(args),
        Command::Allow(args) => policy_cmd::allow(args),
        Command::Log(args) => log_cmd::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Completions(args) => generate::completions(args, Cli::command()),
        Command::Man(args) => generate::man(args, Cli::command()),
    };
    result.unwrap_or_else(|error| {
        // When standard error is closed as well, the exit code is all there is left to say.
        policy_cmd::tell(&format!("{error:#}")).ok();
        ExitCode::from(REFUSED)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }
}
