//! Names resolved for a destination that was allowed: the host's own servers and /etc/hosts, asked once.
//!
//! Not the C library: it would need one that is not static, and would search domains and modules that nobody chose. The
//! answers come back as a list, so that what was checked is what is dialled.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, connect, socket_with};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::dns::kept::Kept;
use crate::dns::wire::{self, Response};
use crate::name::HostName;

const ATTEMPT: Duration = Duration::from_secs(2);
const ROUNDS: usize = 2;
/// As many servers as the C library asks.
const MOST_SERVERS: usize = 3;
/// As many answers as are looked at.
const MOST_ANSWERS: usize = 32;

/// Why a name has no address.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// The host's configuration cannot be read.
    #[error("{path}: {source}", path = path.display())]
    Configuration {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// There is no such name.
    #[error("there is no such name")]
    NoSuchName,
    /// The name has no address.
    #[error("the name has no address")]
    NoAddress,
    /// No server answered.
    #[error("no name server answered")]
    NoAnswer,
    /// No random number for a query.
    #[error("no random number: {0}")]
    Random(io::Error),
}

/// Where the host's configuration is; looked at for each name, since laptops change networks.
#[derive(Debug, Clone)]
pub struct Resolver {
    resolv_conf: Arc<Kept>,
    hosts: Arc<Kept>,
}

impl Default for Resolver {
    fn default() -> Self {
        Resolver::with_files("/etc/resolv.conf".into(), "/etc/hosts".into())
    }
}

impl Resolver {
    /// Uses other files than the host's own.
    pub fn with_files(resolv_conf: PathBuf, hosts: PathBuf) -> Self {
        Resolver { resolv_conf: Arc::new(Kept::new(resolv_conf)), hosts: Arc::new(Kept::new(hosts)) }
    }

    /// The configuration as it is now.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn now(&self) -> Result<Configuration, ResolveError> {
        Ok(Configuration { resolv_conf: self.resolv_conf.text()?, hosts: self.hosts.text()? })
    }
}

/// The host's configuration at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Configuration {
    resolv_conf: Arc<str>,
    hosts: Arc<str>,
}

impl Configuration {
    /// Resolves a name: all its addresses, and how long the answers are good. What is written in a file is good as long
    /// as the file is the same.
    ///
    /// # Errors
    /// It has none, or nobody can say.
    pub(crate) async fn resolve(&self, name: &HostName) -> Result<(Vec<IpAddr>, Duration), ResolveError> {
        let written = in_hosts(&self.hosts, name);
        if !written.is_empty() {
            return Ok((written, Duration::MAX));
        }
        let servers = servers(&self.resolv_conf);
        let (addresses, seconds) = match ask_all(&servers, name).await? {
            [Ok(v4), Ok(v6)] => ([v6.0, v4.0].concat(), v6.1.min(v4.1)),
            // One kind is unknown, which the next look-up may change.
            [Ok((one, _)), Err(_)] | [Err(_), Ok((one, _))] if !one.is_empty() => (one, 0),
            [Err(error), _] | [_, Err(error)] => return Err(error),
        };
        match addresses.len() {
            0 => Err(ResolveError::NoAddress),
            1..=MOST_ANSWERS => Ok((addresses, Duration::from_secs(seconds.into()))),
            // A part of the answers could be the part that would have been refused.
            _ => Err(ResolveError::NoAnswer),
        }
    }
}

/// The name servers of a `resolv.conf`; the local one when it names none, as resolv.conf(5) says.
fn servers(text: &str) -> Vec<SocketAddr> {
    let mut servers: Vec<SocketAddr> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter_map(|rest| rest.split_whitespace().next()?.parse::<IpAddr>().ok())
        .map(|address| SocketAddr::new(address, 53))
        .take(MOST_SERVERS)
        .collect();
    if servers.is_empty() {
        servers.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 53));
    }
    servers
}

fn in_hosts(text: &str, name: &HostName) -> Vec<IpAddr> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let entries = lines.filter_map(|line| {
        let mut words = line.split_whitespace();
        let address = words.next()?;
        // Compared as they stand: files that block a hundred thousand names are not parsed for each connection.
        let is_it = |word: &str| word.strip_suffix('.').unwrap_or(word).eq_ignore_ascii_case(name.as_str());
        words.any(is_it).then(|| address.parse().ok())?
    });
    entries.collect()
}

/// Addresses, and for how many seconds they are good.
type Answer = Result<(Vec<IpAddr>, u32), ResolveError>;

