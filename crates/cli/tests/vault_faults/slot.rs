//! A throwaway home with a directory of secrets, put back as it was before each try; and the command under the tracer.
//!
//! Each worker keeps one path for all its tries: what Mantlet remembers of a file goes by its path.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

/// What no file, message or process may show.
pub const CANARY: &str = "canary-7f3a-hunter2";

/// A file's mode and contents; nothing for a directory.
pub type Files = BTreeMap<PathBuf, (u32, Option<Vec<u8>>)>;

pub struct Slot {
    pub top: PathBuf,
    child: Child,
    answers: BufReader<ChildStdout>,
}

/// How a command under the tracer ended.
pub struct Ended {
    pub code: i64,
    pub stdout: Vec<u8>,
    /// Both streams.
    pub said: String,
    /// The disturbed call; nothing when the command ended before.
    pub hit: Option<String>,
    /// The numbers of its calls that write to a file system, when nothing was disturbed.
    pub writes: Vec<(u64, String)>,
}

/// A disturbance of one call.
#[derive(Clone, Copy)]
pub struct Fault {
    pub what: &'static str,
    pub at: u64,
    pub errno: i32,
}

pub const NONE: Fault = Fault { what: "watch", at: 0, errno: 0 };

/// In memory where there is such a place: what counts here is order, and a disk would only be slow.
pub fn above() -> PathBuf {
    [Path::new("/dev/shm").to_owned(), std::env::temp_dir()].into_iter().find(|dir| dir.is_dir()).unwrap()
}

impl Slot {
    pub fn new(name: &str) -> Slot {
        let top = above().join(format!("mantlet-faults-{}-{name}", std::process::id()));
        let mut python = Command::new("python3");
        python.args(["-c", include_str!("tracer.py")]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = python.spawn().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Slot { top, child, answers }
    }

    pub fn work(&self) -> PathBuf {
        self.top.join("work")
    }

    /// Empties the home, and makes its identity.
    pub fn fresh(&self) {
        self.clear();
        for dir in ["home", "work/other", "run"] {
            fs::create_dir_all(self.top.join(dir)).unwrap();
        }
    }

    pub fn clear(&self) {
        if self.top.exists() {
            fs::remove_dir_all(&self.top).unwrap();
        }
    }

    pub fn write(&self, path: &str, text: &[u8]) {
        fs::write(self.work().join(path), text).unwrap();
    }

    pub fn env(&self) -> BTreeMap<String, String> {
        let at = |name: &str| self.top.join(name).to_str().unwrap().to_owned();
        [
            ("HOME", at("home")),
            ("XDG_RUNTIME_DIR", at("run")),
            ("PATH", "/usr/bin:/bin".into()),
            ("EDITOR", "sed -i s/A=/EDITED=/".into()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// Runs `mantlet` under the tracer to its end, disturbed or not.
    pub fn run(&mut self, args: &[&str], stdin: &str, fault: Fault) -> Ended {
        let program = env!("CARGO_BIN_EXE_mantlet");
        let argv = [&[program], args].concat();
        let request = json!({
            "argv": argv,
            "env": self.env(),
            "cwd": self.work(),
            "stdin": stdin,
            "do": fault.what,
            "at": fault.at,
            "errno": fault.errno,
        });
        writeln!(self.child.stdin.as_mut().unwrap(), "{request}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap();
        let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        let writes = answer["writes"].as_array().unwrap().iter();
        Ended {
            code: answer["code"].as_i64().unwrap(),
            stdout: text("stdout").chars().map(|byte| u8::try_from(u32::from(byte)).unwrap()).collect(),
            said: text("stdout") + &text("stderr"),
            hit: answer["hit"].as_str().map(str::to_owned),
            writes: writes.map(|w| (w[0].as_u64().unwrap(), w[1].as_str().unwrap().to_owned())).collect(),
        }
    }

    /// Runs `mantlet` without the tracer.
    pub fn alone(&self, args: &[&str], stdin: &str) -> Ended {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mantlet"));
        command.args(args).env_clear().envs(self.env()).current_dir(self.work());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // One that does not read its input may be gone.
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).ok();
        let output = child.wait_with_output().unwrap();
        let said = [&output.stdout[..], &output.stderr[..]].concat();
        Ended {
            code: output.status.code().unwrap_or(-1).into(),
            stdout: output.stdout,
            said: String::from_utf8_lossy(&said).into_owned(),
            hit: None,
            writes: Vec::new(),
        }
    }

    /// Runs `mantlet` undisturbed; it has to succeed.
    pub fn must(&self, args: &[&str], stdin: &str) -> String {
        let ended = self.alone(args, stdin);
        assert_eq!(ended.code, 0, "{args:?}: {}", ended.said);
        ended.said
    }

    /// Everything in the home, hidden or not.
    pub fn files(&self) -> Files {
        let mut found = Files::new();
        let mut rest = vec![self.top.clone()];
        while let Some(dir) = rest.pop() {
            for entry in fs::read_dir(&dir).unwrap() {
                let path = entry.unwrap().path();
                let meta = path.symlink_metadata().unwrap();
                let is_dir = meta.is_dir();
                let contents = if is_dir { None } else { Some(fs::read(&path).unwrap()) };
                found.insert(path.strip_prefix(&self.top).unwrap().into(), (meta.permissions().mode(), contents));
                if is_dir {
                    rest.push(path);
                }
            }
        }
        found
    }

    /// Puts the home back as it was.
    pub fn restore(&self, files: &Files) {
        self.clear();
        fs::create_dir(&self.top).unwrap();
        for (path, (mode, contents)) in files {
            let path = self.top.join(path);
            match contents {
                None => fs::create_dir(&path).unwrap(),
                Some(contents) => fs::write(&path, contents).unwrap(),
            }
            fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.clear();
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }
}
