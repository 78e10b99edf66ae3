//! The keys of OpenClaw's `openclaw.json` that decide what an agent may do, and those that the gateway and its user write
//! in ordinary work. Names after `openclaw config schema` of 2026.9.6. Data only.

use super::keys::{Keys, Settings, Syntax, entry, free, grant, guarded};

/// `openclaw.json`.
pub(super) const OPENCLAW: Settings =
    Settings { client: "openclaw", syntax: Syntax::Json5, keys: KEYS, references: &["${"], includes: &["$include"] };

/// What an agent and the defaults of all agents have in common.
const AGENT: &[&str] = &["agents.defaults", "agents.entries.*"];
/// A channel, and each account of one.
const CHANNEL: &[&str] = &["channels.*", "channels.*.accounts.*"];
const TOOLS: &[&str] = &["tools", "agents.entries.*.tools"];

// Every section of the schema has a row here; a section of a later OpenClaw is free until it gets one. What a row
// guards, it guards with all that a later OpenClaw puts below it.
const KEYS: &[Keys] = &[
    // What the gateway notes by itself, and what a person sets for the eye.
    free(&[""], &["$schema", "meta", "wizard", "ui", "surfaces", "telemetry", "attachments", "worktreeAcceleration"]),
    // Tools and what they may reach.
    guarded(
        &[""],
        &["tools"],
        "which tools an agent has, whether its commands are asked about, and whether it leaves its sandbox",
    ),
    free(
        TOOLS,
        &[
            "exec.commandHighlighting",
            "exec.backgroundMs",
            "exec.approvalRunningNoticeMs",
            "exec.cleanupMs",
            "exec.notifyOnExit",
            "exec.notifyOnExitEmptySuccess",
        ],
    ),
    free(
        &["tools"],
        &[
            "updatePlan",
            "toolSearch.searchDefaultLimit",
            "toolSearch.maxSearchLimit",
            "web.search.maxResults",
            "web.search.timeoutSeconds",
            "web.search.cacheTtlMinutes",
            "web.fetch.maxChars",
            "web.fetch.maxCharsCap",
            "web.fetch.maxResponseBytes",
            "web.fetch.timeoutSeconds",
            "web.fetch.cacheTtlMinutes",
            "web.fetch.readability",
            "links.maxLinks",
            "links.timeoutSeconds",
        ],
    ),
    free(
        &["tools.media.image", "tools.media.audio", "tools.media.video"],
        &["preferredModel", "maxBytes", "maxChars", "timeoutSeconds", "language", "echoTranscript", "echoFormat"],
    ),
    guarded(&[""], &["sandbox"], "whether commands run in a sandbox"),
    guarded(&[""], &["security"], "who vets an install, and which findings of the audit are hidden"),
    guarded(&[""], &["approvals"], "where a request for approval is sent: whoever gets it can answer it"),
    guarded(
        &[""],
        &["commands"],
        "which chat commands exist (a shell, the configuration), and who counts as the owner",
    ),
    free(&["commands"], &["native", "nativeSkills", "text", "bashForegroundMs"]),
    guarded(&[""], &["browser"], "a browser whose program, profile or remote end somebody else chooses"),
    free(&["browser"], &["headless", "snapshotDefaults", "tabCleanup"]),
    guarded(&[""], &["acp"], "which other agents are started, and by which command"),
    free(&["acp"], &["stream"]),
    // Agents.
    guarded(&[""], &["agents"], "the sandbox, tools, skills and workspace of an agent"),
    entry(&["agents.entries"], &["*"], "an agent with the rights that nobody took from it"),
    // The agent that is there without an entry: `doctor --fix` writes an empty one.
    guarded(&["agents.entries"], &["main"], "the sandbox, tools, skills and workspace of an agent"),
    free(
        AGENT,
        &[
            "model",
            "utilityModel",
            "decisionModel",
            "imageModel",
            "mediaModels",
            "voiceModel",
            "pdfModel",
            "pdfMaxMb",
            "pdfMaxPages",
            "models",
            "modelSelectionScope",
            "name",
            "description",
            "identity",
            "silentReply",
            "bootstrapMaxChars",
            "bootstrapTotalMaxChars",
            "skillsLimits",
            "userTimezone",
            "contextPruning",
            "contextLimits",
            "compaction",
            "experimental",
            "thinkingDefault",
            "fastModeDefault",
            "verboseDefault",
            "toolProgressDetail",
            "reasoningDefault",
            "blockStreamingDefault",
            "blockStreamingBreak",
            "blockStreamingChunk",
            "blockStreamingCoalesce",
            "timeoutSeconds",
            "mediaMaxMb",
            "imageMaxDimensionPx",
            "imageQuality",
            "typingIntervalSeconds",
            "typingMode",
            "humanDelay",
            "maxConcurrent",
            "heartbeat.every",
            "heartbeat.activeHours",
            "heartbeat.model",
            "heartbeat.timeoutSeconds",
            "heartbeat.lightContext",
            "heartbeat.isolatedSession",
            "subagents.model",
            "subagents.thinking",
            "subagents.maxConcurrent",
            "subagents.runTimeoutSeconds",
            "subagents.announceTimeoutMs",
            "subagents.archiveAfterMinutes",
            "subagents.delegationMode",
            "sandbox.prune",
            "tts",
        ],
    ),
    guarded(
        &["agents.defaults.models.*", "agents.entries.*.models.*"],
        &["agentRuntime", "codeMode", "params"],
        "the program that runs the agent: another one has tools that no sandbox of OpenClaw's holds",
    ),
    guarded(AGENT, &["compaction.provider"], "a plugin that is given every conversation"),
    guarded(
        &["tts", "agents.entries.*.tts"],
        &["providers", "personas", "prefsPath"],
        "where what is spoken is sent, and with whose key",
    ),
    free(&[""], &["tts"]),
    guarded(&[""], &["bindings"], "which agent answers whom: another agent has other tools"),
    guarded(&[""], &["broadcast"], "who else hears a message"),
    guarded(&[""], &["accessGroups"], "who belongs to a group that is let in"),
    // Models, and everything that is sent there.
    guarded(
        &[""],
        &["models"],
        "where every conversation is sent, and with whose key (an address of the attacker's reads along)",
    ),
    entry(&["models.providers"], &["*"], "a provider that reads along"),
    free(&["models.providers.*"], &["maxTokens", "timeoutSeconds", "injectNumCtxForOpenAICompat"]),
    guarded(&[""], &["auth"], "with whose account a provider is used"),
    guarded(&[""], &["memory"], "which files are read into memory, and where they are sent to be indexed"),
    free(&["memory"], &["citations", "search.query", "search.cache", "search.outputDimensionality"]),
    guarded(&[""], &["talk"], "where what is said is sent, and with whose key"),
    free(
        &["talk"],
        &[
            "speechLocale",
            "interruptOnSpeech",
            "silenceTimeoutMs",
            "consultThinkingLevel",
            "consultFastMode",
            "realtime.speakerVoice",
            "realtime.speakerVoiceId",
            "realtime.vadThreshold",
            "realtime.silenceDurationMs",
            "realtime.prefixPaddingMs",
            "realtime.reasoningEffort",
        ],
    ),
    // Code that runs in the gateway, or beside it.
    guarded(
        &[""],
        &["plugins"],
        "code in the gateway's own process; and Mantlet's own plugin, which is gone without a word once it is disabled here",
    ),
    guarded(&[""], &["hooks"], "code of internal hooks, and a door through which a web request starts a turn"),
    guarded(&[""], &["mcp"], "a server entry is a command"),
    free(&["mcp"], &["sessionIdleTtlMs"]),
    guarded(&[""], &["skills"], "where instructions and programs are loaded from, and the variables that they get"),
    free(&["skills"], &["limits", "load.watch", "workshop.maxPending", "workshop.maxSkillBytes"]),
    // `doctor --fix` switches off what this machine cannot run.
    grant(&["skills.entries.*"], &["enabled"], "a skill that was switched off"),
    guarded(&[""], &["cron"], "whether scheduled scripts run, and where their results are sent"),
    free(&["cron"], &["skipMissedJobs", "sessionRetention"]),
    guarded(&[""], &["update"], "another channel of updates replaces the gateway's own code"),
    free(&["update"], &["checkOnStart"]),
    guarded(
        &[""],
        &["nodeHost", "cloudWorkers", "desktop", "worktreeRoot"],
        "other machines and places that work is given to",
    ),
    guarded(
        &[""],
        &["env"],
        "variables of the gateway and of every command: NODE_OPTIONS, HTTPS_PROXY and the like are code and ways out",
    ),
    // Who gets in, and what gets out.
    guarded(&[""], &["gateway"], "who reaches the gateway, and whether it asks who they are"),
    free(&["gateway"], &["controlUi.environment", "controlUi.communityInvite"]),
    guarded(&[""], &["discovery"], "who is told that the gateway is there"),
    guarded(&[""], &["proxy"], "the way out of the gateway itself"),
    guarded(&[""], &["secrets"], "the program that secrets are asked from, and the hosts that they are sent to"),
    guarded(&[""], &["logging"], "which file is written to, what is blacked out in it, and whether there is an audit"),
    free(&["logging"], &["level", "consoleLevel", "consoleStyle", "maxFileBytes"]),
    guarded(&[""], &["diagnostics"], "where traces with what was said are sent"),
    free(&["diagnostics"], &["flags"]),
    guarded(&[""], &["transcripts"], "which meetings are listened to"),
    guarded(&[""], &["session"], "whose conversations share a session, and to whom an agent may write"),
    free(
        &["session"],
        &[
            "reset",
            "resetByType",
            "resetByChannel",
            "resetTriggers",
            "maintenance",
            "notifyOnCreate",
            "threadBindings.idleHours",
            "threadBindings.maxAgeHours",
        ],
    ),
    free(&[""], &["messages"]),
    guarded(
        &["messages"],
        &["groupChat.mentionPatterns", "groupChat.unmentionedInbound"],
        "whose messages in a group an agent obeys",
    ),
    guarded(
        &[""],
        &["channels"],
        "who may talk to an agent, in whose name it answers, and where its messages are sent",
    ),
    entry(&["channels", "channels.*.accounts"], &["*"], "a door that was not there"),
    free(&["channels"], &["modelByChannel"]),
    free(
        CHANNEL,
        &[
            "markdown",
            "historyLimit",
            "dmHistoryLimit",
            "dms.*.historyLimit",
            "textChunkLimit",
            "streaming",
            "heartbeatVisibility",
            "healthMonitor",
            "responsePrefix",
            "messagePrefix",
            "mediaMaxMb",
            "replyToMode",
            "replyToModeByChatType",
            "joinIntro",
            "ackReaction",
            "ackReactionScope",
            "reactionLevel",
            "reactionNotifications",
            "linkPreview",
            "silentErrorReplies",
            "errorPolicy",
            "richMessages",
            "typingIndicator",
            "typingReaction",
            "sendReadReceipts",
            "maxLinesPerMessage",
            "suppressEmbeds",
            "unfurlLinks",
            "unfurlMedia",
            "activity",
            "activityType",
            "status",
            "autoPresence",
            "renderMode",
            "showModelSignature",
            "probeTimeoutMs",
            "reconnectMs",
            "pollTimeoutMs",
            "httpTimeoutMs",
            "initialSyncLimit",
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openclaw::CONFIG_SECRETS;
    use crate::watched::keys::Guard;

    fn guard(path: &str) -> Guard {
        OPENCLAW.held(&path.split('.').map(str::to_owned).collect::<Vec<_>>()).guard
    }

    #[test]
    fn what_loosens_is_guarded_and_what_is_written_in_ordinary_work_is_free() {
        for path in [
            "tools.exec.security",
            "tools.exec.host",
            "tools.elevated.enabled",
            "tools.fs.workspaceOnly",
            "agents.defaults.sandbox.mode",
            "agents.entries.main.sandbox.backend",
            "agents.entries.main.tools.exec.ask",
            "agents.defaults.elevatedDefault",
            "agents.defaults.models.a/b.agentRuntime.id",
            "gateway.bind",
            "gateway.auth.mode",
            "gateway.tailscale.mode",
            "gateway.trustedProxies",
            "gateway.controlUi.dangerouslyDisableDeviceAuth",
            "gateway.controlUi.allowedOrigins",
            "plugins.allow",
            "plugins.load.paths",
            "plugins.entries.mantlet.enabled",
            "plugins.entries.admin-http-rpc.enabled",
            "security.installPolicy.enabled",
            "channels.telegram.allowFrom",
            "channels.telegram.groups.markdown.allowFrom",
            "channels.telegram.accounts.markdown.botToken",
            "channels.telegram.accounts.a.dmPolicy",
            "channels.telegram.apiRoot",
            "models.providers.openai.baseUrl",
            "models.providers.openai.models",
            "env.vars.NODE_OPTIONS",
            "env.NODE_OPTIONS",
            "mcp.servers.x.command",
            "hooks.token",
            "proxy.proxyUrl",
            "secrets.providers.vault.command",
            "tools.exec.something-later",
            "gateway.something-later.deep",
            "memory.search.store.vector.extensionPath",
            "channels.feishu.dms.x.systemPrompt",
            "agents.entries.main.tts.prefsPath",
            "tools.toolSearch.mode",
        ] {
            assert_ne!(guard(path), Guard::Free, "{path}");
        }
        for path in [
            "meta.lastTouchedVersion",
            "wizard.lastRunAt",
            "ui.prefs.theme",
            "agents.defaults.model.primary",
            "agents.entries.main.model",
            "agents.defaults.models.a/b.alias",
            "agents.defaults.heartbeat.every",
            "channels.telegram.streaming.mode",
            "channels.telegram.accounts.a.historyLimit",
            "messages.queue.mode",
            "logging.level",
            "something-later.x",
        ] {
            assert_eq!(guard(path), Guard::Free, "{path}");
        }
    }

    /// Whoever writes a credential decides whose account is used.
    #[test]
    fn every_credential_is_guarded() {
        for secret in CONFIG_SECRETS {
            assert_ne!(guard(&secret.path.replace('*', "x")), Guard::Free, "{}", secret.path);
        }
    }
}
