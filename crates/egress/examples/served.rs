//! One jail's way out as a process of its own, to be measured: `served POLICY SOCKET`, for `benches/egress/run`.
//!
//! It says which listeners the policy wants and where a name is, takes the sockets over SOCKET from whoever opened them,
//! and serves until it is killed. The room is used as it is; events are only counted.

#![allow(clippy::print_stdout)] // Answers whoever started it.

use std::error::Error;
use std::io::{IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mantlet_egress::{Event, Rules, Server, Settings, Sockets, Synthetic, listeners};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

struct Anywhere;

impl mantlet_policy::Host for Anywhere {
    fn home(&self) -> &Path {
        Path::new("/home/ann")
    }
    fn state_dirs(&self) -> &[PathBuf] {
        &[]
    }
    fn canonical(&self, path: &Path) -> std::io::Result<PathBuf> {
        Ok(path.components().collect())
    }
}

/// Takes the sockets in this order: DNS over UDP, DNS over TCP, the proxy, then what was wanted.
fn received(channel: &UnixStream) -> Result<Sockets, Box<dyn Error>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    rustix::net::recvmsg(channel, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::empty())?;
    let mut descriptors: Vec<OwnedFd> = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    let mut descriptors = descriptors.into_iter();
    let mut next = || descriptors.next().ok_or("too few sockets");
    let mut sockets = Sockets::default();
    sockets.dns_udp.push(UdpSocket::from(next()?));
    sockets.dns_tcp.push(TcpListener::from(next()?));
    sockets.proxy.push(TcpListener::from(next()?));
    sockets.capture.extend(descriptors.map(TcpListener::from));
    Ok(sockets)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(policy), Some(socket)) = (arguments.next(), arguments.next()) else {
        return Err("usage: served POLICY SOCKET".into());
    };
    let door = UnixListener::bind(socket)?;
    let text = std::fs::read_to_string(&policy)?;
    let policy = mantlet_policy::parse(&text, Path::new(&policy), &Anywhere)?;
    let agent = policy.agents().first().ok_or("no agent in the policy")?;
    let rules = Rules::compile(agent, "")?;
    for address in listeners(&rules) {
        println!("listen {address}");
    }
    let mut map = Synthetic::default();
    for name in rules.names() {
        if let Some(pair) = map.pair(&name) {
            println!("name {} {}", name.as_str(), pair.v4);
            // A jail listens here when the name is looked up; what is measured begins after that.
            for port in rules.ports().into_iter().filter(|port| *port >= 1024) {
                println!("listen {}:{port}", pair.v4);
            }
        }
    }
    println!("ready");
    std::io::stdout().flush()?;
    let (channel, _) = door.accept()?;
    let sockets = received(&channel)?;
    let events = Arc::new(AtomicU64::new(0));
    let record = move |_: Event| {
        events.fetch_add(1, Ordering::Relaxed);
    };
    let (server, _control) = Server::new(rules, Settings::default(), Arc::new(record));
    println!("serving");
    std::io::stdout().flush()?;
    Ok(server.run(sockets)?)
}
