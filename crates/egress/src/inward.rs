//! Sockets that were made inside a jail and are connected from here: the only way in. They are handed over in advance, used
//! once each, and asked for anew when few are left.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream as StdStream};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::net::AddressFamily;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::decision::Reason;

/// As many sockets as are asked for at a time, and as few as may be left before more are asked for.
const ENOUGH: usize = 16;
const FEW: usize = 4;
/// How long a connection waits for a socket, and how often it asks again meanwhile: whoever makes them may have been busy.
const PATIENCE: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_secs(1);
/// How long a program inside may take to answer.
const CONNECT: Duration = Duration::from_secs(10);

/// Asks for so many more sockets, without waiting for them: they come to [`Control::inward`](crate::Control::inward).
pub type More = Arc<dyn Fn(usize) + Send + Sync>;

/// Addresses that a stranger's connection comes from inside. A program there takes who comes from 127.0.0.1 for its owner:
/// OpenClaw's gateway asks such a one for less. Both are addresses of the jail's own `lo`.
const OUTSIDE_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const OUTSIDE_V6: Ipv6Addr = Ipv6Addr::new(0xfd6d, 0x616e, 0x746c, 0, 0, 0, 0, 1);

/// Who a connection inside seems to come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum As {
    /// The jail's own loopback.
    Owner,
    /// An address that is not the loopback.
    Stranger,
}

/// Unconnected sockets of one jail.
pub(crate) struct Pool {
    state: Mutex<State>,
    ready: Semaphore,
    more: Option<More>,
}

#[derive(Default)]
struct State {
    sockets: Vec<OwnedFd>,
    waiting: usize,
    asked: Option<Instant>,
}

impl Pool {
    pub(crate) fn new(more: Option<More>) -> Self {
        Pool { state: Mutex::default(), ready: Semaphore::new(0), more }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes sockets that were just made.
    pub(crate) fn add(&self, sockets: Vec<OwnedFd>) {
        let count = sockets.len();
        let mut state = self.state();
        state.asked = None;
        state.sockets.extend(sockets);
        drop(state);
        self.ready.add_permits(count);
    }

    /// Takes one, waiting for it while others are made.
    pub(crate) async fn take(&self) -> Result<OwnedFd, Reason> {
        self.state().waiting += 1;
        let waiting = Waiting(self);
        self.ask();
        let permit = async {
            loop {
                match timeout(AGAIN, self.ready.acquire()).await {
                    Ok(permit) => return permit,
                    Err(_) => self.ask(),
                }
            }
        };
        let late = || Reason::Unreachable("no socket inside was ready in time".into());
        let permit = timeout(PATIENCE, permit).await.map_err(|_| late())?.map_err(|_| late())?;
        permit.forget();
        drop(waiting);
        let socket = self.state().sockets.pop().ok_or_else(late);
        self.ask();
        socket
    }

    /// Asks for more when few are left, once for all who wait.
    fn ask(&self) {
        let mut state = self.state();
        let left = state.sockets.len().saturating_sub(state.waiting);
        if left >= FEW || state.asked.is_some_and(|asked| asked.elapsed() < AGAIN) {
            return;
        }
        state.asked = Some(Instant::now());
        let wanted = (ENOUGH + state.waiting).saturating_sub(state.sockets.len());
        drop(state);
        if let Some(more) = &self.more {
            more(wanted);
        }
    }

    /// Connects to a port inside, wherever a program there listens: on all addresses or on one loopback address.
    pub(crate) async fn connect(&self, port: u16, as_whom: As) -> Result<TcpStream, Reason> {
        let first = self.take().await?;
        let domain = rustix::net::sockopt::socket_domain(&first).map_err(|error| unreachable(error.into()))?;
        let mut first = Some(first);
        for (to, from) in places(port, domain) {
            // Linux lets a socket try elsewhere after a refusal, but one of IPv6 that has tried an IPv4 address sends as IPv4
            // ever after, and its second attempt would end in a timeout.
            let socket = match first.take() {
                Some(socket) => socket,
                None => self.take().await?,
            };
            match timeout(CONNECT, connected(socket, to, (as_whom == As::Stranger).then_some(from))).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Ok(Err(error)) => return Err(unreachable(error)),
                Err(_) => return Err(Reason::Unreachable("timed out".into())),
            }
        }
        Err(Reason::Unreachable("nothing listens on this port inside".into()))
    }
}

/// Counts who waits, also when it stops waiting.
struct Waiting<'p>(&'p Pool);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.state().waiting -= 1;
    }
}

/// Where a program inside may listen, and the address that a stranger comes from there. A socket of IPv6 reaches IPv4 by
/// addresses that are written so.
fn places(port: u16, domain: AddressFamily) -> Vec<(SocketAddr, SocketAddr)> {
    let pair = |to: IpAddr, from: IpAddr| (SocketAddr::new(to, port), SocketAddr::new(from, 0));
    match domain {
        AddressFamily::INET6 => vec![
            pair(Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(), OUTSIDE_V4.to_ipv6_mapped().into()),
            pair(Ipv6Addr::LOCALHOST.into(), OUTSIDE_V6.into()),
        ],
        _ => vec![pair(Ipv4Addr::LOCALHOST.into(), OUTSIDE_V4.into())],
    }
}

fn unreachable(error: io::Error) -> Reason {
    Reason::Unreachable(error.kind().to_string())
}

async fn connected(socket: OwnedFd, to: SocketAddr, from: Option<SocketAddr>) -> io::Result<TcpStream> {
    let socket = StdStream::from(socket);
    socket.set_nonblocking(true)?;
    let socket = TcpSocket::from_std_stream(socket);
    if let Some(from) = from {
        socket.bind(from)?;
    }
    let stream = socket.connect(to).await?;
    // From a port in the range of ephemeral ones to the same port the kernel connects a socket to itself.
    match stream.local_addr()? == to {
        true => Err(io::ErrorKind::ConnectionRefused.into()),
        false => Ok(stream),
    }
}
