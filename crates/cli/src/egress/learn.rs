//! `mantlet egress learn`: a command runs confined, and what it was refused becomes the smallest policy that would do.
//!
//! What is proposed is what the command asked for, and so what an attacker in it may have chosen: only names, exact, with
//! their port, each for the owner to read. It widens nothing by itself.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use mantlet_egress::{Authority, Decision, Endpoint, Rules, Target, http::web};
use mantlet_ledger::{Egress, Kind, Line, Reader, escape, posix_word};
use mantlet_policy::{Advice, Agent, Grant};
use mantlet_sandbox::{Command, Loaded, RealHost, Request};
use serde_json::{Value, json};

use super::source_words;
use crate::log_cmd::ledger_file;
use crate::policy_cmd::{json_text, print, tell, with_hint};
use crate::throwaway::Throwaway;

/// Run a command confined as ever, and propose what the policy would have to allow for it
///
/// Everything that the policy refuses stays refused, and is written down. A refused look-up hides what would have come
/// after it, so several runs are needed, with what you allow in between. The proposal is what the command asked for, which
/// it may have been talked into: read each line. It goes to standard error, or to a file; with --json to the last line of
/// standard output. Exit code: that of the command.
#[derive(Debug, Args)]
pub(super) struct LearnArgs {
    /// The agent; may be left out when there is only one
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// The policy file, instead of /etc/mantlet/mantlet.toml or ~/.config/mantlet/mantlet.toml
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Write the proposal to this file, which must not exist
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// One JSON object
    #[arg(long)]
    json: bool,
    /// The command and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    command: Vec<OsString>,
}

/// A host to allow.
struct Proposal {
    endpoint: Endpoint,
    /// Only a look-up was seen, which says no port.
    is_port_assumed: bool,
    call: String,
}

/// What was refused and is not proposed.
struct Apart {
    what: String,
    why: String,
}

#[derive(Default)]
struct Learned {
    proposals: Vec<Proposal>,
    apart: Vec<Apart>,
    /// More was refused than was written down one by one.
    is_cut: bool,
}

/// Runs `mantlet egress learn`.
pub(super) fn run(args: &LearnArgs) -> anyhow::Result<ExitCode> {
    mantlet_sandbox::close_inherited();
    let host = RealHost::new()?;
    let loaded = mantlet_sandbox::load(args.policy.as_deref(), &host);
    let Some(loaded) = loaded.map_err(|error| anyhow::anyhow!(with_hint(&error)))? else {
        bail!("there is no policy file to learn for\nhint: mantlet allow makes one, with the first permission");
    };
    if let Some(file) = args.write.as_deref().filter(|file| file.exists()) {
        bail!("{} exists already\nhint: name a file that does not", file.display());
    }
    let scratch = Throwaway::new("learn")?;
    let report = scratch.path.join("report");
    let request = Request {
        agent: args.agent.clone(),
        policy: args.policy.clone(),
        report: Some(report.clone()),
        is_learning: true,
        command: Command::Argv(args.command.clone()),
        ..Request::default()
    };
    let code = ExitCode::from(u8::try_from(mantlet_sandbox::exec(&request))?);
    let report = read_report(&report)?;
    // Refused before anything ran: the reason was told.
    let (Some(call), Some(tier)) = (report["call"].as_str().filter(|call| !call.is_empty()), report["tier"].as_str())
    else {
        return Ok(code);
    };
    if tier != "full" {
        bail!(
            "nothing can be learned in the tier `{tier}`, which has no way out that could be watched\nhint: mantlet doctor"
        );
    }
    let agent = loaded.policy.agent(report["agent"].as_str().unwrap_or_default());
    let agent = agent.context("the policy has changed meanwhile\nhint: call again")?;
    let source = source_words(args.policy.as_deref(), &loaded, agent);
    let rules = Rules::compile(agent, &source).context("a rule of the policy cannot be compiled")?;
    let learned = learn(&refused(call)?, &rules, agent, &host, &source);
    show(args, agent, &learned, &loaded)?;
    Ok(code)
}

fn read_report(path: &Path) -> anyhow::Result<Value> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        // Refused before there was a report.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Value::Null),
        Err(error) => return Err(error).context("cannot read the report of the call"),
    };
    serde_json::from_slice(&text).context("the report of the call cannot be read")
}

/// What this call was refused, from the ledger.
fn refused(call: &str) -> anyhow::Result<Vec<Egress>> {
    let mut found = Vec::new();
    for line in Reader::open(&ledger_file()?)? {
        if let Line::Entry(entry) = line?
            && let Kind::Egress(egress) = entry.kind
            && egress.call.as_deref() == Some(call)
            && egress.outcome == "refused"
        {
            found.push(egress);
        }
    }
    Ok(found)
}

