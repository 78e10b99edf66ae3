//! Exports: what each form says of every kind of entry, and what hostile text does to it. `tests/e2e/export` holds the same
//! forms against the published schemas.

#![allow(clippy::unwrap_used)] // A test's helper functions may fail the test.

use std::collections::BTreeSet;
use std::path::Path;

use mantlet_ledger::export::{Exporter, Format, Origin, Unfit};
use mantlet_ledger::{Entry, Exec, Kind, Link};
use serde_json::{Value, json};

fn exporter(format: Format) -> Exporter {
    Exporter::new(format, Origin { host: "keep".into(), version: "0.1.0".into() })
}

fn exported(format: Format, entries: &[Entry]) -> String {
    let (mut exporter, mut out) = (exporter(format), String::new());
    exporter.begin(&mut out);
    for entry in entries {
        exporter.push(entry, &mut out).unwrap();
    }
    exporter.finish(&mut out);
    out
}

/// An entry of every kind, and of every outcome that changes what a form says.
fn every_kind() -> Vec<Entry> {
    let hash = "ab".repeat(32);
    let culprit = json!({"pid": 4242, "uid": 1000, "exe": "/usr/bin/sed", "call": "c1"});
    let kinds = [
        json!({"kind": "exec", "call": "c1", "command": "git status", "session": "s1", "run": "r1", "tier": "full",
            "mechanisms": {"landlock": "full", "seccomp": "partial: no ptrace"}, "exit": 0, "duration_ms": 38,
            "bytes_out": 120, "findings": ["/w/.git/hooks/post-commit"]}),
        json!({"kind": "exec", "call": "c2", "command": "=cmd|'/C calc'!A0", "tier": "refused", "mechanisms": {},
            "exit": 125, "reason": "no policy for it", "duration_ms": 1}),
        json!({"kind": "tool", "client": "claude", "tool": "Read", "decision": "denied", "rule": "deny /etc/shadow",
            "reason": "denied by the policy", "session": "s1", "by": "explorer", "input": "/etc/shadow"}),
        json!({"kind": "tool", "client": "codex", "tool": "shell", "decision": "jailed", "input": "ls"}),
        json!({"kind": "egress", "call": "c1", "outcome": "passed", "way": "connect", "host": "example.org:443",
            "rule": "allow example.org", "address": "198.51.100.7", "up": 120, "down": 4096, "count": 2}),
        json!({"kind": "egress", "call": "c1", "outcome": "refused", "way": "dns", "host": "evil.test",
            "reason": "no rule allows it", "up": 0, "down": 0, "count": 1}),
        json!({"kind": "egress", "call": "c1", "outcome": "passed", "way": "publish", "host": "127.0.0.1:8080",
            "address": "192.0.2.9", "up": 1, "down": 2, "count": 1}),
        json!({"kind": "egress", "outcome": "passed", "way": "policy", "host": "/etc/mantlet/mantlet.toml", "up": 0,
            "down": 0, "count": 1}),
        json!({"kind": "change", "path": "/home/o/.bashrc", "what": "written", "outcome": "undone", "noticed": "inotify",
            "took_ms": 4, "before": hash, "after": "cd".repeat(32), "culprit": culprit, "copy": "/q/1", "count": 1}),
        json!({"kind": "change", "path": "/home/o/.claude/settings.json", "what": "keys", "outcome": "accepted",
            "noticed": "rescan", "took_ms": 9, "before": hash, "after": "cd".repeat(32), "keys": ["hooks"], "count": 1}),
        json!({"kind": "alert", "channel": "ntfy", "outcome": "failed", "subject": ".bashrc was changed and put back",
            "reason": "no answer", "count": 3}),
        json!({"kind": "halt", "action": "halt", "by": "watch", "reason": "too many tries", "ended": 2, "left": 1}),
        json!({"kind": "halt", "action": "resume", "by": "owner", "ended": 0, "left": 0}),
        json!({"kind": "ledger", "event": "dropped", "bytes": 4096, "through": {"seq": 7, "hash": hash}}),
        json!({"kind": "ledger", "event": "checkpoint", "key": hash, "signature": "ef".repeat(64)}),
    ];
    (0..).zip(kinds).map(|(seq, kind)| entry(seq, kind)).collect()
}

fn entry(seq: u64, kind: Value) -> Entry {
    let chain = (seq > 0).then(|| Link { seq, prev: format!("{:064x}", seq - 1), hash: format!("{seq:064x}") });
    Entry {
        v: 1,
        time: format!("2026-11-24T09:15:38.{seq:03}Z"),
        agent: "main".into(),
        policy: "01".repeat(32),
        kind: serde_json::from_value(kind).unwrap(),
        chain,
    }
}

