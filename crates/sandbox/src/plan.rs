//! A policy compiled for one call: every place, file, name and number the jail will be built from.

use std::cell::RefCell;
use std::collections::HashSet;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use mantlet_policy::{Accept, Agent, Exec, Limits, Opened, Policy, Review, Rules};
use rustix::fs::{CWD, Mode, OFlags};

use crate::advice::{Advisor, Opening};
use crate::budget;
use crate::evidence::Evidence;
use crate::ids::Ids;
use crate::landlock_rules::Use;
use crate::layout;
use crate::request::{Access, Command, Kind, Request};
use crate::review::Judge;
use crate::scan::{self, Hit, Scan};
use crate::spots::{self, Spot};
use crate::supervisor::Outer;
use crate::text;
use crate::tier::Tier;
use crate::tree::Tree;
use crate::way_out::WayOut;
use crate::whole::{NAMES, Network, Prepared, Told};

mod environment;

pub(crate) use environment::account;
use environment::{environment, etc_files};

/// A place of the host that is bound into the jail.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) source: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) is_writable: bool,
    /// The device and inode it had when it was checked.
    pub(crate) must_be: Option<(u64, u64)>,
}

/// Everything about one call.
pub(crate) struct Plan {
    pub(crate) call: String,
    pub(crate) agent: String,
    pub(crate) policy_hash: String,
    pub(crate) evidence: Evidence,
    pub(crate) review: Review,
    pub(crate) kind: Kind,
    pub(crate) limits: Limits,
    pub(crate) least_tier: Tier,
    pub(crate) accepts_no_deny: bool,
    /// In tier `landlock` the host's network is open: for commands, when the policy accepts it.
    pub(crate) is_unconfined: bool,
    pub(crate) workspace: PathBuf,
    pub(crate) workspace_fd: OwnedFd,
    pub(crate) cwd: PathBuf,
    pub(crate) ids: Ids,
    pub(crate) home: PathBuf,
    pub(crate) places: Vec<Place>,
    pub(crate) files: Vec<(PathBuf, Vec<u8>)>,
    pub(crate) denied: Vec<Spot>,
    pub(crate) protected: Vec<Spot>,
    /// What would be protected had an earlier call not made it.
    pub(crate) reviewed: Vec<Spot>,
    pub(crate) pins: Vec<PathBuf>,
    pub(crate) env: Vec<CString>,
    pub(crate) path: Vec<u8>,
    pub(crate) argv: Vec<CString>,
    /// File operations in place of a command.
    pub(crate) files_access: Option<Access>,
    pub(crate) wants_report: bool,
    /// What the client calls the conversation and the turn, ready for the ledger.
    pub(crate) session: Option<String>,
    pub(crate) run: Option<String>,
    /// Shared with the keeper of the covers, where there are covers.
    pub(crate) board: Option<&'static crate::sys::Board>,
    /// The terminal to make, if the caller has one.
    pub(crate) terminal: Option<crate::streams::Start>,
    pub(crate) rules: Rules,
    pub(crate) scan: Scan,
    /// Worth knowing, for the report.
    pub(crate) notes: Vec<String>,
    /// The way out, where the policy opens one.
    pub(crate) way_out: Option<WayOut>,
    /// Everything about a whole agent's run.
    pub(crate) whole: Option<WholePlan>,
    /// Where symlinks in a client's own state may lead.
    pub(crate) leads: Vec<PathBuf>,
    pub(crate) advisor: Advisor,
}

/// What a plan has beyond that of a command when it is a whole agent's.
pub(crate) struct WholePlan {
    pub(crate) told: Told,
    /// What of a client's own state can be written.
    pub(crate) trees: Vec<Tree>,
    pub(crate) copies: Vec<(PathBuf, Vec<u8>)>,
    pub(crate) links: Vec<(PathBuf, PathBuf)>,
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) command: Command,
    /// The policy file that its inner commands run under, as it was named.
    pub(crate) policy: Option<PathBuf>,
}

