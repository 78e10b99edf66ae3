//! Where OpenClaw 2026.9.x keeps credentials, which of them a SecretRef can stand for, and what they open. Names only.
//!
//! Written from its published list (docs/reference/secretref-credential-surface.md) and what it was seen to write.

use Use::{Local, Sent};

/// What the gateway does with a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// It is sent to the service that it opens.
    Sent,
    /// It signs, decrypts or compares in the gateway's own process, which therefore has to hold it.
    Local,
}

/// A key of `openclaw.json` that takes a SecretRef.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfigSecret {
    /// The names that lead to it; `*` is any name.
    pub path: &'static str,
    /// What it opens.
    pub opens: &'static str,
    /// What is done with it.
    pub used: Use,
}

const fn row(used: Use, path: &'static str, opens: &'static str) -> ConfigSecret {
    ConfigSecret { path, opens, used }
}

/// Returns the row of a key, if a SecretRef can stand there.
pub fn config_secret(path: &[&str]) -> Option<&'static ConfigSecret> {
    CONFIG_SECRETS.iter().find(|secret| {
        let mut names = secret.path.split('.');
        path.iter().all(|name| names.next().is_some_and(|wanted| wanted == "*" || wanted == *name))
            && names.next().is_none()
    })
}

/// A variable that the gateway reads where its configuration says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnvSecret {
    /// Its name.
    pub name: &'static str,
    /// The key of `openclaw.json` that says the same.
    pub path: &'static str,
    /// What has to be there already: a channel that nobody set up would be switched on by its token. Empty: nothing.
    pub within: &'static str,
}

const fn env(name: &'static str, path: &'static str, within: &'static str) -> EnvSecret {
    EnvSecret { name, path, within }
}

/// A text in a database of OpenClaw's that holds auth profiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProfileStore {
    /// The database, relative to the state directory; `*` is any part of one name.
    pub database: &'static str,
    /// The table.
    pub table: &'static str,
    /// The column that tells rows apart, and what it says.
    pub row: (&'static str, &'static str),
    /// The column with the JSON text.
    pub text: &'static str,
}

/// Where auth profiles are: the shared ones, and an agent's own.
pub const PROFILE_STORES: &[ProfileStore] = &[
    ProfileStore {
        database: "state/openclaw.sqlite",
        table: "config_machine_state",
        row: ("state_key", "authProfiles.store"),
        text: "value_json",
    },
    ProfileStore {
        database: "agents/*/agent/openclaw-agent.sqlite",
        table: "auth_profile_store",
        row: ("store_key", "primary"),
        text: "store_json",
    },
];

/// Fields of an auth profile: its type, the field with the credential, and the one for a SecretRef beside it.
pub const PROFILE_FIELDS: &[(&str, &str, &str)] = &[("api_key", "key", "keyRef"), ("token", "token", "tokenRef")];

/// Copies that OpenClaw makes of its configuration, and catalogs that it writes from it, relative to the state directory.
/// It needs none of them, and makes new ones.
pub const COPIES: &[&str] = &[
    "openclaw.json.bak",
    "openclaw.json.bak.*",
    "openclaw.json.last-good",
    "openclaw.json.clobbered.*",
    "openclaw.json.rejected.*",
    "agents/*/agent/models.json",
];

/// What it keeps that no SecretRef can stand for: sessions, tokens that it renews, and retired files.
pub const HELD: &[(&str, &str)] = &[
    ("credentials", "sessions of channels, which the gateway writes anew itself"),
    ("identity", "the keys of this device"),
    ("devices", "tokens of paired devices, which the gateway makes"),
    ("secrets.json", "values of a file provider: remove them there once nothing names them"),
    (
        "agents/*/agent/auth-profiles.json",
        "retired auth profiles: `openclaw doctor --fix` moves them into its database",
    ),
    ("agents/*/agent/auth.json", "retired auth profiles: `openclaw doctor --fix` moves them into its database"),
];

