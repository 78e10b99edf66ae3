//! Operations on sockets.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::time::Duration;

use super::{Done, Op, Words, print};
use crate::sys::net as sys;

/// The table.
pub(super) const OPS: &[(&str, Op)] = &[
    ("connect", connect),
    ("listen-and-connect", listen_and_connect),
    ("send-datagram", send_datagram),
    ("socket", socket),
    ("vsock", vsock),
    ("addresses", addresses),
    ("listening", listening),
    ("netlink-group", netlink_group),
    ("mptcp", mptcp),
    ("packet", packet),
    ("socketpair", socketpair),
];

const PATIENCE: Duration = Duration::from_secs(2);

/// Connects to `unix:PATH`, `abstract:NAME`, `tcp:ADDR` or `udp:ADDR`, says the mark and prints the answer.
fn connect(w: &Words<'_>) -> Done {
    let mut buf = [0u8; 4096];
    let n = match w.get(0)?.split_once(':') {
        Some(("unix", path)) => talk(UnixStream::connect(path)?, w.mark, &mut buf)?,
        Some(("abstract", name)) => {
            talk(UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?)?, w.mark, &mut buf)?
        }
        Some(("tcp", at)) => talk(TcpStream::connect_timeout(&at.parse()?, PATIENCE)?, w.mark, &mut buf)?,
        Some(("udp", at)) => {
            let socket = UdpSocket::bind(if at.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" })?;
            socket.set_broadcast(true)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.send_to(w.mark.as_bytes(), at)?;
            socket.recv(&mut buf)?
        }
        _ => return Err("where to?".into()),
    };
    print(&buf[..n])
}

fn talk<S: std::io::Read + std::io::Write>(mut stream: S, mark: &str, buf: &mut [u8]) -> std::io::Result<usize> {
    stream.write_all(mark.as_bytes())?;
    stream.read(buf)
}

trait Stream: std::io::Read + std::io::Write {}
impl<S: std::io::Read + std::io::Write> Stream for S {}

/// Listens at a place, says the second word to whoever comes, and comes itself.
fn listen_and_connect(w: &Words<'_>) -> Done {
    let (at, says) = (w.get(0)?, w.get(1)?.to_owned());
    // It hears what the other side says before it answers and closes: a word to a closed socket is an error (EPIPE).
    let serve = move |mut s: Box<dyn Stream>| s.read(&mut [0; 256]).and_then(|_| s.write_all(says.as_bytes()));
    match at.split_once(':') {
        Some(("unix", path)) => {
            let listener = UnixListener::bind(path)?;
            std::thread::spawn(move || serve(Box::new(listener.accept()?.0)));
            connect(w)?;
        }
        Some(("abstract", name)) => {
            let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)?;
            std::thread::spawn(move || serve(Box::new(listener.accept()?.0)));
            connect(w)?;
        }
        Some(("tcp", at)) => {
            let listener = TcpListener::bind(at)?;
            std::thread::spawn(move || serve(Box::new(listener.accept()?.0)));
            connect(w)?;
        }
        Some(("udp", at)) => {
            let socket = UdpSocket::bind(at)?;
            let text = w.get(1)?.to_owned();
            std::thread::spawn(move || {
                let mut buf = [0u8; 64];
                let (_, from) = socket.recv_from(&mut buf)?;
                socket.send_to(text.as_bytes(), from)
            });
            connect(w)?;
        }
        _ => return Err("where?".into()),
    }
    Ok(())
}

/// Sends the mark to a unix datagram socket.
fn send_datagram(w: &Words<'_>) -> Done {
    UnixDatagram::unbound()?.send_to(w.mark.as_bytes(), w.get(0)?)?;
    Ok(())
}

/// Makes a socket of a family, type and protocol.
fn socket(w: &Words<'_>) -> Done {
    sys::socket(w.int(0)?, w.int(1)?, w.int(2)?)?;
    Ok(())
}

