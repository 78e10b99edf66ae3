//! What a jailed command can do to the owner's other processes and files where the jail has no namespaces, or no
//! /proc of its own. Each attack succeeds without the jail, on the same host shape and as the same user.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test; the lint's own exception does not reach its helpers")]

mod world;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use world::{Caller, World, callers, told};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/world/neighbour.py");

/// What Landlock does not judge, and the report says so (G-08).
const OPEN_WITHOUT_NAMESPACES: [&str; 5] = ["chmod", "utime", "name", "cmdline", "net"];
/// What a /proc that is the host's shows, and the report says so.
const OPEN_BELOW_A_MASKED_PROC: [&str; 2] = ["cmdline", "net"];

/// A process of the owner's, outside every jail, on a host of some shape; commands run beside it there.
struct Neighbour {
    host: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    made: Value,
    top: PathBuf,
}

impl Neighbour {
    fn start(world: &World, shape: &str) -> Neighbour {
        let top = world.top.join("neighbour");
        std::fs::create_dir(&top).unwrap();
        std::fs::write(top.join("file"), "outside").unwrap();
        if rustix::process::geteuid().is_root() {
            for path in [&top, &top.join("file")] {
                std::os::unix::fs::chown(path, Some(world.jailed()), Some(world.jailed())).unwrap();
            }
        }
        let mut command = world.on_host(shape, world.calling());
        command.args(["python3", SCRIPT, "host"]).arg(&top).arg(world.jailed().to_string());
        let mut host = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (host.stdin.take(), BufReader::new(host.stdout.take().unwrap()));
        let mut neighbour = Neighbour { host, input, output, made: Value::Null, top };
        neighbour.made = neighbour.hear();
        neighbour
    }

    fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("the neighbour said {line:?}: {e}"))
    }

    fn attack(&mut self, world: &World, jail: &[&str], uid: u32) -> BTreeMap<String, String> {
        std::fs::copy(SCRIPT, world.work().join("neighbour.py")).unwrap();
        let (made, top, home) = (self.made.to_string(), self.top.to_str().unwrap(), world.home());
        let words = ["python3", "neighbour.py", "attack", &made, top, home.to_str().unwrap()];
        let argv: Vec<&str> = jail.iter().copied().chain(words).collect();
        writeln!(self.input.as_mut().unwrap(), "{}", serde_json::json!({ "argv": argv, "uid": uid })).unwrap();
        let told = self.hear();
        let pairs = told["out"].as_str().unwrap().lines().filter_map(|l| l.split_once(' '));
        let outcomes: BTreeMap<_, _> = pairs.map(|(a, b)| (a.to_owned(), b.to_owned())).collect();
        assert!(outcomes.len() > 40, "{told}");
        outcomes
    }

    fn was_signalled(&self) -> bool {
        let deadline = Instant::now() + Duration::from_millis(300);
        while Instant::now() < deadline && !self.top.join("signalled").exists() {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.top.join("signalled").exists()
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        // The end of its input ends it; what the control arm made goes with it.
        drop(self.input.take());
        self.host.wait().unwrap();
        for dir in ["/tmp", "/dev/shm"] {
            std::fs::remove_file(format!("{dir}/mantlet-neighbour-{}", self.made["pid"])).ok();
        }
    }
}

fn done(outcomes: &BTreeMap<String, String>) -> Vec<&str> {
    outcomes.iter().filter(|(_, o)| *o == "done").map(|(n, _)| n.as_str()).collect()
}

