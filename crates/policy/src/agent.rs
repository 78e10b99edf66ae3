//! One `[agent.X]` section validated. Called by `validate` only.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::{Fault, Faults, escape};
use crate::file::AgentFile;
use crate::read::At;
use crate::sections::{Dlp, DlpMode, NamedAction, Publish};
use crate::types::{Accept, Agent, Env, Host, Origin, Role, Tier};
use crate::validate::{argv, check_name, word};
use crate::{names, place};

const ROLES: &[(&str, Role)] =
    &[("scout", Role::Scout), ("builder", Role::Builder), ("operator", Role::Operator), ("public", Role::Public)];
const TIERS: &[(&str, Tier)] = &[("full", Tier::Full), ("landlock", Tier::Landlock)];
const MODES: &[(&str, DlpMode)] = &[("block", DlpMode::Block), ("redact", DlpMode::Redact), ("warn", DlpMode::Warn)];

/// What the parts of one section share.
pub(crate) struct Place<'h> {
    pub(crate) role: Role,
    pub(crate) workspace: PathBuf,
    pub(crate) host: &'h dyn Host,
    /// Without a role and a workspace nothing relative has a meaning; the rest is judged as a builder's in `/`,
    /// so that its other errors show in the same run.
    pub(crate) is_whole: bool,
    lines: BTreeMap<String, usize>,
}

/// Validates one section; `given` is the workspace when there is no file to name it.
pub(crate) fn agent(
    name: String,
    at: usize,
    section: &AgentFile,
    given: Option<&Path>,
    host: &dyn Host,
    faults: &mut Faults<'_>,
) -> Option<Agent> {
    let role = choice(&section.role, "role", ROLES, faults);
    let workspace = match (given, &section.workspace) {
        (Some(path), _) => checked_workspace(path, at, host, faults),
        (None, Some(text)) => written_workspace(text, host, faults),
        (None, None) => None,
    };
    let mut place = Place {
        is_whole: role.is_some() && workspace.is_some(),
        role: role.unwrap_or(Role::Builder),
        workspace: workspace.unwrap_or_else(|| "/".into()),
        host,
        lines: BTreeMap::new(),
    };
    for (key, text) in [
        ("role", &section.role),
        ("client", &section.client),
        ("workspace", &section.workspace),
        ("tier", &section.tier),
    ] {
        place.note(key.to_owned(), text.as_ref().map(|text| text.at), faults);
    }
    let accepted = section.accept.iter().flatten().next();
    place.note("accept".into(), accepted.map(|text| text.at), faults);
    place.build(name, section, faults)
}

fn written_workspace(text: &At<String>, host: &dyn Host, faults: &mut Faults<'_>) -> Option<PathBuf> {
    match place::literal(&text.value, None, host.home()) {
        Ok(path) => checked_workspace(&path, text.at, host, faults),
        Err(why) => {
            let fault = Fault::BadValue { what: "workspace", value: escape(&text.value), why };
            faults.add(text.at, fault, "write an absolute path, or one that begins with `~/`");
            None
        }
    }
}

fn checked_workspace(path: &Path, at: usize, host: &dyn Host, faults: &mut Faults<'_>) -> Option<PathBuf> {
    match place::workspace(path, host) {
        Ok(real) => Some(real),
        Err((why, hint)) => {
            faults.add(at, Fault::Workspace { path: place::show(path), why }, hint);
            None
        }
    }
}

