//! `mantlet hook CLIENT` as a client starts it: cases as data, and everything that must end in the blocking exit code.

#![allow(clippy::unwrap_used, reason = "a test; the lint's own exception does not reach its helpers here")]

mod common;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use common::{Who, World, code, err, everybody, out};
use serde_json::{Value, json};

const CASES: &str = include_str!("hook/cases.psv");
const CLIENTS: [&str; 7] = ["claude", "codex", "gemini", "copilot", "cursor", "opencode", "openclaw"];

/// READ WRITE SEARCH LIST EXEC of each client: the tool, and its argument.
const OWN: [(&str, [(&str, &str); 5]); 7] = [
    ("claude", [("Read", "file_path"), ("Write", "file_path"), ("Grep", ""), ("Glob", ""), ("Bash", "command")]),
    ("codex", [("view_image", "path"), ("", ""), ("", ""), ("", ""), ("Bash", "command")]),
    (
        "gemini",
        [
            ("read_file", "file_path"),
            ("write_file", "file_path"),
            ("grep_search", ""),
            ("glob", ""),
            ("run_shell_command", "command"),
        ],
    ),
    ("copilot", [("view", "path"), ("create", "path"), ("grep", ""), ("glob", ""), ("bash", "command")]),
    ("cursor", [("Read", "file_path"), ("Write", "file_path"), ("Grep", ""), ("", ""), ("Shell", "command")]),
    ("opencode", [("read", "filePath"), ("write", "filePath"), ("grep", ""), ("glob", ""), ("bash", "command")]),
    ("openclaw", [("read", "path"), ("write", "path"), ("", ""), ("ls", ""), ("exec", "command")]),
];
const KINDS: [&str; 5] = ["READ", "WRITE", "SEARCH", "LIST", "EXEC"];

/// A home with a workspace, a secret beside it, and links of every kind.
fn world(name: &str, who: Who) -> World {
    let world = World::new(name, who);
    for file in [
        "work/a.txt",
        "work/sub/b.txt",
        "work/docs/c.txt",
        "work/café.txt",
        "secret.txt",
        "ref/manual.txt",
        "workx/a.txt",
    ] {
        world.file(format!("home/{file}"), "text\n");
    }
    for file in ["work/.env", "work/sub/.env", ".ssh/id_rsa", "scout/a.txt", "public/a.txt", "work/AGENTS.md"] {
        world.file(format!("home/{file}"), "text\n");
    }
    for dir in ["work/.git/hooks", "scout/outbox", "work/.claude"] {
        world.dir(format!("home/{dir}"));
    }
    world.file("home/work/.git/config", "[core]\n");
    world.file("home/work/.claude/settings.json", "{}\n");
    for (target, link) in [
        ("a.txt", "link-in"),
        ("../secret.txt", "link-out"),
        ("..", "dir-out"),
        ("link-loop", "link-loop"),
        ("/proc/self/root", "link-proc"),
        (".env", "link-env"),
        ("../nowhere.txt", "link-nowhere"),
    ] {
        let path = world.work().join(link);
        symlink(target, &path).unwrap();
        world.own(&path);
    }
    let section = |name: &str, role: &str, workspace: &str, more: &str| {
        format!("[agent.{name}]\nrole = \"{role}\"\nworkspace = \"~/{workspace}\"\n{more}")
    };
    let mut policy = "version = 1\n".to_owned();
    for client in CLIENTS {
        let name = client;
        policy.push_str(&section(name, "builder", "work", &format!("client = \"{client}\"\n")));
        policy.push_str(&format!(
            "[agent.{name}.files]\nread = [\"~/ref\"]\ndeny = [\"**/.env\"]\nprotect = [\"AGENTS.md\"]\n"
        ));
    }
    policy.push_str(&section("scout", "scout", "scout", ""));
    policy.push_str(&section("public", "public", "public", ""));
    world.file(world.policy(), policy);
    world
}

fn hook(world: &World, words: &[&str], event: &[u8]) -> Output {
    let mut child = world
        .command("mantlet")
        .arg("hook")
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A hook that has heard enough does not read the rest.
    drop(child.stdin.take().unwrap().write_all(event));
    child.wait_with_output().unwrap()
}

