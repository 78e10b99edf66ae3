//! A policy in plain sentences, each with the rule behind it, and with what is not enforced yet said so.

use serde::Serialize;

use crate::alert::{Alert, MailVia, UrlRef};
use crate::egress::Protocol;
use crate::error::escape;
use crate::evidence::{Ledger, Then};
use crate::place::show;
use crate::roles::Preset;
use crate::sections::Web;
use crate::types::{Accept, Agent, Exec, Origin, PathRule, Policy, Review, Role, Tier};
use crate::units::{show_size, show_time};

/// Whether anything acts on a sentence in this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Enforced {
    /// The jail does.
    Jail,
    /// The decision on each tool call does, where the client asks `mantlet hook` first, and only there.
    Hook,
    /// `mantlet watch` does, as long as it runs.
    Watch,
    /// Nothing does yet: the section is checked and hashed only.
    NotYet,
}

/// One sentence of an explanation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sentence {
    /// The agent it is about; none for the file as a whole.
    pub agent: Option<String>,
    /// What holds.
    pub says: String,
    /// The rule behind it: `line 7`, `role builder`, `built in`.
    pub rule: String,
    /// Whether anything acts on it.
    pub enforced: Enforced,
}

impl std::fmt::Display for Sentence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.enforced {
            Enforced::Jail => write!(f, "{} ({})", self.says, self.rule),
            Enforced::Hook => write!(f, "{} (by `mantlet hook`, and only there; {})", self.says, self.rule),
            Enforced::Watch => write!(f, "{} (while `mantlet watch run` runs; {})", self.says, self.rule),
            Enforced::NotYet => write!(f, "{} (not enforced yet; {})", self.says, self.rule),
        }
    }
}

/// Collects the sentences about one agent, or about the file.
struct Speaker<'a> {
    agent: Option<&'a Agent>,
    out: Vec<Sentence>,
}

/// Says what a policy means; for one agent, or for all and the file.
pub fn explain(policy: &Policy, only: Option<&Agent>) -> Vec<Sentence> {
    let mut out = Vec::new();
    for agent in policy.agents().iter().filter(|agent| only.is_none_or(|only| only.name() == agent.name())) {
        let mut speaker = Speaker { agent: Some(agent), out };
        speaker.basics(agent);
        speaker.files(agent);
        speaker.surroundings(agent);
        speaker.later(agent);
        out = speaker.out;
    }
    if only.is_none() {
        let mut speaker = Speaker { agent: None, out };
        speaker.whole(policy);
        out = speaker.out;
    }
    out
}

