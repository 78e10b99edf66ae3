//! `mantlet egress test`: what would happen to a destination, and why. It connects to nothing but the name servers.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use mantlet_egress::{Allowed, Candidate, Endpoint, Given, Place, Reason, Rules, Settings};
use mantlet_ledger::{escape, posix_word};
use mantlet_policy::{Accept, Advice, Agent, Budget, Grant, HttpRule, Origin, Protocol, Tier};
use serde_json::{Value, json};

use super::asked::{self, Asked};
use super::source_words;
use crate::policy_cmd::{SourceArgs, failed, json_text, load, print};

/// Say whether a destination would be reached, and why
///
/// By the same code that decides in a run, at its beginning. Allowed: the rule, what is judged of a connection, the
/// budgets, and each address that the name leads to now. Refused: the reason, and the call that would change it.
///
/// Exit code 0: it would be allowed. 1: refused. 125: there is no answer.
#[derive(Debug, Args)]
pub(super) struct TestArgs {
    /// HOST, HOST:PORT (443 if not given) or a URL, of which scheme, host, port and, for http, the path count
    #[arg(value_name = "DESTINATION")]
    destination: String,
    #[command(flatten)]
    source: SourceArgs,
    /// The agent; may be left out when there is only one
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// The method of the request, where requests are judged
    #[arg(long, value_name = "METHOD")]
    method: Option<String>,
    /// Ask no name server
    #[arg(long)]
    no_resolve: bool,
}

/// What was found out.
struct Verdict<'p> {
    agent: &'p Agent,
    /// As it is judged; what was written, escaped, where that is no destination.
    destination: String,
    allowed: Option<Allowed>,
    candidates: Vec<Candidate>,
    refused: Option<Refused>,
}

struct Refused {
    reason: String,
    /// What to do about it.
    hint: String,
    /// The `mantlet allow` call, where one helps.
    call: Option<String>,
}

