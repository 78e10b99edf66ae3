//! `mantlet daemon`: serves the ways out of all jails of its user, or prints the systemd unit that starts it.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;

/// Serve the ways out of all your jails by one process
///
/// Without it each jail with a way out starts a process of its own. The daemon saves that start and its memory, and jails
/// go on when it is replaced: their connections wait until a new one is there. It runs in the foreground; `--unit` prints
/// what systemd needs to start it.
#[derive(Debug, clap::Args)]
pub(crate) struct DaemonArgs {
    /// Print a systemd unit and exit: for `systemctl --user`, or for root's own agents
    #[arg(long, value_name = "KIND", value_parser = ["user", "system"])]
    unit: Option<String>,
}

pub(crate) fn run(args: &DaemonArgs) -> anyhow::Result<ExitCode> {
    match &args.unit {
        Some(kind) => print_unit(kind)?,
        None => mantlet_daemon::run()?,
    }
    Ok(ExitCode::SUCCESS)
}

fn print_unit(kind: &str) -> anyhow::Result<()> {
    let own = std::env::current_exe().context("cannot find this program\nhint: /proc must be mounted")?;
    let own = own.to_str().filter(|path| !path.contains(['%', '"', '\\', '\n']));
    let own =
        own.context("the path of this program cannot be written into a unit\nhint: install it in /usr/local/bin")?;
    let wanted_by = if kind == "user" { "default.target" } else { "multi-user.target" };
    let text = format!(
        "[Unit]\nDescription=Mantlet: the ways out of jails\n\n[Service]\nExecStart=\"{own}\" daemon\nRestart=always\n\
         RestartSec=1\nNoNewPrivileges=yes\nLimitNOFILE=65536\n\n[Install]\nWantedBy={wanted_by}\n"
    );
    std::io::stdout().write_all(text.as_bytes()).context("cannot write to standard output")
}
