//! `mantlet policy check | explain | schema` and `mantlet allow`: the policy shown, and the one way to widen it.
//!
//! Renders what the policy room answers; only `allow` writes, and only the policy file.

use std::io::{IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use mantlet_ledger::escape_json;
use mantlet_policy::{AllowError, Grant, PolicyErrors, Sentence};
use mantlet_sandbox::{Loaded, RealHost, SourceError};
use serde_json::{Value, json};

use crate::{REFUSED, write};

/// Check a policy, or show what it means
#[derive(Debug, Args)]
pub(crate) struct PolicyArgs {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    /// Say what is wrong with the policy, and where
    ///
    /// Exit code 0: valid. 1: not valid. 125: the file cannot be read, or could be changed by somebody else.
    Check(SourceArgs),
    /// Say in sentences what an agent may do, each with the rule behind it
    Explain(ExplainArgs),
    /// Print the JSON Schema of the policy file, for editors
    Schema {
        /// As it is: the schema is JSON anyway
        #[arg(long)]
        json: bool,
    },
}

/// Where the policy is.
#[derive(Debug, Args)]
pub(crate) struct SourceArgs {
    /// The policy file, instead of /etc/mantlet/mantlet.toml or ~/.config/mantlet/mantlet.toml
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// The workspace of the default policy, when there is no file; the current directory if not given
    #[arg(long, value_name = "DIR")]
    pub(crate) workspace: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
struct ExplainArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// Only this agent
    #[arg(long)]
    agent: Option<String>,
    /// In at most 20 lines, for the agent's own instructions: what is possible and how to ask
    #[arg(long)]
    for_agent: bool,
}

/// Add one permission to the policy file, keeping its comments and order
///
/// Shows the change, asks on a terminal, and writes the file whole or not at all. Without a policy file,
/// it makes one: the agent as it is by default, and the permission. A `deny` or `protect` line of the file
/// is never overruled: it is named, so that you can delete it.
#[derive(Debug, Args)]
pub(crate) struct AllowArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// The agent; may be left out when there is only one
    #[arg(long)]
    agent: Option<String>,
    #[command(flatten)]
    grant: GrantArgs,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct GrantArgs {
    /// A path to read: absolute, ~/..., or relative to the workspace (./ is relative to the current directory)
    #[arg(long, value_name = "PATH")]
    read: Option<String>,
    /// A path to write; inside the workspace, an exemption from a built-in protection
    #[arg(long, value_name = "PATH")]
    write: Option<String>,
    /// An environment variable to pass on
    #[arg(long, value_name = "NAME")]
    env: Option<String>,
    /// A host to reach
    #[arg(long, value_name = "HOST:PORT")]
    host: Option<String>,
    /// A tool to use
    #[arg(long, value_name = "NAME")]
    tool: Option<String>,
}

/// Runs `mantlet policy ...`.
pub(crate) fn run(args: &PolicyArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        PolicyCommand::Check(source) => check(source),
        PolicyCommand::Explain(args) => explain(args),
        PolicyCommand::Schema { .. } => print(&json_text(&mantlet_policy::schema())?),
    }
}

/// Finds the policy as every command does.
pub(crate) fn load(args: &SourceArgs, agent: Option<&str>) -> Result<(RealHost, Loaded), SourceError> {
    let host = RealHost::new()?;
    // The current directory by its name, so that an error about it can name it.
    let here = || std::env::current_dir().unwrap_or_else(|_| ".".into());
    let workspace = args.workspace.clone().unwrap_or_else(here);
    let loaded = mantlet_sandbox::policy_for(args.policy.as_deref(), agent, &workspace, &host)?;
    Ok((host, loaded))
}

fn check(args: &SourceArgs) -> anyhow::Result<ExitCode> {
    let (_, loaded) = match load(args, None) {
        Ok(found) => found,
        Err(error) => return failed(&error, args.json),
    };
    let agents: Vec<&str> = loaded.policy.agents().iter().map(mantlet_policy::Agent::name).collect();
    let hash = loaded.policy.hash();
    if args.json {
        return print(&json_text(
            &json!({"valid": true, "file": loaded.file.as_deref().map(shown), "agents": agents, "hash": hash}),
        )?);
    }
    let file = match &loaded.file {
        Some(file) => shown(file),
        None => "no policy file, so the default".to_owned(),
    };
    print(&format!("{file}: valid; agents: {}; hash {hash}\n", agents.join(", ")))
}

