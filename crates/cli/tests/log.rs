//! `mantlet log` as a person runs it: what it shows, what it hides, how it exits.

#![allow(clippy::unwrap_used)] // A test's helper functions may fail the test.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use mantlet_ledger::{Entry, Exec, FILE_NAME, Kind, Writer, ledger_dir};

struct Home(PathBuf);

impl Home {
    fn new(name: &str) -> Home {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("log-{name}-{}", std::process::id()));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).unwrap();
        Home(path)
    }

    fn append(&self, time: &str, agent: &str, command: &str) {
        let exec = Exec {
            call: "c1".into(),
            command: command.into(),
            session: None,
            run: None,
            tier: "full".into(),
            mechanisms: [("landlock".to_owned(), "full".to_owned())].into(),
            exit: 0,
            reason: None,
            duration_ms: 3,
            bytes_out: Some(1),
            findings: vec![],
        };
        let (time, agent, policy) = (time.into(), agent.into(), "0".repeat(64));
        let entry = Entry { v: 1, time, agent, policy, kind: Kind::Exec(exec), chain: None };
        Writer::open(&ledger_dir(None, &self.0), &[]).unwrap().append(&entry).unwrap();
    }

    fn log(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mantlet"));
        command.arg("log").args(args).env("HOME", &self.0).env_remove("XDG_STATE_HOME");
        command.output().unwrap()
    }

    fn lines(&self, args: &[&str]) -> Vec<String> {
        let output = self.log(args);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn filled(name: &str) -> Home {
    let home = Home::new(name);
    home.append("2026-11-21T10:00:00.000Z", "main", "git status");
    home.append("2026-11-22T10:00:00.000Z", "scout", "ls");
    home.append("2026-11-23T10:00:00.000Z", "main", "echo \u{1b}[2J\u{202e}\nforged");
    home
}

#[test]
fn no_ledger_is_no_error() {
    let output = Home::new("none").log(&[]);
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    assert!(String::from_utf8(output.stderr).unwrap().contains("no command has run yet"));
}

#[test]
fn entries_are_shown_escaped_one_per_line() {
    let home = filled("shown");
    let lines = home.lines(&[]);
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[2], "2026-11-23T10:00:00.000Z  main  full  exit 0  3 ms  echo \\x1b[2J\\u{202e}\\nforged");
}

#[test]
fn agent_since_and_number_choose() {
    let home = filled("chosen");
    assert_eq!(home.lines(&["--agent", "main"]).len(), 2);
    assert_eq!(home.lines(&["--since", "2026-11-22"]).len(), 2);
    assert_eq!(home.lines(&["-n", "1"]).len(), 1);
    assert!(home.lines(&["-n", "1"])[0].contains("forged"));
    assert_eq!(home.log(&["--since", "yesterday"]).status.code(), Some(2));
}

#[test]
fn json_is_one_harmless_object_per_line() {
    let home = filled("json");
    let lines = home.lines(&["--json"]);
    assert!(lines.iter().all(|line| line.is_ascii() && !line.bytes().any(|b| b.is_ascii_control())), "{lines:?}");
    let last: Entry = serde_json::from_str(&lines[2]).unwrap();
    let Kind::Exec(exec) = last.kind else { panic!("no command") };
    assert_eq!(exec.command, "echo \u{1b}[2J\u{202e}\nforged");
}

#[test]
fn a_damaged_line_is_reported_and_hides_nothing() {
    let home = filled("damaged");
    let file = ledger_dir(None, &home.0).join(FILE_NAME);
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{{\"v\":1,\u{1b}\n{text}")).unwrap();
    let output = home.log(&[]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout.iter().filter(|b| **b == b'\n').count(), 3);
    let talk = String::from_utf8(output.stderr).unwrap();
    assert!(talk.contains("line 1 of") && !talk.contains('\u{1b}'), "{talk}");
}
