//! Claude Code: hooks that fail closed, and a shell prefix that puts every command into the jail.

use serde_json::{Value, json};

use super::{DENY, FAIL_CLOSED, LOG, Seam, Site, no_props, text};
use crate::canary::{Call, Stage, Start};
use crate::{FilePlan, Format, Level};

pub(super) const SEAM: Seam = Seam {
    client: "claude",
    program: "claude",
    agent: "claude",
    has_managed: true,
    files,
    start: Some(start),
    props: no_props,
    next,
};

/// A client that waits longer is one that hangs.
const SECONDS: u32 = 10;

const PREFIX: &str =
    "A command that a prompt smuggled in: each runs in the jail, where secrets and the network are absent.";
const SCRUB: &str = "Commands in Claude's own bwrap, in which no jail can be built: the jail's environment is made from nothing anyway.";
const ONLY: &str = "A repository that brings hooks of its own, which would run on the host before anybody was asked.";
const ONE_JAIL: &str =
    "Claude's own sandbox around ours, whose bwrap cannot nest: commands would fail, or ask to run outside.";
const NO_ESCAPE: &str = "A model that sets dangerouslyDisableSandbox, should somebody switch Claude's own sandbox on.";

const PIN: &str = "A repository whose settings give Claude this variable: the shell that Claude starts would run the repository's code before it starts ours, or ours would read the repository's policy.";

/// Set for everybody, because what a repository sets Claude 2.1.330 hands on to the shell outside the jail. Empty is as
/// good as absent for each.
const PINNED: &[(&str, &str)] = &[
    ("BASH_ENV", ""),
    ("CLAUDE_CODE_SHELL", "/bin/bash"),
    ("ENV", ""),
    ("LD_AUDIT", ""),
    ("LD_LIBRARY_PATH", ""),
    ("LD_PRELOAD", ""),
    ("XDG_CONFIG_HOME", ""),
    ("XDG_STATE_HOME", ""),
];

fn hook(site: &Site) -> Value {
    json!({
        "matcher": "*",
        // With `args` no shell is in between, and the shell prefix does not wrap the hook itself.
        "hooks": [{
            "type": "command",
            "command": site.mantlet(),
            "args": ["hook", "claude", "--no-rewrite"],
            "timeout": SECONDS,
            "onFailure": "block",
        }],
    })
}

fn files(site: &Site) -> Vec<FilePlan> {
    let path = match site.level {
        // A file of our own: nothing else is in it, and removing it takes back all of it.
        Level::Managed => "/etc/claude-code/managed-settings.d/50-mantlet.json".into(),
        Level::User => site.dir("CLAUDE_CONFIG_DIR", ".claude").join("settings.json"),
    };
    // One path and no argument: Claude 2.1.330 takes the whole prefix for the program where it starts an MCP server.
    let wrapper = site.share("bin/mantlet-shell-prefix");
    let script = site.wrapper(&["--shell-prefix"]);
    let stops = format!("{DENY} {FAIL_CLOSED}");
    let mut file = FilePlan::edited(path, Format::Json)
        .append(&["hooks", "PreToolUse"], hook(site), &stops)
        .append(&["hooks", "PostToolUse"], hook(site), LOG)
        .set(&["env", "CLAUDE_CODE_SHELL_PREFIX"], text(&wrapper), PREFIX)
        .set(&["env", "CLAUDE_CODE_SUBPROCESS_ENV_SCRUB"], "0", SCRUB)
        .set(&["sandbox", "enabled"], false, ONE_JAIL)
        .set(&["sandbox", "allowUnsandboxedCommands"], false, NO_ESCAPE);
    if site.level == Level::Managed {
        file = file.set(&["allowManagedHooksOnly"], true, ONLY);
        for (name, value) in PINNED {
            file = file.set(&["env", name], *value, PIN);
        }
    }
    vec![FilePlan::program(wrapper, script, PREFIX), file]
}

fn next(site: &Site) -> Vec<String> {
    let whole = "`@file` in a prompt, and Claude's own process, are not asked about: `mantlet run` confines those";
    let weak =
        "a repository's .claude/settings.json can switch user-level hooks off: `sudo mantlet install claude` cannot be";
    match site.level {
        Level::Managed => vec![whole.into()],
        Level::User => vec![weak.into(), whole.into()],
    }
}

fn start(stage: &Stage, model: &str) -> Start {
    let env = [
        ("ANTHROPIC_BASE_URL", model),
        ("ANTHROPIC_API_KEY", "mantlet-canary-no-key"),
        ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
        ("DISABLE_AUTOUPDATER", "1"),
        // It refuses to skip its questions as root unless told that it is contained.
        ("IS_SANDBOX", "1"),
    ];
    let args = ["--dangerously-skip-permissions", "--model", "scripted", "-p", "Please run the script."];
    Start {
        args: args.map(str::to_owned).to_vec(),
        env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        denied: Call { tool: "Read", arguments: json!({"file_path": text(&stage.planted())}) },
        allowed: Call { tool: "Bash", arguments: json!({"command": "cat note.txt", "description": "a command"}) },
    }
}
