//! The dialects: what is refused as an event, and each client's words for each verdict.

use super::*;

const CLAUDE: &str =
    r#"{"session_id":"s","cwd":"/ws","hook_event_name":"PreToolUse","tool_name":"Bash","tool_input":{"command":"id"}}"#;

fn denial() -> Denial {
    Denial { rule: "workspace".into(), reason: "no \"x\"".into(), hint: Some("mantlet allow".into()) }
}

#[test]
fn a_key_that_stands_twice_is_refused_at_any_depth() {
    for text in [
        r#"{"a":1,"a":1}"#,
        r#"{"a":{"command":"ls","command":"id"}}"#,
        r#"{"a":[{"b":[{"c":1,"c":2}]}]}"#,
        r#"{"command":1,"\u0063ommand":2}"#,
    ] {
        assert!(strict::object(text.as_bytes()).unwrap_err().to_string().contains("stands twice"), "{text}");
    }
    assert!(strict::object(br#"{"a":{"b":1},"b":{"b":1},"c":[{"b":1},{"b":1}]}"#).is_ok());
}

#[test]
fn only_one_strict_object_is_an_event() {
    let deep = |n: usize| format!("{{\"a\":{}{}}}", "[".repeat(n), "]".repeat(n));
    assert!(strict::object(deep(MAX_DEPTH - 1).as_bytes()).is_ok());
    for depth in [MAX_DEPTH, 200, 100_000] {
        assert!(strict::object(deep(depth).as_bytes()).is_err());
    }
    for text in [
        "",
        " ",
        "null",
        "[]",
        "\"x\"",
        "{",
        "{}{}",
        "{} x",
        "{'a':1}",
        "{\"a\":NaN}",
        "{\"a\":1e999}",
        "{\"a\":01}",
        "{\"a\":1,}",
        "{\"a\":\"\\ud800\"}",
        "// c\n{}",
        "\u{feff}{}",
    ] {
        assert!(strict::object(text.as_bytes()).is_err(), "{text:?}");
    }
    assert!(strict::object(b"{\"a\":\"\xff\"}").is_err());
    assert!(strict::object(format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_BYTES)).as_bytes()).is_err());
    assert!(strict::object(b" {\"a\":\"\\u0000\"} \n").is_ok());
}

#[test]
fn every_answer_of_a_denial_denies_in_the_clients_words() {
    let denial = denial();
    let text = "mantlet: no \\\"x\\\" (workspace)\\nhint: mantlet allow";
    for (client, event, wanted) in [
        (
            "claude",
            CLAUDE,
            format!(
                "{{\"hookSpecificOutput\":{{\"hookEventName\":\"PreToolUse\",\"permissionDecision\":\"deny\",\"permissionDecisionReason\":\"{text}\"}}}}"
            ),
        ),
        (
            "gemini",
            r#"{"cwd":"/w","hook_event_name":"BeforeTool","tool_name":"glob","tool_input":{}}"#,
            format!("{{\"decision\":\"deny\",\"reason\":\"{text}\"}}"),
        ),
        (
            "copilot",
            r#"{"cwd":"/w","sessionId":"s","toolName":"view","toolArgs":{}}"#,
            format!("{{\"permissionDecision\":\"deny\",\"permissionDecisionReason\":\"{text}\"}}"),
        ),
        (
            "copilot",
            CLAUDE,
            format!(
                "{{\"hookSpecificOutput\":{{\"hookEventName\":\"PreToolUse\",\"permissionDecision\":\"deny\",\"permissionDecisionReason\":\"{text}\"}}}}"
            ),
        ),
        (
            "cursor",
            r#"{"cwd":"/w","hook_event_name":"preToolUse","tool_name":"Shell","tool_input":{}}"#,
            format!("{{\"agent_message\":\"{text}\",\"permission\":\"deny\",\"user_message\":\"{text}\"}}"),
        ),
        (
            "opencode",
            r#"{"directory":"/w","tool":"bash","args":{}}"#,
            format!("{{\"decision\":\"deny\",\"reason\":\"{text}\"}}"),
        ),
        (
            "openclaw",
            r#"{"workspace":"/w","agentId":"main","toolName":"exec","params":{}}"#,
            format!("{{\"decision\":\"deny\",\"reason\":\"{text}\"}}"),
        ),
    ] {
        let event = parse(client, event.as_bytes()).unwrap();
        assert_eq!(event.moment, Moment::Before);
        let answer = event.answer(Verdict::Deny(&denial));
        assert_eq!((answer.stdout.trim_end(), answer.code), (wanted.as_str(), 0), "{client}");
        assert!(answer.stderr.contains("no \"x\""));
    }
}

