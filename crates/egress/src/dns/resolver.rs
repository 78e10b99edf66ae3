//! Names resolved for a destination that was allowed: the host's own servers and /etc/hosts, asked once.
//!
//! Not the C library: it would need one that is not static, and would search domains and modules that nobody chose. The
//! answers come back as a list, so that what was checked is what is dialled.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

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

/// Where the host's configuration is; read for each name, since laptops change networks.
#[derive(Debug, Clone)]
pub struct Resolver {
    resolv_conf: PathBuf,
    hosts: PathBuf,
}

impl Default for Resolver {
    fn default() -> Self {
        Resolver { resolv_conf: "/etc/resolv.conf".into(), hosts: "/etc/hosts".into() }
    }
}

impl Resolver {
    /// Uses other files than the host's own.
    pub fn with_files(resolv_conf: PathBuf, hosts: PathBuf) -> Self {
        Resolver { resolv_conf, hosts }
    }

    /// Resolves a name, with all its addresses.
    ///
    /// # Errors
    /// It has none, or nobody can say.
    pub async fn resolve(&self, name: &HostName) -> Result<Vec<IpAddr>, ResolveError> {
        let written = in_hosts(&read(&self.hosts)?, name);
        if !written.is_empty() {
            return Ok(written);
        }
        let servers = servers(&read(&self.resolv_conf)?);
        let (v4, v6) = tokio::join!(ask_all(&servers, name, false), ask_all(&servers, name, true));
        let addresses = match (v4, v6) {
            (Ok(v4), Ok(v6)) => [v6, v4].concat(),
            (Ok(one), Err(_)) | (Err(_), Ok(one)) if !one.is_empty() => one,
            (Err(error), _) | (_, Err(error)) => return Err(error),
        };
        match addresses.len() {
            0 => Err(ResolveError::NoAddress),
            1..=MOST_ANSWERS => Ok(addresses),
            // A part of the answers could be the part that would have been refused.
            _ => Err(ResolveError::NoAnswer),
        }
    }
}

fn read(path: &Path) -> Result<String, ResolveError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(source) => Err(ResolveError::Configuration { path: path.to_owned(), source }),
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
        let address: IpAddr = words.next()?.parse().ok()?;
        words.any(|word| HostName::from_wire(word.as_bytes()).as_ref() == Ok(name)).then_some(address)
    });
    entries.collect()
}

async fn ask_all(servers: &[SocketAddr], name: &HostName, wants_v6: bool) -> Result<Vec<IpAddr>, ResolveError> {
    for _ in 0..ROUNDS {
        for server in servers {
            match timeout(ATTEMPT, ask(*server, name, wants_v6)).await {
                Ok(Ok(Response::Addresses(addresses))) => return Ok(addresses),
                Ok(Ok(Response::NoSuchName)) => return Err(ResolveError::NoSuchName),
                Ok(Err(Asking::Random(error))) => return Err(ResolveError::Random(error)),
                Ok(Ok(Response::Truncated | Response::Failed(_)) | Err(Asking::Network)) | Err(_) => {}
            }
        }
    }
    Err(ResolveError::NoAnswer)
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

/// Asks one server, over UDP from a port of its own with a random id, and over TCP when the answer is long.
async fn ask(server: SocketAddr, name: &HostName, wants_v6: bool) -> Result<Response, Asking> {
    let mut random = [0; 2];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())
        .map_err(|e| Asking::Random(e.into()))?;
    let id = u16::from_ne_bytes(random);
    let query = wire::query(id, name, wants_v6);
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    // Connected: the kernel drops what others send.
    socket.connect(server).await?;
    socket.send(&query).await?;
    let mut bytes = vec![0; wire::MOST];
    loop {
        let count = socket.recv(&mut bytes).await?;
        match wire::response(bytes.get(..count).unwrap_or_default(), id, name, wants_v6) {
            Some(Response::Truncated) => return ask_tcp(server, &query, id, name, wants_v6).await,
            Some(response) => return Ok(response),
            // Not the answer to this: wait for the one that is.
            None => {}
        }
    }
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
