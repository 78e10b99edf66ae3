//! The way out of a running jail, as its monitor has it: the sockets, kept; whoever serves them, a process of its own or
//! the daemon; and the evidence of what passed.
//!
//! The attack: the serving process is killed, by what a jail sent it or by its owner. Nothing falls back: the jail's
//! connections wait in the kept listeners' queues until a new process serves them.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use mantlet_ledger::{Book, Egress, Entry, Kind, Writer};
use rustix::net::{
    AddressFamily, Shutdown, SocketAddrUnix, SocketFlags, SocketType, connect, shutdown, socket_with, sockopt,
};

use crate::channel::{self, SocketKind, Sockets, Told};
use crate::inside::Namespace;
use crate::plan::Plan;
use crate::sys::{self, Fork};
use crate::way_out::{Followed, WayOut};
use crate::wire::{self, Tag};

/// How often files are looked at, and a daemon that is gone is looked for.
const PERIOD: Duration = Duration::from_millis(500);

/// How long after its end a server is looked for, twice as long each time that one ended before it served: one that dies at
/// once is no reason to spin.
const PAUSE: Duration = Duration::from_millis(25);

/// How long the last words of the serving process are waited for.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// As many refusals as are told at the end.
const MOST_TOLD: usize = 5;

/// Who serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Daemon,
    /// A child, with its pid.
    Own(i32),
}

/// The way out of one running jail.
pub(super) struct Serving {
    state: std::path::PathBuf,
    by: Option<By>,
    channel: Option<OwnedFd>,
    kept: Sockets,
    namespace: Option<Namespace>,
    low: Vec<u16>,
    text: String,
    hash: String,
    exposed: Option<Result<(), String>>,
    book: Book,
    followed: Followed,
    due: Instant,
    /// Whether anything in the jail has asked for the way out: until then nobody has to serve it.
    is_wanted: bool,
    /// Whether a daemon turned this jail away.
    is_turned_away: bool,
    was_served: bool,
    /// How often a server has ended since one served, and when the next is looked for.
    ends: u32,
    retry: Instant,
    /// Children that have ended, or are about to.
    gone: Vec<i32>,
    /// What confines the process that serves; nothing until it has said so.
    how: Option<String>,
    /// What the last one said.
    last: Option<String>,
    /// Refusals, for the person.
    pub(super) refused: Vec<String>,
    pub(super) notes: Vec<String>,
}

impl Serving {
    /// Takes what there is before the jail stands. Somebody to serve is found when something is asked for.
    pub(super) fn start(plan: &Plan, way: &WayOut, state: &Path) -> Result<Serving, String> {
        let mut serving = Serving {
            state: state.to_owned(),
            by: None,
            channel: None,
            kept: Vec::new(),
            namespace: None,
            low: way.low.clone(),
            text: way.text.clone(),
            hash: plan.policy_hash.clone(),
            exposed: None,
            book: Book::default(),
            followed: way.followed.clone(),
            due: Instant::now() + PERIOD,
            is_wanted: false,
            is_turned_away: false,
            was_served: false,
            ends: 0,
            retry: Instant::now(),
            gone: Vec::new(),
            how: None,
            last: None,
            refused: Vec::new(),
            notes: Vec::new(),
        };
        for door in &way.doors {
            let listener = door.try_clone().map_err(|e| e.to_string())?;
            serving.kept.push((SocketKind::Door, listener));
        }
        Ok(serving)
    }

    /// Connects to the daemon, or starts a process, and hands over what there is.
    fn connect(&mut self, way: &WayOut) -> std::io::Result<()> {
        let (begin, text) = (serde_json::to_vec(&way.begin)?, channel::memfd_of(&self.text)?);
        let channel = match (self.daemon(), self.by) {
            (Some(channel), _) => {
                self.by = Some(By::Daemon);
                channel
            }
            // Whoever has a daemon has given it rights that a child of this process would not have.
            (None, Some(By::Daemon)) => return Err(std::io::Error::other("the daemon is not there")),
            (None, _) => {
                let server = way.server.as_ref();
                let server =
                    server.ok_or_else(|| std::io::Error::other("there is no `mantlet` beside `mantlet-run`"))?;
                let (pid, channel) = spawn(server)?;
                self.by = Some(By::Own(pid));
                channel
            }
        };
        // The attack: a server that reads nothing, and a monitor that waits for it instead of for limits and signals.
        rustix::io::ioctl_fionbio(&channel, true)?;
        self.channel = Some(channel);
        self.tell(|channel| wire::send(channel, Tag::Begin, &begin, &[text.as_fd()]));
        if let Some(exposed) = &self.exposed {
            self.tell(|channel| send_exposed(channel, exposed));
        }
        self.tell(|channel| channel::send_sockets(channel, &self.kept));
        Ok(())
    }