/// One line of the table for one client.
struct Case {
    client: String,
    options: Vec<String>,
    event: String,
    answer: String,
    words: String,
    line: String,
}

fn cases(world: &World) -> Vec<Case> {
    let mut all = Vec::new();
    for line in CASES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let mut front = line.splitn(3, " | ");
        let (who, tool) = (front.next().unwrap(), front.next().unwrap());
        let mut back = front.next().unwrap().rsplitn(3, " |");
        let (words, answer) = (back.next().unwrap().trim(), back.next().unwrap().trim());
        let arguments = back.next().unwrap_or_default().trim();
        let mut options = who.split(' ').map(str::to_owned);
        let client = options.next().unwrap();
        let options: Vec<String> = options.collect();
        for each in CLIENTS.into_iter().filter(|each| client == "every" || client == *each) {
            let Some(event) = event(each, tool, arguments) else { continue };
            let fill = |text: &str| fill(world, text);
            all.push(Case {
                client: each.to_owned(),
                options: options.clone(),
                event: fill(&event),
                answer: answer.to_owned(),
                words: fill(words),
                line: format!("{each}: {line}"),
            });
        }
    }
    all
}

fn fill(world: &World, text: &str) -> String {
    let path = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
    text.replace("{ws}", &path(world.work()))
        .replace("{home}", &path(world.home()))
        .replace("{ref}", &path(world.home().join("ref")))
        .replace("{bin}", &path(common::programs().to_owned()))
        .replace("{long}", &"x/".repeat(2500))
}

/// The event as the client gives it; none when the client has no such tool.
fn event(client: &str, tool: &str, arguments: &str) -> Option<String> {
    if tool == "RAW" {
        return Some(arguments.replace("EMPTY", ""));
    }
    if let Some(name) = tool.strip_prefix("EVENT:") {
        let rest = arguments.strip_prefix('{').unwrap();
        let comma = if rest == "}" { "" } else { "," };
        return Some(format!("{{\"hook_event_name\":\"{name}\",\"cwd\":\"{{ws}}\"{comma}{rest}"));
    }
    let is_after = tool == "AFTER";
    let kind = KINDS.iter().position(|kind| *kind == tool || (is_after && *kind == "EXEC"));
    let own = kind.map(|kind| OWN.iter().find(|(id, _)| *id == client).unwrap().1[kind]);
    let (name, argument) = own.unwrap_or((tool, ""));
    if name.is_empty() {
        return None;
    }
    let input =
        arguments.replace("\"PATH\"", &format!("\"{argument}\"")).replace("\"LINE\"", &format!("\"{argument}\""));
    let claude = |before: &str, after: &str| {
        let name_of = if is_after { after } else { before };
        format!(
            "{{\"session_id\":\"s-1\",\"cwd\":\"{{ws}}\",\"hook_event_name\":\"{name_of}\",\"tool_name\":\"{name}\",\"tool_input\":{input}}}"
        )
    };
    let moment = if is_after { ",\"event\":\"after\"" } else { "" };
    let result = if is_after { ",\"toolResult\":{}" } else { "" };
    Some(match client {
        "gemini" => claude("BeforeTool", "AfterTool"),
        "cursor" => claude("preToolUse", "postToolUse"),
        "copilot" => {
            format!("{{\"sessionId\":\"s-1\",\"cwd\":\"{{ws}}\",\"toolName\":\"{name}\",\"toolArgs\":{input}{result}}}")
        }
        "opencode" => format!(
            "{{\"tool\":\"{name}\",\"args\":{input},\"sessionID\":\"s-1\",\"callID\":\"c\",\"directory\":\"{{ws}}\"{moment}}}"
        ),
        "openclaw" => format!(
            "{{\"toolName\":\"{name}\",\"params\":{input},\"agentId\":\"openclaw\",\"sessionKey\":\"s-1\",\"workspace\":\"{{ws}}\"{moment}}}"
        ),
        _ => claude("PreToolUse", "PostToolUse"),
    })
}

