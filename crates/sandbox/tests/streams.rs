//! What goes in and out of a call: bytes, arguments, names, exit codes and signals, as they are without a jail.
#![allow(clippy::unwrap_used, reason = "a test; the lint's own exception does not reach its helpers")]

mod common;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{World, both, code, everyone, must_succeed, text};

/// Bytes of every value in no order, the same each time.
fn binary(len: usize) -> Vec<u8> {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        out.extend_from_slice(&seed.to_le_bytes());
    }
    out.truncate(len);
    out
}

const HUNDRED_MB: usize = 100 << 20;

#[test]
fn a_hundred_megabytes_of_binary_arrive_byte_for_byte() {
    let bytes = binary(HUNDRED_MB);
    for who in everyone() {
        let world = World::new("bytes", who);
        world.write("binary", &bytes);
        let output = world.run("cat binary; echo end >&2");
        must_succeed(&output, "cat");
        assert!(output.stdout == bytes, "{who:?}: {} bytes came", output.stdout.len());
        assert_eq!(text(&output.stderr), "end\n", "{who:?}");
    }
}

#[test]
fn a_hundred_megabytes_go_through_input_and_output_into_files() {
    let bytes = binary(HUNDRED_MB);
    for who in both() {
        let world = World::new("through", who);
        let source = world.top().join("source");
        std::fs::write(&source, &bytes).unwrap();
        // A file that is appended to cannot be spliced into, one that is written can.
        for append in [false, true] {
            let path = world.top().join(format!("target-{append}"));
            std::fs::write(&path, "head").unwrap();
            let mut target = File::options().append(append).write(true).open(&path).unwrap();
            target.seek(std::io::SeekFrom::End(0)).unwrap();
            let status = world.jail().args(["--", "cat"]).stdin(File::open(&source).unwrap()).stdout(target).status();
            assert!(status.unwrap().success());
            let arrived = std::fs::read(&path).unwrap();
            assert!(arrived[..4] == *b"head" && arrived[4..] == bytes, "{who:?}, appending: {append}");
        }
    }
}

#[test]
fn input_from_a_pipe_is_taken_only_as_far_as_it_is_read() {
    for who in everyone() {
        let world = World::new("pipe", who);
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"one\ntwo\nthree\n").unwrap();
        let mut rest = reader.try_clone().unwrap();
        let status = world.jail().args(["-c", "read line; test \"$line\" = one"]).stdin(reader).status().unwrap();
        assert!(status.success(), "{who:?}");
        drop(writer);
        let mut left = String::new();
        rest.read_to_string(&mut left).unwrap();
        assert_eq!(left, "two\nthree\n", "{who:?}");
    }
}

#[test]
fn output_comes_while_the_command_runs_and_a_closed_reader_ends_it() {
    for who in both() {
        let world = World::new("live", who);
        let mut child = world
            .jail()
            .args(["-c", "echo first; read answer; echo \"$answer\"; exec yes"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "first");
        child.stdin.take().unwrap().write_all(b"answered\n").unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), "answered");
        assert_eq!(lines.next().unwrap().unwrap(), "y");
        drop(lines);
        let begin = Instant::now();
        assert_eq!(code(child.wait().unwrap()), 128 + libc::SIGPIPE, "{who:?}");
        assert!(begin.elapsed() < Duration::from_secs(5), "{who:?}");
    }
}

#[test]
fn joined_outputs_keep_their_order_and_closed_ones_stay_closed() {
    let order = "for i in $(seq 200); do echo o$i; echo e$i >&2; done";
    for who in both() {
        let world = World::new("order", who);
        let run = |tail: &str, line: &str| {
            let shell = format!("exec \"$@\" {tail}");
            let mut command = world.jail_through(&["bash", "-c", &shell, "bash"]);
            command.args(["exec", "-c", line]).output().unwrap()
        };
        let wanted: String = (1..=200).map(|i| format!("o{i}\ne{i}\n")).collect();
        assert_eq!(text(&run("2>&1", order).stdout), wanted, "{who:?}");
        let open = "for fd in 0 1 2; do [ -e /proc/self/fd/$fd ] && n=$n$fd; done; exit $((1$n))";
        for (closed, wanted) in [("", 1012), ("<&-", 112), (">&-", 102), ("2>&-", 101), ("<&- >&- 2>&-", 1)] {
            assert_eq!(run(closed, open).status.code(), Some(wanted % 256), "{who:?}: {closed:?}");
        }
    }
}

