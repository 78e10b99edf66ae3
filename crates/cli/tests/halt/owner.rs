//! Who may let things go on: the owner, and nothing that runs in a jail.

use std::fs;
use std::process::Stdio;

use crate::common::{USER, Who, World, code, err, everybody, is_root, out, programs};
use crate::ground::{assert_refused, assert_runs, halt, halts, is_alone, resume, world};

/// The attacks: a jailed agent runs the binary, asks its supervisor for a call that does, and reaches for the file.
#[test]
fn nothing_in_a_jail_resumes_or_halts() {
    if !is_alone("owner::nothing_in_a_jail_resumes_or_halts") {
        return;
    }
    for who in everybody() {
        let world = world("jailed", who);
        world.builder("");
        let program = programs().join("mantlet");
        let with = program.to_str().unwrap();
        let own = "/run/mantlet/mantlet";
        let state = world.state();
        let state = state.to_str().unwrap();
        for word in ["halt", "resume"] {
            for line in [
                format!("{own} {word}"),
                format!("env HOME=/tmp XDG_STATE_HOME=/tmp/s {own} {word}"),
                format!("mkdir -p {state} && {own} {word}"),
            ] {
                let output = world.exec(&["--with", with, "-c", &line]);
                let said = err(&output);
                assert!(code(&output) == 125 && said.contains("nothing in a jail"), "{who:?}: {line}: {said}");
            }
        }
        let script = format!("mantlet-run exec -- {own} halt; echo $?; {own} halt; echo $?; ls /run/mantlet");
        let run = world.mantlet(&["run", "main", "--", "/bin/sh", "-c", &script]);
        assert!(!out(&run).contains("\n0\n") && !out(&run).starts_with("0\n"), "{} {}", out(&run), err(&run));
        assert!(!world.state().join("halted").exists());
        // What a jail writes there is its own, and gone with it.
        world.exec(&["-c", &format!("mkdir -p {state}; echo > {state}/halted")]);
        assert_runs(&world);

        // While it is halted: what was there before cannot be reached either, by a jail that is not told to end.
        halt(&world, &[]);
        assert_refused(&world.exec(&["--with", with, "-c", &format!("{own} resume")]), "a jail for it");
        // The control: outside the same works.
        resume(&world);
        assert_runs(&world);
        assert_eq!(halts(&world).len(), 2, "{who:?}: what a jail asked for is no act");
    }
}

#[test]
fn a_hook_denies_every_tool_while_halted() {
    if !is_alone("owner::a_hook_denies_every_tool_while_halted") {
        return;
    }
    for who in everybody() {
        let world = world("hook", who);
        world.builder("client = \"claude\"\n");
        world.file("home/work/a.txt", "text\n");
        let tools =
            [("Read", "file_path", "a.txt"), ("Bash", "command", "mantlet resume"), ("Write", "file_path", "b.txt")];
        let ask =
            |(tool, argument, value): (&str, &str, &str), more: &[&str]| hook(&world, tool, argument, value, more);
        for tool in tools {
            assert!(!ask(tool, &[]).contains("\"deny\""), "{who:?}: the control: {tool:?}");
        }
        halt(&world, &["--reason", "an agent went astray"]);
        let home = world.home();
        for more in [&[][..], &["--home", home.to_str().unwrap()]] {
            for tool in tools {
                let said = ask(tool, more);
                assert!(said.contains("\"deny\"") && said.contains("an agent went astray"), "{tool:?}: {said}");
                assert!(said.contains("mantlet resume"), "{tool:?}: {said}");
            }
        }
        let denied = world.mantlet(&["log", "--json", "--kind", "tool"]);
        assert_eq!(out(&denied).matches("\"rule\":\"halted\"").count(), 2 * tools.len(), "{}", out(&denied));
        resume(&world);
        assert!(!ask(tools[0], &[]).contains("\"deny\""), "{who:?}");
    }
}

fn hook(world: &World, tool: &str, argument: &str, value: &str, more: &[&str]) -> String {
    use std::io::Write as _;
    let event = serde_json::json!({
        "session_id": "s", "cwd": world.work(), "hook_event_name": "PreToolUse", "tool_name": tool,
        "tool_input": { argument: value, "content": "x" },
    });
    let mut command = world.command("mantlet");
    let mut child =
        command.args(["hook", "claude"]).args(more).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(event.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), 0);
    out(&output)
}

/// The attack of a mistake: `sudo mantlet resume`, with the home of somebody else.
#[test]
fn another_users_state_is_neither_halted_nor_resumed() {
    if !is_root() {
        return println!("only root can be another user: this is not tried");
    }
    if !is_alone("owner::another_users_state_is_neither_halted_nor_resumed") {
        return;
    }
    let world = world("foreign", Who::User);
    world.builder("");
    halt(&world, &[]);
    let mut command = std::process::Command::new(programs().join("mantlet"));
    let refused = command.arg("resume").env_clear().env("HOME", world.home()).output().unwrap();
    assert!(code(&refused) == 125 && err(&refused).contains(&format!("belongs to uid {USER}")), "{}", err(&refused));
    assert_refused(&world.exec(&["-c", "true"]), "after root's");
    resume(&world);
    let mut command = std::process::Command::new(programs().join("mantlet"));
    let refused = command.arg("halt").env_clear().env("HOME", world.home()).output().unwrap();
    assert_eq!(code(&refused), 125, "{}", err(&refused));
    assert_runs(&world);
}

/// Both places of an owner are shut: a hook's call obeys no variable, and a service may have one.
#[test]
fn both_state_directories_are_halted() {
    if !is_alone("owner::both_state_directories_are_halted") {
        return;
    }
    let mut world = world("both", Who::Me);
    world.builder("");
    assert_runs(&world);
    let moved = world.dir("moved");
    world.env("XDG_STATE_HOME", &moved);
    assert_runs(&world);
    halt(&world, &[]);
    assert_refused(&world.exec(&["-c", "true"]), "with the variable");
    assert!(world.state().join("halted").is_file() && moved.join("mantlet/halted").is_file());
    resume(&world);
    assert_runs(&world);
    assert!(!world.state().join("halted").exists());
    // With nothing to resume nothing is said to have been.
    let none = world.mantlet(&["resume"]);
    assert!(code(&none) == 0 && err(&none).contains("nothing was halted"), "{}", err(&none));
    fs::remove_dir_all(moved).unwrap();
}
