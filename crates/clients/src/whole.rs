//! What a whole client needs in a jail of its own, as data: its command, its state, its environment.
//!
//! A state directory holds two kinds of things: what a session leaves, which the client must write, and what the next
//! session obeys (settings, hooks, plugins, instructions), which nothing inside may.

/// A part of a home that a client keeps its state in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatePlace {
    /// Relative to HOME.
    pub path: &'static str,
    /// The environment variable that moves it, and the path below its value.
    pub moved: Option<(&'static str, &'static str)>,
    /// How it is shown.
    pub shown: Shown,
    /// Files that the client makes at its first start and cannot go on without: made where they are missing.
    pub first: &'static [(&'static str, &'static str)],
}

/// How a state directory is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// Read-only, with writable directories in it: nothing else can be changed or added there, and what the owner
    /// replaces from outside is seen at once.
    ReadOnlyBut(&'static [&'static str]),
    /// Writable, because the client makes files of changing names at its top. These names in it are read-only: those
    /// with a slash are directories, made where they are missing; files that do not exist yet are undone.
    WritableBut(&'static [&'static str]),
}

/// A client's own sandbox of commands, which cannot nest in ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnSandbox {
    /// It has none, or none that is on by itself.
    None,
    /// Switched off by words after the program, unless the caller gives one that begins so and decides it.
    Words {
        /// What is added.
        add: &'static [&'static str],
        /// What keeps it from being added.
        unless: &'static [&'static str],
    },
    /// Switched off by this variable.
    Variable(&'static str, &'static str),
}

/// What a whole client needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whole {
    /// The client's id.
    pub client: &'static str,
    /// What is run when no command is given.
    pub command: &'static [&'static str],
    /// Its state.
    pub state: &'static [StatePlace],
    /// The machine's settings of the client, which no user's can overrule.
    pub machine: &'static [&'static str],
    /// Files of the home that the client rewrites by renaming, shown as a copy that ends with the jail.
    pub copied: &'static [&'static str],
    /// Variables that are passed on where they are set: keys, endpoints, and what moves its state.
    pub env: &'static [&'static str],
    /// Variables that it gets.
    pub set: &'static [(&'static str, &'static str)],
    /// Its own sandbox of commands.
    pub own_sandbox: OwnSandbox,
}

/// Passed on to every client: what its terminal, language and way out need.
pub const EVERY_WHOLE: &[&str] = &[
    "COLORTERM",
    "FORCE_COLOR",
    "NO_COLOR",
    "LC_ALL",
    "LC_CTYPE",
    "LC_MESSAGES",
    "LANGUAGE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NODE_EXTRA_CA_CERTS",
];

