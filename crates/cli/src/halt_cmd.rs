//! `mantlet halt` and `mantlet resume`: the kill switch, called and told of. What it does is in `mantlet_sandbox::halt`.

use std::process::ExitCode;

use anyhow::anyhow;
use mantlet_sandbox::Refusal;
use mantlet_sandbox::halt::{By, Ended};
use serde_json::json;

use crate::policy_cmd::{json_text, print, tell};

/// Stop everything: end every jail of yours, and let none start
///
/// Commands, whole agents, MCP servers, shells and file bridges are killed, what they left is reviewed, and `mantlet egress
/// proxy` and the daemon cut what they serve. Until `mantlet resume` nothing starts in a jail and every hook denies. What
/// was never started through Mantlet goes on. Exit code: 0, or 1 when something could not be ended, which is named.
#[derive(Debug, clap::Args)]
pub(crate) struct HaltArgs {
    /// Why; shown to whoever is refused, and kept in the ledger
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// Let agents run again after `mantlet halt`
///
/// Only outside of jails, and as the user who owns the state directory. It is written to the ledger first: while that
/// cannot be written, everything stays halted.
#[derive(Debug, clap::Args)]
pub(crate) struct ResumeArgs {
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// Runs `mantlet halt`.
pub(crate) fn halt(args: &HaltArgs) -> anyhow::Result<ExitCode> {
    let done = mantlet_sandbox::halt(By::Owner, args.reason.as_deref()).map_err(told)?;
    let code = ExitCode::from(u8::from(!done.left.is_empty()));
    done.left.iter().try_for_each(|left| tell(&format!("NOT ended: {left}")))?;
    done.trouble.iter().try_for_each(|trouble| tell(&format!("note: {trouble}")))?;
    let Ended { ended, reviewing, left, trouble } = done;
    if args.json {
        let all = json!({"v": 1, "ended": ended, "reviewing": reviewing, "left": left, "trouble": trouble});
        print(&json_text(&all)?)?;
        return Ok(code);
    }
    let jails = if ended == 1 { "1 jail" } else { &format!("{ended} jails") };
    let rest = if reviewing == 0 { String::new() } else { format!(" ({reviewing} still being reviewed)") };
    tell(&format!("halted: {jails} ended{rest}; nothing starts before: mantlet resume"))?;
    Ok(code)
}

/// Runs `mantlet resume`.
pub(crate) fn resume(args: &ResumeArgs) -> anyhow::Result<ExitCode> {
    let was = mantlet_sandbox::resume().map_err(told)?.was;
    if args.json {
        return print(&json_text(&json!({"v": 1, "was": was}))?);
    }
    match was {
        Some(halted) => tell(&format!("agents may run again; it was {halted}"))?,
        None => tell("nothing was halted")?,
    }
    Ok(ExitCode::SUCCESS)
}

fn told(refusal: Refusal) -> anyhow::Error {
    let hint = refusal.hint.as_ref().map_or(String::new(), |hint| format!("\nhint: {hint}"));
    anyhow!("{refusal}{hint}")
}
