//! Cursor, by its documentation: `preToolUse` decides and rewrites; the older events per kind only decide.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::{DialectError, Event, Fields, Moment, Reply, Server, Verdict, is_directory_name, sentence, strict};

/// Events at which nothing about a tool is decided here.
const OTHERS: &[&str] = &[
    "beforeSubmitPrompt",
    "afterAgentResponse",
    "afterAgentThought",
    "sessionStart",
    "sessionEnd",
    "stop",
    "preCompact",
    "subagentStart",
    "subagentStop",
    "workspaceOpen",
];

/// Which tool an older event is about.
const AFTER: &[(&str, &str)] = &[
    ("afterShellExecution", "Shell"),
    ("afterMCPExecution", "MCP"),
    ("afterFileEdit", "Write"),
    ("afterTabFileEdit", "Write"),
];

pub(super) fn read(fields: &mut Fields) -> Result<Event, DialectError> {
    let name = fields.text("hook_event_name")?;
    let decides = Reply::Cursor { takes_input: false };
    let before = |reply| Event::new(Moment::Before, reply);
    let mut event = match name.as_str() {
        "preToolUse" => before(Reply::Cursor { takes_input: true }),
        "beforeShellExecution" | "beforeMCPExecution" | "beforeReadFile" | "beforeTabFileRead" => before(decides),
        "postToolUse" | "postToolUseFailure" => Event::new(Moment::After, Reply::Empty),
        other if AFTER.iter().any(|(after, _)| *after == other) => Event::new(Moment::After, Reply::Empty),
        other if OTHERS.contains(&other) => Event::new(Moment::Other, Reply::Empty),
        _ => return Err(DialectError::UnknownEvent { event: name }),
    };
    event.session = fields.maybe_text("conversation_id")?;
    event.has_failed = name == "postToolUseFailure";
    if event.moment == Moment::Other {
        return Ok(event);
    }
    event.cwd = place(fields)?;
    match name.as_str() {
        "preToolUse" | "postToolUse" | "postToolUseFailure" => {
            event.tool = fields.name("tool_name")?;
            event.input = fields.object("tool_input")?;
            // The server is not named here; `beforeMCPExecution` tells how it was started.
            event.server = event.tool.strip_prefix("MCP:").map(|name| Server { name: name.into(), command: None });
        }
        "beforeShellExecution" => {
            event.tool = "Shell".into();
            event.input = Map::from_iter([("command".to_owned(), fields.text("command")?.into())]);
        }
        "beforeMCPExecution" => mcp(&mut event, fields)?,
        "beforeReadFile" | "beforeTabFileRead" => {
            event.tool = "Read".into();
            event.input = Map::from_iter([("file_path".to_owned(), fields.text("file_path")?.into())]);
        }
        after => {
            let tool = AFTER.iter().find(|(name, _)| *name == after).map_or("", |(_, tool)| *tool);
            event.tool = tool.into();
            event.input = std::mem::take(&mut fields.0);
            // What is logged of an event is its subject, not what was written or answered.
            event.input.retain(|key, _| ["command", "tool_name", "file_path"].contains(&key.as_str()));
        }
    }
    Ok(event)
}

/// Where Cursor stands: named, or its only open directory.
fn place(fields: &mut Fields) -> Result<PathBuf, DialectError> {
    if fields.0.get("cwd").is_some_and(|cwd| cwd.as_str() != Some("")) {
        return fields.directory("cwd");
    }
    match fields.0.get("workspace_roots").and_then(Value::as_array).map(Vec::as_slice) {
        Some([Value::String(only)]) if is_directory_name(only.as_ref()) => Ok(only.into()),
        _ => Err(DialectError::Field { field: "cwd", wanted: "absolute path in" }),
    }
}

fn mcp(event: &mut Event, fields: &mut Fields) -> Result<(), DialectError> {
    event.tool = fields.name("tool_name")?;
    // The arguments are JSON in a string: they are read as strictly as the event.
    event.input = match fields.0.remove("tool_input") {
        Some(Value::String(text)) => strict::object(text.as_bytes())?,
        Some(Value::Object(map)) => map,
        _ => return Err(DialectError::Field { field: "tool_input", wanted: "object" }),
    };
    let command = fields.maybe_text("command")?.map(|line| line.split_whitespace().map(str::to_owned).collect());
    event.server = Some(Server { name: event.tool.clone(), command });
    Ok(())
}

pub(super) fn answer(takes_input: bool, verdict: Verdict<'_>) -> Value {
    match verdict {
        Verdict::Pass => json!({ "permission": "allow" }),
        Verdict::Rewrite(input) if takes_input => json!({ "permission": "allow", "updated_input": input }),
        Verdict::Rewrite(_) => {
            let text = "mantlet: this event takes no other command";
            json!({ "permission": "deny", "user_message": text, "agent_message": text })
        }
        Verdict::Deny(denial) => {
            let text = sentence(denial);
            json!({ "permission": "deny", "user_message": text, "agent_message": text })
        }
    }
}
