//! A tool call as a client's hook reports it, already parsed by the dialect of that client.

use std::path::Path;

use serde_json::Value;

/// One tool call.
#[derive(Debug, Clone, Copy)]
pub struct ToolCall<'c> {
    /// The tool's name, as the client's table has it.
    pub tool: &'c str,
    /// Its arguments. What is no object is denied.
    pub input: &'c Value,
    /// Where the client stands: relative paths begin there.
    pub cwd: &'c Path,
    /// The MCP server the tool belongs to; none for a tool of the client's own.
    pub mcp_server: Option<McpServer<'c>>,
}

/// The MCP server of a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct McpServer<'c> {
    /// Its name in the client's settings.
    pub name: &'c str,
    /// How it was started.
    pub runs: ServerRuns<'c>,
}

/// How an MCP server was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerRuns<'c> {
    /// By `mantlet mcp`, in a jail of its own.
    Jailed,
    /// By this command, outside.
    Unjailed(&'c str),
    /// Nobody could tell.
    Unknown,
}
