//! A whole agent for one test: a home with a client's state, a policy, and runs of scripts in the client's place.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{USER_TEXT, Who, World, code, text};

const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Agent {
    world: World,
    client: &'static str,
    workspace: PathBuf,
}

impl Agent {
    pub(crate) fn new(name: &str, who: Who, client: &'static str) -> Agent {
        let world = World::new(name, who);
        let workspace = world.work();
        let agent = Agent { world, client, workspace };
        // What belongs to the owner of the workspace.
        agent.give(&agent.path(""));
        agent.policy();
        agent
    }

    /// With a workspace below the home.
    pub(crate) fn workspace_in(mut self, path: &str) -> Agent {
        self.home(&format!("{path}/README"), "ours");
        self.workspace = self.path(path);
        self.policy();
        self
    }

    fn policy(&self) {
        let text = format!(
            "version = 1\n[agent.main]\nrole = \"builder\"\nclient = \"{}\"\nworkspace = {:?}\n\
             [agent.main.env]\npass = [\"PASSED\"]\n[agent.other]\nrole = \"builder\"\nworkspace = {:?}\n",
            self.client,
            self.workspace,
            self.top().join("work")
        );
        fs::write(self.top().join("mantlet.toml"), text).unwrap();
        if self.world.who == Who::User {
            let id = USER_TEXT.parse().unwrap();
            std::os::unix::fs::chown(self.top().join("mantlet.toml"), Some(id), Some(id)).unwrap();
        }
    }

    /// Adds lines to the policy's end.
    pub(crate) fn add_policy(&self, lines: &str) {
        let path = self.top().join("mantlet.toml");
        fs::write(&path, fs::read_to_string(&path).unwrap() + lines).unwrap();
    }

    pub(crate) fn who(&self) -> Who {
        self.world.who
    }

    pub(crate) fn top(&self) -> &Path {
        self.world.top()
    }

    /// A path below the home.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.top().join("home").join(path)
    }

    pub(crate) fn workspace(&self) -> &Path {
        &self.workspace
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    /// Writes a file of the owner's below the home.
    pub(crate) fn home(&self, path: &str, content: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        let home = self.path("");
        path.ancestors().take_while(|p| *p != home.as_path()).for_each(|p| self.give(p));
    }

    /// Writes a file into the client's state.
    pub(crate) fn state(&self, path: &str, content: &str) {
        self.home(&format!(".{}/{path}", self.client), content);
    }

    fn give(&self, path: &Path) {
        self.world.give(fs::File::open(path).unwrap());
    }

    /// Everything below the home.
    pub(crate) fn names(&self) -> Vec<PathBuf> {
        let (mut out, mut pending) = (Vec::new(), vec![self.path("")]);
        while let Some(dir) = pending.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    pending.push(path.clone());
                }
                out.push(path);
            }
        }
        out.sort();
        out
    }

    pub(crate) fn ledger(&self) -> String {
        fs::read_to_string(self.top().join("state/mantlet/ledger/ledger.jsonl")).unwrap_or_default()
    }

    pub(crate) fn report(&self) -> Value {
        let text = fs::read_to_string(self.top().join("state/report")).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// `mantlet-run` with these words and the policy.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = self.world.jail_through(&[]);
        let policy = self.top().join("mantlet.toml");
        let (first, rest) = words.split_first().unwrap();
        command.arg(first).arg("--policy").arg(policy).args(rest).current_dir(&self.workspace);
        command
    }

    pub(crate) fn words(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    pub(crate) fn run(&self, script: &str) -> Output {
        self.run_with(script, &[])
    }

    pub(crate) fn run_with(&self, script: &str, env: &[(&str, &str)]) -> Output {
        self.command(&["run", "main", "--", "bash", "-c", script]).envs(env.iter().copied()).output().unwrap()
    }

    pub(crate) fn outside(&self, script: &str) -> Output {
        self.outside_with(script, &[])
    }

    /// The same script with no jail: the control.
    pub(crate) fn outside_with(&self, script: &str, env: &[(&str, &str)]) -> Output {
        let mut command = self.world.outside("/bin/bash");
        command.args(["-c", script]).current_dir(&self.workspace).envs(env.iter().copied()).output().unwrap()
    }

    /// Starts a run that is talked with.
    pub(crate) fn start(&self, script: &str) -> Run {
        let report = self.top().join("state/report");
        let mut command =
            self.command(&["run", "main", "--report", report.to_str().unwrap(), "--", "bash", "-c", script]);
        Run::start(&mut command)
    }

    /// The processes of a name whose parent, at any remove, was started here: told by the state directory in use.
    pub(crate) fn processes(&self, name: &str) -> Vec<i32> {
        let mark = self.top().as_os_str().as_encoded_bytes().to_vec();
        let mut out = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<i32>().ok()) else { continue };
            let read = |file: &str| fs::read(entry.path().join(file)).unwrap_or_default();
            let comm = text(&read("comm"));
            // A zombie has ended.
            if !name.starts_with(comm.trim_end()) || comm.is_empty() || text(&read("stat")).contains(") Z ") {
                continue;
            }
            let (environ, cmdline) = (read("environ"), read("cmdline"));
            if [environ, cmdline].iter().any(|bytes| bytes.windows(mark.len()).any(|w| w == mark)) {
                out.push(pid);
            }
        }
        out
    }
}

pub(crate) fn kill(pid: i32, signal: &str) {
    Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).stderr(Stdio::null()).status().ok();
}

#[track_caller]
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "it never comes that {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A run that goes on.
pub(crate) struct Run {
    child: Child,
    input: Option<ChildStdin>,
    output: Receiver<Vec<u8>>,
    error: Receiver<Vec<u8>>,
    seen: String,
}

fn reader(mut from: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if sender.send(buffer[..count].to_vec()).is_err() {
                break;
            }
        }
    });
    receiver
}

impl Run {
    pub(crate) fn start(command: &mut Command) -> Run {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (output, error) = (reader(child.stdout.take().unwrap()), reader(child.stderr.take().unwrap()));
        Run { input: child.stdin.take(), child, output, error, seen: String::new() }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a text, and answers everything up to its end.
    #[track_caller]
    pub(crate) fn expect(&mut self, wanted: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.seen.find(wanted) {
                let rest = self.seen.split_off(at + wanted.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            match self.output.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.seen.push_str(&text(&bytes)),
                Err(e) => {
                    let error: Vec<u8> = self.error.try_iter().flatten().collect();
                    let is_over = if e == RecvTimeoutError::Timeout { "still runs" } else { "is over" };
                    panic!("{wanted:?} does not come; it {is_over}; seen: {:?}; said: {}", self.seen, text(&error));
                }
            }
        }
    }

    pub(crate) fn say(&mut self, line: &str) {
        self.input.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
    }

    /// Ends its input.
    pub(crate) fn close(&mut self) {
        self.input = None;
    }

    pub(crate) fn signal(&self, name: &str) {
        kill(i32::try_from(self.child.id()).unwrap(), name);
    }

    #[track_caller]
    pub(crate) fn wait(&mut self) -> i32 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return code(status);
            }
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for the end: the exit code, and what it said on standard error.
    #[track_caller]
    pub(crate) fn end(mut self) -> (i32, String) {
        self.input = None;
        let code = self.wait();
        let error: Vec<u8> = self.error.iter().flatten().collect();
        (code, text(&error))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // A failed test leaves nothing running.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
