//! Decisions for the clients' own tools, in a throwaway home: what is asked, what is allowed, and what would help.
#![allow(clippy::unwrap_used, reason = "a test; the lint's own exception does not reach its helpers")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use mantlet_guard::{Decision, Denial, Guard, GuardError, McpServer, ServerRuns, ToolCall};
use mantlet_policy::{Host, Policy};
use serde_json::{Value, json};

struct World {
    top: PathBuf,
    policy: Policy,
}

struct Machine(PathBuf);

impl Host for Machine {
    fn home(&self) -> &Path {
        &self.0
    }
    fn state_dirs(&self) -> &[PathBuf] {
        &[]
    }
    fn canonical(&self, path: &Path) -> std::io::Result<PathBuf> {
        fs::canonicalize(path)
    }
}

const FILES: &str = "read = [\"~/ref\"]\nwrite = [\"~/out\", \"open/.envrc\"]\ndeny = [\"**/.env\", \"private\"]\nprotect = [\"kept.md\"]\n";

impl World {
    fn new(role: &str, files: &str, more: &str) -> World {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let top = std::env::temp_dir().join(format!("mantlet-guard-{}-{count}", std::process::id()));
        for dir in [
            "work/src",
            "work/open",
            "work/private/in",
            "work/.git/hooks",
            "work/outbox",
            "ref",
            "out",
            ".ssh",
            "work/a/b",
        ] {
            fs::create_dir_all(top.join(dir)).unwrap();
        }
        for file in [
            "work/src/main.rs",
            "work/.env",
            "work/src/.env",
            "work/private/in/key",
            "work/kept.md",
            "work/AGENTS.md",
            "work/.git/config",
            "ref/book",
            "out/x",
            ".ssh/id_ed25519",
            "work/open/.envrc",
            "work/a/b/f",
        ] {
            fs::write(top.join(file), "x").unwrap();
        }
        let text = format!(
            "version = 1\n[agent.main]\nrole = \"{role}\"\nworkspace = \"~/work\"\n[agent.main.files]\n{files}{more}"
        );
        let policy = mantlet_policy::parse(&text, Path::new("mantlet.toml"), &Machine(top.clone())).unwrap();
        World { top, policy }
    }

    fn builder() -> World {
        World::new("builder", FILES, "")
    }

    fn ask(&self, client: &str, tool: &str, input: Value) -> Decision {
        self.ask_in(client, tool, input, "work")
    }

    fn ask_in(&self, client: &str, tool: &str, input: Value, cwd: &str) -> Decision {
        let guard = Guard::new(self.policy.agent("main").unwrap(), &self.top, client).unwrap();
        let cwd = self.top.join(cwd);
        guard.decide(&ToolCall { tool, input: &input, cwd: &cwd, mcp_server: None })
    }

    #[track_caller]
    fn allowed(&self, client: &str, tool: &str, input: Value) {
        let decision = self.ask(client, tool, input.clone());
        assert!(matches!(decision, Decision::Allow(_)), "{client} {tool} {input}: {decision:?}");
    }

    #[track_caller]
    fn denied(&self, client: &str, tool: &str, input: Value) -> Denial {
        match self.ask(client, tool, input.clone()) {
            Decision::Deny(denial) => denial,
            Decision::Allow(rule) => panic!("{client} {tool} {input}: allowed by {rule}"),
        }
    }

    #[track_caller]
    fn denied_with(&self, client: &str, tool: &str, input: Value, hint: &str) {
        let denial = self.denied(client, tool, input.clone());
        let said = denial.hint.clone().unwrap_or_default().replace(self.top.to_str().unwrap(), "~");
        assert!(said.contains(hint), "{client} {tool} {input}: {denial:?}");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.top).ok();
    }
}

