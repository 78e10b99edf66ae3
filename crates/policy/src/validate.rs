//! From the file as written to the policy as meant. The only place where a [`Policy`] is made.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::path::Path;

use crate::agent::agent;
use crate::alert_judge::alert;
use crate::error::{Fault, Faults, PolicyErrors, escape, nearest};
use crate::file::{AgentFile, CredentialFile, HandoffFile, PolicyFile};
use crate::read::At;
use crate::sections::{Credential, Handoff};
use crate::types::{Host, Origin, Policy};
use crate::{evidence, hash, names, roles};

/// The version of the format that this program reads.
pub(crate) const VERSION: u64 = 1;

/// Reads and validates a policy file.
///
/// # Errors
/// Everything that is wrong with it, with line, column and what to do.
pub fn parse(text: &str, origin: &Path, host: &dyn Host) -> Result<Policy, PolicyErrors> {
    let mut faults = Faults::new(text);
    let (root, errors) = toml::de::DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        // A tree rebuilt around syntax errors would only report their consequences.
        for error in errors {
            let at = error.span().map_or(0, |span| span.start);
            faults.add(at, Fault::Syntax(escape(error.message())), syntax_hint(error.message()));
        }
        return Err(faults.into_errors(origin));
    }
    let file = PolicyFile::read(root.get_ref(), &mut faults);
    match file.version {
        Some(At { value, at }) if value != VERSION => {
            let fault = Fault::UnknownValue { key: "version".into(), value: value.to_string() };
            faults.add(at, fault, format!("this Mantlet reads `version = {VERSION}`"));
        }
        _ => {}
    }
    finish(file, faults, origin, host)
}

/// Makes the policy of an agent without a file: a builder with this workspace and nothing else.
///
/// # Errors
/// A name or workspace that no policy may have.
pub fn default_policy(agent_name: &str, workspace: &Path, host: &dyn Host) -> Result<Policy, PolicyErrors> {
    let mut faults = Faults::unwritten();
    let section = AgentFile { role: Some(At::new("builder".to_owned(), 0)), ..AgentFile::default() };
    check_name(agent_name, 0, "agent", &mut faults);
    let built = agent(agent_name.to_owned(), 0, &section, Some(workspace), host, &mut faults);
    match (built, faults.is_empty()) {
        (Some(mut agent), true) => {
            agent.lines = BTreeMap::new();
            Ok(sealed(Policy { agents: vec![agent], ..empty() }))
        }
        _ => Err(faults.into_errors(Path::new("(no policy file)"))),
    }
}

fn syntax_hint(message: &str) -> &'static str {
    match message.contains("duplicate") {
        true => "write each key and section once",
        false => "the format is TOML, https://toml.io",
    }
}

fn empty() -> Policy {
    Policy {
        agents: Vec::new(),
        credentials: Vec::new(),
        handoffs: Vec::new(),
        ledger: None,
        watch: None,
        alert: None,
        hash: String::new(),
    }
}

fn sealed(mut policy: Policy) -> Policy {
    policy.hash = hash::of(&policy);
    policy
}

fn finish(file: PolicyFile, mut faults: Faults<'_>, origin: &Path, host: &dyn Host) -> Result<Policy, PolicyErrors> {
    let mut policy = empty();
    for (name, section) in &file.agents {
        check_name(&name.value, name.at, "agent", &mut faults);
        policy.agents.extend(agent(name.value.clone(), name.at, section, None, host, &mut faults));
    }
    doors(&file, &policy, &mut faults);
    for (name, section) in &file.credentials {
        policy.credentials.extend(credential(name, section, &mut faults));
    }
    let agents: HashSet<&str> = file.agents.iter().map(|(name, _)| name.value.as_str()).collect();
    for (name, section) in &file.handoffs {
        policy.handoffs.extend(handoff(name, section, &agents, &mut faults));
    }
    if let Some(section) = &file.ledger {
        let ledger = evidence::ledger(section, host, &mut faults);
        evidence::out_of_reach(&ledger, section.at, &policy.agents, &mut faults);
        policy.ledger = Some(ledger);
    }
    policy.watch = file.watch.as_ref().map(|section| evidence::watch(section, host, &mut faults));
    if let Some(section) = &file.alert {
        policy.alert = Some(alert(section, &policy, host, &mut faults));
    }
    match faults.is_empty() {
        true => Ok(sealed(policy)),
        false => Err(faults.into_errors(origin)),
    }
}

