//! OpenCode: a plugin file that asks before every tool, and the shell that puts every command into the jail.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::{DENY, Seam, Site, text};
use crate::canary::{Call, Stage, Start};
use crate::{FilePlan, Format, Level};

pub(super) const SEAM: Seam = Seam {
    client: "opencode",
    program: "opencode",
    agent: "opencode",
    has_managed: true,
    files,
    start: Some(start),
    props,
    next,
};

const PLUGIN: &str = include_str!("../../../../integrations/opencode/mantlet.js");

const ENTRY: &str = "A plugin that is there and is not loaded: OpenCode would run every tool unasked.";

fn config(site: &Site) -> PathBuf {
    match site.level {
        Level::Managed => Path::new("/etc/opencode").to_owned(),
        Level::User => site.dir("XDG_CONFIG_HOME", ".config").join("opencode"),
    }
}

/// The first of the two names that exists; OpenCode reads both.
fn settings(dir: &Path) -> PathBuf {
    let commented = dir.join("opencode.jsonc");
    if commented.exists() { commented } else { dir.join("opencode.json") }
}

fn files(site: &Site) -> Vec<FilePlan> {
    let plugin = site.share("opencode/mantlet.js");
    let entry = json!([format!("file://{}", plugin.display()), {"program": site.mantlet()}]);
    vec![
        FilePlan::whole(plugin, PLUGIN, DENY),
        FilePlan::edited(settings(&config(site)), Format::Jsonc)
            // OpenCode writes this line into its settings by itself; what is there already it leaves alone.
            .set(&["$schema"], "https://opencode.ai/config.json", ENTRY)
            .append(&["plugin"], entry, ENTRY),
    ]
}

fn next(_: &Site) -> Vec<String> {
    vec!["OPENCODE_PURE=1 or --pure starts OpenCode without plugins: `mantlet run` confines it all the same".into()]
}

fn props(_: &Site, stage: &Stage, model: &str) -> Vec<FilePlan> {
    let provider = json!({
        "npm": "@ai-sdk/openai-compatible",
        "name": "Scripted",
        "options": {"baseURL": format!("{model}/v1"), "apiKey": "mantlet-canary-no-key"},
        "models": {"scripted": {"name": "Scripted", "limit": {"context": 400_000, "output": 4096}}},
    });
    let path = settings(&stage.home().join(".config/opencode"));
    vec![
        FilePlan::edited(path, Format::Jsonc)
            .set(&["model"], "scripted/scripted", "")
            .set(&["small_model"], "scripted/scripted", "")
            .set(&["autoupdate"], false, "")
            .set(&["share"], "disabled", "")
            .set(&["permission"], json!({"*": "allow", "external_directory": "allow"}), "")
            .set(&["provider", "scripted"], provider, ""),
    ]
}

fn start(stage: &Stage, _: &str) -> Start {
    Start {
        args: vec!["run".into(), "Please run the script.".into()],
        env: vec![("OPENCODE_DISABLE_MODELS_FETCH".into(), "1".into())],
        denied: Call { tool: "read", arguments: json!({"filePath": text(&stage.planted())}) },
        allowed: Call { tool: "bash", arguments: json!({"command": "cat note.txt", "description": "a command"}) },
    }
}
