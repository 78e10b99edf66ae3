//! Files that are denied or protected are replaced by renames from outside, a thousand times, while a jail asks for them
//! without a pause: nothing denied leaves the call, and nothing it wrote to a protected file is left in place.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test; the lint's own exception does not reach its helpers")]

mod common;

use std::fs;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use common::{Who, World, both};

const RENAMES: usize = 1000;

/// Asks for the denied file in every way there is, and for the protected ones, as fast as it can.
const GREEDY: &str = r"
import os
held = []
def attempt(step):
    try: step()
    except OSError: pass
def read(): os.write(1, open('.env', 'rb').read())
def copy(): open('copy', 'ab').write(open('.env', 'rb').read())
def take(): os.rename('.env', 'taken')
def link(): os.link('.env', 'sub/got')
def hold():
    held[:] = held[-5:] + [os.open('.env', os.O_PATH)]
def use():
    for fd in held: os.write(1, open('/proc/self/fd/%d' % fd, 'rb').read())
def other():
    for name in ('taken', 'sub/got', 'secrets/key'): os.write(1, open(name, 'rb').read())
def write(): open('AGENTS.md', 'ab').write(b'OWNED')
def replace():
    open('evil', 'w').write('OWNED')
    os.rename('evil', 'AGENTS.md')
steps = [read, copy, take, link, hold, use, other, write, replace]
while True:
    for step in steps: attempt(step)
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
    for (name, text) in
        [(".env", "SECRET-0"), ("AGENTS.md", "agents"), ("secrets/key", "SECRET-0"), ("notes", ""), ("sub/x", "")]
    {
        world.write(name, text);
    }
    world
}

fn start(world: &World, policy: &std::path::Path, words: &[&str]) -> Child {
    let mut command: Command = world.jail();
    command.args(["--policy", policy.to_str().unwrap(), "--timeout", "60s", "--report"]).arg(report(world));
    command.arg("--").args(words);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn report(world: &World) -> std::path::PathBuf {
    world.top().join("state/report.json")
}

/// What the last report says of a mechanism.
fn extent(world: &World, mechanism: &str) -> String {
    let report: serde_json::Value = serde_json::from_slice(&fs::read(report(world)).unwrap()).unwrap();
    report["mechanisms"][mechanism].as_str().unwrap().to_owned()
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
            // What the command got at was taken away; the owner has another. Denied is what is there at the start (G-15).
            for name in [".env", "AGENTS.md"] {
                if !world.work().join(name).exists() {
                    outside.replace(name, "SECRET-again");
                    std::thread::sleep(Duration::from_millis(10));
                }
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
            let shown = [&output.stdout, &output.stderr].map(|out| String::from_utf8_lossy(out));
            assert!(!says(output, "SECRET"), "{who:?}: {shown:?}");
        }
        let past = ended.iter().filter(|output| says(output, "replaced from outside")).count();
        assert!(past > 0, "{who:?}: the moment was never met, so this test shows nothing");
        println!("{who:?}: {past} of {} calls met the moment and were killed", ended.len());
        assert!(!fs::read_to_string(world.work().join("AGENTS.md")).unwrap_or_default().contains("OWNED"), "{who:?}");
        for name in ["copy", "taken", "sub/got"] {
            let left = fs::read_to_string(world.work().join(name)).unwrap_or_default();
            assert!(!left.contains("SECRET"), "{who:?}: {name}");
        }
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

/// Enforcement that stops legitimate work is misconfigured: what is protected may be replaced while a command runs. It
/// is not known by whom, so that the review takes it for new.
#[test]
fn work_goes_on_while_protected_names_are_replaced() {
    for who in both() {
        let world = world(who);
        let policy = world.policy("protect = [\"notes\"]");
        let line = "for i in $(seq 40); do echo $i >> log; cat log AGENTS.md | wc -l > /dev/null; done; echo end";
        let child = start(&world, &policy, &["sh", "-c", line]);
        let mut outside = Outside { world: &world, count: 0 };
        for i in 0..30 {
            outside.replace("notes", &format!("{i}"));
            std::thread::sleep(Duration::from_millis(1));
        }
        let output = child.wait_with_output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b"end\n"[..]), "{who:?}: {error}");
        assert!(error.contains("review: notes"), "{who:?}: {error}");
        assert!(extent(&world, "protect").contains("but for what was replaced"), "{who:?}");
    }
}

/// What is denied may not: the next call is as good as the first.
#[test]
fn a_call_ends_when_what_is_denied_is_replaced_and_the_next_one_works() {
    for who in both() {
        let world = world(who);
        let policy = world.policy("deny = [\"**/.env\"]");
        let child = start(&world, &policy, &["sh", "-c", "echo begun > log; sleep 20; echo late"]);
        while !world.work().join("log").exists() {
            std::thread::sleep(Duration::from_millis(5));
        }
        Outside { world: &world, count: 0 }.replace(".env", "SECRET");
        let output = child.wait_with_output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(137), 0), "{who:?}: {error}");
        assert!(error.contains("hint: run it again"), "{who:?}: {error}");
        assert!(extent(&world, "deny").starts_with("partial"), "{who:?}");
        let next = start(&world, &policy, &["sh", "-c", "cat .env; echo works"]).wait_with_output().unwrap();
        assert_eq!(next.stdout, b"works\n", "{who:?}: {}", String::from_utf8_lossy(&next.stderr));
        assert_eq!(extent(&world, "deny"), "full", "{who:?}");
    }
}
