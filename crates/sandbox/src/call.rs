//! One call of `exec`: the policy found, the plan made, the monitor started, the bytes carried.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use mantlet_policy::{Agent, Host};
use rustix::fs::{Gid, Uid};

use crate::advice::{Advisor, Source};
use crate::ask;
use crate::client;
use crate::evidence;
use crate::host::RealHost;
use crate::ids::{Ids, Mapping};
use crate::init::Stdio;
use crate::journal::State;
use crate::layout;
use crate::monitor;
use crate::outcome::{self, REFUSED};
use crate::plan::{self, Owner, Plan, Refusal, Setting};
use crate::report::{Outcome, Report};
use crate::request::Request;
use crate::source::{self, Loaded};
use crate::streams;
use crate::supervisor::Outer;
use crate::sys::{self, Fork};
use crate::way_out;
use crate::whole::{self, Asked, Network, Prepared};
use crate::wire::{self, Message};

/// Runs a request and answers the exit code. Everything for the person goes to standard error.
pub fn exec(request: &Request) -> i32 {
    // Before anything runs: a report that cannot be written is no reason to undo a command, but to refuse it. And the
    // path may lie where the command could put a symlink.
    let report = request.report.as_ref().map(|path| open_report(path)).transpose();
    let ran = report.as_ref().map_err(Clone::clone).and_then(|report| match Path::new(layout::MARKER).exists() {
        true => ask::inside(request),
        false => run(request, &Origin::Caller { report: report.as_ref() }),
    });
    let outcome = ran.unwrap_or_else(|refusal| refused(request, refusal));
    let mut text = String::new();
    for line in &outcome.messages {
        text.push_str("mantlet: ");
        text.push_str(&escape_line(line));
        text.push('\n');
    }
    // A closed standard error leaves the exit code and the ledger.
    drop(std::io::stderr().write_all(text.as_bytes()));
    if let (Ok(Some(mut file)), Some(path)) = (report, &request.report)
        && let Err(e) = rewind(&file).and_then(|()| writeln!(file, "{}", outcome.report))
    {
        // Half a report would be read as one.
        drop(file.set_len(0));
        drop(writeln!(std::io::stderr(), "mantlet: cannot write the report to {path:?}: {e}"));
        return if outcome.code == 0 { REFUSED } else { outcome.code };
    }
    outcome.code
}

/// What a refusal comes to.
pub(crate) fn refused(request: &Request, refusal: Refusal) -> Outcome {
    let mut messages: Vec<String> = refusal.what.lines().map(str::to_owned).collect();
    messages.extend(refusal.hint.map(|h| format!("hint: {h}")));
    let report = Report::refusal(request.agent.as_deref().unwrap_or_default(), messages.join("\n"));
    Outcome { code: REFUSED, messages, report: serde_json::to_string(&report).unwrap_or_default() }
}

/// A whole agent's report is written when it starts, and again when it ends.
fn rewind(mut file: &File) -> std::io::Result<()> {
    std::io::Seek::rewind(&mut file)?;
    // A pipe or a device has no length.
    if file.metadata()?.is_file() { file.set_len(0) } else { Ok(()) }
}

/// Who asks for a call.
pub(crate) enum Origin<'a> {
    /// The owner, or a client of theirs, outside of any jail.
    Caller {
        /// Where the report goes.
        report: Option<&'a File>,
    },
    /// A process in a whole agent's jail, by its supervisor.
    Jail {
        /// What that jail has.
        outer: &'a Outer,
        /// Its connection.
        asker: &'a OwnedFd,
    },
}

impl Origin<'_> {
    fn outer(&self) -> Option<&Outer> {
        match self {
            Origin::Caller { .. } => None,
            Origin::Jail { outer, .. } => Some(outer),
        }
    }
}

fn open_report(path: &Path) -> Result<File, Refusal> {
    File::create(path).map_err(|e| {
        Refusal::new(format!("cannot write the report to {path:?}: {e}")).hint("name a file that you may write")
    })
}

fn escape_line(line: &str) -> String {
    mantlet_ledger::escape(line.as_bytes())
}

/// Runs a request to its end.
pub(crate) fn run(request: &Request, origin: &Origin<'_>) -> Result<Outcome, Refusal> {
    let began = Instant::now();
    let host = RealHost::new().map_err(source_refusal)?;
    let workspace = wanted_workspace(request)?;
    let loaded = source::policy_for(request.policy.as_deref(), request.agent.as_deref(), &workspace, &host)
        .map_err(source_refusal)?;
    // Without a file there is one agent, made for this call.
    let client = loaded.file.as_ref().and(request.client.as_deref());
    let agent = source::select(&loaded.policy, request.agent.as_deref(), client).map_err(source_refusal)?;
    if request.whole.is_none() {
        plan::may_run(agent, &request.command)?;
    }
    let request = within(request, agent.workspace(), &workspace)?;
    let uid = rustix::process::getuid().as_raw();
    let name = plan::account(uid).unwrap_or_else(|| "user".into());
    let owner = Owner { home: host.home().to_owned(), name };
    let advisor = Advisor::new(agent, &host, source_of(&loaded, &request));
    let state = State::open(&owner.home, &[agent.workspace()])?;
    let recovered = outcome::recover(&state, evidence::keep(loaded.policy.ledger()));
    for line in recovered.map_err(|e| Refusal::new(format!("a killed call could not be finished: {e}")))? {
        drop(writeln!(std::io::stderr(), "mantlet: {}", escape_line(&line)));
    }
    let has_network = request.whole.is_none_or(|whole| whole.network == Network::None);
    let way_out = match has_network {
        true => way_out::compile(way_out::Sources {
            request: &request,
            agent,
            loaded: &loaded,
            host: &host,
            words: advisor.source_words(),
            gateway: (agent.client() == Some("openclaw")).then(|| owner.home.join(".openclaw/openclaw.json")),
        })?,
        false => None,
    };
    let vault = host.vault().iter().cloned();
    let own = loaded.file.iter().cloned().chain([state.top.clone()]).chain(vault).collect();
    let prepared = prepare_whole(&request, agent, &owner, &advisor, own)?;
    let setting = Setting {
        request: &request,
        agent,
        policy: &loaded.policy,
        owner: &owner,
        state: &state.top,
        outer: origin.outer(),
    };
    let plan = plan::compile(&setting, advisor, prepared, way_out)?;
    if request.whole.is_some_and(|whole| whole.is_dry) {
        return Ok(Outcome { code: 0, messages: Vec::new(), report: tell_dry(&plan)? });
    }
    start(plan, &state, &request, origin, began)
}