/// What the client would make of the answer, by its documentation alone.
fn understood(client: &str, output: &Output) -> &'static str {
    if code(output) != 0 {
        assert!(code(output) == 2 && !err(output).trim().is_empty(), "{}: {}", code(output), err(output));
        assert!(output.stdout.is_empty());
        return "block";
    }
    let text = out(output);
    assert!(text.ends_with("}\n") && text.lines().count() == 1, "{text}");
    let answer: Value = serde_json::from_str(&text).unwrap();
    let nested = &answer["hookSpecificOutput"];
    let denies = |value: &Value| value == "deny";
    let decided = match client {
        _ if nested.get("permissionDecision").is_some() || client == "claude" || client == "codex" => {
            assert!(answer == json!({}) || nested["hookEventName"].is_string(), "{text}");
            (denies(&nested["permissionDecision"]), nested.get("updatedInput").is_some())
        }
        "gemini" => (denies(&answer["decision"]), nested.get("tool_input").is_some()),
        "copilot" => (denies(&answer["permissionDecision"]), answer.get("modifiedArgs").is_some()),
        "cursor" => (denies(&answer["permission"]), answer.get("updated_input").is_some()),
        _ => (denies(&answer["decision"]), answer["decision"] == "rewrite"),
    };
    match decided {
        (true, false) => "deny",
        (false, true) => "jail",
        (false, false) => "allow",
        (true, true) => panic!("{text}"),
    }
}

