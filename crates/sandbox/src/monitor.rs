//! The monitor of one call: it owns the jail, its limits, the review and the evidence, in a session of its own.
//!
//! The client may die at any moment; the monitor then kills, reviews, cleans and exits. If the monitor dies the
//! kernel kills init (PDEATHSIG) and the next call finishes its journal entry. Whatever init need not wait for is made
//! while it builds the jail.

use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::cgroup::Cgroups;
use crate::covers::{self, Keeping};
use crate::disk::Disk;
use crate::fallback;
use crate::idmap;
use crate::ids::Mapping;
use crate::init::{self, Stdio};
use crate::journal::{self, Entry, Record, State};
use crate::limits::{Breach, Sampler};
use crate::live::{Live, Namespaces};
use crate::outcome::{self, Clock, Ending, Facts};
use crate::plan::Plan;
use crate::report::Outcome;
use crate::sys::{self, Fork, Wait};
use crate::tier::Tier;
use crate::wire::{self, Message, Output, Tag};
use mantlet_ledger::Writer;

/// Runs one call. Never returns.
pub(crate) fn run(mut plan: Plan, state: &State, client: Client, stdio: [Stdio; 3], began: Instant) -> ! {
    sys::set_process_name(c"mantlet-monitor");
    // A session of its own: the terminal's signals and its hang-up are the client's to forward.
    rustix::process::setsid().ok();
    sys::ignore_signal(libc::SIGPIPE);
    let mut call = Call { state, client: &client, begun: None, clock: Clock::start(), output: None, leaving: None };
    let outcome = call.run(&mut plan, stdio, began);
    tell(&client.socket, &outcome);
    // All is dead and reviewed: the client need not wait for the rest. The next call does, if it comes that soon.
    call.strike_out();
    // Nobody may reap for us: in many containers pid 1 does not.
    while sys::reap(-1, Wait::Poll).is_ok_and(|reaped| reaped.is_some()) {}
    sys::exit_now(0)
}

/// Who asked for the call.
pub(crate) struct Client {
    pub(crate) socket: OwnedFd,
    pub(crate) pid: i32,
}

