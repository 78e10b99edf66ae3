//! `mantlet daemon`: one serving process for all jails of an owner, started again when it ends.
//!
//! This process parses nothing that comes from a jail. It takes connections of monitors, looks whose they are, and hands
//! them on; its only secret is the path of its socket, which lies where no jail sees it.

use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use mantlet_sandbox::channel::{self, Channel};
use mantlet_sandbox::halt::Notice;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::net::sockopt::socket_peercred;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen, socket_with};

use crate::serve::{raise_descriptors, serve};

/// The word by which this program starts itself as the serving process.
pub const SERVER_WORD: &str = "--ways-out";

/// As many jails as one daemon serves; the others start a process of their own.
const MOST_JAILS: usize = 1024;

/// The least time between two starts of the serving process.
const PAUSE: Duration = Duration::from_secs(1);

/// How long after a halt what is open is cut. The monitors of jails that were killed need it for what passed last.
const LAST_WORDS: Duration = Duration::from_millis(600);

/// Why there is no daemon.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DaemonError {
    /// Another one runs.
    #[error("a daemon of yours runs already\nhint: stop it first: systemctl --user stop mantlet, or kill it")]
    Runs,
    /// No state directory.
    #[error("{0}")]
    State(String),
    /// Something of the system failed.
    #[error("cannot {what} {path:?}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// Serves until it is killed.
///
/// # Errors
/// Another daemon of the same owner, or a state directory that cannot be used.
pub fn run() -> Result<(), DaemonError> {
    let state = mantlet_sandbox::state_dir().map_err(|refusal| DaemonError::State(refusal.to_string()))?;
    let _lock = lock(&state)?;
    let listener = bound(&state)?;
    say(&format!("serves the ways out of jails, at {}", mantlet_ledger::escape(state.as_os_str().as_encoded_bytes())));
    let notice = Notice::new(&state);
    let mut server = None;
    // When what is open is cut.
    let mut cut = None;
    loop {
        let is_halted = notice.look().is_some();
        let wait = heed(is_halted, &mut server, &mut cut)?.into_iter().chain(notice.period()).min().map(time);
        let mut fds = vec![PollFd::new(&listener, PollFlags::IN)];
        fds.extend(server.as_ref().map(|server: &Server| PollFd::new(&server.line, PollFlags::IN)));
        let lines = fds.len();
        fds.extend(notice.fd().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        match poll(&mut fds, wait.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(system("wait at", &state)(e.into())),
        }
        let (knocks, ended) = (!fds[0].revents().is_empty(), lines > 1 && !fds[1].revents().is_empty());
        drop(fds);
        if ended && let Some(mut gone) = server.take() {
            gone.end();
            if !is_halted {
                say("the serving process ended; it is started again, and the jails that it served reconnect");
            }
        }
        // Nobody is handed on while everything is halted: dropped, it is told that nobody serves.
        if knocks
            && let Ok(connection) = accept_with(&listener, SocketFlags::CLOEXEC)
            && let (Some(server), None) = (&server, notice.look())
        {
            admit(server, &connection);
        }
    }
}

/// Has a serving process when nothing is halted, and none soon after it is. Answers in which time there is more to do.
fn heed(
    is_halted: bool,
    server: &mut Option<Server>,
    cut: &mut Option<Instant>,
) -> Result<Option<Duration>, DaemonError> {
    if !is_halted {
        *cut = None;
        if server.is_none() {
            *server = Some(Server::start()?);
        }
        return Ok(None);
    }
    let Some(running) = server else { return Ok(None) };
    let left = cut.get_or_insert_with(|| Instant::now() + LAST_WORDS).saturating_duration_since(Instant::now());
    if !left.is_zero() {
        return Ok(Some(left));
    }
    running.kill();
    *server = None;
    say("everything is halted: what was open is cut, and nothing is served before: mantlet resume");
    Ok(None)
}

fn time(wait: Duration) -> Timespec {
    Timespec { tv_sec: wait.as_secs().cast_signed(), tv_nsec: wait.subsec_nanos().into() }
}

/// Hands a monitor's connection on, if it is the owner's.
///
/// The attack: another user, or a jail that found the socket after all, registers listeners of its own and has what it
/// likes dialled in the owner's name.
fn admit(server: &Server, connection: &OwnedFd) {
    let owner = rustix::process::geteuid();
    match socket_peercred(connection) {
        Ok(peer) if peer.uid == owner && !channel::is_beside(connection.as_fd()) => {
            say("a process of another pid namespace was turned away");
        }
        Ok(peer) if peer.uid == owner => {
            if let Err(e) = channel::hand_on(server.line.as_fd(), connection.as_fd()) {
                say(&format!("a jail could not be handed on: {e}"));
            }
        }
        Ok(peer) => say(&format!("user {} was turned away", peer.uid.as_raw())),
        Err(e) => say(&format!("somebody unknown was turned away: {e}")),
    }
}

/// The serving process.
struct Server {
    child: Child,
    line: OwnedFd,
    began: Instant,
}

impl Server {
    fn start() -> Result<Server, DaemonError> {
        let path = Path::new("/proc/self/exe");
        let failed = |e: io::Error| system("start", path)(e);
        let (line, theirs) = channel::pair().map_err(failed)?;
        let child =
            Command::new(path).arg0("mantlet").arg(SERVER_WORD).env_clear().stdin(theirs).spawn().map_err(failed)?;
        Ok(Server { child, line, began: Instant::now() })
    }

    /// Ends it: it may have shut its line and live on.
    fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }

    fn end(&mut self) {
        self.kill();
        thread::sleep(PAUSE.saturating_sub(self.began.elapsed()));
    }
}

