//! `mantlet log` as a person runs it: what it shows, what it hides, how it exits.

#![allow(clippy::unwrap_used)] // A test's helper functions may fail the test.

use std::fs;
use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

mod home;
mod verify;

use home::Home;
use mantlet_ledger::{Entry, FILE_NAME, Kind, ledger_dir};

/// `mantlet log -f` at work.
struct Followed {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Followed {
    fn start(home: &Home, args: &[&str]) -> Followed {
        let mut command = home.command(args);
        let mut child = command.arg("-f").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Followed { child, lines }
    }

    fn next(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
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

#[test]
fn the_kind_chooses() {
    let home = filled("kind");
    home.append_egress("evil.test:443");
    assert_eq!(home.lines(&["--kind", "exec"]).len(), 3);
    assert_eq!(
        home.lines(&["--kind", "egress"]),
        ["2026-11-24T10:00:00.000Z  main  refused  dns  evil.test:443  3 times  (no rule allows it)"]
    );
    assert_eq!(home.lines(&["--kind", "tool,egress"]).len(), 1);
    assert_eq!(home.lines(&["--kind", "exec", "--kind", "egress"]).len(), 4);
    assert_eq!(home.log(&["--kind", "dns"]).status.code(), Some(2));
}

#[test]
fn following_prints_the_last_ones_and_then_what_comes() {
    let home = filled("follow");
    let mut followed = Followed::start(&home, &["-n", "1"]);
    assert!(followed.next().contains("forged"));
    home.append("2026-11-24T10:00:00.000Z", "main", "one");
    assert!(followed.next().ends_with("one"));
    home.append("2026-11-24T10:00:00.000Z", "scout", "two");
    home.append("2026-11-24T10:00:00.000Z", "main", "three");
    assert!(followed.next().ends_with("two") && followed.next().ends_with("three"));
}

#[test]
fn following_waits_for_a_ledger_and_chooses() {
    let home = Home::new("later");
    let mut followed = Followed::start(&home, &["--kind", "egress", "--json", "-n", "0"]);
    std::thread::sleep(Duration::from_millis(500));
    home.append("2026-11-24T10:00:00.000Z", "main", "one");
    home.append_egress("a.test:443");
    let entry: Entry = serde_json::from_str(&followed.next()).unwrap();
    assert!(matches!(entry.kind, Kind::Egress(egress) if egress.host == "a.test:443"));
}

#[test]
fn following_survives_rotation_cutting_and_half_a_line() {
    let home = filled("rotated");
    let mut followed = Followed::start(&home, &["-n", "1"]);
    followed.next();
    fs::rename(home.file(), home.file().with_extension("1")).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    home.append("2026-11-24T10:00:00.000Z", "main", "in the new one");
    assert!(followed.next().ends_with("in the new one"));

    fs::OpenOptions::new().write(true).open(home.file()).unwrap().set_len(0).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    home.append("2026-11-24T10:00:00.000Z", "main", "short");
    assert!(followed.next().ends_with("short"));

    home.append("2026-11-24T10:00:00.000Z", "main", "in two halves");
    let whole = fs::read(home.file()).unwrap();
    assert!(followed.next().ends_with("in two halves"));
    let line = whole.split_inclusive(|b| *b == b'\n').next_back().unwrap();
    for half in [&line[..50], &line[50..]] {
        use std::io::Write as _;
        fs::OpenOptions::new().append(true).open(home.file()).unwrap().write_all(half).unwrap();
        std::thread::sleep(Duration::from_millis(500));
    }
    assert!(followed.next().ends_with("in two halves"));
}

#[test]
fn following_ends_with_its_reader_and_at_an_interrupt() {
    let home = filled("ends");
    let mut followed = Followed::start(&home, &[]);
    followed.next();
    let Followed { child, lines } = &mut followed;
    *lines =
        BufReader::new(Command::new("true").stdout(Stdio::piped()).spawn().unwrap().stdout.take().unwrap()).lines();
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "nothing reads, and it goes on");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(status.success(), "{status}");

    let mut followed = Followed::start(&home, &[]);
    followed.next();
    let pid = rustix::process::Pid::from_child(&followed.child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    use std::os::unix::process::ExitStatusExt as _;
    assert_eq!(followed.child.wait().unwrap().signal(), Some(2));
}

#[test]
fn colours_are_for_a_terminal_that_wants_them() {
    let home = Home::new("colour");
    home.append_egress("evil.test:443");
    let on_a_terminal = |no_color: &str| {
        let mut command = Command::new("script");
        let line = format!("{} log", env!("CARGO_BIN_EXE_mantlet"));
        command.args(["-qec", &line, "/dev/null"]).env("HOME", &home.0).env_remove("XDG_STATE_HOME");
        command.env("NO_COLOR", no_color).stdin(Stdio::null());
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    assert!(on_a_terminal("").contains("\u{1b}[31mrefused\u{1b}[0m"), "{}", on_a_terminal(""));
    assert!(!on_a_terminal("1").contains('\u{1b}'));
    assert!(!home.lines(&[])[0].contains('\u{1b}'));
}
