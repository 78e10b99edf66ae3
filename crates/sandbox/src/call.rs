//! One call of `exec`: the policy found, the plan made, the monitor started, the bytes carried.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use mantlet_policy::Host;

use crate::advice::{Advisor, Source};
use crate::client;
use crate::host::RealHost;
use crate::journal::State;
use crate::monitor;
use crate::outcome::{self, REFUSED};
use crate::plan::{self, Owner, Refusal};
use crate::report::{Outcome, Report};
use crate::request::Request;
use crate::source;
use crate::sys::{self, Fork};
use crate::wire;

/// Runs a request and answers the exit code. Everything for the person goes to standard error.
pub fn exec(request: &Request) -> i32 {
    // Before anything runs: a call whose report cannot be written afterwards would be half done.
    let outcome = match request.report.as_deref().map_or(Ok(()), can_write).and_then(|()| run(request)) {
        Ok(outcome) => outcome,
        Err(refusal) => refused(refusal),
    };
    let mut text = String::new();
    for line in &outcome.messages {
        text.push_str("mantlet: ");
        text.push_str(&escape_line(line));
        text.push('\n');
    }
    // A closed standard error leaves the exit code and the ledger.
    drop(std::io::stderr().write_all(text.as_bytes()));
    if let Some(path) = &request.report
        && let Err(e) = std::fs::write(path, format!("{}\n", outcome.report))
    {
        let line = format!("cannot write the report to {}: {e}", path.display());
        drop(writeln!(std::io::stderr(), "mantlet: {}", escape_line(&line)));
        return if outcome.code == 0 { REFUSED } else { outcome.code };
    }
    outcome.code
}

/// What is said of a call that never began: its report is one as well, with nothing enforced.
fn refused(refusal: Refusal) -> Outcome {
    let mut messages: Vec<String> = refusal.what.lines().map(str::to_owned).collect();
    messages.extend(refusal.hint.map(|h| format!("hint: {h}")));
    let report = Report::of_refusal(messages.join("\n"));
    Outcome { code: REFUSED, messages, report: serde_json::to_string(&report).unwrap_or_default() }
}

/// Tries the report's place. What is no file (a FIFO, a terminal) is not opened twice.
fn can_write(path: &Path) -> Result<(), Refusal> {
    if std::fs::metadata(path).is_ok_and(|about| !about.is_file() && !about.is_dir()) {
        return Ok(());
    }
    match std::fs::OpenOptions::new().create(true).append(true).open(path) {
        Ok(_) => Ok(()),
        Err(e) => Err(Refusal::new(format!("cannot write the report to {}: {e}", path.display()))
            .hint("name a file in a directory that exists and that you can write")),
    }
}

fn escape_line(line: &str) -> String {
    mantlet_ledger::escape(line.as_bytes())
}

fn run(request: &Request) -> Result<Outcome, Refusal> {
    let began = Instant::now();
    if Path::new(crate::layout::MARKER).exists() {
        return Err(Refusal::new("this is a jail already: commands inside run without a second one"));
    }
    let host = RealHost::new().map_err(source_refusal)?;
    let workspace = wanted_workspace(request)?;
    let loaded = source::policy_for(request.policy.as_deref(), request.agent.as_deref(), &workspace, &host)
        .map_err(source_refusal)?;
    // Without a file there is one agent, made for this call.
    let client = loaded.file.as_ref().and(request.client.as_deref());
    let agent = source::select(&loaded.policy, request.agent.as_deref(), client).map_err(source_refusal)?;
    plan::may_run(agent)?;
    let request = within(request, agent.workspace(), &workspace)?;
    let uid = rustix::process::getuid().as_raw();
    let name = plan::account(uid).unwrap_or_else(|| "user".into());
    let owner = Owner { home: host.home().to_owned(), name };
    let source = match (&loaded.file, &request.policy) {
        (None, _) => Source::Default,
        (Some(file), Some(_)) => Source::Given(file.clone()),
        (Some(_), None) => Source::Usual,
    };
    let advisor = Advisor::new(agent, &host, source);
    let state = State::open(&owner.home, &[agent.workspace()])?;
    let recovered = outcome::recover(&state);
    for line in recovered.map_err(|e| Refusal::new(format!("a killed call could not be finished: {e}")))? {
        drop(writeln!(std::io::stderr(), "mantlet: {}", escape_line(&line)));
    }
    let mut plan = plan::compile(&request, agent, loaded.policy.hash(), &owner, advisor)?;
    let (streams, stdio) = client::streams().map_err(Refusal::new)?;
    plan.needs_pty = streams.needs_terminal();
    let (ours, theirs) = wire::pair()?;
    let limit = plan.limits.output;
    let begun = monitor::begin(&plan, &state).map_err(Refusal::new)?;
    match sys::clone(0)? {
        Fork::Child => {
            drop(ours);
            drop(streams);
            monitor::run(plan, &state, &theirs, stdio, begun, began)
        }
        Fork::Parent(_) => {
            drop(theirs);
            drop(stdio);
            drop(plan);
            client::carry(&ours, streams, limit).map_err(|e| Refusal::new(e.to_string()))
        }
    }
}

fn source_refusal(e: source::SourceError) -> Refusal {
    Refusal { hint: e.hint(), what: e.to_string() }
}

/// The workspace the caller names, or the current directory.
fn wanted_workspace(request: &Request) -> Result<PathBuf, Refusal> {
    match &request.workspace {
        Some(path) => {
            std::fs::canonicalize(path).map_err(|e| Refusal::new(format!("cannot find the workspace {path:?}: {e}")))
        }
        None => std::env::current_dir().map_err(|e| Refusal::new(format!("the current directory is gone: {e}"))),
    }
}

/// `--workspace` may name the agent's workspace or a directory in it, which is then where the command starts.
fn within(request: &Request, own: &Path, wanted: &Path) -> Result<Request, Refusal> {
    let mut request = request.clone();
    if request.workspace.is_none() {
        return Ok(request);
    }
    if !wanted.starts_with(own) {
        let what = format!("{wanted:?} is not in the workspace of this agent, which is {own:?}");
        return Err(Refusal::new(what).hint("name another agent with --agent, or change `workspace` in mantlet.toml"));
    }
    request.cwd.get_or_insert_with(|| wanted.to_owned());
    Ok(request)
}