fn tell(client: &OwnedFd, outcome: &Outcome) {
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
fn begin(plan: &Plan, state: &State, client: i32, init: i32) -> Result<Begun, String> {
    let ledger = outcome::open_ledger(plan, state)?;
    let cgroups = Cgroups::plan(&plan.call, &plan.limits);
    let record = Record {
        client: (client, journal::process_start(client).unwrap_or(0)),
        init: (init, journal::process_start(init).unwrap_or(0)),
        call: plan.call.clone(),
        agent: plan.agent.clone(),
        policy: plan.policy_hash.clone(),
        workspace: journal::bytes(&plan.workspace),
        started: journal::coarse_now(),
        cgroups: cgroups.paths().to_vec(),
        review: format!("{:?}", plan.review),
        exempt: plan.rules.exempt().cloned().collect(),
        protect: plan.rules.protect_patterns().map(str::to_owned).collect(),
    };
    let entry = state.begin(&record).map_err(|e| format!("cannot write the journal in {:?}: {e}", state.top))?;
    Ok(Begun { entry, cgroups, ledger })
}

/// One call, from its journal entry to its outcome.
struct Call<'a> {
    state: &'a State,
    client: &'a Client,
    begun: Option<Begun>,
    clock: Clock,
    /// What the client said of the output, once that is at its end: it says so once, in whichever attempt.
    output: Option<Output>,
    /// An init that has nothing left to do but to end.
    leaving: Option<i32>,
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
            ending.take_output(self.wait_for_output());
        }
        match &mut self.begun {
            Some(begun) => ending.conclude(plan, Ok(&mut begun.ledger), began),
            None => match outcome::open_ledger(plan, self.state) {
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
            keeping: ManuallyDrop::new(Keeping::default()),
            broken: None,
        };
        let ending = jail.supervise(self, stdio);
        self.output = self.output.take().or(jail.output);
        ending
    }

    /// Cleans up after the call. An entry that cannot be removed is finished by the next call.
    fn strike_out(&mut self) {
        if let Some(init) = self.leaving.take() {
            drop(sys::kill(init, libc::SIGKILL));
            drop(sys::reap(init, Wait::Block));
        }
        if let Some(begun) = self.begun.take() {
            begun.cgroups.remove_own();
            drop(begun.entry.finish());
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
        let begun = match begin(plan, self.state, self.client.pid, jail.pid) {
            Ok(begun) => self.begun.insert(begun),
            Err(why) => return Ok(Some(Ending::refused(why))),
        };
        // The next call waits for this one only if it finds it written down. A client that died before that must
        // not have a command running beside the next call's.
        if wire::is_gone(self.client.socket.as_fd()) {
            return Ok(Some(Ending::client_gone()));
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
    /// client, or its end, goes on without the number.
    fn wait_for_output(&mut self) -> Option<Output> {
        if self.output.is_some() {
            return self.output.take();
        }
        loop {
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

/// A jail that is being built or runs.
struct Jail<'a> {
    plan: &'a Plan,
    tier: Tier,
    client: &'a OwnedFd,
    init: OwnedFd,
    pid: i32,
    facts: Facts,
    started: (i64, i64),
    sampler: ManuallyDrop<Option<Sampler>>,
    /// Whether init has said that the jail stands, and not that it could not be closed: else nothing has run.
    is_built: bool,
    /// What init said when it failed.
    failure: Option<Vec<u8>>,
    /// The command's exit code, once all is over but init's own end.
    ended: Option<i32>,
    /// What the client said of the output, once that is at its end.
    output: Option<Output>,
    /// Into the control groups, for init.
    doors: Vec<OwnedFd>,
    /// Never dropped, as `live` in `supervise`.
    keeping: ManuallyDrop<Keeping>,
    /// Why the jail may not go on.
    broken: Option<String>,
}

impl Jail<'_> {
    fn supervise(&mut self, call: &mut Call<'_>, stdio: &mut Option<[Stdio; 3]>) -> Result<Ending, String> {
        match call.prepare(self) {
            Ok(None) => {}
            Ok(Some(ending)) => {
                self.kill();
                return Ok(ending);
            }
            Err(why) => {
                self.kill();
                return Err(why);
            }
        }
        // Never dropped: closing an inotify or the last view of the jail's mounts waits for the kernel's grace
        // periods, milliseconds in which the caller would wait too. They go when this process does.
        let mut live = ManuallyDrop::new(Live::start(self.plan, &call.state.top));
        // Everything is watched: init need not wait for us once it has built the jail. One that failed is heard below.
        let lock = call.begun.as_ref().map(|b| b.entry.lock());
        let fds: Vec<_> = lock.into_iter().chain(self.doors.iter().map(AsFd::as_fd)).collect();
        drop(wire::send(self.init.as_fd(), Tag::Go, &[], &fds));
        self.doors.clear();
        let ended = sys::pidfd(self.pid).map_err(|e| e.to_string());
        let ending = ended.map(|ended| self.watch(&ended, stdio, &mut live));
        let code = match self.ended {
            // Init has nothing left to say, and is waited for when the client has its answer.
            Some(code) => {
                call.leaving = Some(self.pid);
                code
            }
            None => {
                let code = self.kill();
                self.hear_last_words(stdio);
                code
            }
        };
        if !self.is_built {
            return Err(self.why_not_built());
        }
        live.react(self.plan);
        let mut ending = match (ending?, &self.failure) {
            (Some(ending), _) => ending,
            (None, Some(failure)) => Ending::failed(self.plan, failure),
            (None, None) => Ending::of_command(code, self.plan),
        };
        ending.facts = std::mem::take(&mut self.facts);
        ending.tier = Some(self.tier);
        ending.started = self.started;
        ending.take_replaced(self.keeping.replaced());
        if let Some((cover, since)) = self.keeping.breach() {
            ending.got_past(cover, since, self.plan, &mut live);
        }
        self.keeping.dismiss();
        ending.review(self.plan, &mut live, call.clock, call.state);
        Ok(ending)
    }

    fn why_not_built(&self) -> String {
        self.failure.as_deref().map_or_else(|| "init ended without a word".into(), failure_text)
    }

    /// Waits for the end of init, or for a reason to end it.
    fn watch(&mut self, ended: &OwnedFd, stdio: &mut Option<[Stdio; 3]>, live: &mut Live) -> Option<Ending> {
        let deadline = Instant::now() + self.plan.limits.time;
        let mut disk = Disk::new(self.plan);
        let mut init_speaks = true;
        loop {
            let passed = if Instant::now() >= deadline { Some(Breach::Time) } else { None };
            let passed = passed
                .or_else(|| self.sampler.as_mut().and_then(Sampler::sample))
                .or_else(|| disk.sample(self.plan, self.started));
            if let Some(breach) = passed {
                return Some(Ending::breach(breach, self.plan));
            }
            if let Some(why) = self.broken.take() {
                return Some(Ending::broken(why));
            }
            let due = self.sampler.as_ref().map_or(deadline, Sampler::due).min(deadline).min(disk.due());
            let time = due.saturating_duration_since(Instant::now()) + Duration::from_micros(200);
            let timeout = Timespec { tv_sec: time.as_secs().cast_signed(), tv_nsec: i64::from(time.subsec_nanos()) };
            let mut fds = vec![PollFd::new(ended, PollFlags::IN), PollFd::new(self.client, PollFlags::IN)];
            let init_at = init_speaks.then_some(fds.len());
            fds.extend(init_at.map(|_| PollFd::new(&self.init, PollFlags::IN)));
            let live_at = fds.len();
            fds.extend(live.fd().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
            let keeper_at = fds.len();
            fds.extend(self.keeping.fd().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
            let answered = poll(&mut fds, Some(&timeout)).is_ok();
            let is_ready = |i: usize| answered && fds.get(i).is_some_and(|fd| !fd.revents().is_empty());
            let (has_ended, client, workspace) = (is_ready(0), is_ready(1), is_ready(live_at));
            let init = init_at.is_some_and(is_ready);
            if is_ready(keeper_at) {
                self.broken = Some("the keeper of the covers was killed; so was everything else".into());
            }
            drop(fds);
            if init {
                init_speaks = self.hear_init(stdio);
            }
            if workspace {
                live.react(self.plan);
            }
            if has_ended || self.ended.is_some() {
                return None;
            }
            if client && let Some(ending) = self.hear_client() {
                return Some(ending);
            }
        }
    }

    /// Reads one message of init. Answers whether more may come.
    fn hear_init(&mut self, stdio: &mut Option<[Stdio; 3]>) -> bool {
        let Ok(Some(message)) = wire::receive(self.init.as_fd()) else { return false };
        match message.tag {
            Tag::Built => self.stands(message, stdio),
            Tag::Failed => self.failure = Some(message.payload),
            Tag::Ended => self.ended = message.payload.try_into().ok().map(i32::from_le_bytes),
            Tag::Refused => {
                self.failure = Some(message.payload);
                self.is_built = false;
            }
            _ => {}
        }
        true
    }

    fn hear_last_words(&mut self, stdio: &mut Option<[Stdio; 3]>) {
        while self.hear_init(stdio) {}
    }

    /// The jail stands: takes over init's views of it.
    fn stands(&mut self, message: Message, stdio: &mut Option<[Stdio; 3]>) {
        self.is_built = true;
        // The inner ends of the output pipes belong to the jail alone from here on.
        *stdio = None;
        let flags = message.payload.first().copied().unwrap_or(0);
        if message.payload.len() > 1 {
            self.facts.proc_partial = Some(String::from_utf8_lossy(&message.payload[1..]).into_owned());
        }
        let mut fds = message.fds.into_iter();
        let mut take = |bit: u8| if flags & bit != 0 { fds.next() } else { None };
        if let Some(master) = take(init::HAS_TERMINAL) {
            // A client that is gone is noticed by its socket.
            drop(wire::send(self.client.as_fd(), Tag::Terminal, &[], &[master.as_fd()]));
        }
        let (proc, tmpfs) = (take(init::HAS_PROC), take(init::HAS_TMPFS));
        let (mount, user) = (take(init::HAS_MOUNT_NS), take(init::HAS_USER_NS));
        if let Err(e) = self.keeping.attach(mount.map(|mount| Namespaces { mount, user }), self.pid) {
            self.broken = Some(format!("the keeper of the covers could not be started: {e}"));
        }
        self.sampler = ManuallyDrop::new(proc.map(|proc| Sampler::new(&self.plan.limits, self.plan.kind, proc, tmpfs)));
        self.facts.has_sampler = self.sampler.is_some();
    }

    fn hear_client(&mut self) -> Option<Ending> {
        match wire::receive(self.client.as_fd()) {
            Ok(Some(Message { tag: Tag::Signal, payload, .. })) => {
                // A jail that has just ended needs no signal; the loop hears of it next.
                drop(wire::send(self.init.as_fd(), Tag::Signal, &payload, &[]));
                None
            }
            Ok(Some(Message { tag: Tag::OutputLimit, .. })) => Some(Ending::breach(Breach::Output, self.plan)),
            // The output can be at its end before the command is.
            Ok(Some(Message { tag: Tag::OutputDone, payload, .. })) => {
                self.output = Output::of_payload(&payload);
                None
            }
            Ok(Some(_)) => None,
            Ok(None) | Err(_) => Some(Ending::client_gone()),
        }
    }

    /// Kills everything in the jail and answers how init ended: the kernel takes a pid namespace down with its init.
    fn kill(&mut self) -> i32 {
        if self.tier == Tier::Landlock {
            let (code, is_clean) = fallback::kill_tree(self.pid);
            if !is_clean {
                self.facts.notes.push("some processes of the command could not be killed, and may go on".into());
            }
            return code;
        }
        drop(sys::kill(self.pid, libc::SIGKILL));
        sys::reap(self.pid, Wait::Block).ok().flatten().map_or(125, |ended| ended.code)
    }
}

/// The sentence of a `Failed` message, without its errno.
fn failure_text(payload: &[u8]) -> String {
    let text = String::from_utf8_lossy(payload);
    text.split_once(' ').map_or_else(|| text.clone().into_owned(), |(_, sentence)| sentence.to_owned())
}