#[test]
fn files_of_the_workspace_and_of_the_policy_are_open_and_the_rest_is_not() {
    let w = World::builder();
    for path in [
        "src/main.rs",
        "~/ref/book",
        "~/out/x",
        "/usr/bin/env",
        "AGENTS.md",
        "kept.md",
        ".git/config",
        " src/main.rs\n",
    ] {
        w.allowed("claude", "Read", json!({ "file_path": path }));
    }
    for path in ["src/main.rs", "new/deep/file", "~/out/new", "open/.envrc", "src/.env.example"] {
        w.allowed("claude", "Write", json!({ "file_path": path, "content": "" }));
    }
    w.denied_with(
        "claude",
        "Read",
        json!({ "file_path": "~/.ssh/id_ed25519" }),
        "mantlet allow --agent main --read ~/.ssh/id_ed25519",
    );
    w.denied_with("claude", "Read", json!({ "file_path": "../.ssh/id_ed25519" }), "--read ~/.ssh/id_ed25519");
    w.denied_with("claude", "Read", json!({ "file_path": "/etc/shadow" }), "--read /etc/shadow");
    w.denied_with("claude", "Write", json!({ "file_path": "~/ref/book" }), "--write ~/ref/book");
    w.denied_with("claude", "Write", json!({ "file_path": "~/elsewhere/new" }), "contains your home directory");
    w.denied_with("claude", "Edit", json!({ "file_path": "AGENTS.md" }), "--write ~/work/AGENTS.md");
    w.denied_with("claude", "Write", json!({ "file_path": "sub/CLAUDE.md" }), "--write ~/work/sub/CLAUDE.md");
    w.denied_with("claude", "Write", json!({ "file_path": ".git/hooks/pre-commit" }), "--write ~/work/.git/hooks");
    w.denied_with("claude", "Write", json!({ "file_path": "kept.md" }), "line 9");
    w.denied_with("claude", "Read", json!({ "file_path": "src/.env" }), "line 8");
    w.denied_with("claude", "Read", json!({ "file_path": "private/in/key" }), "line 8");
    w.denied_with("claude", "Read", json!({ "file_path": "missing" }), "check the path");
}

#[test]
fn what_a_denial_advises_makes_the_call_allowed() {
    let before = World::builder();
    let call = json!({ "file_path": "AGENTS.md" });
    before.denied_with("claude", "Write", call.clone(), "mantlet allow --agent main --write");
    World::new("builder", &FILES.replace("write = [", "write = [\"AGENTS.md\", "), "").allowed("claude", "Write", call);
    let tool = json!({ "query": "x" });
    before.denied_with("claude", "WebSearch", tool.clone(), "mantlet allow --agent main --tool WebSearch");
    World::new("builder", FILES, "[agent.main.tools]\nallow = [\"WebSearch\"]").allowed("claude", "WebSearch", tool);
    let path = json!({ "path": "~/.ssh/id_ed25519" });
    before.denied_with("openclaw", "read", path.clone(), "--read ~/.ssh/id_ed25519");
    World::new("builder", &FILES.replace("\"~/ref\"", "\"~/.ssh/id_ed25519\""), "").allowed("openclaw", "read", path);
}