/// The control arm last: it does what it tries.
fn try_both(name: &str, shape: &str, policy: &str, open: &[&str]) {
    for caller in callers().into_iter().filter(|c| *c != Caller::Root) {
        let world = World::new(name, caller);
        world.policy(policy);
        let mut neighbour = Neighbour::start(&world, shape);
        let jailer = world.jailer();
        let jail = [jailer.to_str().unwrap(), "exec", "--timeout", "20s", "--"];
        let inside = neighbour.attack(&world, &jail, world.calling());
        let mut open = open.to_vec();
        open.sort_unstable();
        let private: &[&str] = if policy.contains("landlock") { &[] } else { &PRIVATE };
        let reached: Vec<&str> = done(&inside).into_iter().filter(|n| !private.contains(n)).collect();
        assert_eq!(reached, open, "{caller:?} on {shape}: {inside:?}");
        assert!(!neighbour.was_signalled(), "{caller:?} on {shape}");
        let files = |dir: PathBuf| world.names(&dir);
        assert_eq!(files(neighbour.top.clone()), ["file", "sock"], "{caller:?} on {shape}");
        assert_eq!(std::fs::read_to_string(neighbour.top.join("file")).unwrap(), "outside");
        let outside = neighbour.attack(&world, &[], world.jailed());
        let failed: Vec<_> = outside.iter().filter(|(_, o)| *o != "done").collect();
        assert!(failed.is_empty(), "the control arm failed, {caller:?} on {shape}: {failed:?}");
        assert!(neighbour.was_signalled(), "the control arm's signal did not arrive");
    }
}

/// In the tier full these succeed on the jail's own: its /tmp, its sockets, its netlink.
const PRIVATE: [&str; 3] = ["tmp", "dev-shm", "netlink"];

#[test]
fn without_namespaces_the_owners_other_processes_and_files_are_out_of_reach() {
    try_both("bare", "clone-refused", "tier = \"landlock\"\n", &OPEN_WITHOUT_NAMESPACES);
}

#[test]
fn below_a_masked_proc_the_memory_environment_and_files_of_processes_outside_are_out_of_reach() {
    try_both("mask", "masked-proc", "tier = \"full\"\n", &OPEN_BELOW_A_MASKED_PROC);
}

#[test]
fn with_all_granted_a_neighbour_does_not_exist() {
    try_both("none", "granted", "tier = \"full\"\n", &[]);
}

#[test]
fn without_a_pid_namespace_everything_the_command_started_is_dead_when_the_call_returns() {
    for caller in callers().into_iter().filter(|c| *c != Caller::Root) {
        let world = World::new("left", caller);
        world.policy("tier = \"landlock\"\n");
        let line = "for i in 1 2 3; do (setsid sh -c 'exec sleep 4321' &) ; done; nohup sleep 4321 & \
                    trap '' TERM HUP; (while :; do :; done) & sleep 0.1; echo $$ > pid; cat /proc/self/stat >&2; exit 7";
        let call = world.call("clone-refused", line);
        assert_eq!((call.code, call.tier()), (7, "landlock"), "{call:?}");
        // The jail's own init has nothing left to do, and goes when the caller has its answer.
        let is_init = |line: &String| line.contains("mantlet-run exec");
        let (_, left): (Vec<_>, Vec<_>) = of_uid(&world).into_iter().partition(is_init);
        assert!(left.is_empty(), "{caller:?}: {left:?}");
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while !of_uid(&world).is_empty() {
            assert!(std::time::Instant::now() < deadline, "{caller:?}: {:?}", of_uid(&world));
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

/// The processes that stand in the workspace.
fn of_uid(world: &World) -> Vec<String> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        if std::fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == world.work()) {
            let text = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            out.push(String::from_utf8_lossy(&text).replace('\0', " "));
        }
    }
    out
}

#[test]
fn without_namespaces_a_terminal_is_a_terminal() {
    // The pty module is the terminal's other side: it copies what comes and passes the exit code on.
    let script = "import os,pty,sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";
    for caller in callers().into_iter().filter(|c| *c != Caller::Root) {
        let world = World::new("tty", caller);
        world.policy("tier = \"landlock\"\n");
        let jail = world.jail("clone-refused");
        let mut command = std::process::Command::new("timeout");
        command.args(["20", "python3", "-c", script]).arg(jail.get_program()).args(jail.get_args());
        command.args(["-c", "test -t 0 && test -t 1 && test -t 2 && echo terminal; echo own > /dev/tty; exit 3"]);
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", world.home());
        let call = told(&command.current_dir(world.work()).stdin(Stdio::null()).output().unwrap());
        assert_eq!(call.code, 3, "{caller:?}: {call:?}");
        assert!(call.out.contains("terminal") && call.out.contains("own"), "{caller:?}: {call:?}");
    }
}
