//! Between the monitor of a jail and whoever serves its way out: sockets and rules one way, events the other.
//!
//! The serving process parses what a jail sends, and so is the first to fall: it gets the sockets, the text of the
//! policy, and nothing of the owner's. The monitor writes the evidence, and believes it no more than it must.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use mantlet_ledger::Egress;
use rustix::fs::MemfdFlags;
use serde::{Deserialize, Serialize};

use crate::wire::{self, Message, Tag};

/// What a socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum SocketKind {
    /// The stub DNS over UDP.
    DnsUdp = b'u',
    /// The stub DNS over TCP.
    DnsTcp = b't',
    /// A listener whose port is the port of the destination.
    Capture = b'c',
    /// The explicit proxy.
    Proxy = b'p',
    /// A listener of the host for what the jail publishes, under the same port.
    Door = b'd',
    /// A socket of the jail's namespace that is neither bound nor connected.
    Loose = b'l',
    /// The jail's network namespace itself: for the monitor alone.
    Namespace = b'n',
}

const KINDS: [SocketKind; 7] = [
    SocketKind::DnsUdp,
    SocketKind::DnsTcp,
    SocketKind::Capture,
    SocketKind::Proxy,
    SocketKind::Door,
    SocketKind::Loose,
    SocketKind::Namespace,
];

/// Sockets, and what each is for.
pub type Sockets = Vec<(SocketKind, OwnedFd)>;

/// Whom to serve.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Begin {
    /// The agent of the policy.
    pub agent: String,
    /// Words between `mantlet allow` and `--agent`, for denials.
    pub source: String,
    /// The policy's file, for messages.
    pub file: String,
    /// The owner's home, which the policy calls `~`.
    pub home: String,
}

/// What the monitor says.
#[derive(Debug)]
pub enum Word {
    /// Whom to serve, and the policy's text.
    Begin(Begin, String),
    /// More sockets of the jail.
    Sockets(Sockets),
    /// The policy's text as it is now.
    Reload(String),
    /// Whether what is published beyond this host may be reached; if not, why.
    Exposed(Result<(), String>),
    /// The jail is dead.
    End,
}

/// What happened, as the serving process tells it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Told {
    /// The entry; its call is the monitor's to fill in.
    pub entry: Egress,
    /// What to do about a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// The serving process's end.
#[derive(Debug)]
pub struct Channel(OwnedFd);

impl Channel {
    /// Takes a connected socket.
    pub fn new(socket: OwnedFd) -> Channel {
        Channel(socket)
    }

    /// Waits for what the monitor says next; nothing when it is gone.
    ///
    /// # Errors
    /// A message that none of ours is.
    pub fn receive(&self) -> io::Result<Option<Word>> {
        let Some(Message { tag, payload, fds }) = wire::receive_sockets(self.0.as_fd())? else { return Ok(None) };
        let mut fds = fds.into_iter();
        let mut text = || fds.next().ok_or_else(|| io::Error::other("no text")).and_then(text_of);
        Ok(Some(match tag {
            Tag::Begin => Word::Begin(serde_json::from_slice(&payload)?, text()?),
            Tag::Reload => Word::Reload(text()?),
            Tag::Exposed => Word::Exposed(match payload.is_empty() {
                true => Ok(()),
                false => Err(String::from_utf8_lossy(&payload).into_owned()),
            }),
            Tag::Sockets => Word::Sockets(sockets_of(&payload, fds)?),
            Tag::End => Word::End,
            _ => return Err(io::Error::other("not a word of a monitor")),
        }))
    }

    /// Says that everything is served, and what confines the serving process.
    pub fn serving(&self, how: &str) {
        self.send(Tag::Serving, how.as_bytes());
    }

    /// Says what happened. Blocks while the monitor is behind: what cannot be told does not pass.
    pub fn tell(&self, told: &Told) {
        let text = serde_json::to_vec(told).unwrap_or_default();
        if text.len() <= wire::MAX {
            return self.send(Tag::Event, &text);
        }
        // A hint names the policy's file, whose path may be as long as a message; without it everything else is short.
        let short = Told { entry: told.entry.clone(), hint: None };
        self.send(Tag::Event, &serde_json::to_vec(&short).unwrap_or_default());
    }

