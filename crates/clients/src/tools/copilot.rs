//! Copilot CLI 1.0.102: what it offers a model offline, and names in its runtime.
//!
//! A hook whose event is spelled `PreToolUse` gets `Bash` for `bash`.

use super::Act::{Execute, Fetch, List, Read, Search, Write};
use super::Reach::{Agents, Client, Commands, Conversation, Files, Network};
use super::Shape::{EachOrCwd, Glob, Mentions, One, Patch};
use super::{Parameter, Reach, Tool, parameter as p};

const fn tool(name: &'static str, reach: Reach, parameters: &'static [Parameter]) -> Tool {
    Tool { client: "copilot", name, reach, parameters }
}

pub(super) const TOOLS: &[Tool] = &[
    tool("bash", Commands, &[p("command", Execute, One)]),
    tool("Bash", Commands, &[p("command", Execute, One)]),
    // It types into an interactive shell, which is still there when the command in the jail has ended.
    tool("write_bash", Client, &[]),
    tool("read_bash", Conversation, &[]),
    tool("stop_bash", Conversation, &[]),
    tool("list_bash", Conversation, &[]),
    tool("view", Files, &[p("path", Read, One)]),
    tool("create", Files, &[p("path", Write, One)]),
    tool("edit", Files, &[p("path", Write, One)]),
    tool("str_replace_editor", Files, &[p("path", Write, One)]),
    tool("apply_patch", Files, &[p("input", Write, Patch)]),
    tool("grep", Files, &[p("paths", Search, EachOrCwd), p("glob", Search, Glob("paths"))]),
    tool("glob", Files, &[p("paths", List, EachOrCwd), p("pattern", List, Glob("paths"))]),
    tool("web_fetch", Network, &[p("url", Fetch, One)]),
    tool("task", Agents, &[p("prompt", Read, Mentions)]),
    tool("read_agent", Agents, &[]),
    tool("list_agents", Agents, &[]),
    tool("write_agent", Agents, &[]),
    tool("fetch_copilot_cli_documentation", Conversation, &[]),
    tool("skill", Conversation, &[]),
    tool("sql", Conversation, &[]),
    tool("session_store_sql", Conversation, &[]),
    tool("report_intent", Conversation, &[]),
    tool("update_todo", Conversation, &[]),
    tool("ask_user", Conversation, &[]),
    tool("exit_plan_mode", Conversation, &[]),
];
