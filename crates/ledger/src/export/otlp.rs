//! OTLP/JSON: a log record per entry, in requests that a collector takes over HTTP and from a file alike.
//!
//! Attributes have the names of the semantic conventions where there are such, and `mantlet.` before the ledger's own name
//! where not. Numbers of 64 bits are strings in this encoding.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::facts::{Facts, Severity, host_port};
use super::{Origin, Unfit};
use crate::time::millis;
use crate::{Entry, Kind};

/// As many records as one request has at most: what collectors batch themselves.
const MOST: usize = 512;

/// As many bytes as one request has about at most, well below what receivers refuse. An entry alone may be longer.
const LONGEST: usize = 1 << 20;

/// The records of the next request.
#[derive(Debug, Default)]
pub(super) struct Batch {
    records: String,
    count: usize,
}

impl Batch {
    /// Adds an entry's record.
    pub(super) fn push(&mut self, entry: &Entry) -> Result<(), Unfit> {
        let record = serde_json::to_string(&record(entry)?)?;
        if self.count > 0 {
            self.records.push(',');
        }
        self.records.push_str(&record);
        self.count += 1;
        Ok(())
    }

    /// Whether there is nothing to send.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether it is to be sent.
    pub(super) fn is_full(&self) -> bool {
        self.count >= MOST || self.records.len() >= LONGEST
    }

    /// The request; the batch begins anew.
    pub(super) fn take(&mut self, origin: &Origin) -> String {
        let resource = json!({ "attributes": [
            attribute("service.name", &"mantlet".into()),
            attribute("service.version", &origin.version.as_str().into()),
            attribute("host.name", &origin.host.as_str().into()),
        ] });
        let scope = json!({ "name": "mantlet.ledger", "version": origin.version });
        let mut text = String::with_capacity(self.records.len() + 512);
        // Writing to a String cannot fail.
        write!(
            text,
            "{{\"resourceLogs\":[{{\"resource\":{resource},\"scopeLogs\":[{{\"scope\":{scope},\"logRecords\":["
        )
        .ok();
        text.push_str(&self.records);
        text.push_str("]}]}]}");
        *self = Batch::default();
        text
    }
}

fn record(entry: &Entry) -> Result<Value, Unfit> {
    let facts = Facts::of(entry);
    let (number, text) = severity(facts.severity);
    let mut record = json!({
        "severityNumber": number,
        "severityText": text,
        "eventName": format!("mantlet.{}", facts.kind),
        "body": { "stringValue": facts.message() },
    });
    let mut attributes = Attributes(Vec::new());
    // A time that is none is unknown here, which the protocol has a way to say; the text is kept.
    match millis(&entry.time) {
        Some(time) => {
            let nanos = format!("{time}000000");
            record["timeUnixNano"] = nanos.as_str().into();
            record["observedTimeUnixNano"] = nanos.into();
        }
        None => attributes.add("mantlet.time", &entry.time.as_str().into()),
    }
    attributes.add("mantlet.agent", &entry.agent.as_str().into());
    attributes.add("mantlet.policy", &entry.policy.as_str().into());
    attributes.add("mantlet.v", &entry.v.into());
    if let Some(link) = &entry.chain {
        attributes.add("log.record.uid", &link.hash.as_str().into());
        attributes.add("mantlet.seq", &link.seq.into());
        attributes.add("mantlet.prev", &link.prev.as_str().into());
    }
    if let Value::Object(fields) = serde_json::to_value(&entry.kind)? {
        attributes.fields(&entry.kind, fields);
    }
    record["attributes"] = Value::Array(attributes.0);
    Ok(record)
}

/// Key and value pairs as the encoding wants them.
struct Attributes(Vec<Value>);

impl Attributes {
    fn add(&mut self, name: &str, value: &Value) {
        self.0.push(attribute(name, value));
    }

    fn fields(&mut self, kind: &Kind, fields: Map<String, Value>) {
        for (field, value) in fields {
            match (kind, field.as_str(), &value) {
                (_, "kind", _) => {}
                (Kind::Egress(egress), "host", _) if !matches!(egress.way.as_str(), "policy" | "various") => {
                    let (host, port) = host_port(&egress.host);
                    self.add(if egress.way == "dns" { "dns.question.name" } else { "server.address" }, &host.into());
                    if let Some(port) = port {
                        self.add("server.port", &port.into());
                    }
                }
                (Kind::Change(_), "culprit", Value::Object(culprit)) => {
                    for (field, value) in culprit {
                        self.add(&name("culprit", field), value);
                    }
                }
                // The exit code of a refusal is ours, and no process's.
                (Kind::Exec(exec), "exit", _) if exec.tier == "refused" => self.add("mantlet.exit", &value),
                (Kind::Egress(egress), "address", _) if egress.way == "publish" => self.add("client.address", &value),
                (_, field, value) => self.add(&name(Facts::kind_of(kind), field), value),
            }
        }
    }
}

/// The attribute of a field. From the registry of semantic conventions, where the meaning is the same.
fn name(kind: &str, field: &str) -> String {
    let known = match (kind, field) {
        ("exec", "command") => "process.command_line",
        ("exec", "exit") => "process.exit.code",
        ("exec" | "tool", "session") => "session.id",
        ("tool", "tool") => "gen_ai.tool.name",
        ("tool", "input") => "gen_ai.tool.call.arguments",
        ("tool" | "egress", "rule") => "security_rule.name",
        ("egress", "address") => "network.peer.address",
        ("change", "path") => "file.path",
        ("culprit", "pid") => "process.pid",
        ("culprit", "exe") => "process.executable.path",
        (_, field) => return format!("mantlet.{field}"),
    };
    known.into()
}

fn attribute(key: &str, value: &Value) -> Value {
    json!({ "key": key, "value": any(value) })
}

/// A value in its wrapping.
fn any(value: &Value) -> Value {
    match value {
        Value::Null => json!({}),
        Value::Bool(truth) => json!({ "boolValue": truth }),
        // What no signed number of 64 bits holds would make a collector refuse the whole request.
        Value::Number(number) => match number.as_i64() {
            Some(number) => json!({ "intValue": number.to_string() }),
            None => json!({ "stringValue": number.to_string() }),
        },
        Value::String(text) => json!({ "stringValue": text }),
        Value::Array(values) => json!({ "arrayValue": { "values": values.iter().map(any).collect::<Vec<_>>() } }),
        Value::Object(fields) => {
            let values: Vec<Value> = fields.iter().map(|(key, value)| attribute(key, value)).collect();
            json!({ "kvlistValue": { "values": values } })
        }
    }
}

/// The protocol's number and our word for it.
fn severity(severity: Severity) -> (u32, &'static str) {
    match severity {
        Severity::Informational => (9, "Informational"),
        Severity::Low => (13, "Low"),
        Severity::Medium => (14, "Medium"),
        Severity::High => (17, "High"),
        Severity::Critical => (21, "Critical"),
    }
}
