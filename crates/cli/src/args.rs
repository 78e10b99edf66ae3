//! The arguments of `mantlet`: one enum of subcommands, each with its room's own struct. Parsing only.

use clap::{Parser, Subcommand};

use crate::alert_cmd::AlertArgs;
use crate::daemon_cmd::DaemonArgs;
use crate::demo::DemoArgs;
use crate::doctor::DoctorArgs;
use crate::egress::EgressArgs;
use crate::exec::{ExecArgs, ShellArgs};
use crate::generate::{CompletionsArgs, ManArgs};
use crate::halt_cmd::{HaltArgs, ResumeArgs};
use crate::hook_cmd::HookArgs;
use crate::install::{InstallArgs, UninstallArgs, VerifyArgs};
use crate::log_cmd::LogArgs;
use crate::look::LookArgs;
use crate::mcp::McpArgs;
use crate::policy_cmd::{AllowArgs, PolicyArgs};
use crate::run::RunArgs;
use crate::vault::VaultArgs;
use crate::watch::WatchArgs;

/// Enforcement for self-hosted AI agents that a prompt cannot talk its way around
#[derive(Debug, Parser)]
#[command(
    name = "mantlet",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Exec(ExecArgs),
    Run(RunArgs),
    Shell(ShellArgs),
    Mcp(McpArgs),
    Hook(HookArgs),
    Doctor(DoctorArgs),
    Look(LookArgs),
    Policy(PolicyArgs),
    Allow(AllowArgs),
    Egress(EgressArgs),
    Install(InstallArgs),
    Uninstall(UninstallArgs),
    Verify(VerifyArgs),
    Log(LogArgs),
    Vault(VaultArgs),
    Watch(WatchArgs),
    Alert(AlertArgs),
    Daemon(DaemonArgs),
    Halt(HaltArgs),
    Resume(ResumeArgs),
    Demo(DemoArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
}
