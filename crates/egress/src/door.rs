//! The door into a jail: listeners outside on what `[agent.X.publish]` names, each led to one port inside, and no other.
//!
//! What listens inside, on whatever address, is in no network but the jail's: nothing reaches it except through here. The
//! attacks that remain come through the door: other users of the machine at one that is the owner's, strangers of the
//! network at one in front of a gateway without authentication, or strangers whom the gateway takes for its owner.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::budget::Meter;
use crate::conn::Conn;
use crate::decision::Reason;
use crate::event::{Event, Way};
use crate::inward::As;
use crate::peer;
use crate::shared::Shared;
use crate::tunnel::carry;

/// As many connections at a time as one jail takes from outside, and as many of them as strangers may hold: the owner's
/// own door stays open when they hold all of theirs.
const MOST: u32 = 256;
const MOST_EXPOSED: usize = 192;

/// A published address. Whether other machines can reach it is read off the listener: then the door asks
/// [`Settings::exposed`](crate::Settings::exposed) first; otherwise it opens for this user and root only.
#[derive(Debug)]
pub struct Door {
    /// The listener outside, on an address of the policy.
    pub listener: StdListener,
    /// The port inside.
    pub port: u16,
}

/// Room for the connections of one jail's doors.
pub(crate) struct Slots {
    all: Arc<Semaphore>,
    exposed: Arc<Semaphore>,
}

impl Slots {
    pub(crate) fn new() -> Self {
        Slots { all: Arc::new(Semaphore::new(MOST as usize)), exposed: Arc::new(Semaphore::new(MOST_EXPOSED)) }
    }

    fn take(&self, as_whom: As) -> Option<(OwnedSemaphorePermit, Option<OwnedSemaphorePermit>)> {
        let exposed = match as_whom {
            As::Stranger => Some(Arc::clone(&self.exposed).try_acquire_owned().ok()?),
            As::Owner => None,
        };
        Some((Arc::clone(&self.all).try_acquire_owned().ok()?, exposed))
    }

    /// Returns when no connection is left.
    pub(crate) async fn all_free(&self) {
        drop(self.all.acquire_many(MOST).await);
    }
}

/// One connection to a door.
struct Visit {
    door: SocketAddr,
    peer: SocketAddr,
    port: u16,
    as_whom: As,
}

/// Accepts until the server ends or the rules no longer publish the address. Connections live in the set here, so that they
/// end with it.
pub(crate) async fn serve(shared: Arc<Shared>, listener: TcpListener, port: u16, slots: Arc<Slots>) {
    let Ok(door) = listener.local_addr() else { return };
    let as_whom = if door.ip().is_loopback() { As::Owner } else { As::Stranger };
    let mut visits = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = visits.join_next() => continue,
            () = shared.unpublished(door) => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            // No descriptors left, or a client that has gone again: later connections may do better.
            Err(_) => {
                sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let visit = Visit { door, peer, port, as_whom };
        let Some(slot) = slots.take(as_whom) else {
            visit.refuse(&shared, Conn::accepted(stream), Reason::Crowded);
            continue;
        };
        let shared = Arc::clone(&shared);
        visits.spawn(async move {
            visit.serve(&shared, stream).await;
            drop(slot);
        });
    }
    // Nobody listens any more; what is open ends by itself, and says so.
    drop(listener);
    while visits.join_next().await.is_some() {}
}

impl Visit {
    async fn serve(&self, shared: &Shared, stream: TcpStream) {
        let client = Conn::accepted(stream);
        let server = match self.enter(shared, &client).await {
            Ok(server) => server,
            Err(reason) => return self.refuse(shared, client, reason),
        };
        let Ok(inside) = server.peer_addr() else { return };
        let withdrawn = shared.unpublished(self.door);
        let (totals, end) = carry(withdrawn, &Meter::default(), client, Conn::accepted(server)).await;
        if let Err(reason) = end {
            self.told(shared, reason);
        }
        let (door, peer) = (self.door, self.peer);
        shared.events.record(Event::Entered { door, peer, inside, inwards: totals.up, outwards: totals.down });
    }

    async fn enter(&self, shared: &Shared, client: &Conn) -> Result<TcpStream, Reason> {
        match (self.as_whom, &shared.settings.exposed) {
            (As::Stranger, Some(gate)) => gate().map_err(Reason::Unguarded)?,
            (As::Stranger, None) => {
                return Err(Reason::Unguarded("nobody says whether what listens asks who comes".into()));
            }
            (As::Owner, _) => {
                let local = client.stream.local_addr().map_err(|_| Reason::Foreign)?;
                peer::is_own(self.peer, local, shared.settings.owner).then_some(()).ok_or(Reason::Foreign)?;
            }
        }
        shared.inward.connect(self.port, self.as_whom).await
    }

    /// Refuses as a port does that nobody listens on.
    fn refuse(&self, shared: &Shared, client: Conn, reason: Reason) {
        self.told(shared, reason);
        client.reset();
    }

    fn told(&self, shared: &Shared, reason: Reason) {
        let what = format!("{} from {}", self.door, self.peer);
        shared.refused(Way::Publish, shared.now().deny_unnamed(what, reason));
    }
}