#[test]
fn output_that_ends_before_the_command_does_not_hang_the_call() {
    let world = World::new("closed", everyone()[0]);
    for _ in 0..20 {
        assert_eq!(world.run("exec >&- 2>&-; sleep 0.05; exit 3").status.code(), Some(3));
    }
}

#[test]
fn exit_codes_and_deaths_are_as_a_shell_tells_them() {
    for who in everyone() {
        let world = World::new("codes", who);
        // Not 3: bash ignores SIGQUIT.
        let signals = [1, 2, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 31, 34, 64];
        let deaths = signals.map(|n| (format!("ulimit -c 0; kill -{n} $$; sleep 5"), 128 + n));
        let exits = [0, 1, 2, 7, 124, 125, 126, 127, 128, 254, 255].map(|n| (format!("exit {n}"), n));
        for (line, wanted) in deaths.into_iter().chain(exits) {
            assert_eq!(code(world.run(&line).status), wanted, "{who:?}: {line}");
            assert_eq!(code(world.run_outside(&line).status), wanted, "outside: {line}");
        }
        world.write("plain", "no program");
        for (program, wanted) in [("/nonexistent", 127), ("no-such-program", 127), ("/etc", 126), ("./plain", 126)] {
            let inside = world.jail().args(["--", program]).output().unwrap();
            let outside = world.outside("env").arg(program).output().unwrap();
            assert_eq!((code(inside.status), code(outside.status)), (wanted, wanted), "{who:?}: {program}");
            assert!(text(&inside.stderr).starts_with("mantlet: "), "{who:?}: {}", text(&inside.stderr));
        }
    }
}

/// Starts a line, waits for its first word, sends a signal, and answers how it ended.
fn signalled(mut command: Command, line: &str, signal: &str) -> (i32, String) {
    let mut child = command.args(["-c", line]).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut said = String::new();
    out.read_line(&mut said).unwrap();
    assert_eq!(said, "ready\n");
    let killed = Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    out.read_to_string(&mut said).unwrap();
    (code(child.wait().unwrap()), said)
}

#[test]
fn signals_to_the_call_reach_the_command() {
    for who in both() {
        let world = World::new("signals", who);
        for signal in ["INT", "TERM", "HUP", "QUIT", "USR1", "USR2", "ALRM"] {
            for line in [
                format!("trap 'echo got {signal}; exit 9' {signal}; echo ready; while :; do sleep 0.02; done"),
                "ulimit -c 0; exec perl -e '$|=1; print \"ready\\n\"; sleep 10'".to_owned(),
                format!("trap '' {signal}; echo ready; sleep 0.3; echo ignored; exit 4"),
            ] {
                let outside = signalled(world.outside("/bin/bash"), &line, signal);
                let inside = signalled(world.jail(), &line, signal);
                assert_eq!(inside, outside, "{who:?}: {signal}: {line}");
            }
        }
    }
}

#[test]
fn an_interrupt_reaches_the_whole_group() {
    for who in both() {
        let world = World::new("group", who);
        let child = "trap \"echo child; exit 0\" INT; echo ready; while :; do sleep 0.02; done";
        let line = format!("trap 'echo parent; exit 3' INT; bash -c '{child}'");
        let (code, said) = signalled(world.jail(), &line, "INT");
        assert_eq!((code, said.as_str()), (3, "ready\nchild\nparent\n"), "{who:?}");
    }
}

#[test]
fn what_the_caller_has_ignored_does_not_reach_the_command() {
    for who in both() {
        let world = World::new("ignored", who);
        for signal in ["HUP", "INT", "USR1"] {
            let shell = format!("trap '' {signal}; exec \"$@\"");
            let mut command = world.jail_through(&["bash", "-c", &shell, "bash"]);
            command.arg("exec");
            let line = "echo ready; sleep 0.4; echo went on; exit 5";
            assert_eq!(signalled(command, line, signal), (5, "ready\nwent on\n".to_owned()), "{who:?}: {signal}");
        }
    }
}

