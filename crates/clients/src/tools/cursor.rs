//! Cursor: names from its documentation of hooks. Not run: it is a closed program that works only online.

use super::Act::{Delete, Execute, List, Read, Search, Write};
use super::Reach::{Agents, Commands, Files};
use super::Shape::{Glob, Maybe, Mentions, One, OrCwd};
use super::{Parameter, Reach, Tool, parameter as p};

const fn tool(name: &'static str, reach: Reach, parameters: &'static [Parameter]) -> Tool {
    Tool { client: "cursor", name, reach, parameters }
}

pub(super) const TOOLS: &[Tool] = &[
    tool("Shell", Commands, &[p("command", Execute, One), p("working_directory", List, Maybe)]),
    tool("Read", Files, &[p("file_path", Read, One)]),
    tool("Write", Files, &[p("file_path", Write, One)]),
    tool("Delete", Files, &[p("file_path", Delete, One)]),
    tool("Grep", Files, &[p("path", Search, OrCwd), p("glob", Search, Glob("path"))]),
    tool("Task", Agents, &[p("prompt", Read, Mentions)]),
];
