//! `mantlet mcp`: an MCP server in a jail of its own, with its own agent's name and environment.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use mantlet_sandbox::{Command, Kind, Request};

/// Run an MCP server of a client in a jail of its own
///
/// Put it in front of the server's command in the client's configuration: `"command": "mantlet", "args": ["mcp", "--",
/// "node", "server.js"]`. The server runs under the section of its own name in the policy, sees that agent's workspace,
/// and gets none of the client's environment but what the policy or --env names. It is not bounded in time. Exit code: as
/// with `mantlet exec`.
#[derive(Debug, clap::Args)]
pub(crate) struct McpArgs {
    /// The agent whose policy applies (default: `mcp-` and the name of the server)
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// The policy (default: /etc/mantlet/mantlet.toml, else ~/.config/mantlet/mantlet.toml)
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Adds to the server's environment; may be repeated. A name alone takes the client's own value
    #[arg(long, value_name = "NAME[=VALUE]")]
    env: Vec<OsString>,
    /// Mounts this program read-only at /run/mantlet/NAME; may be repeated
    #[arg(long = "with", value_name = "PROGRAM")]
    programs: Vec<PathBuf>,
    /// The server and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    command: Vec<OsString>,
}

/// Runs the server to its end.
pub(crate) fn run(args: &McpArgs) -> anyhow::Result<ExitCode> {
    let Some(agent) = args.agent.clone().or_else(|| agent_of(&args.command)) else {
        bail!("the server has no name that an agent could have\nhint: name its section of the policy with --agent")
    };
    mantlet_sandbox::close_inherited();
    let request = Request {
        kind: Kind::Service,
        agent: Some(agent),
        policy: args.policy.clone(),
        env: mantlet_sandbox::env_pairs(&args.env)?,
        programs: args.programs.clone(),
        command: Command::Argv(args.command.clone()),
        ..Request::default()
    };
    Ok(ExitCode::from(u8::try_from(mantlet_sandbox::exec(&request))?))
}

/// Programs that run another, whose name says what the server is.
const LAUNCHERS: [&str; 11] = ["npx", "bunx", "uvx", "pipx", "node", "bun", "deno", "python", "python3", "sh", "bash"];

/// `mcp-` and the server's name: of the program, or of what a launcher is to run.
fn agent_of(command: &[OsString]) -> Option<String> {
    let mut words = command.iter().filter_map(|word| word.to_str());
    let mut name = stem(words.next()?)?;
    if LAUNCHERS.contains(&name.as_str()) {
        name = stem(words.find(|word| !word.starts_with('-') && *word != "run")?)?;
    }
    Some(format!("mcp-{name}"))
}

/// `/opt/x/server.js`, `@scope/server@1.2` -> `server`, in the letters an agent's name is made of.
fn stem(word: &str) -> Option<String> {
    let name = Path::new(word).file_name()?.to_str()?;
    let name = name.split('@').next()?;
    let name = [".js", ".mjs", ".cjs", ".ts", ".py", ".sh"].iter().find_map(|e| name.strip_suffix(e)).unwrap_or(name);
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' }).collect();
    (!plain.is_empty() && plain.len() <= 60).then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_by_what_it_is() {
        for (command, name) in [
            ("/usr/bin/github-mcp", Some("mcp-github-mcp")),
            ("npx -y @modelcontextprotocol/server-filesystem@1.0 /x", Some("mcp-server-filesystem")),
            ("node --enable-source-maps /opt/x/server.js", Some("mcp-server")),
            ("uvx mcp-server-git", Some("mcp-mcp-server-git")),
            ("python3 -m server", Some("mcp-server")),
            ("npx -y", None),
            ("", None),
        ] {
            let words: Vec<OsString> = command.split_whitespace().map(OsString::from).collect();
            assert_eq!(agent_of(&words).as_deref(), name, "{command}");
        }
    }
}