/// Starts the monitor of a planned call, and carries its bytes.
fn start(
    mut plan: Plan,
    state: &State,
    request: &Request,
    origin: &Origin<'_>,
    began: Instant,
) -> Result<Outcome, Refusal> {
    let (streams, stdio) = streams::streams(request).map_err(Refusal::new)?;
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
            monitor::run(plan, state, monitor::Client { socket: theirs, pid }, stdio, began)
        }
        Fork::Parent(_) => {
            drop(theirs);
            drop(stdio);
            drop(plan);
            let stands = |message: &Message| standing(message, origin);
            let (asker, standing) = match origin {
                Origin::Caller { .. } => (None, Some(&stands as &dyn Fn(&Message))),
                Origin::Jail { asker, .. } => (Some(*asker), None),
            };
            let peer = client::Peer::Monitor { limit, board: gate, asker, standing };
            client::carry(&ours, streams, peer).map_err(|e| Refusal::new(e.to_string()))
        }
    }
}

/// A whole agent's jail stands: says what holds, and writes the report as it is so far.
fn standing(message: &Message, origin: &Origin<'_>) {
    let text = String::from_utf8_lossy(&message.payload);
    drop(writeln!(std::io::stderr(), "mantlet: {}", escape_line(&text)));
    let Origin::Caller { report: Some(report) } = origin else { return };
    let Some(source) = message.fds.first().and_then(|fd| fd.try_clone().ok()) else { return };
    let (mut source, mut report) = (File::from(source), *report);
    // One that cannot be written is said at the end.
    drop(std::io::Seek::rewind(&mut source).and_then(|()| std::io::copy(&mut source, &mut report)));
}

/// Where the policy came from, for the calls that a denial prints.
fn source_of(loaded: &Loaded, request: &Request) -> Source {
    match (&loaded.file, &request.policy) {
        (None, _) => Source::Default,
        (Some(file), Some(_)) => Source::Given(file.clone()),
        (Some(_), None) => Source::Usual,
    }
}

/// Finds out what a whole agent's run needs, if it is one.
fn prepare_whole(
    request: &Request,
    agent: &Agent,
    owner: &Owner,
    advisor: &Advisor,
    own: Vec<PathBuf>,
) -> Result<Option<Prepared>, Refusal> {
    let Some(whole) = request.whole else { return Ok(None) };
    let ids = Ids::choose(agent.workspace())?;
    whole::prepare(whole, request, &Asked { agent, owner, advisor, ids, is_dry: whole.is_dry, own }).map(Some)
}

/// Says on standard output what a run would have. Answers the report of it.
fn tell_dry(plan: &Plan) -> Result<String, Refusal> {
    let mut text = String::new();
    let mut line = |key: &str, value: &[u8]| text.push_str(&format!("{key}: {}\n", mantlet_ledger::escape(value)));
    line("agent", plan.agent.as_bytes());
    line("command", evidence::command_text(plan).as_bytes());
    if let Some(whole) = &plan.whole {
        let told = &whole.told;
        line("client", told.client.unwrap_or("none known").as_bytes());
        line("network", network_text(plan, told.network).as_bytes());
        line("its own sandbox", told.own_sandbox.as_bytes());
        told.state.iter().for_each(|state| line("state", state.as_bytes()));
        line("environment", told.env.join(" ").as_bytes());
    }
    plan.notes.iter().for_each(|note| line("note", note.as_bytes()));
    for place in &plan.places {
        let key = if place.is_writable { "writable" } else { "read-only" };
        line(key, place.target.as_os_str().as_bytes());
    }
    std::io::stdout().write_all(text.as_bytes()).map_err(|e| Refusal::new(format!("cannot write: {e}")))?;
    let report = plan.whole.as_ref().map(|whole| serde_json::to_string(&whole.told));
    Ok(report.transpose().ok().flatten().unwrap_or_default())
}

fn network_text(plan: &Plan, network: Network) -> String {
    match (network, &plan.way_out) {
        (Network::Host, _) => "host: not confined".into(),
        (Network::None, None) => "none".into(),
        (Network::None, Some(way)) => {
            let out = if way.shown.is_empty() { "nothing".into() } else { way.shown.join(", ") };
            let into: Vec<String> = way.published.iter().map(ToString::to_string).collect();
            let into = if into.is_empty() { "nothing".into() } else { into.join(", ") };
            format!("none but what the policy allows: out on {out}; in at {into}")
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
