//! Where each client keeps its credentials inside its state directory. Names only; no rule of a policy opens them.

/// A file or directory of credentials, relative to its client's state directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateSecret {
    /// The client's id.
    pub client: &'static str,
    /// Relative to the state directory.
    pub path: &'static str,
}

const fn secret(client: &'static str, path: &'static str) -> StateSecret {
    StateSecret { client, path }
}

/// The credentials of each client.
pub const STATE_SECRETS: &[StateSecret] = &[
    secret("openclaw", ".env"),
    secret("openclaw", "openclaw.json"),
    secret("openclaw", "openclaw.json.last-good"),
    secret("openclaw", "credentials"),
    secret("openclaw", "identity"),
    secret("openclaw", "devices"),
    secret("openclaw", "agents"),
    secret("openclaw", "state"),
    secret("claude", ".credentials.json"),
    secret("claude", "settings.json"),
    secret("claude", "projects"),
    secret("codex", "auth.json"),
    secret("codex", "config.toml"),
    secret("codex", "sessions"),
    secret("gemini", "oauth_creds.json"),
    secret("gemini", "google_accounts.json"),
    secret("gemini", ".env"),
    secret("gemini", "settings.json"),
    secret("copilot", "config.json"),
    secret("copilot", "mcp-config.json"),
    secret("cursor", "mcp.json"),
    secret("cursor", "cli-config.json"),
    secret("opencode", "opencode.json"),
    secret("opencode", "opencode.jsonc"),
];