/// Runs `mantlet egress test`.
pub(super) fn run(args: &TestArgs) -> anyhow::Result<ExitCode> {
    let asked = asked::read(&args.destination)?;
    let (host, loaded) = match load(&args.source, args.agent.as_deref()) {
        Ok(found) => found,
        Err(error) => return no_answer(&error, args.source.json),
    };
    let agent = match mantlet_sandbox::select(&loaded.policy, args.agent.as_deref(), None) {
        Ok(agent) => agent,
        Err(error) => return no_answer(&error, args.source.json),
    };
    let source = source_words(args.source.policy.as_deref(), &loaded, agent);
    let rules = Rules::compile(agent, &source).context("a rule of the policy cannot be compiled")?;
    let mut verdict =
        Verdict { agent, destination: String::new(), allowed: None, candidates: Vec::new(), refused: None };
    match asked {
        Asked::Unnamed(reason) => {
            verdict.destination = escape(args.destination.as_bytes());
            let denial = rules.deny_unnamed("", reason);
            verdict.refused = Some(Refused { reason: denial.reason.to_string(), hint: denial.hint, call: None });
        }
        Asked::Name { endpoint, speaks, path } => {
            verdict.destination = endpoint.to_string();
            let denial = match decide(&rules, &endpoint, speaks, path, args.method.as_deref()) {
                Ok(allowed) => {
                    let denied = resolve(&rules, &allowed, args, &mut verdict.candidates)?;
                    verdict.allowed = Some(allowed);
                    denied
                }
                Err(denial) => Some(denial),
            };
            verdict.refused = denial.map(|denial| refused(denial, &endpoint, agent, &host, &source));
        }
    }
    let text = if args.source.json { json_text(&verdict.json(&rules))? } else { verdict.text(&rules) };
    print(&text)?;
    Ok(if verdict.refused.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// A policy that is not valid is no refusal of the destination.
fn no_answer(error: &mantlet_sandbox::SourceError, json: bool) -> anyhow::Result<ExitCode> {
    failed(error, json).map(|_| ExitCode::from(crate::REFUSED))
}

fn decide(
    rules: &Rules,
    endpoint: &Endpoint,
    speaks: Option<Protocol>,
    path: Option<String>,
    method: Option<&str>,
) -> Result<Allowed, mantlet_egress::Denial> {
    let allowed = mantlet_egress::preview(rules, endpoint, None)?;
    let protocol = allowed.protocol;
    if let Some(speaks) = speaks.filter(|speaks| protocol != Protocol::Tcp && *speaks != protocol) {
        let why = format!("port {} of this policy is {}, not {}", endpoint.port, protocol.word(), speaks.word());
        return Err(rules.deny(endpoint, Reason::Request(why)));
    }
    if protocol == Protocol::Http && (path.is_some() || method.is_some()) {
        let request = (method.unwrap_or("GET"), path.as_deref().unwrap_or("/"));
        return mantlet_egress::preview(rules, endpoint, Some(request));
    }
    Ok(allowed)
}

/// Resolves as the server would; a refusal when that is what it would come to.
fn resolve(
    rules: &Rules,
    allowed: &Allowed,
    args: &TestArgs,
    into: &mut Vec<Candidate>,
) -> anyhow::Result<Option<mantlet_egress::Denial>> {
    if args.no_resolve {
        return Ok(None);
    }
    let found = mantlet_egress::addresses(allowed, &Settings::default()).context("cannot ask for addresses")?;
    let wrong = match found {
        Ok(found) => {
            *into = found;
            into.iter().find_map(|candidate| candidate.wrong.clone())
        }
        Err(reason) => Some(reason),
    };
    Ok(wrong.map(|reason| rules.deny(&allowed.endpoint, reason)))
}

fn refused(
    denial: mantlet_egress::Denial,
    endpoint: &Endpoint,
    agent: &Agent,
    host: &mantlet_sandbox::RealHost,
    source: &str,
) -> Refused {
    let reason = denial.reason.to_string();
    if !matches!(denial.reason, Reason::NoRule | Reason::OtherPort) {
        return Refused { reason, hint: denial.hint, call: None };
    }
    match mantlet_policy::advise(agent, &Grant::Host(endpoint.to_string()), host, source, posix_word) {
        Advice::Call(call) => Refused { reason, hint: call.clone(), call: Some(call) },
        Advice::Words(words) => Refused { reason, hint: words, call: None },
    }
}

/// What is judged of a connection.
fn judged(allowed: &Allowed) -> &'static str {
    match (allowed.protocol, allowed.given) {
        (Protocol::Tls, Given::ForReading) => {
            "the name in the handshake; for reading only, but what is inside is not seen"
        }
        (Protocol::Tls, _) => "the name in the handshake; what is inside is not seen",
        (Protocol::Http, Given::ForReading) => "every request: GET and HEAD, without a body and without credentials",
        (Protocol::Http, _) => "every request",
        (Protocol::Tcp, _) => "nothing inside: the name that was looked up decides",
    }
}

fn line(origin: &Origin) -> String {
    match origin {
        Origin::Line(line) => format!("line {line}"),
        Origin::Role(role) => format!("role {}", role.word()),
        Origin::Builtin => "built in".into(),
    }
}

fn request_rule(rule: &HttpRule) -> String {
    format!("{} of {} ({})", rule.methods.join(", "), rule.paths.join(", "), line(&rule.origin))
}

fn budget(budget: &Budget) -> String {
    let limits = [
        (budget.upload, "bytes outwards"),
        (budget.download, "bytes inwards"),
        (budget.requests, "requests or connections"),
        (budget.names, "different names"),
    ];
    let limits: Vec<String> = limits.iter().filter_map(|(limit, what)| Some(format!("{} {what}", (*limit)?))).collect();
    let whose = budget.host.as_deref().unwrap_or("all hosts");
    format!("{whose} together, in a run: {} ({})", limits.join(", "), line(&budget.origin))
}

impl Verdict<'_> {
    fn text(&self, rules: &Rules) -> String {
        let what = if self.refused.is_some() { "would be refused" } else { "would be allowed" };
        let mut text = format!("{}: {what} for agent {}\n", self.destination, self.agent.name());
        let mut row = |name: &str, says: String| text += &format!("  {name:<9} {}\n", escape(says.as_bytes()));
        if let Some(refused) = &self.refused {
            row("because", refused.reason.clone());
            row("hint", refused.hint.clone());
        }
        if let Some(allowed) = &self.allowed {
            row("rule", allowed.rule.clone());
            row("judged", format!("{} ({})", judged(allowed), allowed.protocol.word()));
            rules.http_rules(&allowed.endpoint).for_each(|rule| row("requests", request_rule(rule)));
            rules.budgets(&allowed.endpoint.name).for_each(|limit| row("budget", budget(limit)));
            for candidate in &self.candidates {
                row("address", format!("{} {}", candidate.address, self.fate(candidate)));
            }
        }
        if let Some(note) = self.note() {
            row("note", note.into());
        }
        text
    }

    fn fate(&self, candidate: &Candidate) -> String {
        match (&candidate.wrong, self.candidates.iter().any(|candidate| candidate.wrong.is_some())) {
            (Some(Reason::Special { what, .. }), _) => format!("would not be dialled: {what}"),
            (Some(other), _) => format!("would not be dialled: {other}"),
            (None, true) => "would not be dialled: another address of this name may not be".into(),
            (None, false) => "would be dialled".into(),
        }
    }

    fn json(&self, rules: &Rules) -> Value {
        let mut out = json!({
            "v": 1,
            "destination": self.destination,
            "agent": self.agent.name(),
            "allowed": self.refused.is_none(),
        });
        let mut put = |key: &str, value: Value| drop(out.as_object_mut().map(|out| out.insert(key.into(), value)));
        if let Some(refused) = &self.refused {
            put("reason", json!(refused.reason));
            put("hint", json!(refused.hint));
            put("call", json!(refused.call));
        }
        if let Some(allowed) = &self.allowed {
            put("rule", json!(allowed.rule));
            put("protocol", json!(allowed.protocol.word()));
            put("judged", json!(judged(allowed)));
            put("local", json!(matches!(allowed.place, Place::Fixed(_))));
            put(
                "requests",
                rules
                    .http_rules(&allowed.endpoint)
                    .map(|r| json!({"methods": r.methods, "paths": r.paths, "rule": line(&r.origin)}))
                    .collect(),
            );
            put("budgets", rules.budgets(&allowed.endpoint.name).map(|b| json!({"host": b.host, "upload": b.upload, "download": b.download, "requests": b.requests, "names": b.names, "rule": line(&b.origin)})).collect());
            let address = |c: &Candidate| json!({"address": c.address.to_string(), "wrong": c.wrong.as_ref().map(ToString::to_string)});
            put("addresses", self.candidates.iter().map(address).collect());
        }
        if let Some(note) = self.note() {
            put("note", json!(note));
        }
        out
    }

    /// What the agent's tier takes away, or opens.
    fn note(&self) -> Option<&'static str> {
        match (self.agent.tier(), self.agent.accepts(Accept::Unconfined)) {
            (Tier::Full, _) => None,
            (Tier::Landlock, false) => Some(
                "in tier landlock, which this agent may run in, a network cannot be confined by name, and there is none",
            ),
            (Tier::Landlock, true) => Some(
                "in tier landlock, which this agent may run in, the host's network is open: nothing of this holds there",
            ),
        }
    }
}
