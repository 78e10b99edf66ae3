//! A jail that is being built or runs: what the monitor hears of it, and when it ends it.

use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::serving::Serving;
use super::{Begun, Call};
use crate::covers::Keeping;
use crate::disk::Disk;
use crate::fallback;
use crate::halt;
use crate::init::{self, Stdio};
use crate::limits::{Breach, Sampler};
use crate::live::{Live, Namespaces};
use crate::outcome::{self, Ending, Facts};
use crate::plan::Plan;
use crate::supervisor::{self, Supervisor};
use crate::sweep::Sweep;
use crate::sys::{self, Wait};
use crate::tier::Tier;
use crate::wire::{self, Message, Output, Tag};

/// A jail that is being built or runs.
pub(super) struct Jail<'a> {
    pub(super) plan: &'a Plan,
    pub(super) tier: Tier,
    pub(super) client: &'a OwnedFd,
    pub(super) init: OwnedFd,
    pub(super) pid: i32,
    pub(super) facts: Facts,
    pub(super) started: (i64, i64),
    pub(super) sampler: ManuallyDrop<Option<Sampler>>,
    /// Whether init has said that the jail stands, and not that it could not be closed: else nothing has run.
    pub(super) is_built: bool,
    /// What init said when it failed.
    pub(super) failure: Option<Vec<u8>>,
    /// The command's exit code, once all is over but init's own end.
    pub(super) ended: Option<i32>,
    /// What the client said of the output, once that is at its end.
    pub(super) output: Option<Output>,
    /// Into the control groups, for init.
    pub(super) doors: Vec<OwnedFd>,
    /// Never dropped, as `live` in `supervise`.
    pub(super) keeping: ManuallyDrop<Keeping>,
    /// Why the jail may not go on.
    pub(super) broken: Option<String>,
    /// Mantlet's own state directory.
    pub(super) state: &'a Path,
    /// Of a whole agent.
    pub(super) supervisor: Option<Supervisor>,
    /// The way out, where there is one.
    pub(super) serving: Option<Serving>,
    /// Whether it was told that a whole agent's jail stands.
    pub(super) has_started: bool,
}

