//! Copilot CLI. An event spelled `preToolUse` in its settings has words of its own; spelled `PreToolUse` it speaks as
//! Claude Code does, and takes no other answer.

use serde_json::{Map, Value, json};

use super::{DialectError, Event, Fields, Moment, Reply, Verdict, claude, sentence};

pub(super) fn read(fields: &mut Fields) -> Result<Event, DialectError> {
    if fields.0.contains_key("hook_event_name") {
        return claude::read(fields);
    }
    // Its own events do not carry their name: what they have tells them apart.
    let is_after = fields.0.contains_key("toolResult") || fields.0.contains_key("error");
    let is_tool = fields.0.contains_key("toolName") || fields.0.contains_key("toolArgs");
    let mut event = match (is_tool, is_after) {
        (true, false) => Event::new(Moment::Before, Reply::Flat),
        (true, true) => Event::new(Moment::After, Reply::Empty),
        (false, _) if fields.0.contains_key("cwd") => Event::new(Moment::Other, Reply::Empty),
        (false, _) => return Err(DialectError::Field { field: "toolName", wanted: "string" }),
    };
    event.session = fields.maybe_text("sessionId")?;
    if event.moment == Moment::Other {
        return Ok(event);
    }
    event.tool = fields.name("toolName")?;
    event.input = fields.object("toolArgs")?;
    event.cwd = fields.directory("cwd")?;
    event.has_failed = fields.0.contains_key("error");
    Ok(event)
}

pub(super) fn answer(verdict: Verdict<'_>) -> Value {
    match verdict {
        Verdict::Pass => Value::Object(Map::new()),
        Verdict::Deny(denial) => {
            json!({ "permissionDecision": "deny", "permissionDecisionReason": sentence(denial) })
        }
        Verdict::Rewrite(input) => json!({ "permissionDecision": "allow", "modifiedArgs": input }),
    }
}
