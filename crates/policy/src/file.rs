//! The file as it was written: every key optional, nothing believed yet.
//!
//! The lists of keys here are the format; the schema's test compares itself with them.

use crate::error::Faults;
use crate::read::{At, Section};

pub(crate) const ROOT: &[&str] = &["version", "agent", "credential", "handoff", "watch", "alert"];
pub(crate) const AGENT: &[&str] = &[
    "role",
    "client",
    "workspace",
    "tier",
    "accept",
    "files",
    "env",
    "egress",
    "publish",
    "limits",
    "dlp",
    "tools",
    "action",
];
pub(crate) const FILES: &[&str] = &["read", "write", "deny", "protect", "review"];
pub(crate) const ENV: &[&str] = &["pass", "set"];
pub(crate) const EGRESS: &[&str] = &["allow", "wide", "web", "ports", "local", "http", "budget"];
pub(crate) const LOCAL: &[&str] = &["name", "to"];
pub(crate) const HTTP: &[&str] = &["host", "methods", "paths"];
pub(crate) const BUDGET: &[&str] = &["host", "upload", "download", "requests", "names"];
pub(crate) const PUBLISH: &[&str] = &["ports", "exposed"];
pub(crate) const LIMITS: &[&str] =
    &["memory", "processes", "time", "cpu", "open_files", "file_size", "disk", "disk_files", "tmpfs", "output"];
pub(crate) const DLP: &[&str] = &["out", "in"];
pub(crate) const TOOLS: &[&str] = &["allow"];
pub(crate) const ACTION: &[&str] = &["run"];
pub(crate) const CREDENTIAL: &[&str] = &["from", "use"];
pub(crate) const HANDOFF: &[&str] = &["from", "to"];
pub(crate) const WATCH: &[&str] = &["files"];
pub(crate) const ALERT: &[&str] = &["command"];

type Text = Option<At<String>>;
type List = Option<Vec<At<String>>>;
type Number = Option<At<u64>>;

/// A whole policy file.
#[derive(Debug, Default)]
pub(crate) struct PolicyFile {
    pub(crate) version: Number,
    pub(crate) agents: Vec<(At<String>, AgentFile)>,
    pub(crate) credentials: Vec<(At<String>, CredentialFile)>,
    pub(crate) handoffs: Vec<(At<String>, HandoffFile)>,
    pub(crate) watch: Option<At<List>>,
    pub(crate) alert: Option<At<List>>,
}

/// `[agent.X]`.
#[derive(Debug, Default)]
pub(crate) struct AgentFile {
    pub(crate) role: Text,
    pub(crate) client: Text,
    pub(crate) workspace: Text,
    pub(crate) tier: Text,
    pub(crate) accept: List,
    pub(crate) read: List,
    pub(crate) write: List,
    pub(crate) deny: List,
    pub(crate) protect: List,
    pub(crate) review: Text,
    pub(crate) pass: List,
    pub(crate) set: Vec<(At<String>, At<String>)>,
    pub(crate) egress: EgressFile,
    pub(crate) publish: Option<At<(List, Text)>>,
    pub(crate) limits: LimitsFile,
    pub(crate) dlp_out: Text,
    pub(crate) dlp_in: Text,
    pub(crate) tools: List,
    pub(crate) actions: Vec<(At<String>, List)>,
}