fn command(command: &str) -> Entry {
    let kind = json!({"kind": "exec", "call": "c", "command": command, "tier": "full", "mechanisms": {}, "exit": 0,
        "duration_ms": 0});
    entry(1, kind)
}

/// What an agent may write where it chooses text.
fn hostile() -> Vec<String> {
    let begins = ["=1+1", "+1", "-1", "@SUM(1)", "＝1", "\t=1", "\r=1", "\n=1", " =1", "\"=1", "'=1", "", "x"];
    let middles =
        ["", ";=1+1", "; \"@x", ",=1", "\"", "\"\"", "\r\n=1,2", "\u{202e}", "\u{9b}2J", "\0", "\\", "日本\u{feff}"];
    begins.iter().flat_map(|begin| middles.iter().map(move |middle| format!("{begin}{middle}"))).collect()
}

/// Whether a reader sees all of it, and a terminal obeys none of it.
fn is_visible(text: &str) -> bool {
    text == mantlet_ledger::escape(text.as_bytes())
}

#[test]
fn every_form_says_the_same_of_every_kind_as_before() {
    let entries = every_kind();
    let forms = [
        (Format::Jsonl, "entries.jsonl"),
        (Format::Ocsf, "ocsf.jsonl"),
        (Format::Otlp, "otlp.jsonl"),
        (Format::Csv, "table.csv"),
    ];
    for (format, name) in forms {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/export").join(name);
        let now = exported(format, &entries);
        if std::env::var_os("MANTLET_BLESS").is_some() {
            std::fs::write(&path, &now).unwrap();
        }
        let before = std::fs::read_to_string(&path).unwrap();
        assert!(now == before, "{name} differs; if that is meant, run this with MANTLET_BLESS=1\n{now}");
    }
}

#[test]
fn entries_come_back_from_jsonl_as_they_were() {
    let mut entries = every_kind();
    entries.extend(hostile().iter().map(|text| command(text)));
    entries.push(command(&"x\u{202e}".repeat(1 << 18)));
    let text = exported(Format::Jsonl, &entries);
    let back: Vec<Entry> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(back, entries);
    assert!(text.lines().all(is_visible));
}

/// All texts and numbers of a value, as text.
fn leaves(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => fields.values().for_each(|value| leaves(value, found)),
        Value::Array(values) => values.iter().for_each(|value| leaves(value, found)),
        Value::String(text) => drop(found.insert(text.clone())),
        other => drop(found.insert(other.to_string())),
    }
}

#[test]
fn no_field_is_lost_in_ocsf_and_otlp() {
    let mut entries = every_kind();
    entries.extend(hostile().iter().map(|text| command(text)));
    for entry in &entries {
        for format in [Format::Ocsf, Format::Otlp] {
            let said: Value = serde_json::from_str(&exported(format, std::slice::from_ref(entry))).unwrap();
            let (mut there, mut wanted) = (BTreeSet::new(), BTreeSet::new());
            leaves(&said, &mut there);
            leaves(&serde_json::to_value(entry).unwrap(), &mut wanted);
            if format == Format::Otlp {
                // In nanoseconds there, and in the event's name.
                wanted.remove(&entry.time);
                wanted.retain(|leaf| !said.to_string().contains(&format!("\"mantlet.{leaf}\"")));
            }
            if let Kind::Egress(egress) = &entry.kind {
                // Taken apart.
                wanted.remove(&egress.host);
            }
            let lost: Vec<&String> = wanted.difference(&there).collect();
            assert!(lost.is_empty(), "{format:?} loses {lost:?} of {entry:?}");
        }
    }
}

#[test]
fn a_time_that_is_none_is_said_and_never_invented() {
    let entry = Entry { time: "2026-02-30T00:00:00.000Z".into(), ..command("ls") };
    let mut out = String::new();
    let error = exporter(Format::Ocsf).push(&entry, &mut out).unwrap_err();
    assert!(matches!(error, Unfit::Time { .. }) && out.is_empty(), "{error}");
    let text = exported(Format::Otlp, std::slice::from_ref(&entry));
    assert!(text.contains(&entry.time) && !text.contains("timeUnixNano"), "{text}");
    for format in [Format::Jsonl, Format::Csv] {
        assert!(exported(format, std::slice::from_ref(&entry)).contains(&entry.time));
    }
}