/// The clients that can run as a whole. What each needs to write was seen on the real client.
pub const WHOLE: &[Whole] = &[
    Whole {
        client: "openclaw",
        command: &["openclaw", "gateway", "run"],
        state: &[StatePlace {
            path: ".openclaw",
            moved: Some(("OPENCLAW_STATE_DIR", "")),
            shown: Shown::ReadOnlyBut(&[
                "agents",
                "cache",
                "canvas",
                "credentials",
                "cron",
                "delivery-queue",
                "devices",
                "identity",
                "logs",
                "media",
                "memory",
                "sandboxes",
                "state",
                "tasks",
                "tmp",
            ]),
            first: &[],
        }],
        machine: &[],
        copied: &[],
        env: &[
            "OPENCLAW_STATE_DIR",
            "OPENCLAW_GATEWAY_TOKEN",
            "OPENCLAW_GATEWAY_PASSWORD",
            "OPENCLAW_GATEWAY_PORT",
            "OPENCLAW_PROFILE",
            "ANTHROPIC_API_KEY",
            "OPENAI_API_KEY",
            "GEMINI_API_KEY",
            "OPENROUTER_API_KEY",
            "TELEGRAM_BOT_TOKEN",
            "DISCORD_BOT_TOKEN",
            "SLACK_BOT_TOKEN",
            "SLACK_APP_TOKEN",
        ],
        // Its own writers then say that the configuration is read-only instead of failing on it.
        set: &[("OPENCLAW_CONFIG_READONLY", "1")],
        own_sandbox: OwnSandbox::None,
    },
    Whole {
        client: "claude",
        command: &["claude"],
        state: &[StatePlace {
            path: ".claude",
            moved: Some(("CLAUDE_CONFIG_DIR", "")),
            shown: Shown::WritableBut(&[
                ".claude.json",
                "CLAUDE.md",
                "agents/",
                "commands/",
                "hooks/",
                "local/",
                "managed-settings.json",
                "mcp.json",
                "output-styles/",
                "plugins/",
                "rules/",
                "settings.json",
                "settings.local.json",
                "skills/",
                "workflows/",
            ]),
            first: &[],
        }],
        machine: &["/etc/claude-code"],
        copied: &[".claude.json"],
        env: &[
            "CLAUDE_CONFIG_DIR",
            "ANTHROPIC_API_KEY",
            "ANTHROPIC_AUTH_TOKEN",
            "ANTHROPIC_BASE_URL",
            "ANTHROPIC_MODEL",
            "ANTHROPIC_SMALL_FAST_MODEL",
            "CLAUDE_CODE_OAUTH_TOKEN",
            "CLAUDE_CODE_SHELL_PREFIX",
            "CLAUDE_CODE_USE_BEDROCK",
            "CLAUDE_CODE_USE_VERTEX",
        ],
        set: &[("DISABLE_AUTOUPDATER", "1")],
        own_sandbox: OwnSandbox::Words {
            add: &["--settings", "{\"sandbox\":{\"enabled\":false}}"],
            unless: &["--settings"],
        },
    },
    Whole {
        client: "codex",
        command: &["codex"],
        state: &[StatePlace {
            path: ".codex",
            moved: Some(("CODEX_HOME", "")),
            shown: Shown::WritableBut(&[
                ".env",
                "AGENTS.md",
                "AGENTS.override.md",
                "agents/",
                "config.toml",
                "hooks/",
                "hooks.json",
                "managed_config.toml",
                "mcp/",
                "plugins/",
                "prompts/",
                "rules/",
                "skills/",
            ]),
            first: &[],
        }],
        machine: &["/etc/codex"],
        copied: &[],
        env: &["CODEX_HOME", "CODEX_API_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORGANIZATION"],
        set: &[],
        own_sandbox: OwnSandbox::Words {
            add: &["-c", "sandbox_mode=\"danger-full-access\""],
            unless: &["--sandbox", "-s", "--dangerously-bypass-approvals-and-sandbox", "sandbox"],
        },
    },
    Whole {
        client: "gemini",
        command: &["gemini"],
        state: &[StatePlace {
            path: ".gemini",
            moved: Some(("GEMINI_CLI_HOME", ".gemini")),
            shown: Shown::WritableBut(&[
                ".env",
                "GEMINI.md",
                "agents/",
                "commands/",
                "extensions/",
                "hooks/",
                "policies/",
                "settings.json",
                "skills/",
                "trustedFolders.json",
            ]),
            first: &[],
        }],
        machine: &["/etc/gemini-cli"],
        copied: &[],
        env: &[
            "GEMINI_CLI_HOME",
            "GEMINI_API_KEY",
            "GOOGLE_API_KEY",
            "GOOGLE_CLOUD_PROJECT",
            "GOOGLE_CLOUD_LOCATION",
            "GOOGLE_GENAI_USE_GCA",
            "GOOGLE_GENAI_USE_VERTEXAI",
            "GOOGLE_GEMINI_BASE_URL",
            "GEMINI_MODEL",
        ],
        set: &[],
        own_sandbox: OwnSandbox::Variable("GEMINI_SANDBOX", "false"),
    },
    Whole {
        client: "opencode",
        command: &["opencode"],
        state: &[
            StatePlace {
                path: ".config/opencode",
                moved: Some(("XDG_CONFIG_HOME", "opencode")),
                shown: Shown::ReadOnlyBut(&[]),
                first: &[
                    (".gitignore", "node_modules\npackage.json\npackage-lock.json\nbun.lock\n.gitignore"),
                    ("opencode.jsonc", "{\n  \"$schema\": \"https://opencode.ai/config.json\"\n}\n"),
                ],
            },
            StatePlace {
                path: ".local/share/opencode",
                moved: Some(("XDG_DATA_HOME", "opencode")),
                shown: Shown::WritableBut(&["bin/", "plugin/", "plugins/"]),
                first: &[],
            },
            StatePlace {
                path: ".local/state/opencode",
                moved: Some(("XDG_STATE_HOME", "opencode")),
                shown: Shown::WritableBut(&[]),
                first: &[],
            },
        ],
        machine: &["/etc/opencode"],
        copied: &[],
        env: &[
            "XDG_CONFIG_HOME",
            "XDG_DATA_HOME",
            "XDG_STATE_HOME",
            "ANTHROPIC_API_KEY",
            "ANTHROPIC_BASE_URL",
            "OPENAI_API_KEY",
            "GEMINI_API_KEY",
            "OPENROUTER_API_KEY",
            "OPENCODE_API_KEY",
        ],
        set: &[("OPENCODE_DISABLE_AUTOUPDATE", "1")],
        own_sandbox: OwnSandbox::None,
    },
    Whole {
        client: "copilot",
        command: &["copilot"],
        state: &[StatePlace {
            path: ".copilot",
            moved: Some(("COPILOT_HOME", "")),
            shown: Shown::WritableBut(&[
                "agents/",
                "config.json",
                "copilot-instructions.md",
                "extensions/",
                "hooks/",
                "installed-plugins/",
                "lsp-config.json",
                "mcp-config.json",
                "permissions-config.json",
                "plugins/",
                "settings.json",
                "skills/",
            ]),
            first: &[],
        }],
        machine: &[],
        copied: &[],
        env: &[
            "COPILOT_HOME",
            "COPILOT_GITHUB_TOKEN",
            "GH_TOKEN",
            "GITHUB_TOKEN",
            "COPILOT_OFFLINE",
            "COPILOT_MODEL",
            "COPILOT_PROVIDER_BASE_URL",
            "COPILOT_PROVIDER_API_KEY",
            "COPILOT_PROVIDER_TYPE",
        ],
        set: &[("COPILOT_AUTO_UPDATE", "false")],
        own_sandbox: OwnSandbox::None,
    },
    Whole {
        client: "cursor",
        command: &["cursor-agent"],
        state: &[StatePlace {
            path: ".cursor",
            moved: None,
            shown: Shown::WritableBut(&[
                "agents/",
                "argv.json",
                "cli-config.json",
                "commands/",
                "extensions/",
                "hooks/",
                "hooks.json",
                "mcp.json",
                "permissions.json",
                "plugins/",
                "rules/",
                "sandbox.json",
                "skills/",
            ]),
            first: &[],
        }],
        machine: &["/etc/cursor"],
        copied: &[],
        env: &["CURSOR_API_KEY"],
        set: &[],
        own_sandbox: OwnSandbox::Words { add: &["--sandbox", "disabled"], unless: &["--sandbox"] },
    },
];

