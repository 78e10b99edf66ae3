//! Addresses and routes of a jail's loopback interface (rtnetlink(7)): a few fixed messages.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};

use mantlet_policy::address::{SYNTHETIC_V4, SYNTHETIC_V6};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

/// `lo` is the first interface of every network namespace.
const LOOPBACK: u32 = 1;

/// The interface's own address of each family: without one `AI_ADDRCONFIG` makes clients ask for none of it.
pub(crate) const OWN_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const OWN_V6: Ipv6Addr = Ipv6Addr::new(0xfd6d, 0x616e, 0x746c, 0, 0, 0, 0, 1);

/// Gives `lo` its addresses, and makes every address that can stand for a name one of this namespace's. Answers
/// whether it has IPv6: a kernel may lack it, or an administrator have switched it off.
pub(crate) fn make_addresses_local() -> io::Result<bool> {
    // Protocol 0 of this family is NETLINK_ROUTE.
    let (kind, flags) = (SocketType::RAW, SocketFlags::CLOEXEC);
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, kind, flags, None)?;
    ask(&socket, &new_address(OWN_V4.into(), 32))?;
    ask(&socket, &new_route(SYNTHETIC_V4.into(), 15))?;
    let six = ask(&socket, &new_address(OWN_V6.into(), 128));
    Ok(six.and_then(|()| ask(&socket, &new_route(SYNTHETIC_V6.into(), 64))).is_ok())
}

/// Sends one message and waits for its acknowledgement.
fn ask(socket: &OwnedFd, message: &[u8]) -> io::Result<()> {
    rustix::net::send(socket.as_fd(), message, SendFlags::empty())?;
    let mut answer = [0; 256];
    let (got, _) = rustix::net::recv(socket.as_fd(), &mut answer, RecvFlags::empty())?;
    // After the header of 16 bytes, the answer begins with a negative errno, or 0 (netlink(7)).
    let errno = answer.get(16..20).filter(|_| got >= 20).and_then(|bytes| bytes.try_into().ok());
    match errno.map(i32::from_ne_bytes) {
        Some(0) => Ok(()),
        Some(errno) => Err(io::Error::from_raw_os_error(-errno)),
        None => Err(io::Error::other("the kernel's answer about addresses is too short")),
    }
}

/// `ifaddrmsg`, with the address as `IFA_LOCAL` and `IFA_ADDRESS`.
fn new_address(address: IpAddr, prefix: u8) -> Vec<u8> {
    const IFA_F_NODAD: u8 = 0x02;
    let mut body = vec![family(address), prefix, IFA_F_NODAD, libc::RT_SCOPE_HOST];
    body.extend(LOOPBACK.to_ne_bytes());
    attribute(&mut body, libc::IFA_LOCAL, &octets(address));
    attribute(&mut body, libc::IFA_ADDRESS, &octets(address));
    message(libc::RTM_NEWADDR, &body)
}

/// `rtmsg`: everything in a prefix is this namespace's own.
fn new_route(prefix: IpAddr, length: u8) -> Vec<u8> {
    const RTPROT_BOOT: u8 = 3;
    let table = libc::RT_TABLE_LOCAL;
    let mut body = vec![family(prefix), length, 0, 0, table, RTPROT_BOOT, libc::RT_SCOPE_HOST, libc::RTN_LOCAL];
    body.extend(0_u32.to_ne_bytes());
    attribute(&mut body, libc::RTA_DST, &octets(prefix));
    attribute(&mut body, libc::RTA_OIF, &LOOPBACK.to_ne_bytes());
    message(libc::RTM_NEWROUTE, &body)
}

fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { libc::AF_INET as u8 } else { libc::AF_INET6 as u8 }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// `rtattr`: its length, its kind, the value. All values here are whole words, so that nothing is padded.
fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    body.extend((4 + value.len() as u16).to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
}

/// `nlmsghdr`, asking for an acknowledgement.
fn message(kind: u16, body: &[u8]) -> Vec<u8> {
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
    let mut out = (16 + body.len() as u32).to_ne_bytes().to_vec();
    out.extend(kind.to_ne_bytes());
    out.extend(flags.to_ne_bytes());
    out.extend([0; 8]);
    out.extend(body);
    out
}