    /// A connection to the daemon of the same owner.
    fn daemon(&self) -> Option<OwnedFd> {
        if self.is_turned_away {
            return None;
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).ok()?;
        // A home may lie deeper than an address of this family is long.
        let dir = rustix::fs::open(
            &self.state,
            rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        );
        let path = format!("/proc/self/fd/{}/{}", dir.as_ref().ok()?.as_raw_fd(), channel::DAEMON);
        connect(&socket, &SocketAddrUnix::new(path).ok()?).ok()?;
        // The attack: another user's daemon in a state directory that was made for it.
        let peer = sockopt::socket_peercred(&socket).ok()?;
        if peer.uid != rustix::process::geteuid() {
            return None;
        }
        Some(socket)
    }

    /// Takes what init opened, keeps it, and hands it on.
    pub(super) fn take(&mut self, kinds: &[u8], fds: Vec<OwnedFd>) {
        let Ok(sockets) = channel::sockets_of(kinds, fds.into_iter()) else { return };
        let (own, sockets): (Vec<_>, Vec<_>) =
            sockets.into_iter().partition(|(kind, _)| *kind == SocketKind::Namespace);
        let mut own = own.into_iter().map(|(_, fd)| fd);
        if let Some(network) = own.next() {
            self.namespace = Some(Namespace { network, user: own.next() });
        }
        self.pass_on(sockets);
    }

    fn pass_on(&mut self, sockets: Sockets) {
        self.tell(|channel| channel::send_sockets(channel, &sockets));
        self.kept.extend(sockets.into_iter().filter(|(kind, _)| *kind != SocketKind::Loose));
    }

    /// Tells the server something. One that does not take it is let go; its end is noticed where its words are waited for.
    fn tell(&self, say: impl FnOnce(BorrowedFd<'_>) -> std::io::Result<()>) {
        if let Some(channel) = &self.channel
            && say(channel.as_fd()).is_err()
        {
            shutdown(channel, Shutdown::Both).ok();
        }
    }

    /// What to wait for: the server's words, or that something is asked for.
    pub(super) fn fds(&self) -> Vec<BorrowedFd<'_>> {
        match (&self.channel, self.is_wanted) {
            (Some(channel), _) => vec![channel.as_fd()],
            (None, false) => self.kept.iter().map(|(_, socket)| socket.as_fd()).collect(),
            (None, true) => Vec::new(),
        }
    }

    /// Something is there to be heard, or to be served.
    pub(super) fn react(&mut self, plan: &Plan, way: &WayOut, ledger: Option<&mut Writer>) -> Result<(), String> {
        if self.is_wanted {
            return self.hear(plan, ledger).map(drop);
        }
        self.is_wanted = true;
        if let Err(e) = self.connect(way) {
            // The jail has no network then: that is no reason to end what needs none.
            self.say(format!("the way out could not be served: {e}"));
        }
        Ok(())
    }

    pub(super) fn due(&self) -> Instant {
        self.book.due().map_or(self.due, |due| due.min(self.due))
    }

