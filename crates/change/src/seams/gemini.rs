//! Gemini CLI: hooks in the machine's settings, pinned on; or in the user's.

use serde_json::{Value, json};

use super::{DENY, LOG, Seam, Site, text};
use crate::canary::{Call, Stage, Start};
use crate::{FilePlan, Format, Level};

pub(super) const SEAM: Seam = Seam {
    client: "gemini",
    program: "gemini",
    agent: "gemini",
    has_managed: true,
    files,
    start: Some(start),
    props,
    next,
};

const PINNED: &str = "A repository's or user's settings that switch hooks off: the machine's say that they are on.";
const ON: &str = "Hooks that never run because they are switched off.";

fn hook(site: &Site) -> Value {
    let line = site.hook_line("gemini");
    // Milliseconds here, where other clients count seconds.
    json!({"matcher": "*", "hooks": [{"name": "mantlet", "type": "command", "command": line, "timeout": 10000}]})
}

fn files(site: &Site) -> Vec<FilePlan> {
    let (path, stops) = match site.level {
        Level::Managed => ("/etc/gemini-cli/settings.json".into(), PINNED),
        Level::User => (site.home.join(".gemini/settings.json"), ON),
    };
    vec![
        FilePlan::edited(path, Format::Jsonc)
            .append(&["hooks", "BeforeTool"], hook(site), DENY)
            .append(&["hooks", "AfterTool"], hook(site), LOG)
            .set(&["hooksConfig", "enabled"], true, stops),
    ]
}

fn next(site: &Site) -> Vec<String> {
    let open = "a hook of Gemini that crashes silently or hangs lets the call run: `mantlet run` confines what follows";
    let env = "GEMINI_CLI_SYSTEM_SETTINGS_PATH in the environment that starts Gemini moves the machine's settings";
    let weak =
        "a repository's .gemini/settings.json can switch user-level hooks off: `sudo mantlet install gemini` cannot be";
    match site.level {
        Level::Managed => vec![env.into(), open.into()],
        Level::User => vec![weak.into(), open.into()],
    }
}

fn props(_: &Site, stage: &Stage, _: &str) -> Vec<FilePlan> {
    let path = stage.home().join(".gemini/settings.json");
    vec![
        FilePlan::edited(path, Format::Jsonc)
            .set(&["security", "auth", "selectedType"], "gemini-api-key", "")
            .set(&["security", "folderTrust", "enabled"], false, "")
            .set(&["general", "disableAutoUpdate"], true, "")
            .set(&["privacy", "usageStatisticsEnabled"], false, ""),
    ]
}

fn start(stage: &Stage, model: &str) -> Start {
    let args = ["--yolo", "--model", "gemini-2.5-pro", "--prompt", "Please run the script."];
    let env = [("GEMINI_API_KEY", "mantlet-canary-no-key"), ("GOOGLE_GEMINI_BASE_URL", model)];
    let shell = |command: String| Call {
        tool: "run_shell_command",
        arguments: json!({"command": command, "description": "a command"}),
    };
    Start {
        args: args.map(str::to_owned).to_vec(),
        env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        // Gemini's own check refuses read_file out there before it asks any hook; its shell has none.
        denied: shell(format!("cat '{}'", text(&stage.planted()))),
        allowed: shell("cat note.txt".into()),
    }
}