/// Tables of its databases with credentials that no SecretRef can stand for.
pub const HELD_TABLES: &[(&str, &str)] = &[
    ("secret_store_entries", "OpenClaw's own store keeps its values in the clear: set them again in the vault by hand"),
    ("mcp_oauth_stores", "OpenClaw renews these tokens itself, and stores them anew"),
];

/// Where a user's shells and interpreters keep what was typed, relative to the home.
pub const HISTORIES: &[&str] =
    &[".bash_history", ".zsh_history", ".local/share/fish/fish_history", ".python_history", ".node_repl_history"];

/// Values that stand where a key could, and are none.
pub const MARKERS: &[&str] = &[
    "minimax-oauth",
    "ollama-local",
    "custom-local",
    "codex-app-server",
    "gcp-vertex-credentials",
    "secretref-managed",
    "__OPENCLAW_REDACTED__",
];

/// Units that start the gateway, relative to the user's configuration directory.
pub const UNITS: &[&str] = &["systemd/user/openclaw-*.service", "systemd/user/openclaw-*.service.d/*.conf"];

/// Variables of the gateway.
pub const ENV_SECRETS: &[EnvSecret] = &[
    env("ANTHROPIC_API_KEY", "models.providers.anthropic.apiKey", ""),
    env("OPENAI_API_KEY", "models.providers.openai.apiKey", ""),
    env("GEMINI_API_KEY", "models.providers.google.apiKey", ""),
    env("GOOGLE_API_KEY", "models.providers.google.apiKey", ""),
    env("OPENROUTER_API_KEY", "models.providers.openrouter.apiKey", ""),
    env("XAI_API_KEY", "models.providers.xai.apiKey", ""),
    env("NVIDIA_API_KEY", "models.providers.nvidia.apiKey", ""),
    env("TOGETHER_API_KEY", "models.providers.together.apiKey", ""),
    env("LITELLM_API_KEY", "models.providers.litellm.apiKey", "models.providers.litellm"),
    env("HUGGINGFACE_HUB_TOKEN", "models.providers.huggingface.apiKey", ""),
    env("HF_TOKEN", "models.providers.huggingface.apiKey", ""),
    env("CEREBRAS_API_KEY", "models.providers.cerebras.apiKey", ""),
    env("VLLM_API_KEY", "models.providers.vllm.apiKey", "models.providers.vllm"),
    env("SGLANG_API_KEY", "models.providers.sglang.apiKey", "models.providers.sglang"),
    env("MINIMAX_API_KEY", "models.providers.minimax.apiKey", ""),
    env("OPENCLAW_GATEWAY_TOKEN", "gateway.auth.token", ""),
    env("OPENCLAW_GATEWAY_PASSWORD", "gateway.auth.password", ""),
    env("TELEGRAM_BOT_TOKEN", "channels.telegram.botToken", "channels.telegram"),
    env("DISCORD_BOT_TOKEN", "channels.discord.token", "channels.discord"),
    env("SLACK_BOT_TOKEN", "channels.slack.botToken", "channels.slack"),
    env("SLACK_APP_TOKEN", "channels.slack.appToken", "channels.slack"),
    env("SLACK_USER_TOKEN", "channels.slack.userToken", "channels.slack"),
    env("MSTEAMS_APP_PASSWORD", "channels.msteams.appPassword", "channels.msteams"),
    env("BRAVE_API_KEY", "plugins.entries.brave.config.webSearch.apiKey", "plugins.entries.brave"),
    env("TAVILY_API_KEY", "plugins.entries.tavily.config.webSearch.apiKey", "plugins.entries.tavily"),
    env("EXA_API_KEY", "plugins.entries.exa.config.webSearch.apiKey", "plugins.entries.exa"),
    env("PERPLEXITY_API_KEY", "plugins.entries.perplexity.config.webSearch.apiKey", "plugins.entries.perplexity"),
    env("FIRECRAWL_API_KEY", "plugins.entries.firecrawl.config.webSearch.apiKey", "plugins.entries.firecrawl"),
    env("PARALLEL_API_KEY", "plugins.entries.parallel.config.webSearch.apiKey", "plugins.entries.parallel"),
];