    /// Says whose monitor is at the other end.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn owner(&self) -> io::Result<u32> {
        Ok(rustix::net::sockopt::socket_peercred(&self.0)?.uid.as_raw())
    }

    /// Asks for more loose sockets.
    pub fn more(&self) {
        self.send(Tag::More, &[]);
    }

    /// Says why nothing can be served.
    pub fn unable(&self, why: &str) {
        self.send(Tag::Unable, why.as_bytes());
    }

    /// Says that everything was told.
    pub fn over(&self) {
        self.send(Tag::Over, &[]);
    }

    /// A monitor that is gone is noticed where its words are waited for.
    fn send(&self, tag: Tag, payload: &[u8]) {
        drop(wire::send(self.0.as_fd(), tag, &payload[..payload.len().min(wire::MAX)], &[]));
    }
}

/// Where a daemon listens, in the state directory: no jail has it.
pub const DAEMON: &str = "daemon.sock";

/// A line between a daemon and its serving process.
///
/// # Errors
/// No descriptors are left.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    wire::pair()
}

/// Whether whoever connected is in this process's pid namespace: no jail is.
pub fn is_beside(connection: BorrowedFd<'_>) -> bool {
    let Ok(pidfd) = crate::sys::peer_pidfd(connection) else { return false };
    let Ok(text) = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())) else { return false };
    // Its pid in each namespace from here on inwards (proc(5)); one that has ended has -1.
    let pids = text.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    let pids: Vec<i32> = pids.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
    matches!(pids.as_slice(), [pid] if *pid > 0)
}

/// Hands a monitor's connection on.
///
/// # Errors
/// The other side is gone.
pub fn hand_on(line: BorrowedFd<'_>, connection: BorrowedFd<'_>) -> io::Result<()> {
    wire::send(line, Tag::Sockets, &[], &[connection])
}

/// Waits for a connection that is handed on; nothing when the other side is gone.
///
/// The attack: a jail that holds so many connections that no descriptor is left for the next one's, whose message then comes
/// without. That one has lost its server; the others go on.
///
/// # Errors
/// What is no such line.
pub fn handed(line: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    while let Some(message) = wire::receive(line)? {
        if let Some(connection) = message.fds.into_iter().next() {
            return Ok(Some(connection));
        }
    }
    Ok(None)
}

/// Sends sockets, in as many messages as they need.
pub(crate) fn send_sockets(to: BorrowedFd<'_>, sockets: &Sockets) -> io::Result<()> {
    for part in sockets.chunks(wire::MAX_SOCKETS) {
        let kinds: Vec<u8> = part.iter().map(|(kind, _)| *kind as u8).collect();
        let fds: Vec<BorrowedFd<'_>> = part.iter().map(|(_, fd)| fd.as_fd()).collect();
        wire::send(to, Tag::Sockets, &kinds, &fds)?;
    }
    Ok(())
}

/// The sockets of a message.
pub(crate) fn sockets_of(kinds: &[u8], fds: impl ExactSizeIterator<Item = OwnedFd>) -> io::Result<Sockets> {
    if kinds.len() != fds.len() {
        return Err(io::Error::other("sockets without a kind"));
    }
    let kind = |byte: u8| KINDS.iter().copied().find(|kind| *kind as u8 == byte);
    let kinds = kinds.iter().map(|byte| kind(*byte).ok_or_else(|| io::Error::other("an unknown kind of socket")));
    kinds.zip(fds).map(|(kind, fd)| Ok((kind?, fd))).collect()
}

/// Puts a text where its size does not matter.
pub(crate) fn memfd_of(text: &str) -> io::Result<OwnedFd> {
    let mut file = File::from(rustix::fs::memfd_create("policy", MemfdFlags::CLOEXEC)?);
    file.write_all(text.as_bytes())?;
    Ok(file.into())
}

fn text_of(memfd: OwnedFd) -> io::Result<String> {
    let mut file = File::from(memfd);
    file.rewind()?;
    let mut text = String::new();
    file.take(2 << 20).read_to_string(&mut text)?;
    Ok(text)
}
