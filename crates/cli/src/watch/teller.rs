//! What a watch reports, told: to the ledger, to the owner, and on standard error.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use mantlet_daemon::alert::{Alert, Alerter};
use mantlet_ledger::{Change, Entry, Kind, Writer, escape, rfc3339};
use mantlet_sandbox::halt::By;
use mantlet_watch::{Notice, Report};

/// Tells.
pub(super) struct Teller {
    pub(super) ledger: Writer,
    pub(super) alerter: Option<Alerter>,
    pub(super) policy: String,
    /// The owner's state directory.
    pub(super) state: PathBuf,
}

impl Teller {
    /// Completes a change by the call in whose jail its culprit runs; returns the agent.
    fn attribute(&self, change: &mut Change) -> String {
        let Some(culprit) = &mut change.culprit else { return "-".into() };
        let Some((call, agent)) = mantlet_sandbox::call_of(&self.state, culprit.pid) else { return "-".into() };
        culprit.call = Some(call);
        agent
    }

    fn write(&mut self, agent: String, change: Change) {
        let (time, policy) = (rfc3339(SystemTime::now()), self.policy.clone());
        let entry = Entry { v: 1, time, agent, policy, kind: Kind::Change(change), chain: None };
        if let Err(error) = self.ledger.append(&entry) {
            let why = escape(error.to_string().as_bytes());
            say(&format!("a change is missing in the ledger: {why}"));
            let alert =
                Alert::new("the ledger cannot be written", &format!("A change could not be written down: {why}"));
            self.raise(alert.next("free some disk space, and then: mantlet log verify"));
        }
    }

    pub(super) fn raise(&self, alert: Alert) {
        if let Some(alerter) = &self.alerter {
            alerter.raise(alert);
        }
    }

    /// Something about the watch as such: that it was killed, or that somebody holds it.
    pub(super) fn own(&mut self, change: Change) {
        say(&format!("{} was {}: {}", change.path, change.what, change.outcome));
        let is_to_be_told = change.outcome != "accepted";
        let alert = Alert::of_change("-", &rfc3339(SystemTime::now()), &change);
        self.write("-".into(), change);
        if is_to_be_told {
            self.raise(alert);
        }
    }

    /// Ends, once what was raised is settled or has had its time.
    pub(super) fn close(self) {
        if let Some(alerter) = self.alerter
            && !alerter.close(Duration::from_secs(10))
        {
            say("an alert did not go out in time");
        }
    }
}

impl Report for Teller {
    fn change(&mut self, mut change: Change) {
        let agent = self.attribute(&mut change);
        let keys = if change.keys.is_empty() { String::new() } else { format!(" ({})", change.keys.join(", ")) };
        say(&format!("{}: {} was {}{keys}, {} ms", change.outcome, change.path, change.what, change.took_ms));
        if change.outcome != "accepted" {
            self.raise(Alert::of_change(&agent, &rfc3339(SystemTime::now()), &change));
        }
        self.write(agent, change);
    }

    fn halt(&mut self, path: &Path, tries: u64) {
        let what = format!("{} was changed {tries} times", escape(path.as_os_str().as_encoded_bytes()));
        match mantlet_sandbox::halt(By::Watch, Some(&what)) {
            Ok(done) => {
                say(&format!("halted: {what}; {} jails ended, {} left", done.ended, done.left.len()));
                let alert = Alert::new("everything was stopped", &format!("Agents were halted: {what}."));
                let outcome =
                    format!("{} jails were ended, {} could not be; none may start.", done.ended, done.left.len());
                self.raise(
                    alert
                        .who("the watch of protected files")
                        .outcome(&outcome)
                        .next("mantlet log --kind change,halt, and when all is well: mantlet resume"),
                );
            }
            Err(refusal) => {
                say(&format!("NOT halted: {refusal}"));
                self.raise(
                    Alert::new("a halt failed", &format!("{what}, and everything was to be stopped."))
                        .next("mantlet halt"),
                );
            }
        }
    }

    fn notice(&mut self, notice: Notice) {
        let some = |paths: &[std::path::PathBuf]| {
            let names = paths.iter().take(8).map(|path| escape(path.as_os_str().as_encoded_bytes()));
            names.collect::<Vec<_>>().join(", ")
        };
        say(&match notice {
            Notice::Made { paths } => format!("there was no baseline: {paths} paths are one now, as they stand"),
            Notice::Added { paths } => format!("new in the baseline, as they stand: {}", some(&paths)),
            Notice::Overflow => "more events than the kernel keeps: everything is looked at again".into(),
            Notice::ClockSet => "the clock was set: everything is read again".into(),
            Notice::Unwatched { count, some: paths } => {
                format!("{count} are looked at by interval only, not watched for events: {}", some(&paths))
            }
            Notice::Uncopied { count, some: paths } => {
                format!("{count} cannot be put back, for they are too large or unreadable: {}", some(&paths))
            }
            Notice::Unsigned { why } => format!("the baseline could not be written: {}", escape(why.as_bytes())),
            _ => "something that this version has no words for".into(),
        });
    }
}

/// For the journal of the service. When nobody reads it, nothing is lost.
pub(super) fn say(text: &str) {
    drop(writeln!(std::io::stderr(), "mantlet watch: {text}"));
}
