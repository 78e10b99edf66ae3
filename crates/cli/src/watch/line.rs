//! The line between a running watch and its owner's commands: a socket in the state directory, which no jail has.
//!
//! The attack: a jail, or another user, that has its own change accepted. The socket's directory is 0700, the kernel says
//! who connects, and whoever is in another pid namespace is turned away.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use mantlet_sandbox::channel;
use rustix::fs::{Mode, OFlags};
use rustix::net::sockopt::socket_peercred;
use serde::{Deserialize, Serialize};

/// The socket's name in the watch's state directory.
const NAME: &str = "watch.sock";
/// How long the watch stays away for one who holds it: an upgrade takes minutes, and must not be for ever.
pub(super) const LONGEST_HOLD: Duration = Duration::from_secs(600);
/// How long a connection may say nothing before it holds the watch.
pub(super) const LONGEST_SILENCE: Duration = Duration::from_secs(2);
/// The longest line: what an upgrade changed is shown whole.
const MOST: u64 = 64 << 20;

/// What is asked of a watch. While a connection is open the watch undoes nothing.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub(super) enum Ask {
    /// What it holds.
    Status,
    /// To stay away until the connection ends.
    Hold,
    /// How places differ from the baseline; all of them where none is named.
    Differences {
        /// The places.
        paths: Vec<PathBuf>,
    },
    /// To take places as they stand, when that is what was shown.
    Accept {
        /// The places.
        paths: Vec<PathBuf>,
        /// What was shown of each path that differs: [`Shown::now`].
        shown: BTreeMap<PathBuf, String>,
    },
    /// To make what is in another file the content of a place, when that is what was shown.
    AcceptContent {
        /// The place.
        path: PathBuf,
        /// The file that holds it.
        from: PathBuf,
        /// The hash of the content that was shown.
        sha256: String,
    },
}

/// What it answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub(super) enum Answer {
    /// Done.
    Done,
    /// What it holds.
    Status(Box<serde_json::Value>),
    /// How places differ, or differed.
    Differences {
        /// Each one.
        diffs: Vec<Shown>,
    },
    /// It is refused.
    Refused {
        /// Why, and what to do.
        why: String,
    },
}

/// A difference as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shown {
    /// The path.
    pub(crate) path: PathBuf,
    /// In what it differs.
    pub(crate) what: Vec<String>,
    /// The hash of what is there, where it has content.
    pub(crate) after: Option<String>,
    /// A hash of everything that would be signed of it.
    pub(crate) now: String,
    /// Lines that go and come, escaped.
    pub(crate) lines: Vec<String>,
}

impl From<mantlet_watch::Diff> for Shown {
    fn from(diff: mantlet_watch::Diff) -> Shown {
        let what = diff.what.iter().map(|word| (*word).to_owned()).collect();
        Shown { path: diff.path, what, after: diff.after, now: diff.now, lines: diff.lines }
    }
}

/// A path by which a socket in a directory can be named, however deep that lies.
fn short(dir: &Path) -> anyhow::Result<(OwnedFd, PathBuf)> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(dir, flags, Mode::empty()).with_context(|| format!("cannot open {dir:?}"))?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/{NAME}", fd.as_raw_fd()));
    Ok((fd, path))
}

/// Listens, as the one watch that holds the state directory's lock.
pub(super) fn listen(dir: &Path) -> anyhow::Result<UnixListener> {
    let (_held, path) = short(dir)?;
    match std::fs::remove_file(&path) {
        Ok(()) => {}
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(e).context("cannot remove the socket of a watch that was killed"),
    }
    let before = rustix::process::umask(Mode::from_raw_mode(0o177));
    let bound = UnixListener::bind(&path);
    rustix::process::umask(before);
    bound.context("cannot listen")
}

/// Takes a connection of the owner's.
pub(super) fn admit(listener: &UnixListener) -> anyhow::Result<Line> {
    let (stream, _) = listener.accept().context("cannot take a connection")?;
    let peer = socket_peercred(&stream).context("cannot ask who connects")?;
    if peer.uid != rustix::process::geteuid() || !channel::is_beside(stream.as_fd()) {
        bail!("user {} in another place was turned away", peer.uid.as_raw());
    }
    stream.set_write_timeout(Some(Duration::from_secs(5))).context("cannot limit the time")?;
    stream.set_read_timeout(Some(LONGEST_SILENCE)).context("cannot limit the time")?;
    Line::new(stream)
}

/// Connects to the watch that runs; none where none does.
pub(super) fn connect(dir: &Path) -> anyhow::Result<Option<Line>> {
    if !dir.is_dir() {
        return Ok(None);
    }
    let (_held, path) = short(dir)?;
    match UnixStream::connect(&path) {
        Ok(stream) => {
            stream.set_read_timeout(Some(Duration::from_secs(60))).context("cannot limit the time")?;
            Line::new(stream).map(Some)
        }
        Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused) => Ok(None),
        Err(e) => Err(e).context("cannot reach the watch"),
    }
}

/// Whether some watch works with a state directory, reached or not.
pub(super) fn is_locked(dir: &Path) -> bool {
    let Ok(lock) = std::fs::File::open(dir.join("lock")) else { return false };
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive) == Err(rustix::io::Errno::WOULDBLOCK)
}

/// One end of a connection.
pub(crate) struct Line {
    out: UnixStream,
    lines: BufReader<UnixStream>,
}

impl Line {
    fn new(stream: UnixStream) -> anyhow::Result<Line> {
        let out = stream.try_clone().context("cannot use the connection")?;
        Ok(Line { out, lines: BufReader::new(stream) })
    }

    pub(super) fn say(&mut self, what: &impl Serialize) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(what)?;
        line.push(b'\n');
        self.out.write_all(&line).context("the other side is gone")
    }

    /// The next line; none at the end.
    pub(super) fn hear<T: serde::de::DeserializeOwned>(&mut self) -> anyhow::Result<Option<T>> {
        let mut line = Vec::new();
        self.lines.by_ref().take(MOST).read_until(b'\n', &mut line).context("cannot read from the other side")?;
        if line.is_empty() {
            return Ok(None);
        }
        serde_json::from_slice(&line).map(Some).context("what came is none of ours")
    }

    /// Asks, and waits for the answer.
    pub(super) fn ask(&mut self, what: &Ask) -> anyhow::Result<Answer> {
        self.say(what)?;
        self.hear()?.context("the watch ended")
    }

    pub(super) fn wait_at_most(&self, time: Duration) -> anyhow::Result<()> {
        self.out.set_read_timeout(Some(time)).context("cannot limit the time")
    }

    pub(super) fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.out.as_fd()
    }

    /// Who is at the other end.
    pub(super) fn peer(&self) -> Option<i32> {
        socket_peercred(&self.out).ok().map(|peer| peer.pid.as_raw_nonzero().get())
    }
}