impl WholePlan {
    fn new(prepared: Prepared, request: &Request, places: &mut Vec<Place>) -> WholePlan {
        let Prepared { places: own, trees, copies, links, env, argv, told, .. } = prepared;
        // An agent's own place comes after the policy's of the same name, and so is what is seen.
        places.extend(own);
        places.sort_by(|a, b| a.target.cmp(&b.target));
        let command = Command::Argv(argv);
        WholePlan { told, trees, copies, links, env, command, policy: request.policy.clone() }
    }
}

/// Why a call is refused before anything has started.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{what}")]
pub struct Refusal {
    /// What was refused, and why.
    pub what: String,
    /// What to do next.
    pub hint: Option<String>,
}

impl Refusal {
    pub(crate) fn new(what: impl Into<String>) -> Refusal {
        Refusal { what: what.into(), hint: None }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Refusal {
        Refusal { hint: Some(hint.into()), ..self }
    }
}

fn refuse<E: std::fmt::Display>(what: String) -> impl FnOnce(E) -> Refusal {
    move |e| Refusal::new(format!("{what}: {e}"))
}

/// The owner's own account, as the host knows it.
pub(crate) struct Owner {
    pub(crate) home: PathBuf,
    pub(crate) name: String,
}

/// What a call is compiled from.
#[derive(Clone, Copy)]
pub(crate) struct Setting<'a> {
    pub(crate) request: &'a Request,
    pub(crate) agent: &'a Agent,
    pub(crate) policy: &'a Policy,
    pub(crate) owner: &'a Owner,
    pub(crate) state: &'a Path,
    /// The jail that asks for the call.
    pub(crate) outer: Option<&'a Outer>,
}

/// Refuses an agent whose role runs no commands. It has files all the same: as far as its policy opens them.
pub(crate) fn may_run(agent: &Agent, command: &Command) -> Result<(), Refusal> {
    if agent.exec() == Exec::Jailed || matches!(command, Command::Files(..)) {
        return Ok(());
    }
    let what = format!("agent `{}` is a {}, which runs no commands", agent.name(), agent.role().word());
    Err(Refusal::new(what).hint("give the agent `role = \"builder\"` in mantlet.toml if it should run commands"))
}

/// Compiles a call.
///
/// # Errors
/// A [`Refusal`] with the way out; nothing has been touched then.
pub(crate) fn compile(
    setting: &Setting<'_>,
    advisor: Advisor,
    prepared: Option<Prepared>,
    way_out: Option<WayOut>,
) -> Result<Plan, Refusal> {
    let Setting { request, agent, policy, owner, state, outer } = *setting;
    // A whole agent is no command of one: its role says what its commands may do.
    if prepared.is_none() {
        may_run(agent, &request.command)?;
    }
    let files_access = request.command.files();
    let workspace = agent.workspace().to_owned();
    let workspace_fd = open_dir(&workspace).map_err(refuse(format!("cannot open the workspace {workspace:?}")))?;
    let ids = Ids::choose(&workspace).map_err(refuse(format!("cannot examine {workspace:?}")))?;
    let rules = rules(agent)?;
    let (scan, reviewed) = look(request, &workspace, &workspace_fd, &rules, state)?;
    let mut places = places(request, agent, own_place(agent, &workspace_fd)?)?;
    let mut notes = outer.map_or_else(Vec::new, |outer| outer.narrow(&mut places));
    notes.extend(prepared.iter().flat_map(|prepared| prepared.notes.iter().cloned()));
    let whole = prepared.map(|prepared| WholePlan::new(prepared, request, &mut places));
    way_out.iter().try_for_each(|way| way.is_out_of_reach(&places))?;
    let cwd = cwd(setting, &workspace, &places, &advisor)?;
    let (argv, command_file) = argv(whole.as_ref().map_or(&request.command, |whole| &whole.command))?;
    let (env, path) = environment(request, agent, owner, ids, &places, whole.as_ref())?;
    let mut files = own_files(agent, owner, ids, whole.as_ref(), way_out.is_some());
    files.extend(command_file.map(|content| (PathBuf::from(layout::COMMAND_FILE), content)));
    Ok(Plan {
        call: call_id(),
        agent: agent.name().to_owned(),
        policy_hash: policy.hash().to_owned(),
        evidence: Evidence::of(policy.ledger()),
        // What this call cannot have made is not its to undo.
        review: if files_access == Some(Access::Read) { Review::Report } else { agent.files().review() },
        kind: request.kind,
        limits: budget::of(agent, request.kind, request.timeout),
        least_tier: least_tier(agent, whole.is_some() || outer.is_some()),
        accepts_no_deny: agent.accepts(Accept::Deny),
        is_unconfined: agent.accepts(Accept::Unconfined) && files_access.is_none(),
        cwd,
        ids,
        home: owner.home.clone(),
        files,
        denied: spots::spots(agent.files().deny(), &workspace, &places, &scan.denied)?,
        protected: protected(agent, &workspace, &places, &scan, whole.as_ref())?,
        reviewed: spots::spots(&[], &workspace, &places, &reviewed)?,
        pins: pins(&workspace, scan.protected.iter().chain(&scan.denied)),
        leads: places.iter().map(|place| place.target.clone()).collect(),
        places,
        workspace,
        workspace_fd,
        env,
        path,
        argv,
        files_access,
        wants_report: request.report.is_some(),
        session: request.session.as_deref().map(text::label),
        run: request.run.as_deref().map(text::label),
        board: None,
        terminal: None,
        rules,
        scan,
        notes,
        way_out,
        whole,
        advisor,
    })
}

