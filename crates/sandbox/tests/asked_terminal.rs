//! A terminal for a caller that has none, and what a service is not held to.
#![allow(clippy::unwrap_used, reason = "a test; the lint's own exception does not reach its helpers")]

mod common;

use std::io::{Read, Write};
use std::process::{Command, Output, Stdio};

use common::{World, both, code, everyone, text};

/// Runs with these keys on a pipe that ends after them.
fn with_keys(mut command: Command, world: &World, keys: &str) -> Output {
    let (reader, writer) = std::io::pipe().unwrap();
    let (output, output_end) = std::io::pipe().unwrap();
    for end in [reader.try_clone().map(std::os::fd::OwnedFd::from), output_end.try_clone().map(Into::into)] {
        world.give(end.unwrap());
    }
    command.stdin(reader).stdout(output_end).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    drop(command);
    let read = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        { output }.read_to_end(&mut bytes).unwrap();
        bytes
    });
    { writer }.write_all(keys.as_bytes()).unwrap();
    let ended = child.wait_with_output().unwrap();
    Output { stdout: read.join().unwrap(), ..ended }
}

#[test]
fn a_caller_without_a_terminal_gets_one_of_the_size_it_asks_for() {
    for who in everyone() {
        let world = World::new("asked", who);
        let line = "for fd in 0 1 2; do test -t $fd && echo tty $fd; done; stty size; echo err >&2; \
                    read x && echo \"<$x>\"; read y || echo end; exit 5";
        let mut command = world.jail();
        command.args(["--terminal", "33x111", "-c", line]);
        let output = with_keys(command, &world, "typed\n");
        // The terminal echoes the keys whenever they come, also between two lines.
        let seen = text(&output.stdout).replace("\r\n", "\n").replacen("typed\n", "", 1);
        for part in ["tty 0\ntty 1\ntty 2\n33 111\n", "err\n", "<typed>\n", "end\n"] {
            assert!(seen.contains(part), "{who:?}: {part:?} in {seen:?} {}", text(&output.stderr));
        }
        assert_eq!((code(output.status), text(&output.stderr)), (5, String::new()), "{who:?}");
    }
}

#[test]
fn more_keys_than_a_terminal_holds_do_not_stop_it() {
    for who in both() {
        let world = World::new("keys", who);
        let mut command = world.jail();
        // Raw, so that the terminal drops nothing; the answer to each key fills the other way meanwhile.
        let line = "stty raw -echo; echo ready; head -c 300000 | tee /dev/stderr | wc -c";
        command.args(["--timeout", "20s", "--terminal", "24x80", "-c", line]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut keys, mut shown) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut ready = [0; 6];
        shown.read_exact(&mut ready).unwrap();
        let typing = std::thread::spawn(move || keys.write_all("0123456789".repeat(30_000).as_bytes()));
        let mut seen = String::new();
        shown.read_to_string(&mut seen).unwrap();
        typing.join().unwrap().unwrap();
        assert!(child.wait().unwrap().success() && seen.trim_end().ends_with("9300000"), "{who:?}");
    }
}

/// Without the option the same caller has none: the twin.
#[test]
fn without_the_option_there_is_no_terminal() {
    for who in both() {
        let world = World::new("none", who);
        let output = world.run("for fd in 0 1 2; do test -t $fd && echo yes; done; exit 3");
        assert_eq!(code(output.status), 3, "{who:?}: {}", text(&output.stdout));
        assert!(!text(&output.stdout).contains("yes"), "{who:?}");
    }
}
