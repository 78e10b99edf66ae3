//! A home with what a watch protects, and the watch of it, in a place where killing hits nobody else.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mantlet_ledger::{Change, Entry, Halt, Kind};
use rustix::process::{Pid, Signal, kill_process};

use crate::common::{Who, World, builder, code, err, is_root, out};

const ALONE: &str = "MANTLET_TEST_ALONE";

/// What stands in the files of the home before anybody comes.
pub(crate) const BASHRC: &str = "export EDITOR=vi\n";
pub(crate) const KEYS: &str = "ssh-ed25519 AAAAC3Nza owner@host\n";
pub(crate) const EVIL: &str = "ssh-ed25519 AAAAC3Evil somebody@else\n";
pub(crate) const OPENCLAW: &str = "{\n  \"meta\": {\n    \"lastTouchedAt\": \"2026-11-01T00:00:00.000Z\"\n  },\n  \"tools\": {\n    \"exec\": {\n      \"security\": \"deny\"\n    }\n  }\n}\n";
/// The policy's own part of the watch.
pub(crate) const WATCH: &str = "[watch]\nfiles = [\"~/named/file.txt\", \"~/named/dir\"]\n";

/// Whether to go on here. From root the test is first started again in namespaces of its own, and has passed when it has.
pub(crate) fn is_alone(test: &str) -> bool {
    if !is_root() || std::env::var_os(ALONE).is_some() {
        return true;
    }
    crate::common::programs();
    let status = Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private", "--"])
        // Root's records of installs would be everybody's.
        .args(["sh", "-c", "mount -t tmpfs none /var/lib && exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(ALONE, std::process::id().to_string())
        .status()
        .unwrap();
    assert!(status.success(), "{test} alone: {status}");
    false
}

/// A home with something of everything that is protected, and a policy.
pub(crate) fn world(name: &str, who: Who) -> World {
    world_with(name, who, WATCH)
}

/// As [`world`], with this behind the policy's agent.
pub(crate) fn world_with(name: &str, who: Who, more: &str) -> World {
    // Its name is its own: every test that is alone has the same pid.
    let outer = std::env::var(ALONE).unwrap_or_default();
    let world = World::new(&format!("watch-{name}-{outer}"), who);
    world.file("home/.bashrc", BASHRC);
    world.file("home/.ssh/authorized_keys", KEYS);
    world.file("home/.config/systemd/user/backup.service", "[Service]\nExecStart=/bin/true\n");
    world.file("home/.openclaw/openclaw.json", OPENCLAW);
    world.file("home/named/file.txt", "as it was\n");
    world.file("home/named/dir/a.txt", "a\n");
    world.file("home/named/dir/deep/b.txt", "b\n");
    world.file(world.policy(), builder(more));
    world
}

/// Waits until it holds.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "it never comes that {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A file's text; nothing for one that is not there, as it may be for a moment.
pub(crate) fn text(path: impl AsRef<std::path::Path>) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// A running `mantlet watch run`, ended with the test.
pub(crate) struct Watching<'w> {
    world: &'w World,
    child: Child,
    said: Arc<Mutex<String>>,
}

impl<'w> Watching<'w> {
    /// Starts it, and waits until it watches.
    #[track_caller]
    pub(crate) fn begin(world: &'w World) -> Watching<'w> {
        let watching = Watching::start(world.command("mantlet").args(["watch", "run"]), world);
        until("it watches", || watching.said().contains("watches "));
        watching
    }

    pub(crate) fn start(command: &mut Command, world: &'w World) -> Watching<'w> {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let said: Arc<Mutex<String>> = Arc::default();
        let (lines, keep) = (BufReader::new(child.stderr.take().unwrap()).lines(), Arc::clone(&said));
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                keep.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        Watching { world, child, said }
    }

    /// What it has said on standard error.
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    pub(crate) fn supervisor(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// The process that watches, once there is one.
    #[track_caller]
    pub(crate) fn watcher(&self) -> i32 {
        until("somebody watches", || pair(self.world).is_some());
        pair(self.world).unwrap().0
    }

    /// Ends it as a service manager does.
    #[track_caller]
    pub(crate) fn stop(mut self) -> ExitStatus {
        kill(self.supervisor(), Signal::TERM);
        self.ended()
    }

    /// Waits for the end of the process that was started.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        until("it ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{:?}: the watch said:\n{}", self.world.who, self.said());
        }
        // The supervisor first: it would start another. What takes its place comes after it.
        drop(self.child.kill());
        drop(self.child.wait());
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            let left = processes(self.world);
            if left.is_empty() {
                return;
            }
            for (pid, _) in left {
                kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).ok();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The watch's processes and their parents, found by the home in their environment.
pub(crate) fn processes(world: &World) -> Vec<(i32, i32)> {
    let home = format!("HOME={}", world.home().display());
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        let is_watch = words.contains(&b"--watching".as_slice())
            || words.windows(2).any(|pair| pair == [b"watch".as_slice(), b"run".as_slice()]);
        if is_watch && environment.split(|byte| *byte == 0).any(|line| line == home.as_bytes()) {
            let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
            let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok());
            found.push((pid, parent.unwrap_or(0)));
        }
    }
    found
}

/// The watching process and its supervisor, as they are now.
pub(crate) fn pair(world: &World) -> Option<(i32, i32)> {
    let all = processes(world);
    all.iter().find(|(_, parent)| all.iter().any(|(pid, _)| pid == parent)).copied()
}

pub(crate) fn kill(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

fn entries(world: &World) -> Vec<Entry> {
    let output = world.mantlet(&["log", "--json", "-n", "100000"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    out(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What the ledger says of protected files, and of the watch.
pub(crate) fn changes(world: &World) -> Vec<Change> {
    let each = entries(world).into_iter();
    each.filter_map(|entry| if let Kind::Change(change) = entry.kind { Some(change) } else { None }).collect()
}

/// The changes of one path with one outcome.
pub(crate) fn of(changes: &[Change], path: &std::path::Path, outcome: &str) -> Vec<Change> {
    let is_it = |change: &&Change| change.path == path.to_str().unwrap() && change.outcome == outcome;
    changes.iter().filter(is_it).cloned().collect()
}

pub(crate) fn halts(world: &World) -> Vec<Halt> {
    let each = entries(world).into_iter();
    each.filter_map(|entry| if let Kind::Halt(halt) = entry.kind { Some(halt) } else { None }).collect()
}

/// Calls `mantlet watch`.
pub(crate) fn watch(world: &World, words: &[&str]) -> Output {
    world.mantlet(&[&["watch"], words].concat())
}

#[track_caller]
pub(crate) fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}{}", out(output), err(output)))
}

/// Starts a line as a person types it, as the world's user.
pub(crate) fn typed(world: &World, line: &str) -> Child {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", line]).env_clear().env("HOME", world.home()).current_dir(world.work()).stdin(Stdio::null());
    command.env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", crate::common::programs().display()));
    if world.who == Who::User {
        command.uid(crate::common::USER).gid(crate::common::USER);
    }
    command.spawn().unwrap()
}

/// A person's line, which must work.
#[track_caller]
pub(crate) fn sh(world: &World, line: &str) -> String {
    let output = world.sh(line);
    assert_eq!(code(&output), 0, "{line}: {}{}", out(&output), err(&output));
    out(&output)
}

pub(crate) fn keys(world: &World) -> PathBuf {
    world.home().join(".ssh/authorized_keys")
}
