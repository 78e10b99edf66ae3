//! Codex CLI: hooks in the machine's requirements, with the feature pinned; or the user's own, which Codex asks about.

use serde_json::{Value, json};

use super::{DENY, LOG, Seam, Site, text};
use crate::canary::{Call, Stage, Start};
use crate::{FilePlan, Format, Level};

pub(super) const SEAM: Seam = Seam {
    client: "codex",
    program: "codex",
    agent: "codex",
    has_managed: true,
    files,
    start: Some(start),
    props,
    next,
};

const PINNED: &str = "`codex --disable hooks`, or a config.toml that switches hooks off: they stay on.";
const ONLY: &str = "A repository that brings hooks of its own, which would run on the host before anybody was asked.";
const PLACE: &str = "A managed hook that Codex does not run, because the directory of managed hooks is not named.";

fn hook(site: &Site) -> Value {
    // Codex gives the line to a shell.
    let line = site.hook_line("codex");
    json!({"matcher": "*", "hooks": [{"type": "command", "command": line, "timeout": 10}]})
}

fn files(site: &Site) -> Vec<FilePlan> {
    match site.level {
        Level::Managed => vec![
            FilePlan::edited("/etc/codex/requirements.toml".into(), Format::Toml)
                .set(&["allow_managed_hooks_only"], true, ONLY)
                .set(&["features", "hooks"], true, PINNED)
                .set(&["hooks", "managed_dir"], text(&site.programs), PLACE)
                .append(&["hooks", "PreToolUse"], hook(site), DENY)
                .append(&["hooks", "PostToolUse"], hook(site), LOG),
        ],
        Level::User => vec![
            FilePlan::edited(site.dir("CODEX_HOME", ".codex").join("hooks.json"), Format::Json)
                .append(&["hooks", "PreToolUse"], hook(site), DENY)
                .append(&["hooks", "PostToolUse"], hook(site), LOG),
        ],
    }
}

fn next(site: &Site) -> Vec<String> {
    let open = "a hook of Codex that crashes or hangs lets the call run, and write_stdin asks no hook: `mantlet run` confines both";
    let trust = "Codex skips hooks that you have not trusted: trust Mantlet's in Codex's /hooks, then `mantlet verify codex`; or install as root";
    match site.level {
        Level::Managed => vec![open.into()],
        Level::User => vec![trust.into(), open.into()],
    }
}

/// A user's trust in a hook names the settings' place and a hash of what the hook is. The place of the trial's copy is
/// another; the hash is not, and Codex itself compares it with the copy.
fn props(site: &Site, stage: &Stage, _: &str) -> Vec<FilePlan> {
    let real = site.dir("CODEX_HOME", ".codex");
    let (real, staged) = (std::fs::canonicalize(&real).unwrap_or(real), stage.home().join(".codex"));
    let config = crate::place::read_text(&real.join("config.toml")).ok().flatten().unwrap_or_default();
    let states = crate::op::value_at(&config, Format::Toml, &["hooks", "state"]);
    let mut file = FilePlan::edited(staged.join("config.toml"), Format::Toml);
    for (place, state) in states.as_ref().and_then(Value::as_object).into_iter().flatten() {
        if let Some(rest) = place.strip_prefix(&text(&real.join("hooks.json"))) {
            let place = text(&staged.join("hooks.json")) + rest;
            file = file.set(&["hooks", "state", &place], state.clone(), "");
        }
    }
    if site.level == Level::User { vec![file] } else { Vec::new() }
}

fn start(stage: &Stage, model: &str) -> Start {
    let settings = [
        "model=\"scripted\"".to_owned(),
        "model_provider=\"scripted\"".to_owned(),
        format!(
            "model_providers.scripted={{name=\"Scripted\", base_url=\"{model}/v1\", env_key=\"OPENAI_API_KEY\", wire_api=\"responses\", request_max_retries=0, stream_max_retries=0}}"
        ),
    ];
    let mut args =
        vec!["exec".to_owned(), "--dangerously-bypass-approvals-and-sandbox".into(), "--skip-git-repo-check".into()];
    args.extend(settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting]));
    args.push("Please run the script.".into());
    Start {
        args,
        env: vec![("OPENAI_API_KEY".into(), "mantlet-canary-no-key".into())],
        denied: Call { tool: "exec_command", arguments: json!({"cmd": format!("cat '{}'", text(&stage.planted()))}) },
        allowed: Call { tool: "exec_command", arguments: json!({"cmd": "cat note.txt"}) },
    }
}
