//! Claude Code, and Codex, which speaks the same: `PreToolUse` and its answer in `hookSpecificOutput`.
//!
//! An answer without `hookEventName` is ignored and the tool runs, so that there is one in every answer.

use serde_json::{Map, Value, json};

use super::{DialectError, Event, Fields, Moment, Reply, Server, Verdict, sentence};

/// Events at which nothing about a tool is decided here.
const OTHERS: &[&str] = &[
    "PostToolBatch",
    "Notification",
    "UserPromptSubmit",
    "UserPromptExpansion",
    "SessionStart",
    "SessionEnd",
    "Stop",
    "StopFailure",
    "SubagentStart",
    "SubagentStop",
    "PreCompact",
    "PostCompact",
    "PreModelSwitch",
    "PostModelSwitch",
    "PermissionRequest",
    "PermissionDenied",
    "Setup",
    "TeammateIdle",
    "TaskCreated",
    "TaskCompleted",
    "Elicitation",
    "ElicitationResult",
    "ConfigChange",
    "WorktreeCreate",
    "WorktreeRemove",
    "InstructionsLoaded",
    "CwdChanged",
    "FileChanged",
    "DirectoryAdded",
    "MessageDisplay",
    "Interrupt",
];

pub(super) fn read(fields: &mut Fields) -> Result<Event, DialectError> {
    let name = fields.text("hook_event_name")?;
    let mut event = match name.as_str() {
        "PreToolUse" => Event::new(Moment::Before, Reply::Nested("PreToolUse")),
        "PostToolUse" => Event::new(Moment::After, Reply::Nested("PostToolUse")),
        "PostToolUseFailure" => Event::new(Moment::After, Reply::Nested("PostToolUseFailure")),
        other if OTHERS.contains(&other) => Event::new(Moment::Other, Reply::Empty),
        _ => return Err(DialectError::UnknownEvent { event: name }),
    };
    event.session = fields.maybe_text("session_id")?;
    event.agent = fields.maybe_text("agent_id")?;
    if event.moment == Moment::Other {
        return Ok(event);
    }
    event.has_failed = name == "PostToolUseFailure";
    event.tool = fields.name("tool_name")?;
    event.input = fields.object("tool_input")?;
    event.cwd = fields.directory("cwd")?;
    let server = fields.maybe_object("mcp_server")?;
    event.server = server_of(&event.tool, server)?;
    Ok(event)
}

/// A tool of a server is called `mcp__SERVER__TOOL`; Claude Code names the server as it stands in its settings besides.
fn server_of(tool: &str, given: Option<Map<String, Value>>) -> Result<Option<Server>, DialectError> {
    let rest = tool.strip_prefix("mcp__");
    let server = |name: &str| Some(Server { name: name.to_owned(), command: None });
    let Some(given) = given else {
        return Ok(rest.and_then(|rest| server(rest.split_once("__").map_or(rest, |(name, _)| name))));
    };
    let name = Fields(given).name("name")?;
    let is_own = rest.and_then(|rest| rest.strip_prefix(&normal(&name))).is_some_and(|rest| rest.starts_with("__"));
    match is_own {
        true => Ok(server(&name)),
        false => Err(DialectError::ForeignServer { tool: tool.to_owned(), server: name }),
    }
}

/// As a server's name stands in the names of its tools.
fn normal(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '_' }).collect()
}

/// Without a decision the client's own permissions decide, as they would without us. A rewritten command runs in a jail,
/// and Codex takes new arguments only together with `allow`.
pub(super) fn answer(event: &'static str, verdict: Verdict<'_>) -> Value {
    let inner = match verdict {
        Verdict::Pass => json!({ "hookEventName": event }),
        Verdict::Deny(denial) => json!({
            "hookEventName": event,
            "permissionDecision": "deny",
            "permissionDecisionReason": sentence(denial),
        }),
        Verdict::Rewrite(input) => json!({
            "hookEventName": event,
            "permissionDecision": "allow",
            "permissionDecisionReason": "mantlet: runs in a jail",
            "updatedInput": input,
        }),
    };
    json!({ "hookSpecificOutput": inner })
}