/// Sorts refusals into what would help and what would not.
fn learn(refused: &[Egress], rules: &Rules, agent: &Agent, host: &RealHost, source: &str) -> Learned {
    let mut learned = Learned::default();
    let mut asked: BTreeMap<Endpoint, bool> = BTreeMap::new();
    let mut apart: BTreeMap<String, String> = BTreeMap::new();
    for entry in refused {
        let reason = entry.reason.clone().unwrap_or_default();
        if entry.way == "various" {
            learned.is_cut = true;
            continue;
        }
        match Authority::parse(entry.host.as_bytes(), None) {
            Ok(Authority { target: Target::Name(name), port }) => {
                let endpoint = Endpoint { name, port };
                match rules.decide(&endpoint) {
                    // Refused for something else than its name: a budget, a request, where it leads.
                    Decision::Allow(_) => drop(apart.insert(entry.host.clone(), reason)),
                    Decision::Deny(_) => *asked.entry(endpoint).or_insert(true) &= entry.way == "dns",
                }
            }
            Ok(Authority { target: Target::Address(_), .. }) | Err(_) => drop(apart.insert(entry.host.clone(), reason)),
        }
    }
    let is_seen =
        |endpoint: &Endpoint| asked.iter().any(|(other, is_assumed)| !is_assumed && other.name == endpoint.name);
    for (endpoint, is_port_assumed) in &asked {
        // Its real port is known.
        if *is_port_assumed && is_seen(endpoint) {
            continue;
        }
        match why_not(endpoint, agent, host, source) {
            Ok(call) => {
                let (endpoint, is_port_assumed) = (endpoint.clone(), *is_port_assumed);
                learned.proposals.push(Proposal { endpoint, is_port_assumed, call });
            }
            Err(why) => drop(apart.insert(endpoint.to_string(), why)),
        }
    }
    learned.apart = apart.into_iter().map(|(what, why)| Apart { what, why }).collect();
    learned
}

/// The call that would allow it, or why none is offered.
fn why_not(endpoint: &Endpoint, agent: &Agent, host: &RealHost, source: &str) -> Result<String, String> {
    if endpoint.name.labels().last() == Some("arpa") {
        return Err("a question about an address, which programs do without".into());
    }
    web::new_name(&endpoint.name)?;
    match mantlet_policy::advise(agent, &Grant::Host(endpoint.to_string()), host, source, posix_word) {
        Advice::Call(call) => Ok(call),
        Advice::Words(why) => Err(why),
    }
}

fn show(args: &LearnArgs, agent: &Agent, learned: &Learned, loaded: &Loaded) -> anyhow::Result<()> {
    let text = match args.json {
        true => json_text(&learned.json(agent, loaded))?,
        false => learned.toml(agent),
    };
    match &args.write {
        Some(file) => {
            let opened = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
            let written = opened.and_then(|mut opened| opened.write_all(text.as_bytes()));
            written.with_context(|| format!("cannot write {}", file.display()))?;
        }
        None if args.json => drop(print(&text)?),
        None if learned.proposals.is_empty() => {}
        None => std::io::stderr().lock().write_all(text.as_bytes()).context("cannot write to standard error")?,
    }
    tell(&learned.talk())
}

impl Learned {
    /// An addition to the policy.
    fn toml(&self, agent: &Agent) -> String {
        let name = agent.name();
        let name = if name.contains('.') { format!("\"{name}\"") } else { name.to_owned() };
        let mut text = format!("[agent.{name}.egress]\nallow = [\n");
        for Proposal { endpoint, is_port_assumed, .. } in &self.proposals {
            let note = if *is_port_assumed { "  # looked up only: the port is assumed" } else { "" };
            text += &format!("    \"{endpoint}\",{note}\n");
        }
        text + "]\n"
    }

    /// What the person must know beside it.
    fn talk(&self) -> String {
        let mut text = match self.proposals.len() {
            0 => "the command asked for no host that an addition to the policy would open".to_owned(),
            count => format!(
                "the command was refused {count} host(s) that the lines above would allow, or these calls.\n\
                 It chose them: allow what you know, and run it again; a refused look-up hides what comes after it"
            ),
        };
        for proposal in &self.proposals {
            text += &format!("\n  {}", proposal.call);
        }
        for Apart { what, why } in &self.apart {
            text += &format!("\nnot proposed: {what}: {why}");
        }
        if self.is_cut {
            text += "\nmore was refused than is listed here: run it again with what you allow";
        }
        text
    }

    fn json(&self, agent: &Agent, loaded: &Loaded) -> Value {
        let proposal =
            |p: &Proposal| json!({"host": p.endpoint.to_string(), "port_assumed": p.is_port_assumed, "call": p.call});
        json!({
            "v": 1,
            "agent": agent.name(),
            "policy": loaded.policy.hash(),
            "allow": self.proposals.iter().map(proposal).collect::<Vec<_>>(),
            "not_proposed": self.apart.iter().map(|a| json!({"what": escape(a.what.as_bytes()), "why": a.why})).collect::<Vec<_>>(),
            "complete": !self.is_cut,
        })
    }
}