impl Speaker<'_> {
    fn say(&mut self, enforced: Enforced, rule: String, says: impl Into<String>) {
        let agent = self.agent.map(|agent| agent.name().to_owned());
        self.out.push(Sentence { agent, says: says.into(), rule, enforced });
    }

    /// The line of a key, or the preset behind it when it was not written.
    fn line(&self, key: &str, preset: String) -> String {
        let written = self.agent.and_then(|agent| agent.line(key));
        written.map_or(preset, |line| format!("line {line}"))
    }

    fn basics(&mut self, agent: &Agent) {
        let preset = agent.role().preset();
        let role = role(agent);
        let rule = self.line("role", "built in".into());
        self.say(
            Enforced::Jail,
            rule,
            format!("Agent `{}` is a {}: it {}.", agent.name(), preset.word, preset.purpose),
        );
        if let Some(client) = agent.client() {
            let rule = self.line("client", "built in".into());
            self.say(Enforced::Jail, rule, format!("It runs in {client}."));
        }
        match agent.exec() {
            Exec::Jailed => self.say(Enforced::Jail, role, "Its commands run, each in a jail of its own."),
            Exec::Refused => self.say(Enforced::Jail, role, "Its commands are refused, with exit code 125."),
        }
        let tier = match agent.tier() {
            Tier::Full => "A command runs only with the full jail; where the host gives less, it is refused.",
            Tier::Landlock => "Where the host gives no namespaces, a command runs with Landlock and seccomp only.",
        };
        let rule = self.line("tier", "built in".into());
        self.say(Enforced::Jail, rule, tier);
        if agent.accepts(Accept::Deny) {
            let rule = self.line("accept", "built in".into());
            self.say(
                Enforced::Jail,
                rule,
                "With Landlock only, `deny` and `protect` do not hold inside what it may write: accepted by the owner.",
            );
        }
        if agent.accepts(Accept::Unconfined) {
            let rule = self.line("accept", "built in".into());
            self.say(
                Enforced::Jail,
                rule,
                "With Landlock only, it has the host's whole network, its loopback included, and no host rule holds: \
                 accepted by the owner.",
            );
        }
    }

    fn files(&mut self, agent: &Agent) {
        let files = agent.files();
        let workspace = show(agent.workspace());
        // A role that has no commands has its file tools only.
        let enforced = by_jail(agent);
        let rule = self.line("workspace", "built in".into());
        let says = match files.is_workspace_writable() {
            true => format!("It can read and write its workspace {workspace}."),
            false => format!("It can read its workspace {workspace}, and write only what follows."),
        };
        self.say(enforced, rule, says);
        for rule in files.write() {
            self.say(enforced, origin(rule.origin()), format!("It can write {}.", place(rule)));
        }
        for rule in files.read() {
            self.say(enforced, origin(rule.origin()), format!("It can read {}.", place(rule)));
        }
        for rule in files.deny() {
            self.say(
                enforced,
                origin(rule.origin()),
                format!("{} is absent for it, also when it appears later.", place(rule)),
            );
        }
        for rule in files.protect() {
            self.say(enforced, origin(rule.origin()), format!("It can read {}, and not write it.", place(rule)));
        }
        let protects = "It cannot write what other programs execute or obey by themselves (git hooks, editor and agent settings, .envrc, AGENTS.md ...), except its own memory files and what is named above.";
        self.say(enforced, "built in".into(), protects);
        self.say(enforced, "built in".into(), "Of your home, other homes, /tmp, /run and /var it sees nothing else.");
        let review = match files.review() {
            Review::Report => "At the end of a call, new files of that kind are named in the report.",
            Review::Quarantine => "At the end of a call, new files of that kind are moved out of the workspace.",
            Review::Fail => {
                "At the end of a call, new files of that kind are moved out of the workspace, and the call fails."
            }
        };
        let rule = self.line("files.review", "built in".into());
        self.say(enforced, rule, review);
    }

    fn surroundings(&mut self, agent: &Agent) {
        let env = agent.env();
        self.say(Enforced::Jail, "built in".into(), "Its environment is HOME, USER, PATH, LANG, TERM and TZ.");
        for name in env.pass() {
            let rule = self.line(&format!("env.pass.{name}"), "built in".into());
            self.say(Enforced::Jail, rule, format!("It gets {name} with the value that the caller has."));
        }
        for name in env.set().keys() {
            let rule = self.line(&format!("env.set.{name}"), "built in".into());
            self.say(Enforced::Jail, rule, format!("It gets {name} with the value in the file."));
        }
        self.limits(agent);
        let says = match agent.egress().is_closed() {
            true => "It has no network but its own loopback.",
            false => "It has no network but its own loopback, and the way out that follows.",
        };
        self.say(Enforced::Jail, "built in".into(), says);
    }

    fn limits(&mut self, agent: &Agent) {
        let limits = agent.limits();
        for (key, says) in [
            ("memory", format!("All processes of a call together have {} of memory.", show_size(limits.memory))),
            ("processes", format!("A call has at most {} processes and threads at a time.", limits.processes)),
            ("time", format!("A call ends after {}.", show_time(limits.time))),
            ("cpu", format!("A call ends after {} of processor time.", show_time(limits.cpu))),
            ("open_files", format!("A process has at most {} files open.", limits.open_files)),
            ("file_size", format!("No file grows beyond {}.", show_size(limits.file_size))),
            ("disk", format!("A call writes at most {}.", show_size(limits.disk))),
            ("disk_files", format!("A call makes at most {} files.", limits.disk_files)),
            ("tmpfs", format!("Its private /tmp and home hold {}.", show_size(limits.tmpfs))),
            ("output", format!("A call prints at most {}.", show_size(limits.output))),
        ] {
            let rule = self.line(&format!("limits.{key}"), "built in".into());
            self.say(Enforced::Jail, rule, says);
        }
    }

    fn later(&mut self, agent: &Agent) {
        let preset = role(agent);
        self.way_out(agent);
        for port in agent.publish().addresses() {
            let rule = self.line(&format!("publish.ports.{port}"), preset.clone());
            let says = format!("What listens inside `mantlet run` on {port} can be reached from outside.");
            self.say(Enforced::Jail, rule, says);
        }
        let dlp = agent.dlp();
        for (key, way, mode) in [("out", "out", dlp.outward), ("in", "in", dlp.inward)] {
            let rule = self.line(&format!("dlp.{key}"), preset.clone());
            self.say(Enforced::NotYet, rule, format!("A secret on its way {way}: {}.", mode.word()));
        }
        for tool in agent.tools() {
            let rule = self.line(&format!("tools.allow.{tool}"), preset.clone());
            self.say(Enforced::Hook, rule, format!("It may use the tool {tool}."));
        }
        for action in agent.actions() {
            let run: Vec<String> = action.run.iter().map(|word| escape(word)).collect();
            let says = format!(
                "After your yes, `{}` would run outside the jail; until approvals exist it is refused.",
                run.join(" ")
            );
            self.say(Enforced::NotYet, origin(&action.origin), says);
        }
    }

    fn way_out(&mut self, agent: &Agent) {
        let (preset, egress) = (role(agent), agent.egress());
        for (key, list) in [("allow", egress.allow()), ("wide", egress.wide())] {
            for endpoint in list {
                let rule = self.line(&format!("egress.{key}.{endpoint}"), preset.clone());
                let port = endpoint.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(443);
                let judged = judged(egress.protocol(port));
                self.say(Enforced::Jail, rule, format!("It may reach {endpoint}, {judged}."));
            }
        }
        for local in egress.local() {
            let says = format!("Under the name {} it may reach {}.", local.name, local.to);
            self.say(Enforced::Jail, origin(&local.origin), says);
        }
        for rule in egress.http() {
            let says =
                format!("Of {} it may ask only {} of {}.", rule.host, rule.methods.join(", "), rule.paths.join(", "));
            self.say(Enforced::Jail, origin(&rule.origin), says);
        }
        for budget in egress.budgets() {
            let mut parts = Vec::new();
            parts.extend(budget.upload.map(|bytes| format!("{} out", show_size(bytes))));
            parts.extend(budget.download.map(|bytes| format!("{} in", show_size(bytes))));
            parts.extend(budget.requests.map(|count| format!("{count} requests")));
            parts.extend(budget.names.map(|count| format!("{count} different names")));
            let host = budget.host.as_deref().unwrap_or("all hosts together");
            let says = format!("In one run, {host}: at most {}.", parts.join(", "));
            self.say(Enforced::Jail, origin(&budget.origin), says);
        }
        if egress.web() == Web::Read {
            let rule = self.line("egress.web", preset);
            let says = "It may read any public web page: GET and HEAD, no body, no credential; over TLS only the name is judged.";
            self.say(Enforced::Jail, rule, says);
        }
    }

    fn ledger(&mut self, ledger: &Ledger) {
        let rule = origin(&ledger.origin);
        let safe = if ledger.is_durable { "on the disk" } else { "written" };
        self.say(
            Enforced::Jail,
            rule.clone(),
            format!("An entry of the ledger is {safe} before a command's end is told."),
        );
        let full = if ledger.runs_when_full { "runs untold, and says so" } else { "does not start" };
        self.say(Enforced::Jail, rule.clone(), format!("A command that the disk has no room to tell of {full}."));
        let (segment, age, keep) = (show_size(ledger.segment), show_time(ledger.age), show_size(ledger.keep));
        let says = format!("The ledger's files end at {segment} or {age}; beyond {keep} the oldest are dropped.");
        self.say(Enforced::Jail, rule, says);
    }

    fn whole(&mut self, policy: &Policy) {
        for credential in policy.credentials() {
            let says = format!(
                "The credential {} comes from the {} and goes only where `{}` says.",
                credential.name, credential.from, credential.used_for
            );
            self.say(Enforced::NotYet, origin(&credential.origin), says);
        }
        for handoff in policy.handoffs() {
            let says = format!("Files may pass from {} to {}.", handoff.from, handoff.to);
            self.say(Enforced::NotYet, origin(&handoff.origin), says);
        }
        if let Some(ledger) = policy.ledger() {
            self.ledger(ledger);
        }
        if let Some(watch) = policy.watch() {
            let then = match watch.then {
                Then::Report => "is told of and slowed down",
                Then::Lock => "finds the file locked",
                Then::Halt => "ends every jail",
            };
            let says = format!("Who makes {} changes within ten seconds that are undone {then}.", watch.tries);
            self.say(Enforced::Watch, origin(&watch.origin), says);
        }
        if let Some(watch) = policy.watch() {
            for file in &watch.files {
                let says = format!("Changes of {} are undone.", place(file));
                self.say(Enforced::Watch, origin(file.origin()), says);
            }
        }
        if let Some(alert) = policy.alert() {
            self.alert(alert);
        }
    }

    fn alert(&mut self, alert: &Alert) {
        let mut ways = Vec::new();
        if !alert.command.is_empty() {
            ways.push(format!("through `{}`", escape(&alert.command.join(" "))));
        }
        if alert.is_on_desktop {
            ways.push("on the desktop".into());
        }
        if let Some(webhook) = &alert.webhook {
            let url = match &webhook.url {
                UrlRef::Plain(url) => escape(url),
                UrlRef::Secret(held) => format!("the URL in {}", held.place()),
            };
            let signed = if webhook.key.is_some() { ", signed" } else { "" };
            ways.push(format!("by JSON to {url}{signed}"));
        }
        if let Some(ntfy) = &alert.ntfy {
            ways.push(format!("through the topic {} of {}", ntfy.topic, ntfy.url));
        }
        if let Some(telegram) = &alert.telegram {
            ways.push(format!("in the chat {} through {}", telegram.chat, telegram.url));
        }
        if let Some(email) = &alert.email {
            let via = match &email.via {
                MailVia::Program(path) => show(path),
                MailVia::Server { host, port, security, .. } => format!("{}://{host}:{port}", security.word()),
            };
            ways.push(format!("by e-mail to {} through {via}", email.to.join(", ")));
        }
        let line = origin(&alert.origin);
        for way in ways {
            self.say(ALERTS, line.clone(), format!("You are told {way}."));
        }
        let says = format!(
            "Of alerts, at most {} come in an hour and {} in a minute; the others are summed up.",
            alert.per_hour, alert.burst
        );
        self.say(ALERTS, line, says);
    }
}

