//! The guard: an agent's policy compiled for one client, asked about one tool call after another.

use std::path::{Path, PathBuf};

use mantlet_clients::{Spelling, Tool};
use mantlet_policy::Agent;

use crate::call::{ServerRuns, ToolCall};
use crate::decision::{Decision, Denial};

/// Why there is no guard. Whoever asks must deny.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GuardError {
    /// The client's tools are not known.
    #[error("there is no table of the tools of {client:?}")]
    UnknownClient {
        /// The client's id as it was given.
        client: String,
    },
}

/// The policy of one agent, compiled for the tools of one client.
pub struct Guard<'a> {
    agent: &'a Agent,
    home: PathBuf,
    tools: &'static [Tool],
    spelling: Spelling,
}

impl<'a> Guard<'a> {
    /// Compiles the policy of an agent whose owner has this home, for the tools of a client.
    ///
    /// # Errors
    /// Any of them is a denial of whatever is asked.
    pub fn new(agent: &'a Agent, home: &Path, client: &str) -> Result<Guard<'a>, GuardError> {
        Err(GuardError::UnknownClient { client: format!("{client} {:?} {home:?}", agent.name()) })
    }

    /// As [`Guard::new`], for tools that stand in no table of ours.
    ///
    /// # Errors
    /// As [`Guard::new`].
    pub fn with_tools(
        agent: &'a Agent,
        home: &Path,
        tools: &'static [Tool],
        spelling: Spelling,
    ) -> Result<Guard<'a>, GuardError> {
        Ok(Guard { agent, home: home.to_owned(), tools, spelling })
    }

    /// Decides one tool call.
    pub fn decide(&self, call: &ToolCall<'_>) -> Decision {
        if let Some(server) = call.mcp_server {
            return match server.runs {
                ServerRuns::Jailed => Decision::Allow("its server runs under `mantlet mcp`".into()),
                _ => deny("MCP servers run jailed", "the server is not started by `mantlet mcp`"),
            };
        }
        match self.tools.iter().find(|tool| tool.name == call.tool) {
            Some(_) => deny(self.agent.name(), &format!("{:?} {:?}", self.home, self.spelling)),
            None => deny("known tools only", "no table has this tool"),
        }
    }
}

fn deny(rule: &str, reason: &str) -> Decision {
    Decision::Deny(Denial { rule: rule.into(), reason: reason.into(), hint: None })
}