impl Jail<'_> {
    pub(super) fn supervise(&mut self, call: &mut Call<'_>, stdio: &mut Option<[Stdio; 3]>) -> Result<Ending, String> {
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
        let ending = ended.map(|ended| self.watch(&ended, stdio, &mut live, call));
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
        if let Some(supervisor) = &mut self.supervisor {
            supervisor.end();
        }
        self.end_way_out(call.begun.as_mut());
        // Whoever else kills an init while everything is halted is not told apart from the halt.
        let halted = if code == outcome::KILLED { halt::look(self.state) } else { None };
        if !self.is_built {
            return match halt::refusal(self.state) {
                Some(why) => Ok(Ending::refused(why)),
                None => Err(self.why_not_built()),
            };
        }
        live.react(self.plan);
        let mut ending = match (ending?, &self.failure) {
            (Some(ending), _) => ending,
            (None, Some(failure)) => Ending::failed(self.plan, failure),
            (None, None) => halted.as_ref().map_or_else(|| Ending::of_command(code, self.plan), Ending::halted),
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

    /// Does for the way out what is due.
    fn tend_way_out(&mut self, mut begun: Option<&mut Begun>) {
        if let Some(begun) = begun.as_deref_mut() {
            // What fails leaves it larger than it should be; the next call's monitor tries as well.
            drop(begun.ledger.tidy_rotated());
        }
        if let (Some(serving), Some(way)) = (&mut self.serving, &self.plan.way_out) {
            let told = serving.tick(self.plan, way, begun.map(|begun| &mut begun.ledger));
            self.broken = self.broken.take().or(told.err());
        }
    }

    fn hear_server(&mut self, begun: Option<&mut Begun>) {
        if let (Some(serving), Some(way)) = (&mut self.serving, &self.plan.way_out) {
            let heard = serving.react(self.plan, way, begun.map(|begun| &mut begun.ledger));
            self.broken = self.broken.take().or(heard.err());
        }
    }

    /// Takes down what the way out has told, and what it had to say.
    fn end_way_out(&mut self, begun: Option<&mut Begun>) {
        let Some(serving) = &mut self.serving else { return };
        if let Err(why) = serving.end(self.plan, begun.map(|begun| &mut begun.ledger)) {
            self.facts.notes.push(why);
        }
        self.facts.notes.append(&mut serving.notes);
        self.facts.refused = std::mem::take(&mut serving.refused);
        self.facts.served = Some(serving.served());
    }

    fn why_not_built(&self) -> String {
        self.failure.as_deref().map_or_else(|| "init ended without a word".into(), failure_text)
    }

    /// Waits for the end of init, or for a reason to end it.
    fn watch(
        &mut self,
        ended: &OwnedFd,
        stdio: &mut Option<[Stdio; 3]>,
        live: &mut Live,
        call: &mut Call<'_>,
    ) -> Option<Ending> {
        let began = Instant::now();
        let deadline = began + self.plan.limits.time;
        let mut disk = Disk::new(self.plan);
        let mut sweep = Sweep::new(self.plan, self.started);
        let mut init_speaks = true;
        loop {
            sweep.run(self.plan, live);
            self.tell_standing(call.begun.as_mut(), began);
            self.tell_undone(call.begun.as_mut(), live, began);
            self.tend_way_out(call.begun.as_mut());
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
            let due = [Some(deadline), Some(disk.due()), sweep.due()].into_iter().flatten().min();
            let timeout = self.time_until(due.unwrap_or(deadline), live);
            let mut fds = vec![PollFd::new(ended, PollFlags::IN), PollFd::new(self.client, PollFlags::IN)];
            let init_at = init_speaks.then_some(fds.len());
            fds.extend(init_at.map(|_| PollFd::new(&self.init, PollFlags::IN)));
            let live_at = fds.len();
            fds.extend(live.fd().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
            let keeper_at = fds.len();
            fds.extend(self.keeping.fd().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
            let server_at = fds.len();
            let way_out = self.serving.as_ref().map(Serving::fds).unwrap_or_default();
            fds.extend(way_out.into_iter().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
            let answered = poll(&mut fds, Some(&timeout)).is_ok();
            let is_ready = |i: usize| answered && fds.get(i).is_some_and(|fd| !fd.revents().is_empty());
            let (has_ended, client, workspace) = (is_ready(0), is_ready(1), is_ready(live_at));
            let init = init_at.is_some_and(is_ready);
            let server = (server_at..fds.len()).any(is_ready);
            if keeper_at < server_at && is_ready(keeper_at) {
                self.broken = Some("the keeper of the covers was killed; so was everything else".into());
            }
            drop(fds);
            if server {
                self.hear_server(call.begun.as_mut());
            }
            if init {
                init_speaks = self.hear_init(stdio);
            }
            if workspace || live.is_behind() {
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

    /// How long nothing has to be done.
    fn time_until(&self, due: Instant, live: &Live) -> Timespec {
        let own = [self.sampler.as_ref().map(Sampler::due), self.serving.as_ref().map(Serving::due)];
        let due = own.into_iter().flatten().fold(due, Instant::min);
        // What is left to judge wakes nobody.
        let due = if live.is_behind() { Instant::now() } else { due };
        let time = due.saturating_duration_since(Instant::now()) + Duration::from_micros(200);
        Timespec { tv_sec: time.as_secs().cast_signed(), tv_nsec: i64::from(time.subsec_nanos()) }
    }

    /// Reads one message of init. Answers whether more may come.
    fn hear_init(&mut self, stdio: &mut Option<[Stdio; 3]>) -> bool {
        let Ok(Some(message)) = wire::receive_sockets(self.init.as_fd()) else { return false };
        match message.tag {
            Tag::Sockets => {
                if let Some(serving) = &mut self.serving {
                    serving.take(&message.payload, message.fds);
                }
            }
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
        let mut rest = message.payload.get(1..).unwrap_or_default();
        let mut namespace = 0;
        if let (true, Some((own, after))) = (flags & init::HAS_LISTENER != 0, rest.split_first_chunk()) {
            (namespace, rest) = (u64::from_le_bytes(*own), after);
        }
        if !rest.is_empty() {
            self.facts.proc_partial = Some(String::from_utf8_lossy(rest).into_owned());
        }
        let mut fds = message.fds.into_iter();
        let mut take = |bit: u8| if flags & bit != 0 { fds.next() } else { None };
        if let Some(master) = take(init::HAS_TERMINAL) {
            // A client that is gone is noticed by its socket.
            drop(wire::send(self.client.as_fd(), Tag::Terminal, &[], &[master.as_fd()]));
        }
        let (proc, tmpfs) = (take(init::HAS_PROC), take(init::HAS_TMPFS));
        let (mount, user) = (take(init::HAS_MOUNT_NS), take(init::HAS_USER_NS));
        if let Some(listener) = take(init::HAS_LISTENER) {
            match supervisor::start(self.plan, self.state, listener, namespace) {
                Ok(supervisor) => self.supervisor = Some(supervisor),
                Err(e) => self.broken = Some(format!("the supervisor could not be started: {e}")),
            }
        }
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
            // A halt ends a whole agent and what it asked for at one time: what goes away then goes by the halt.
            Ok(None) | Err(_) => Some(halt::look(self.state).as_ref().map_or_else(Ending::client_gone, Ending::halted)),
        }
    }

    /// Kills everything in the jail and answers how init ended: the kernel takes a pid namespace down with its init.
    pub(super) fn kill(&mut self) -> i32 {
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
