//! The monitor of one call: it owns the jail, its limits, the review and the evidence, in a session of its own.
//!
//! The client may die at any moment; the monitor then kills, reviews, cleans and exits. If the monitor dies the
//! kernel kills init (PDEATHSIG) and the next call finishes its journal entry. Whatever init need not wait for is made
//! while it builds the jail.

use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};

use crate::cgroup::Cgroups;
use crate::covers::{self, Keeping};
use crate::evidence;
use crate::fallback;
use crate::halt;
use crate::idmap;
use crate::ids::Mapping;
use crate::init::{self, Stdio};
use crate::journal::{self, Entry, Record, State};
use crate::outcome::{Clock, Ending, Facts};
use crate::plan::Plan;
use crate::report::Outcome;
use crate::sys::{self, Fork, Wait};
use crate::tier::Tier;
use crate::tree::Tree;
use crate::wire::{self, Message, Output, Tag};
use mantlet_ledger::Writer;

mod jail;
mod service;
mod serving;

use jail::Jail;

/// How long the output of a halted call is waited for.
const LAST_OUTPUT: Duration = Duration::from_secs(1);

/// Runs one call. Never returns.
pub(crate) fn run(mut plan: Plan, state: &State, client: Client, stdio: [Stdio; 3], began: Instant) -> ! {
    sys::set_process_name(c"mantlet-monitor");
    // A session of its own: the terminal's signals and its hang-up are the client's to forward.
    rustix::process::setsid().ok();
    sys::ignore_signal(libc::SIGPIPE);
    // Whoever ends all processes of a service at once ends the command by its client: this one has still to review.
    [libc::SIGTERM, libc::SIGINT, libc::SIGHUP].into_iter().for_each(sys::ignore_signal);
    // The caller's streams are its client's: whoever reads them to their end need not wait for this process.
    if let Ok(null) = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        (0..3).for_each(|number| drop(sys::dup_onto(null.as_fd(), number)));
    }
    let clock = Clock::start();
    let mut call = Call {
        state,
        client: &client,
        begun: None,
        ledger: None,
        clock,
        output: None,
        leaving: None,
        servers: Vec::new(),
        is_untold: false,
    };
    let outcome = call.run(&mut plan, stdio, began);
    tell(&client.socket, &outcome);
    // All is dead and reviewed: the client need not wait for the rest. The next call does, if it comes that soon.
    call.strike_out();
    if let Some(mut ledger) = call.ledger {
        // What fails leaves it larger than it should be; the next call tries again.
        drop(ledger.tidy());
    }
    // Nobody may reap for us: in many containers pid 1 does not.
    while sys::reap(-1, Wait::Poll).is_ok_and(|reaped| reaped.is_some()) {}
    sys::exit_now(0)
}

/// Who asked for the call.
pub(crate) struct Client {
    pub(crate) socket: OwnedFd,
    pub(crate) pid: i32,
}

/// Says how a call ended.
pub(crate) fn tell(client: &OwnedFd, outcome: &Outcome) {
    let text = serde_json::to_vec(outcome).unwrap_or_default();
    if text.len() < wire::MAX {
        drop(wire::send(client.as_fd(), Tag::Done, &text, &[]));
    } else if let Ok(memfd) = rustix::fs::memfd_create("outcome", rustix::fs::MemfdFlags::CLOEXEC) {
        let mut file = std::fs::File::from(memfd);
        drop(std::io::Write::write_all(&mut file, &text));
        drop(wire::send(client.as_fd(), Tag::DoneLarge, &[], &[file.as_fd()]));
    }
}

/// A call that was written down.
struct Begun {
    entry: Entry,
    cgroups: Cgroups,
    ledger: Writer,
}

/// Writes the call down and opens the evidence, before the command may start: a call killed at any later moment is
/// found, and none runs that could not be told of.
fn begin(plan: &Plan, state: &State, client: i32, jail: &Jail<'_>) -> Result<(Begun, Option<String>), String> {
    let (ledger, note) = evidence::begin(plan, state)?;
    let cgroups = Cgroups::plan(&plan.call, &plan.limits);
    let (init, own) = (jail.pid, rustix::process::getpid().as_raw_nonzero().get());
    let record = Record {
        client: (client, journal::process_start(client).unwrap_or(0)),
        init: (init, journal::process_start(init).unwrap_or(0)),
        // The start is asked for where it is needed: it costs a file of /proc.
        monitor: (own, if jail.tier == Tier::Full { 0 } else { journal::process_start(own).unwrap_or(0) }),
        call: plan.call.clone(),
        command: evidence::command_text(plan),
        session: plan.session.clone(),
        run: plan.run.clone(),
        agent: plan.agent.clone(),
        policy: plan.policy_hash.clone(),
        workspace: journal::bytes(&plan.workspace),
        started: journal::coarse_now(),
        cgroups: cgroups.paths().to_vec(),
        review: format!("{:?}", plan.review),
        exempt: plan.rules.exempt().cloned().collect(),
        protect: plan.rules.protect_patterns().map(str::to_owned).collect(),
        state: plan.whole.iter().flat_map(|whole| whole.trees.iter().map(journal_of)).collect(),
        leads: plan.leads.iter().map(|path| journal::bytes(path)).collect(),
    };
    let entry = state.begin(&record).map_err(|e| format!("cannot write the journal in {:?}: {e}", state.top))?;
    Ok((Begun { entry, cgroups, ledger }, note))
}

