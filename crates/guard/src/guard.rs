//! The guard: an agent's policy compiled for one client, asked about one tool call after another.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use mantlet_clients::{Act, Parameter, Reach, Shape, Spelling, Tool};
use mantlet_policy::{Advice, Agent, Exec, Grant, Rules};
use rustix::fs::{CWD, Mode, OFlags};
use serde_json::{Map, Value};

use crate::arguments::{self, Named};
use crate::call::{McpServer, ServerRuns, ToolCall};
use crate::decision::{Decision, Denial};
use crate::host::OwnersHome;
use crate::judge::{Judge, Refused, Way};
use crate::tree::Tree;

/// Why there is no guard. Whoever asks must deny.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GuardError {
    /// The client's tools are not known.
    #[error("there is no table of the tools of `{client}`")]
    UnknownClient {
        /// The client's id, escaped.
        client: String,
    },
    /// The rules are no globs.
    #[error("the rules of the policy cannot be compiled: {0}")]
    Rules(#[from] globset::Error),
    /// A rule names something that cannot be found out.
    #[error(transparent)]
    Unresolved(#[from] mantlet_policy::Unresolved),
    /// The workspace cannot be opened.
    #[error("cannot open the workspace {path:?}: {source}")]
    Workspace {
        /// The workspace.
        path: PathBuf,
        /// The kernel's answer.
        source: std::io::Error,
    },
}

/// The policy of one agent, compiled for the tools of one client.
pub struct Guard<'a> {
    agent: &'a Agent,
    host: OwnersHome,
    home: PathBuf,
    tools: &'static [Tool],
    spelling: Spelling,
    tree: Tree,
    top: OwnedFd,
}

/// Names that clients give to paths, and their tables do not have: aliases, and names of other versions.
const OTHER_PATHS: [&str; 12] = [
    "path",
    "paths",
    "file",
    "files",
    "file_path",
    "filePath",
    "filepath",
    "absolute_path",
    "dir_path",
    "directory",
    "target_file",
    "notebook_path",
];

/// A refusal, or what allowed it.
type Verdict = Result<String, Denial>;

impl<'a> Guard<'a> {
    /// Compiles the policy of an agent whose owner has this home, for the tools of a client.
    ///
    /// # Errors
    /// Any of them is a denial of whatever is asked.
    pub fn new(agent: &'a Agent, home: &Path, client: &str) -> Result<Guard<'a>, GuardError> {
        let Some(spelling) = mantlet_clients::spelling(client) else {
            return Err(GuardError::UnknownClient { client: mantlet_ledger::escape(client.as_bytes()) });
        };
        Guard::with_tools(agent, home, mantlet_clients::client_tools(client), spelling)
    }

    /// As [`Guard::new`], for a table of tools that the caller has.
    ///
    /// # Errors
    /// As [`Guard::new`].
    pub fn with_tools(
        agent: &'a Agent,
        home: &Path,
        tools: &'static [Tool],
        spelling: Spelling,
    ) -> Result<Guard<'a>, GuardError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = rustix::fs::openat(CWD, agent.workspace(), flags, Mode::empty())
            .map_err(|e| GuardError::Workspace { path: agent.workspace().to_owned(), source: e.into() })?;
        let tree = Tree::new(agent, home, Rules::compile(agent)?)?;
        Ok(Guard { agent, host: OwnersHome::new(home), home: home.to_owned(), tools, spelling, tree, top })
    }

    /// Decides one tool call.
    pub fn decide(&self, call: &ToolCall<'_>) -> Decision {
        match self.verdict(call) {
            Ok(rule) => Decision::Allow(rule),
            Err(denial) => Decision::Deny(denial),
        }
    }

    fn verdict(&self, call: &ToolCall<'_>) -> Verdict {
        if let Some(server) = call.mcp_server {
            return mcp(call.tool, server);
        }
        let Value::Object(input) = call.input else {
            return Err(deny("arguments by name", "the arguments are no object", None));
        };
        let is_listed = self.agent.tools().iter().any(|tool| tool == call.tool);
        let Some(tool) = self.tools.iter().find(|tool| tool.name == call.tool) else {
            return self.unknown(call, input, is_listed);
        };
        let rule = self.arguments(tool, input, call.cwd)?;
        match tool.reach {
            Reach::Conversation => Ok("it reaches nothing outside the conversation".into()),
            Reach::Files => Ok(rule.unwrap_or_else(|| "it names no file".into())),
            Reach::Commands => self.commands(),
            Reach::Agents => Ok("another agent, whose own calls are asked again".into()),
            Reach::Network | Reach::Client if is_listed => Ok(format!("tools.allow has {}", shown(call.tool))),
            Reach::Network => {
                let reason = format!("{} sends requests past the jail", shown(call.tool));
                Err(deny("no network but through the jail", reason, self.allow_tool(call.tool)))
            }
            Reach::Client => {
                let reason = format!("{} changes the client's own settings, schedule or host", shown(call.tool));
                Err(deny("the client's own settings", reason, self.allow_tool(call.tool)))
            }
        }
    }

