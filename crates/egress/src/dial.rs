//! From an allowed destination to a connection: resolved once, every answer checked, and one of those dialled.
//!
//! The attack is a second look-up between check and dial (rebinding), or one good answer that covers for a bad one.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use mantlet_policy::address;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::decision::{Allowed, Place, Reason};
use crate::dns::resolver::Resolver;

const CONNECT: Duration = Duration::from_secs(10);
/// How long one address has before the next is tried beside it (RFC 8305).
const STAGGER: Duration = Duration::from_millis(250);

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
    let port = allowed.endpoint.port;
    let mut found = match &allowed.place {
        Place::Fixed(address) => vec![Candidate { address: *address, wrong: None }],
        Place::Public => {
            let answers = resolver.resolve(&allowed.endpoint.name).await;
            let answers = answers.map_err(|error| Reason::Unresolved(error.to_string()))?;
            let judged = |answer| Candidate { address: SocketAddr::new(answer, port), wrong: wrong(answer) };
            interleaved(&answers).into_iter().map(judged).collect()
        }
    };
    for candidate in &mut found {
        if candidate.wrong.is_none() && own.iter().any(|own| is_same(own, &candidate.address)) {
            let what = "an address that Mantlet itself listens on".to_owned();
            candidate.wrong = Some(Reason::Special { address: candidate.address.to_string(), what });
        }
    }
    Ok(found)
}

/// Dials an allowed destination. `own` are addresses that this program itself listens on.
///
/// # Errors
/// Why not.
pub(crate) async fn dial(allowed: &Allowed, resolver: &Resolver, own: &[SocketAddr]) -> Result<TcpStream, Reason> {
    let found = candidates(allowed, resolver, own).await?;
    // Who mixes a bad answer in means it: one refuses all.
    if let Some(wrong) = found.iter().find_map(|candidate| candidate.wrong.clone()) {
        return Err(wrong);
    }
    let addresses: Vec<SocketAddr> = found.into_iter().map(|candidate| candidate.address).collect();
    let stream = match timeout(CONNECT, race(&addresses)).await {
        Ok(connected) => connected.map_err(|error| Reason::Unreachable(error.kind().to_string()))?,
        Err(_) => return Err(Reason::Unreachable("timed out".into())),
    };
    // What was checked is what is connected: the kernel says so itself.
    match stream.peer_addr() {
        Ok(peer) if addresses.contains(&peer) => Ok(stream),
        Ok(_) | Err(_) => Err(Reason::Unreachable("connected to another address than was checked".into())),
    }
}

fn is_same(own: &SocketAddr, address: &SocketAddr) -> bool {
    own.port() == address.port() && (own.ip() == address.ip() || (own.ip().is_unspecified() && is_ours(address.ip())))
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

/// Whether the kernel would send to this address from the same address. No packet leaves: the socket is only given a
/// destination.
fn is_ours(address: IpAddr) -> bool {
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let probe = || -> io::Result<IpAddr> {
        let socket = std::net::UdpSocket::bind((any, 0))?;
        socket.connect((address, 9))?;
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
    let mut tries = JoinSet::new();
    let mut error = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        let next = left.next().copied();
        match next {
            Some(address) => drop(tries.spawn(TcpStream::connect(address))),
            None if tries.is_empty() => return Err(error),
            None => {}
        }
        let is_last = left.len() == 0;
        tokio::select! {
            done = tries.join_next() => match done {
                Some(Ok(Ok(stream))) => return Ok(stream),
                Some(Ok(Err(failed))) => error = failed,
                Some(Err(_)) | None => {}
            },
            () = sleep(STAGGER), if !is_last => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn no_public_name_leads_to_a_special_address() {
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
            assert!(wrong(bad.parse().unwrap()).is_some(), "{bad}");
        }
        assert_eq!(wrong("9.9.9.9".parse().unwrap()), None);
    }

    #[tokio::test]
    async fn one_bad_answer_spoils_all() {
        use crate::rules::tests::{endpoint, rules};
        let dir = std::env::temp_dir().join(format!("mantlet-dial-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (conf, hosts) = (dir.join("resolv.conf"), dir.join("hosts"));
        std::fs::write(&conf, "").unwrap();
        let resolver = Resolver::with_files(conf, hosts.clone());
        let rules = rules("builder", "allow = [\"a.test\"]");
        let crate::Decision::Allow(allowed) = rules.decide(&endpoint("a.test:443")) else { panic!() };
        for order in [["9.9.9.9", "10.0.0.1"], ["10.0.0.1", "9.9.9.9"]] {
            std::fs::write(&hosts, order.map(|address| format!("{address} a.test\n")).concat()).unwrap();
            let refused = dial(&allowed, &resolver, &[]).await;
            assert!(matches!(refused, Err(Reason::Special { address, .. }) if address == "10.0.0.1"), "{order:?}");
        }
        std::fs::remove_dir_all(&dir).unwrap();
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