#[test]
fn every_trick_with_a_path_ends_at_the_object() {
    let w = World::builder();
    let work = w.top.join("work");
    symlink(w.top.join(".ssh"), work.join("out-dir")).unwrap();
    symlink("src/main.rs", work.join("in")).unwrap();
    symlink("loop", work.join("loop")).unwrap();
    fs::hard_link(work.join(".env"), work.join("src/plain")).unwrap();
    fs::hard_link(work.join("private/in/key"), work.join("src/other")).unwrap();
    fs::hard_link(work.join("AGENTS.md"), work.join("src/notes")).unwrap();
    // Denied in a directory that is protected as a whole.
    fs::write(work.join(".git/hooks/.env"), "x").unwrap();
    fs::hard_link(work.join(".git/hooks/.env"), work.join("src/third")).unwrap();
    let top = w.top.display();
    for path in [
        "out-dir/id_ed25519".to_owned(),
        "loop".into(),
        "src/plain".into(),
        "src/other".into(),
        "src/third".into(),
        "src/../../.ssh/id_ed25519".into(),
        "out-dir/../work/src/main.rs".into(),
        format!("/proc/self/root{top}/.ssh/id_ed25519"),
        "/proc/self/cwd/../.ssh/id_ed25519".into(),
        "/proc/self/environ".into(),
        "/proc/self/fd/3".into(),
        format!("/proc/{}/root/etc/passwd", std::process::id()),
        "/proc/1/root".into(),
        "/dev/stdin".into(),
        "/dev/tty".into(),
        "/etc/passwd".into(),
        "/tmp".into(),
        "src/main.rs/".into(),
        "a\0b".into(),
        "x".repeat(9000),
        format!("{}x", "d/".repeat(3000)),
        "/".into(),
        "~".into(),
    ] {
        w.denied("claude", "Read", json!({ "file_path": path }));
    }
    for path in [
        "in".to_owned(),
        "src//./main.rs".into(),
        "a/../src/main.rs".into(),
        format!("/proc/self/root{top}/work/src/main.rs"),
        "/proc/self/cwd/src/main.rs".into(),
        "/dev/null".into(),
    ] {
        w.allowed("claude", "Read", json!({ "file_path": path }));
    }
    w.allowed("claude", "Read", json!({ "file_path": "src/notes" }));
    w.denied("claude", "Write", json!({ "file_path": "src/notes" }));
    for path in
        ["@/etc/shadow", "@~/.ssh/id_ed25519", "file:///etc/shadow", "file:///%65tc/shadow", "FILE:///etc/shadow"]
    {
        w.denied("openclaw", "read", json!({ "path": path }));
    }
    for path in ["@src/main.rs".to_owned(), format!("file://{top}/work/src/main.rs")] {
        w.allowed("openclaw", "read", json!({ "path": path }));
    }
}

#[test]
fn another_unicode_form_of_a_denied_name_is_denied() {
    let w = World::new("builder", "deny = [\"cafe\u{301}\"]\n", "");
    fs::write(w.top.join("work/cafe\u{301}"), "x").unwrap();
    fs::write(w.top.join("work/caf\u{e9}"), "x").unwrap();
    fs::write(w.top.join("work/th\u{e9}"), "x").unwrap();
    w.denied("claude", "Read", json!({ "file_path": "cafe\u{301}" }));
    w.denied("claude", "Read", json!({ "file_path": "caf\u{e9}" }));
    w.allowed("claude", "Read", json!({ "file_path": "th\u{e9}" }));
}

#[test]
fn searches_and_patterns_reach_nothing_that_is_denied() {
    let w = World::builder();
    w.denied_with("claude", "Grep", json!({ "pattern": "x" }), "name a directory that does not hold ~/work/.env");
    w.denied("claude", "Grep", json!({ "pattern": "x", "path": "src" }));
    w.denied("claude", "Grep", json!({ "pattern": "x", "path": "src", "glob": ".env" }));
    w.denied("claude", "Grep", json!({ "pattern": "x", "path": "src", "glob": "!*.md" }));
    w.denied("claude", "Grep", json!({ "pattern": "x", "path": "src", "glob": "*.rs .env" }));
    w.allowed("claude", "Grep", json!({ "pattern": "x", "path": "src", "glob": "*.rs" }));
    w.allowed("claude", "Grep", json!({ "pattern": "x", "path": "a" }));
    w.denied("claude", "Glob", json!({ "pattern": "**/*" }));
    w.denied("claude", "Glob", json!({ "pattern": "private/**" }));
    w.denied("claude", "Glob", json!({ "pattern": "/etc/*" }));
    w.denied("claude", "Glob", json!({ "pattern": "../.ssh/*" }));
    w.denied("claude", "Glob", json!({ "pattern": "~/.ssh/*" }));
    w.denied("claude", "Glob", json!({ "pattern": "{src,../.ssh}/*" }));
    w.denied("claude", "Glob", json!({ "pattern": "*/../../.ssh/*", "path": "src" }));
    w.denied("claude", "Glob", json!({ "pattern": "*", "path": "~/.ssh" }));
    w.allowed("claude", "Glob", json!({ "pattern": "src/**/*.rs" }));
    w.allowed("claude", "Glob", json!({ "pattern": "*.rs", "path": "src" }));
    w.allowed("claude", "Glob", json!({ "pattern": "not/there/*" }));
    w.allowed("claude", "LS", json!({ "path": "src" }));
    w.denied("claude", "LS", json!({ "path": "." }));
}