    /// A tool that stands in no table: by its name alone, and never with a path that nobody can judge.
    fn unknown(&self, call: &ToolCall<'_>, input: &Map<String, Value>, is_listed: bool) -> Verdict {
        if !is_listed {
            let reason = format!("{} is no tool that is known of this client", shown(call.tool));
            return Err(deny("known tools only", reason, self.allow_tool(call.tool)));
        }
        for (name, value) in input.iter().filter(|(name, _)| self.is_path(name)) {
            // What it does with the path is not known: it must be open for everything.
            for text in arguments::texts(value).map_err(|e| deny("arguments as known", format!("{name}: {e}"), None))? {
                self.path(text, Act::Write, call.cwd, None)?;
            }
        }
        Ok(format!("tools.allow has {}", shown(call.tool)))
    }

    /// Whether an argument of this name is a path for some tool of the client.
    fn is_path(&self, name: &str) -> bool {
        let all = self.tools.iter().flat_map(|tool| tool.parameters);
        let is_text = |p: &Parameter| {
            matches!(p.act, Act::Execute | Act::Fetch) || matches!(p.shape, Shape::Mentions | Shape::Only(_))
        };
        OTHER_PATHS.contains(&name) || all.filter(|p| !is_text(p)).any(|p| p.name == name)
    }

    /// Judges the paths that a file tool takes by a name that its line does not have: an earlier or a later version of
    /// the client may go by that one.
    fn by_other_names(&self, tool: &Tool, input: &Map<String, Value>, cwd: &Path) -> Result<(), Denial> {
        let Some(act) = tool.parameters.iter().map(|p| p.act).max().filter(|_| tool.reach == Reach::Files) else {
            return Ok(());
        };
        let is_other = |name: &str| tool.parameters.iter().all(|p| p.name != name) && self.is_path(name);
        for (name, value) in input.iter().filter(|(name, value)| !value.is_null() && is_other(name)) {
            for text in arguments::texts(value).map_err(|e| deny("arguments as known", format!("{name}: {e}"), None))? {
                match self.path(text, act, cwd, None) {
                    Ok(_) | Err((_, Way::Missing)) => {}
                    Err((denial, _)) => return Err(denial),
                }
            }
        }
        Ok(())
    }

    /// Judges every argument that names something.
    fn arguments(&self, tool: &Tool, input: &Map<String, Value>, cwd: &Path) -> Result<Option<String>, Denial> {
        let named = arguments::named(tool, input).map_err(|(name, error)| {
            deny("arguments as known", format!("{}: {name}: {error}", shown(tool.name)), None)
        })?;
        self.by_other_names(tool, input, cwd)?;
        let mut rule = None;
        for Named { text, act, filter, only_if_there, is_mention } in named {
            match act {
                _ if is_mention => self.mention(&text, cwd)?,
                Act::Execute => rule = Some(self.commands()?),
                Act::Fetch if is_other_scheme(&text) => {
                    let reason = format!("{} is no address of the web", mantlet_ledger::shorten(&shown(&text), 200));
                    return Err(deny("http and https", reason, None));
                }
                Act::Fetch if tool.reach == Reach::Network => {}
                Act::Fetch if self.agent.tools().iter().any(|listed| listed == tool.name) => {}
                Act::Fetch => {
                    let reason = format!("{} sends requests past the jail", shown(tool.name));
                    return Err(deny("no network but through the jail", reason, self.allow_tool(tool.name)));
                }
                _ => match self.path(&text, act, cwd, filter.as_ref()) {
                    Err((_, Way::Missing)) if only_if_there => {}
                    judged => rule = Some(judged.map_err(|(denial, _)| denial)?),
                },
            }
        }
        Ok(rule)
    }

    /// Judges a name in a prompt: relative to the directory and to each repository around it, `~` being the home.
    fn mention(&self, text: &str, cwd: &Path) -> Result<(), Denial> {
        let spelled = match text.strip_prefix("~/") {
            Some(rest) => self.home.join(rest).to_str().map_or_else(|| text.to_owned(), str::to_owned),
            None => text.to_owned(),
        };
        let repositories = cwd.ancestors().skip(1).filter(|dir| dir.join(".git").symlink_metadata().is_ok());
        for dir in std::iter::once(cwd).chain(repositories) {
            match self.path(&spelled, Act::Read, dir, None) {
                Ok(_) | Err((_, Way::Missing)) => {}
                Err((denial, _)) => return Err(denial),
            }
        }
        Ok(())
    }

    fn commands(&self) -> Verdict {
        match self.agent.exec() {
            Exec::Jailed => Ok("its commands run in the jail".into()),
            Exec::Refused => {
                let role = self.agent.role().word();
                let hint = "give the agent `role = \"builder\"` in mantlet.toml if it should run commands";
                Err(deny(format!("role {role}"), format!("a {role} runs no commands"), Some(hint.into())))
            }
        }
    }

