//! The supervisor of a whole agent's jail: outside, with the owner's rights, it starts the calls that the jail asks for.
//!
//! It is a process of its own, and each call is another, so that a request which ends its reader ends no other call.
//! Who connects is told by the kernel: the pid namespace of the connecting process must be that of the jail. It lives
//! as long as the run's monitor; with a connection goes its call.

mod answer;

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::SocketFlags;

use crate::plan::{Place, Plan};
use crate::sys::{self, Fork, Wait};

/// The most calls at one time. More wait in the socket's own queue.
const MOST_CALLS: usize = 64;

/// How long a call whose connection is gone may take to end by itself, before its client here is killed.
const GRACE: Duration = Duration::from_secs(3);

/// What the jail has that asks: its commands get no more.
#[derive(Debug, Clone)]
pub(crate) struct Outer {
    agent: String,
    policy: Option<PathBuf>,
    workspace: PathBuf,
    /// Every place: where it is, what it shows, and whether it can be written.
    places: Vec<(PathBuf, PathBuf, bool)>,
    /// Mantlet's state directory, for what is said of refusals.
    state: PathBuf,
    policy_hash: String,
}

impl Outer {
    fn of(plan: &Plan, state: &Path) -> Outer {
        let place = |place: &Place| (place.target.clone(), place.source.clone(), place.is_writable);
        Outer {
            agent: plan.agent.clone(),
            policy: plan.whole.as_ref().and_then(|whole| whole.policy.clone()),
            workspace: plan.workspace.clone(),
            places: plan.places.iter().map(place).collect(),
            state: state.to_owned(),
            policy_hash: plan.policy_hash.clone(),
        }
    }

    /// Takes away what the jail itself does not have: the policy may have been widened since it started. Says what.
    pub(crate) fn narrow(&self, places: &mut Vec<Place>) -> Vec<String> {
        let mut notes = Vec::new();
        places.retain_mut(|place| {
            let holds = |(target, source, _): &&(PathBuf, PathBuf, bool)| {
                place.target.strip_prefix(target).is_ok_and(|rest| place.source == join(source, rest))
            };
            // The innermost decides, as it does in the jail.
            let nearest = self.places.iter().filter(holds).max_by_key(|(target, ..)| target.as_os_str().len());
            let shown = mantlet_ledger::escape(place.target.as_os_str().as_encoded_bytes());
            match nearest {
                None => {
                    notes.push(format!("{shown} is left out: the agent's own jail does not have it; start it again"))
                }
                Some((_, _, false)) if place.is_writable => {
                    place.is_writable = false;
                    notes.push(format!("{shown} is read-only: it is in the agent's own jail; start it again"));
                }
                Some(_) => {}
            }
            nearest.is_some()
        });
        notes
    }
}

fn join(path: &Path, rest: &Path) -> PathBuf {
    if rest.as_os_str().is_empty() { path.to_owned() } else { path.join(rest) }
}

/// The monitor's hold on it.
pub(crate) struct Supervisor {
    pid: i32,
    /// Closed, it ends.
    line: Option<OwnedFd>,
}