fn rules(agent: &Agent) -> Result<Rules, Refusal> {
    spots::makes_itself(agent.files().deny(), agent.workspace())?;
    Rules::compile(agent).map_err(|e| {
        Refusal::new(format!("the rules of the policy cannot be compiled: {e}"))
            .hint("write fewer patterns: one may stand for many names, and a directory for all that is in it")
    })
}

fn least_tier(agent: &Agent, needs_mounts: bool) -> Tier {
    match agent.tier() {
        mantlet_policy::Tier::Landlock if !needs_mounts => Tier::Landlock,
        // Without mounts a client's state cannot be shown in part, and a path that a jail names leads through the host.
        _ => Tier::Full,
    }
}

/// The files that the jail has of its own: those of /etc, and the marker with the agent and its client.
fn own_files(
    agent: &Agent,
    owner: &Owner,
    ids: Ids,
    whole: Option<&WholePlan>,
    has_way_out: bool,
) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = etc_files(owner, ids, has_way_out);
    if whole.is_some_and(|whole| whole.told.network == Network::Host) {
        files.retain(|(path, _)| !NAMES.iter().any(|name| path == Path::new(name)));
    }
    let marker = format!("{}\n{}\n", agent.name(), agent.client().unwrap_or_default());
    files.push((PathBuf::from(layout::MARKER), marker.into_bytes()));
    files
}

/// What is mounted read-only: in the workspace, and of a client's own state.
fn protected(
    agent: &Agent,
    workspace: &Path,
    places: &[Place],
    scan: &Scan,
    whole: Option<&WholePlan>,
) -> Result<Vec<Spot>, Refusal> {
    let mut spots = spots::spots(agent.files().protect(), workspace, places, &scan.protected)?;
    spots.extend(whole.iter().flat_map(|whole| whole.trees.iter().flat_map(Tree::spots)));
    Ok(spots)
}

/// Walks the workspace. Answers what is denied and protected there, and what earlier calls made.
fn look(
    request: &Request,
    workspace: &Path,
    top: &OwnedFd,
    rules: &Rules,
    state: &Path,
) -> Result<(Scan, Vec<Hit>), Refusal> {
    let mut scan = scan_for(&request.command, top, rules);
    let reviewed = release(&mut scan, workspace, top, rules, state);
    if scan.denied.len() > spots::MAX_DENIED {
        return Err(spots::too_many(&scan.denied));
    }
    Ok((scan, reviewed))
}

/// Walks the workspace. Where nothing can be changed, nothing is held by name: what is denied is all there is to find.
fn scan_for(command: &Command, top: &OwnedFd, rules: &Rules) -> Scan {
    match command {
        Command::Files(Access::Read, _) if !rules.denies_something() => Scan::default(),
        Command::Files(Access::Read, _) => Scan { protected: Vec::new(), ..scan::scan(top, rules) },
        _ => scan::scan(top, rules),
    }
}