/// Serves every jail whose connection comes in on standard input, each on threads of its own.
pub fn serve_all() {
    let Ok(line) = rustix::io::dup(rustix::stdio::stdin()) else { return };
    raise_descriptors();
    let how = match mantlet_sandbox::confine_server() {
        Ok(how) => format!("served by the daemon ({how})"),
        Err(e) => return say(&format!("the serving process could not be confined: {e}")),
    };
    let jails = Arc::new(());
    while let Ok(Some(connection)) = channel::handed(line.as_fd()) {
        // Dropped, it tells the monitor that nobody is here.
        if Arc::strong_count(&jails) > MOST_JAILS {
            continue;
        }
        let (jail, how) = (Arc::clone(&jails), how.clone());
        let begun = thread::Builder::new().name("monitor".into()).spawn(move || {
            serve(&Arc::new(Channel::new(connection)), &how);
            drop(jail);
        });
        if let Err(e) = begun {
            say(&format!("a jail could not be served: {e}"));
        }
    }
}

fn lock(state: &Path) -> Result<OwnedFd, DaemonError> {
    let path = state.join("daemon.lock");
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file =
        rustix::fs::open(&path, flags, Mode::from_raw_mode(0o600)).map_err(|e| system("open", &path)(e.into()))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(DaemonError::Runs),
        Err(e) => Err(system("lock", &path)(e.into())),
    }
}

/// A socket that only its owner can connect to.
fn bound(state: &Path) -> Result<OwnedFd, DaemonError> {
    let path = state.join(channel::DAEMON);
    let failed = |e: rustix::io::Errno| system("listen on", &path)(e.into());
    // Left over from a daemon that was killed: this one holds the lock.
    match rustix::fs::unlink(&path) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => {}
        Err(e) => return Err(failed(e)),
    }
    // A home may lie deeper than an address of this family is long.
    let dir = rustix::fs::open(state, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
    let address =
        SocketAddrUnix::new(format!("/proc/self/fd/{}/{}", dir.as_raw_fd(), channel::DAEMON)).map_err(failed)?;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).map_err(failed)?;
    let before = rustix::process::umask(Mode::from_raw_mode(0o177));
    let done = bind(&socket, &address).and_then(|()| listen(&socket, 128));
    rustix::process::umask(before);
    done.map_err(failed)?;
    Ok(socket)
}

fn system<'p>(what: &'static str, path: &'p Path) -> impl FnOnce(io::Error) -> DaemonError + 'p {
    move |source| DaemonError::System { what, path: path.to_owned(), source }
}

/// What a person at the journal reads; when nobody does, nothing is lost.
fn say(text: &str) {
    drop(writeln!(io::stderr(), "mantlet daemon: {text}"));
}
