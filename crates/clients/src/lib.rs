//! What each agent client keeps where, as data: state directories, protected files, and why.
//!
//! Pure: tables and lookups. It opens nothing; the rooms above decide with it.
#![forbid(unsafe_code)]

pub mod dotenv;
mod gateway;
mod gitconfig;
mod gitnamed;
pub mod json;
mod lookup;
pub mod openclaw;
mod protected;
mod secrets;
mod state;
mod tools;
pub mod watched;
pub mod watchlist;
mod whole;

pub use gateway::{Authentication, authentication};
pub use gitconfig::{Finding, git_config_findings, gitfile_target};
pub use gitnamed::{beneath, git_named_paths};
pub use lookup::{classify, classify_git, interesting};
pub use protected::{Action, BARE_REPOSITORY, MEMORY, PROTECTED, Protected, Scope};
pub use secrets::{SECRETS, Secret, SecretKind};
pub use state::{STATE_SECRETS, StateSecret};
pub use tools::{Act, Parameter, Reach, Shape, Spelling, Tool, client_ids, find_tool, spelling, tools as client_tools};
pub use whole::{EVERY_WHOLE, OwnSandbox, Shown, StatePlace, WHOLE, Whole, whole};

/// A client's own directory of settings, sessions and credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateDir {
    /// The client's id: claude | codex | gemini | copilot | cursor | opencode | openclaw.
    pub client: &'static str,
    /// Relative to HOME.
    pub path: &'static str,
    /// The environment variable that moves it, if the client has one.
    pub env: Option<&'static str>,
}

/// The state directories that no workspace may contain and no jail shows unless a policy names a part of one.
pub const STATE_DIRS: &[StateDir] = &[
    StateDir { client: "openclaw", path: ".openclaw", env: Some("OPENCLAW_STATE_DIR") },
    StateDir { client: "claude", path: ".claude", env: Some("CLAUDE_CONFIG_DIR") },
    StateDir { client: "codex", path: ".codex", env: Some("CODEX_HOME") },
    StateDir { client: "gemini", path: ".gemini", env: None },
    StateDir { client: "copilot", path: ".copilot", env: None },
    StateDir { client: "cursor", path: ".cursor", env: None },
    StateDir { client: "opencode", path: ".config/opencode", env: None },
];
