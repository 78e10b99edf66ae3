//! Codex CLI 0.169.0. Its hooks call every shell tool `Bash`; what is typed into a running one reaches no hook.

use super::Act::{Execute, List, Read, Write};
use super::Reach::{Agents, Client, Commands, Conversation, Files, Network};
use super::Shape::{Maybe, One, Patch};
use super::{Parameter, Reach, Tool, parameter as p};

const fn tool(name: &'static str, reach: Reach, parameters: &'static [Parameter]) -> Tool {
    Tool { client: "codex", name, reach, parameters }
}

pub(super) const TOOLS: &[Tool] = &[
    tool("Bash", Commands, &[p("command", Execute, One)]),
    tool("exec_command", Commands, &[p("cmd", Execute, One), p("workdir", List, Maybe)]),
    tool("shell_command", Commands, &[p("command", Execute, One), p("workdir", List, Maybe)]),
    tool("write_stdin", Commands, &[]),
    tool("apply_patch", Files, &[p("command", Write, Patch)]),
    tool("view_image", Files, &[p("path", Read, One)]),
    tool("web_search", Network, &[]),
    tool("spawn_agent", Agents, &[]),
    tool("send_input", Agents, &[]),
    tool("resume_agent", Agents, &[]),
    tool("wait_agent", Agents, &[]),
    tool("close_agent", Agents, &[]),
    tool("update_plan", Conversation, &[]),
    tool("request_user_input", Conversation, &[]),
    tool("get_goal", Conversation, &[]),
    tool("create_goal", Conversation, &[]),
    tool("update_goal", Conversation, &[]),
    tool("tool_search", Conversation, &[]),
    tool("list_mcp_resources", Client, &[]),
    tool("list_mcp_resource_templates", Client, &[]),
    tool("read_mcp_resource", Client, &[]),
    tool("js_repl", Client, &[]),
];
