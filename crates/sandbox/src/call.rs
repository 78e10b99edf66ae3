//! One call of `exec`: the policy found, the plan made, the monitor started, the bytes carried.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use mantlet_policy::Host;
use rustix::fs::{Gid, Uid};

use crate::advice::{Advisor, Source};
use crate::client;
use crate::host::RealHost;
use crate::ids::{Ids, Mapping};
use crate::init::Stdio;
use crate::journal::State;
use crate::monitor;
use crate::outcome::{self, REFUSED};
use crate::plan::{self, Owner, Refusal};
use crate::report::{Outcome, Report};
use crate::request::Request;
use crate::source;
use crate::streams;
use crate::sys::{self, Fork};
use crate::wire;

/// Runs a request and answers the exit code. Everything for the person goes to standard error.
pub fn exec(request: &Request) -> i32 {
    // Before anything runs: a report that cannot be written is no reason to undo a command, but to refuse it. And the
    // path may lie where the command could put a symlink.
    let report = request.report.as_ref().map(|path| open_report(path)).transpose();
    let outcome = match report.as_ref().map_err(Clone::clone).and_then(|_| run(request)) {
        Ok(outcome) => outcome,
        Err(refusal) => {
            let mut messages: Vec<String> = refusal.what.lines().map(str::to_owned).collect();
            messages.extend(refusal.hint.map(|h| format!("hint: {h}")));
            let report = Report::refusal(request.agent.as_deref().unwrap_or_default(), messages.join("\n"));
            Outcome { code: REFUSED, messages, report: serde_json::to_string(&report).unwrap_or_default() }
        }
    };
    let mut text = String::new();
    for line in &outcome.messages {
        text.push_str("mantlet: ");
        text.push_str(&escape_line(line));
        text.push('\n');
    }
    // A closed standard error leaves the exit code and the ledger.
    drop(std::io::stderr().write_all(text.as_bytes()));
    if let (Ok(Some(mut file)), Some(path)) = (report, &request.report)
        && let Err(e) = writeln!(file, "{}", outcome.report)
    {
        // Half a report would be read as one.
        drop(file.set_len(0));
        drop(writeln!(std::io::stderr(), "mantlet: cannot write the report to {path:?}: {e}"));
        return if outcome.code == 0 { REFUSED } else { outcome.code };
    }
    outcome.code
}

fn open_report(path: &Path) -> Result<std::fs::File, Refusal> {
    std::fs::File::create(path).map_err(|e| {
        Refusal::new(format!("cannot write the report to {path:?}: {e}")).hint("name a file that you may write")
    })
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
    plan::may_run(agent, &request.command)?;
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
    let mut plan = plan::compile(&request, agent, loaded.policy.hash(), &owner, &state.top, advisor)?;
    let (streams, stdio) = streams::streams(request.terminal).map_err(Refusal::new)?;
    plan.terminal = streams.start()?;
    give_pipes(&stdio, plan.ids);
    if !(plan.pins.is_empty() && plan.protected.is_empty() && plan.denied.is_empty()) {
        plan.board = Some(sys::board()?);
    }
    let gate = plan.board.filter(|_| !plan.denied.is_empty());
    let (ours, theirs) = wire::pair()?;
    let limit = plan.limits.output;
    let pid = rustix::process::getpid().as_raw_nonzero().get();
    match sys::clone(0)? {
        Fork::Child => {
            drop(ours);
            drop(streams);
            monitor::run(plan, &state, monitor::Client { socket: theirs, pid }, stdio, began)
        }
        Fork::Parent(_) => {
            drop(theirs);
            drop(stdio);
            drop(plan);
            client::carry(&ours, streams, limit, gate).map_err(|e| Refusal::new(e.to_string()))
        }
    }
}

/// Root's pipes become the jail's own: /dev/stdout is a name of one, which only its owner can open again.
fn give_pipes(stdio: &[Stdio; 3], ids: Ids) {
    let pipes = stdio.iter().filter_map(|s| if let Stdio::Pipe(fd) = s { Some(fd) } else { None });
    for fd in pipes.filter(|_| ids.mapping != Mapping::Caller) {
        // A host that does not have these ids gives no jail either, and that says why.
        rustix::fs::fchown(fd, Some(Uid::from_raw(ids.uid)), Some(Gid::from_raw(ids.gid))).ok();
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