/// No single argument may be longer than 128 KiB (execve(2)), so that a client splits a long line into several `-c`.
#[test]
fn a_line_of_a_megabyte_runs() {
    for who in everyone() {
        let world = World::new("long", who);
        let mut line = String::from("x='");
        line.push_str(&"0123456789abcde\n".repeat(1 << 16));
        line.push_str("'; printf %s \"$x\"; echo \"$0 $#\" >&2; exit ${#x}");
        assert!(line.len() > 1 << 20);
        let mut command = world.jail();
        for part in line.as_bytes().chunks(100_000) {
            command.arg("-c").arg(OsStr::from_bytes(part));
        }
        let output = command.output().unwrap();
        assert_eq!(output.stdout.len(), 1 << 20, "{who:?}: {}", text(&output.stderr));
        assert_eq!(text(&output.stderr), "/bin/bash 0\n", "{who:?}");
        assert_eq!(output.status.code(), Some(0), "{who:?}");
        // Input is still the caller's, not the line's.
        let mut tail = world.jail();
        tail.args(["-c", "cat; : ", "-c", &"y".repeat(130_000), "-c", "; exit 6"]);
        let mut child = tail.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"input").unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(6), "input".to_owned()), "{who:?}");
    }
}

#[test]
fn arguments_and_names_are_bytes() {
    let odd: [&[u8]; 6] = [b"\xff\xfe", b"", b"new\nline", b"-c", b"a b'\"$`\\", "ü\u{202e}".as_bytes()];
    for who in everyone() {
        let world = World::new("arguments", who);
        let odd = odd.map(OsStr::from_bytes);
        let script = "printf '<%s>' \"$@\"";
        let inside = world.jail().args(["--", "bash", "-c", script, "bash"]).args(odd).output().unwrap();
        let outside = world.outside("bash").args(["-c", script, "bash"]).args(odd).output().unwrap();
        must_succeed(&inside, "odd arguments");
        assert!(inside == outside, "{who:?}: {inside:?}");
        let line =
            OsString::from_vec(b"echo \xff\x01\xfe > $'na\\nme\xff'; cat $'na\\nme\xff'; printf %s \"$V\"".to_vec());
        let value = OsStr::from_bytes(b"V=\xfd=\n");
        let output = world.jail().arg("--env").arg(value).arg("-c").arg(line).output().unwrap();
        assert_eq!(output.stdout, b"\xff\x01\xfe\n\xfd=\n", "{who:?}: {}", text(&output.stderr));
        assert_eq!(std::fs::read(world.work().join(OsStr::from_bytes(b"na\nme\xff"))).unwrap(), b"\xff\x01\xfe\n");
        assert_eq!(world.tree().len(), 1, "{who:?}: {:?}", world.tree());
    }
}

#[test]
fn a_directory_of_any_name_can_be_entered() {
    for who in everyone() {
        let world = World::new("names", who);
        world.write("a b'\n/.keep", "");
        for name in ["a b'\n", "ünï"] {
            world.write(&format!("{name}/file"), name);
            let output = world.jail().arg("--cwd").arg(world.work().join(name)).args(["-c", "cat file; pwd"]).output();
            let wanted = format!("{name}{}\n", world.work().join(name).display());
            assert_eq!(text(&output.unwrap().stdout), wanted, "{who:?}");
        }
    }
}

/// A caller that made its end non-blocking, as node does, loses nothing.
#[test]
fn a_slow_reader_with_a_non_blocking_pipe_loses_nothing() {
    let world = World::new("slow", everyone()[0]);
    let fifo = world.top().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let mut reader = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&fifo).unwrap();
    let writer = File::options().write(true).custom_flags(libc::O_NONBLOCK).open(&fifo).unwrap();
    let mut child = world.jail().args(["-c", "seq 300000"]).stdout(writer).spawn().unwrap();
    let (mut got, mut buffer) = (Vec::new(), [0; 30_000]);
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => got.extend_from_slice(&buffer[..count]),
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => std::thread::sleep(Duration::from_millis(1)),
            Err(e) => panic!("{e}"),
        }
    }
    assert!(child.wait().unwrap().success());
    let wanted: String = (1..=300_000).map(|i| format!("{i}\n")).collect();
    assert!(got == wanted.as_bytes(), "{} bytes came", got.len());
}
