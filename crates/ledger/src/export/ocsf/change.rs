//! Changes of protected files: what the owner accepted is file activity; all else is a finding, since it is tampering until
//! somebody says otherwise.

use serde_json::{Value, json};

use super::words::{Word, action, activity, class, disposition, finding, status};
use super::{Event, words};
use crate::export::facts::Facts;
use crate::{Change, Culprit, Entry};

impl Event {
    pub(super) fn change(&mut self, change: &Change, entry: &Entry, facts: &Facts<'_>) {
        if change.outcome == "accepted" {
            self.accepted(change);
        } else {
            self.tampered(change, entry, facts);
        }
    }

    fn accepted(&mut self, change: &Change) {
        self.class(&class::FILE, activity_of(&change.what));
        self.set("file", file(&change.path, change.before.as_deref()));
        if let Some(after) = &change.after {
            self.set("file_result", file(&change.path, Some(after)));
        }
        self.leave_out(&["path", "before", "after", "culprit"]);
        let process = change.culprit.as_ref().map(process);
        self.set("actor", process.map_or(json!({}), |process| json!({ "process": process })));
        self.control(action::ALLOWED, disposition::APPROVED);
        self.word("status", status::SUCCESS);
    }

    fn tampered(&mut self, change: &Change, entry: &Entry, facts: &Facts<'_>) {
        self.class(&class::FINDING, activity::CREATE);
        let title = format!("protected file {}: {}", change.what, change.path);
        self.finding(&title, facts.kind, entry);
        let (action, disposition) = match change.outcome.as_str() {
            "undone" => (action::MODIFIED, disposition::RESTORED),
            "reported" => (action::OBSERVED, disposition::UNCORRECTED),
            "locked" => (action::DENIED, disposition::BLOCKED),
            other => ((words::OTHER, other), (words::OTHER, other)),
        };
        self.control(action, disposition);
        if change.outcome == "undone" {
            self.word("status", finding::RESOLVED);
        }
        self.set("is_alert", true);
        let mut evidence = json!({ "file": file(&change.path, change.after.as_deref()) });
        if let Some(culprit) = &change.culprit {
            evidence["process"] = process(culprit);
        }
        self.set("evidences", json!([evidence]));
        self.leave_out(&["path", "after", "culprit"]);
    }

    /// What is in attributes now; the culprit's call is in `metadata.correlation_uid`.
    fn leave_out(&mut self, fields: &[&str]) {
        for field in fields {
            self.rest.remove(*field);
        }
    }
}

fn activity_of(what: &str) -> Word<'_> {
    match what {
        "written" | "replaced" | "keys" | "rows" => activity::UPDATE_FILE,
        "deleted" => activity::DELETE_FILE,
        "made" => activity::CREATE,
        "moved" => activity::RENAME,
        "mounted" => activity::MOUNT,
        "mode" | "owner" => activity::SET_SECURITY,
        "xattr" | "attributes" => activity::SET_ATTRIBUTES,
        other => (words::OTHER, other),
    }
}

fn file(path: &str, sha256: Option<&str>) -> Value {
    let mut file = json!({ "path": path, "name": name(path), "type": "Unknown", "type_id": 0 });
    if let Some(value) = sha256 {
        file["hashes"] = json!([{ "algorithm": "SHA-256", "algorithm_id": 3, "value": value }]);
    }
    file
}

fn process(culprit: &Culprit) -> Value {
    let mut process = json!({ "pid": culprit.pid });
    if let Some(uid) = culprit.uid {
        process["user"] = json!({ "uid": uid.to_string() });
    }
    if let Some(exe) = &culprit.exe {
        process["path"] = exe.as_str().into();
        process["name"] = name(exe).into();
    }
    process
}

/// The last name on a path; the path itself where it has none.
fn name(path: &str) -> &str {
    path.rsplit('/').find(|name| !name.is_empty()).unwrap_or(path)
}
