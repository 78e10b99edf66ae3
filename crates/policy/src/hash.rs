//! The hash of a policy: over what it means, not over how it is written. Every ledger entry carries it.
//!
//! The encoding is part of the evidence format: a change to it changes `FORMAT`.

use std::os::unix::ffi::OsStrExt as _;

use sha2::{Digest as _, Sha256};

use crate::alert::{Alert, Email, MailVia, Ntfy, SecretRef, Telegram, UrlRef, Webhook};
use crate::egress::{Budget, Egress, HttpRule};
use crate::evidence::{Ledger, Then, Watch};
use crate::sections::Web;
use crate::types::{Accept, Agent, Limits, PathRule, Policy};

const FORMAT: &str = "mantlet-policy-2";

/// Feeds fields to SHA-256, each with its length, so that no two policies share an encoding.
struct Encoder(Sha256);

impl Encoder {
    /// A part of a policy that is hashed by itself, to stand as one value.
    fn part() -> Self {
        Encoder(Sha256::new())
    }

    fn finish(self) -> Vec<u8> {
        self.0.finalize().to_vec()
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    fn field(&mut self, key: &str, value: &str) {
        self.bytes(key.as_bytes());
        self.bytes(value.as_bytes());
    }

    /// A list whose order means something.
    fn ordered(&mut self, key: &str, values: &[String]) {
        self.field(key, &values.len().to_string());
        values.iter().for_each(|value| self.bytes(value.as_bytes()));
    }

    /// A list whose order and repetitions mean nothing.
    fn set(&mut self, key: &str, mut values: Vec<Vec<u8>>) {
        values.sort_unstable();
        values.dedup();
        self.field(key, &values.len().to_string());
        values.iter().for_each(|value| self.bytes(value));
    }
}

/// Returns the SHA-256 of the compiled policy in lower-case hex.
pub(crate) fn of(policy: &Policy) -> String {
    let mut encoder = Encoder(Sha256::new());
    encoder.bytes(FORMAT.as_bytes());
    let mut agents: Vec<&Agent> = policy.agents.iter().collect();
    agents.sort_unstable_by_key(|agent| &agent.name);
    encoder.field("agents", &agents.len().to_string());
    agents.into_iter().for_each(|each| agent(&mut encoder, each));
    later(&mut encoder, policy);
    encoder.0.finalize().iter().fold(String::with_capacity(64), |hex, byte| hex + &format!("{byte:02x}"))
}

fn agent(encoder: &mut Encoder, agent: &Agent) {
    encoder.field("agent", &agent.name);
    encoder.field("role", agent.role.word());
    encoder.field("client", agent.client.as_deref().unwrap_or(""));
    encoder.bytes(agent.workspace.as_os_str().as_bytes());
    encoder.field("tier", agent.tier.word());
    encoder.field("accept.deny", if agent.accepts(Accept::Deny) { "yes" } else { "no" });
    // Came later: without it the hash is what it was.
    if agent.accepts(Accept::Unconfined) {
        encoder.field("accept.unconfined", "yes");
    }
    encoder.set("read", rules(&agent.files.read));
    encoder.set("write", rules(&agent.files.write));
    encoder.set("deny", rules(&agent.files.deny));
    encoder.set("protect", rules(&agent.files.protect));
    encoder.field("review", agent.files.review.word());
    encoder.field("writable", if agent.files.is_workspace_writable { "yes" } else { "no" });
    encoder.set("pass", strings(&agent.env.pass));
    encoder.field("set", &agent.env.set.len().to_string());
    agent.env.set.iter().for_each(|(name, value)| encoder.field(name, value));
    limits(encoder, &agent.limits);
    encoder.set("tools", strings(&agent.tools));
    egress(encoder, &agent.egress);
    encoder.set("publish", agent.publish.ports.iter().map(|port| port.to_string().into_bytes()).collect());
    encoder.field("exposed", agent.publish.exposed.as_deref().unwrap_or(""));
    encoder.field("dlp.out", agent.dlp.outward.word());
    encoder.field("dlp.in", agent.dlp.inward.word());
    let mut actions: Vec<_> = agent.actions.iter().collect();
    actions.sort_unstable_by_key(|action| &action.name);
    encoder.field("actions", &actions.len().to_string());
    actions.iter().for_each(|action| encoder.ordered(&action.name, &action.run));
}

fn egress(encoder: &mut Encoder, egress: &Egress) {
    encoder.set("egress", strings(&egress.allow));
    encoder.set("wide", strings(&egress.wide));
    encoder.field("web", if egress.web == Web::Read { "read" } else { "none" });
    encoder.field("ports", &egress.ports.len().to_string());
    egress.ports.iter().for_each(|(port, protocol)| encoder.field(&port.to_string(), protocol.word()));
    encoder
        .set("local", egress.local.iter().map(|local| format!("{} {}", local.name, local.to).into_bytes()).collect());
    // Each rule is one value of a set; inside it every part carries its length.
    let rule = |rule: &HttpRule| {
        let mut inner = Encoder::part();
        inner.field("host", &rule.host);
        inner.set("methods", strings(&rule.methods));
        inner.set("paths", strings(&rule.paths));
        inner.finish()
    };
    encoder.set("http", egress.http.iter().map(rule).collect());
    let budget = |budget: &Budget| {
        let mut inner = Encoder::part();
        inner.field("host", budget.host.as_deref().unwrap_or(""));
        for (key, value) in [
            ("upload", budget.upload),
            ("download", budget.download),
            ("requests", budget.requests),
            ("names", budget.names),
        ] {
            inner.field(key, &value.map_or_else(String::new, |value| value.to_string()));
        }
        inner.finish()
    };
    encoder.set("budgets", egress.budgets.iter().map(budget).collect());
}

fn limits(encoder: &mut Encoder, limits: &Limits) {
    for (key, value) in [
        ("memory", u128::from(limits.memory)),
        ("processes", u128::from(limits.processes)),
        ("time", limits.time.as_millis()),
        ("cpu", limits.cpu.as_millis()),
        ("open_files", u128::from(limits.open_files)),
        ("file_size", u128::from(limits.file_size)),
        ("disk", u128::from(limits.disk)),
        ("disk_files", u128::from(limits.disk_files)),
        ("tmpfs", u128::from(limits.tmpfs)),
        ("output", u128::from(limits.output)),
    ] {
        encoder.field(key, &value.to_string());
    }
}

fn later(encoder: &mut Encoder, policy: &Policy) {
    let mut credentials: Vec<_> = policy.credentials.iter().collect();
    credentials.sort_unstable_by_key(|credential| &credential.name);
    encoder.field("credentials", &credentials.len().to_string());
    for credential in credentials {
        encoder.field(&credential.name, &credential.from);
        encoder.field("use", &credential.used_for);
    }
    let mut handoffs: Vec<_> = policy.handoffs.iter().collect();
    handoffs.sort_unstable_by_key(|handoff| &handoff.name);
    encoder.field("handoffs", &handoffs.len().to_string());
    for handoff in handoffs {
        encoder.field(&handoff.name, &handoff.from);
        encoder.field("to", &handoff.to);
    }
    encoder.set("watch", policy.watch.as_ref().map_or_else(Vec::new, |watch| rules(&watch.files)));
    evidence(encoder, policy);
    encoder.ordered("alert", policy.alert.as_ref().map_or(&[], |alert| &alert.command));
    if let Some(alert) = &policy.alert {
        channels(encoder, alert);
    }
}

/// Came later: without them the hash is what it was.
/// What is as usual adds nothing, so that a policy without it keeps its hash.
fn evidence(encoder: &mut Encoder, policy: &Policy) {
    if let Some(Watch { has_bootstrap, has_memory, has_system, rescan, tries, then, .. }) = &policy.watch {
        let told = (*has_bootstrap, *has_memory, *has_system, *rescan, *tries, *then);
        if told != (false, false, false, Watch::RESCAN, Watch::TRIES, Then::Lock) {
            encoder.field("watch.how", &format!("{told:?}"));
        }
    }
    if let Some(ledger) = &policy.ledger {
        let Ledger { is_durable, runs_when_full, segment, age, keep, anchors, anchor_command, origin: _ } = ledger;
        let told = (is_durable, runs_when_full, segment, age, keep, anchors, anchor_command);
        encoder.field("ledger", &format!("{told:?}"));
    }
}

fn channels(encoder: &mut Encoder, alert: &Alert) {
    let secret = |secret: &SecretRef| match secret {
        SecretRef::File(path) => [b"file ", path.as_os_str().as_bytes()].concat(),
        SecretRef::Vault(name) => [b"vault ", name.as_bytes()].concat(),
    };
    let maybe = |held: &Option<SecretRef>| held.as_ref().map_or_else(Vec::new, secret);
    let mut part = |key: &str, fields: &[&[u8]]| {
        encoder.field(key, &fields.len().to_string());
        fields.iter().for_each(|field| encoder.bytes(field));
    };
    if alert.is_on_desktop {
        part("alert.desktop", &[]);
    }
    if (alert.per_hour, alert.burst) != Alert::USUAL {
        part("alert.limits", &[&alert.per_hour.to_le_bytes(), &alert.burst.to_le_bytes()]);
    }
    if let Some(Webhook { url, key }) = &alert.webhook {
        let url = match url {
            UrlRef::Plain(url) => [b"plain ", url.as_bytes()].concat(),
            UrlRef::Secret(held) => secret(held),
        };
        part("alert.webhook", &[&url, &maybe(key)]);
    }
    if let Some(Ntfy { url, topic, token }) = &alert.ntfy {
        part("alert.ntfy", &[url.as_bytes(), topic.as_bytes(), &maybe(token)]);
    }
    if let Some(Telegram { url, chat, token }) = &alert.telegram {
        part("alert.telegram", &[url.as_bytes(), chat.as_bytes(), &secret(token)]);
    }
    if let Some(Email { from, to, via }) = &alert.email {
        let way = match via {
            MailVia::Program(path) => [b"program ", path.as_os_str().as_bytes()].concat(),
            MailVia::Server { host, port, security, .. } => format!("{}://{host}:{port}", security.word()).into_bytes(),
        };
        let login = match via {
            MailVia::Server { login: Some((user, password)), .. } => vec![user.as_bytes().to_vec(), secret(password)],
            _ => Vec::new(),
        };
        let fields: Vec<&[u8]> = [from.as_bytes(), &way]
            .into_iter()
            .chain(login.iter().map(Vec::as_slice))
            .chain([b"to".as_slice()])
            .chain(to.iter().map(String::as_bytes))
            .collect();
        part("alert.email", &fields);
    }
}

/// A rule is its path where it has one, so that `~/x` and its whole path are the same rule.
fn rules(rules: &[PathRule]) -> Vec<Vec<u8>> {
    rules
        .iter()
        .map(|rule| match &rule.path {
            Some(path) => [b"path ", path.as_os_str().as_bytes()].concat(),
            None => [b"glob ", rule.pattern.as_bytes()].concat(),
        })
        .collect()
}

fn strings(values: &[String]) -> Vec<Vec<u8>> {
    values.iter().map(|value| value.as_bytes().to_vec()).collect()
}
