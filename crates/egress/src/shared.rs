//! What the connections of one jail share: rules, names, budgets, and the way to say what happened.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::budget::{Budgets, Meter};
use crate::conn::Conn;
use crate::decision::{Allowed, Decision, Denial, Reason};
use crate::dial::{Recent, dial};
use crate::dns::resolver::Resolver;
use crate::event::{Event, Record, Way};
use crate::inward::{More, Pool};
use crate::listening::Listening;
use crate::login::Login;
use crate::name::{Endpoint, HostName};
use crate::rules::Rules;
use crate::synthetic::{Pair, Synthetic};

/// What the room is told besides the rules.
#[derive(Clone, Default)]
pub struct Settings {
    /// Addresses that this program listens on: no rule leads there.
    pub own: Vec<SocketAddr>,
    /// What the explicit proxy asks for, when it listens where others than one jail can reach it.
    pub login: Option<Login>,
    /// Where the host's resolver configuration is.
    pub resolver: Resolver,
    /// The user who comes in through the loopback, beside root. This process's own if nothing is said; a server that was given
    /// a uid of its own says whom it serves.
    pub owner: Option<u32>,
    /// Asks for more sockets for what is published and for ports from 1024 on, when few are left.
    pub more: Option<More>,
    /// Asked before each connection from other machines: whether what listens inside asks who comes. Without it, and while
    /// it says why not, they are refused.
    pub exposed: Option<Gate>,
}

/// Says whether strangers may be let in to what listens inside, or why not: `the gateway has no authentication`.
pub type Gate = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("own", &self.own).field("login", &self.login).finish_non_exhaustive()
    }
}

pub(crate) struct Shared {
    pub(crate) rules: watch::Receiver<Arc<Rules>>,
    pub(crate) synthetic: Mutex<Synthetic>,
    pub(crate) budgets: Budgets,
    pub(crate) recent: Recent,
    pub(crate) settings: Settings,
    pub(crate) inward: Pool,
    pub(crate) listening: Listening,
    pub(crate) events: Arc<dyn Record>,
}

/// A destination that was allowed and admitted.
pub(crate) struct Admitted {
    pub(crate) allowed: Allowed,
    pub(crate) meter: Meter,
}

impl Shared {
    /// The rules as they are now.
    pub(crate) fn now(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.borrow())
    }

    pub(crate) fn pair(&self, name: &HostName) -> Option<Pair> {
        self.synthetic.lock().unwrap_or_else(PoisonError::into_inner).pair(name)
    }

    pub(crate) fn name_at(&self, address: IpAddr) -> Option<HostName> {
        self.synthetic.lock().unwrap_or_else(PoisonError::into_inner).name(address).cloned()
    }

    /// Gives every name that is written out its address before anything else can take it.
    pub(crate) fn place_names(&self) {
        for name in self.now().names() {
            // The map is larger than any policy: a name without a place is refused where it is looked up.
            let _placed = self.pair(&name);
        }
    }

    pub(crate) fn decide(&self, endpoint: &Endpoint) -> Result<Allowed, Denial> {
        match self.now().decide(endpoint) {
            Decision::Allow(allowed) => Ok(allowed),
            Decision::Deny(denial) => Err(denial),
        }
    }

    /// Counts a connection or request against its budgets.
    pub(crate) fn admit(&self, allowed: Allowed) -> Result<Admitted, Denial> {
        let rules = self.now();
        match self.budgets.admit(&rules, &allowed) {
            Ok(meter) => Ok(Admitted { allowed, meter }),
            Err(reason) => Err(rules.deny(&allowed.endpoint, reason)),
        }
    }

    /// Resolves, checks and dials; the connection, and the address that it leads to.
    pub(crate) async fn dial(&self, allowed: &Allowed) -> Result<(Conn, SocketAddr), Denial> {
        let dialled = dial(allowed, &self.settings.resolver, &self.recent, &self.settings.own).await;
        dialled
            .map(|(stream, address)| (Conn::dialled(stream), address))
            .map_err(|reason| self.now().deny(&allowed.endpoint, reason))
    }

    pub(crate) fn deny(&self, endpoint: &Endpoint, reason: Reason) -> Denial {
        self.now().deny(endpoint, reason)
    }

    pub(crate) fn refused(&self, way: Way, denial: Denial) {
        // At the end everything is cut, and nobody has refused it.
        if denial.reason == Reason::Withdrawn && self.rules.has_changed().is_err() {
            return;
        }
        self.events.record(Event::Refused { way, denial });
    }

    /// Returns when the rules no longer allow what they allowed.
    pub(crate) async fn withdrawn(&self, allowed: &Allowed) {
        let mut rules = self.rules.clone();
        loop {
            let still = matches!(rules.borrow_and_update().decide(&allowed.endpoint),
                Decision::Allow(now) if now.place == allowed.place && now.protocol == allowed.protocol);
            if !still || rules.changed().await.is_err() {
                return;
            }
        }
    }

    /// Returns when the rules no longer publish an address.
    pub(crate) async fn unpublished(&self, door: SocketAddr) {
        let mut rules = self.rules.clone();
        while rules.borrow_and_update().published().contains(&door) && rules.changed().await.is_ok() {}
    }
}
