//! Keys of the settings that the other clients rewrite themselves, which a comparison of whole files would undo. Data only.
//!
//! Where a client writes only what its user sets, what has no row is guarded. Where it keeps its counters in the same
//! file (`.claude.json`, Copilot's and Cursor's `config.json`), only what grants something has a row.

use super::keys::{Settings, Syntax, free, grant, guarded};

const COMMANDS: &str =
    "a command, a permission, a variable or an address: what is not known to be harmless is not let through";
const SERVERS: &str = "a server entry is a command";
const TRUST: &str = "a directory whose own settings may then run commands";

/// Claude Code's `settings.json`, of its user and of a project. Names after 2.1.330.
pub(super) const CLAUDE: Settings = Settings {
    client: "claude",
    syntax: Syntax::Json,
    keys: &[
        guarded(&[""], &[""], COMMANDS),
        free(
            &[""],
            &[
                "$schema",
                "model",
                "theme",
                "verbose",
                "language",
                "editorMode",
                "effortLevel",
                "alwaysThinkingEnabled",
                "showThinkingSummaries",
                "fastMode",
                "cleanupPeriodDays",
                "includeCoAuthoredBy",
                "attribution",
                "preferredNotifChannel",
                "prefersReducedMotion",
                "spinnerTipsEnabled",
                "spinnerVerbs",
                "spinnerTipsOverride",
                "syntaxHighlightingDisabled",
                "terminalProgressBarEnabled",
                "showTurnDuration",
                "autoCompactEnabled",
                "promptSuggestionEnabled",
                "respectGitignore",
                "feedbackSurveyRate",
                "autoUpdatesChannel",
                "tui",
                "viewMode",
            ],
        ),
    ],
    references: &[],
    includes: &[],
};

/// Claude Code's `.claude.json`, which it rewrites with every session.
pub(super) const CLAUDE_STATE: Settings = Settings {
    client: "claude",
    syntax: Syntax::Json,
    keys: &[
        grant(&["", "projects.*"], &["mcpServers"], SERVERS),
        grant(&["projects.*"], &["allowedTools"], "tools that are not asked about"),
        grant(&["projects.*"], &["enabledMcpjsonServers", "enableAllProjectMcpServers"], SERVERS),
        grant(&["projects.*"], &["mcpContextUris"], "what a server puts into every conversation"),
        grant(&["projects.*"], &["hasTrustDialogAccepted"], TRUST),
        grant(
            &["projects.*"],
            &["hasClaudeMdExternalIncludesApproved"],
            "instructions from outside the project that nobody was asked about",
        ),
        grant(
            &[""],
            &["bypassPermissionsModeAccepted", "skipDangerousModePermissionPrompt", "skipAutoPermissionPrompt"],
            "a mode without questions that nobody agreed to",
        ),
        grant(&[""], &["env"], "variables of the client and of every command"),
        grant(&[""], &["hooks", "apiKeyHelper", "statusLine", "permissions"], COMMANDS),
        grant(&[""], &["primaryApiKey"], "whose account reads every conversation"),
        grant(&["customApiKeyResponses"], &["approved"], "whose account reads every conversation"),
    ],
    references: &[],
    includes: &[],
};

/// Where Claude Code's plugins come from; it notes there when it looked last.
pub(super) const CLAUDE_MARKETPLACES: Settings = Settings {
    client: "claude",
    syntax: Syntax::Json,
    keys: &[
        guarded(&[""], &[""], "where the code of plugins is fetched from at the next update"),
        free(&["*"], &["lastUpdated"]),
    ],
    references: &[],
    includes: &[],
};