/// `[agent.X.limits]`.
#[derive(Debug, Default)]
pub(crate) struct LimitsFile {
    /// Keys written as `2GiB`.
    pub(crate) sizes: Vec<(&'static str, At<String>)>,
    /// Keys written as `10m`.
    pub(crate) times: Vec<(&'static str, At<String>)>,
    /// Keys written as a number.
    pub(crate) counts: Vec<(&'static str, At<u64>)>,
}

/// `[agent.X.egress]`.
#[derive(Debug, Default)]
pub(crate) struct EgressFile {
    pub(crate) allow: List,
    pub(crate) wide: List,
    pub(crate) web: Text,
    pub(crate) ports: Vec<(At<String>, At<String>)>,
    pub(crate) local: Vec<LocalFile>,
    pub(crate) http: Vec<HttpFile>,
    pub(crate) budgets: Vec<BudgetFile>,
}

/// `[[agent.X.egress.local]]`.
#[derive(Debug)]
pub(crate) struct LocalFile {
    pub(crate) at: usize,
    pub(crate) name: Text,
    pub(crate) to: Text,
}

/// `[[agent.X.egress.http]]`.
#[derive(Debug)]
pub(crate) struct HttpFile {
    pub(crate) at: usize,
    pub(crate) host: Text,
    pub(crate) methods: List,
    pub(crate) paths: List,
}

/// `[[agent.X.egress.budget]]`.
#[derive(Debug)]
pub(crate) struct BudgetFile {
    pub(crate) at: usize,
    pub(crate) host: Text,
    pub(crate) upload: Text,
    pub(crate) download: Text,
    pub(crate) requests: Number,
    pub(crate) names: Number,
}

/// `[credential.NAME]`.
#[derive(Debug, Default)]
pub(crate) struct CredentialFile {
    pub(crate) from: Text,
    pub(crate) used_for: Text,
}

/// `[handoff.NAME]`.
#[derive(Debug, Default)]
pub(crate) struct HandoffFile {
    pub(crate) from: Text,
    pub(crate) to: Text,
}

impl PolicyFile {
    /// Reads the root table; what is wrong goes to `faults`.
    pub(crate) fn read(root: &toml::de::DeTable<'_>, faults: &mut Faults<'_>) -> Self {
        let root = Section::new(root, String::new(), 0, ROOT, faults);
        root.require("version", "begin the file with `version = 1`", faults);
        let mut file = PolicyFile { version: root.number("version", faults), ..PolicyFile::default() };
        for (name, section) in root.sections("agent", AGENT, faults) {
            let agent = AgentFile::read(&section, faults);
            file.agents.push((name, agent));
        }
        for (name, section) in root.sections("credential", CREDENTIAL, faults) {
            section.require("from", "write `from = \"vault\"`", faults);
            section.require("use", "name the preset of endpoints it may go to, such as `use = \"anthropic\"`", faults);
            file.credentials.push((
                name,
                CredentialFile { from: section.text("from", faults), used_for: section.text("use", faults) },
            ));
        }
        for (name, section) in root.sections("handoff", HANDOFF, faults) {
            section.require("from", "name the agent that gives", faults);
            section.require("to", "name the agent that takes", faults);
            file.handoffs
                .push((name, HandoffFile { from: section.text("from", faults), to: section.text("to", faults) }));
        }
        if let Some(section) = root.section("watch", WATCH, faults) {
            section.require("files", "name the files to watch", faults);
            file.watch = Some(At::new(section.list("files", faults), section.at));
        }
        if let Some(section) = root.section("alert", ALERT, faults) {
            section.require("command", "name the program to call", faults);
            file.alert = Some(At::new(section.list("command", faults), section.at));
        }
        file
    }
}

impl AgentFile {
    fn read(section: &Section<'_, '_>, faults: &mut Faults<'_>) -> Self {
        section.require("role", "write one of scout, builder, operator, public", faults);
        section.require("workspace", "name the directory the agent works in", faults);
        let mut agent = AgentFile {
            role: section.text("role", faults),
            client: section.text("client", faults),
            workspace: section.text("workspace", faults),
            tier: section.text("tier", faults),
            accept: section.list("accept", faults),
            ..AgentFile::default()
        };
        if let Some(files) = section.section("files", FILES, faults) {
            agent.read = files.list("read", faults);
            agent.write = files.list("write", faults);
            agent.deny = files.list("deny", faults);
            agent.protect = files.list("protect", faults);
            agent.review = files.text("review", faults);
        }
        if let Some(env) = section.section("env", ENV, faults) {
            agent.pass = env.list("pass", faults);
            agent.set = env.pairs("set", faults);
        }
        if let Some(egress) = section.section("egress", EGRESS, faults) {
            agent.egress = EgressFile::read(&egress, faults);
        }
        if let Some(publish) = section.section("publish", PUBLISH, faults) {
            let value = (publish.list("ports", faults), publish.text("exposed", faults));
            agent.publish = Some(At::new(value, publish.at));
        }
        if let Some(limits) = section.section("limits", LIMITS, faults) {
            agent.limits = LimitsFile::read(&limits, faults);
        }
        if let Some(dlp) = section.section("dlp", DLP, faults) {
            agent.dlp_out = dlp.text("out", faults);
            agent.dlp_in = dlp.text("in", faults);
        }
        if let Some(tools) = section.section("tools", TOOLS, faults) {
            agent.tools = tools.list("allow", faults);
        }
        for (name, action) in section.sections("action", ACTION, faults) {
            action.require("run", "write the exact command, `run = [\"program\", \"argument\"]`", faults);
            agent.actions.push((name, action.list("run", faults)));
        }
        agent
    }
}

impl EgressFile {
    fn read(section: &Section<'_, '_>, faults: &mut Faults<'_>) -> Self {
        let mut egress = EgressFile {
            allow: section.list("allow", faults),
            wide: section.list("wide", faults),
            web: section.text("web", faults),
            ports: section.pairs("ports", faults),
            ..EgressFile::default()
        };
        for local in section.tables("local", LOCAL, faults) {
            local.require("name", "name it, such as `name = \"ollama.host\"`", faults);
            local.require("to", "write the one address, such as `to = \"127.0.0.1:11434\"`", faults);
            let (name, to) = (local.text("name", faults), local.text("to", faults));
            egress.local.push(LocalFile { at: local.at, name, to });
        }
        for http in section.tables("http", HTTP, faults) {
            http.require("host", "name the host, `host = \"example.org:80\"`", faults);
            http.require("methods", "write for example `methods = [\"GET\"]`", faults);
            http.require("paths", "write for example `paths = [\"/v1/*\"]`", faults);
            let (host, methods) = (http.text("host", faults), http.list("methods", faults));
            egress.http.push(HttpFile { at: http.at, host, methods, paths: http.list("paths", faults) });
        }
        for budget in section.tables("budget", BUDGET, faults) {
            egress.budgets.push(BudgetFile {
                at: budget.at,
                host: budget.text("host", faults),
                upload: budget.text("upload", faults),
                download: budget.text("download", faults),
                requests: budget.number("requests", faults),
                names: budget.number("names", faults),
            });
        }
        egress
    }
}

impl LimitsFile {
    fn read(section: &Section<'_, '_>, faults: &mut Faults<'_>) -> Self {
        let mut limits = LimitsFile::default();
        for key in ["memory", "file_size", "disk", "tmpfs", "output"] {
            limits.sizes.extend(section.text(key, faults).map(|value| (key, value)));
        }
        for key in ["time", "cpu"] {
            limits.times.extend(section.text(key, faults).map(|value| (key, value)));
        }
        for key in ["processes", "open_files", "disk_files"] {
            limits.counts.extend(section.number(key, faults).map(|value| (key, value)));
        }
        limits
    }
}