/// Takes the repositories of earlier calls out of what is mounted.
fn release(scan: &mut Scan, workspace: &Path, top: &OwnedFd, rules: &Rules, state: &Path) -> Vec<Hit> {
    let named = scan.named.clone();
    let judge =
        Judge { workspace, top, rules, mounted: HashSet::new(), named: &named, state: None, made: RefCell::default() };
    crate::made::release(scan, &judge, state)
}

/// The workspace as a place, with the inode it must still have when the jail opens it.
fn own_place(agent: &Agent, fd: &OwnedFd) -> Result<Place, Refusal> {
    let path = agent.workspace();
    let stat = rustix::fs::fstat(fd).map_err(refuse(format!("cannot examine {path:?}")))?;
    Ok(Place {
        source: path.to_owned(),
        target: path.to_owned(),
        is_writable: agent.files().is_workspace_writable(),
        must_be: Some((stat.st_dev, stat.st_ino)),
    })
}

/// Every ancestor of a covered thing, from the top down, each once.
fn pins<'h>(workspace: &Path, hits: impl Iterator<Item = &'h Hit>) -> Vec<PathBuf> {
    let mut pins: Vec<PathBuf> = hits
        .filter(|h| h.needs_pins)
        .flat_map(|h| {
            let slashes = h.path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(i, _)| i);
            slashes.map(|i| workspace.join(std::ffi::OsStr::from_bytes(&h.path[..i]))).collect::<Vec<_>>()
        })
        .collect();
    pins.sort();
    pins.dedup();
    pins
}

fn open_dir(path: &Path) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// The workspace, the policy's places and the caller's programs, outer places before inner ones.
fn places(request: &Request, agent: &Agent, workspace: Place) -> Result<Vec<Place>, Refusal> {
    let top = workspace.target.clone();
    let mut places = vec![workspace];
    let opened = mantlet_policy::opened(agent, |path| std::fs::canonicalize(path));
    places.extend(opened.into_iter().map(|Opened { source, target, is_writable }| Place {
        source,
        target,
        is_writable,
        must_be: None,
    }));
    if !agent.files().is_workspace_writable() {
        // What a role may write of a workspace that it only reads. What does not exist yet is simply absent inside, too.
        let named = agent.files().write().iter().filter_map(|rule| rule.path()).filter(|path| path.starts_with(&top));
        let holes = named.filter_map(|path| Some((std::fs::canonicalize(path).ok()?, path.to_owned())));
        places.extend(holes.map(|(source, target)| Place { source, target, is_writable: true, must_be: None }));
    }
    for program in &request.programs {
        let source = std::fs::canonicalize(program).map_err(refuse(format!("cannot find the program {program:?}")))?;
        let Some(name) = program.file_name().filter(|_| source.is_file()) else {
            return Err(Refusal::new(format!("{program:?} is no program file")));
        };
        let target = Path::new("/run/mantlet").join(name);
        places.push(Place { source, target, is_writable: false, must_be: None });
    }
    if request.command.files() == Some(Access::Read) {
        places.iter_mut().for_each(|place| place.is_writable = false);
    }
    places.sort_by(|a, b| a.target.cmp(&b.target));
    Ok(places)
}

fn cwd(setting: &Setting<'_>, workspace: &Path, places: &[Place], advisor: &Advisor) -> Result<PathBuf, Refusal> {
    let request = setting.request;
    if setting.outer.is_some() {
        // Found in the jail alone: the owner's rights are not lent to whoever asks what is where.
        return Ok(request.cwd.clone().unwrap_or_else(|| workspace.to_owned()));
    }
    let Some(wanted) = &request.cwd else {
        let here = std::env::current_dir().ok().filter(|here| here.starts_with(workspace));
        return Ok(here.unwrap_or_else(|| workspace.to_owned()));
    };
    let wanted = if wanted.is_relative() { workspace.join(wanted) } else { wanted.clone() };
    let real = std::fs::canonicalize(&wanted).map_err(refuse(format!("cannot enter {wanted:?}")))?;
    if places.iter().any(|p| real.starts_with(&p.target)) {
        return Ok(real);
    }
    let hint = advisor.open(Opening::Read, &real).into_line();
    Err(Refusal::new(format!("{real:?} is not visible to agent `{}`", advisor.agent())).hint(hint))
}