/// Refuses an agent a way to another's door, or its own: it would come to that gateway from the owner's loopback, as the owner.
fn doors(file: &PolicyFile, policy: &Policy, faults: &mut Faults<'_>) {
    let published = || policy.agents.iter().flat_map(|agent| agent.publish().addresses());
    let entries = file.agents.iter().flat_map(|(_, section)| &section.egress.local);
    for to in entries.filter_map(|entry| entry.to.as_ref()) {
        let Ok(address) = to.value.parse::<SocketAddr>() else { continue };
        let leads_there = |door: &SocketAddr| {
            door.port() == address.port() && (door.ip() == address.ip() || door.ip().is_unspecified())
        };
        if published().any(leads_there) {
            let fault = Fault::Conflict(format!("`{address}` leads to what an agent publishes"));
            faults.add(to.at, fault, "an agent would come in there as its owner; it has no way to a gateway");
        }
    }
}

pub(crate) fn check_name(name: &str, at: usize, what: &'static str, faults: &mut Faults<'_>) {
    if let Err(why) = names::name(name) {
        faults.add(at, Fault::BadValue { what, value: escape(name), why }, "choose a plain name, such as `main`");
    }
}

/// Checks an argument vector that Mantlet itself would run: whole, and its program without a search.
pub(crate) fn argv(list: &[At<String>], at: usize, what: &'static str, faults: &mut Faults<'_>) -> Vec<String> {
    match list.first() {
        None => {
            let fault = Fault::BadValue { what, value: "[]".into(), why: "no program".into() };
            faults.add(at, fault, "write the program and its arguments, each as one string");
        }
        Some(program) if program.value.is_empty() => {
            let fault = Fault::BadValue { what, value: String::new(), why: "the program has no name".into() };
            faults.add(program.at, fault, "write the program first");
        }
        Some(_) => {}
    }
    for argument in list {
        if argument.value.contains('\0') {
            let fault =
                Fault::BadValue { what, value: escape(&argument.value), why: "no argument has a NUL in it".into() };
            faults.add(argument.at, fault, "remove it");
        }
    }
    list.iter().map(|argument| argument.value.clone()).collect()
}

/// Reads a word that must be one of a few.
pub(crate) fn word<T: Copy>(text: &At<String>, key: &str, words: &[(&str, T)], faults: &mut Faults<'_>) -> Option<T> {
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text.value) {
        return Some(*value);
    }
    let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let hint = match nearest(&text.value, &all) {
        Some(near) => format!("did you mean `{near}`? possible: {}", all.join(", ")),
        None => format!("possible: {}", all.join(", ")),
    };
    faults.add(text.at, Fault::UnknownValue { key: key.to_owned(), value: escape(&text.value) }, hint);
    None
}

fn credential(name: &At<String>, section: &CredentialFile, faults: &mut Faults<'_>) -> Option<Credential> {
    if let Err(why) = names::variable(&name.value) {
        let fault = Fault::BadValue { what: "credential", value: escape(&name.value), why };
        faults.add(name.at, fault, "name it as the environment variable it appears under, such as `ANTHROPIC_API_KEY`");
    }
    let from = word(section.from.as_ref()?, "from", &[("vault", "vault")], faults)?;
    let used_for = section.used_for.as_ref()?;
    check_name(&used_for.value, used_for.at, "use", faults);
    let origin = Origin::Line(faults.line(name.at));
    Some(Credential { name: name.value.clone(), from: from.to_owned(), used_for: used_for.value.clone(), origin })
}

fn handoff(
    name: &At<String>,
    section: &HandoffFile,
    agents: &HashSet<&str>,
    faults: &mut Faults<'_>,
) -> Option<Handoff> {
    check_name(&name.value, name.at, "handoff", faults);
    let (from, to) = (section.from.as_ref()?, section.to.as_ref()?);
    for (key, side) in [("from", from), ("to", to)] {
        let is_role = roles::PRESETS.iter().any(|preset| preset.word == side.value);
        if !agents.contains(side.value.as_str()) && !is_role {
            let fault = Fault::UnknownValue { key: key.into(), value: escape(&side.value) };
            faults.add(side.at, fault, "name an agent of this file, or a role");
        }
    }
    if from.value == to.value {
        faults.add(to.at, Fault::Conflict("a handoff from an agent to itself".into()), "name another agent");
    }
    let origin = Origin::Line(faults.line(name.at));
    Some(Handoff { name: name.value.clone(), from: from.value.clone(), to: to.value.clone(), origin })
}
