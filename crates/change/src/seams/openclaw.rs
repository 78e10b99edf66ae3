//! OpenClaw: our sandbox backend as a plugin, and every agent's tools in it.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::{Seam, Site, quoted, text};
use crate::canary::{Call, Stage, Start};
use crate::{FilePlan, Format};

pub(super) const SEAM: Seam = Seam {
    client: "openclaw",
    program: "openclaw",
    // OpenClaw's own name for an agent that nobody named.
    agent: "main",
    has_managed: false,
    files,
    start: Some(start),
    props,
    next,
};

/// The plugin's files, by their place in it.
const PLUGIN: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/openclaw.rs"));

const CODE: &str = "A plugin that the agent can rewrite: Mantlet's lies outside every workspace.";
const BACKEND: &str =
    "A command or a file tool on the host: each call of every agent goes into the jail, and fails without it.";
const IN_PLACE: &str = "A copy of the workspace that drifts from the real one: the jail has the workspace itself.";
const LOADED: &str = "A turn without the backend: OpenClaw loads the plugin, and names it if it is missing.";
const NAMED: &str = "A program of that name elsewhere: only this one is started.";
const OUTER: &str =
    "A plugin or tool inside the gateway's own process: the gateway itself can be started in a jail by this.";

fn config(site: &Site) -> PathBuf {
    let named =
        site.moved.iter().find(|(name, _)| *name == "OPENCLAW_CONFIG_PATH").map(|(_, path)| PathBuf::from(path));
    let usual = || site.dir("OPENCLAW_STATE_DIR", ".openclaw").join("openclaw.json");
    named.filter(|path| path.is_absolute()).unwrap_or_else(usual)
}

/// What the settings say at a path; nothing when they cannot be read, which the edit then reports.
fn said(site: &Site, path: &[&str]) -> Option<Value> {
    let text = crate::place::read_text(&config(site)).ok()??;
    crate::op::value_at(&text, Format::Json5, path)
}

fn files(site: &Site) -> Vec<FilePlan> {
    let plugin = site.share("openclaw");
    let mut files: Vec<FilePlan> =
        PLUGIN.iter().map(|(name, text)| FilePlan::whole(plugin.join(name), *text, CODE)).collect();
    // Without a network of its own to go out by, the gateway could neither be reached nor reach its model.
    let words = ["run", "--network", "host", &quoted(&site.agent), "--", "openclaw"];
    files.push(FilePlan::program(gateway(site), site.wrapper(&words), OUTER));
    let sandbox = ["agents", "defaults", "sandbox"];
    let at = |name: &'static str| [sandbox[0], sandbox[1], sandbox[2], name];
    let mut settings = FilePlan::edited(config(site), Format::Json5)
        .set(&at("mode"), "all", BACKEND)
        .set(&at("backend"), "mantlet", BACKEND)
        .set(&at("workspaceAccess"), "rw", IN_PLACE)
        .append(&["plugins", "load", "paths"], text(&plugin), LOADED)
        .set(&["plugins", "entries", "mantlet", "enabled"], true, LOADED)
        .set(&["plugins", "entries", "mantlet", "config", "mantletRun"], site.program("mantlet-run"), NAMED);
    // The list excludes what it does not name. Where there is none, one of ours would lock the owner's plugins out.
    if said(site, &["plugins", "allow"]).is_some_and(|list| list.is_array()) {
        settings = settings.append(&["plugins", "allow"], "mantlet", LOADED);
    }
    files.push(settings);
    files
}

fn gateway(site: &Site) -> PathBuf {
    site.share("bin/mantlet-openclaw-gateway")
}

fn next(site: &Site) -> Vec<String> {
    let mut lines = vec![format!(
        "for the gateway itself in a jail (its network is the host's, not confined): openclaw gateway install --force --wrapper {}",
        text(&gateway(site))
    )];
    let agents = said(site, &["agents", "list"]).and_then(|list| list.as_array().cloned()).unwrap_or_default();
    for agent in agents {
        let is_outside =
            |key: &str, wanted: &str| agent["sandbox"].get(key).is_some_and(|value| value.as_str() != Some(wanted));
        if is_outside("mode", "all") || is_outside("backend", "mantlet") {
            let id = agent["id"].as_str().unwrap_or("without an id");
            lines.push(format!("agent {id} has sandbox settings of its own, and is NOT in Mantlet's jail"));
        }
    }
    lines.push("each OpenClaw agent needs a section of its name in the policy; one without runs nothing".into());
    lines.push("restart the gateway now".into());
    lines
}

fn props(_: &Site, stage: &Stage, model: &str) -> Vec<FilePlan> {
    let provider = json!({
        "baseUrl": format!("{model}/v1"),
        "apiKey": "mantlet-canary-no-key",
        "api": "openai-completions",
        "models": [{"id": "scripted", "name": "Scripted", "input": ["text"], "contextWindow": 400_000, "maxTokens": 4096,
            "cost": {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0}}],
    });
    let defaults = |name: &'static str| ["agents", "defaults", name];
    vec![
        FilePlan::edited(stage.home().join(".openclaw/openclaw.json"), Format::Json5)
            .set(&["models", "providers", "scripted"], provider, "")
            .set(&defaults("model"), json!({"primary": "scripted/scripted"}), "")
            .set(&defaults("workspace"), text(&stage.workspace()), "")
            .set(&defaults("skipBootstrap"), true, "")
            .set(&["agents", "list"], json!([{"id": "main", "default": true}]), "")
            // Nobody is to be written to from a trial.
            .set(&["channels"], json!({}), "")
            .set(&["tools", "toolSearch"], false, ""),
    ]
}

fn start(stage: &Stage, _: &str) -> Start {
    let args = [
        "agent",
        "--local",
        "--session-id",
        "mantlet-canary",
        "--message",
        "Please run the script.",
        "--json",
        "--timeout",
        "120",
    ];
    Start {
        args: args.map(str::to_owned).to_vec(),
        env: Vec::new(),
        denied: Call { tool: "exec", arguments: json!({"command": format!("cat '{}'", text(&stage.planted()))}) },
        allowed: Call { tool: "exec", arguments: json!({"command": "cat note.txt"}) },
    }
}
