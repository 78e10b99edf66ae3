//! `mantlet log export` as a person runs it: what it takes, where it writes, how it exits, how much it holds.

#![allow(clippy::unwrap_used)] // A test's helper functions may fail the test.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use mantlet_ledger::{Entry, FILE_NAME, Writer, escape, ledger_dir};
use serde_json::{Value, json};

struct Home(PathBuf);

impl Home {
    fn new(name: &str) -> Home {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("export-{name}-{}", std::process::id()));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).unwrap();
        Home(path)
    }

    /// With a command of main's, a refusal of scout's and a change.
    fn filled(name: &str) -> Home {
        let home = Home::new(name);
        home.append("2026-11-21T10:00:00.000Z", "main", command("git status"));
        let refused = json!({"kind": "egress", "outcome": "refused", "way": "dns", "host": "evil.test", "count": 1});
        home.append("2026-11-22T10:00:00.000Z", "scout", refused);
        let change = json!({"kind": "change", "path": "/home/o/.bashrc", "what": "written", "outcome": "undone",
            "noticed": "inotify", "took_ms": 4, "count": 1});
        home.append("2026-11-23T10:00:00.000Z", "main", change);
        home
    }

    fn append(&self, time: &str, agent: &str, kind: Value) {
        let kind = serde_json::from_value(kind).unwrap();
        let (time, agent, policy) = (time.into(), agent.into(), "0".repeat(64));
        let entry = Entry { v: 1, time, agent, policy, kind, chain: None };
        Writer::open(&ledger_dir(None, &self.0), &[]).unwrap().append(&entry).unwrap();
    }

    /// Appends lines as they are.
    fn write(&self, lines: &str) {
        let mut file = fs::OpenOptions::new().append(true).open(self.ledger().join(FILE_NAME)).unwrap();
        file.write_all(lines.as_bytes()).unwrap();
    }

    fn ledger(&self) -> PathBuf {
        ledger_dir(None, &self.0)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mantlet"));
        command.args(["log", "export"]).args(args);
        command.env("HOME", &self.0).env_remove("XDG_STATE_HOME").current_dir(&self.0);
        command
    }

    fn export(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn lines(&self, args: &[&str]) -> Vec<String> {
        let output = self.export(args);
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    /// What lies in the home beside the ledger.
    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name != ".local").collect();
        names.sort();
        names
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn command(command: &str) -> Value {
    json!({"kind": "exec", "call": "c1", "command": command, "tier": "full", "mechanisms": {}, "exit": 0,
        "duration_ms": 3})
}

const FORMS: [&str; 4] = ["jsonl", "ocsf", "otlp", "csv"];

#[test]
fn all_entries_are_exported_unless_options_say_less() {
    let home = Home::filled("chosen");
    for _ in 0..30 {
        home.append("2026-11-24T10:00:00.000Z", "main", command("ls"));
    }
    assert_eq!(home.lines(&["--format", "jsonl"]).len(), 33);
    assert_eq!(home.lines(&["--format", "csv"]).len(), 34);
    assert_eq!(home.lines(&["--format", "jsonl", "--agent", "scout"]).len(), 1);
    assert_eq!(home.lines(&["--format", "ocsf", "--kind", "change,egress"]).len(), 2);
    assert_eq!(home.lines(&["--format", "jsonl", "--since", "2026-11-23"]).len(), 31);
    let last = home.lines(&["--format", "jsonl", "-n", "1", "--kind", "change"]);
    assert!(last.len() == 1 && last[0].contains(".bashrc"), "{last:?}");
    assert_eq!(home.lines(&["--format", "jsonl", "-n", "0"]).len(), 0);
}

#[test]
fn entries_are_exported_as_they_stand_in_the_ledger() {
    let home = Home::filled("same");
    // As the writers of entries put it; the hash of a line is that of its bytes.
    home.append("2026-11-24T10:00:00.000Z", "main", command(&escape("echo \u{1b}[2J\u{202e}\n\"=1+1 ü".as_bytes())));
    let stored = fs::read_to_string(home.ledger().join(FILE_NAME)).unwrap();
    assert_eq!(home.lines(&["--format", "jsonl"]), stored.lines().collect::<Vec<_>>());
    // What somebody else put there is not obeyed by a terminal.
    home.append("2026-11-24T10:00:00.000Z", "main", command("echo \u{1b}[2J\u{202e}\n"));
    let lines = home.lines(&["--format", "jsonl"]);
    assert!(lines.len() == 5 && lines[4].contains("\\u001b[2J\\u202e\\n"), "{lines:?}");
}

#[test]
fn an_option_that_would_not_be_heeded_is_refused() {
    let home = Home::filled("before");
    for words in
        [&["--agent", "scout", "export", "--format", "csv"][..], &["-f", "export", "--format", "csv"], &["export"]]
    {
        let mut call = Command::new(env!("CARGO_BIN_EXE_mantlet"));
        let output = call.arg("log").args(words).env("HOME", &home.0).env_remove("XDG_STATE_HOME").output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{words:?}: {output:?}");
    }
}

#[test]
fn no_ledger_is_no_error() {
    for form in FORMS {
        let home = Home::new(&format!("none-{form}"));
        let output = home.export(&["--format", form]);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(output.stdout.is_empty(), form != "csv");
        assert!(String::from_utf8(output.stderr).unwrap().contains("no command has run yet"));
    }
}

#[test]
fn a_file_appears_whole_and_for_its_owner_only() {
    let home = Home::filled("file");
    fs::write(home.0.join("out"), "of before").unwrap();
    fs::set_permissions(home.0.join("out"), fs::Permissions::from_mode(0o644)).unwrap();
    for form in FORMS {
        let output = home.export(&["--format", form, "--output", "out"]);
        assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
        let text = fs::read(home.0.join("out")).unwrap();
        assert_eq!(text, home.export(&["--format", form]).stdout);
        assert_eq!(fs::metadata(home.0.join("out")).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(home.names(), ["out"]);
    }
}

#[test]
fn a_link_a_device_and_the_ledgers_own_place_are_not_replaced() {
    let home = Home::filled("refused");
    fs::write(home.0.join("aim"), "aim").unwrap();
    symlink("aim", home.0.join("link")).unwrap();
    let ledger = home.ledger();
    let before = fs::read(ledger.join(FILE_NAME)).unwrap();
    let (own, beside) = (ledger.join(FILE_NAME), ledger.join("export"));
    for place in ["link", "/dev/null", "missing/out", "..", own.to_str().unwrap(), beside.to_str().unwrap()] {
        let output = home.export(&["--format", "csv", "--output", place]);
        assert_eq!(output.status.code(), Some(125), "{place}: {output:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty());
    }
    assert_eq!(fs::read(own).unwrap(), before);
    assert_eq!(fs::read_to_string(home.0.join("aim")).unwrap(), "aim");
    assert_eq!(home.names(), ["aim", "link"]);
    assert_eq!(fs::read_dir(&ledger).unwrap().count(), 1);
}

#[test]
fn broken_lines_are_complained_about_and_hide_nothing() {
    let home = Home::filled("broken");
    let good = fs::read_to_string(home.ledger().join(FILE_NAME)).unwrap();
    let bad = ["{\"v\":1,\u{1b}", "nonsense", "{\"v\":1e999}"];
    let number = good.lines().next().unwrap().replace("\"duration_ms\":3", "\"duration_ms\":-3");
    home.write(&format!("{}\n{number}\n{good}", bad.join("\n")));
    for (form, lines) in [("jsonl", 6), ("ocsf", 6), ("csv", 7), ("otlp", 1)] {
        let output = home.export(&["--format", form]);
        assert_eq!(output.status.code(), Some(1), "{form}: {output:?}");
        assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), lines, "{form}");
        let talk = String::from_utf8(output.stderr).unwrap();
        assert!((4..=7).all(|line| talk.contains(&format!("line {line} of"))), "{talk}");
        assert!(!talk.contains('\u{1b}'), "{talk}");
    }
    assert_eq!(home.export(&["--format", "csv", "--output", "out"]).status.code(), Some(1));
    assert_eq!(fs::read_to_string(home.0.join("out")).unwrap().lines().count(), 7);
}

#[test]
fn an_entry_that_a_form_cannot_say_is_complained_about() {
    let home = Home::filled("unfit");
    home.append("some \u{1b}time", "main", command("ls"));
    let output = home.export(&["--format", "ocsf"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout.iter().filter(|byte| **byte == b'\n').count(), 3);
    let talk = String::from_utf8(output.stderr).unwrap();
    assert!(talk.contains("is left out") && talk.contains("hint:") && !talk.contains('\u{1b}'), "{talk}");
    assert_eq!(home.lines(&["--format", "jsonl"]).len(), 4);
}

#[test]
fn it_ends_with_its_reader() {
    let home = Home::filled("pipe");
    for _ in 0..50 {
        home.append("2026-11-24T10:00:00.000Z", "main", command(&"x".repeat(4000)));
    }
    for form in FORMS {
        let mut child =
            home.command(&["--format", form]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{form}: {output:?}");
    }
}

/// 28 MB of entries in 12 MB of memory. What keeps them all at once fails, so that the limit is one.
#[test]
fn a_long_ledger_needs_no_more_memory() {
    let home = Home::filled("long");
    let entry = fs::read_to_string(home.ledger().join(FILE_NAME)).unwrap();
    let entry = entry.lines().next().unwrap().replace("git status", &"x".repeat(4000));
    for _ in 0..7 {
        home.write(&format!("{entry}\n").repeat(1000));
    }
    let within = |args: &[&str]| {
        let mut call = Command::new("/bin/sh");
        call.args(["-c", "ulimit -d 12288 && exec \"$@\"", "sh", env!("CARGO_BIN_EXE_mantlet"), "log", "export"]);
        call.args(args)
            .args(["--output", "out"])
            .current_dir(&home.0)
            .env("HOME", &home.0)
            .env_remove("XDG_STATE_HOME");
        call.output().unwrap()
    };
    for form in FORMS {
        let output = within(&["--format", form]);
        assert!(output.status.success(), "{form}: {output:?}");
        let text = fs::read_to_string(home.0.join("out")).unwrap();
        assert_eq!(text.matches(&"x".repeat(4000)).count(), 7000, "{form}");
    }
    let output = within(&["--format", "jsonl", "--lines", "20000"]);
    assert!(
        !output.status.success() && String::from_utf8_lossy(&output.stderr).contains("memory allocation"),
        "{output:?}"
    );
}
