//! OpenCode 1.18.33: what its bundle defines. A tool of an MCP server has the name `SERVER_TOOL` and is no built-in.

use super::Act::{Execute, Fetch, List, Read, Search, Write};
use super::Reach::{Agents, Client, Commands, Conversation, Files, Network};
use super::Shape::{Glob, Maybe, Mentions, One, OrCwd, Patch};
use super::{Parameter, Reach, Tool, parameter as p};

const fn tool(name: &'static str, reach: Reach, parameters: &'static [Parameter]) -> Tool {
    Tool { client: "opencode", name, reach, parameters }
}

pub(super) const TOOLS: &[Tool] = &[
    tool("bash", Commands, &[p("command", Execute, One), p("workdir", List, Maybe)]),
    tool("read", Files, &[p("filePath", Read, One)]),
    tool("write", Files, &[p("filePath", Write, One)]),
    tool("edit", Files, &[p("filePath", Write, One)]),
    tool("apply_patch", Files, &[p("patchText", Write, Patch)]),
    tool("glob", Files, &[p("path", List, OrCwd), p("pattern", List, Glob("path"))]),
    tool("grep", Files, &[p("path", Search, OrCwd), p("include", Search, Glob("path"))]),
    tool("list", Files, &[p("path", List, OrCwd)]),
    tool("lsp", Files, &[p("filePath", Read, One)]),
    tool("webfetch", Network, &[p("url", Fetch, One)]),
    tool("websearch", Network, &[]),
    // It reads what stands as `@file` in the prompt.
    tool("task", Agents, &[p("prompt", Read, Mentions)]),
    tool("todowrite", Conversation, &[]),
    tool("todoread", Conversation, &[]),
    tool("question", Conversation, &[]),
    tool("plan_enter", Conversation, &[]),
    tool("plan_exit", Conversation, &[]),
    tool("skill", Conversation, &[]),
    tool("invalid", Conversation, &[]),
    tool("list_mcp_resources", Client, &[]),
    tool("list_mcp_resource_templates", Client, &[]),
    tool("read_mcp_resource", Client, &[]),
];
