//! Gemini CLI 0.61.0: what its bundle registers for a model, the legacy alias, and its subagents that are tools.
//!
//! `web_fetch` has no URL of its own: they stand in its prompt.

use super::Act::{Execute, List, Read, Search, Write};
use super::Reach::{Agents, Client, Commands, Conversation, Files, Network};
use super::Shape::{Glob, Maybe, One, OrCwd};
use super::{Parameter, Reach, Tool, parameter as p};

const fn tool(name: &'static str, reach: Reach, parameters: &'static [Parameter]) -> Tool {
    Tool { client: "gemini", name, reach, parameters }
}

pub(super) const TOOLS: &[Tool] = &[
    tool("run_shell_command", Commands, &[p("command", Execute, One), p("dir_path", List, Maybe)]),
    tool("read_file", Files, &[p("file_path", Read, One)]),
    tool("write_file", Files, &[p("file_path", Write, One)]),
    tool("replace", Files, &[p("file_path", Write, One)]),
    tool("list_directory", Files, &[p("dir_path", List, One)]),
    tool("glob", Files, &[p("dir_path", List, OrCwd), p("pattern", List, Glob("dir_path"))]),
    tool("grep_search", Files, &[p("dir_path", Search, OrCwd), p("include_pattern", Search, Glob("dir_path"))]),
    tool("search_file_content", Files, &[p("dir_path", Search, OrCwd), p("include_pattern", Search, Glob("dir_path"))]),
    tool("web_fetch", Network, &[]),
    tool("google_web_search", Network, &[]),
    tool("invoke_agent", Agents, &[]),
    tool("codebase_investigator", Agents, &[]),
    tool("cli_help", Agents, &[]),
    tool("complete_task", Conversation, &[]),
    tool("write_todos", Conversation, &[]),
    tool("ask_user", Conversation, &[]),
    tool("activate_skill", Conversation, &[]),
    tool("enter_plan_mode", Conversation, &[]),
    tool("exit_plan_mode", Conversation, &[]),
    tool("update_topic", Conversation, &[]),
    tool("get_internal_docs", Conversation, &[]),
    tool("list_background_processes", Conversation, &[]),
    tool("read_background_output", Conversation, &[]),
    tool("tracker_create_task", Conversation, &[]),
    tool("tracker_update_task", Conversation, &[]),
    tool("tracker_get_task", Conversation, &[]),
    tool("tracker_list_tasks", Conversation, &[]),
    tool("tracker_add_dependency", Conversation, &[]),
    tool("tracker_visualize", Conversation, &[]),
    tool("read_mcp_resource", Client, &[]),
    tool("list_mcp_resources", Client, &[]),
];
