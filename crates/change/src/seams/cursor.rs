//! Cursor: its hook file. A closed program that runs only with its vendor's service: what is written here follows its
//! documentation, and no live call has shown it.

use serde_json::json;

use super::{DENY, FAIL_CLOSED, LOG, Seam, Site, no_props};
use crate::{FilePlan, Format};

pub(super) const SEAM: Seam = Seam {
    client: "cursor",
    program: "cursor",
    agent: "cursor",
    has_managed: false,
    files,
    start: None,
    props: no_props,
    next,
};

/// The events that ask before something happens.
const BEFORE: &[&str] = &["preToolUse", "beforeShellExecution", "beforeMCPExecution", "beforeReadFile"];

fn files(site: &Site) -> Vec<FilePlan> {
    let hook = json!({"command": site.hook_line("cursor"), "failClosed": true, "timeout": 10});
    let stops = format!("{DENY} {FAIL_CLOSED}");
    let mut file = FilePlan::edited(site.home.join(".cursor/hooks.json"), Format::Json).set(&["version"], 1, LOG);
    for event in BEFORE {
        file = file.append(&["hooks", event], hook.clone(), &stops);
    }
    vec![file.append(&["hooks", "postToolUse"], hook, LOG)]
}

fn next(_: &Site) -> Vec<String> {
    vec!["Cursor cannot be tried without its vendor's service: that its hooks fire is documented, and not shown".into()]
}
