//! A throwaway owner for the tests of host shapes: a home with a secret, a policy, a workspace, the jailer, and calls.
//!
//! `tests/shape` gives each call another host to run on. As root every kind of caller is tried, else the one there is.
#![allow(dead_code, clippy::print_stderr, reason = "each test program uses its own part, and says what it cannot try")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The script that makes a host of another shape.
pub(crate) const SHAPE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/shape");

/// An account that the host need not have.
const UID: u32 = 61_234;

/// Who calls, and whose the workspace is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// An ordinary user.
    User,
    /// Root, for a workspace of an ordinary user.
    RootForUser,
    /// Root, for a workspace of root's.
    Root,
}

/// Every kind of caller that this host lets us be; the others are named.
pub(crate) fn callers() -> Vec<Caller> {
    if rustix::process::geteuid().is_root() {
        return vec![Caller::User, Caller::RootForUser, Caller::Root];
    }
    eprintln!("not root: the callers RootForUser and Root are NOT tried");
    vec![Caller::User]
}

/// What a call came to.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) report: Value,
}

impl Call {
    pub(crate) fn mechanism(&self, name: &str) -> &str {
        self.report["mechanisms"][name].as_str().unwrap_or("absent")
    }
    pub(crate) fn tier(&self) -> &str {
        self.report["tier"].as_str().unwrap_or("none")
    }
    pub(crate) fn reason(&self) -> &str {
        self.report["reason"].as_str().unwrap_or("")
    }
}

/// One owner's home and all that belongs to it.
pub(crate) struct World {
    pub(crate) top: PathBuf,
    pub(crate) caller: Caller,
}

impl World {
    pub(crate) fn new(name: &str, caller: Caller) -> World {
        let top = std::env::temp_dir().join(format!("mantlet-{name}-{caller:?}-{}", std::process::id()));
        let world = World { top, caller };
        fs::create_dir_all(world.home().join(".config/mantlet")).unwrap();
        for dir in [world.work(), world.top.join("bin"), world.top.join("out")] {
            fs::create_dir(dir).unwrap();
        }
        fs::copy(env!("CARGO_BIN_EXE_mantlet-run"), world.jailer()).unwrap();
        fs::write(world.secret(), "canary-of-the-owner\n").unwrap();
        for dir in ["", "home", "home/.config", "home/.config/mantlet"] {
            fs::set_permissions(world.top.join(dir), fs::Permissions::from_mode(0o755)).unwrap();
        }
        // Readable to the jail's own uid: nothing but Mantlet is in the way.
        fs::set_permissions(world.secret(), fs::Permissions::from_mode(0o600)).unwrap();
        world.own(&world.secret(), world.jailed());
        world.own(&world.work(), world.jailed());
        let all = ["", "out", "home", "home/.config", "home/.config/mantlet"];
        all.iter().for_each(|path| world.own(&world.top.join(path), world.calling()));
        world.policy("tier = \"full\"\n");
        world
    }

    fn own(&self, path: &Path, uid: u32) {
        if rustix::process::geteuid().is_root() {
            chown(path, Some(uid), Some(uid)).unwrap();
        }
    }

    /// The caller's uid.
    pub(crate) fn calling(&self) -> u32 {
        let own = rustix::process::geteuid().as_raw();
        if own == 0 && self.caller == Caller::User { UID } else { own }
    }

    /// The uid that owns the workspace and the secret.
    pub(crate) fn jailed(&self) -> u32 {
        if self.caller == Caller::RootForUser { UID } else { self.calling() }
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.top.join("home")
    }
    pub(crate) fn work(&self) -> PathBuf {
        self.top.join("home/work")
    }
    pub(crate) fn secret(&self) -> PathBuf {
        self.top.join("home/secret")
    }
    pub(crate) fn state(&self) -> PathBuf {
        self.top.join("home/.local/state/mantlet")
    }
    pub(crate) fn jailer(&self) -> PathBuf {
        self.top.join("bin/mantlet-run")
    }

    /// Writes the policy: an agent in the workspace, with more lines of its section.
    pub(crate) fn policy(&self, lines: &str) {
        let path = self.home().join(".config/mantlet/mantlet.toml");
        let work = self.work();
        let text = format!("version = 1\n[agent.main]\nrole = \"builder\"\nworkspace = {work:?}\n{lines}");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        self.own(&path, self.calling());
    }

    /// A program on a host of that shape, as a uid, in the workspace.
    pub(crate) fn on_host(&self, shape: &str, uid: u32) -> Command {
        // A call that hangs is a failure, not a wait. In the foreground: a terminal is not taken from it.
        let mut command = Command::new("timeout");
        command.args(["--foreground", "60", SHAPE, shape]);
        if uid != rustix::process::geteuid().as_raw() {
            command.args(["--uid", &uid.to_string()]);
        }
        command.arg("--").env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", self.home());
        command.current_dir(self.work()).stdin(Stdio::null());
        command
    }

    /// The jailer on a host of that shape, up to its `exec`.
    pub(crate) fn jail(&self, shape: &str) -> Command {
        let mut command = self.on_host(shape, self.calling());
        command.arg(self.jailer()).args(["exec", "--timeout", "20s"]);
        command
    }

    /// A shell line in the jail, with its report.
    pub(crate) fn call(&self, shape: &str, line: &str) -> Call {
        let path = self.top.join("out/report");
        fs::remove_file(&path).ok();
        let output = self.jail(shape).arg("--report").arg(&path).args(["-c", line]).output().unwrap();
        let text = fs::read_to_string(&path).unwrap_or_default();
        let told = told(&output);
        let report = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{shape}: no report ({e}): {told:?}"));
        Call { report, ..told }
    }

    /// Names below a directory of the world that a call should not have left.
    pub(crate) fn names(&self, dir: &Path) -> Vec<String> {
        let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Nothing of a call is left: no journal entry, no private directory, no control group.
    pub(crate) fn assert_clean(&self, call: &Call, what: &str) {
        let id = call.report["call"].as_str().unwrap();
        let mut places = vec![format!("/tmp/mantlet-{id}")];
        for group in fs::read_to_string("/proc/self/cgroup").unwrap_or_default().lines() {
            let mut fields = group.splitn(3, ':').skip(1);
            let (controller, inside) = (fields.next().unwrap(), fields.next().unwrap());
            places.push(format!("/sys/fs/cgroup/{controller}{inside}/mantlet-{id}"));
        }
        places.retain(|_| !id.is_empty());
        let left = || {
            let names = ["journal", "private"].iter().flat_map(|dir| self.names(&self.state().join(dir)));
            places.iter().filter(|p| Path::new(p).exists()).cloned().chain(names).collect::<Vec<_>>()
        };
        // The monitor cleans up after it has answered.
        let deadline = Instant::now() + Duration::from_secs(5);
        while !left().is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(left(), [""; 0], "{what}");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.top).unwrap();
    }
}

/// What a program said, without a report.
pub(crate) fn told(output: &Output) -> Call {
    Call {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
        report: Value::Null,
    }
}

/// The owner of a file, as the host sees it.
pub(crate) fn owner(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().uid()
}
