//! The sockets of a way out, opened inside the jail's network namespace. Whoever holds them serves from outside it.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::channel::{self, SocketKind, Sockets};
use crate::sys::{self, Fork, Wait};
use crate::wire;

/// The explicit proxy's port; where a policy allows it for something else, the next that is free.
const PROXY: u16 = 3128;

/// How many loose sockets are made at a time.
const LOOSE: usize = 16;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// Makes the addresses, and opens everything: in a namespace that nobody else has been in yet.
///
/// Ports from 1024 on are not listened on here: they are the jail's own servers', which mostly listen on all addresses.
/// Whoever serves binds loose sockets to the addresses of names, when they have been looked up.
pub(crate) fn open(low: &[u16]) -> io::Result<Sockets> {
    let has_ipv6 = sys::make_addresses_local()?;
    let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let udp = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    rustix::net::bind(&udp, &local(53))?;
    let mut sockets = vec![(SocketKind::DnsUdp, udp), (SocketKind::DnsTcp, listen(local(53))?)];
    sockets.extend(captures(low, has_ipv6)?);
    let proxy = (PROXY..PROXY + 16).find_map(|port| listen(local(port)).ok());
    sockets.extend(proxy.map(|proxy| (SocketKind::Proxy, proxy)));
    sockets.extend(loose(has_ipv6)?);
    Ok(sockets)
}

/// Listeners that take a port on every address.
fn captures(low: &[u16], has_ipv6: bool) -> io::Result<Sockets> {
    let any = |port| match has_ipv6 {
        true => SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
        false => SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
    };
    // 53 over TCP on all addresses would be the stub DNS's own port.
    let ports = low.iter().filter(|port| **port != 53);
    ports.map(|port| Ok((SocketKind::Capture, listen(any(*port))?))).collect()
}

/// Sockets that are neither bound nor connected. One of IPv6 does for IPv4 as well.
fn loose(has_ipv6: bool) -> io::Result<Sockets> {
    let family = if has_ipv6 { AddressFamily::INET6 } else { AddressFamily::INET };
    let one = || {
        let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        if has_ipv6 {
            sockopt::set_ipv6_v6only(&socket, false)?;
        }
        Ok((SocketKind::Loose, socket))
    };
    (0..LOOSE).map(|_| one()).collect()
}

fn listen(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, false)?;
    }
    sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// A running jail's network namespace, and the user namespace it belongs to where that is not the host's.
#[derive(Debug)]
pub(crate) struct Namespace {
    pub(crate) network: OwnedFd,
    pub(crate) user: Option<OwnedFd>,
}

impl Namespace {
    /// Opens listeners on more low ports, and more loose sockets, by a process that enters for a moment.
    pub(crate) fn more(&self, low: &[u16]) -> io::Result<Sockets> {
        let (ours, theirs) = wire::pair()?;
        let pid = match sys::clone(0)? {
            Fork::Child => {
                let keep = [self.network.as_raw_fd(), theirs.as_raw_fd()].into_iter();
                let keep: Vec<_> = keep.chain(self.user.as_ref().map(AsRawFd::as_raw_fd)).collect();
                let made = sys::close_all_but(&keep).and_then(|()| self.enter()).and_then(|()| more_here(low));
                drop(made.and_then(|sockets| channel::send_sockets(theirs.as_fd(), &sockets)));
                sys::exit_now(0)
            }
            Fork::Parent(pid) => pid,
        };
        drop(theirs);
        let mut sockets = Vec::new();
        while let Some(message) = wire::receive_sockets(ours.as_fd())? {
            sockets.extend(channel::sockets_of(&message.payload, message.fds.into_iter())?);
        }
        sys::reap(pid, Wait::Block)?;
        if sockets.is_empty() { Err(io::Error::other("no socket could be opened in the jail")) } else { Ok(sockets) }
    }

    fn enter(&self) -> io::Result<()> {
        if let Some(user) = &self.user {
            sys::setns(user.as_fd(), libc::CLONE_NEWUSER)?;
        }
        sys::setns(self.network.as_fd(), libc::CLONE_NEWNET)
    }
}

fn more_here(low: &[u16]) -> io::Result<Sockets> {
    let has_ipv6 = rustix::net::socket(AddressFamily::INET6, SocketType::STREAM, None).is_ok();
    let mut sockets = captures(low, has_ipv6)?;
    sockets.extend(loose(has_ipv6)?);
    Ok(sockets)
}
