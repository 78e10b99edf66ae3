//! OCSF: which class an entry is, and which of its fields are which attributes. What is left goes into `unmapped`.
//!
//! The words with their numbers are in `words.rs`. `tests/e2e/export` holds the output against the published schema.

mod change;
mod network;
mod words;

use serde_json::{Map, Value, json};

use self::words::{Class, Word, action, activity, class, disposition, finding, severity, status};
use super::facts::Facts;
use super::{Origin, Unfit};
use crate::time::millis;
use crate::{Alert, Entry, Exec, Halt, Kind, Tool, Upkeep};

/// The schema's version.
const VERSION: &str = "1.8.0";

/// The event of an entry.
///
/// # Errors
/// When the entry has no time.
pub(super) fn event(entry: &Entry, origin: &Origin) -> Result<Value, Unfit> {
    let facts = Facts::of(entry);
    let time = millis(&entry.time).and_then(|time| i64::try_from(time).ok());
    let time = time.ok_or_else(|| Unfit::Time { time: entry.time.clone() })?;
    let mut event = Event { attributes: Map::new(), rest: rest(entry)?, profiles: &[], time };
    match &entry.kind {
        Kind::Exec(exec) => event.exec(exec),
        Kind::Tool(tool) => event.tool(tool, origin),
        Kind::Egress(egress) => event.egress(egress, origin),
        Kind::Change(change) => event.change(change, entry, &facts),
        Kind::Alert(alert) => event.alert(alert, entry),
        Kind::Halt(halt) => event.halt(halt, origin),
        Kind::Ledger(upkeep) => event.upkeep(upkeep),
    }
    event.envelope(entry, &facts, origin);
    Ok(Value::Object(event.attributes))
}

/// The fields of the kind; each is taken out where it finds an attribute.
fn rest(entry: &Entry) -> Result<Map<String, Value>, Unfit> {
    let Value::Object(mut rest) = serde_json::to_value(&entry.kind)? else { return Ok(Map::new()) };
    rest.remove("kind");
    Ok(rest)
}

/// An event as it grows.
struct Event {
    attributes: Map<String, Value>,
    rest: Map<String, Value>,
    profiles: &'static [&'static str],
    time: i64,
}

