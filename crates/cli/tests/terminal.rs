//! Our programs on a terminal: colours, and a shell in the jail with a terminal of its own.
#![allow(clippy::unwrap_used, reason = "a test; the lint's own exception does not reach its helpers here")]

mod common;

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use common::{USER, Who, World, builder, code, err, everybody, out};
use serde_json::Value;

const TERMINAL: &str = include_str!("common/terminal.py");

/// Runs a line on a terminal of its own, types `input`, and answers what was shown.
fn terminal(world: &World, line: &str, input: &str) -> String {
    let mut command = Command::new("python3");
    command.args(["-c", TERMINAL, line, input]).env_clear().env("HOME", world.home()).current_dir(world.work());
    command.env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", common::programs().display()));
    if world.who == Who::User {
        command.uid(USER).gid(USER);
    }
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", err(&output));
    out(&output)
}

/// Escape sequences reach a terminal only, and not where NO_COLOR is set.
#[test]
fn colours_are_for_a_terminal_and_not_with_no_color() {
    let world = World::new("colour", Who::Me);
    // Words in the policy are not ours to trust either.
    world.builder("[agent.main.files]\ndeny = [\"\\u001b31mred\"]\n");
    for line in ["mantlet --help", "mantlet nonsense", "mantlet policy explain", "mantlet look", "mantlet policy check"]
    {
        let piped = world.sh(line);
        assert!(!out(&piped).contains('\u{1b}') && !err(&piped).contains('\u{1b}'), "{line}");
        let plain = terminal(&world, &format!("NO_COLOR=1 TERM=xterm-256color {line}"), "");
        assert!(!plain.contains('\u{1b}'), "{line}: {plain:?}");
    }
    let coloured = terminal(&world, "TERM=xterm-256color mantlet --help", "");
    assert!(coloured.contains('\u{1b}'), "control: on a terminal the help has its styles: {coloured:?}");
}

#[test]
fn a_shell_has_a_terminal_of_the_jails_own_with_job_control_and_size() {
    for who in everybody() {
        let world = World::new("shell", who);
        world.file("home/.ssh/id_rsa", "canary-key");
        let typed = "tty; echo answer=$((6*7))\n|~stty size; echo \"PID=$$\"\n|sleep 60\n|!\x1a|jobs; cat ~/.ssh/id_rsa\n|disown -a; exit 3\n";
        let shown = terminal(&world, "mantlet shell", typed);
        assert!(
            shown.contains("a shell in the jail: what it starts, and what is in HOME and /tmp, ends with it"),
            "{shown}"
        );
        for wanted in ["/dev/pts/0", "answer=42", "50 100", "PID=", "Stopped", "No such file or directory"] {
            assert!(shown.contains(wanted), "{who:?} {wanted}: {shown}");
        }
        assert!(!shown.contains("canary-key") && shown.ends_with("\nexit 3\n"), "{shown}");
    }
}

#[test]
fn ctrl_c_ends_the_command_and_not_the_call_around_it() {
    let world = World::new("interrupt", Who::Me);
    let shown = terminal(&world, "mantlet shell", "sleep 60\n|!\x03|echo after=$?\n|exit\n");
    assert!(shown.contains("after=130"), "{shown}");
}

#[test]
fn a_shell_takes_the_options_of_exec() {
    let world = World::new("options", Who::Me);
    world.file("policy.toml", builder("[agent.other]\nrole = \"builder\"\nworkspace = \"~/work\"\n"));
    world.dir("home/work/sub");
    let line =
        "mantlet shell --policy ../../policy.toml --agent other --cwd sub --env=A=-b --timeout 20s --report ../../r";
    let shown = terminal(&world, line, "pwd; echo \"A=$A\"; exit 4\n");
    assert!(shown.contains("work/sub\n") && shown.contains("A=-b") && shown.ends_with("exit 4\n"), "{shown}");
    let report: Value = serde_json::from_slice(&fs::read(world.top.join("r")).unwrap()).unwrap();
    assert_eq!(report["agent"], "other");
}

#[test]
fn allow_asks_on_a_terminal_and_takes_only_a_yes() {
    let world = World::new("ask", Who::Me);
    world.builder("");
    for (line, keys, exit) in [
        ("mantlet allow --env X", "!n\n", "exit 125\n"),
        ("mantlet allow --env X", "!\n", "exit 125\n"),
        ("mantlet allow --env X", "!y\n", "exit 0\n"),
        ("mantlet allow --env Y --yes", "", "exit 0\n"),
    ] {
        let before = fs::read_to_string(world.policy()).unwrap();
        let shown = terminal(&world, line, keys);
        assert!(shown.ends_with(exit), "{line} {keys}: {shown}");
        assert_eq!(shown.contains("[y/N]"), !keys.is_empty(), "{shown}");
        let is_changed = before != fs::read_to_string(world.policy()).unwrap();
        assert_eq!(is_changed, exit == "exit 0\n", "{line} {keys}");
    }
}

#[test]
fn a_shell_without_a_terminal_reads_its_input_and_says_nothing() {
    let world = World::new("script", Who::Me);
    let output = world.sh("echo 'echo $((6*7)); exit 5' | mantlet shell");
    assert_eq!((code(&output), out(&output).as_str(), err(&output).as_str()), (5, "42\n", ""));
}