#[test]
fn a_patch_is_judged_file_by_file() {
    let w = World::builder();
    let patch = |body: &str| json!({ "patchText": format!("*** Begin Patch\n{body}\n*** End Patch") });
    w.allowed("opencode", "apply_patch", patch("*** Add File: new.rs\n+x\n*** Update File: src/main.rs\n@@\n-x\n+y"));
    w.allowed("opencode", "apply_patch", patch("*** Update File: src/main.rs\n*** Move to: src/lib.rs"));
    w.allowed("opencode", "apply_patch", patch("*** Delete File: a/b/f"));
    for body in [
        "*** Add File: /etc/cron.d/x",
        "*** Update File: src/main.rs\n*** Move to: .envrc",
        "*** Update File: AGENTS.md",
        "*** Delete File: AGENTS.md",
        "*** Delete File: .git",
        "*** Delete File: .",
        "*** Update File: AGENTS.md\n*** Move to: x",
        "*** Rename File: x",
        "nothing",
    ] {
        w.denied("opencode", "apply_patch", patch(body));
    }
}

#[test]
fn tools_are_known_or_listed() {
    let w = World::builder();
    w.allowed("claude", "TodoWrite", json!({}));
    w.allowed("claude", "Bash", json!({ "command": "cat ~/.ssh/id" }));
    w.allowed("claude", "Agent", json!({ "prompt": "x" }));
    w.denied_with("claude", "WebFetch", json!({ "url": "https://x" }), "mantlet allow --agent main --tool WebFetch");
    w.denied_with("claude", "CronCreate", json!({}), "mantlet allow --agent main --tool CronCreate");
    w.denied_with("claude", "Teleport", json!({}), "mantlet allow --agent main --tool Teleport");
    w.denied("claude", "read", json!({ "file_path": "src/main.rs" }));
    w.denied("claude", "Read", json!({}));
    w.denied("claude", "Read", json!({ "file_path": 7 }));
    w.denied("claude", "Read", json!({ "file_path": ["src/main.rs"] }));
    w.denied("claude", "Read", json!("src/main.rs"));
    w.denied("claude", "Read", Value::Null);
    let listed = World::new("builder", FILES, "[agent.main.tools]\nallow = [\"Teleport\", \"WebFetch\"]");
    listed.allowed("claude", "Teleport", json!({ "where": "x" }));
    listed.allowed("claude", "Teleport", json!({ "file_path": "src/main.rs" }));
    listed.denied("claude", "Teleport", json!({ "file_path": "~/.ssh/id_ed25519" }));
    listed.denied("claude", "Teleport", json!({ "path": ["AGENTS.md"] }));
    listed.allowed("claude", "WebFetch", json!({ "url": "https://x", "prompt": "" }));
}

#[test]
fn an_mcp_tool_is_allowed_when_its_server_is_jailed() {
    let w = World::builder();
    let guard = Guard::new(w.policy.agent("main").unwrap(), &w.top, "claude").unwrap();
    let input = json!({ "path": "/etc/shadow" });
    let ask = |runs| {
        let mcp_server = Some(McpServer { name: "files", runs });
        guard.decide(&ToolCall { tool: "mcp__files__read", input: &input, cwd: &w.top, mcp_server })
    };
    assert!(matches!(ask(ServerRuns::Jailed), Decision::Allow(_)));
    for runs in [ServerRuns::Unjailed("npx x"), ServerRuns::Unknown] {
        assert!(
            matches!(ask(runs), Decision::Deny(Denial { hint: Some(hint), .. }) if hint.contains("mantlet mcp -- "))
        );
    }
}

