//! What the tables of the watch hold for every client.

use super::*;
use crate::STATE_DIRS;

fn every() -> impl Iterator<Item = Watched> {
    let clients = WHOLE.iter().flat_map(|row| of_client(row.client));
    clients.chain(of_workspace("claude")).chain(USER.iter().copied()).chain(OWN.iter().copied())
}

#[test]
fn every_client_has_rows_and_every_row_says_why() {
    for state in STATE_DIRS {
        assert!(of_client(state.client).len() > 4, "{}", state.client);
    }
    assert!(of_client("nobody").is_empty());
    for row in every() {
        assert!(!row.runs.is_empty() && !row.reason.is_empty(), "{}", row.path());
        assert!(
            !row.path().starts_with('/') && !row.path().ends_with('/') && !row.path().contains("//"),
            "{}",
            row.path()
        );
        assert!(row.kind == Kind::File || row.compared == Compared::Whole, "{}", row.path());
    }
}

#[test]
fn no_place_has_two_rows() {
    let mut paths: Vec<_> = every().map(|row| (format!("{:?}", row.base), row.path())).collect();
    let all = paths.len();
    paths.sort_unstable();
    paths.dedup();
    assert_eq!(paths.len(), all);
}

/// How the file at this path below the home is compared, if it is not by its bytes.
fn compared_at(below_home: &str) -> Option<Compared> {
    let clients = WHOLE.iter().flat_map(|row| of_client(row.client));
    let found = clients.filter(|row| row.base == Base::Home).find(|row| row.matches(below_home));
    found.map(|row| row.compared).filter(|compared| *compared != Compared::Whole)
}

#[test]
fn what_a_client_rewrites_is_not_compared_by_its_bytes() {
    for path in [
        ".openclaw/openclaw.json",
        ".openclaw/state/openclaw.sqlite",
        ".claude/settings.json",
        ".claude.json",
        ".claude/.claude.json",
        ".claude/plugins/known_marketplaces.json",
        ".codex/config.toml",
        ".gemini/settings.json",
        ".copilot/config.json",
        ".cursor/cli-config.json",
        ".config/opencode/opencode.jsonc",
    ] {
        assert!(compared_at(path).is_some(), "{path}");
    }
    for path in [".bashrc", ".openclaw/.env", ".claude/hooks/x.sh", ".openclaw/openclaw.json.bak", "openclaw.json"] {
        assert!(compared_at(path).is_none(), "{path}");
    }
}

/// Seen on the real client: it writes there with every start.
#[test]
fn what_claude_writes_beside_its_plugins_is_its_own() {
    let rows = of_client("claude");
    let is_held = |path: &str| rows.iter().any(|row| row.matches(path));
    assert!(!is_held(".claude/plugins/store/x.json") && !is_held(".claude/local/claude"));
    assert!(
        is_held(".claude/plugins/cache/a/b/1/hooks/hooks.json") && is_held(".claude/plugins/installed_plugins.json")
    );
}

/// An agent that may not write its own memory could not work; one that rewrites AGENTS.md has persisted.
#[test]
fn memory_counts_only_where_it_is_named() {
    let rows = of_workspace("openclaw");
    let when = |path: &str| rows.iter().find(|row| row.matches(path)).map(|row| row.when);
    for path in ["SOUL.md", "IDENTITY.md", "USER.md", "TOOLS.md", "HEARTBEAT.md", "memory/2026-01-01.md"] {
        assert_eq!(when(path), Some(When::Named), "{path}");
    }
    for path in ["AGENTS.md", "BOOT.md", ".git/hooks/pre-commit", ".git/config", ".mcp.json", ".claude/settings.json"] {
        assert_eq!(when(path), Some(When::Always), "{path}");
    }
    assert_eq!(when("README.md"), None);
    let settings = rows.iter().find(|row| row.matches(".claude/settings.json")).unwrap();
    assert!(matches!(settings.compared, Compared::ByKey(settings) if settings.client == "claude"));
}

#[test]
fn a_directory_holds_what_is_below_it_and_a_file_does_not() {
    let find = |path: &str| USER.iter().find(|row| row.matches(path)).map(Watched::path);
    assert_eq!(find(".config/systemd/user/x.service"), Some(".config/systemd/user".into()));
    assert_eq!(find(".bashrc"), Some(".bashrc".into()));
    assert_eq!(find(".bashrc/x"), None);
    assert_eq!(find(".config/systemd"), None);
    assert_eq!(find("var/spool/cron/crontabs/me"), Some("var/spool/cron".into()));
}
