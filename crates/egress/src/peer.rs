//! Which user of this machine is at the other end of a connection on the loopback, asked of the kernel (`sock_diag(7)`).
//!
//! The attack: on a machine with several users each of them reaches 127.0.0.1, and a gateway takes whoever comes from there
//! for its owner. A connection over TCP carries no credentials as a path socket's does; the kernel knows them all the same.

use std::io;
use std::net::{IpAddr, SocketAddr};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

/// `SOCK_DIAG_BY_FAMILY`: the type of request and answer.
const BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const TCP: u8 = 6;
/// A header of netlink, `struct nlmsghdr`.
const HEADER: usize = 16;
/// Where uid and inode stand in an answer, a `struct inet_diag_msg` behind the header; it ends with them.
const UID: usize = HEADER + 64;

/// Whether the connection from `peer` to `local`, both addresses of this network namespace, is of the owner or of root.
///
/// Anything but a plain yes of the kernel is a no. A socket that its program has closed already belongs to nobody, and
/// older kernels call that nobody root: it has no inode any more, and is refused.
pub(crate) fn is_own(peer: SocketAddr, local: SocketAddr, own: Option<u32>) -> bool {
    match owner(peer, local) {
        Ok(Some(uid)) => uid == 0 || uid == own.unwrap_or_else(|| rustix::process::geteuid().as_raw()),
        Ok(None) | Err(_) => false,
    }
}

/// The user of the socket that has the first address and is connected to the second.
fn owner(from: SocketAddr, to: SocketAddr) -> io::Result<Option<u32>> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(netlink::SOCK_DIAG))?;
    rustix::net::send(&socket, &question(from, to), SendFlags::empty())?;
    // The kernel has answered by the time the question is sent.
    let mut answer = [0; 1024];
    let (count, _) = rustix::net::recv(&socket, answer.as_mut_slice(), RecvFlags::empty())?;
    Ok(answer.get(..count).and_then(|answer| read(answer, from, to)))
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`: one connection, found by its addresses.
fn question(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let family = if from.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let mut body = vec![u8::try_from(family.as_raw()).unwrap_or_default(), TCP, 0, 0];
    // In every state that it may be in.
    body.extend(u32::MAX.to_ne_bytes());
    body.extend(from.port().to_be_bytes());
    body.extend(to.port().to_be_bytes());
    for address in [from.ip(), to.ip()] {
        match address {
            IpAddr::V4(v4) => body.extend([v4.octets().as_slice(), &[0; 12]].concat()),
            IpAddr::V6(v6) => body.extend(v6.octets()),
        }
    }
    // Any interface, and no cookie.
    body.extend(0_u32.to_ne_bytes());
    body.extend([0xff; 8]);
    let length = u32::try_from(HEADER + body.len()).unwrap_or_default();
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(BY_FAMILY.to_ne_bytes());
    message.extend(NLM_F_REQUEST.to_ne_bytes());
    // Number and port of the sender: there is one question, and one who asks.
    message.extend([0; 8]);
    message.extend(body);
    message
}

/// The uid in an answer, when it is about that connection (and not about a listener on the same port) and it has an owner.
fn read(answer: &[u8], from: SocketAddr, to: SocketAddr) -> Option<u32> {
    let kind = u16::from_ne_bytes(*answer.get(4..)?.first_chunk()?);
    let ports = answer.get(HEADER + 4..)?.first_chunk::<4>()?;
    let wanted = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
    let uid = u32::from_ne_bytes(*answer.get(UID..)?.first_chunk()?);
    let inode = u32::from_ne_bytes(*answer.get(UID + 4..)?.first_chunk()?);
    (kind == BY_FAMILY && ports[..] == wanted[..] && inode != 0).then_some(uid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn the_kernel_says_whose_a_connection_is() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let local = listener.local_addr().unwrap();
            let client = TcpStream::connect(local).unwrap();
            let (accepted, peer) = listener.accept().unwrap();
            assert_eq!(owner(peer, local).unwrap(), Some(rustix::process::geteuid().as_raw()));
            assert!(is_own(peer, local, None));
            // A listener is found where no connection is; it is not the answer.
            assert!(!is_own(local, peer.ip().to_string().parse().map(|ip| SocketAddr::new(ip, 1)).unwrap(), None));
            // Written, and gone before anybody asked: the attack on kernels that call an orphan's owner root.
            drop(client);
            assert!(!is_own(peer, local, None));
            drop(accepted);
            assert!(!is_own(peer, local, None));
        }
    }
}