#[test]
fn a_scout_and_a_public_agent_read_and_write_their_own_names_only() {
    let scout = World::new("scout", "", "");
    scout.allowed("claude", "Read", json!({ "file_path": "src/main.rs" }));
    scout.allowed("claude", "Write", json!({ "file_path": "outbox/letter" }));
    scout.denied("claude", "Write", json!({ "file_path": "src/main.rs" }));
    scout.denied("claude", "Write", json!({ "file_path": "outbox/../src/main.rs" }));
    scout.denied_with("claude", "Write", json!({ "file_path": "new" }), "--write ~/work/new");
    scout.denied_with("claude", "Bash", json!({ "command": "true" }), "role = \"builder\"");
    fs::hard_link(scout.top.join("work/src/main.rs"), scout.top.join("work/outbox/main")).unwrap();
    scout.denied("claude", "Write", json!({ "file_path": "outbox/main" }));
    symlink("../src", scout.top.join("work/outbox/src")).unwrap();
    scout.denied("claude", "Write", json!({ "file_path": "outbox/src/main.rs" }));
    let public = World::new("public", "", "");
    public.allowed("openclaw", "write", json!({ "path": "MEMORY.md", "content": "" }));
    public.allowed("openclaw", "write", json!({ "path": "memory/today.md", "content": "" }));
    public.denied("openclaw", "write", json!({ "path": "AGENTS.md", "content": "" }));
    public.denied("openclaw", "exec", json!({ "command": "true" }));
}

#[test]
fn without_a_table_or_a_workspace_there_is_no_guard() {
    let w = World::builder();
    let agent = w.policy.agent("main").unwrap();
    assert!(
        matches!(Guard::new(agent, &w.top, "nobody\n"), Err(GuardError::UnknownClient { client }) if client == "nobody\\n")
    );
    fs::rename(w.top.join("work"), w.top.join("gone")).unwrap();
    assert!(matches!(Guard::new(agent, &w.top, "claude"), Err(GuardError::Workspace { .. })));
}

/// Random texts, half of them made of what paths, patterns and patches are made of.
struct Noise(u64);

impl Noise {
    fn below(&mut self, n: u64) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % n).unwrap()
    }

    fn text(&mut self) -> String {
        const BITS: &str = "/|..|.|~|@|file://|%2e|{|}|,|*|[|]|\\|\0|\u{a0}|e\u{301}|src|.env|proc/self/|root|cwd|*** Add File: |\
            *** Move to:|\n| |!|\u{10ffff}|(|AGENTS.md";
        let bits: Vec<&str> = BITS.split('|').collect();
        let mut text = String::new();
        for _ in 0..self.below(9) {
            match self.below(4) {
                0 => text.push(char::from_u32(u32::try_from(self.below(0x11_0000)).unwrap()).unwrap_or('\u{fffd}')),
                _ => text.push_str(bits[self.below(30) % bits.len()]),
            }
        }
        text
    }

    fn value(&mut self) -> Value {
        let text = self.text();
        match self.below(8) {
            0 => json!([text, 1]),
            1 => json!({ text: null }),
            2 => json!([text.clone(), text]),
            _ => json!(text),
        }
    }
}