/// Codex's `config.toml`. Names after 0.169.0.
pub(super) const CODEX: Settings = Settings {
    client: "codex",
    syntax: Syntax::Toml,
    keys: &[
        guarded(&[""], &[""], COMMANDS),
        free(
            &["", "profiles.*"],
            &[
                "model",
                "model_reasoning_effort",
                "model_reasoning_summary",
                "model_verbosity",
                "personality",
                "service_tier",
                "plan_mode_reasoning_effort",
            ],
        ),
        free(
            &[""],
            &[
                "tui",
                "notice",
                "history",
                "hide_agent_reasoning",
                "show_raw_agent_reasoning",
                "file_opener",
                "disable_paste_burst",
                "check_for_update_on_startup",
                "model_context_window",
                "model_auto_compact_token_limit",
            ],
        ),
    ],
    references: &[],
    includes: &[],
};

/// Gemini CLI's `settings.json`. Names after 0.61.0.
pub(super) const GEMINI: Settings = Settings {
    client: "gemini",
    syntax: Syntax::Jsonc,
    keys: &[
        guarded(&[""], &[""], COMMANDS),
        free(
            &[""],
            &[
                "$schema",
                "$version",
                "ui",
                "output",
                "ide.hasSeenNudge",
                "billing",
                "useWriteTodos",
                "contextManagement",
                "privacy.usageStatisticsEnabled",
                "model.name",
                "model.maxSessionTurns",
                "model.compressionThreshold",
                "model.summarizeToolOutput",
                "general.preferredEditor",
                "general.openEditorInNewWindow",
                "general.vimMode",
                "general.enableAutoUpdate",
                "general.enableAutoUpdateNotification",
                "general.disableAutoUpdate",
                "general.enableNotifications",
                "general.notificationMethod",
                "general.previewFeatures",
                "general.sessionRetention",
                "general.topicUpdateNarration",
                "extensions.workspacesWithMigrationNudge",
            ],
        ),
    ],
    references: &["$"],
    includes: &[],
};

/// Copilot's `config.json` and `settings.json`. Names after 1.0.102.
pub(super) const COPILOT: Settings = Settings {
    client: "copilot",
    syntax: Syntax::Jsonc,
    keys: &[
        grant(&[""], &["trustedFolders", "trusted_folders"], TRUST),
        grant(&[""], &["allowedUrls", "allowed_urls"], "addresses that are fetched without a question"),
        guarded(&[""], &["deniedUrls", "denied_urls"], "addresses that are never fetched"),
        guarded(&[""], &["hooks", "disableAllHooks", "statusLine", "powershellFlags"], COMMANDS),
        guarded(&[""], &["bashEnv"], "a script before every command"),
        guarded(&[""], &["proxyUrl", "proxyKerberosServicePrincipal"], "who reads along"),
        guarded(&[""], &["defaultMode", "defaultPermissionMode", "stayInAutopilot"], "a mode without questions"),
        guarded(&[""], &["mcpServers", "enabledPlugins", "installedPlugins", "extraKnownMarketplaces"], SERVERS),
        guarded(&[""], &["customAgents", "skillDirectories", "env"], COMMANDS),
    ],
    references: &[],
    includes: &[],
};

/// Cursor's `cli-config.json`.
pub(super) const CURSOR: Settings = Settings {
    client: "cursor",
    syntax: Syntax::Json,
    keys: &[
        guarded(&[""], &["permissions", "approvalMode", "autoRun"], "commands and files that are not asked about"),
        guarded(&[""], &["sandbox", "network", "webFetchDomainAllowlist"], "what a command may reach"),
        guarded(&[""], &["hooks", "mcpServers", "env", "statusLine"], COMMANDS),
    ],
    references: &[],
    includes: &[],
};

/// OpenCode's `opencode.json` and `opencode.jsonc`. Names after 1.18.33.
pub(super) const OPENCODE: Settings = Settings {
    client: "opencode",
    syntax: Syntax::Jsonc,
    keys: &[
        guarded(&[""], &[""], COMMANDS),
        free(
            &[""],
            &["$schema", "theme", "model", "small_model", "username", "keybinds", "tui", "layout", "autoupdate"],
        ),
    ],
    references: &["{env:", "{file:"],
    includes: &[],
};