/// Dials the hypervisor's side. It is done when the dial was made, whoever answers: the way out is open.
fn vsock(w: &Words<'_>) -> Done {
    let fd = sys::socket(libc::AF_VSOCK, libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0)?;
    match sys::connect(&fd, &sys::vsock(w.mode(0)?, w.mode(1)?)) {
        Err(e) if matches!(e.raw_os_error(), Some(libc::EPERM | libc::EACCES | libc::EAFNOSUPPORT)) => Err(e.into()),
        _ => Ok(()),
    }
}

/// Asks the kernel for every address of this network, as `ip addr` does.
fn addresses(_: &Words<'_>) -> Done {
    const RTM_GETADDR: u16 = 22;
    let fd = sys::socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE)?;
    sys::send(&fd, &dump_request(RTM_GETADDR, &[0u8; 8]))?;
    let answer = sys::receive(&fd)?;
    let quad = crate::world::HOST_ADDRESS;
    if answer.windows(4).any(|w| w == quad) {
        return print(quad.map(|b| b.to_string()).join(".").as_bytes());
    }
    Err("the address is not among them".into())
}

/// Asks the kernel for every listening TCP socket, as `ss -l` does; the word is the port looked for.
fn listening(w: &Words<'_>) -> Done {
    const SOCK_DIAG_BY_FAMILY: u16 = 20;
    let port = u16::try_from(w.number(0)?)?.to_be_bytes();
    let fd = sys::socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_SOCK_DIAG)?;
    // struct inet_diag_req_v2: family, protocol, ext, pad, states, id (48 bytes).
    let mut request = vec![2u8, 6, 0, 0];
    request.extend_from_slice(&(1u32 << 10).to_ne_bytes());
    request.extend_from_slice(&[0u8; 48]);
    sys::send(&fd, &dump_request(SOCK_DIAG_BY_FAMILY, &request))?;
    let answer = sys::receive(&fd)?;
    // struct inet_diag_msg after the 16-byte header: family, state, timer, retrans, then the source port.
    let mut rest = answer.as_slice();
    while rest.len() >= 22 {
        if rest[20..22] == port {
            return Ok(());
        }
        let len = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
        rest = rest.get(len.max(16).next_multiple_of(4)..).unwrap_or_default();
    }
    Err("the port is not among them".into())
}

fn dump_request(kind: u16, body: &[u8]) -> Vec<u8> {
    const DUMP: u16 = 0x300 | 1;
    let len = u32::try_from(16 + body.len()).unwrap_or(16);
    let mut message = len.to_ne_bytes().to_vec();
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(&DUMP.to_ne_bytes());
    message.extend_from_slice(&[0u8; 8]);
    message.extend_from_slice(body);
    message
}

/// Listens to what the kernel tells about devices or routes: protocol, then groups.
fn netlink_group(w: &Words<'_>) -> Done {
    let fd = sys::socket(libc::AF_NETLINK, libc::SOCK_RAW, w.int(0)?)?;
    Ok(sys::bind(&fd, &sys::netlink(w.mode(1)?))?)
}

/// Connects through multipath TCP, which filters on TCP do not name.
fn mptcp(w: &Words<'_>) -> Done {
    const IPPROTO_MPTCP: i32 = 262;
    let fd = sys::socket(libc::AF_INET, libc::SOCK_STREAM, IPPROTO_MPTCP)?;
    let at: std::net::SocketAddrV4 = w.get(0)?.parse()?;
    sys::connect(&fd, &sys::inet(at.ip().octets(), at.port()))?;
    print(&sys::receive(&fd)?)
}

/// Reads every packet of the network.
fn packet(_: &Words<'_>) -> Done {
    const ETH_P_ALL: i32 = 3;
    sys::socket(libc::AF_PACKET, libc::SOCK_RAW, i32::from((ETH_P_ALL as u16).to_be()))?;
    Ok(())
}

/// Talks over a pair of stream sockets, which everything from shells to asyncio does.
fn socketpair(w: &Words<'_>) -> Done {
    let (mut a, mut b) = UnixStream::pair()?;
    a.write_all(w.get(0)?.as_bytes())?;
    let mut buf = [0u8; 4096];
    let n = b.read(&mut buf)?;
    print(&buf[..n])
}