fn explain(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let json = args.source.json;
    let (_, loaded) = match load(&args.source, args.agent.as_deref()) {
        Ok(found) => found,
        Err(error) => return failed(&error, json),
    };
    let policy = &loaded.policy;
    let agent = match (&args.agent, args.for_agent) {
        (None, false) => None,
        (name, _) => match mantlet_sandbox::select(policy, name.as_deref(), None) {
            Ok(agent) => Some(agent),
            Err(error) => return failed(&error, json),
        },
    };
    if let (Some(agent), true) = (agent, args.for_agent) {
        let text = mantlet_policy::for_agent(agent);
        return match json {
            true => print(&json_text(&json!({"agent": agent.name(), "text": text}))?),
            false => print(&text),
        };
    }
    let sentences = mantlet_policy::explain(policy, agent);
    if json {
        let presets = json!({"file": loaded.file.as_deref().map(shown), "hash": policy.hash(), "sentences": sentences});
        return print(&json_text(&presets)?);
    }
    let head = match &loaded.file {
        Some(file) => format!("From {}, hash {}.\n", shown(file), policy.hash()),
        None => format!("There is no policy file; this is the default, hash {}.\n", policy.hash()),
    };
    print(&(head + &paragraphs(&sentences)))
}

/// A heading per agent, a line per sentence.
fn paragraphs(sentences: &[Sentence]) -> String {
    let mut out = String::new();
    let mut last = None;
    for sentence in sentences {
        if last != Some(&sentence.agent) {
            let heading =
                sentence.agent.as_ref().map_or_else(|| "all agents".to_owned(), |agent| format!("agent {agent}"));
            out += &format!("\n{heading}\n");
            last = Some(&sentence.agent);
        }
        out += &format!("  {sentence}\n");
    }
    out
}

/// Runs `mantlet allow`.
pub(crate) fn allow(args: &AllowArgs) -> anyhow::Result<ExitCode> {
    if is_in_jail() {
        bail!("a jailed command cannot change its policy\nhint: ask the owner to run this call outside");
    }
    let json = args.source.json;
    let (host, loaded) = match load(&args.source, args.agent.as_deref()) {
        Ok(found) => found,
        Err(error) => return failed(&error, json),
    };
    let agent = match mantlet_sandbox::select(&loaded.policy, args.agent.as_deref(), None) {
        Ok(agent) => agent,
        Err(error) => return failed(&error, json),
    };
    let file = match &loaded.file {
        Some(file) => file.clone(),
        None => mantlet_sandbox::user_file(&host),
    };
    let before = match &loaded.file {
        Some(_) => loaded.text.clone(),
        None => mantlet_policy::starter(agent.name(), agent.workspace())?,
    };
    let grant = args.grant.grant()?;
    let text = match mantlet_policy::allow(&before, &file, agent.name(), &grant, &host) {
        Ok(edit) => edit.text,
        Err(error) => return not_allowed(&error, json),
    };
    // The default written down is a change only together with the grant.
    if text == before {
        tell("it is allowed already; nothing to change")?;
        return match json {
            true => {
                print(&json_text(&json!({"file": shown(&file), "agent": agent.name(), "changed": false, "diff": ""}))?)
            }
            false => Ok(ExitCode::SUCCESS),
        };
    }
    let diff = mantlet_policy::unified(&loaded.text, &text, &file);
    if !json {
        print(&diff)?;
    }
    if !args.yes && !is_confirmed()? {
        tell("nothing was changed")?;
        return Ok(ExitCode::from(REFUSED));
    }
    // The new text is judged where it will lie: a directory that others can write refuses before, not after.
    let mut hold = crate::watch::Hold::usual()?;
    hold.must_be_whole(std::slice::from_ref(&file))?;
    write::replace(&file, &loaded.text, &text, |written| {
        let judged = mantlet_sandbox::load(Some(written), &host).map(|_| ());
        let named = |text: String| text.replace(&*written.to_string_lossy(), &file.to_string_lossy());
        judged.map_err(|error| anyhow::anyhow!(named(with_hint(&error))))
    })?;
    hold.settle(std::slice::from_ref(&file))?;
    match json {
        true => {
            print(&json_text(&json!({"file": shown(&file), "agent": agent.name(), "changed": true, "diff": diff}))?)
        }
        false => Ok(ExitCode::SUCCESS),
    }
}

impl GrantArgs {
    fn grant(&self) -> anyhow::Result<Grant> {
        match self {
            GrantArgs { read: Some(path), .. } => Ok(Grant::Read(from_here(path)?)),
            GrantArgs { write: Some(path), .. } => Ok(Grant::Write(from_here(path)?)),
            GrantArgs { env: Some(name), .. } => Ok(Grant::Env(name.clone())),
            GrantArgs { host: Some(host), .. } => Ok(Grant::Host(host.clone())),
            GrantArgs { tool: Some(name), .. } => Ok(Grant::Tool(name.clone())),
            _ => bail!("no permission was named\nhint: one of --read, --write, --env, --host, --tool"),
        }
    }
}