/// Any bytes as a path, a pattern, a patch or an input: an answer, and no panic.
#[test]
fn random_input_gets_an_answer() {
    const TOOLS: [(&str, &str, &str); 8] = [
        ("claude", "Read", "file_path"),
        ("claude", "Glob", "pattern"),
        ("claude", "Grep", "glob"),
        ("claude", "Write", "file_path"),
        ("opencode", "apply_patch", "patchText"),
        ("openclaw", "read", "path"),
        ("gemini", "read_many_files", "include"),
        ("copilot", "grep", "paths"),
    ];
    let w = World::builder();
    let mut noise = Noise(0x0123_4567_89ab_cdef);
    for _ in 0..2000 {
        let (client, tool, name) = TOOLS[noise.below(8)];
        let value = noise.value();
        let input = if noise.below(50) == 0 { value } else { json!({ name: value }) };
        if let Decision::Allow(_) = w.ask(client, tool, input.clone()) {
            assert!(!input.to_string().contains("\\u0000"), "{client} {tool} {input}");
        }
    }
}

/// What another program makes of a text counts, not what it looks like here: each of these opened another file.
#[test]
fn a_text_that_a_client_reads_otherwise_is_judged_as_the_client_reads_it() {
    let w = World::builder();
    // JavaScript does not trim U+0085, and Rust does; the other way round with U+FEFF.
    symlink(w.top.join("ref/book"), w.top.join("work/main\u{85}")).unwrap();
    fs::write(w.top.join("work/main"), "x").unwrap();
    w.denied("claude", "Write", json!({ "file_path": "main\u{85}", "content": "" }));
    w.allowed("claude", "Write", json!({ "file_path": "main\n", "content": "" }));
    // OpenClaw folds some of the unicode spaces.
    symlink(w.top.join("ref/book"), w.top.join("work/a\u{2028}b")).unwrap();
    w.denied("openclaw", "write", json!({ "path": "a\u{2028}b" }));
    w.allowed("openclaw", "write", json!({ "path": "a\u{2029}c" }));
    let patch =
        |path: &str| json!({ "patchText": format!("*** Begin Patch\n*** Update File: {path}\n@@\n*** End Patch") });
    for path in ["main\u{85}", "\u{feff}.env", ".env\u{feff}", ".env:x", ".env: x", "new\u{85}/../.env:"] {
        w.denied("opencode", "apply_patch", patch(path));
    }
    for path in ["src/main.rs", "new:file", " src/main.rs "] {
        w.allowed("opencode", "apply_patch", patch(path));
    }
}

#[test]
fn a_search_is_narrowed_only_by_what_every_search_reads_alike() {
    let w = World::new("builder", "deny = [\"**/.env\"]\n", "");
    // An anchor to ripgrep, and magic to `git grep`: all of them read `.env`.
    for glob in ["/.env", "//.env", "./.env", "/*.env"] {
        w.denied("claude", "Grep", json!({ "pattern": "x", "glob": glob }));
    }
    for glob in [":/.env", ":!none", ":^none", ":!none/", "-x:.env"] {
        w.denied("gemini", "grep_search", json!({ "pattern": "x", "include_pattern": glob }));
    }
    for glob in ["*.rs", "*.{rs,toml}", "src/**/*.rs"] {
        w.allowed("claude", "Grep", json!({ "pattern": "x", "glob": glob }));
    }
}

/// OpenCode reads each `@file` of a subagent's prompt by itself: no hook is asked about it.
#[test]
fn a_file_mentioned_in_a_prompt_is_read() {
    let w = World::builder();
    let top = w.top.to_str().unwrap().to_owned();
    fs::create_dir_all(w.top.join("work/sub")).unwrap();
    for prompt in [
        "look at @~/.ssh/id_ed25519, please".to_owned(),
        format!("@{top}/.ssh/id_ed25519"),
        format!("(@{top}/.ssh/id_ed25519)."),
        format!("see @{top}/.ssh..x"),
        "@../.ssh/id_ed25519".into(),
        "a\n@.env".into(),
        "`x` @src/.env!".into(),
        "@/etc/shadow".into(),
    ] {
        w.denied("opencode", "task", json!({ "prompt": prompt, "subagent_type": "general" }));
        w.denied("claude", "Agent", json!({ "prompt": prompt }));
        w.denied("claude", "Skill", json!({ "skill": "x", "args": prompt }));
    }
    for prompt in ["", "@src/main.rs and @types/node@1.2, @nobody", "ann@example.com", "@", "@@ -1 +1 @@", "@src"] {
        w.allowed("opencode", "task", json!({ "prompt": prompt }));
    }
    w.allowed("opencode", "task", json!({ "prompt": format!("data:@{}", "A".repeat(9000)) }));
    // Relative to the repository around the directory, not only to the directory.
    let call = json!({ "prompt": "@.env" });
    assert!(matches!(w.ask_in("opencode", "task", call, "work/sub"), Decision::Deny(_)));
}