    /// Judges one path argument, in every reading of it.
    fn path(
        &self,
        text: &str,
        act: Act,
        cwd: &Path,
        filter: Option<&arguments::Filter>,
    ) -> Result<String, (Denial, Way)> {
        let judge = Judge { agent: self.agent, tree: &self.tree, top: &self.top };
        let unread = |why: String| {
            let reason = format!("{}: {why}", mantlet_ledger::shorten(&shown(text), 200));
            (deny("paths as the kernel reads them", reason, Some("write the plain path of one file".into())), Way::None)
        };
        let readings =
            crate::spelling::readings(text, self.spelling, &self.home, cwd).map_err(|e| unread(e.to_string()))?;
        let cwd = std::os::unix::ffi::OsStrExt::as_bytes(cwd.as_os_str());
        let wanted = |path: &[u8], kind: rustix::fs::FileType| filter.is_none_or(|f| f.wants(path, kind));
        let mut rule = "";
        for reading in &readings {
            rule = judge.path(reading, act, cwd, &wanted).map_err(|refused| self.denial(refused, act))?;
            for twin in crate::forms::twins(reading, cwd).map_err(|e| unread(e.to_string()))? {
                match judge.path(&twin, act, cwd, &wanted) {
                    Err(Refused { way: Way::Missing, .. }) | Ok(_) => {}
                    Err(refused) => return Err(self.denial(refused, act)),
                }
            }
        }
        Ok(rule.to_owned())
    }

    fn denial(&self, refused: Refused, act: Act) -> (Denial, Way) {
        let Refused { rule, what, way } = refused;
        let hint = match &way {
            Way::Read(path) if matches!(act, Act::Write | Act::Delete) => self.advice(path, Grant::Write),
            Way::Read(path) => self.advice(path, Grant::Read),
            Way::Write(path) => self.advice(path, Grant::Write),
            Way::Words(words) => Some(words.clone()),
            Way::Missing => Some("check the path".into()),
            Way::None => None,
        };
        (deny(rule, what, hint), way)
    }

    fn advice(&self, path: &Path, grant: fn(String) -> Grant) -> Option<String> {
        let Some(text) = path.to_str() else {
            return Some("no policy can name it, because its name is not UTF-8: rename it".into());
        };
        Some(self.advise(&grant(text.to_owned())))
    }

    fn allow_tool(&self, name: &str) -> Option<String> {
        Some(self.advise(&Grant::Tool(name.to_owned())))
    }

    fn advise(&self, grant: &Grant) -> String {
        match mantlet_policy::advise(self.agent, grant, &self.host, "", mantlet_ledger::posix_word) {
            Advice::Call(call) => format!("ask the owner to run: {call}"),
            Advice::Words(words) => words,
        }
    }
}

impl From<(Denial, Way)> for Denial {
    fn from((denial, _): (Denial, Way)) -> Denial {
        denial
    }
}

/// Whether a URL is not one of the web's: `file:` would read a file that no rule is asked about.
fn is_other_scheme(text: &str) -> bool {
    let text = text.trim_start_matches(|c: char| c.is_whitespace() || c.is_control() || c == '\u{feff}');
    let scheme: String = text.chars().filter(|c| !c.is_control()).take_while(|c| !"/?#.".contains(*c)).collect();
    let is_web = |name: &str| ["http", "https"].iter().any(|web| name.eq_ignore_ascii_case(web));
    // `localhost:8080` has a port where others have a scheme's end.
    let has_port = |rest: &str| rest.bytes().next().is_some_and(|b| b.is_ascii_digit());
    scheme.split_once(':').is_some_and(|(name, rest)| !is_web(name) && !has_port(rest))
}

fn mcp(tool: &str, server: McpServer<'_>) -> Verdict {
    let name = shown(server.name);
    let command = match server.runs {
        ServerRuns::Jailed => return Ok("its server runs under `mantlet mcp`".into()),
        ServerRuns::Unjailed(command) => format!("mantlet mcp -- {}", mantlet_ledger::shorten(&shown(command), 200)),
        ServerRuns::Unknown => "mantlet mcp -- COMMAND ARGUMENTS".into(),
    };
    let reason = format!("{}: the MCP server {name} runs outside the jail, or nobody can tell", shown(tool));
    Err(deny("MCP servers run jailed", reason, Some(format!("start the server {name} as: {command}"))))
}

/// Untrusted text as it may be shown.
fn shown(text: &str) -> String {
    format!("`{}`", mantlet_ledger::shorten(&mantlet_ledger::escape(text.as_bytes()), 500))
}

fn deny(rule: impl Into<String>, reason: impl Into<String>, hint: Option<String>) -> Denial {
    Denial { rule: rule.into(), reason: reason.into(), hint }
}
