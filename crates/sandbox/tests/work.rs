//! Work goes on in the jail: exit codes, exact bytes, signals. Each call has a home and a state directory of its own.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test; the lint's own exception does not reach its helpers")]

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// A throwaway home, workspace and state directory.
struct World(PathBuf);

impl World {
    fn new(name: &str) -> World {
        let top = std::env::temp_dir().join(format!("mantlet-work-{name}-{}", std::process::id()));
        for dir in ["home", "work"] {
            std::fs::create_dir_all(top.join(dir)).unwrap();
        }
        World(top)
    }

    fn run(&self, line: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_mantlet-run"))
            .args(["exec", "--timeout", "20s", "-c", line])
            .env("HOME", self.0.join("home"))
            .env("XDG_STATE_HOME", self.0.join("state"))
            .current_dir(self.0.join("work"))
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn exit_codes_and_signals_pass_through() {
    let world = World::new("codes");
    for (line, code) in [("exit 7", 7), ("kill -TERM $$", 143), ("exec /nonexistent", 127), ("exec /etc", 126)] {
        assert_eq!(world.run(line).status.code(), Some(code), "{line}");
    }
}

#[test]
fn a_hundred_megabytes_arrive_byte_for_byte() {
    let world = World::new("bytes");
    let line = "seq 1 20000000 | head -c 104857600 | tee >(sha256sum >&2)";
    let inside = world.run(&format!("{line}; wait"));
    let outside = Command::new("bash").args(["-c", line]).output().unwrap();
    assert_eq!(inside.stdout.len(), 104_857_600);
    assert!(inside.stdout == outside.stdout);
}

#[test]
fn output_that_ends_before_the_command_does_not_hang_the_call() {
    let world = World::new("closed");
    for _ in 0..20 {
        assert_eq!(world.run("exec >&- 2>&-; sleep 0.05; exit 3").status.code(), Some(3));
    }
}