fn journal_of(tree: &Tree) -> (Vec<u8>, Vec<String>) {
    (journal::bytes(&tree.top), tree.rules.protect_patterns().map(str::to_owned).collect())
}

/// One call, from its journal entry to its outcome.
struct Call<'a> {
    state: &'a State,
    client: &'a Client,
    begun: Option<Begun>,
    /// That of a call that is over, to be tidied when nobody waits any more.
    ledger: Option<Writer>,
    clock: Clock,
    /// What the client said of the output, once that is at its end: it says so once, in whichever attempt.
    output: Option<Output>,
    /// An init that has nothing left to do but to end.
    leaving: Option<i32>,
    /// Processes that served the way out.
    servers: Vec<i32>,
    /// Whether something stays that may not, and nobody is there to be told.
    is_untold: bool,
}

impl Call<'_> {
    fn run(&mut self, plan: &mut Plan, stdio: [Stdio; 3], began: Instant) -> Outcome {
        let mut stdio = Some(stdio);
        let mut ending = self.try_tiers(plan, &mut stdio);
        drop(stdio);
        // Also of an attempt that was refused.
        if ending.tier != Some(Tier::Full) {
            fallback::remove_private(self.state, &plan.call);
        }
        // Nothing ran, nothing was printed: a client that waits for a terminal would never say so.
        if ending.tier.is_some() {
            ending.take_output(self.wait_for_output(ending.is_halted.then_some(LAST_OUTPUT)));
        }
        self.is_untold = ending.is_stuck && wire::is_gone(self.client.socket.as_fd());
        match &mut self.begun {
            Some(begun) => ending.conclude(plan, Ok(&mut begun.ledger), began),
            None => match evidence::open(plan, self.state) {
                Ok(mut ledger) => ending.conclude(plan, Ok(&mut ledger), began),
                Err(why) => ending.conclude(plan, Err(why), began),
            },
        }
    }

    /// Tries the best tier, then the least the policy takes, and runs the command in the first that holds.
    fn try_tiers(&mut self, plan: &mut Plan, stdio: &mut Option<[Stdio; 3]>) -> Ending {
        let unavailable = match self.attempt(plan, Tier::Full, stdio) {
            Ok(ending) => return ending,
            Err(why) => why,
        };
        // The next attempt is written down with an init of its own.
        self.strike_out();
        // Without the caller's streams there is no second attempt: they went into a jail that could not be closed.
        if plan.least_tier == Tier::Full || stdio.is_none() {
            let hint = fallback::way_out(plan);
            return Ending::refused(format!("this host does not give the tier `full`: {unavailable}\nhint: {hint}"));
        }
        let note = format!("the tier `full` is not to be had here: {unavailable}");
        let prepared = fallback::check(plan)
            .and_then(|()| fallback::prepare(plan, self.state).map_err(|e| format!("cannot make a private HOME: {e}")))
            .and_then(|()| sys::become_subreaper().map_err(|e| e.to_string()));
        let refused = |why: String| {
            let hint =
                if why.contains("hint: ") { String::new() } else { format!("\nhint: {}", fallback::way_out(plan)) };
            Ending::refused(format!("{why}\nnote: {note}{hint}"))
        };
        if let Err(why) = prepared {
            return refused(why);
        }
        match self.attempt(plan, Tier::Landlock, stdio) {
            Ok(mut ending) => {
                ending.facts.unavailable = Some(unavailable);
                ending.facts.notes.push(note);
                ending
            }
            Err(why) => refused(why),
        }
    }

    /// One attempt at a tier. `Err`: the host does not give it, and nothing has run.
    fn attempt(&mut self, plan: &Plan, tier: Tier, stdio: &mut Option<[Stdio; 3]>) -> Result<Ending, String> {
        let (ours, theirs) = wire::pair().map_err(|e| e.to_string())?;
        let flags = match (tier, plan.ids.mapping) {
            (Tier::Landlock, _) => 0,
            (Tier::Full, Mapping::Caller) => sys::NS_ALL,
            (Tier::Full, _) => sys::NS_ROOT,
        };
        let started = journal::coarse_now();
        let pid = match sys::clone(flags).map_err(|e| format!("making the namespaces: {e}"))? {
            Fork::Child => become_init(plan, tier, theirs, stdio),
            Fork::Parent(pid) => pid,
        };
        drop(theirs);
        let mut jail = Jail {
            plan,
            tier,
            client: &self.client.socket,
            init: ours,
            pid,
            facts: Facts::default(),
            started,
            sampler: ManuallyDrop::new(None),
            is_built: false,
            failure: None,
            ended: None,
            output: None,
            doors: Vec::new(),
            state: &self.state.top,
            supervisor: None,
            serving: None,
            has_started: false,
            keeping: ManuallyDrop::new(Keeping::default()),
            broken: None,
        };
        let ending = jail.supervise(self, stdio);
        self.servers = jail.serving.as_mut().map(serving::Serving::leftovers).unwrap_or_default();
        self.output = self.output.take().or(jail.output);
        ending
    }

    /// Cleans up after the call. An entry that cannot be removed is finished by the next call. So is one that stays: whoever
    /// would read what the review could not undo was killed, and the next call would run beside it.
    fn strike_out(&mut self) {
        if let Some(init) = self.leaving.take() {
            drop(sys::kill(init, libc::SIGKILL));
            drop(sys::reap(init, Wait::Block));
        }
        for server in self.servers.drain(..) {
            drop(sys::kill(server, libc::SIGKILL));
            drop(sys::reap(server, Wait::Block));
        }
        if let Some(begun) = self.begun.take() {
            begun.cgroups.remove_own();
            if !self.is_untold {
                drop(begun.entry.finish());
            }
            self.ledger = Some(begun.ledger);
        }
    }

    /// What has to be there before the command may start, made while init builds the jail.
    ///
    /// `Err`: the host does not give the tier. An ending: the call is over, and nothing has run.
    fn prepare(&mut self, jail: &mut Jail<'_>) -> Result<Option<Ending>, String> {
        let plan = jail.plan;
        if (jail.tier, plan.ids.mapping) == (Tier::Full, Mapping::Idmapped) {
            let idmap = idmap::user_namespace(plan.ids).map_err(|e| format!("making the id map: {e}"))?;
            // An init that is gone has said why.
            drop(wire::send(jail.init.as_fd(), Tag::IdMap, &[], &[idmap.as_fd()]));
        }
        let begun = match begin(plan, self.state, self.client.pid, jail) {
            Ok((begun, note)) => {
                jail.facts.notes.extend(note);
                self.begun.insert(begun)
            }
            Err(why) => return Ok(Some(Ending::refused(why))),
        };
        // After the entry, before the command: a halt that is not seen here finds the entry, and kills init.
        if let Some(why) = halt::refusal(&self.state.top) {
            return Ok(Some(Ending::refused(why)));
        }
        // The next call waits for this one only if it finds it written down. A client that died before that must
        // not have a command running beside the next call's.
        if wire::is_gone(self.client.socket.as_fd()) {
            return Ok(Some(Ending::client_gone()));
        }
        if let (Some(way), Tier::Full) = (&plan.way_out, jail.tier) {
            match serving::Serving::start(plan, way, &self.state.top) {
                Ok(serving) => jail.serving = Some(serving),
                Err(why) => return Ok(Some(Ending::refused(why))),
            }
        }
        let (extent, doors) = begun.cgroups.enter(jail.pid, jail.tier);
        jail.facts.cgroup = Some(extent);
        jail.doors = doors;
        if jail.tier == Tier::Landlock {
            covers::open_gate(self.client.socket.as_fd());
        } else {
            match Keeping::start(plan, self.client.socket.as_fd()) {
                Ok((keeping, note)) => {
                    *jail.keeping = keeping;
                    jail.facts.notes.extend(note);
                }
                Err(why) => return Ok(Some(Ending::refused(why))),
            }
        }
        Ok(None)
    }

    /// Waits for the client to have relayed all output, which it can since the jail is dead.
    ///
    /// A caller that reads nothing may hold this up, as it would hold up the command; a second signal to the
    /// client, or its end, goes on without the number. So does a halt after its patience: a stopped client says nothing.
    fn wait_for_output(&mut self, patience: Option<Duration>) -> Option<Output> {
        if self.output.is_some() {
            return self.output.take();
        }
        let deadline = patience.map(|patience| Instant::now() + patience);
        loop {
            if deadline.is_some_and(|deadline| !wire::is_readable(self.client.socket.as_fd(), deadline)) {
                return None;
            }
            match wire::receive(self.client.socket.as_fd()) {
                Ok(Some(Message { tag: Tag::OutputDone, payload, .. })) => {
                    return Output::of_payload(&payload);
                }
                Ok(Some(Message { tag: Tag::Signal, payload, .. })) if ends(&payload) => return None,
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return None,
            }
        }
    }
}

fn become_init(plan: &Plan, tier: Tier, monitor: OwnedFd, stdio: &mut Option<[Stdio; 3]>) -> ! {
    let stdio = stdio.take().unwrap_or([Stdio::Closed, Stdio::Closed, Stdio::Closed]);
    let mut keep = vec![monitor.as_raw_fd(), plan.workspace_fd.as_raw_fd()];
    keep.extend(stdio.iter().filter_map(|s| if let Stdio::Pipe(fd) = s { Some(fd.as_raw_fd()) } else { None }));
    if sys::close_all_but(&keep).is_err() {
        sys::exit_now(125);
    }
    init::run(init::Entry { plan, tier, monitor, stdio })
}

/// Whether a forwarded signal asks a program to end.
fn ends(payload: &[u8]) -> bool {
    let signal = payload.first().map_or(0, |s| i32::from(*s));
    [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT].contains(&signal)
}
