//! Claude Code 2.1.330: what it offers a model, and the names its registry gives older tools.

use super::Act::{Execute, Fetch, List, Read, Search, Write};
use super::Reach::{Agents, Client, Commands, Conversation, Files, Network};
use super::Shape::{Each, Glob, Maybe, Mentions, One, Only, OrCwd};
use super::{Parameter, Reach, Tool, parameter as p};

const fn tool(name: &'static str, reach: Reach, parameters: &'static [Parameter]) -> Tool {
    Tool { client: "claude", name, reach, parameters }
}

pub(super) const TOOLS: &[Tool] = &[
    tool("Bash", Commands, &[p("command", Execute, One)]),
    // Its other form watches a socket: a request past the jail.
    tool("Monitor", Commands, &[p("command", Execute, One), p("ws", Fetch, Only(&[])), p("url", Fetch, Only(&[]))]),
    tool("Read", Files, &[p("file_path", Read, One)]),
    tool("Write", Files, &[p("file_path", Write, One)]),
    tool("Edit", Files, &[p("file_path", Write, One)]),
    tool("MultiEdit", Files, &[p("file_path", Write, One)]),
    tool("NotebookEdit", Files, &[p("notebook_path", Write, One)]),
    tool("NotebookRead", Files, &[p("notebook_path", Read, One)]),
    tool("Glob", Files, &[p("path", List, OrCwd), p("pattern", List, Glob("path"))]),
    tool("Grep", Files, &[p("path", Search, OrCwd), p("glob", Search, Glob("path"))]),
    tool("LS", Files, &[p("path", List, One)]),
    tool("LSP", Files, &[p("filePath", Read, One)]),
    tool("WebFetch", Network, &[p("url", Fetch, One)]),
    tool("WebSearch", Network, &[]),
    tool("SendUserFile", Network, &[p("files", Read, Each)]),
    tool("RemoteTrigger", Network, &[]),
    tool("PushNotification", Network, &[]),
    tool("Agent", Agents, &[p("prompt", Read, Mentions)]),
    tool("Task", Agents, &[p("prompt", Read, Mentions)]),
    tool("Workflow", Agents, &[p("scriptPath", Read, Maybe)]),
    tool("RunWorkflow", Agents, &[p("scriptPath", Read, Maybe)]),
    tool("SendMessage", Agents, &[]),
    tool("ListAgents", Agents, &[]),
    tool("ListPeers", Agents, &[]),
    tool("TaskStop", Conversation, &[]),
    tool("KillShell", Conversation, &[]),
    tool("KillBash", Conversation, &[]),
    tool("TaskOutput", Conversation, &[]),
    tool("BashOutput", Conversation, &[]),
    tool("TaskCreate", Conversation, &[]),
    tool("TaskGet", Conversation, &[]),
    tool("TaskUpdate", Conversation, &[]),
    tool("TaskList", Conversation, &[]),
    tool("GetTask", Conversation, &[]),
    tool("TodoWrite", Conversation, &[]),
    tool("TodoRead", Conversation, &[]),
    tool("AskUserQuestion", Conversation, &[]),
    tool("EnterPlanMode", Conversation, &[]),
    tool("ExitPlanMode", Conversation, &[]),
    tool("ToolSearch", Conversation, &[]),
    tool("StructuredOutput", Conversation, &[]),
    tool("ReportFindings", Conversation, &[]),
    tool("Skill", Conversation, &[p("args", Read, Mentions)]),
    tool("SlashCommand", Conversation, &[p("command", Read, Mentions)]),
    tool("Sleep", Conversation, &[]),
    tool("ScheduleWakeup", Conversation, &[]),
    tool("CronList", Conversation, &[]),
    // Its quotes are not those of a POSIX shell: a command of it cannot be put into the jail safely.
    tool("PowerShell", Client, &[]),
    tool("CronCreate", Client, &[]),
    tool("CronDelete", Client, &[]),
    tool("EnterWorktree", Client, &[]),
    tool("ExitWorktree", Client, &[]),
    tool("Config", Client, &[]),
    tool("REPL", Client, &[]),
    tool("Eval", Client, &[]),
    tool("ListMcpResourcesTool", Client, &[]),
    tool("ListMcpResources", Client, &[]),
    tool("ReadMcpResourceTool", Client, &[]),
    tool("ReadMcpResource", Client, &[]),
    tool("ReadMcpResourceDirTool", Client, &[]),
    tool("ReadMcpResourceDir", Client, &[]),
];