/// Asks for both kinds of address, IPv4 first, until each has an answer from some server.
async fn ask_all(servers: &[SocketAddr], name: &HostName) -> Result<[Answer; 2], ResolveError> {
    let mut answers = [None, None];
    for _ in 0..ROUNDS {
        for server in servers {
            match timeout(ATTEMPT, ask(*server, name, &mut answers)).await {
                Ok(Err(Asking::Random(error))) => return Err(ResolveError::Random(error)),
                Ok(Ok(()) | Err(Asking::Network)) | Err(_) => {}
            }
            if answers.iter().all(Option::is_some) {
                break;
            }
        }
    }
    Ok(answers.map(|answer| answer.unwrap_or(Err(ResolveError::NoAnswer))))
}

enum Asking {
    Network,
    Random(io::Error),
}

impl From<io::Error> for Asking {
    fn from(_: io::Error) -> Self {
        Asking::Network
    }
}

struct Query<'a> {
    id: u16,
    message: Vec<u8>,
    wants_v6: bool,
    answer: &'a mut Option<Answer>,
}

impl Query<'_> {
    /// Takes what a server said; nothing is an answer that another server may give better.
    fn settle(&mut self, response: Response) {
        *self.answer = match response {
            Response::Addresses(addresses, seconds) => Some(Ok((addresses, seconds))),
            Response::NoSuchName => Some(Err(ResolveError::NoSuchName)),
            Response::Truncated | Response::Failed(_) => None,
        };
    }
}

/// Asks one server what is not answered yet, over UDP from a port of its own with random ids, and over TCP when an answer
/// is long.
async fn ask(server: SocketAddr, name: &HostName, answers: &mut [Option<Answer>; 2]) -> Result<(), Asking> {
    let mut random = [0; 4];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())
        .map_err(|e| Asking::Random(e.into()))?;
    let [a, b, c, d] = random;
    let ids = [u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d])];
    let kinds = answers.iter_mut().zip(ids).zip([false, true]);
    let mut open: Vec<Query> = kinds
        .filter(|((answer, _), _)| answer.is_none())
        .map(|((answer, id), wants_v6)| Query { id, message: wire::query(id, name, wants_v6), wants_v6, answer })
        .collect();
    // Connected: the kernel drops what others send.
    let socket = connected(server)?;
    for query in &open {
        rustix::net::send(&socket, &query.message, SendFlags::empty()).map_err(io::Error::from)?;
    }
    let socket = UdpSocket::from_std(socket.into())?;
    let mut bytes = vec![0; wire::MOST];
    while !open.is_empty() {
        let count = socket.recv(&mut bytes).await?;
        let bytes = bytes.get(..count).unwrap_or_default();
        let read = |query: &Query| wire::response(bytes, query.id, name, query.wants_v6);
        let found = open.iter().enumerate().find_map(|(index, query)| Some((index, read(query)?)));
        // What answers neither is not for us: wait for what does.
        let Some((index, response)) = found else { continue };
        let mut query = open.swap_remove(index);
        match response {
            Response::Truncated => {
                let response = ask_tcp(server, &query.message, query.id, name, query.wants_v6).await?;
                query.settle(response);
            }
            response => query.settle(response),
        }
    }
    Ok(())
}

/// A UDP socket that sends to one address and hears from it only. No packet leaves.
pub(crate) fn connected(to: SocketAddr) -> io::Result<OwnedFd> {
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    connect(&socket, &to)?;
    Ok(socket)
}

async fn ask_tcp(server: SocketAddr, query: &[u8], id: u16, name: &HostName, v6: bool) -> Result<Response, Asking> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(query.len()).map_err(|_| Asking::Network)?;
    stream.write_all(&[&length.to_be_bytes(), query].concat()).await?;
    let length = usize::from(stream.read_u16().await?);
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    wire::response(&bytes, id, name, v6).ok_or(Asking::Network)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_files_are_read_as_the_c_library_reads_them() {
        let list = |text: &str| servers(text).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            list("# x\nsearch lan\nnameserver 9.9.9.9\n nameserver\t2620:fe::fe # y\n"),
            ["9.9.9.9:53", "[2620:fe::fe]:53"]
        );
        assert_eq!(list("options rotate"), ["127.0.0.1:53"]);
        let name = HostName::from_wire(b"nas.lan").unwrap();
        let text = "127.0.0.1 localhost\n10.0.0.5\tNAS.lan nas # box\n#10.0.0.6 nas.lan\nfd00::5 other nas.lan.\n";
        assert_eq!(in_hosts(text, &name), ["10.0.0.5".parse::<IpAddr>().unwrap(), "fd00::5".parse().unwrap()]);
    }
}