    /// Hears one word of the server.
    fn hear(&mut self, plan: &Plan, ledger: Option<&mut Writer>) -> Result<bool, String> {
        let Some(channel) = &self.channel else { return Ok(false) };
        let message = match wire::receive(channel.as_fd()) {
            Ok(Some(message)) => message,
            Ok(None) | Err(_) => {
                self.channel = None;
                self.ends = self.ends.saturating_add(1);
                self.retry = Instant::now() + PAUSE.saturating_mul(1 << self.ends.min(8));
                self.due = self.due.min(self.retry);
                match (self.by, self.how.take()) {
                    (Some(By::Own(pid)), _) => {
                        // It may live on, with the jail's listeners in hand, and nobody would hear what it lets pass.
                        drop(sys::kill(pid, libc::SIGKILL));
                        self.gone.push(pid);
                        self.by = None;
                    }
                    (Some(By::Daemon), None) if !self.was_served => {
                        self.is_turned_away = true;
                        self.by = None;
                    }
                    _ => {}
                }
                return Ok(false);
            }
        };
        match message.tag {
            Tag::Serving => {
                (self.was_served, self.ends) = (true, 0);
                let how = mantlet_ledger::escape(&message.payload);
                self.how = Some(mantlet_ledger::shorten(&how, 300).into_owned());
                self.last.clone_from(&self.how);
            }
            Tag::Event => match serde_json::from_slice::<Told>(&message.payload) {
                Ok(told) => self.note(told, plan, ledger)?,
                Err(_) => self.say("something of the way out could not be read, and is not in the ledger".into()),
            },
            Tag::More => self.more(&[]),
            Tag::Unable => {
                let why = mantlet_ledger::escape(&message.payload);
                self.say(format!("the way out could not be served: {why}"));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn more(&mut self, low: &[u16]) {
        let Some(namespace) = &self.namespace else { return };
        match namespace.more(low) {
            Ok(sockets) => self.pass_on(sockets),
            Err(e) => self.say(format!("no more sockets could be opened in the jail: {e}")),
        }
    }

    fn say(&mut self, note: String) {
        if self.notes.len() < 20 {
            self.notes.push(note);
        }
    }

    /// Writes down what happened. What cannot be written ends the jail: nothing passes that could not be told of.
    fn note(&mut self, told: Told, plan: &Plan, ledger: Option<&mut Writer>) -> Result<(), String> {
        let entry = cleaned(told.entry, &plan.call);
        if entry.outcome == "refused" && self.refused.len() < MOST_TOLD {
            let why = entry.reason.as_deref().unwrap_or("no reason was given");
            let mut line = format!("{} refused for agent {}: {why}", entry.host, plan.agent);
            if let Some(hint) = &told.hint {
                line.push_str(&format!("\nhint: {}", mantlet_ledger::escape(hint.as_bytes())));
            }
            if !self.refused.contains(&line) {
                self.refused.push(line);
            }
        }
        let now = self.book.take(entry, Instant::now());
        self.write(now, plan, ledger)
    }

    fn write(
        &self,
        entries: impl IntoIterator<Item = Egress>,
        plan: &Plan,
        ledger: Option<&mut Writer>,
    ) -> Result<(), String> {
        let Some(ledger) = ledger else { return Ok(()) };
        for egress in entries {
            let entry = Entry {
                v: 1,
                time: mantlet_ledger::rfc3339(std::time::SystemTime::now()),
                agent: plan.agent.clone(),
                policy: self.hash.clone(),
                kind: Kind::Egress(egress),
                chain: None,
            };
            ledger.append(&entry).map_err(|e| format!("the ledger could not be written: {e}"))?;
        }
        Ok(())
    }

    /// Does what is due: repetitions are written, files looked at, and somebody found to serve.
    pub(super) fn tick(&mut self, plan: &Plan, way: &WayOut, mut ledger: Option<&mut Writer>) -> Result<(), String> {
        let now = Instant::now();
        let folded = self.book.flush(now);
        self.write(folded, plan, ledger.as_deref_mut())?;
        if now < self.due {
            return Ok(());
        }
        self.due = now + PERIOD;
        if self.is_wanted && self.channel.is_none() && now >= self.retry {
            // Not there yet: the next tick tries again.
            drop(self.connect(way));
        }
        self.gone.retain(|pid| matches!(sys::reap(*pid, sys::Wait::Poll), Ok(None)));
        self.look_at_the_gateway(plan, way);
        match self.followed.look() {
            None => Ok(()),
            Some(Ok(changed)) if changed.text == self.text => Ok(()),
            Some(Ok(changed)) => {
                self.text = changed.text;
                self.hash = changed.hash;
                let new: Vec<u16> = changed.low.into_iter().filter(|port| !self.low.contains(port)).collect();
                let memfd = channel::memfd_of(&self.text).map_err(|e| e.to_string())?;
                self.tell(|channel| wire::send(channel, Tag::Reload, &[], &[memfd.as_fd()]));
                if !new.is_empty() {
                    self.low.extend(&new);
                    self.more(&new);
                }
                self.write([reload("passed", way, None)], plan, ledger)
            }
            Some(Err(why)) => {
                let why = mantlet_ledger::shorten(&mantlet_ledger::escape(why.as_bytes()), 1000).into_owned();
                self.say(format!("the policy was changed and is not used, the one before it stays: {why}"));
                self.write([reload("refused", way, Some(why))], plan, ledger)
            }
        }
    }

    /// Whether strangers may come in depends on the gateway's own configuration, whenever that changes.
    fn look_at_the_gateway(&mut self, plan: &Plan, way: &WayOut) {
        let Some(file) = &way.gateway else { return };
        let now = crate::way_out::authenticates(file, plan);
        if self.exposed.as_ref() != Some(&now) {
            self.tell(|channel| send_exposed(channel, &now));
            if let Err(why) = &now {
                self.say(format!("what is published beyond this host is shut: {why}"));
            }
            self.exposed = Some(now);
        }
    }

    /// The jail is dead: hears the last words, and writes everything down.
    pub(super) fn end(&mut self, plan: &Plan, mut ledger: Option<&mut Writer>) -> Result<(), String> {
        let mut result = Ok(());
        // A server that has not begun yet has let nothing pass.
        if let (Some(channel), Some(_)) = (&self.channel, &self.how)
            && wire::send(channel.as_fd(), Tag::End, &[], &[]).is_ok()
        {
            let deadline = Instant::now() + LAST_WORDS;
            // One that never stops talking ends no later than one that says nothing.
            while Instant::now() < deadline && self.is_readable(deadline) {
                match self.hear(plan, ledger.as_deref_mut()) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(why) => {
                        result = Err(why);
                        break;
                    }
                }
            }
        }
        self.channel = None;
        let rest = std::mem::take(&mut self.book).close();
        result.and(self.write(rest, plan, ledger))
    }

    fn is_readable(&self, deadline: Instant) -> bool {
        self.channel.as_ref().is_some_and(|channel| wire::is_readable(channel.as_fd(), deadline))
    }

    /// Who served, for the report: also when that one has ended since.
    pub(super) fn served(&mut self) -> String {
        match (self.last.take(), self.is_wanted) {
            (Some(how), _) => how,
            (None, true) => "nobody served it, so that nothing passed".into(),
            (None, false) => "nothing asked for it".into(),
        }
    }

    /// Processes to end and to reap once the caller has its answer.
    pub(super) fn leftovers(&mut self) -> Vec<i32> {
        if let Some(By::Own(pid)) = self.by.take() {
            self.gone.push(pid);
        }
        std::mem::take(&mut self.gone)
    }
}

/// A policy that was read again.
fn reload(outcome: &str, way: &WayOut, reason: Option<String>) -> Egress {
    Egress {
        call: None,
        outcome: outcome.into(),
        way: "policy".into(),
        host: mantlet_ledger::escape(way.begin.file.as_bytes()),
        rule: None,
        reason,
        address: None,
        up: 0,
        down: 0,
        count: 1,
    }
}

/// An entry as it may be stored: the server reads what a jail sends, and may be in its hands.
fn cleaned(entry: Egress, call: &str) -> Egress {
    let clean = |text: &str, most| {
        mantlet_ledger::shorten(&mantlet_ledger::escape(mantlet_dlp::mask(text).as_bytes()), most).into_owned()
    };
    let word =
        |text: &str, known: &[&str]| known.iter().find(|word| **word == text).map_or("unknown", |word| word).to_owned();
    Egress {
        call: Some(call.to_owned()),
        outcome: word(&entry.outcome, &["passed", "refused"]),
        way: word(&entry.way, &["dns", "direct", "connect", "socks", "absolute", "publish"]),
        host: clean(&entry.host, 300),
        rule: entry.rule.map(|rule| clean(&rule, 400)),
        reason: entry.reason.map(|reason| clean(&reason, 1000)),
        address: entry.address.map(|address| clean(&address, 80)),
        ..entry
    }
}

fn send_exposed(channel: BorrowedFd<'_>, exposed: &Result<(), String>) -> std::io::Result<()> {
    let why = exposed.as_ref().err().map_or(&[][..], |why| why.as_bytes());
    wire::send(channel, Tag::Exposed, &why[..why.len().min(wire::MAX)], &[])
}

/// Starts a process that serves, with the channel as its standard input, and nothing else of this one's.
fn spawn(server: &Path) -> std::io::Result<(i32, OwnedFd)> {
    let (ours, theirs) = wire::pair()?;
    let path = CString::new(server.as_os_str().as_bytes())?;
    match sys::clone(0)? {
        Fork::Child => {
            let ready = sys::close_all_but(&[theirs.as_raw_fd()])
                .and_then(|()| sys::dup_onto(theirs.as_fd(), 0))
                .and_then(|()| sys::close_on_exec_from(3))
                .and_then(|()| sys::die_with_parent());
            sys::reset_signals();
            if ready.is_ok() {
                sys::exec(&path, &[c"mantlet".into(), c"--way-out".into()], &[]);
            }
            sys::exit_now(127)
        }
        Fork::Parent(pid) => Ok((pid, ours)),
    }
}
