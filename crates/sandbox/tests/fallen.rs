//! A process that serves a way out and has fallen to what a jail sent: what it can do to the monitor, over their channel.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use common::{World, both, code, must_succeed, text};
use serde_json::Value;

/// Asks for the way out, so that somebody serves it, and lives on for so many seconds.
const ASK: &str = "python3 -c '\nimport socket, time\n\
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b\"x\", (\"127.0.0.1\", 53))\ntime.sleep(SECONDS)'";

struct Ended {
    code: i32,
    said: String,
    report: Value,
    ledger: String,
    /// What the server saw.
    seen: String,
    took: Duration,
}

/// Puts such a server where `mantlet` is looked for.
fn install(bin: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/world/fallen_server.py");
    // Not written by this process: see `World::new`.
    let installed = Command::new("install").args(["-m", "755"]).arg(script).arg(bin.join("mantlet")).status().unwrap();
    assert!(installed.success());
}

fn policy(world: &World, files: &str) -> PathBuf {
    let path = world.policy(files);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}[agent.main.egress]\nallow = [\"a.test:80\"]\n")).unwrap();
    path
}

/// Runs a call with such a server.
fn run(world: &World, mode: &str, seconds: u32, timeout: &str) -> Ended {
    let bin = world.top().join("bin");
    install(&bin);
    std::fs::write(bin.join("mode"), mode).unwrap();
    let seen = world.top().join("home/seen");
    must_succeed(&world.outside("/bin/sh").args(["-c", ": > ../home/seen"]).output().unwrap(), "a place to write to");
    let policy = policy(world, "");
    let report = world.top().join("state/report.json");
    let began = Instant::now();
    let mut command = world.jail();
    command.arg("--policy").arg(&policy).arg("--report").arg(&report).args(["--timeout", timeout]);
    let output = command.args(["-c", &ASK.replace("SECONDS", &seconds.to_string())]).output().unwrap();
    let took = began.elapsed();
    let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    Ended {
        code: code(output.status),
        said: text(&output.stderr),
        report: serde_json::from_str(&read(&report)).unwrap(),
        ledger: read(&world.top().join("state/mantlet/ledger/ledger.jsonl")),
        seen: read(&seen),
        took,
    }
}

/// The attack: a server that asks without end and takes no answer. A monitor that waits for it hears no limit and no signal.
#[test]
fn one_that_takes_no_words_does_not_hold_up_the_limits() {
    for who in both() {
        let world = World::new("deaf", who);
        let ended = run(&world, "deaf", 30, "4s");
        assert_eq!(ended.code, 137, "{who:?}: {}", ended.said);
        assert!(ended.took < Duration::from_secs(12), "{who:?}: {:?}", ended.took);
    }
}

/// The attack: a server that never stops telling, when all that it could tell of is dead.
#[test]
fn one_that_never_stops_talking_does_not_hold_up_the_end() {
    for who in both() {
        let world = World::new("talks", who);
        let ended = run(&world, "talks", 1, "30s");
        assert_eq!(ended.code, 0, "{who:?}: {}", ended.said);
        assert!(ended.took < Duration::from_secs(10), "{who:?}: {:?}", ended.took);
        assert!(ended.ledger.len() < 100_000 && ended.ledger.contains("\"host\":\"a.test:80\""), "{}", ended.ledger);
    }
}

/// The attack: a server whose words are none is left to itself, and holds the jail's listeners beside the next one.
#[test]
fn one_that_is_not_heard_any_more_does_not_live_on() {
    for who in both() {
        let world = World::new("babbles", who);
        let ended = run(&world, "babbles", 2, "30s");
        assert_eq!(ended.code, 0, "{who:?}: {}", ended.said);
        assert!(ended.seen.lines().count() > 1, "{who:?}: another one served: {}", ended.seen);
        assert!(!ended.seen.contains("beside"), "{who:?}: {}", ended.seen);
    }
}

/// The attack: escape sequences for the owner's terminal, numbers that overflow, words that are none.
#[test]
fn what_one_says_is_shown_and_stored_with_nothing_hidden_in_it() {
    for who in both() {
        let world = World::new("lies", who);
        let ended = run(&world, "lies", 1, "30s");
        assert_eq!(ended.code, 0, "{who:?}: {}", ended.said);
        let egress = ended.report["mechanisms"]["egress"].as_str().unwrap();
        assert!(egress.contains("lies") && egress.len() < 600, "{egress}");
        assert!(ended.said.contains("refused for agent main"), "{}", ended.said);
        for shown in [egress, &ended.said, &ended.ledger] {
            let hidden = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
            assert!(!shown.contains(hidden), "{shown:?}");
        }
        assert!(ended.said.lines().all(|line| line.starts_with("mantlet: ")), "{}", ended.said);
    }
}

/// The attack: mantlet lies where the agent can write. What a jail puts in its place is started outside, as the owner, when
/// the jail then asks for something.
#[test]
fn the_program_that_serves_is_nothing_that_the_jail_could_replace() {
    for who in both() {
        let world = World::new("replaced", who);
        let bin = world.top().join("bin");
        install(&bin);
        let line = |files: &str| world.run_with(&policy(&world, files), "true").0;
        // The twin: seen, it is no danger.
        must_succeed(&line(&format!("read = [{bin:?}]")), "a program that can only be read");
        let refused = line(&format!("write = [{bin:?}]"));
        assert_eq!(code(refused.status), 125, "{who:?}: {}", text(&refused.stderr));
        assert!(text(&refused.stderr).contains("which the agent can write"), "{}", text(&refused.stderr));
        // Under another name.
        let tools = world.work().join("tools");
        std::fs::create_dir(&tools).unwrap();
        std::fs::rename(bin.join("mantlet"), tools.join("mantlet")).unwrap();
        std::os::unix::fs::symlink(tools.join("mantlet"), bin.join("mantlet")).unwrap();
        let refused = line("");
        assert!(text(&refused.stderr).contains("which the agent can write"), "{who:?}: {}", text(&refused.stderr));
    }
}