/// Starts the supervisor of a jail, which is known by the inode of its pid namespace.
pub(crate) fn start(plan: &Plan, state: &Path, listener: OwnedFd, namespace: u64) -> io::Result<Supervisor> {
    let outer = Outer::of(plan, state);
    let (ours, theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let monitor = rustix::process::getpid();
    match sys::clone(0)? {
        Fork::Child => {
            sys::set_process_name(c"mantlet-superv");
            // Nothing of the monitor's: its client and its jail must see its end.
            let keep = [listener.as_raw_fd(), ours.as_raw_fd()];
            let is_alone = sys::close_all_but(&keep).is_ok() && sys::die_with_parent().is_ok();
            if is_alone && rustix::process::getppid() == Some(monitor) {
                Serving { outer, listener, line: ours, namespace, calls: Vec::new(), told: Told::default() }.run();
            }
            sys::exit_now(0)
        }
        Fork::Parent(pid) => Ok(Supervisor { pid, line: Some(theirs) }),
    }
}

impl Supervisor {
    /// Ends it and every call, and waits for them: the jail that asked is dead.
    pub(crate) fn end(&mut self) {
        if self.line.take().is_none() {
            return;
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        while matches!(sys::reap(self.pid, Wait::Poll), Ok(None)) {
            if Instant::now() > deadline {
                // Its calls go with it.
                drop(sys::kill(self.pid, libc::SIGKILL));
                drop(sys::reap(self.pid, Wait::Block));
                return;
            }
            std::thread::sleep(Duration::from_micros(500));
        }
    }
}

/// One call that runs.
struct Running {
    pid: i32,
    connection: OwnedFd,
    /// When its client here is killed: its connection is gone.
    kill_at: Option<Instant>,
}

/// How much is said of refusals: an agent decides how many there are.
#[derive(Default)]
struct Told {
    last: Option<Instant>,
    more: u64,
}

/// The supervisor's own process.
struct Serving {
    outer: Outer,
    listener: OwnedFd,
    line: OwnedFd,
    namespace: u64,
    calls: Vec<Running>,
    told: Told,
}

impl Serving {
    fn run(&mut self) {
        let Ok(ended) = sys::signal_fd(&[libc::SIGCHLD]) else { return };
        loop {
            let now = Instant::now();
            for call in &self.calls {
                if call.kill_at.is_some_and(|at| at <= now) {
                    drop(sys::kill(call.pid, libc::SIGKILL));
                }
            }
            let mut fds = vec![PollFd::new(&self.line, PollFlags::IN), PollFd::new(&ended, PollFlags::IN)];
            let alive: Vec<usize> = (0..self.calls.len()).filter(|i| self.calls[*i].kill_at.is_none()).collect();
            fds.extend(alive.iter().map(|i| PollFd::new(&self.calls[*i].connection, PollFlags::RDHUP)));
            if self.calls.len() < MOST_CALLS {
                fds.push(PollFd::new(&self.listener, PollFlags::IN));
            }
            let wait = Timespec { tv_sec: 1, tv_nsec: 0 };
            let is_waiting = self.calls.iter().any(|call| call.kill_at.is_some());
            poll(&mut fds, is_waiting.then_some(&wait)).ok();
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            drop(fds);
            for (_, i) in alive.iter().enumerate().filter(|(at, _)| ready[2 + at]) {
                self.calls[*i].kill_at = Some(Instant::now() + GRACE);
            }
            let has_asked = ready.get(2 + alive.len()).is_some_and(|ready| *ready);
            while sys::next_signal(ended.as_fd()).is_some() {}
            self.reap();
            if ready[0] {
                return self.finish();
            }
            if has_asked {
                self.accept();
            }
        }
    }

    /// Takes one connection: the kernel says whose it is, before a byte of it is read.
    fn accept(&mut self) {
        let connection = match rustix::net::accept_with(&self.listener, SocketFlags::CLOEXEC) {
            Ok(connection) => connection,
            Err(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE | rustix::io::Errno::NOMEM) => {
                // Calls that end give descriptors back; meanwhile the queue stays.
                return std::thread::sleep(Duration::from_millis(10));
            }
            // It has gone away again.
            Err(_) => return,
        };
        if !is_in(connection.as_fd(), self.namespace) {
            answer::refuse(&connection, "this process is not in the jail that the socket belongs to");
            return self.tell("a process outside of the agent's jail asked for a call");
        }
        match sys::clone(0) {
            Ok(Fork::Child) => {
                sys::set_process_name(c"mantlet-call");
                let keep = [connection.as_raw_fd()];
                let supervisor = rustix::process::getppid();
                if sys::close_all_but(&keep).is_err() || sys::die_with_parent().is_err() || supervisor.is_none() {
                    sys::exit_now(answer::BROKEN);
                }
                sys::exit_now(answer::answer(&connection, &self.outer))
            }
            Ok(Fork::Parent(pid)) => self.calls.push(Running { pid, connection, kill_at: None }),
            Err(_) => answer::refuse(&connection, "no process could be made for the call"),
        }
    }

    fn reap(&mut self) {
        while let Ok(Some(ended)) = sys::reap(-1, Wait::Poll) {
            self.calls.retain(|call| call.pid != ended.pid);
            if let Some(why) = answer::wrong(ended.code) {
                self.tell(why);
            }
        }
    }

    /// The jail is dead, and with it every connection: each call ends by itself, or soon.
    fn finish(&mut self) {
        let deadline = Instant::now() + GRACE * 2;
        for call in &self.calls {
            rustix::net::shutdown(&call.connection, rustix::net::Shutdown::Both).ok();
        }
        while !self.calls.is_empty() {
            if Instant::now() > deadline {
                self.calls.iter().for_each(|call| drop(sys::kill(call.pid, libc::SIGKILL)));
            }
            self.reap();
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Writes a refusal into the ledger, at most one in ten seconds: others are counted.
    fn tell(&mut self, why: &str) {
        if self.told.last.is_some_and(|last| last.elapsed() < Duration::from_secs(10)) {
            self.told.more += 1;
            return;
        }
        let more = match std::mem::take(&mut self.told.more) {
            0 => String::new(),
            more => format!(" ({more} more refusals since the last one told)"),
        };
        self.told.last = Some(Instant::now());
        answer::write_down(&self.outer, &format!("{why}{more}"));
    }
}

/// Whether the process that connected is in this pid namespace. Its pid cannot be another's meanwhile: the pidfd says
/// afterwards that it lives.
fn is_in(connection: BorrowedFd<'_>, namespace: u64) -> bool {
    let Ok(pidfd) = sys::peer_pidfd(connection) else { return false };
    let Ok(text) = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())) else { return false };
    let pid = text.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse::<i32>().ok());
    let Some(pid) = pid.filter(|pid| *pid > 0) else { return false };
    let Ok(own) = fs::metadata(format!("/proc/{pid}/ns/pid")) else { return false };
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let lives = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&now)).is_ok_and(|ended| ended == 0);
    lives && own.ino() == namespace
}
