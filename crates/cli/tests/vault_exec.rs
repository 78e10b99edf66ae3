//! `mantlet vault exec`: what the command has in its environment, and who else has it.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a test; the lint's own exception does not reach its helpers here"
)]

mod common;

use common::{Who, World, code, err, everybody, out};

fn world(name: &str, who: Who) -> World {
    let world = World::new(name, who);
    let made = world.sh("mantlet vault init >/dev/null && printf 'TOKEN=canary-4711\\nQUOTED=\"x y\"\\n' |
         mantlet vault encrypt - --type dotenv -o s.env");
    assert_eq!(code(&made), 0, "{}", err(&made));
    world
}

#[test]
fn the_command_alone_has_the_values() {
    for who in everybody() {
        let world = world("vault-exec", who);
        let output = world.sh("TOKEN=outer mantlet vault exec s.env -- sh -c 'echo \"$TOKEN $QUOTED $HOME\"; exit 7'");
        assert_eq!((code(&output), out(&output)), (7, format!("canary-4711 \"x y\" {}\n", world.home().display())));
        // It takes mantlet's place: one process, whose command line has no value, and a parent without any.
        let line = "mantlet vault exec s.env -- sh -c '
            cat /proc/$$/cmdline /proc/$PPID/cmdline /proc/$PPID/environ | tr \"\\0\" \"\\n\" | grep -c [c]anary
            tr \"\\0\" \"\\n\" </proc/$$/environ | grep -cx TOKEN=[c]anary-4711; cat /proc/$PPID/comm'";
        assert_eq!(out(&world.sh(&format!("{line}; true"))), "0\n1\nsh\n", "{who:?}");
        // A core dump is on again for a program that is not ours, and a signal is its own.
        let output = world.sh("mantlet vault exec s.env -- sh -c 'kill -TERM $$'");
        assert_eq!(code(&output), 128 + 15);
    }
}

/// A user may lock some megabytes; a file that needs more was the end of the process.
#[test]
fn a_file_that_is_larger_than_what_may_be_locked_is_worked_on() {
    for who in everybody() {
        let world = world("vault-exec-limit", who);
        for limit in [512, 64] {
            let line = format!(
                "ulimit -l {limit}; head -c 500000 /dev/zero | mantlet vault encrypt - --type binary -o s.{limit} &&
                 mantlet vault decrypt s.{limit} --type binary | wc -c"
            );
            let output = world.sh(&line);
            assert_eq!((code(&output), out(&output).trim()), (0, "500000"), "{who:?}: {}", err(&output));
        }
    }
}

#[test]
fn exit_codes_say_who_failed() {
    let world = world("vault-exec-codes", Who::Me);
    world.file("home/work/data", "no program");
    for (words, expected) in [
        ("s.env -- true", 0),
        ("s.env -- ./data", 126),
        ("s.env -- /no/such/program", 127),
        ("s.env", 125),
        ("s.env true", 125),
        ("missing.env -- true", 125),
        ("--no-such-option s.env -- true", 125),
        ("--help", 0),
    ] {
        let output = world.sh(&format!("mantlet vault exec {words}"));
        assert_eq!(code(&output), expected, "{words}: {}", err(&output));
        assert!(!err(&output).contains("canary"));
    }
}

/// The attack: a file that anybody who knows the recipient has made sets what the command loads.
#[test]
fn names_that_decide_what_runs_are_refused_unless_they_are_named() {
    let world = world("vault-exec-names", Who::Me);
    let line =
        "printf 'BASH_ENV=./evil\\n' | mantlet vault encrypt - --type dotenv -o evil.env; echo 'echo evil ran' >evil";
    assert_eq!(code(&world.sh(line)), 0);
    let refused = world.sh("mantlet vault exec evil.env -- bash -c true");
    assert_eq!((code(&refused), out(&refused).as_str()), (125, ""));
    assert!(err(&refused).contains("--allow-name BASH_ENV"), "{}", err(&refused));
    // The control: what it would have done.
    let control = world.sh("mantlet vault exec --allow-name BASH_ENV evil.env -- bash -c true");
    assert_eq!((code(&control), out(&control).as_str()), (0, "evil ran\n"));
}

#[test]
fn single_values_at_the_top_of_json_and_yaml_are_variables() {
    let world = world("vault-exec-json", Who::Me);
    let line = "printf '{\"A\": \"x\", \"B\": true, \"C\": 1.5, \"D\": {\"E\": \"f\"}}' |
        mantlet vault encrypt - --type json -o s.json && mantlet vault exec s.json -- sh -c 'echo $A $B $C ${D-none}'";
    let output = world.sh(line);
    assert_eq!((code(&output), out(&output).as_str()), (0, "x true 1.5 none\n"), "{}", err(&output));
    assert!(err(&output).contains("left out, no single values: D"), "{}", err(&output));
    let output = world.sh("printf x | mantlet vault encrypt - --type binary -o s && mantlet vault exec s -- env");
    assert_eq!(code(&output), 125);
    assert!(err(&output).contains("has no names"), "{}", err(&output));
}