#[test]
fn a_rewrite_holds_the_whole_input() {
    let input = Map::from_iter([("command".to_owned(), Value::from("x")), ("timeout".to_owned(), Value::from(5))]);
    let text = "{\"command\":\"x\",\"timeout\":5}";
    for (client, event, wanted) in [
        (
            "codex",
            CLAUDE,
            format!(
                "\"permissionDecision\":\"allow\",\"permissionDecisionReason\":\"mantlet: runs in a jail\",\"updatedInput\":{text}"
            ),
        ),
        (
            "gemini",
            r#"{"cwd":"/w","hook_event_name":"BeforeTool","tool_name":"x","tool_input":{}}"#,
            format!("\"tool_input\":{text}"),
        ),
        ("copilot", r#"{"cwd":"/w","toolName":"bash","toolArgs":{}}"#, format!("\"modifiedArgs\":{text}")),
        (
            "cursor",
            r#"{"cwd":"/w","hook_event_name":"preToolUse","tool_name":"Shell","tool_input":{}}"#,
            format!("\"updated_input\":{text}"),
        ),
        (
            "opencode",
            r#"{"directory":"/w","tool":"bash","args":{}}"#,
            format!("{{\"args\":{text},\"decision\":\"rewrite\"}}"),
        ),
        (
            "openclaw",
            r#"{"workspace":"/w","agentId":"m","toolName":"exec","params":{}}"#,
            format!("{{\"decision\":\"rewrite\",\"params\":{text}}}"),
        ),
    ] {
        let event = parse(client, event.as_bytes()).unwrap();
        assert!(event.takes_input(), "{client}");
        let answer = event.answer(Verdict::Rewrite(&input));
        assert!(answer.stdout.contains(&wanted), "{client}: {}", answer.stdout);
    }
    let shell = r#"{"hook_event_name":"beforeShellExecution","command":"id","cwd":"/w"}"#;
    let event = parse("cursor", shell.as_bytes()).unwrap();
    assert!(!event.takes_input() && event.answer(Verdict::Rewrite(&input)).stdout.contains("deny"));
}

#[test]
fn a_server_is_the_one_that_the_client_names() {
    let with = |tool: &str, more: &str| {
        let text =
            format!(r#"{{"cwd":"/w","hook_event_name":"PreToolUse","tool_name":"{tool}","tool_input":{{}}{more}}}"#);
        parse("claude", text.as_bytes()).map(|event| event.server.map(|server| server.name))
    };
    assert_eq!(with("Bash", "").unwrap(), None);
    assert_eq!(with("mcp__fs__read", "").unwrap(), Some("fs".into()));
    assert_eq!(with("mcp__a_b__read", r#","mcp_server":{"name":"a.b","source":"user"}"#).unwrap(), Some("a.b".into()));
    for (tool, more) in [
        ("mcp__evil__read", r#","mcp_server":{"name":"fs"}"#),
        ("mcp__fsx__read", r#","mcp_server":{"name":"fs"}"#),
        ("Read", r#","mcp_server":{"name":"fs"}"#),
        ("mcp__fs__read", r#","mcp_server":{"name":""}"#),
        ("mcp__fs__read", r#","mcp_server":"fs""#),
    ] {
        assert!(with(tool, more).is_err(), "{tool} {more}");
    }
    let gemini = r#"{"cwd":"/w","hook_event_name":"BeforeTool","tool_name":"mcp_fs_read","tool_input":{},
        "mcp_context":{"server_name":"fs","tool_name":"read","command":"/bin/x","args":["mcp","--","y"]}}"#;
    let server = parse("gemini", gemini.as_bytes()).unwrap().server.unwrap();
    assert_eq!(server.command.unwrap(), ["/bin/x", "mcp", "--", "y"]);
}

#[test]
fn other_events_are_answered_with_nothing_and_unknown_ones_refused() {
    for (client, text) in [
        ("claude", r#"{"hook_event_name":"SessionStart"}"#),
        ("codex", r#"{"hook_event_name":"Stop","stop_hook_active":false}"#),
        ("gemini", r#"{"hook_event_name":"BeforeModel","llm_request":{}}"#),
        ("copilot", r#"{"sessionId":"s","cwd":"/w","prompt":"hi"}"#),
        ("cursor", r#"{"hook_event_name":"stop"}"#),
    ] {
        let event = parse(client, text.as_bytes()).unwrap();
        assert_eq!(event.moment, Moment::Other);
        assert_eq!(event.answer(Verdict::Pass).stdout, "{}\n");
    }
    for (client, text) in [
        ("claude", r#"{"hook_event_name":"pretooluse","tool_name":"Bash","tool_input":{},"cwd":"/w"}"#),
        ("claude", r#"{"tool_name":"Bash","tool_input":{},"cwd":"/w"}"#),
        ("gemini", r#"{"hook_event_name":"PreToolUse","tool_name":"x","tool_input":{},"cwd":"/w"}"#),
        ("opencode", r#"{"event":"later","directory":"/w","tool":"bash","args":{}}"#),
        ("nobody", "{}"),
    ] {
        assert!(parse(client, text.as_bytes()).is_err(), "{client} {text}");
    }
}
