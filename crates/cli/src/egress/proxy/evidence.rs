//! What the proxy writes down: entries without a call, folded so that a flood is one line.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use anyhow::Context as _;
use mantlet_egress::Event;
use mantlet_ledger::{Book, Egress, Entry, Kind, Writer, escape, rfc3339, shorten};

/// The ledger as the server's thread and the main one share it.
pub(super) struct Evidence {
    agent: String,
    inner: Mutex<Inner>,
}

struct Inner {
    book: Book,
    ledger: Writer,
    policy: String,
    /// The first failure; after it nothing is served.
    failed: Option<anyhow::Error>,
}

impl Evidence {
    pub(super) fn new(ledger: Writer, agent: &str, policy: &str) -> Evidence {
        let inner = Inner { book: Book::default(), ledger, policy: policy.to_owned(), failed: None };
        Evidence { agent: agent.to_owned(), inner: Mutex::new(inner) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an event of the server.
    pub(super) fn record(&self, event: Event) {
        let inner = &mut *self.inner();
        if let Some(entry) = inner.book.take(entry(event), Instant::now()) {
            inner.write(&self.agent, entry);
        }
    }

    /// Writes what is due.
    ///
    /// # Errors
    /// Something could not be written, now or since the last time.
    pub(super) fn tick(&self) -> anyhow::Result<()> {
        let inner = &mut *self.inner();
        for entry in inner.book.flush(Instant::now()) {
            inner.write(&self.agent, entry);
        }
        // What fails leaves it larger than it should be; the next call's monitor tries as well.
        drop(inner.ledger.tidy_rotated());
        inner.result()
    }

    /// Writes down that another policy is in force.
    pub(super) fn reloaded(&self, policy: &str, file: &Path) -> anyhow::Result<()> {
        let inner = &mut *self.inner();
        inner.policy = policy.to_owned();
        inner.write(&self.agent, of_policy("passed", file, None));
        inner.result()
    }

    /// Writes down that a changed policy is not used.
    pub(super) fn not_reloaded(&self, why: &str, file: &Path) -> anyhow::Result<()> {
        let inner = &mut *self.inner();
        inner.write(&self.agent, of_policy("refused", file, Some(clean(why, 1000))));
        inner.result()
    }

    /// Writes everything that was not told yet.
    pub(super) fn close(&self) -> anyhow::Result<()> {
        let inner = &mut *self.inner();
        for entry in std::mem::take(&mut inner.book).close() {
            inner.write(&self.agent, entry);
        }
        inner.result()
    }
}

impl Inner {
    fn write(&mut self, agent: &str, egress: Egress) {
        let entry = Entry {
            v: 1,
            time: rfc3339(SystemTime::now()),
            agent: agent.to_owned(),
            policy: self.policy.clone(),
            kind: Kind::Egress(egress),
            chain: None,
        };
        if let Err(error) = self.ledger.append(&entry) {
            self.failed.get_or_insert(error.into());
        }
    }

    fn result(&mut self) -> anyhow::Result<()> {
        self.failed.take().map_or(Ok(()), Err).context("what passes cannot be written down, so that nothing may")
    }
}

/// Text from a client, as it may be stored.
fn clean(text: &str, most: usize) -> String {
    shorten(&escape(mantlet_dlp::mask(text).as_bytes()), most).into_owned()
}

fn of_policy(outcome: &str, file: &Path, reason: Option<String>) -> Egress {
    Egress {
        call: None,
        outcome: outcome.into(),
        way: "policy".into(),
        host: escape(file.as_os_str().as_encoded_bytes()),
        rule: None,
        reason,
        address: None,
        up: 0,
        down: 0,
        count: 1,
    }
}

fn entry(event: Event) -> Egress {
    let entry = mantlet_daemon::told(event).entry;
    Egress {
        host: clean(&entry.host, 300),
        rule: entry.rule.map(|rule| clean(&rule, 400)),
        reason: entry.reason.map(|reason| clean(&reason, 1000)),
        ..entry
    }
}