impl Event {
    fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.attributes.insert(name.into(), value.into());
    }

    /// Puts a field into an attribute, if the entry has it.
    fn carry(&mut self, field: &str, name: &str) {
        if let Some(value) = self.rest.remove(field) {
            self.set(name, value);
        }
    }

    /// The same for a number, which stays where it is if the schema's integers cannot hold it.
    fn carry_number(&mut self, field: &str, name: &str) {
        if self.rest.get(field).is_some_and(Value::is_i64) {
            self.carry(field, name);
        }
    }

    /// Sets `NAME_id` and the caption beside it.
    fn word(&mut self, name: &str, (id, caption): Word<'_>) {
        self.set(&format!("{name}_id"), id);
        self.set(name, caption);
    }

    fn class(&mut self, class: &Class, activity: Word<'_>) {
        self.set("class_uid", class.uid);
        self.set("class_name", class.name);
        self.set("category_uid", class.category.0);
        self.set("category_name", class.category.1);
        self.set("activity_id", activity.0);
        self.set("activity_name", activity.1);
        self.set("type_uid", class.uid * 100 + activity.0);
        let caption = if activity.0 == words::OTHER { "Other" } else { activity.1 };
        self.set("type_name", format!("{}: {caption}", class.name));
        self.profiles = class.profiles;
    }

    /// What a control did, and what became of the thing.
    fn control(&mut self, action: Word<'_>, disposition: Word<'_>) {
        self.word("action", action);
        self.word("disposition", disposition);
    }

    /// What every event has.
    fn envelope(&mut self, entry: &Entry, facts: &Facts<'_>, origin: &Origin) {
        self.set("time", self.time);
        self.set("message", facts.message());
        self.word("severity", severity(facts.severity));
        self.carry("reason", "status_detail");
        self.carry_number("count", "count");
        let is_controlled = self.attributes.contains_key("action_id");
        if entry.policy != "-" && is_controlled {
            self.set("policy", json!({ "uid": entry.policy }));
        } else {
            self.rest.insert("policy".into(), entry.policy.as_str().into());
        }
        self.device(origin);
        self.metadata(entry, facts, origin);
        if !self.attributes.contains_key("actor") {
            self.rest.insert("agent".into(), entry.agent.as_str().into());
        } else if let Some(Value::Object(actor)) = self.attributes.get_mut("actor") {
            actor.insert("app_name".into(), entry.agent.as_str().into());
        }
        if !self.rest.is_empty() {
            let rest = std::mem::take(&mut self.rest);
            self.set("unmapped", rest);
        }
    }

    fn device(&mut self, origin: &Origin) {
        self.set("device", json!({ "hostname": origin.host, "type_id": 0, "type": "Unknown" }));
    }

    fn metadata(&mut self, entry: &Entry, facts: &Facts<'_>, origin: &Origin) {
        let mut metadata = json!({
            "version": VERSION,
            "product": product(origin),
            "log_provider": "mantlet",
            "log_name": "ledger",
            "log_version": entry.v.to_string(),
            "event_code": facts.kind,
            "original_time": entry.time,
        });
        // Other ledgers count from 0 as well, so that the hash, not the number, names an event; and what binds it to the one
        // before is kept, for a reader who checks the chain elsewhere.
        if let Some(link) = &entry.chain {
            metadata["uid"] = link.hash.as_str().into();
            self.rest.insert("chain".into(), json!({ "seq": link.seq, "prev": link.prev }));
            if i64::try_from(link.seq).is_ok() {
                metadata["sequence"] = link.seq.into();
            }
        }
        if let Some(call) = facts.call {
            metadata["correlation_uid"] = call.into();
            self.rest.remove("call");
        }
        if !self.profiles.is_empty() {
            metadata["profiles"] = self.profiles.into();
        }
        self.set("metadata", metadata);
    }

    fn exec(&mut self, exec: &Exec) {
        self.class(&class::PROCESS, activity::LAUNCH);
        self.set("process", json!({ "uid": exec.call, "cmd_line": exec.command }));
        self.rest.remove("command");
        self.actor("session");
        if exec.tier == "refused" {
            // The exit code is ours then: there was no process to have one.
            self.control(action::DENIED, disposition::BLOCKED);
            self.word("status", status::FAILURE);
        } else {
            self.control(action::ALLOWED, disposition::ALLOWED);
            self.carry("exit", "exit_code");
            self.word("status", if exec.exit == 0 { status::SUCCESS } else { status::FAILURE });
        }
        if let Some(start) = i64::try_from(exec.duration_ms).ok().and_then(|took| self.time.checked_sub(took))
            && start >= 0
        {
            self.carry_number("duration_ms", "duration");
            self.set("start_time", start);
            self.set("end_time", self.time);
        }
    }

    fn tool(&mut self, tool: &Tool, origin: &Origin) {
        self.class(&class::API, (words::OTHER, "Call"));
        self.set("api", json!({ "operation": tool.tool, "service": { "name": tool.client } }));
        self.rest.remove("tool");
        self.rest.remove("client");
        self.set("src_endpoint", json!({ "hostname": origin.host }));
        self.actor("session");
        let (action, disposition, status) = match tool.decision.as_str() {
            "allowed" => (action::ALLOWED, disposition::ALLOWED, status::SUCCESS),
            "denied" => (action::DENIED, disposition::BLOCKED, status::FAILURE),
            "jailed" => (action::MODIFIED, disposition::ISOLATED, status::SUCCESS),
            "ran" => (action::OBSERVED, disposition::LOGGED, status::SUCCESS),
            "failed" => (action::OBSERVED, disposition::LOGGED, status::FAILURE),
            other => ((words::OTHER, other), (words::OTHER, other), status::UNKNOWN),
        };
        self.control(action, disposition);
        self.word("status", status);
    }

    fn alert(&mut self, alert: &Alert, entry: &Entry) {
        self.class(&class::FINDING, activity::CREATE);
        self.rest.remove("subject");
        self.finding(&alert.subject, "alert", entry);
        self.set("is_alert", true);
        self.control(action::OBSERVED, disposition::ALERT);
    }

    /// What a finding must have: a name that is its own, and a place in somebody's list.
    fn finding(&mut self, title: &str, kind: &str, entry: &Entry) {
        let uid = entry.chain.as_ref().map(|link| link.hash.clone());
        let uid = uid.unwrap_or_else(|| format!("{kind} {} {title}", entry.time));
        self.set("finding_info", json!({ "uid": uid, "title": title, "created_time": self.time }));
        self.word("status", finding::NEW);
    }

    fn halt(&mut self, halt: &Halt, origin: &Origin) {
        let activity = match halt.action.as_str() {
            "halt" => activity::STOP,
            "resume" => activity::START,
            other => (words::OTHER, other),
        };
        self.class(&class::APPLICATION, activity);
        self.set("app", product(origin));
        self.word("status", if halt.left == 0 { status::SUCCESS } else { status::FAILURE });
    }

    fn upkeep(&mut self, upkeep: &Upkeep) {
        let activity = match upkeep.event.as_str() {
            "rotated" => activity::ROTATE,
            "dropped" => activity::DELETE_LOG,
            other => (words::OTHER, other),
        };
        self.class(&class::EVENT_LOG, activity);
        self.set("log_name", "ledger");
        self.set("log_provider", "mantlet");
        self.word("log_type", (2, "Application"));
        self.word("status", status::SUCCESS);
    }

    /// Who asked, with the session in `field`.
    fn actor(&mut self, field: &str) {
        let session = self.rest.remove(field);
        self.set("actor", session.map_or(json!({}), |uid| json!({ "session": { "uid": uid } })));
    }
}

fn product(origin: &Origin) -> Value {
    json!({ "name": "Mantlet", "vendor_name": "Mantlet", "version": origin.version })
}