/// The watch raises them; `mantlet alert test` tries the channels at any time.
const ALERTS: Enforced = Enforced::Watch;

fn judged(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tls => "encrypted, by the name that the connection asks for",
        Protocol::Http => "each request by itself",
        Protocol::Tcp => "unseen inside",
    }
}

fn by_jail(agent: &Agent) -> Enforced {
    match agent.exec() {
        Exec::Jailed => Enforced::Jail,
        Exec::Refused => Enforced::Hook,
    }
}

fn role(agent: &Agent) -> String {
    format!("role {}", agent.role().word())
}

fn origin(origin: &Origin) -> String {
    match origin {
        Origin::Role(role) => format!("role {}", role.word()),
        Origin::Builtin => "built in".into(),
        Origin::Line(line) => format!("line {line}"),
    }
}

fn place(rule: &PathRule) -> String {
    rule.path().map_or_else(|| format!("`{}`", escape(rule.pattern())), show)
}

/// Says to an agent itself what is possible and how to ask: at most 20 lines, for its own instructions.
pub fn for_agent(agent: &Agent) -> String {
    let Preset { word, purpose, .. } = *agent.role().preset();
    let files = agent.files();
    let name = agent.name();
    let mut lines = vec![format!(
        "You run under Mantlet as agent `{name}`, a {word} ({purpose}). The kernel holds these limits; no instruction changes them."
    )];
    let workspace = show(agent.workspace());
    lines.push(match agent.exec() {
        Exec::Jailed => "- Commands run in a jail. Everything they start ends with the call.".into(),
        Exec::Refused => "- Commands are refused (exit code 125). Do not retry them in another form.".into(),
    });
    lines.push(match files.is_workspace_writable() {
        true => format!("- You can read and write {workspace}."),
        false => format!("- You can read {workspace}."),
    });
    for (verb, rules) in [("write", files.write()), ("read", files.read())] {
        if !rules.is_empty() {
            lines.push(format!("- You can also {verb}: {}", few(rules)));
        }
    }
    if !files.deny().is_empty() {
        lines.push(format!("- Absent for you: {}", few(files.deny())));
    }
    if !files.protect().is_empty() {
        lines.push(format!("- Read-only for you: {}", few(files.protect())));
    }
    lines.push("- Read-only as well: git hooks and config, editor and agent settings, .envrc, AGENTS.md and the like. Your memory files stay writable.".into());
    lines.push(
        "- /tmp and your home are private and empty at the start of each call; keep what should last in the workspace."
            .into(),
    );
    lines.push(network(agent));
    let limits = agent.limits();
    lines.push(format!(
        "- A call has {}, {} of memory and {} processes.",
        show_time(limits.time),
        show_size(limits.memory),
        limits.processes
    ));
    lines.push("A denial names its rule and is final: do not look for a way around it. If your task needs more, ask the owner to run one of:".into());
    if agent.role() != Role::Scout && agent.role() != Role::Public {
        lines.push(format!("  mantlet allow --agent {name} --env NAME"));
    }
    lines.push(format!("  mantlet allow --agent {name} --read PATH   (or --write PATH)"));
    lines.push(format!("  mantlet allow --agent {name} --host HOST:PORT   (or --tool NAME)"));
    lines.join("\n") + "\n"
}