/// Which file of a client's state directory is compared with which keys; `""` is the home itself.
pub(super) const FILES: &[(&str, &str, &Settings)] = &[
    ("claude", "settings.json", &CLAUDE),
    ("claude", "settings.local.json", &CLAUDE),
    ("claude", ".claude.json", &CLAUDE_STATE),
    ("claude", "plugins/known_marketplaces.json", &CLAUDE_MARKETPLACES),
    ("codex", "config.toml", &CODEX),
    ("gemini", "settings.json", &GEMINI),
    ("copilot", "config.json", &COPILOT),
    ("copilot", "settings.json", &COPILOT),
    ("cursor", "cli-config.json", &CURSOR),
    ("opencode", "opencode.json", &OPENCODE),
    ("opencode", "opencode.jsonc", &OPENCODE),
    ("openclaw", "openclaw.json", &super::openclaw::OPENCLAW),
];

/// Every row of every client, for tests that hold for all.
#[cfg(test)]
pub(super) fn every() -> impl Iterator<Item = (&'static Settings, &'static super::keys::Keys)> {
    FILES.iter().flat_map(|(_, _, settings)| settings.keys.iter().map(|row| (*settings, row)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watched::keys::Guard;

    fn guard(settings: &Settings, path: &str) -> Guard {
        settings.held(&path.split('.').map(str::to_owned).collect::<Vec<_>>()).guard
    }

    #[test]
    fn what_runs_or_grants_is_guarded_and_what_a_client_counts_is_not() {
        for (settings, path) in [
            (&CLAUDE, "hooks.PreToolUse"),
            (&CLAUDE, "permissions.allow"),
            (&CLAUDE, "env.LD_PRELOAD"),
            (&CLAUDE, "disableAllHooks"),
            (&CLAUDE, "something-later"),
            (&CLAUDE_STATE, "projects./x/y.hasTrustDialogAccepted"),
            (&CLAUDE_STATE, "projects./x/y.mcpServers.a.command"),
            (&CLAUDE_STATE, "mcpServers"),
            (&CODEX, "mcp_servers.x.command"),
            (&CODEX, "projects./x.trust_level"),
            (&CODEX, "notify"),
            (&CODEX, "profiles.x.approval_policy"),
            (&CODEX, "sandbox_mode"),
            (&GEMINI, "general.defaultApprovalMode"),
            (&GEMINI, "hooksConfig.enabled"),
            (&GEMINI, "mcpServers.x.trust"),
            (&COPILOT, "trustedFolders"),
            (&CURSOR, "permissions.allow"),
            (&OPENCODE, "provider.x.options.baseURL"),
            (&OPENCODE, "plugin"),
        ] {
            assert_ne!(guard(settings, path), Guard::Free, "{} {path}", settings.client);
        }
        for (settings, path) in [
            (&CLAUDE, "theme"),
            (&CLAUDE, "model"),
            (&CLAUDE_STATE, "numStartups"),
            (&CLAUDE_STATE, "projects./x.lastCost"),
            (&CLAUDE_STATE, "tipsHistory.a"),
            (&CODEX, "model"),
            (&CODEX, "tui.theme"),
            (&CODEX, "notice.hide_full_access_warning"),
            (&GEMINI, "ui.theme"),
            (&COPILOT, "lastLoggedInUser"),
            (&CURSOR, "authInfo"),
            (&OPENCODE, "$schema"),
        ] {
            assert_eq!(guard(settings, path), Guard::Free, "{} {path}", settings.client);
        }
    }

    #[test]
    fn every_guarded_row_says_why_and_no_key_has_two_rows() {
        for (settings, row) in every() {
            assert_eq!(row.why.is_empty(), row.guard == Guard::Free, "{} {:?}", settings.client, row.names);
        }
        for (_, file, settings) in FILES {
            let mut seen: Vec<String> = Vec::new();
            for row in settings.keys {
                seen.extend(
                    row.under.iter().flat_map(|under| row.names.iter().map(move |name| format!("{under}.{name}"))),
                );
            }
            let all = seen.len();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), all, "{file}");
        }
    }
}
