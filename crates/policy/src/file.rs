//! The file as it was written: every key optional, nothing believed yet.
//!
//! The lists of keys here are the format; the schema's test compares itself with them.

use crate::error::Faults;
use crate::read::{At, Section};

pub(crate) const ROOT: &[&str] = &["version", "agent", "credential", "handoff", "ledger", "watch", "alert"];
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
pub(crate) const LEDGER: &[&str] = &["sync", "full", "segment", "age", "keep", "anchor", "anchor_command"];
pub(crate) const WATCH: &[&str] = &["files", "bootstrap", "memory", "system", "rescan", "tries", "then"];
pub(crate) const ALERT: &[&str] = &["command", "desktop", "per_hour", "burst", "webhook", "ntfy", "telegram", "email"];
pub(crate) const WEBHOOK: &[&str] = &["url", "url_file", "url_secret", "key_file", "key_secret"];
pub(crate) const NTFY: &[&str] = &["url", "topic", "token_file", "token_secret"];
pub(crate) const TELEGRAM: &[&str] = &["url", "chat", "token_file", "token_secret"];
pub(crate) const EMAIL: &[&str] = &["from", "to", "server", "user", "password_file", "password_secret", "sendmail"];

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
    pub(crate) ledger: Option<LedgerFile>,
    pub(crate) watch: Option<WatchFile>,
    pub(crate) alert: Option<AlertFile>,
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

/// `[ledger]`.
#[derive(Debug, Default)]
pub(crate) struct LedgerFile {
    pub(crate) at: usize,
    pub(crate) sync: Text,
    pub(crate) full: Text,
    pub(crate) segment: Text,
    pub(crate) age: Text,
    pub(crate) keep: Text,
    pub(crate) anchor: List,
    pub(crate) anchor_command: List,
}

/// `[watch]`.
#[derive(Debug, Default)]
pub(crate) struct WatchFile {
    pub(crate) at: usize,
    pub(crate) files: List,
    pub(crate) bootstrap: Option<At<bool>>,
    pub(crate) memory: Option<At<bool>>,
    pub(crate) system: Option<At<bool>>,
    pub(crate) rescan: Text,
    pub(crate) tries: Number,
    pub(crate) then: Text,
}

/// `[alert]`.
#[derive(Debug, Default)]
pub(crate) struct AlertFile {
    pub(crate) at: usize,
    pub(crate) command: List,
    pub(crate) desktop: Option<At<bool>>,
    pub(crate) per_hour: Number,
    pub(crate) burst: Number,
    pub(crate) webhook: Option<WebhookFile>,
    pub(crate) ntfy: Option<NtfyFile>,
    pub(crate) telegram: Option<TelegramFile>,
    pub(crate) email: Option<EmailFile>,
}

/// Where a secret is: `KEY_file`, or `KEY_secret` of the vault.
#[derive(Debug)]
pub(crate) struct SecretFile {
    pub(crate) key: &'static str,
    pub(crate) file: Text,
    pub(crate) vault: Text,
}

/// `[alert.webhook]`.
#[derive(Debug)]
pub(crate) struct WebhookFile {
    pub(crate) at: usize,
    pub(crate) plain: Text,
    pub(crate) url: SecretFile,
    pub(crate) key: SecretFile,
}

/// `[alert.ntfy]`.
#[derive(Debug)]
pub(crate) struct NtfyFile {
    pub(crate) url: Text,
    pub(crate) topic: Text,
    pub(crate) token: SecretFile,
}

/// `[alert.telegram]`.
#[derive(Debug)]
pub(crate) struct TelegramFile {
    pub(crate) at: usize,
    pub(crate) url: Text,
    pub(crate) chat: Text,
    pub(crate) token: SecretFile,
}

