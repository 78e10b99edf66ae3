//! One event decided: the policy found as `mantlet exec` finds it, the guard asked, a command put into the jail.

use std::path::{Path, PathBuf};

use mantlet_clients::{Act, Tool, find_tool};
use mantlet_guard::dialect::{self, Answer, Event, Moment, Server, Verdict};
use mantlet_guard::{Decision, Denial, Guard, Jailer, Line, McpServer, ServerRuns, ToolCall, heredoc_patch};
use mantlet_policy::{Agent, Host as _};
use mantlet_sandbox::halt::Halted;
use mantlet_sandbox::{Loaded, RealHost, SourceError};
use serde_json::{Map, Value};

use super::options::Options;
use super::record::{self, Outcome, Place};

/// A decision, before it is put into the client's words.
enum Told {
    Pass(String),
    Deny(Denial),
    Jail(Map<String, Value>),
}

/// Reads the event and answers it.
pub(super) fn answer(options: &Options) -> Result<Answer, String> {
    let bytes = super::input::read()?;
    let event = dialect::parse(&options.client, &bytes).map_err(|error| error.to_string())?;
    if event.moment == Moment::Other {
        return Ok(event.answer(Verdict::Pass));
    }
    let is_jailed = Path::new(mantlet_sandbox::MARKER).exists();
    let host = match &options.home {
        Some(home) => RealHost::with_home(Path::new(home)),
        None => RealHost::new(),
    };
    let host = host.map_err(|error| refusal(&error))?;
    let Some(loaded) = load(options, &host)? else {
        return without_policy(options, &event, is_jailed);
    };
    let name = options.agent.as_deref().or(event.agent.as_deref().filter(|_| options.client == "openclaw"));
    let agent =
        mantlet_sandbox::select(&loaded.policy, name, Some(&options.client)).map_err(|error| refusal(&error))?;
    let place = Place {
        client: &options.client,
        agent,
        policy: loaded.policy.hash(),
        host: &host,
        asks_environment: options.home.is_none(),
    };
    if event.moment == Moment::After {
        let decision = if event.has_failed { "failed" } else { "ran" };
        if !is_jailed {
            record::write(place, &event, Outcome { decision, rule: None, reason: None })?;
        }
        return Ok(event.answer(Verdict::Pass));
    }
    // A jail does not show the owner's state: it ended with the halt.
    let halted = if is_jailed { None } else { record::halted(&host, place.asks_environment) };
    let told = match halted {
        Some(halted) => Told::Deny(stopped(&halted)),
        None => decide(options, &event, agent, &host, is_jailed)?,
    };
    let outcome = match &told {
        Told::Pass(rule) => Outcome { decision: "allowed", rule: Some(rule), reason: None },
        Told::Jail(_) => Outcome { decision: "jailed", rule: None, reason: None },
        Told::Deny(denial) => Outcome { decision: "denied", rule: Some(&denial.rule), reason: Some(&denial.reason) },
    };
    // A jail does not show the owner's ledger: what runs a command there writes its entry outside.
    let written = if is_jailed { Ok(()) } else { record::write(place, &event, outcome) };
    match (&told, written) {
        // A denial stands, whether it could be written down or not.
        (Told::Deny(_), _) | (_, Ok(())) => Ok(rendered(&event, &told)),
        (_, Err(why)) => Err(format!("the call cannot be written to the ledger: {why}")),
    }
}

/// The owner has stopped everything.
fn stopped(halted: &Halted) -> Denial {
    Denial {
        rule: "halted".into(),
        reason: halted.to_string(),
        hint: Some("the owner lets agents go on with: mantlet resume".into()),
    }
}

fn rendered(event: &Event, told: &Told) -> Answer {
    event.answer(match told {
        Told::Pass(_) => Verdict::Pass,
        Told::Deny(denial) => Verdict::Deny(denial),
        Told::Jail(input) => Verdict::Rewrite(input),
    })
}

fn refusal(error: &SourceError) -> String {
    match error.hint() {
        Some(hint) => format!("{error}\nhint: {hint}"),
        None => error.to_string(),
    }
}