/// Returns what a client needs as a whole.
#[must_use]
pub fn whole(client: &str) -> Option<&'static Whole> {
    WHOLE.iter().find(|row| row.client == client)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::STATE_DIRS;

    #[test]
    fn every_client_has_one_row_and_its_state_directory_is_in_it() {
        for state in STATE_DIRS {
            let row = whole(state.client).unwrap();
            let place = row.state.iter().find(|place| place.path == state.path).unwrap();
            if let Some(variable) = state.env {
                assert_eq!(place.moved, Some((variable, "")), "{}", state.client);
            }
        }
        assert_eq!(WHOLE.len(), STATE_DIRS.len());
    }

    #[test]
    fn names_are_single_and_what_moves_the_state_is_passed_on() {
        for row in WHOLE {
            assert!(!row.command.is_empty(), "{}", row.client);
            for place in row.state {
                let (Shown::ReadOnlyBut(names) | Shown::WritableBut(names)) = place.shown;
                let bare = |name: &&str| name.strip_suffix('/').unwrap_or(name).to_owned();
                let is_single = |name: String| !name.is_empty() && !name.contains(['/', '*', '?', '[']);
                assert!(names.iter().map(bare).all(is_single) && names.iter().map(bare).is_sorted(), "{}", row.client);
                assert!(place.moved.is_none_or(|(name, _)| row.env.contains(&name)), "{}", row.client);
            }
            assert!(row.copied.iter().all(|name| !name.contains('/')), "{}", row.client);
            assert!(row.env.iter().all(|name| !EVERY_WHOLE.contains(name)), "{}", row.client);
        }
    }

    /// The keys of one client are none of another's, but for those of a model that both can use.
    #[test]
    fn nobody_gets_a_loader_variable() {
        for name in WHOLE.iter().flat_map(|row| row.env).chain(EVERY_WHOLE) {
            assert!(!name.starts_with("LD_") && !["NODE_OPTIONS", "BASH_ENV", "ENV", "SSH_AUTH_SOCK"].contains(name));
        }
    }
}
