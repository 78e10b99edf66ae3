//! What stands between whoever notices something and the channels: the caller leaves an alert and goes on at once.
//!
//! One thread keeps the limits, one for each channel sends. Everything that waits is bounded; what did not go is in the
//! ledger. The attack: a server that hangs, so that what watches files waits for it while they are changed.

use std::collections::VecDeque;
use std::io::Write as _;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use mantlet_ledger::{Entry, Kind, OpenError, Writer, escape, rfc3339};
use mantlet_policy::{Agent, Policy};

use super::channel::{Channel, Settings, configured, prepare};
use super::limit::{Limiter, Verdict};
use super::{Alert, SendError};

/// Keeps what became of an alert. It may take its time: it is called by threads of the outbox only.
pub type Record = Arc<dyn Fn(mantlet_ledger::Alert) + Send + Sync>;

/// As many messages as wait for one channel: fewer than the limits let through while it tries one three times.
const WAITING: usize = 16;

/// Returns a record that appends to the ledger in `dir`, kept as the policy says, and that says on standard error what it
/// could not append.
///
/// # Errors
/// The ledger cannot be opened.
pub fn into_ledger(dir: &Path, policy: &Policy) -> Result<Record, OpenError> {
    let workspaces: Vec<&Path> = policy.agents().iter().map(Agent::workspace).collect();
    let keep = mantlet_sandbox::ledger_keep(policy.ledger());
    let writer = Mutex::new(Writer::open_with(dir, &workspaces, keep)?);
    let policy = policy.hash().to_owned();
    Ok(Arc::new(move |alert| {
        let time = rfc3339(SystemTime::now());
        let kind = Kind::Alert(alert);
        let entry = Entry { v: 1, time, agent: "-".into(), policy: policy.clone(), kind, chain: None };
        if let Err(error) = writer.lock().unwrap_or_else(PoisonError::into_inner).append(&entry) {
            let text = escape(error.to_string().as_bytes());
            // When standard error is closed as well, there is nobody left to tell.
            drop(writeln!(std::io::stderr(), "mantlet: an alert is missing in the ledger: {text}"));
        }
    }))
}

/// Tells the owner. Dropped, it sends what it has and what it held, without being waited for.
pub struct Alerter {
    shared: Arc<Shared>,
    /// Ends when the last thread has.
    over: Receiver<()>,
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

struct State {
    limiter: Limiter,
    /// What the limits let through. They bound it, too: it is emptied at once.
    ready: VecDeque<Alert>,
    first_held: Option<Alert>,
    is_closing: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Alerter {
    /// Starts the threads that tell.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn start(settings: Settings, record: Record) -> std::io::Result<Alerter> {
        let limiter = Limiter::new(settings.policy.per_hour, settings.policy.burst);
        let state = State { limiter, ready: VecDeque::new(), first_held: None, is_closing: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), wake: Condvar::new() });
        let (alive, over) = channel::<()>();
        let settings = Arc::new(settings);
        let mut lines = Vec::new();
        for way in configured(&settings.policy) {
            let (line, messages) = sync_channel::<Arc<Alert>>(WAITING);
            let (settings, record, alive) = (Arc::clone(&settings), Arc::clone(&record), alive.clone());
            thread::Builder::new().name(format!("alert-{}", way.word())).spawn(move || {
                messages.iter().for_each(|alert| deliver(&settings, way, &alert, &record));
                drop(alive);
            })?;
            lines.push((way, line));
        }
        let desk = Desk { shared: Arc::clone(&shared), lines, record };
        thread::Builder::new().name("alert".into()).spawn(move || {
            desk.run();
            drop(alive);
        })?;
        Ok(Alerter { shared, over })
    }

    /// Leaves an alert. It returns at once, whatever the channels do.
    pub fn raise(&self, alert: Alert) {
        let mut state = self.shared.lock();
        match state.limiter.take(alert, Instant::now()) {
            Verdict::Send(alert) => state.ready.push_back(alert),
            Verdict::FirstHeld(alert) => state.first_held = Some(alert),
            Verdict::Held => return,
        }
        self.shared.wake.notify_one();
    }

    /// Sends what there is, and waits for that as long as given. Answers whether everything was settled.
    #[must_use]
    pub fn close(self, patience: Duration) -> bool {
        self.shared.lock().is_closing = true;
        self.shared.wake.notify_one();
        matches!(self.over.recv_timeout(patience), Err(RecvTimeoutError::Disconnected))
    }
}