/// `./x` and `../x` are what a shell completes, from where the owner stands; all else is as in the file.
fn from_here(path: &str) -> anyhow::Result<String> {
    if path != "." && path != ".." && !path.starts_with("./") && !path.starts_with("../") {
        return Ok(path.to_owned());
    }
    let whole = Path::new(path);
    let real = match (std::fs::canonicalize(whole), whole.parent(), whole.file_name()) {
        (Ok(real), ..) => real,
        (Err(_), Some(parent), Some(name)) => {
            std::fs::canonicalize(parent).with_context(|| format!("cannot resolve {path}"))?.join(name)
        }
        (Err(error), ..) => return Err(error).with_context(|| format!("cannot resolve {path}")),
    };
    real.into_os_string()
        .into_string()
        .map_err(|path| anyhow::anyhow!("{} is not UTF-8, so that no policy can name it", path.display()))
}

/// Every jail has this file. Any answer but "not there" counts as there.
pub(crate) fn is_in_jail() -> bool {
    !matches!(rustix::fs::lstat("/run/mantlet/jail"), Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR))
}

/// Asks on a terminal; a call without one, from a script, was decided by who wrote it.
fn is_confirmed() -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Ok(true);
    }
    let mut err = std::io::stderr().lock();
    err.write_all(b"Write this? [y/N] ").and_then(|()| err.flush()).context("cannot ask")?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).context("cannot read the answer")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn not_allowed(error: &AllowError, json: bool) -> anyhow::Result<ExitCode> {
    let hint = error.hint();
    let code = match error {
        AllowError::Before(errors) => return invalid(errors, json),
        AllowError::After(errors) if json => {
            print(&json_text(
                &json!({"changed": false, "error": "this cannot be allowed", "errors": listed(errors)}),
            )?)?;
            return Ok(ExitCode::from(REFUSED));
        }
        _ => ExitCode::from(REFUSED),
    };
    if json {
        print(&json_text(&json!({"changed": false, "error": error.to_string(), "hint": hint}))?)?;
    } else {
        tell(&hint.map_or_else(|| error.to_string(), |hint| format!("{error}\n  hint: {hint}")))?;
    }
    Ok(code)
}

/// Reports why there is no policy: 1 when it is not valid, 125 when it cannot be used.
pub(crate) fn failed(error: &SourceError, json: bool) -> anyhow::Result<ExitCode> {
    if let SourceError::Invalid(errors) = error {
        return invalid(errors, json);
    }
    if json {
        print(&json_text(&json!({"valid": false, "error": error.to_string(), "hint": error.hint()}))?)?;
    } else {
        tell(&with_hint(error))?;
    }
    Ok(ExitCode::from(REFUSED))
}

/// An error with what to do about it.
pub(crate) fn with_hint(error: &SourceError) -> String {
    error.hint().map_or_else(|| error.to_string(), |hint| format!("{error}\n  hint: {hint}"))
}

fn invalid(errors: &PolicyErrors, json: bool) -> anyhow::Result<ExitCode> {
    if json {
        print(&json_text(&json!({"valid": false, "file": shown(errors.origin()), "errors": listed(errors)}))?)?;
    } else {
        writeln!(std::io::stderr().lock(), "{errors}").context("cannot write to standard error")?;
    }
    Ok(ExitCode::FAILURE)
}

fn listed(errors: &PolicyErrors) -> Vec<Value> {
    let each = errors.errors().iter();
    each.map(|error| json!({"line": error.line, "column": error.column, "message": error.fault.to_string(), "hint": error.hint})).collect()
}

/// One line of JSON that is harmless on a terminal.
pub(crate) fn json_text(value: &Value) -> anyhow::Result<String> {
    Ok(escape_json(&serde_json::to_string(value)?) + "\n")
}

fn shown(path: &Path) -> String {
    mantlet_ledger::escape(path.as_os_str().as_encoded_bytes())
}

/// Says something to the person. A path in it may be an agent's invention, so that each line is escaped.
pub(crate) fn tell(text: &str) -> anyhow::Result<()> {
    let lines: Vec<String> = text.split('\n').map(|line| mantlet_ledger::escape(line.as_bytes())).collect();
    writeln!(std::io::stderr().lock(), "mantlet: {}", lines.join("\n")).context("cannot write to standard error")
}

/// Prints data; a reader that has seen enough is no failure.
pub(crate) fn print(text: &str) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // `mantlet policy explain | head`: the reader has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        other => other.context("cannot write to standard output").map(|()| ExitCode::SUCCESS),
    }
}
