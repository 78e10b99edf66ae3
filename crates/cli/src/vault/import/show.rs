//! What is said about a survey: where, what it opens, what happens to it, and what that stops. Never a value.

use std::path::Path;

use mantlet_change::FilePlan;
use mantlet_clients::openclaw::Use;
use serde_json::{Value, json};

use super::site::Site;
use super::survey::{Fate, Found, Survey};

/// The survey for a person.
pub(super) fn text(survey: &Survey, site: &Site) -> String {
    let mut out = String::new();
    let mut files: Vec<&Path> = Vec::new();
    for found in &survey.found {
        if !files.contains(&found.file.as_path()) {
            files.push(&found.file);
        }
    }
    for file in files {
        out += &format!("{}\n", name(file, site));
        let mut stops: Vec<&str> = Vec::new();
        for plan in survey.files.iter().filter(|plan| plan.path == file) {
            stops.extend(reasons(plan));
        }
        for stop in stops {
            out += &format!("  stops: {stop}\n");
        }
        for found in survey.found.iter().filter(|found| found.file == file) {
            out += &format!("  {}: opens {}\n      {}\n", clean(&found.key), clean(&found.opens), fate(found));
        }
        out.push('\n');
    }
    out
}

fn reasons(plan: &FilePlan) -> Vec<&str> {
    let mut reasons: Vec<&str> = plan.changes.iter().map(|change| change.stops.as_str()).collect();
    reasons.dedup();
    reasons
}

fn fate(found: &Found) -> String {
    let said = match &found.fate {
        Fate::Replaced => "sealed; a SecretRef takes its place".into(),
        Fate::Moved(key) => format!("sealed and taken out; {} gets a SecretRef for it", clean(key)),
        Fate::Removed => "removed: OpenClaw does not need it, and `--undo` puts it back".into(),
        Fate::Masked => "masked where it stands".into(),
        Fate::Held(why) => format!("held, it stays as it is: {}", clean(why)),
    };
    match (found.used, &found.fate) {
        (Some(Use::Local), Fate::Replaced | Fate::Moved(_)) => {
            format!(
                "{said}\n      held in memory: it signs or compares in the gateway's own process, which has to know it"
            )
        }
        _ => said,
    }
}

/// The survey for a program.
pub(super) fn json(survey: &Survey, site: &Site, done: &str) -> Value {
    let found: Vec<Value> = survey.found.iter().map(entry).collect();
    json!({"status": done, "vault": site.vault.to_string_lossy(), "found": found})
}

fn entry(found: &Found) -> Value {
    let (fate, detail) = match &found.fate {
        Fate::Replaced => ("replaced", None),
        Fate::Moved(key) => ("moved", Some(key)),
        Fate::Removed => ("removed", None),
        Fate::Masked => ("masked", None),
        Fate::Held(why) => ("held", Some(why)),
    };
    json!({
        "file": found.file.to_string_lossy(),
        "key": found.key,
        "opens": found.opens,
        "usedLocally": found.used == Some(Use::Local),
        "fate": fate,
        "detail": detail,
    })
}

pub(super) fn name(path: &Path, site: &Site) -> String {
    match path.strip_prefix(&site.home) {
        Ok(rest) => format!("~/{}", clean(&rest.to_string_lossy())),
        Err(_) => clean(&path.to_string_lossy()),
    }
}

fn clean(text: &str) -> String {
    mantlet_ledger::escape(text.as_bytes())
}
