//! What a monitor does for a service that it does not for a command: it may run for months, so that what is told at a
//! command's end is told while it runs, and nothing that is kept of it grows without bound.

use std::io::Write as _;
use std::os::fd::AsFd;
use std::time::Instant;

use super::{Begun, jail::Jail};
use crate::live::Live;
use crate::outcome::Ending;
use crate::request::Kind;
use crate::tier::Extent;
use crate::whole::Network;
use crate::wire::{self, Tag};

impl Jail<'_> {
    /// Once the jail of a service stands, says so: in the ledger, to the person, and in the report so far.
    pub(super) fn tell_standing(&mut self, begun: Option<&mut Begun>, began: Instant) {
        if self.has_started || !self.is_built || self.plan.kind != Kind::Service {
            return;
        }
        self.has_started = true;
        let mut so_far = self.so_far();
        so_far.reason = Some("it runs".into());
        let report = so_far.report(self.plan, began);
        if let Some(begun) = begun {
            // One that cannot be written ends the call: nothing runs that could not be told of.
            if let Err(e) = begun.ledger.append(&so_far.entry(self.plan, &report.mechanisms, report.duration_ms)) {
                self.broken = Some(format!("the ledger could not be written: {e}"));
            }
        }
        self.facts = so_far.facts;
        let Some(whole) = &self.plan.whole else { return };
        let network = match whole.told.network {
            Network::None if self.plan.way_out.is_some() => "no network but what the policy allows",
            Network::None => "no network",
            Network::Host => "the host's network, not confined",
        };
        let lacking = |(name, extent): (&&str, &Extent)| match extent {
            Extent::Full(_) => None,
            Extent::Partial(_) => Some(format!("{name} in part")),
            Extent::None(_) => Some(format!("no {name}")),
        };
        let rest: Vec<String> =
            report.mechanisms.iter().filter(|(name, _)| **name != "network").filter_map(lacking).collect();
        let rest = if rest.is_empty() { String::new() } else { format!("; {}", rest.join(", ")) };
        let line = format!("{} runs in a jail of its own: {network}{rest}", self.plan.agent);
        let Ok(memfd) = rustix::fs::memfd_create("report", rustix::fs::MemfdFlags::CLOEXEC) else { return };
        let mut file = std::fs::File::from(memfd);
        let text = serde_json::to_string(&report).unwrap_or_default();
        // A client that is gone is noticed by its socket.
        drop(writeln!(file, "{text}").and_then(|()| {
            let line = &line.as_bytes()[..line.len().min(wire::MAX)];
            wire::send(self.client.as_fd(), Tag::Standing, line, &[file.as_fd()])
        }));
    }

    /// Writes down what the watch of a service has undone, and lets go of what is old.
    pub(super) fn tell_undone(&mut self, begun: Option<&mut Begun>, live: &mut Live, began: Instant) {
        if self.plan.kind != Kind::Service {
            return;
        }
        let new = live.take_new();
        if new.is_empty() {
            return;
        }
        let mut so_far = self.so_far();
        so_far.reason = Some("it runs; the review found something".into());
        so_far.findings = new;
        let report = so_far.report(self.plan, began);
        if let Some(begun) = begun
            && let Err(e) = begun.ledger.append(&so_far.entry(self.plan, &report.mechanisms, report.duration_ms))
        {
            self.broken = Some(format!("the ledger could not be written: {e}"));
        }
        self.facts = so_far.facts;
    }

    /// The call as if it ended now; it keeps the facts until they are given back.
    fn so_far(&mut self) -> Ending {
        let mut ending = Ending::exited(0);
        ending.tier = Some(self.tier);
        ending.facts = std::mem::take(&mut self.facts);
        ending
    }
}