/// `[alert.email]`.
#[derive(Debug)]
pub(crate) struct EmailFile {
    pub(crate) at: usize,
    pub(crate) from: Text,
    pub(crate) to: List,
    pub(crate) server: Text,
    pub(crate) user: Text,
    pub(crate) password: SecretFile,
    pub(crate) sendmail: Text,
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
        if let Some(section) = root.section("ledger", LEDGER, faults) {
            file.ledger = Some(LedgerFile {
                at: section.at,
                sync: section.text("sync", faults),
                full: section.text("full", faults),
                segment: section.text("segment", faults),
                age: section.text("age", faults),
                keep: section.text("keep", faults),
                anchor: section.list("anchor", faults),
                anchor_command: section.list("anchor_command", faults),
            });
        }
        if let Some(section) = root.section("watch", WATCH, faults) {
            file.watch = Some(WatchFile {
                at: section.at,
                files: section.list("files", faults),
                bootstrap: section.flag("bootstrap", faults),
                memory: section.flag("memory", faults),
                system: section.flag("system", faults),
                rescan: section.text("rescan", faults),
                tries: section.number("tries", faults),
                then: section.text("then", faults),
            });
        }
        if let Some(section) = root.section("alert", ALERT, faults) {
            file.alert = Some(AlertFile::read(&section, faults));
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

impl SecretFile {
    fn read(
        section: &Section<'_, '_>,
        key: &'static str,
        [file, vault]: [&str; 2],
        faults: &mut Faults<'_>,
    ) -> SecretFile {
        SecretFile { key, file: section.text(file, faults), vault: section.text(vault, faults) }
    }

    /// Whether nobody wrote where it is; one of the wrong type has its error already.
    pub(crate) fn is_absent(&self) -> bool {
        self.file.is_none() && self.vault.is_none()
    }
}

impl AlertFile {
    fn read(section: &Section<'_, '_>, faults: &mut Faults<'_>) -> Self {
        let mut alert = AlertFile {
            at: section.at,
            command: section.list("command", faults),
            desktop: section.flag("desktop", faults),
            per_hour: section.number("per_hour", faults),
            burst: section.number("burst", faults),
            ..AlertFile::default()
        };
        if let Some(webhook) = section.section("webhook", WEBHOOK, faults) {
            let plain = webhook.text("url", faults);
            let url = SecretFile::read(&webhook, "url", ["url_file", "url_secret"], faults);
            let key = SecretFile::read(&webhook, "key", ["key_file", "key_secret"], faults);
            alert.webhook = Some(WebhookFile { at: webhook.at, plain, url, key });
        }
        if let Some(ntfy) = section.section("ntfy", NTFY, faults) {
            ntfy.require("topic", "name the topic that you have subscribed to", faults);
            let (url, topic) = (ntfy.text("url", faults), ntfy.text("topic", faults));
            let token = SecretFile::read(&ntfy, "token", TOKEN, faults);
            alert.ntfy = Some(NtfyFile { url, topic, token });
        }
        if let Some(telegram) = section.section("telegram", TELEGRAM, faults) {
            telegram.require("chat", "write the chat's number, `chat = \"123456789\"`", faults);
            let (url, chat) = (telegram.text("url", faults), telegram.text("chat", faults));
            let token = SecretFile::read(&telegram, "token", TOKEN, faults);
            alert.telegram = Some(TelegramFile { at: telegram.at, url, chat, token });
        }
        if let Some(email) = section.section("email", EMAIL, faults) {
            email.require("from", "write the address that writes, `from = \"mantlet@example.org\"`", faults);
            email.require("to", "write who is told, `to = [\"you@example.org\"]`", faults);
            alert.email = Some(EmailFile {
                at: email.at,
                from: email.text("from", faults),
                to: email.list("to", faults),
                server: email.text("server", faults),
                user: email.text("user", faults),
                password: SecretFile::read(&email, "password", ["password_file", "password_secret"], faults),
                sendmail: email.text("sendmail", faults),
            });
        }
        alert
    }
}

const TOKEN: [&str; 2] = ["token_file", "token_secret"];