#[test]
fn numbers_that_no_collector_holds_do_not_spoil_their_request() {
    let mut entry = command("ls");
    let Kind::Exec(exec) = &mut entry.kind else { panic!("no command") };
    (exec.duration_ms, exec.bytes_out) = (u64::MAX, Some(i64::MAX.unsigned_abs() + 1));
    let text = exported(Format::Otlp, std::slice::from_ref(&entry));
    assert!(text.contains(r#"{"stringValue":"18446744073709551615"}"#), "{text}");
    assert!(!text.contains(r#""intValue":"9223372036854775808""#), "{text}");
    let event: Value = serde_json::from_str(&exported(Format::Ocsf, &[entry])).unwrap();
    assert!(event.get("duration").is_none() && event.get("start_time").is_none(), "{event}");
    assert_eq!(event["unmapped"]["duration_ms"], json!(u64::MAX));
}

#[test]
fn a_request_has_few_records_and_is_not_long() {
    let few: Vec<Entry> = (0..1100).map(|_| command("ls")).collect();
    let count = |line: &str| line.matches("\"eventName\"").count();
    assert_eq!(exported(Format::Otlp, &few).lines().map(count).collect::<Vec<_>>(), [512, 512, 76]);
    let long: Vec<Entry> = (0..9).map(|_| command(&"x".repeat(400_000))).collect();
    assert_eq!(exported(Format::Otlp, &long).lines().map(count).collect::<Vec<_>>(), [3, 3, 3]);
    assert_eq!(exported(Format::Otlp, &[]), "");
}

#[test]
fn what_a_collector_or_a_terminal_reads_has_nothing_hidden() {
    let entries: Vec<Entry> = hostile().iter().map(|text| command(text)).collect();
    for format in [Format::Ocsf, Format::Otlp] {
        assert!(exported(format, &entries).lines().all(is_visible), "{format:?}");
    }
    assert!(exported(Format::Csv, &entries).split("\r\n").all(is_visible));
}

/// A table as RFC 4180 says, and as spreadsheets read it with another separator: quotes count where a cell begins.
fn cells(text: &str, separator: char) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell, mut is_quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    let mut is_start = true;
    while let Some(c) = chars.next() {
        match c {
            '"' if is_quoted && chars.peek() == Some(&'"') => cell.extend(chars.next()),
            '"' if is_quoted => is_quoted = false,
            '"' if is_start => is_quoted = true,
            '\r' if !is_quoted && chars.peek() == Some(&'\n') => {
                chars.next();
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
                is_start = true;
                continue;
            }
            _ if c == separator && !is_quoted => {
                row.push(std::mem::take(&mut cell));
                is_start = true;
                continue;
            }
            _ => cell.push(c),
        }
        is_start = false;
    }
    assert!(row.is_empty() && cell.is_empty() && !is_quoted, "the last record has no end");
    rows
}

fn is_computed(cell: &str) -> bool {
    let is_number = cell.parse::<i64>().is_ok() && !cell.starts_with('+');
    !is_number
        && cell
            .trim_start_matches([' ', '"'])
            .starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'])
}

#[test]
fn no_spreadsheet_computes_a_cell() {
    let texts = hostile();
    let entries: Vec<Entry> = texts.iter().map(|text| command(text)).chain(every_kind()).collect();
    let table = exported(Format::Csv, &entries);
    // The same texts, merely quoted.
    let quoted = |text: &String| format!("\"{}\",\"x\"\r\n", text.replace('"', "\"\""));
    let naive: String = texts.iter().map(quoted).collect();
    for separator in [',', ';', '\t'] {
        let computed: Vec<String> =
            cells(&table, separator).into_iter().flatten().filter(|cell| is_computed(cell)).collect();
        assert!(computed.is_empty(), "with {separator:?}: {computed:?}");
        assert!(
            cells(&naive, separator).iter().flatten().any(|cell| is_computed(cell)),
            "the control arm: {separator:?}"
        );
    }
    let rows = cells(&table, ',');
    assert_eq!(rows.len(), entries.len() + 1);
    assert!(rows.iter().all(|row| row.len() == rows[0].len()));
}

#[test]
fn numbers_stay_numbers_in_the_table() {
    let mut entry = command("ls");
    if let Kind::Exec(Exec { exit, .. }) = &mut entry.kind {
        *exit = -1;
    }
    let rows = cells(&exported(Format::Csv, &[entry]), ',');
    let column = rows[0].iter().position(|name| name == "exit").unwrap();
    assert_eq!(rows[1][column], "-1");
}