/// The longest single argument execve takes (MAX_ARG_STRLEN, its NUL included).
const LONGEST_ARGUMENT: usize = 128 * 1024 - 1;

fn argv(command: &Command) -> Result<(Vec<CString>, Option<Vec<u8>>), Refusal> {
    let nul = |_| Refusal::new("an argument contains a NUL byte");
    match command {
        // For the ledger only.
        Command::Files(access, words) => {
            let first = if *access == Access::Read { "files-read" } else { "files-write" };
            let words = std::iter::once(OsStr::new(first)).chain(words.iter().map(OsString::as_os_str));
            Ok((words.map(|w| CString::new(w.as_bytes()).map_err(nul)).collect::<Result<_, _>>()?, None))
        }
        Command::Argv(words) => {
            let words = words.iter().map(|w| CString::new(w.as_bytes()).map_err(nul));
            Ok((words.collect::<Result<_, _>>()?, None))
        }
        Command::Shell(text) => {
            let shell = if Path::new("/bin/bash").exists() { c"/bin/bash" } else { c"/bin/sh" };
            let (line, file) = if text.len() < LONGEST_ARGUMENT {
                (CString::new(text.as_bytes()).map_err(nul)?, None)
            } else {
                let source = format!(". {}", layout::COMMAND_FILE);
                (CString::new(source).map_err(nul)?, Some(text.clone().into_vec()))
            };
            Ok((vec![shell.to_owned(), c"-c".to_owned(), line], file))
        }
    }
}

/// A name for this call: when, and which process.
fn call_id() -> String {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    format!("{:x}-{:x}-{:x}", now.tv_sec, now.tv_nsec, std::process::id())
}

impl Plan {
    /// Whether the call is such that nothing can be changed by it: there is nothing to watch and to review.
    pub(crate) fn changes_nothing(&self) -> bool {
        self.files_access == Some(Access::Read)
    }

    /// The tree of Landlock: the same places, with the same rights. Some may not exist.
    pub(crate) fn landlock_places(&self, tier: Tier) -> Vec<(PathBuf, Use)> {
        // What is a symlink on a merged system leads to a place that is named itself.
        let is_link = |path: &str| rustix::fs::readlinkat(CWD, path, Vec::new()).is_ok();
        let system = layout::SYSTEM.iter().filter(|path| !is_link(path));
        let mut out: Vec<(PathBuf, Use)> = system.map(|path| (path.into(), Use::Read)).collect();
        match tier {
            Tier::Full => {
                out.push(("/".into(), Use::List));
                out.extend(["/etc", "/proc", "/run"].map(|path| (path.into(), Use::Read)));
                out.extend(["/dev", "/tmp", "/var/tmp"].map(|path| (path.into(), Use::Write)));
                out.push((self.home.clone(), Use::Write));
            }
            Tier::Landlock => {
                out.extend(layout::ETC.iter().map(|name| (Path::new("/etc").join(name), Use::Read)));
                for path in ["/etc/passwd", "/etc/group", "/etc/hosts", "/etc/nsswitch.conf", "/proc"] {
                    out.push((path.into(), Use::Read));
                }
                if self.is_unconfined {
                    out.push(("/etc/resolv.conf".into(), Use::Read));
                }
                for name in ["null", "zero", "full", "random", "urandom", "tty"] {
                    out.push((Path::new("/dev").join(name), Use::Write));
                }
            }
        }
        if self.whole.is_some() {
            // To connect is to write, where Landlock judges it (ABI 9).
            out.push((layout::SOCKET.into(), Use::Write));
        }
        out.extend(self.places.iter().map(|p| (p.target.clone(), if p.is_writable { Use::Write } else { Use::Read })));
        out
    }
}

impl From<io::Error> for Refusal {
    fn from(e: io::Error) -> Refusal {
        Refusal::new(e.to_string())
    }
}
