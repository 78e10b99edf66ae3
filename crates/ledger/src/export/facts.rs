//! What every form wants to know of an entry, whatever its kind: in one place, so that no two forms say different things.

use std::borrow::Cow;

use crate::{Entry, Kind, escape, shorten};

/// How much a reader should care.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    /// As it should be.
    Informational,
    /// Something was refused: that is what a policy is for.
    Low,
    /// Somebody should look when there is time.
    Medium,
    /// Somebody should look now.
    High,
    /// What should have stopped has not.
    Critical,
}

/// What is common to all kinds.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    /// The kind's own name, as in the ledger.
    pub(super) kind: &'static str,
    /// How it ended.
    pub(super) outcome: &'a str,
    /// By which way it happened: a client, a way out, how a change was noticed, a channel, who stopped.
    pub(super) how: Option<&'a str>,
    /// What it is about: the command, the tool with its arguments, the host, the path.
    pub(super) subject: Cow<'a, str>,
    /// Why.
    pub(super) reason: Option<&'a str>,
    /// What allowed or denied it.
    pub(super) rule: Option<&'a str>,
    /// The call it belongs to.
    pub(super) call: Option<&'a str>,
    /// The client's session.
    pub(super) session: Option<&'a str>,
    /// How much a reader should care.
    pub(super) severity: Severity,
}

impl<'a> Facts<'a> {
    /// Those of an entry.
    pub(super) fn of(entry: &'a Entry) -> Facts<'a> {
        let facts = |outcome: &'a str, subject| Facts {
            kind: Facts::kind_of(&entry.kind),
            outcome,
            how: None,
            subject,
            reason: None,
            rule: None,
            call: None,
            session: None,
            severity: severity(&entry.kind),
        };
        match &entry.kind {
            Kind::Exec(exec) => Facts {
                reason: exec.reason.as_deref(),
                call: Some(&exec.call),
                session: exec.session.as_deref(),
                ..facts(&exec.tier, (&exec.command).into())
            },
            Kind::Tool(tool) => Facts {
                how: Some(&tool.client),
                reason: tool.reason.as_deref(),
                rule: tool.rule.as_deref(),
                session: tool.session.as_deref(),
                ..facts(&tool.decision, format!("{} {}", tool.tool, tool.input).into())
            },
            Kind::Egress(egress) => Facts {
                how: Some(&egress.way),
                reason: egress.reason.as_deref(),
                rule: egress.rule.as_deref(),
                call: egress.call.as_deref(),
                ..facts(&egress.outcome, (&egress.host).into())
            },
            Kind::Change(change) => Facts {
                how: Some(&change.what),
                reason: change.reason.as_deref(),
                call: change.culprit.as_ref().and_then(|culprit| culprit.call.as_deref()),
                ..facts(&change.outcome, (&change.path).into())
            },
            Kind::Alert(alert) => Facts {
                how: Some(&alert.channel),
                reason: alert.reason.as_deref(),
                ..facts(&alert.outcome, (&alert.subject).into())
            },
            Kind::Halt(halt) => Facts {
                how: Some(&halt.by),
                reason: halt.reason.as_deref(),
                ..facts(&halt.action, format!("{} jails ended, {} left", halt.ended, halt.left).into())
            },
            Kind::Ledger(upkeep) => {
                let bytes = upkeep.bytes.map_or(String::new(), |bytes| format!("{bytes} bytes"));
                facts(&upkeep.event, bytes.into())
            }
        }
    }

    /// A kind's name, as in the ledger.
    pub(super) fn kind_of(kind: &Kind) -> &'static str {
        match kind {
            Kind::Exec(_) => "exec",
            Kind::Tool(_) => "tool",
            Kind::Egress(_) => "egress",
            Kind::Change(_) => "change",
            Kind::Alert(_) => "alert",
            Kind::Halt(_) => "halt",
            Kind::Ledger(_) => "ledger",
        }
    }

    /// One line for a person, of a length that a list can show.
    pub(super) fn message(&self) -> String {
        let mut text = format!("{} {}", self.kind, self.outcome);
        for part in [self.how, Some(&self.subject), self.reason.map(|_| "-"), self.reason].into_iter().flatten() {
            if !part.is_empty() {
                text.push(' ');
                text.push_str(part);
            }
        }
        shorten(&escape(text.as_bytes()), 1000).into_owned()
    }
}

/// What is neither known to be harmless nor known to be bad is for somebody to look at.
fn severity(kind: &Kind) -> Severity {
    use Severity::{Critical, High, Informational, Low, Medium};
    match kind {
        Kind::Exec(exec) if !exec.findings.is_empty() => Medium,
        Kind::Exec(exec) => match exec.tier.as_str() {
            "refused" => Low,
            "full" | "landlock" if exec.reason.is_none() => Informational,
            "full" | "landlock" => Low,
            _ => Medium,
        },
        Kind::Tool(tool) => match tool.decision.as_str() {
            "denied" => Low,
            "allowed" | "jailed" | "ran" | "failed" => Informational,
            _ => Medium,
        },
        Kind::Egress(egress) => match egress.outcome.as_str() {
            "passed" => Informational,
            // A policy that could not be read again: the one from before is what holds.
            "refused" if egress.way == "policy" => Medium,
            "refused" => Low,
            _ => Medium,
        },
        Kind::Change(change) => match change.outcome.as_str() {
            "accepted" => Informational,
            "undone" => Medium,
            _ => High,
        },
        Kind::Alert(alert) => match alert.outcome.as_str() {
            "sent" => Informational,
            "held" => Low,
            _ => Medium,
        },
        Kind::Halt(halt) if halt.left > 0 => Critical,
        Kind::Halt(halt) if halt.action == "resume" => Informational,
        Kind::Halt(_) => High,
        Kind::Ledger(upkeep) => match upkeep.event.as_str() {
            "checkpoint" | "rotated" => Informational,
            "torn" => Low,
            _ => Medium,
        },
    }
}

/// `host:port` as its parts; the whole text as the host where it is not of that form.
pub(super) fn host_port(text: &str) -> (&str, Option<u16>) {
    let Some((host, port)) = text.rsplit_once(':') else { return (text, None) };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match (bare, port.parse()) {
        // `+80` is a number to Rust.
        (_, Ok(port)) if text.ends_with(char::is_numeric) && !text.contains("+") => match bare {
            Some(bare) => (bare, Some(port)),
            // An address of version 6 without brackets has no port.
            None if host.contains(':') => (text, None),
            None => (host, Some(port)),
        },
        _ => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::host_port;

    #[test]
    fn hosts_and_ports_are_told_apart() {
        assert_eq!(host_port("example.org:443"), ("example.org", Some(443)));
        assert_eq!(host_port("[2001:db8::1]:53"), ("2001:db8::1", Some(53)));
        for whole in ["example.org", "2001:db8::1", "a:", "a:70000", "a:+80", "a:-1", "", "various", "/etc/a:b"] {
            assert_eq!(host_port(whole), (whole, None));
        }
    }
}
