//! Sockets of families that std does not know.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use super::{Arg, own, raw};

/// Makes a socket.
pub(crate) fn socket(family: i32, kind: i32, protocol: i32) -> io::Result<OwnedFd> {
    let kind = kind | libc::SOCK_CLOEXEC;
    own(raw(libc::SYS_socket, [Arg::N(family.into()), Arg::N(kind.into()), Arg::N(protocol.into())])?)
}

/// Binds a socket to the bytes of an address.
pub(crate) fn bind(fd: &OwnedFd, address: &[u8]) -> io::Result<()> {
    let len = Arg::N(address.len() as i64);
    raw(libc::SYS_bind, [Arg::N(fd.as_raw_fd().into()), Arg::In(address), len]).map(drop)
}

/// Connects a socket to the bytes of an address.
pub(crate) fn connect(fd: &OwnedFd, address: &[u8]) -> io::Result<()> {
    let len = Arg::N(address.len() as i64);
    raw(libc::SYS_connect, [Arg::N(fd.as_raw_fd().into()), Arg::In(address), len]).map(drop)
}

/// Sends bytes on a connected or netlink socket.
pub(crate) fn send(fd: &OwnedFd, text: &[u8]) -> io::Result<()> {
    let len = Arg::N(text.len() as i64);
    raw(libc::SYS_sendto, [Arg::N(fd.as_raw_fd().into()), Arg::In(text), len, Arg::N(0), Arg::N(0), Arg::N(0)])
        .map(drop)
}

/// Receives what is there within two seconds.
pub(crate) fn receive(fd: &OwnedFd) -> io::Result<Vec<u8>> {
    let mut patience = [0u8; 16];
    patience[..8].copy_from_slice(&2i64.to_ne_bytes());
    let n = Arg::N(fd.as_raw_fd().into());
    let option = [n, Arg::N(libc::SOL_SOCKET.into()), Arg::N(libc::SO_RCVTIMEO.into()), Arg::In(&patience), Arg::N(16)];
    raw(libc::SYS_setsockopt, option)?;
    let mut buf = vec![0u8; 65536];
    let n = Arg::N(fd.as_raw_fd().into());
    let got = raw(libc::SYS_recvfrom, [n, Arg::Out(&mut buf), Arg::N(65536), Arg::N(0), Arg::N(0), Arg::N(0)])?;
    buf.truncate(usize::try_from(got).unwrap_or(0));
    Ok(buf)
}

/// The bytes of a `sockaddr_in`.
pub(crate) fn inet(address: [u8; 4], port: u16) -> Vec<u8> {
    let mut a = (libc::AF_INET as u16).to_ne_bytes().to_vec();
    a.extend_from_slice(&port.to_be_bytes());
    a.extend_from_slice(&address);
    a.resize(16, 0);
    a
}

/// The bytes of a `sockaddr_nl` with these multicast groups.
pub(crate) fn netlink(groups: u32) -> Vec<u8> {
    let mut a = (libc::AF_NETLINK as u16).to_ne_bytes().to_vec();
    a.resize(8, 0);
    a.extend_from_slice(&groups.to_ne_bytes());
    a
}

/// The bytes of a `sockaddr_vm`.
pub(crate) fn vsock(cid: u32, port: u32) -> Vec<u8> {
    let mut a = (libc::AF_VSOCK as u16).to_ne_bytes().to_vec();
    a.resize(4, 0);
    a.extend_from_slice(&port.to_ne_bytes());
    a.extend_from_slice(&cid.to_ne_bytes());
    a.resize(16, 0);
    a
}
