//! `mantlet`: reads its arguments and calls the rooms. It decides nothing.
#![forbid(unsafe_code)]

mod alert_cmd;
mod args;
mod daemon_cmd;
mod demo;
mod doctor;
mod doctor_causes;
mod egress;
mod exec;
mod generate;
mod halt_cmd;
mod hook_cmd;
mod install;
mod install_policy;
mod install_trial;
mod log_cmd;
mod look;
mod look_walk;
mod mcp;
mod policy_cmd;
mod run;
mod run_seam;
mod shell_prefix;
mod throwaway;
mod vault;
mod watch;
mod write;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use args::{Cli, Command};

/// Libraries copy what they are given: what `mantlet vault` frees is wiped, whoever made the copy.
#[global_allocator]
static MEMORY: mantlet_vault::sys::Wiping = mantlet_vault::sys::Wiping;

/// Mantlet's own failure or refusal, as with every program that runs another (env(1)).
pub(crate) const REFUSED: u8 = 125;

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let result = match words.first().and_then(|word| word.to_str()) {
        // Asked for before the large command line is built: an agent waits for these.
        Some("exec") if exec::is_passed_on(&words) => exec::pass_on(&words),
        Some("hook") if hook_cmd::is_hook(&words) => return hook_cmd::run(&words),
        // What a jail's monitor starts to serve the way out.
        Some("--way-out") => {
            mantlet_daemon::serve_one();
            return ExitCode::SUCCESS;
        }
        Some(mantlet_daemon::SERVER_WORD) => {
            mantlet_daemon::serve_all();
            return ExitCode::SUCCESS;
        }
        Some(watch::WORD) => watch::watching(words.get(1..).unwrap_or_default()),
        Some(shell_prefix::WORD) => shell_prefix::run(&words),
        Some(shell_prefix::RELAY) => shell_prefix::relay(&words),
        _ => run(&words),
    };
    result.unwrap_or_else(|error| {
        // When standard error is closed as well, the exit code is all there is left to say.
        policy_cmd::tell(&format!("{error:#}")).ok();
        ExitCode::from(REFUSED)
    })
}

fn run(words: &[OsString]) -> anyhow::Result<ExitCode> {
    let name = std::env::args_os().next().unwrap_or_else(|| "mantlet".into());
    let cli = match Cli::try_parse_from(std::iter::once(&name).chain(words)) {
        Ok(cli) => cli,
        Err(error) => {
            error.print().ok();
            // What runs a command keeps its exit codes for that command's.
            let is_runner = match words {
                [first, second, ..] if first == "vault" => second == "exec",
                _ => words.first().is_some_and(|word| ["shell", "run", "mcp"].iter().any(|own| word == own)),
            };
            let code = if is_runner && error.use_stderr() { i32::from(REFUSED) } else { error.exit_code() };
            return Ok(ExitCode::from(u8::try_from(code)?));
        }
    };
    match &cli.command {
        Command::Exec(_) => exec::pass_on(words),
        Command::Run(args) => run::pass_on(args, words),
        Command::Shell(args) => exec::shell(args),
        Command::Mcp(args) => mcp::run(args),
        Command::Hook(args) => Ok(hook_cmd::run_parsed(args)),
        Command::Doctor(args) => doctor::run(args),
        Command::Look(args) => look::run(args),
        Command::Policy(args) => policy_cmd::run(args),
        Command::Allow(args) => policy_cmd::allow(args),
        Command::Egress(args) => egress::run(args),
        Command::Install(args) => install::install(args),
        Command::Uninstall(args) => install::uninstall(args),
        Command::Verify(args) => install::verify(args),
        Command::Log(args) => log_cmd::run(args),
        Command::Vault(args) => vault::run(args),
        Command::Watch(args) => watch::run(args),
        Command::Alert(args) => alert_cmd::run(args),
        Command::Daemon(args) => daemon_cmd::run(args),
        Command::Halt(args) => halt_cmd::halt(args),
        Command::Resume(args) => halt_cmd::resume(args),
        Command::Demo(args) => demo::run(args),
        Command::Completions(args) => generate::completions(args, Cli::command()),
        Command::Man(args) => generate::man(args, Cli::command()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }
}
