//! What an owner needs to know of one thing that happened. Text from agents is masked and escaped as it comes in, and cut:
//! no channel has to think of line breaks, terminal escapes, secrets or a path of a megabyte again.

use std::fmt::Write as _;
use std::time::SystemTime;

use mantlet_ledger::{Change, Culprit, Halt, escape, rfc3339, shorten};

/// One thing to tell. Every field is one line that any channel can carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    subject: String,
    what: String,
    when: String,
    who: String,
    outcome: String,
    next: String,
    count: u64,
    is_urgent: bool,
}

/// As many bytes of each field. All of them together fit the narrowest channel: 4096 bytes at ntfy.
const SUBJECT: usize = 180;
const WHAT: usize = 1500;
const SHORT: usize = 400;
/// `shorten` puts a note in the place of what it left out.
const NOTE: usize = 40;

/// Masked first: an escape in the middle of a token would hide it from the detectors.
fn clean(text: &str, most: usize) -> String {
    // Escaped once more after masking: what was escaped before is the same again.
    shorten(&escape(mantlet_dlp::mask(text).as_bytes()), most - NOTE).into_owned()
}

impl Alert {
    /// Makes an alert of this moment: what it is in short, and what happened.
    pub fn new(subject: &str, what: &str) -> Alert {
        Alert {
            subject: clean(subject, SUBJECT),
            what: clean(what, WHAT),
            when: rfc3339(SystemTime::now()),
            who: String::new(),
            outcome: String::new(),
            next: String::new(),
            count: 1,
            is_urgent: false,
        }
    }

    /// Says when it happened.
    #[must_use]
    pub fn when(self, when: &str) -> Alert {
        Alert { when: clean(when, 80), ..self }
    }
    /// Says who did it.
    #[must_use]
    pub fn who(self, who: &str) -> Alert {
        Alert { who: clean(who, SHORT), ..self }
    }
    /// Says how it stands now.
    #[must_use]
    pub fn outcome(self, outcome: &str) -> Alert {
        Alert { outcome: clean(outcome, SHORT), ..self }
    }
    /// Says what to do: a command.
    #[must_use]
    pub fn next(self, next: &str) -> Alert {
        Alert { next: clean(next, SHORT), ..self }
    }
    /// Says how often it happened.
    #[must_use]
    pub fn times(self, count: u64) -> Alert {
        Alert { count: count.max(1), ..self }
    }

    /// Says whether it must not wait behind others: something stands that should not, or everything was stopped.
    #[must_use]
    pub fn urgent_if(self, is_urgent: bool) -> Alert {
        Alert { is_urgent, ..self }
    }

    /// Makes the alert of a protected file that differed; `agent` is `-` where none is known.
    pub fn of_change(agent: &str, when: &str, change: &Change) -> Alert {
        let (verdict, outcome) = match change.outcome.as_str() {
            "undone" => ("put back", "It was put back as it was.".to_owned()),
            "reported" => ("NOT put back", "It stands as it was changed.".to_owned()),
            "locked" => {
                ("put back and locked", "It was put back, and made unchangeable after too many tries.".to_owned())
            }
            "accepted" => ("accepted", "It was accepted.".to_owned()),
            other => (other, format!("It is {other}.")),
        };
        let mut what = format!("{} was {}", change.path, done(&change.what));
        if !change.keys.is_empty() {
            write!(what, " ({})", change.keys.join(", ")).ok();
        }
        write!(what, "; noticed by {}, settled in {} ms.", change.noticed, change.took_ms).ok();
        if let Some(copy) = &change.copy {
            write!(what, " What was found is kept in {copy}.").ok();
        }
        let reason = change.reason.as_deref().map_or(String::new(), |why| format!(" {why}"));
        let next = match change.outcome.as_str() {
            "reported" => "mantlet log --kind change -n 20 (and to stop every agent: mantlet halt)",
            _ => "mantlet log --kind change -n 20",
        };
        // The end of a path says more than its beginning, and the verdict must not be cut off.
        let name = clean(&change.path, SUBJECT - 60);
        Alert::new(&format!("{verdict}: {name} was {}", done(&change.what)), &what)
            .when(when)
            .who(&culprit(agent, change.culprit.as_ref()))
            .outcome(&format!("{outcome}{reason}"))
            .next(next)
            .times(change.count)
            .urgent_if(!matches!(change.outcome.as_str(), "undone" | "accepted"))
    }