fn network(agent: &Agent) -> String {
    let egress = agent.egress();
    if egress.is_closed() {
        return "- There is no network except 127.0.0.1 inside the call.".into();
    }
    let local = egress.local().iter().map(|local| format!("{}:{}", local.name, local.to.port()));
    let web = (egress.web() == Web::Read).then(|| "public web pages (GET and HEAD)".to_owned());
    let hosts: Vec<String> =
        web.into_iter().chain(egress.allow().iter().chain(egress.wide()).cloned()).chain(local).collect();
    format!("- Of the network you reach these by name, and nothing else: {}", first(&hosts))
}

/// A few rules on one line.
fn few(rules: &[PathRule]) -> String {
    first(&rules.iter().map(|rule| escape(rule.pattern())).collect::<Vec<_>>())
}

/// The first of a list: it is for orientation, the kernel knows the whole one.
fn first(all: &[String]) -> String {
    const MOST: usize = 8;
    let shown = all.get(..MOST).unwrap_or(all).join(", ");
    match all.len().saturating_sub(MOST) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{SKETCH, read};

    #[test]
    fn each_section_of_the_sketch_is_explained_with_its_line() {
        let policy = read(SKETCH).unwrap();
        let text: Vec<String> = explain(&policy, None).iter().map(ToString::to_string).collect();
        for wanted in [
            "Agent `main` is a builder: it makes things. (line 4)",
            "It can read /home/ann/reference. (line 9)",
            "`**/.env` is absent for it, also when it appears later. (line 10)",
            "All processes of a call together have 2GiB of memory. (line 18)",
            "A call ends after 20m of processor time. (built in)",
            "It may reach *.npmjs.org:443, encrypted, by the name that the connection asks for. (line 14)",
            "What listens inside `mantlet run` on 127.0.0.1:18789 can be reached from outside. (line 16)",
            "A secret on its way out: redact. (not enforced yet; line 22)",
            "Files may pass from scout to main. (not enforced yet; line 27)",
            "Changes of /home/ann/.openclaw/openclaw.json are undone. (while `mantlet watch run` runs; line 31)",
            "You are told through `notify-send`. (while `mantlet watch run` runs; line 32)",
        ] {
            assert!(text.iter().any(|line| line == wanted), "{wanted}\n{text:#?}");
        }
        assert!(text.iter().any(|line| line.contains("ANTHROPIC_API_KEY") && line.contains("not enforced yet")));
    }

    #[test]
    fn an_agent_is_told_in_twenty_lines_at_most() {
        let many: Vec<String> = (0..100).map(|n| format!("\"/opt/x{n}\"")).collect();
        let many = many.join(",");
        for role in ["scout", "builder", "operator", "public"] {
            let write = if role == "builder" || role == "operator" { many.as_str() } else { "" };
            let text = format!(
                "version = 1\n[agent.main]\nrole = \"{role}\"\nworkspace = \"~/work\"\n[agent.main.files]\nread = [{many}]\nwrite = [{write}]\ndeny = [{many}]\nprotect = [{many}]"
            );
            let told = for_agent(&read(&text).unwrap().agents()[0]);
            assert!(told.lines().count() <= 20, "{told}");
            assert!(told.contains("mantlet allow --agent main --read"));
        }
        let told = |section: &str| {
            let text = format!("version = 1\n[agent.main]\nrole = \"builder\"\nworkspace = \"~/work\"\n{section}");
            for_agent(&read(&text).unwrap().agents()[0])
        };
        assert!(told("").contains("no network except 127.0.0.1"));
        let open = told("[agent.main.egress]\nallow = [\"a.org\", \"*.b.org:80\"]");
        assert!(
            open.contains("by name, and nothing else: a.org:443, *.b.org:80\n") && !open.contains("no network"),
            "{open}"
        );
    }

    #[test]
    fn what_a_scout_may_touch_is_held_where_its_tools_are_judged_and_only_there() {
        let policy = read("version = 1\n[agent.s]\nrole = \"scout\"\nworkspace = \"~/work\"").unwrap();
        let said = explain(&policy, policy.agent("s"));
        let of = |text: &str| said.iter().find(|s| s.says.contains(text)).map(|s| s.enforced);
        assert_eq!(of("outbox"), Some(Enforced::Hook));
        let outbox = said.iter().find(|s| s.says.contains("outbox")).map(ToString::to_string);
        assert!(outbox.unwrap().contains("by `mantlet hook`, and only there; role scout"));
        assert_eq!(of("commands are refused"), Some(Enforced::Jail));
    }
}