fn load(options: &Options, host: &RealHost) -> Result<Option<Loaded>, String> {
    let usual = host.home().join(".config/mantlet/mantlet.toml");
    let given = match (&options.policy, &options.home) {
        (Some(file), _) => Some(PathBuf::from(file)),
        // XDG_CONFIG_HOME is then not asked. The machine's own policy still comes before this one.
        (None, Some(_)) if mantlet_sandbox::locate(None, host).is_ok_and(|path| !path.starts_with("/etc")) => {
            Some(usual)
        }
        (None, _) => None,
    };
    mantlet_sandbox::load(given.as_deref(), host).map_err(|error| refusal(&error))
}

/// There is no policy. Outside that is a refusal: the default one would take the directory for the workspace that the
/// agent itself chose. In a jail the policy need not be seen: the jail is the limit, and who runs commands has the policy.
fn without_policy(options: &Options, event: &Event, is_jailed: bool) -> Result<Answer, String> {
    if !is_jailed {
        return Err("there is no policy\nhint: write ~/.config/mantlet/mantlet.toml with a section [agent.main] that \
                    has a role, a client and a workspace; mantlet policy check"
            .into());
    }
    let told = match executes(find_tool(&options.client, &event.tool)) {
        Some(tool) if event.moment == Moment::Before => jail(options, event, tool, None)?,
        _ => Told::Pass("the jail around the client".into()),
    };
    Ok(rendered(event, &told))
}

fn executes(tool: Option<&'static Tool>) -> Option<&'static Tool> {
    tool.filter(|tool| tool.parameters.iter().any(|parameter| parameter.act == Act::Execute))
}

fn decide(options: &Options, event: &Event, agent: &Agent, host: &RealHost, is_jailed: bool) -> Result<Told, String> {
    let guard = Guard::new(agent, host.home(), &options.client).map_err(|error| error.to_string())?;
    if let Some(patch) = patch(options, event) {
        let input = Value::Object(Map::from_iter([("command".to_owned(), patch.into())]));
        // The event does not tell in which directory it is applied: the model names one that no hook sees.
        let call = ToolCall { tool: "apply_patch", input: &input, cwd: Path::new(""), mcp_server: None };
        return Ok(match guard.decide(&call) {
            Decision::Allow(rule) => Told::Pass(rule),
            Decision::Deny(denial) => Told::Deny(denial),
        });
    }
    let input = Value::Object(event.input.clone());
    let words = event.server.as_ref().and_then(|server| server.command.as_ref()).map(|words| words.join(" "));
    let mcp_server = event
        .server
        .as_ref()
        .map(|server| McpServer { name: &server.name, runs: runs(options, server, words.as_deref(), is_jailed) });
    let call = ToolCall { tool: &event.tool, input: &input, cwd: &event.cwd, mcp_server };
    match guard.decide(&call) {
        Decision::Deny(denial) => Ok(Told::Deny(denial)),
        Decision::Allow(rule) => match executes(find_tool(&options.client, &event.tool)) {
            Some(tool) if event.server.is_none() && !options.no_rewrite => jail(options, event, tool, Some(agent)),
            _ => Ok(Told::Pass(rule)),
        },
    }
}

/// The patch of a command that Codex applies by itself instead of running it. In the jail there is no `apply_patch`.
fn patch<'e>(options: &Options, event: &'e Event) -> Option<&'e str> {
    let command = event.input.get("command").and_then(Value::as_str);
    command.filter(|_| options.client == "codex" && event.tool == "Bash").and_then(heredoc_patch)
}

/// How an MCP server was started: in a jail around the client all are, else what its command or the installer says.
fn runs<'r>(options: &Options, server: &Server, words: Option<&'r str>, is_jailed: bool) -> ServerRuns<'r> {
    let own = std::env::current_exe().ok();
    let is_ours = |program: &str| program == "mantlet" || own.as_deref() == Some(Path::new(program));
    match server.command.as_deref() {
        _ if is_jailed => ServerRuns::Jailed,
        Some([program, word, rest @ ..]) if word == "mcp" && is_ours(program) && is_modest(options, rest) => {
            ServerRuns::Jailed
        }
        Some(_) => words.map_or(ServerRuns::Unknown, ServerRuns::Unjailed),
        None if options.mcp.contains(&server.name) => ServerRuns::Jailed,
        None => ServerRuns::Unknown,
    }
}

