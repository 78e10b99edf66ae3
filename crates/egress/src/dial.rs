//! From an allowed destination to a connection: resolved once, every answer checked, and one of those dialled.
//!
//! The attack is a second look-up between check and dial (rebinding), or one good answer that covers for a bad one.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use mantlet_policy::address;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use crate::decision::{Allowed, Place, Reason};
use crate::dns::resolver::{Configuration, ResolveError, Resolver, connected};
use crate::name::{Endpoint, HostName};

const CONNECT: Duration = Duration::from_secs(10);
/// How long one address has before the next is tried beside it (RFC 8305).
const STAGGER: Duration = Duration::from_millis(250);
/// How long checked addresses are used again: short beside the lives of connections, long beside a burst of them.
const RECENT: Duration = Duration::from_secs(30);
/// As many names as are remembered.
const MOST_RECENT: usize = 1024;

/// One address of an allowed destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The address.
    pub address: SocketAddr,
    /// Why it may not be dialled.
    pub wrong: Option<Reason>,
}

/// Resolves an allowed destination and judges each of its addresses, in the order in which they would be tried.
pub(crate) async fn candidates(
    allowed: &Allowed,
    resolver: &Resolver,
    own: &[SocketAddr],
) -> Result<Vec<Candidate>, Reason> {
    let Endpoint { name, port } = &allowed.endpoint;
    let found = match &allowed.place {
        Place::Fixed(address) => vec![Candidate { address: *address, wrong: None }],
        Place::Public => {
            let unresolved = |error: ResolveError| Reason::Unresolved(error.to_string());
            let (answers, _) = resolver.now().map_err(unresolved)?.resolve(name).await.map_err(unresolved)?;
            let judged = |answer| Candidate { address: SocketAddr::new(answer, *port), wrong: wrong(answer) };
            interleaved(&answers).into_iter().map(judged).collect()
        }
    };
    let judged = |found: Candidate| Candidate { wrong: found.wrong.or_else(|| ours(own, &found.address)), ..found };
    Ok(found.into_iter().map(judged).collect())
}

/// Dials an allowed destination, and says which of its addresses it was. `own` are addresses that this program itself
/// listens on.
///
/// # Errors
/// Why not.
pub(crate) async fn dial(
    allowed: &Allowed,
    resolver: &Resolver,
    recent: &Recent,
    own: &[SocketAddr],
) -> Result<(TcpStream, SocketAddr), Reason> {
    let Endpoint { name, port } = &allowed.endpoint;
    let addresses = match &allowed.place {
        Place::Fixed(address) => vec![*address],
        Place::Public => {
            let addresses = recent.of(name, resolver).await?;
            addresses.into_iter().map(|address| SocketAddr::new(address, *port)).collect()
        }
    };
    if let Some(ours) = addresses.iter().find_map(|address| ours(own, address)) {
        return Err(ours);
    }
    let connected = race(&addresses).await;
    let stream = connected.map_err(|error| {
        // It may have moved: the next look-up asks.
        recent.forget(name);
        Reason::Unreachable(error.kind().to_string())
    })?;
    // What was checked is what is connected: the kernel says so itself.
    match stream.peer_addr() {
        Ok(peer) if addresses.contains(&peer) => Ok((stream, peer)),
        Ok(_) | Err(_) => Err(Reason::Unreachable("connected to another address than was checked".into())),
    }
}

/// Addresses of names that were resolved and checked a moment ago. An answer is used again while its server says that it
/// is good, never longer than [`RECENT`], and never after the host's configuration has changed.
#[derive(Debug, Default)]
pub(crate) struct Recent(Mutex<HashMap<HostName, Known>>);

#[derive(Debug)]
struct Known {
    configuration: Configuration,
    addresses: Vec<IpAddr>,
    until: Instant,
}

impl Recent {
    async fn of(&self, name: &HostName, resolver: &Resolver) -> Result<Vec<IpAddr>, Reason> {
        let unresolved = |error: ResolveError| Reason::Unresolved(error.to_string());
        let configuration = resolver.now().map_err(unresolved)?;
        if let Some(known) = self.all().get(name)
            && known.until > Instant::now()
            && known.configuration == configuration
        {
            return Ok(known.addresses.clone());
        }
        let (answers, good) = configuration.resolve(name).await.map_err(unresolved)?;
        let addresses = checked(&answers)?;
        self.keep(
            name,
            Known { configuration, addresses: addresses.clone(), until: Instant::now() + good.min(RECENT) },
        );
        Ok(addresses)
    }

    fn keep(&self, name: &HostName, known: Known) {
        let (mut all, now) = (self.all(), Instant::now());
        if all.len() >= MOST_RECENT {
            all.retain(|_, known| known.until > now);
        }
        if known.until > now && all.len() < MOST_RECENT {
            all.insert(name.clone(), known);
        }
    }

