//! Copilot CLI: a hook file of our own in the user's directory of them.

use serde_json::{Value, json};

use super::{DENY, LOG, Seam, Site, no_props, text};
use crate::FilePlan;
use crate::canary::{Call, Stage, Start};

pub(super) const SEAM: Seam = Seam {
    client: "copilot",
    program: "copilot",
    agent: "copilot",
    has_managed: false,
    files,
    start: Some(start),
    props: no_props,
    next,
};

fn hook(site: &Site) -> Value {
    json!({"type": "command", "bash": site.hook_line("copilot"), "timeoutSec": 10})
}

fn files(site: &Site) -> Vec<FilePlan> {
    let hooks = json!({"version": 1, "hooks": {"preToolUse": [hook(site)], "postToolUse": [hook(site)]}});
    let text = format!("{hooks:#}\n");
    vec![FilePlan::whole(site.home.join(".copilot/hooks/mantlet.json"), text, format!("{DENY} {LOG}"))]
}

fn next(_: &Site) -> Vec<String> {
    vec![
        "a hook of Copilot that hangs or prints nonsense lets the call run: `mantlet run` confines what follows".into(),
        "a repository that you have trusted can switch user-level hooks off in .github/copilot/settings.json".into(),
    ]
}

fn start(stage: &Stage, model: &str) -> Start {
    let args = ["--allow-all-tools", "--allow-all-paths", "--no-color", "-p", "Please run the script."];
    let env = [
        ("COPILOT_OFFLINE", "true"),
        ("COPILOT_PROVIDER_BASE_URL", &format!("{model}/v1")),
        ("COPILOT_PROVIDER_API_KEY", "mantlet-canary-no-key"),
        ("COPILOT_MODEL", "scripted"),
    ];
    let shell = json!({"command": "cat note.txt", "description": "a command", "mode": "sync", "initial_wait": 20});
    Start {
        args: args.map(str::to_owned).to_vec(),
        env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        denied: Call { tool: "view", arguments: json!({"path": text(&stage.planted())}) },
        allowed: Call { tool: "bash", arguments: shell },
    }
}