/// Whether the words of a `mantlet mcp` leave it in a server's own jail. The attack: a repository's settings start their
/// server with a policy that lies in the repository, or as an agent that may do more than any server.
fn is_modest(options: &Options, words: &[String]) -> bool {
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        let (name, joined) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
        let mut value = || joined.or_else(|| words.next());
        let is_fit = match name {
            "--" => return joined.is_none(),
            "--agent" => value().is_some_and(|agent| agent.starts_with("mcp-")),
            "--policy" => value().is_some_and(|policy| Some(policy) == options.policy.as_deref()),
            "--env" | "--with" => value().is_some(),
            _ if word.starts_with('-') => false,
            // The server's own program: what follows are its words.
            _ => return true,
        };
        if !is_fit {
            return false;
        }
    }
    false
}

/// Puts a command into a call of the jailer, and leaves the tool's other arguments as they are.
fn jail(options: &Options, event: &Event, tool: &Tool, agent: Option<&Agent>) -> Result<Told, String> {
    let named = |act| tool.parameters.iter().find(|parameter| parameter.act == act).map(|parameter| parameter.name);
    let text = named(Act::Execute).map(|name| (name, event.input.get(name)));
    let (name, command) = match text {
        Some((name, Some(Value::String(command)))) if !command.contains('\0') => (name, command),
        // Some other form of the tool that runs nothing, such as a watch on a socket.
        Some((_, None | Some(Value::Null))) => return Ok(Told::Pass("it names no command".into())),
        _ => return Err("the command is not a text without NUL".into()),
    };
    let program = crate::exec::jailer().map_err(|error| error.to_string())?;
    let program = program.to_str().ok_or_else(|| format!("{program:?} is not UTF-8"))?;
    let jailer = Jailer {
        program,
        client: &options.client,
        // Without a name the client decides, as it does for this hook.
        agent: agent.filter(|_| options.agent.is_some() || options.client == "openclaw").map(Agent::name),
        policy: options.policy.as_deref(),
        home: options.home.as_deref(),
    };
    if jailer.is_wrapped(command) {
        return Ok(Told::Pass("it is a call of the jailer already".into()));
    }
    if !event.takes_input() {
        return Ok(Told::Deny(Denial {
            rule: "commands run in the jail".into(),
            reason: "this event can only allow or deny, and the command is not a call of the jailer".into(),
            hint: Some("let preToolUse call the hook too: it rewrites the command first".into()),
        }));
    }
    // Codex tells its hooks no directory of the command: the shell starts in it, and the jailer where the shell is.
    let is_told = options.client != "codex" || event.tool != "Bash";
    let cwd = is_told.then(|| start(event, named(Act::List))).transpose()?;
    let mut input = event.input.clone();
    let env = environment(&mut input)?;
    input.insert(name.to_owned(), jailer.wrap(Line { cwd: cwd.as_deref(), env: &env, text: command }).into());
    Ok(Told::Jail(input))
}

/// The directory that the command starts in.
fn start(event: &Event, parameter: Option<&str>) -> Result<String, String> {
    let named = match parameter.and_then(|name| event.input.get(name)) {
        None | Some(Value::Null) => "",
        Some(Value::String(text)) if !text.contains('\0') => text,
        Some(_) => return Err("the directory of the command is not a text without NUL".into()),
    };
    let path = if named.is_empty() { event.cwd.clone() } else { event.cwd.join(named) };
    path.into_os_string().into_string().map_err(|path| format!("{path:?} is not UTF-8"))
}

/// Takes the environment out of the arguments, for the command alone: given to the jailer it would say where the policy
/// lies and whose home it speaks of.
fn environment(input: &mut Map<String, Value>) -> Result<Vec<String>, String> {
    let wrong = || "the environment of the command is not a list of texts".to_owned();
    match input.remove("env") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Object(map)) => {
            let pair = |(name, value): (String, Value)| match value {
                Value::String(value)
                    if !name.is_empty() && !format!("{name}{value}").contains('\0') && !name.contains('=') =>
                {
                    Ok(format!("{name}={value}"))
                }
                _ => Err(wrong()),
            };
            map.into_iter().map(pair).collect()
        }
        Some(_) => Err(wrong()),
    }
}
