//! The room's door: sockets that somebody opened in a jail's network namespace, rules, and a way to say what happened.

use std::future::pending;
use std::io;
use std::net::{TcpListener as StdListener, UdpSocket as StdUdp};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::budget::Budgets;
use crate::conn::set_up;
use crate::decision::Reason;
use crate::dial::Recent;
use crate::dns::stub::Stub;
use crate::door::{self, Door, Slots};
use crate::event::{Record, Way};
use crate::inward::Pool;
use crate::listening::{Late, Listening};
use crate::rules::Rules;
use crate::shared::{Settings, Shared};
use crate::{capture, explicit};

/// As many connections at a time as one jail may have.
const MOST_CONNECTIONS: u32 = 4096;
/// How long the end waits for connections that have nothing to tell.
const LAST_WORDS: Duration = Duration::from_secs(1);

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
    /// Listeners outside for what is published. Rules that do not publish their address close them.
    pub doors: Vec<Door>,
    /// Unconnected TCP sockets made inside, for the doors: IPv6 ones that speak IPv4 as well, or IPv4 ones.
    pub inward: Vec<OwnedFd>,
}

/// The way out of one jail, before it is served.
pub struct Server {
    shared: Arc<Shared>,
    stop: watch::Receiver<Arc<Rules>>,
    more: mpsc::UnboundedReceiver<Sockets>,
    late: mpsc::UnboundedReceiver<Late>,
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

    /// Takes more unconnected sockets, as [`Settings::more`] asked for them. Returns whether the server still runs.
    #[must_use]
    pub fn inward(&self, inward: Vec<OwnedFd>) -> bool {
        self.add(Sockets { inward, ..Sockets::default() })
    }
}

impl Server {
    /// Makes a server with its first rules.
    pub fn new(rules: Rules, settings: Settings, events: Arc<dyn Record>) -> (Self, Control) {
        let (rules, stop) = watch::channel(Arc::new(rules));
        let (sockets, more) = mpsc::unbounded_channel();
        let (synthetic, budgets, inward) = (Mutex::default(), Budgets::default(), Pool::new(settings.more.clone()));
        let (listening, late) = Listening::new();
        let (now, recent) = (stop.clone(), Recent::default());
        let shared = Shared { rules: now, synthetic, budgets, recent, settings, inward, listening, events };
        shared.place_names();
        (Server { shared: Arc::new(shared), stop, more, late }, Control { rules, sockets })
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
        let slots = (Arc::new(Semaphore::new(MOST_CONNECTIONS as usize)), Arc::new(Slots::new()));
        self.begin(sockets, &stub, &slots, &mut tasks)?;
        loop {
            tokio::select! {
                changed = self.stop.changed() => match changed {
                    Ok(()) => self.shared.place_names(),
                    Err(_) => {
                        // What is open sees the end by itself and says what passed: cut in silence, a connection that
                        // outlives its jail would leave no trace. The slots are free when the last one has.
                        let all = async { tokio::join!(slots.0.acquire_many(MOST_CONNECTIONS), slots.1.all_free()) };
                        drop(timeout(LAST_WORDS, all).await);
                        return Ok(());
                    }
                },
                Some(late) = self.late.recv() => self.begin_late(late, &slots.0, &mut tasks)?,
                Some(more) = self.more.recv() => self.begin(more, &stub, &slots, &mut tasks)?,
            }
        }
    }

    fn begin(
        &self,
        sockets: Sockets,
        stub: &Arc<Stub>,
        (slots, visits): &(Arc<Semaphore>, Arc<Slots>),
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
                let (shared, slots) = (Arc::clone(&self.shared), Arc::clone(slots));
                tasks.spawn(accept(shared, listener_of(listener)?, kind, slots, pending()));
            }
        }
        self.shared.inward.add(sockets.inward);
        for Door { listener, port } in sockets.doors {
            let visits = Arc::clone(visits);
            tasks.spawn(door::serve(Arc::clone(&self.shared), listener_of(listener)?, port, visits));
        }
        Ok(())
    }
}

impl Server {
    /// Serves listeners that were opened for a name, until nothing has asked for it for long.
    fn begin_late(&self, late: Late, slots: &Arc<Semaphore>, tasks: &mut JoinSet<()>) -> io::Result<()> {
        for listener in late.listeners {
            let (shared, endpoint, used) = (Arc::clone(&self.shared), late.endpoint.clone(), Arc::clone(&late.used));
            let idle = async move { shared.listening.idle(&endpoint, &used).await };
            let (shared, slots) = (Arc::clone(&self.shared), Arc::clone(slots));
            tasks.spawn(accept(shared, listener_of(listener)?, Kind::Capture, slots, idle));
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

/// Accepts until the server ends, or a listener is not wanted any more. Connections live in the set here, so that they end
/// with the server.
async fn accept(
    shared: Arc<Shared>,
    listener: TcpListener,
    kind: Kind,
    slots: Arc<Semaphore>,
    unwanted: impl Future<Output = ()>,
) {
    let mut connections = JoinSet::new();
    let mut unwanted = std::pin::pin!(unwanted);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = &mut unwanted => break,
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
    drop(listener);
    while connections.join_next().await.is_some() {}
}
