//! What the ledger keeps of commands: whole ones, killed ones, and the place of each in the chain.
#![allow(clippy::unwrap_used, reason = "a test; the lint's own exception does not reach its helpers")]

mod common;

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Who, World, code, err, everybody, out};
use mantlet_ledger::{Entry, Exec, Kind};

fn execs(world: &World) -> Vec<Exec> {
    let output = world.mantlet(&["log", "--json", "-n", "1000", "--kind", "exec"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    let entries = out(&output).lines().map(|line| serde_json::from_str::<Entry>(line).unwrap()).collect::<Vec<_>>();
    entries.into_iter().filter_map(|entry| if let Kind::Exec(exec) = entry.kind { Some(exec) } else { None }).collect()
}

fn assert_sound(world: &World) {
    let output = world.mantlet(&["log", "verify"]);
    assert_eq!(code(&output), 0, "{}{}", out(&output), err(&output));
}

/// The monitor's pid, from the only entry of the journal.
fn monitor(world: &World) -> Option<i32> {
    let entry = fs::read_dir(world.state().join("journal")).ok()?.flatten().next()?;
    let record: serde_json::Value = serde_json::from_slice(&fs::read(entry.path()).ok()?).ok()?;
    i32::try_from(record["monitor"][0].as_i64()?).ok()
}

#[test]
fn a_command_that_is_longer_than_an_argument_is_kept_and_masked() {
    for who in everybody() {
        let world = World::new("long", who);
        world.builder("");
        let padding = "x".repeat(90_000);
        let token = format!("ghp_{}", "a1B2c3D4e5F6".repeat(3));
        let line = format!(": begin {padding} middle-of-it {token} {}; : end", "y".repeat(30_000));
        assert_eq!(code(&world.exec(&["--agent", "main", "-c", &line])), 0);
        // Two of them are more than one argument may have.
        let output = world.exec(&["--agent", "main", "-c", &line, "-c", &line]);
        assert_eq!(code(&output), 0, "{}", err(&output));
        let told = execs(&world);
        assert!(told[0].command.contains("middle-of-it") && told[0].command.ends_with(": end'"), "{who:?}");
        let second = &told[1].command;
        assert!(second.contains(": begin") && second.ends_with(": end'"), "{who:?}: {}", &second[..200]);
        assert!(!told[0].command.contains(&token) && !second.contains(&token), "{who:?}: a secret is kept");
        assert_sound(&world);
    }
}

#[test]
fn a_command_that_kills_its_monitor_is_told_of_by_the_next_call() {
    for who in everybody() {
        let world = World::new("killed", who);
        world.builder("");
        let mut child = world
            .command("mantlet")
            .args(["exec", "--agent", "main", "--session", "s-7", "-c", "touch up; sleep 300; echo mark-of-it"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while !world.work().join("up").exists() {
            assert!(Instant::now() < deadline, "it never starts");
            std::thread::sleep(Duration::from_millis(10));
        }
        let pid = monitor(&world).unwrap().to_string();
        assert!(Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
        child.wait().unwrap();
        assert!(execs(&world).is_empty(), "the control: who was killed has told nothing");
        assert_eq!(code(&world.exec(&["--agent", "main", "-c", "echo next"])), 0);
        let told = execs(&world);
        let killed = told.iter().find(|exec| exec.command.contains("mark-of-it")).unwrap();
        assert_eq!((killed.tier.as_str(), killed.session.as_deref()), ("unknown", Some("s-7")), "{who:?}");
        assert!(killed.reason.as_deref().unwrap().contains("its monitor was killed"), "{killed:?}");
        assert!(told.last().unwrap().command.contains("echo next"));
        assert_sound(&world);
    }
}

#[test]
fn a_durable_entry_is_on_the_disk_before_the_command_is_over() {
    let world = World::new("durable", Who::Me);
    let trace = |policy: &str| {
        world.builder(policy);
        let log = world.top.join("trace");
        let mut call = Command::new("strace");
        call.args(["-f", "-e", "trace=fdatasync", "-o"]).arg(&log);
        let inner = world.command("mantlet");
        call.arg(inner.get_program()).args(["exec", "--agent", "main", "--", "true"]);
        for (name, value) in inner.get_envs() {
            call.env(name, value.unwrap_or_default());
        }
        let output = call.current_dir(world.work()).output().unwrap();
        assert_eq!(code(&output), 0, "{}", err(&output));
        fs::read_to_string(&log).unwrap().matches("fdatasync(").count()
    };
    assert_eq!(trace(""), 0, "the control: written is the default");
    assert_eq!(trace("[ledger]\nsync = \"durable\"\n"), 1);
    let mark = fs::read(world.state().join("ledger/synced")).unwrap();
    let synced = u64::from_le_bytes(mark[8..16].try_into().unwrap());
    assert_eq!(synced, fs::metadata(world.state().join("ledger/ledger.jsonl")).unwrap().len());
    assert_sound(&world);
}

#[test]
fn every_entry_of_many_calls_at_once_is_in_the_chain() {
    for who in everybody() {
        let world = World::new("many", who);
        world.builder("[ledger]\nsegment = \"1MiB\"\nkeep = \"4MiB\"\n");
        let calls: Vec<_> = (0..20)
            .map(|number| {
                let text = format!("echo call-{number} {}", "z".repeat(100_000));
                let mut command = world.command("mantlet");
                command.args(["exec", "--agent", "main", "-c", &text]).stdout(Stdio::null()).spawn().unwrap()
            })
            .collect();
        for mut call in calls {
            assert!(call.wait().unwrap().success());
        }
        let told = execs(&world);
        let missing: Vec<_> =
            (0..20).filter(|n| !told.iter().any(|e| e.command.contains(&format!("call-{n} ")))).collect();
        assert!(told.len() == 20 && missing.is_empty(), "{who:?}: {} told, missing {missing:?}", told.len());
        assert_sound(&world);
    }
}
