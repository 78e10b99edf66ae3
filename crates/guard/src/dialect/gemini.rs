//! Gemini CLI: `BeforeTool` and `AfterTool`, decisions at the top of the answer.

use serde_json::{Map, Value, json};

use super::{DialectError, Event, Fields, Moment, Reply, Server, Verdict, sentence};

/// Events at which nothing about a tool is decided here.
const OTHERS: &[&str] = &[
    "BeforeAgent",
    "AfterAgent",
    "Notification",
    "SessionStart",
    "SessionEnd",
    "PreCompress",
    "BeforeModel",
    "AfterModel",
    "BeforeToolSelection",
];

pub(super) fn read(fields: &mut Fields) -> Result<Event, DialectError> {
    let name = fields.text("hook_event_name")?;
    let mut event = match name.as_str() {
        "BeforeTool" => Event::new(Moment::Before, Reply::Gemini),
        "AfterTool" => Event::new(Moment::After, Reply::Empty),
        other if OTHERS.contains(&other) => Event::new(Moment::Other, Reply::Empty),
        _ => return Err(DialectError::UnknownEvent { event: name }),
    };
    event.session = fields.maybe_text("session_id")?;
    if event.moment == Moment::Other {
        return Ok(event);
    }
    event.tool = fields.name("tool_name")?;
    event.input = fields.object("tool_input")?;
    event.cwd = fields.directory("cwd")?;
    event.server = fields.maybe_object("mcp_context")?.map(server).transpose()?;
    let response = fields.maybe_object("tool_response").ok().flatten();
    event.has_failed = response.is_some_and(|response| response.get("error").is_some_and(|error| !error.is_null()));
    Ok(event)
}

fn server(context: Map<String, Value>) -> Result<Server, DialectError> {
    let mut context = Fields(context);
    let name = context.name("server_name")?;
    let arguments = match context.0.remove("args") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(DialectError::Field { field: "args", wanted: "list" }),
    };
    let command = context.maybe_text("command")?.map(Value::String).into_iter().chain(arguments);
    let command: Option<Vec<String>> =
        command.map(|word| if let Value::String(word) = word { Some(word) } else { None }).collect();
    Ok(Server { name, command: command.filter(|words| !words.is_empty()) })
}

pub(super) fn answer(verdict: Verdict<'_>) -> Value {
    match verdict {
        Verdict::Pass => json!({ "decision": "allow" }),
        Verdict::Deny(denial) => json!({ "decision": "deny", "reason": sentence(denial) }),
        Verdict::Rewrite(input) => json!({
            "decision": "allow",
            "hookSpecificOutput": { "hookEventName": "BeforeTool", "tool_input": input },
        }),
    }
}