    /// Makes the alert of the kill switch.
    pub fn of_halt(when: &str, halt: &Halt) -> Alert {
        let reason = halt.reason.as_deref().unwrap_or("no reason was given");
        let alert = match halt.action.as_str() {
            "resume" => Alert::new("agents may run again", &format!("The halt was lifted: {reason}"))
                .outcome("Jails may start."),
            _ => {
                let subject = match halt.left {
                    0 => "everything was stopped".to_owned(),
                    left => format!("everything was stopped, but {left} jails could NOT be ended"),
                };
                let outcome = format!("{} jails were ended, {} could not be; none may start.", halt.ended, halt.left);
                Alert::new(&subject, &format!("Agents were halted: {reason}")).outcome(&outcome)
            }
        };
        let by = match halt.by.as_str() {
            "watch" => "the watch of protected files, after too many tries",
            other => other,
        };
        let next = match (halt.action.as_str(), halt.left) {
            ("resume", _) => "mantlet log --kind halt -n 20",
            (_, 0) => "mantlet log --kind halt,change -n 20, and when all is well: mantlet resume",
            _ => "mantlet halt (again: it names what could not be ended)",
        };
        alert.when(when).who(by).next(next).urgent_if(true)
    }

    /// Returns what tells two alerts apart: all but when it was and how often.
    pub(super) fn key(&self) -> [&str; 5] {
        [&self.subject, &self.what, &self.who, &self.outcome, &self.next]
    }

    pub(super) fn is_urgent(&self) -> bool {
        self.is_urgent
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Returns the line that stands above all; `host` is this machine's name, escaped.
    pub(super) fn title(&self, host: &str) -> String {
        format!("[{host}] {}", self.line())
    }

    /// Returns the subject, and how often.
    pub(super) fn line(&self) -> String {
        match self.count {
            1 => self.subject.clone(),
            count => format!("{} ({count} times)", self.subject),
        }
    }

    /// Returns the fields that have something, with their names.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = [
            ("what", self.what.as_str()),
            ("when", &self.when),
            ("who", &self.who),
            ("outcome", &self.outcome),
            ("next", &self.next),
        ];
        all.into_iter().filter(|(_, text)| !text.is_empty())
    }

    /// Returns all of it below the title, one line for each field.
    pub(super) fn body(&self) -> String {
        let mut body = String::new();
        for (name, text) in self.fields() {
            writeln!(body, "{name}: {text}").ok();
        }
        body
    }
}

/// The past of what was done, as it stands behind "was".
fn done(what: &str) -> String {
    match what {
        "mode" | "owner" => format!("given another {what}"),
        "xattr" | "attributes" => format!("given other {what}").replace("xattr", "extended attributes"),
        "keys" | "rows" => format!("changed in its {what}"),
        "mounted" => "covered by a mount".into(),
        "linked" => "given another name".into(),
        other => other.to_owned(),
    }
}

fn culprit(agent: &str, culprit: Option<&Culprit>) -> String {
    let mut parts = Vec::new();
    if agent != "-" && !agent.is_empty() {
        parts.push(format!("agent {agent}"));
    }
    match culprit {
        Some(culprit) => {
            parts.push(format!("pid {}", culprit.pid));
            parts.extend(culprit.uid.map(|uid| format!("uid {uid}")));
            parts.push(culprit.exe.clone().unwrap_or_else(|| "a program that had ended".into()));
            parts.extend(culprit.call.as_ref().map(|call| format!("in call {call}")));
        }
        None => parts.push("unknown: the kernel did not say which process".into()),
    }
    parts.join(", ")
}
