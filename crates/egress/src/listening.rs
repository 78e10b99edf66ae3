//! Listeners on the addresses of names, for ports from 1024 on: opened when a name is looked up, and closed when it was not
//! for a while.
//!
//! The jail's own servers mostly listen on all addresses, and the kernel allows that on no port that anybody listens on at
//! one of them (`EADDRINUSE`). So no port is taken from them before something asks for a name that is allowed on it.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv6Addr, SocketAddr, TcpListener as StdListener};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::net::{AddressFamily, sockopt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::decision::Reason;
use crate::event::Way;
use crate::name::{Endpoint, HostName};
use crate::shared::Shared;
use crate::synthetic::Pair;

/// Ports below are nobody's in a jail, and listened on from the start.
const FIRST: u16 = 1024;
/// How long a listener stays after the last look-up and the last connection. Java keeps an address for half a minute, Go not
/// at all, pools of database clients for some minutes.
const IDLE: Duration = Duration::from_secs(300);
/// As many names and ports at a time.
const MOST: usize = 512;
const BACKLOG: i32 = 1024;

/// When something was asked for last.
pub(crate) type Used = Arc<Mutex<Instant>>;

/// A listener that was opened late.
pub(crate) struct Late {
    pub(crate) listeners: Vec<StdListener>,
    pub(crate) endpoint: Endpoint,
    pub(crate) used: Used,
}

/// What is listened on.
pub(crate) struct Listening {
    open: Mutex<HashMap<Endpoint, Used>>,
    late: mpsc::UnboundedSender<Late>,
}

impl Listening {
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<Late>) {
        let (late, opened) = mpsc::unbounded_channel();
        (Listening { open: Mutex::default(), late }, opened)
    }

    /// Notes that an endpoint is used. Returns whether it is listened on.
    pub(crate) fn touch(&self, endpoint: &Endpoint) -> bool {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let used = open.get(endpoint);
        if let Some(used) = used {
            *used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }
        used.is_some()
    }

    /// Returns when an endpoint was not used for long, and is no longer noted as listened on.
    pub(crate) async fn idle(&self, endpoint: &Endpoint, used: &Used) {
        loop {
            let since = used.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
            if since >= IDLE {
                self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(endpoint);
                return;
            }
            sleep(IDLE.saturating_sub(since)).await;
        }
    }

    fn take_down(&self, endpoint: Endpoint, listeners: Vec<StdListener>) {
        let used = Arc::new(Mutex::new(Instant::now()));
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.insert(endpoint.clone(), Arc::clone(&used));
        // A server that has ended needs no listeners.
        drop(self.late.send(Late { listeners, endpoint, used }));
    }

    fn is_full(&self) -> bool {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).len() >= MOST
    }
}

impl Shared {
    /// Listens on every port from 1024 on that a name is allowed on. Returns whether any port of it leads out.
    pub(crate) async fn listen_for(&self, name: &HostName) -> bool {
        let rules = self.now();
        let Some(pair) = self.pair(name) else { return false };
        let ports = rules.ports_allowed(name);
        let (low, high): (Vec<u16>, Vec<u16>) = ports.into_iter().partition(|port| *port < FIRST);
        // A reader's names are allowed on low ports, and stand in no list.
        let mut leads_out = !low.is_empty() || high.is_empty();
        for port in high {
            let endpoint = Endpoint { name: name.clone(), port };
            if self.listening.touch(&endpoint) {
                leads_out = true;
                continue;
            }
            match self.opened(pair, port).await {
                Ok(listeners) => {
                    self.listening.take_down(endpoint, listeners);
                    leads_out = true;
                }
                Err(reason) => self.refused(Way::Dns, rules.deny(&endpoint, reason)),
            }
        }
        leads_out
    }

    async fn opened(&self, pair: Pair, port: u16) -> Result<Vec<StdListener>, Reason> {
        if self.listening.is_full() {
            return Err(Reason::Crowded);
        }
        let four = self.inward.take().await?;
        let domain = sockopt::socket_domain(&four).map_err(|error| failed(error.into()))?;
        if domain != AddressFamily::INET6 {
            return Ok(vec![listen(four, SocketAddr::from((pair.v4, port))).map_err(failed)?]);
        }
        let mapped = |v6: Ipv6Addr| SocketAddr::from((v6, port));
        let four = listen(four, mapped(pair.v4.to_ipv6_mapped())).map_err(failed)?;
        let six = listen(self.inward.take().await?, mapped(pair.v6)).map_err(failed)?;
        Ok(vec![four, six])
    }
}

fn failed(error: io::Error) -> Reason {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            Reason::Unreachable("a server inside the jail listens on this port, on all addresses".into())
        }
        kind => Reason::Unreachable(format!("its port cannot be listened on: {kind}")),
    }
}

/// An address that stands for a name is on no interface: it has a local route.
fn listen(socket: OwnedFd, address: SocketAddr) -> io::Result<StdListener> {
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_freebind(&socket, true)?;
    }
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(StdListener::from(socket))
}