#[test]
fn every_case_is_answered_as_it_says() {
    for who in everybody() {
        let world = world("hook-cases", who);
        let cases = cases(&world);
        assert!(cases.len() >= 500, "{}", cases.len());
        let judge = |case: &Case| {
            let mut words = vec![case.client.as_str()];
            words.extend(case.options.iter().map(String::as_str));
            let output = hook(&world, &words, case.event.as_bytes());
            let answer = understood(&case.client, &output);
            let said = format!("{}{}", out(&output), err(&output));
            let is_right = answer == case.answer && said.contains(&case.words);
            (!is_right).then(|| format!("{}\n  is {answer}: {}", case.line, said.trim()))
        };
        let wrong: Vec<String> = std::thread::scope(|scope| {
            let part = cases.len().div_ceil(4);
            let parts: Vec<_> = cases
                .chunks(part)
                .map(|cases| scope.spawn(|| cases.iter().filter_map(judge).collect::<Vec<_>>()))
                .collect();
            parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
        });
        assert!(wrong.is_empty(), "{} of {} as {who:?}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    }
}

const BASH: &str = r#"{"session_id":"s-1","cwd":"{ws}","hook_event_name":"PreToolUse","tool_name":"Bash","tool_input":{"command":"id"}}"#;

fn blocked(output: &Output, words: &str) {
    assert_eq!(code(output), 2, "{}", out(output));
    assert!(output.stdout.is_empty() && err(output).contains(words), "{words}: {}", err(output));
}

#[test]
fn a_rewritten_command_runs_in_the_jail_and_an_unwrapped_one_outside() {
    for who in everybody() {
        let world = world("hook-jail", who);
        let secret = world.home().join("secret.txt");
        let line = format!("cat '{}'; echo \"in $PWD\"; test -e /run/mantlet/jail && echo jailed", secret.display());
        let event = json!({"session_id": "s", "cwd": world.work().join("sub"), "hook_event_name": "PreToolUse",
            "tool_name": "Bash", "tool_input": {"command": line, "timeout": 5}});
        let answer: Value =
            serde_json::from_slice(&hook(&world, &["claude"], event.to_string().as_bytes()).stdout).unwrap();
        let input = &answer["hookSpecificOutput"]["updatedInput"];
        assert_eq!(input["timeout"], 5);
        let output = world.sh(input["command"].as_str().unwrap());
        let text = format!("{}{}", out(&output), err(&output));
        assert!(text.contains("jailed") && text.contains("work/sub") && text.contains("No such file"), "{text}");
        // The control: as the model wrote it, the secret is read and there is no jail.
        let text = out(&world.sh(&line));
        assert!(text.contains("text") && !text.contains("jailed"), "{text}");
    }
}

#[test]
fn a_command_longer_than_an_argument_is_jailed_whole() {
    let world = world("hook-long", Who::Me);
    let line = format!("printf %s '{}' | wc -c", "x".repeat(200 * 1024));
    let event = json!({"cwd": world.work(), "hook_event_name": "PreToolUse", "tool_name": "Bash", "tool_input": {"command": line}});
    let answer: Value =
        serde_json::from_slice(&hook(&world, &["claude"], event.to_string().as_bytes()).stdout).unwrap();
    let command = answer["hookSpecificOutput"]["updatedInput"]["command"].as_str().unwrap();
    // A client that starts a shell with it as one argument gets E2BIG and runs nothing; a script has no such limit.
    let script = world.file("home/script.sh", command);
    let output = world.sh(&format!(". '{}'", script.display()));
    assert_eq!(out(&output).trim(), (200 * 1024).to_string(), "{}", err(&output));
}

#[test]
fn the_policy_of_the_owner_decides_or_the_tool_is_blocked() {
    let world = world("hook-policy", Who::Me);
    let event = fill(&world, BASH);
    let ask = |words: &[&str]| hook(&world, words, event.as_bytes());
    assert_eq!(understood("claude", &ask(&["claude"])), "jail");
    let text = fs::read_to_string(world.policy()).unwrap();
    world.file(world.policy(), text.replace("builder", "emperor"));
    blocked(&ask(&["claude"]), "policy");
    world.file(world.policy(), "version = 1\n");
    blocked(&ask(&["claude"]), "hint:");
    fs::remove_file(world.policy()).unwrap();
    blocked(&ask(&["claude"]), "no policy");
    blocked(&ask(&["claude", "--policy", "/nonexistent/mantlet.toml"]), "policy");
    let inside = world.file("home/work/mantlet.toml", text);
    blocked(&ask(&["claude", "--policy", inside.to_str().unwrap()]), "can write");
    blocked(&ask(&["claude", "--home", "/nonexistent"]), "home");
}

#[test]
fn an_environment_that_a_repository_sets_does_not_move_the_policy() {
    let mut world = world("hook-home", Who::Me);
    // The attack: settings in a repository set XDG_CONFIG_HOME or HOME for hooks, where a wide policy waits.
    let wide = "version = 1\n[agent.main]\nclient = \"claude\"\nrole = \"builder\"\nworkspace = \"{home}/workx\"\n";
    world.file("home/work/evil/mantlet/mantlet.toml", fill(&world, wide));
    let read = r#"{"cwd":"{ws}","hook_event_name":"PreToolUse","tool_name":"Read","tool_input":{"file_path":"{home}/workx/a.txt"}}"#;
    let read = fill(&world, read);
    world.env("XDG_CONFIG_HOME", world.work().join("evil"));
    assert_eq!(
        understood("claude", &hook(&world, &["claude"], read.as_bytes())),
        "allow",
        "the attack works without --home"
    );
    let home = world.home();
    let words = ["claude", "--home", home.to_str().unwrap()];
    assert_eq!(understood("claude", &hook(&world, &words, read.as_bytes())), "deny");
    // What the rewritten command starts obeys the same environment.
    let event = fill(&world, &BASH.replace("{ws}", "{home}/workx").replace("\"id\"", "\"cat a.txt\""));
    let answer: Value = serde_json::from_str(&out(&hook(&world, &words, event.as_bytes()))).unwrap();
    let line = answer["hookSpecificOutput"]["updatedInput"]["command"].as_str().unwrap();
    assert!(line.starts_with(&format!("HOME='{}' XDG_", home.display())), "{line}");
    let open = line.replace("XDG_CONFIG_HOME='' XDG_STATE_HOME='' ", "");
    assert_eq!(out(&world.sh(&open)), "text\n", "the attack works without them");
    let output = world.sh(line);
    assert!(code(&output) != 0 && out(&output).is_empty(), "{}{}", out(&output), err(&output));
}

#[test]
fn a_verdict_that_cannot_be_written_whole_is_none() {
    let world = world("hook-out", Who::Me);
    let event = world.file("home/event.json", fill(&world, BASH));
    let mantlet = common::programs().join("mantlet");
    let ask = |redirection: &str| {
        world.sh(&format!("exec '{}' hook claude <'{}' {redirection}", mantlet.display(), event.display()))
    };
    assert_eq!(code(&ask("")), 0);
    blocked(&ask(">&-"), "closed");
    blocked(&ask(">/dev/null"), "closed");
    blocked(&ask(">/dev/full"), "No space");
    blocked(&ask("</dev/null"), "nothing");
    blocked(&ask("<&-"), "");
    // The reader is gone before the verdict is there.
    let script = format!(
        "'{}' hook claude < <(sleep 0.3; cat '{}') | true\nexit ${{PIPESTATUS[0]}}\n",
        mantlet.display(),
        event.display()
    );
    let script = world.file("home/script.sh", script);
    blocked(&world.sh(&format!("bash '{}'", script.display())), "Broken pipe");
}

#[test]
fn an_event_that_is_too_long_or_does_not_end_is_blocked_in_time() {
    let world = world("hook-in", Who::Me);
    let began = Instant::now();
    let long = fill(&world, BASH).replace("\"id\"", &format!("\"{}\"", "x".repeat(10 << 20)));
    blocked(&hook(&world, &["claude"], long.as_bytes()), "longer than");
    let deep = format!("{{\"a\":{}", "[".repeat(500_000));
    blocked(&hook(&world, &["claude"], deep.as_bytes()), "deeper than");
    assert!(began.elapsed() < Duration::from_secs(5));
    for line in ["sleep 20", "printf '{'; sleep 20", "while :; do printf x; sleep 0.1; done"] {
        let began = Instant::now();
        let mantlet = common::programs().join("mantlet");
        let output =
            world.sh(&format!("bash -c \"'{}' hook gemini < <(exec 2>/dev/null; {line})\"", mantlet.display()));
        blocked(&output, "did not end");
        assert!(began.elapsed() < Duration::from_secs(5), "{line}");
    }
}

/// Clients stop waiting after ten seconds and run the tool. Here it is the reader that does not take the verdict.
#[test]
fn a_hook_that_is_held_up_blocks_before_its_client_gives_up() {
    let world = world("hook-slow", Who::Me);
    let event = world.file("home/event.json", fill(&world, BASH));
    let call = format!("'{}' hook claude <'{}'", common::programs().join("mantlet").display(), event.display());
    let script = format!("{{ head -c 65536 /dev/zero; {call}; echo $? >code; }} | sleep 9\nexit $(cat code)\n");
    let script = world.file("home/script.sh", script);
    let began = Instant::now();
    let output = world.sh(&format!("cd '{}' && bash '{}'", world.home().display(), script.display()));
    blocked(&output, "took longer");
    assert!(began.elapsed() < Duration::from_secs(11));
}

#[test]
fn every_call_is_written_down_and_none_goes_on_where_that_fails() {
    let world = world("hook-log", Who::Me);
    let event = fill(&world, BASH);
    let token = format!("ghp_{}", "a1B2c3D4e5F6".repeat(3));
    hook(&world, &["claude"], event.replace("\"id\"", &format!("\"TOKEN={token} x\\u001b[2J\"")).as_bytes());
    hook(&world, &["claude"], event.replace("Bash", "Nope").as_bytes());
    hook(&world, &["claude"], event.replace("PreToolUse", "PostToolUse").as_bytes());
    hook(&world, &["claude"], event.replace("PreToolUse", "PostToolUseFailure").as_bytes());
    let text = fs::read_to_string(world.state().join("ledger/ledger.jsonl")).unwrap();
    let entries: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let decisions: Vec<&str> = entries.iter().map(|entry| entry["decision"].as_str().unwrap()).collect();
    assert_eq!(decisions, ["jailed", "denied", "ran", "failed"]);
    assert!(!text.contains(&token) && text.contains("\\\\x1b[2J"), "{text}");
    assert!(
        entries.iter().all(|entry| entry["kind"] == "tool" && entry["session"] == "s-1" && entry["client"] == "claude")
    );
    let shown = out(&world.mantlet(&["log"]));
    assert!(shown.contains("denied  Nope  command=id\n    `Nope` is no tool"), "{shown}");

    // The ledger cannot be written: what was allowed is not, what was denied still is.
    fs::remove_file(world.state().join("ledger/ledger.jsonl")).unwrap();
    fs::create_dir(world.state().join("ledger/ledger.jsonl")).unwrap();
    blocked(&hook(&world, &["claude"], event.as_bytes()), "ledger");
    assert_eq!(understood("claude", &hook(&world, &["claude"], event.replace("Bash", "Nope").as_bytes())), "deny");
}

#[test]
fn a_full_disk_for_the_ledger_blocks() {
    let world = world("hook-full", Who::Me);
    let state = world.dir("home/.local/state/mantlet/ledger");
    let event = world.file("home/event.json", fill(&world, BASH));
    let call = format!("'{}' hook claude <'{}'", common::programs().join("mantlet").display(), event.display());
    let mount = format!("mount -t tmpfs -o size=4k,mode=700 none '{}'", state.display());
    for (fill, is_full) in [("true", false), ("head -c 4096 /dev/zero >filler", true)] {
        let script = format!("{mount} && cd '{}' && {fill} && cd / && {call}", state.display());
        let output = world.sh(&format!("unshare --user --map-root-user --mount sh -c \"{script}\""));
        match is_full {
            true => blocked(&output, "ledger"),
            false => assert_eq!(understood("claude", &output), "jail"),
        }
    }
}

/// Whether a hook that was starved or killed said nothing, or something whole.
fn is_whole_or_no(output: &Output) {
    match code(output) {
        0 => assert_eq!(understood("claude", output), "deny"),
        _ => assert!(output.stdout.is_empty() || out(output).ends_with("}\n")),
    }
}

#[test]
fn a_hook_that_is_starved_or_killed_never_ends_well_without_a_verdict() {
    let world = world("hook-starved", Who::Me);
    let event = world.file("home/event.json", fill(&world, BASH).replace("Bash", "Nope"));
    let call = format!("exec '{}' hook claude <'{}'", common::programs().join("mantlet").display(), event.display());
    let mut codes = std::collections::BTreeSet::new();
    for limit in (1..=40).map(|step| step * 256) {
        let output = world.sh(&format!("ulimit -v {limit}; {call}"));
        is_whole_or_no(&output);
        codes.insert(code(&output));
    }
    for files in 0..8 {
        is_whole_or_no(&world.sh(&format!("ulimit -n {files}; {call}")));
    }
    for delay in 0..20 {
        let output = world.sh(&format!("timeout -s KILL 0.00{delay:02} sh -c \"{call}\""));
        is_whole_or_no(&output);
        codes.insert(code(&output));
    }
    assert!(codes.len() > 1, "nothing was starved or killed: {codes:?}");
}

#[test]
fn an_option_that_is_not_understood_blocks() {
    let world = world("hook-words", Who::Me);
    let event = fill(&world, BASH);
    for words in [&["claude", "--quiet"][..], &["emacs"], &[], &["claude", "codex"], &["claude", "--agent"]] {
        blocked(&hook(&world, words, event.as_bytes()), "hint:");
    }
    let help = world.mantlet(&["hook", "--help"]);
    assert!(code(&help) == 0 && out(&help).contains("--no-rewrite"));
}

#[test]
fn inside_a_jail_the_kernel_limits_files_and_commands_are_still_rewritten() {
    let world = world("hook-inside", Who::Me);
    let with = |name: &str| common::programs().join(name).to_str().unwrap().to_owned();
    let (mantlet, run) = (with("mantlet"), with("mantlet-run"));
    for (event, wanted) in [
        (fill(&world, BASH), "'/run/mantlet/mantlet-run' exec --client claude --cwd"),
        (fill(&world, BASH).replace("Bash", "Read"), r#"{"hookSpecificOutput":{"hookEventName":"PreToolUse"}}"#),
    ] {
        world.file("home/work/event.json", event);
        let line = "/run/mantlet/mantlet hook claude <event.json | cat";
        let output = world.exec(&["--client", "claude", "--with", &mantlet, "--with", &run, "-c", line]);
        assert!(code(&output) == 0 && out(&output).contains(wanted), "{}{}", out(&output), err(&output));
    }
}
