//! Files that are denied or protected are replaced by renames from outside, a thousand times, while a jail asks for them
//! without a pause: nothing denied leaves the call, and nothing it wrote to a protected file is left in place.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test; the lint's own exception does not reach its helpers")]

mod common;

use std::fs;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use common::{Who, World, both};

const RENAMES: usize = 1000;

/// Reads the denied file and appends to the protected one as fast as it can.
const GREEDY: &str = r"
import os
while True:
    try:
        text = open('.env', 'rb').read()
        os.write(1, text)
        open('copy', 'ab').write(text)
    except OSError: pass
    try:
        with open('AGENTS.md', 'ab') as file: file.write(b'OWNED')
    except OSError: pass
    try: os.write(1, open('secrets/key', 'rb').read())
    except OSError: pass
";

struct Outside<'w> {
    world: &'w World,
    count: usize,
}

impl Outside<'_> {
    /// Renames a new file over `name`, as an editor or a configuration tool does.
    fn replace(&mut self, name: &str, text: &str) {
        self.count += 1;
        let new = self.world.top().join(format!("new-{}", self.count));
        fs::write(&new, text).unwrap();
        let like = fs::metadata(self.world.work()).unwrap();
        use std::os::unix::fs::MetadataExt;
        std::os::unix::fs::chown(&new, Some(like.uid()), Some(like.gid())).unwrap();
        fs::rename(&new, self.world.work().join(name)).unwrap();
    }
}

fn world(who: Who) -> World {
    let world = World::new("renames", who);
    for (name, text) in [(".env", "SECRET-0"), ("AGENTS.md", "agents"), ("secrets/key", "SECRET-0"), ("notes", "")] {
        world.write(name, text);
    }
    world
}

fn start(world: &World, policy: &std::path::Path, words: &[&str]) -> Child {
    let mut command: Command = world.jail();
    command.args(["--policy", policy.to_str().unwrap(), "--timeout", "60s", "--"]).args(words);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn says(output: &Output, text: &str) -> bool {
    [&output.stdout, &output.stderr].iter().any(|out| String::from_utf8_lossy(out).contains(text))
}

/// Replaces all of them until enough is done; every call that ends is followed by another.
fn besiege(world: &World, policy: &std::path::Path) -> Vec<Output> {
    let mut outside = Outside { world, count: 0 };
    let mut ended = Vec::new();
    let mut child = start(world, policy, &["python3", "-c", GREEDY]);
    for i in 0..RENAMES {
        if child.try_wait().unwrap().is_some() {
            ended.push(child.wait_with_output().unwrap());
            // A protected file that was written to is taken away; the owner has another.
            if !world.work().join("AGENTS.md").exists() {
                outside.replace("AGENTS.md", "agents");
                std::thread::sleep(Duration::from_millis(10));
            }
            child = start(world, policy, &["python3", "-c", GREEDY]);
        }
        outside.replace([".env", "AGENTS.md", "secrets/key"][i % 3], &format!("SECRET-{i}"));
        std::thread::sleep(Duration::from_millis(2));
    }
    Command::new("kill").arg(child.id().to_string()).status().unwrap();
    ended.push(child.wait_with_output().unwrap());
    ended
}

#[test]
fn nothing_leaks_and_nothing_stays_written_while_covered_names_are_replaced() {
    for who in both() {
        let world = world(who);
        let policy = world.policy("deny = [\"**/.env\", \"secrets\"]");
        let ended = besiege(&world, &policy);
        for output in &ended {
            assert!(!says(output, "SECRET"), "{who:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        let past = ended.iter().filter(|output| says(output, "was replaced from outside")).count();
        assert!(past > 0, "{who:?}: the moment was never met, so this test shows nothing");
        println!("{who:?}: {past} of {} calls met the moment and were killed", ended.len());
        assert!(!fs::read_to_string(world.work().join("AGENTS.md")).unwrap_or_default().contains("OWNED"), "{who:?}");
        assert!(!fs::read_to_string(world.work().join("copy")).unwrap_or_default().contains("SECRET"), "{who:?}");
    }
}

#[test]
fn without_the_rules_the_same_command_gets_everything() {
    for who in both() {
        let world = world(who);
        let policy = world.policy("write = [\"AGENTS.md\"]");
        let child = start(&world, &policy, &["timeout", "0.3", "python3", "-c", GREEDY]);
        let output = child.wait_with_output().unwrap();
        assert!(says(&output, "SECRET"), "{who:?}");
        assert!(fs::read_to_string(world.work().join("AGENTS.md")).unwrap().contains("OWNED"), "{who:?}");
        assert!(fs::read_to_string(world.work().join("copy")).unwrap().contains("SECRET"), "{who:?}");
    }
}

/// Enforcement that stops legitimate work is misconfigured: who does not ask for what is denied is not disturbed.
#[test]
fn work_goes_on_while_covered_names_are_replaced() {
    for who in both() {
        let world = world(who);
        let policy = world.policy("deny = [\"**/.env\", \"secrets\"]");
        let line = "for i in $(seq 40); do echo $i >> notes; cat notes AGENTS.md | wc -l > /dev/null; done; echo end";
        let child = start(&world, &policy, &["sh", "-c", line]);
        let mut outside = Outside { world: &world, count: 0 };
        for i in 0..30 {
            outside.replace([".env", "AGENTS.md"][i % 2], "SECRET");
            std::thread::sleep(Duration::from_millis(1));
        }
        let output = child.wait_with_output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b"end\n"[..]), "{who:?}: {error}");
        let child = start(&world, &policy, &["cat", ".env"]);
        assert!(!says(&child.wait_with_output().unwrap(), "SECRET"), "{who:?}");
    }
}
