//! Our own plugins in OpenCode and OpenClaw: they pass on what they are told, and do what they are answered.

use serde_json::{Map, Value, json};

use super::{DialectError, Event, Fields, Moment, Reply, Verdict, sentence};

pub(super) fn opencode(fields: &mut Fields) -> Result<Event, DialectError> {
    let mut event = start(fields, "args")?;
    event.session = fields.maybe_text("sessionID")?;
    event.tool = fields.name("tool")?;
    event.cwd = fields.directory("directory")?;
    Ok(event)
}

pub(super) fn openclaw(fields: &mut Fields) -> Result<Event, DialectError> {
    let mut event = start(fields, "params")?;
    event.session = fields.maybe_text("sessionKey")?;
    event.agent = Some(fields.name("agentId")?);
    event.tool = fields.name("toolName")?;
    event.cwd = fields.directory("workspace")?;
    Ok(event)
}

/// An event that does not say so is one before a tool, at which the answer counts.
fn start(fields: &mut Fields, key: &'static str) -> Result<Event, DialectError> {
    let mut event = match fields.maybe_text("event")?.as_deref() {
        None | Some("before") => Event::new(Moment::Before, Reply::Plugin(key)),
        Some("after") => Event::new(Moment::After, Reply::Plugin(key)),
        Some(other) => return Err(DialectError::UnknownEvent { event: other.to_owned() }),
    };
    event.input = fields.object(key)?;
    event.has_failed = fields.0.remove("failed") == Some(Value::Bool(true));
    Ok(event)
}

pub(super) fn answer(key: &'static str, verdict: Verdict<'_>) -> Value {
    match verdict {
        Verdict::Pass => json!({ "decision": "allow" }),
        Verdict::Deny(denial) => json!({ "decision": "deny", "reason": sentence(denial) }),
        Verdict::Rewrite(input) => {
            let fields = [("decision".to_owned(), "rewrite".into()), (key.to_owned(), Value::Object(input.clone()))];
            Value::Object(Map::from_iter(fields))
        }
    }
}