/// Keys of the configuration.
pub const CONFIG_SECRETS: &[ConfigSecret] = &[
    row(Sent, "agents.entries.*.memory.search.remote.apiKey", "an embedding provider"),
    row(Sent, "agents.entries.*.tts.personas.*.providers.*.apiKey", "a voice provider"),
    row(Sent, "agents.entries.*.tts.providers.*.apiKey", "a voice provider"),
    row(Sent, "channels.buzz.accounts.*.authTag", "Buzz"),
    row(Local, "channels.buzz.accounts.*.privateKey", "Buzz"),
    row(Sent, "channels.buzz.authTag", "Buzz"),
    row(Local, "channels.buzz.privateKey", "Buzz"),
    row(Sent, "channels.clickclack.accounts.*.token", "ClickClack"),
    row(Sent, "channels.clickclack.token", "ClickClack"),
    row(Sent, "channels.discord.accounts.*.pluralkit.token", "PluralKit"),
    row(Sent, "channels.discord.accounts.*.token", "Discord"),
    row(Sent, "channels.discord.accounts.*.voice.realtime.providers.*.apiKey", "a voice provider"),
    row(Sent, "channels.discord.accounts.*.voice.tts.personas.*.providers.*.apiKey", "a voice provider"),
    row(Sent, "channels.discord.accounts.*.voice.tts.providers.*.apiKey", "a voice provider"),
    row(Sent, "channels.discord.pluralkit.token", "PluralKit"),
    row(Sent, "channels.discord.token", "Discord"),
    row(Sent, "channels.discord.voice.realtime.providers.*.apiKey", "a voice provider"),
    row(Sent, "channels.discord.voice.tts.personas.*.providers.*.apiKey", "a voice provider"),
    row(Sent, "channels.discord.voice.tts.providers.*.apiKey", "a voice provider"),
    row(Sent, "channels.feishu.accounts.*.appSecret", "Feishu"),
    row(Local, "channels.feishu.accounts.*.encryptKey", "Feishu"),
    row(Local, "channels.feishu.accounts.*.verificationToken", "Feishu"),
    row(Sent, "channels.feishu.appSecret", "Feishu"),
    row(Local, "channels.feishu.encryptKey", "Feishu"),
    row(Local, "channels.feishu.verificationToken", "Feishu"),
    row(Local, "channels.googlechat.accounts.*.serviceAccount", "Google Chat"),
    row(Local, "channels.googlechat.serviceAccount", "Google Chat"),
    row(Sent, "channels.irc.accounts.*.nickserv.password", "IRC"),
    row(Sent, "channels.irc.accounts.*.password", "IRC"),
    row(Sent, "channels.irc.nickserv.password", "IRC"),
    row(Sent, "channels.irc.password", "IRC"),
    row(Sent, "channels.matrix.accessToken", "Matrix"),
    row(Sent, "channels.matrix.accounts.*.accessToken", "Matrix"),
    row(Sent, "channels.matrix.accounts.*.password", "Matrix"),
    row(Sent, "channels.matrix.password", "Matrix"),
    row(Sent, "channels.mattermost.accounts.*.botToken", "Mattermost"),
    row(Sent, "channels.mattermost.botToken", "Mattermost"),
    row(Sent, "channels.msteams.appPassword", "Microsoft Teams"),
    row(Sent, "channels.nextcloud-talk.accounts.*.apiPassword", "Nextcloud Talk"),
    row(Local, "channels.nextcloud-talk.accounts.*.botSecret", "Nextcloud Talk"),
    row(Sent, "channels.nextcloud-talk.apiPassword", "Nextcloud Talk"),
    row(Local, "channels.nextcloud-talk.botSecret", "Nextcloud Talk"),
    row(Local, "channels.nostr.privateKey", "Nostr"),
    row(Sent, "channels.qqbot.accounts.*.clientSecret", "QQ"),
    row(Sent, "channels.qqbot.clientSecret", "QQ"),
    row(Sent, "channels.slack.accounts.*.appToken", "Slack"),
    row(Sent, "channels.slack.accounts.*.botToken", "Slack"),
    row(Sent, "channels.slack.accounts.*.relay.authToken", "Slack"),
    row(Local, "channels.slack.accounts.*.signingSecret", "Slack"),
    row(Sent, "channels.slack.accounts.*.userToken", "Slack"),
    row(Sent, "channels.slack.appToken", "Slack"),
    row(Sent, "channels.slack.botToken", "Slack"),
    row(Sent, "channels.slack.relay.authToken", "Slack"),
    row(Local, "channels.slack.signingSecret", "Slack"),
    row(Sent, "channels.slack.userToken", "Slack"),
    row(Sent, "channels.sms.accounts.*.authToken", "Twilio (SMS)"),
    row(Sent, "channels.sms.authToken", "Twilio (SMS)"),
    row(Sent, "channels.telegram.accounts.*.botToken", "Telegram"),
    row(Local, "channels.telegram.accounts.*.webhookSecret", "Telegram"),
    row(Sent, "channels.telegram.botToken", "Telegram"),
    row(Local, "channels.telegram.webhookSecret", "Telegram"),
    row(Sent, "channels.zalo.accounts.*.botToken", "Zalo"),
    row(Local, "channels.zalo.accounts.*.webhookSecret", "Zalo"),
    row(Sent, "channels.zalo.botToken", "Zalo"),
    row(Local, "channels.zalo.webhookSecret", "Zalo"),
    row(Sent, "cron.webhookToken", "the receiver of cron webhooks"),
    row(Local, "gateway.auth.password", "this gateway"),
    row(Local, "gateway.auth.token", "this gateway"),
    row(Sent, "gateway.remote.password", "another gateway"),
    row(Sent, "gateway.remote.token", "another gateway"),
    row(Sent, "memory.search.remote.apiKey", "an embedding provider"),
    row(Sent, "models.providers.*.apiKey", "a model provider"),
    row(Sent, "models.providers.*.headers.*", "a model provider"),
    row(Sent, "models.providers.*.request.auth.token", "a model provider"),
    row(Sent, "models.providers.*.request.auth.value", "a model provider"),
    row(Sent, "models.providers.*.request.headers.*", "a model provider"),
    row(Local, "models.providers.*.request.proxy.tls.ca", "a proxy before a model provider"),
    row(Local, "models.providers.*.request.proxy.tls.cert", "a proxy before a model provider"),
    row(Local, "models.providers.*.request.proxy.tls.key", "a proxy before a model provider"),
    row(Local, "models.providers.*.request.proxy.tls.passphrase", "a proxy before a model provider"),
    row(Local, "models.providers.*.request.tls.ca", "a model provider"),
    row(Local, "models.providers.*.request.tls.cert", "a model provider"),
    row(Local, "models.providers.*.request.tls.key", "a model provider"),
    row(Local, "models.providers.*.request.tls.passphrase", "a model provider"),
    row(Sent, "plugins.entries.acpx.config.mcpServers.*.env.*", "an MCP server of ACP sessions"),
    row(Sent, "plugins.entries.brave.config.webSearch.apiKey", "Brave Search"),
    row(Sent, "plugins.entries.codex.config.appServer.authToken", "the Codex app server"),
    row(Sent, "plugins.entries.codex.config.appServer.headers.*", "the Codex app server"),
    row(Sent, "plugins.entries.comfy.config.headers.*", "ComfyUI"),
    row(Sent, "plugins.entries.exa.config.webSearch.apiKey", "Exa search"),
    row(Sent, "plugins.entries.facetime.config.realtime.providers.*.apiKey", "a voice provider"),
    row(Sent, "plugins.entries.firecrawl.config.webFetch.apiKey", "Firecrawl"),
    row(Sent, "plugins.entries.firecrawl.config.webSearch.apiKey", "Firecrawl"),
    row(Sent, "plugins.entries.google-meet.config.realtime.providers.*.apiKey", "a voice provider"),
    row(Sent, "plugins.entries.google.config.webSearch.apiKey", "Google search"),
    row(Sent, "plugins.entries.google.config.webSearch.headers.*", "Google search"),
    row(Sent, "plugins.entries.imap.config.accounts.*.password", "a mailbox (IMAP)"),
    row(Sent, "plugins.entries.minimax.config.webSearch.apiKey", "MiniMax search"),
    row(Sent, "plugins.entries.moonshot.config.webSearch.apiKey", "Moonshot search"),
    row(Sent, "plugins.entries.parallel.config.webSearch.apiKey", "Parallel search"),
    row(Sent, "plugins.entries.perplexity.config.webSearch.apiKey", "Perplexity search"),
    row(Sent, "plugins.entries.tavily.config.webSearch.apiKey", "Tavily search"),
    row(Sent, "plugins.entries.team-reports.config.discord.token", "Discord"),
    row(Sent, "plugins.entries.team-reports.config.github.token", "GitHub"),
    row(Sent, "plugins.entries.typesafe.config.apiKey", "TypeSafe"),
    row(Sent, "plugins.entries.voice-call.config.realtime.providers.*.apiKey", "a voice provider"),
    row(Sent, "plugins.entries.voice-call.config.streaming.providers.*.apiKey", "a voice provider"),
    row(Sent, "plugins.entries.voice-call.config.tts.providers.*.apiKey", "a voice provider"),
    row(Sent, "plugins.entries.voice-call.config.twilio.authToken", "Twilio calls"),
    row(Local, "plugins.entries.webhooks.config.routes.*.secret", "incoming webhooks"),
    row(Sent, "plugins.entries.xai.config.webSearch.apiKey", "xAI search"),
    row(Sent, "skills.entries.*.apiKey", "the service of a skill"),
    row(Sent, "talk.providers.*.apiKey", "a voice provider"),
    row(Sent, "talk.realtime.providers.*.apiKey", "a voice provider"),
    row(Sent, "tts.personas.*.providers.*.apiKey", "a voice provider"),
    row(Sent, "tts.providers.*.apiKey", "a voice provider"),
    row(Local, "agents.defaults.sandbox.ssh.identityData", "hosts that the sandbox logs in to"),
    row(Local, "agents.entries.*.sandbox.ssh.identityData", "hosts that the sandbox logs in to"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_by_its_names_and_no_other_is() {
        let opens = |path: &str| config_secret(&path.split('.').collect::<Vec<_>>()).map(|secret| secret.opens);
        assert_eq!(opens("models.providers.my-own.apiKey"), Some("a model provider"));
        assert_eq!(opens("gateway.auth.token"), Some("this gateway"));
        for none in ["models.providers.my-own.baseUrl", "gateway.auth", "gateway.auth.token.x", "hooks.token", ""] {
            assert_eq!(opens(none), None, "{none}");
        }
    }

    #[test]
    fn every_row_stands_once_and_a_variable_names_a_row() {
        for (index, row) in CONFIG_SECRETS.iter().enumerate() {
            assert!(!row.opens.is_empty() && !row.opens.contains('?'), "{}", row.path);
            assert!(CONFIG_SECRETS[..index].iter().all(|other| other.path != row.path), "{}", row.path);
        }
        for (index, row) in ENV_SECRETS.iter().enumerate() {
            assert!(config_secret(&row.path.split('.').collect::<Vec<_>>()).is_some(), "{}", row.path);
            assert!(row.path.starts_with(row.within), "{}", row.name);
            assert!(ENV_SECRETS[..index].iter().all(|other| other.name != row.name), "{}", row.name);
        }
    }
}
