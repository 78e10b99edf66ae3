//! `mantlet alert test | show`: whether the owner can be told. It renders; the daemon's crate sends.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use mantlet_daemon::alert::{Alert, Channel, Settings, configured, into_ledger, send_once, settled};
use mantlet_ledger::escape;
use mantlet_policy::{Alert as Section, Policy};
use serde_json::{Value, json};

use crate::policy_cmd::{SourceArgs, json_text, load, print, tell, with_hint};
use crate::{log_cmd, vault};

/// See how you are told of what happens, and try it
#[derive(Debug, Args)]
pub(crate) struct AlertArgs {
    #[command(subcommand)]
    command: AlertCommand,
}

#[derive(Debug, Subcommand)]
enum AlertCommand {
    /// Send a test alert by each channel of the policy, or by one
    ///
    /// Exit code 0: each took it. 1: one did not, or the policy names none. What was sent and what was not is in the ledger.
    Test {
        #[command(flatten)]
        from: From,
        /// Only this channel: command, desktop, webhook, ntfy, telegram or email
        #[arg(long, value_name = "CHANNEL")]
        channel: Option<String>,
    },
    /// Print the channels of the policy and where they lead, without secrets
    Show(From),
}

/// Where the policy is.
#[derive(Debug, Args)]
struct From {
    /// The policy file, instead of /etc/mantlet/mantlet.toml or ~/.config/mantlet/mantlet.toml
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &AlertArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        AlertCommand::Test { from, channel } => test(from, channel.as_deref()),
        AlertCommand::Show(from) => show(from),
    }
}

/// The policy, when there is a file: without one nobody is told, whatever the default says of agents.
fn policy(from: &From) -> anyhow::Result<Option<Policy>> {
    // A workspace is needed by the default policy only, which has no alerts.
    let args = SourceArgs { policy: from.policy.clone(), workspace: None, json: from.json };
    match load(&args, None) {
        Ok((_, loaded)) => Ok(loaded.file.is_some().then_some(loaded.policy)),
        Err(error) => bail!("{}", with_hint(&error)),
    }
}

const NONE: &str = "the policy names no channel for alerts\nhint: write for example `[alert]` and `desktop = true`";

fn show(from: &From) -> anyhow::Result<ExitCode> {
    let policy = policy(from)?;
    let section = policy.as_ref().and_then(Policy::alert);
    let channels = section.map_or(Vec::new(), configured);
    if from.json {
        let listed: Vec<Value> = channels.iter().map(|way| told(*way, section)).collect();
        let limits = section.map(|section| json!({"per_hour": section.per_hour, "burst": section.burst}));
        return print(&json_text(&json!({"channels": listed, "limits": limits}))?);
    }
    let Some(section) = section else {
        tell(NONE)?;
        return Ok(ExitCode::SUCCESS);
    };
    let lines: String = channels.iter().map(|way| format!("{:<9} {}\n", way.word(), way.leads_to(section))).collect();
    let (hour, burst) = (section.per_hour, section.burst);
    print(&format!("{lines}at most {hour} messages in an hour and {burst} in a minute; the others are summed up\n"))
}

fn told(way: Channel, section: Option<&Section>) -> Value {
    json!({"channel": way.word(), "to": section.map(|section| way.leads_to(section))})
}

fn test(from: &From, only: Option<&str>) -> anyhow::Result<ExitCode> {
    let policy = policy(from)?;
    let Some((policy, section)) = policy.as_ref().and_then(|policy| Some((policy, policy.alert()?))) else {
        if from.json {
            print(&json_text(&json!({"channels": []}))?)?;
        }
        tell(NONE)?;
        return Ok(ExitCode::FAILURE);
    };
    let channels: Vec<Channel> =
        configured(section).into_iter().filter(|way| only.is_none_or(|only| way.word() == only)).collect();
    if channels.is_empty() {
        bail!("the policy has no channel `{}`\nhint: mantlet alert show", escape(only.unwrap_or_default().as_bytes()));
    }
    let settings = Settings::new(policy).context("the policy has no [alert]")?.with_vault(vault::alert::lookup());
    let ledger = log_cmd::ledger_file()?;
    let record = into_ledger(ledger.parent().context("the ledger has no directory")?, policy)?;
    let alert = Alert::new("a test alert", "Nothing happened: this is what an alert looks like.")
        .who("you, by `mantlet alert test`")
        .outcome("Alerts reach you by this channel.")
        .next("mantlet log --kind alert");
    let (mut listed, mut has_failed) = (Vec::new(), false);
    for way in channels {
        let error = send_once(&settings, way, &alert).err();
        record(settled(way, &alert, error.as_ref()));
        has_failed |= error.is_some();
        let why = error.map(|error| error.to_string());
        match from.json {
            true => listed.push(json!({
                "channel": way.word(), "to": way.leads_to(section),
                "outcome": if why.is_some() { "failed" } else { "sent" }, "reason": why,
            })),
            // As it goes: one that hangs takes its ten seconds.
            false => drop(print(&line(way, section, why.as_deref()))?),
        }
    }
    if from.json {
        print(&json_text(&json!({"channels": listed}))?)?;
    }
    Ok(if has_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn line(way: Channel, section: &Section, why: Option<&str>) -> String {
    let (word, to) = (way.word(), way.leads_to(section));
    let Some(why) = why else { return format!("{word:<9} sent    {to}\n") };
    let lines: Vec<String> = why.split('\n').map(|line| escape(line.as_bytes())).collect();
    format!("{word:<9} failed  {to}\n          {}\n", lines.join("\n          "))
}