impl Drop for Alerter {
    fn drop(&mut self) {
        self.shared.lock().is_closing = true;
        self.shared.wake.notify_one();
    }
}

/// The thread that keeps the limits.
struct Desk {
    shared: Arc<Shared>,
    lines: Vec<(Channel, SyncSender<Arc<Alert>>)>,
    record: Record,
}

/// What the desk does next, taken out of the lock.
struct Work {
    ready: Vec<Alert>,
    first_held: Option<Alert>,
    summed: Option<(Alert, u64)>,
    is_over: bool,
}

impl Desk {
    fn run(&self) {
        loop {
            let work = self.wait();
            work.ready.into_iter().for_each(|alert| self.pass_on(alert));
            if let Some(alert) = work.first_held {
                // At once, so that it is known even if this process does not live to sum it up.
                (self.record)(entry("all", "held", &alert, Some("more than the limits let through".into()), 1));
            }
            if let Some((alert, total)) = work.summed {
                if total > 1 {
                    (self.record)(entry("all", "held", &alert, Some("told in one message".into()), total));
                }
                self.pass_on(alert);
            }
            if work.is_over {
                return;
            }
        }
    }

    /// Waits until there is something to do.
    fn wait(&self) -> Work {
        let mut state = self.shared.lock();
        loop {
            let now = Instant::now();
            let is_over = state.is_closing;
            let summed = if is_over { state.limiter.close(now) } else { state.limiter.flush(now) };
            let (ready, first_held) = (state.ready.drain(..).collect::<Vec<_>>(), state.first_held.take());
            if is_over || summed.is_some() || first_held.is_some() || !ready.is_empty() {
                return Work { ready, first_held, summed, is_over };
            }
            state = match state.limiter.due(now) {
                None => self.shared.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(due) => {
                    let length = due.saturating_duration_since(now);
                    self.shared.wake.wait_timeout(state, length).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    fn pass_on(&self, alert: Alert) {
        let alert = Arc::new(alert);
        for (way, line) in &self.lines {
            let why = match line.try_send(Arc::clone(&alert)) {
                Ok(()) => continue,
                Err(TrySendError::Full(_)) => "too many messages wait for this channel",
                Err(TrySendError::Disconnected(_)) => "the channel's thread has ended",
            };
            (self.record)(entry(way.word(), "failed", &alert, Some(why.into()), alert.count()));
        }
    }
}

/// Tries a message up to three times; the secret is read anew for each message, and the message is the same in each try.
fn deliver(settings: &Settings, way: Channel, alert: &Alert, record: &Record) {
    let sent = prepare(settings, way, alert).and_then(|prepared| {
        for pause in settings.pace.pauses {
            match prepared.send(&settings.pace) {
                Err(error) if !error.is_final() => thread::sleep(pause),
                other => return other,
            }
        }
        prepared.send(&settings.pace)
    });
    record(settled(way, alert, sent.err().as_ref()));
}

/// Returns the ledger's entry of a message that was tried by one channel.
#[must_use]
pub fn settled(way: Channel, alert: &Alert, error: Option<&SendError>) -> mantlet_ledger::Alert {
    let outcome = if error.is_some() { "failed" } else { "sent" };
    entry(way.word(), outcome, alert, error.map(ToString::to_string), alert.count())
}

fn entry(channel: &str, outcome: &str, alert: &Alert, reason: Option<String>, count: u64) -> mantlet_ledger::Alert {
    let reason = reason.map(|why| escape(why.as_bytes()));
    mantlet_ledger::Alert { channel: channel.into(), outcome: outcome.into(), subject: alert.line(), reason, count }
}