impl Place<'_> {
    fn build(mut self, name: String, section: &AgentFile, faults: &mut Faults<'_>) -> Option<Agent> {
        let is_whole = self.is_whole;
        let built = Agent {
            name,
            role: self.role,
            client: self.client(section, faults),
            tier: choice(&section.tier, "tier", TIERS, faults).unwrap_or(Tier::Full),
            accept: self.accept(section, faults),
            files: self.files(section, faults),
            env: self.env(section, faults),
            limits: self.limits(&section.limits, faults),
            tools: self.list(
                &section.tools,
                "tools.allow",
                "tool",
                names::tool_owned,
                "write the name as the client shows it",
                faults,
            ),
            egress: self.egress(&section.egress, faults),
            publish: self.publish(section, faults),
            dlp: self.dlp(section, faults),
            actions: self.actions(section, faults),
            workspace: self.workspace,
            lines: self.lines,
        };
        is_whole.then_some(built)
    }

    fn client(&self, section: &AgentFile, faults: &mut Faults<'_>) -> Option<String> {
        let clients: Vec<(&str, &str)> = names::CLIENTS.iter().map(|id| (*id, *id)).collect();
        choice(&section.client, "client", &clients, faults).map(str::to_owned)
    }

    fn accept(&self, section: &AgentFile, faults: &mut Faults<'_>) -> Vec<Accept> {
        let written = section.accept.iter().flatten();
        let words = &[("deny", Accept::Deny), ("unconfined", Accept::Unconfined)];
        written.filter_map(|what| word(what, "accept", words, faults)).collect()
    }

    pub(crate) fn note(&mut self, key: String, at: Option<usize>, faults: &Faults<'_>) {
        if let Some(at) = at {
            self.lines.insert(key, faults.line(at));
        }
    }

    fn env(&mut self, section: &AgentFile, faults: &mut Faults<'_>) -> Env {
        let pass = self.list(
            &section.pass,
            "env.pass",
            "environment name",
            variable,
            "write the name only, without `$` or `=`",
            faults,
        );
        let mut set = BTreeMap::new();
        for (name, value) in &section.set {
            if let Err(why) = names::variable(&name.value) {
                let fault = Fault::BadValue { what: "environment name", value: escape(&name.value), why };
                faults.add(name.at, fault, "write the name only, without `$` or `=`");
            }
            if value.value.contains('\0') {
                let fault = Fault::BadValue {
                    what: "environment value",
                    value: escape(&value.value),
                    why: "it has a NUL in it".into(),
                };
                faults.add(value.at, fault, "remove it");
            }
            if pass.contains(&name.value) {
                let fault = Fault::Conflict(format!("`{}` is both passed and set", escape(&name.value)));
                faults.add(name.at, fault, "keep one of the two");
            }
            self.note(format!("env.set.{}", name.value), Some(name.at), faults);
            set.insert(name.value.clone(), value.value.clone());
        }
        Env { pass, set }
    }

    /// A list of names, each checked and made canonical, without repetitions.
    pub(crate) fn list<T: PartialEq + ToString>(
        &mut self,
        list: &Option<Vec<At<String>>>,
        key: &str,
        what: &'static str,
        read: fn(&str) -> Result<T, String>,
        hint: &str,
        faults: &mut Faults<'_>,
    ) -> Vec<T> {
        let mut found = Vec::new();
        for text in list.iter().flatten() {
            match read(&text.value) {
                Ok(value) if found.contains(&value) => {}
                Ok(value) => {
                    self.note(format!("{key}.{}", value.to_string()), Some(text.at), faults);
                    found.push(value);
                }
                Err(why) => faults.add(text.at, Fault::BadValue { what, value: escape(&text.value), why }, hint),
            }
        }
        found
    }

    fn publish(&mut self, section: &AgentFile, faults: &mut Faults<'_>) -> Publish {
        let Some(At { value: (ports, exposed), at }) = &section.publish else {
            return Publish::default();
        };
        self.note("publish".into(), Some(*at), faults);
        let hint = "write `address:port`, such as `127.0.0.1:18789`";
        let checked = self.list(ports, "publish.ports", "address", names::listener, hint, faults);
        if let Some(reason) = exposed.as_ref().filter(|reason| reason.value.trim().is_empty()) {
            faults.add(
                reason.at,
                Fault::Conflict("`exposed` gives no reason".into()),
                "say why it must be reachable from other machines",
            );
        }
        for port in ports.iter().flatten().filter(|_| exposed.is_none()) {
            if names::listener(&port.value).is_ok_and(|port| !port.ip().is_loopback()) {
                let fault = Fault::Conflict(format!("`{}` can be reached from other machines", escape(&port.value)));
                faults.add(port.at, fault, "publish on 127.0.0.1, or add `exposed = \"the reason\"`");
            }
        }
        Publish { ports: checked, exposed: exposed.as_ref().map(|reason| reason.value.clone()) }
    }

    fn dlp(&mut self, section: &AgentFile, faults: &mut Faults<'_>) -> Dlp {
        let preset = self.role.preset().dlp;
        self.note("dlp.out".into(), section.dlp_out.as_ref().map(|text| text.at), faults);
        self.note("dlp.in".into(), section.dlp_in.as_ref().map(|text| text.at), faults);
        let mut mode = |text: &Option<At<String>>, key, default| {
            text.as_ref().and_then(|text| word(text, key, MODES, faults)).unwrap_or(default)
        };
        Dlp {
            outward: mode(&section.dlp_out, "out", preset.outward),
            inward: mode(&section.dlp_in, "in", preset.inward),
        }
    }

    fn actions(&mut self, section: &AgentFile, faults: &mut Faults<'_>) -> Vec<NamedAction> {
        let mut actions = Vec::new();
        for (name, run) in &section.actions {
            check_name(&name.value, name.at, "action", faults);
            if self.is_whole && self.role != Role::Operator {
                let fault = Fault::Conflict(format!("a {} has no actions", self.role.word()));
                faults.add(name.at, fault, "actions run outside the jail; only `role = \"operator\"` has them");
            }
            let Some(run) = run else { continue };
            let run = argv(run, name.at, "run", faults);
            actions.push(NamedAction { name: name.value.clone(), run, origin: Origin::Line(faults.line(name.at)) });
        }
        actions
    }
}

/// Reads a word that may be absent.
pub(crate) fn choice<T: Copy>(
    text: &Option<At<String>>,
    key: &str,
    words: &[(&str, T)],
    faults: &mut Faults<'_>,
) -> Option<T> {
    word(text.as_ref()?, key, words, faults)
}

fn variable(name: &str) -> Result<String, String> {
    names::variable(name).map(|()| name.to_owned())
}
