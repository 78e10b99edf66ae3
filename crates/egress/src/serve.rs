//! The room's door: sockets that somebody opened in a jail's network namespace, rules, and a way to say what happened.

use std::io;
use std::net::{TcpListener as StdListener, UdpSocket as StdUdp};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::budget::Budgets;
use crate::conn::set_up;
use crate::decision::Reason;
use crate::dial::Recent;
use crate::dns::stub::Stub;
use crate::event::{Record, Way};
use crate::rules::Rules;
use crate::shared::{Settings, Shared};
use crate::{capture, explicit};

/// As many connections at a time as one jail may have.
const MOST_CONNECTIONS: usize = 4096;

/// Open sockets, all of one jail: whoever connects to them is that jail, and nobody else can.
#[derive(Debug, Default)]
pub struct Sockets {
    /// Bound UDP sockets of the stub DNS.
    pub dns_udp: Vec<StdUdp>,
    /// Listeners of the stub DNS.
    pub dns_tcp: Vec<StdListener>,
    /// Listeners on the addresses that stand for names. Their port is the port of the destination.
    pub capture: Vec<StdListener>,
    /// Listeners of the explicit proxy.
    pub proxy: Vec<StdListener>,
}

/// The way out of one jail, before it is served.
pub struct Server {
    shared: Arc<Shared>,
    stop: watch::Receiver<Arc<Rules>>,
    more: mpsc::UnboundedReceiver<Sockets>,
}

/// Changes what a running server does. When it is dropped, the server ends and cuts what is open.
#[derive(Debug)]
pub struct Control {
    rules: watch::Sender<Arc<Rules>>,
    sockets: mpsc::UnboundedSender<Sockets>,
}

impl Control {
    /// Puts other rules in force: at once for what comes, and what they no longer allow is cut. Rules that do not compile
    /// never get here, so that the old ones stay.
    pub fn reload(&self, rules: Rules) {
        self.rules.send_replace(Arc::new(rules));
    }

    /// Serves more sockets of the same jail: for what rules allow that came later. Returns whether the server still runs.
    #[must_use]
    pub fn add(&self, sockets: Sockets) -> bool {
        self.sockets.send(sockets).is_ok()
    }
}

impl Server {
    /// Makes a server with its first rules.
    pub fn new(rules: Rules, settings: Settings, events: Arc<dyn Record>) -> (Self, Control) {
        let (rules, stop) = watch::channel(Arc::new(rules));
        let (sockets, more) = mpsc::unbounded_channel();
        let shared = Shared {
            rules: stop.clone(),
            synthetic: Mutex::default(),
            budgets: Budgets::default(),
            recent: Recent::default(),
            settings,
            events,
        };
        shared.place_names();
        (Server { shared: Arc::new(shared), stop, more }, Control { rules, sockets })
    }

    /// Serves on this thread until the [`Control`] is dropped.
    ///
    /// # Errors
    /// A socket that cannot be used.
    pub fn run(self, sockets: Sockets) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        runtime.block_on(self.serve(sockets))
    }

    /// Serves until the [`Control`] is dropped.
    ///
    /// # Errors
    /// A socket that cannot be used.
    pub async fn serve(mut self, sockets: Sockets) -> io::Result<()> {
        let mut tasks = JoinSet::new();
        let stub = Stub::new(Arc::clone(&self.shared));
        let slots = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        self.begin(sockets, &stub, &slots, &mut tasks)?;
        loop {
            tokio::select! {
                changed = self.stop.changed() => match changed {
                    Ok(()) => self.shared.place_names(),
                    Err(_) => return Ok(()),
                },
                Some(more) = self.more.recv() => self.begin(more, &stub, &slots, &mut tasks)?,
            }
        }
    }

    fn begin(
        &self,
        sockets: Sockets,
        stub: &Arc<Stub>,
        slots: &Arc<Semaphore>,
        tasks: &mut JoinSet<()>,
    ) -> io::Result<()> {
        for socket in sockets.dns_udp {
            socket.set_nonblocking(true)?;
            tasks.spawn(Arc::clone(stub).serve_udp(UdpSocket::from_std(socket)?));
        }
        for listener in sockets.dns_tcp {
            tasks.spawn(Arc::clone(stub).serve_tcp(listener_of(listener)?));
        }
        for (listeners, kind) in [(sockets.capture, Kind::Capture), (sockets.proxy, Kind::Proxy)] {
            for listener in listeners {
                let accepting = accept(Arc::clone(&self.shared), listener_of(listener)?, kind, Arc::clone(slots));
                tasks.spawn(accepting);
            }
        }
        Ok(())
    }
}

fn listener_of(listener: StdListener) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    set_up(&listener);
    TcpListener::from_std(listener)
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Capture,
    Proxy,
}

/// Accepts until the server ends. Connections live in the set here, so that they end with it.
async fn accept(shared: Arc<Shared>, listener: TcpListener, kind: Kind, slots: Arc<Semaphore>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let stream: TcpStream = match accepted {
            Ok((stream, _)) => stream,
            // No descriptors left, or a client that has gone again: later connections may do better.
            Err(_) => {
                sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            shared.refused(Way::Direct, shared.now().deny_unnamed("a connection", Reason::Crowded));
            continue;
        };
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            match kind {
                Kind::Capture => capture::serve(shared, stream).await,
                Kind::Proxy => explicit::serve(shared, stream).await,
            }
            drop(slot);
        });
    }
}