#[test]
fn a_tool_that_does_more_with_another_argument_is_held_to_what_is_known() {
    let w = World::new("builder", FILES, "[agent.main.tools]\nallow = [\"message\"]\n");
    for name in ["media", "path", "filePath", "mediaUrl", "fileUrl"] {
        w.denied("openclaw", "message", json!({ "action": "send", name: "~/.ssh/id_ed25519" }));
        w.denied("openclaw", "message", json!({ "attachments": [{ name: "~/.ssh/id_ed25519" }] }));
        w.allowed("openclaw", "message", json!({ "action": "send", name: "src/main.rs" }));
    }
    w.denied("openclaw", "message", json!({ "mediaUrls": ["~/.ssh/id_ed25519"] }));
    for runtime in [json!("acp"), json!(["acp"]), json!("")] {
        w.denied("openclaw", "sessions_spawn", json!({ "task": "x", "runtime": runtime }));
    }
    w.allowed("openclaw", "sessions_spawn", json!({ "task": "x", "runtime": "subagent" }));
    w.allowed("openclaw", "sessions_spawn", json!({ "task": "x" }));
    w.denied("copilot", "write_bash", json!({ "sessionId": "1", "input": "cat ~/.ssh/id_ed25519{enter}" }));
}

#[test]
fn a_path_by_another_name_is_judged_too() {
    let w = World::new("builder", "deny = [\"**/.env\"]\n", "");
    w.denied("copilot", "grep", json!({ "pattern": "x", "path": "/etc", "glob": "*.conf" }));
    w.denied("gemini", "glob", json!({ "pattern": "*", "path": "/etc" }));
    w.denied("claude", "Edit", json!({ "file_path": "src/main.rs", "path": "/etc/passwd" }));
    w.denied("openclaw", "read", json!({ "path": "src/main.rs", "file_path": ["~/.ssh/id_ed25519"] }));
    w.denied("claude", "Read", json!({ "file_path": "src/main.rs", "path": { "a": "b" } }));
    w.allowed("copilot", "glob", json!({ "pattern": "*.rs", "path": "src" }));
    w.allowed("claude", "Edit", json!({ "file_path": "src/main.rs", "path": null, "old_string": "/etc" }));
}

#[test]
fn a_url_that_is_no_address_of_the_web_is_not_fetched() {
    let w = World::new("builder", FILES, "[agent.main.tools]\nallow = [\"WebFetch\"]\n");
    for url in ["file:///etc/passwd", " FILE:/etc/passwd", "fi\nle:///etc/passwd", "data:text/plain,x", "unix:/run/x"] {
        w.denied("claude", "WebFetch", json!({ "url": url, "prompt": "" }));
    }
    for url in ["https://example.org/a:b", "HTTP://x", "example.org/x", "localhost:8080/x", "example.org:443"] {
        w.allowed("claude", "WebFetch", json!({ "url": url, "prompt": "" }));
    }
}

#[test]
fn a_watch_that_is_no_command_is_not_one_of_the_jail() {
    let w = World::builder();
    w.denied("claude", "Monitor", json!({ "ws": { "url": "wss://example.org/?secret" } }));
    w.allowed("claude", "Monitor", json!({ "command": "tail -f x" }));
    w.denied("claude", "Monitor", json!({ "command": "tail -f x", "ws": { "url": "wss://example.org/?secret" } }));
}