    fn forget(&self, name: &HostName) {
        self.all().remove(name);
    }

    fn all(&self) -> MutexGuard<'_, HashMap<HostName, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is wrong with an address that this program itself listens on.
fn ours(own: &[SocketAddr], address: &SocketAddr) -> Option<Reason> {
    let is_same = |own: &SocketAddr| {
        own.port() == address.port()
            && (own.ip() == address.ip() || (own.ip().is_unspecified() && is_ours(address.ip())))
    };
    let what = "an address that Mantlet itself listens on";
    own.iter().any(is_same).then(|| Reason::Special { address: address.to_string(), what: what.to_owned() })
}

/// What is wrong with an answer: no public name may lead to it.
fn wrong(answer: IpAddr) -> Option<Reason> {
    let what = match address::special(answer) {
        Some(special) => format!("{} ({})", special.what, special.range),
        None if is_ours(answer) => "an address of this host".to_owned(),
        None => return None,
    };
    Some(Reason::Special { address: answer.to_string(), what })
}

/// Refuses all answers when one of them is no public address: who mixes them in means them.
fn checked(answers: &[IpAddr]) -> Result<Vec<IpAddr>, Reason> {
    match answers.iter().find_map(|answer| wrong(*answer)) {
        Some(wrong) => Err(wrong),
        None => Ok(interleaved(answers)),
    }
}

/// Whether the kernel would send to this address from the same address. No packet leaves: the socket is only given a
/// destination.
fn is_ours(address: IpAddr) -> bool {
    let probe = || -> io::Result<IpAddr> {
        let socket = UdpSocket::from(connected(SocketAddr::new(address, 9))?);
        Ok(socket.local_addr()?.ip())
    };
    // No route, or no IPv6 at all: then dialling fails as well.
    probe().is_ok_and(|local| local == address)
}

/// IPv6 and IPv4 in turns, each in the order of the answers.
fn interleaved(answers: &[IpAddr]) -> Vec<IpAddr> {
    let (v6, v4): (Vec<IpAddr>, Vec<IpAddr>) = answers.iter().partition(|address| address.is_ipv6());
    let mut order = Vec::with_capacity(answers.len());
    for index in 0..v6.len().max(v4.len()) {
        order.extend(v6.get(index));
        order.extend(v4.get(index));
    }
    order
}

/// Connects to the first address that answers; the next one starts when one fails or takes long.
async fn race(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut left = addresses.iter();
    let mut tries = Vec::new();
    let mut error = io::Error::from(io::ErrorKind::AddrNotAvailable);
    let deadline = Instant::now() + CONNECT;
    loop {
        match left.next() {
            Some(address) => tries.push(Box::pin(TcpStream::connect(*address))),
            None if tries.is_empty() => return Err(error),
            None => {}
        }
        // One timer for both limits: each costs a system call.
        let until = if left.len() == 0 { deadline } else { deadline.min(Instant::now() + STAGGER) };
        tokio::select! {
            biased;
            done = first_done(&mut tries) => match done {
                Ok(stream) => return Ok(stream),
                Err(failed) => error = failed,
            },
            () = sleep_until(until) => {
                if Instant::now() >= deadline {
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
        }
    }
}

/// The first that is done, which is then gone from the list.
async fn first_done<T>(tries: &mut Vec<Pin<Box<impl Future<Output = T>>>>) -> T {
    poll_fn(|context| {
        for index in 0..tries.len() {
            if let Some(one) = tries.get_mut(index)
                && let Poll::Ready(done) = one.as_mut().poll(context)
            {
                drop(tries.swap_remove(index));
                return Poll::Ready(done);
            }
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn one_bad_answer_spoils_all() {
        for bad in [
            "127.0.0.1",
            "10.0.0.1",
            "169.254.169.254",
            "::1",
            "::ffff:9.9.9.9",
            "64:ff9b::7f00:1",
            "fd00::1",
            "0.0.0.0",
            "198.18.1.1",
        ] {
            assert!(checked(&list(&["9.9.9.9", bad])).is_err(), "{bad}");
            assert!(checked(&list(&[bad, "9.9.9.9"])).is_err(), "{bad}");
        }
    }

    #[test]
    fn both_families_take_turns() {
        let order = interleaved(&list(&["1.1.1.1", "2.2.2.2", "2001:4860::1", "3.3.3.3"]));
        assert_eq!(order, list(&["2001:4860::1", "1.1.1.1", "2.2.2.2", "3.3.3.3"]));
    }

    #[test]
    fn loopback_is_an_address_of_this_host() {
        assert!(is_ours("127.0.0.1".parse().unwrap()));
    }
}
