//! Throwaway worlds for the tests of what goes on in the jail, and the comparison with the same outside.
//!
//! A script runs twice in one place that was made anew: outside, then in the jail. What it prints, how it ends and
//! which files it leaves must not differ. As root this is done for each way a jail gets its ids, also for a user.
#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test; the lint's own exception does not reach its helpers")]

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// An ordinary user of no system's account database.
const USER: u32 = 1_234_567;
pub(crate) const USER_TEXT: &str = "1234567";

/// Who calls, and whose the workspace is: each gives the jail its ids in another way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// Root, in a workspace of root's: ids are mapped at the mount.
    Root,
    /// Root, in a workspace of a user's: the jail has that user's ids.
    RootForUser,
    /// An ordinary user, whom root becomes for it.
    User,
    /// An ordinary user who runs the tests.
    Caller,
}

/// Everyone that the caller of the tests can be.
pub(crate) fn everyone() -> Vec<Who> {
    if is_root() { vec![Who::Root, Who::RootForUser, Who::User] } else { vec![Who::Caller] }
}

/// As [`everyone`], without the way that differs from the others in nothing but ids.
pub(crate) fn both() -> Vec<Who> {
    everyone().into_iter().filter(|who| *who != Who::RootForUser).collect()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A home, a workspace and a state directory, with a copy of the program where everyone can reach it.
pub(crate) struct World {
    top: PathBuf,
    pub(crate) who: Who,
    bound: Option<PathBuf>,
}

impl World {
    pub(crate) fn new(name: &str, who: Who) -> World {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let top = std::env::temp_dir().join(format!("mantlet-{name}-{}-{count}", std::process::id()));
        std::fs::create_dir_all(top.join("bin")).unwrap();
        for dir in [top.clone(), top.join("bin")] {
            std::fs::set_permissions(dir, PermissionsExt::from_mode(0o755)).unwrap();
        }
        // The build's own directory may be out of a user's reach. Not copied by this process: a test beside this one
        // may fork while the copy is open for writing, and then it cannot be executed (ETXTBSY).
        let (own, copy) = (env!("CARGO_BIN_EXE_mantlet-run"), top.join("bin/mantlet-run"));
        if std::fs::hard_link(own, &copy).is_err() {
            assert!(Command::new("cp").arg(own).arg(&copy).status().unwrap().success());
        }
        let world = World { top, who, bound: None };
        world.make("state", who == Who::User);
        world.make("home", world.is_users());
        world.make("work", world.is_users());
        world
    }

    /// Whether the workspace belongs to the user whom root becomes.
    fn is_users(&self) -> bool {
        matches!(self.who, Who::User | Who::RootForUser)
    }

    fn make(&self, name: &str, is_users: bool) {
        let path = self.top.join(name);
        std::fs::create_dir_all(&path).unwrap();
        if is_users {
            std::os::unix::fs::chown(&path, Some(USER), Some(USER)).unwrap();
        }
    }

    pub(crate) fn top(&self) -> &Path {
        &self.top
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.top.join("work")
    }

    /// Writes a file of the owner's, as if it had been there before any call.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.work().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        if self.is_users() {
            let own = path.ancestors().take_while(|p| *p != self.work());
            own.for_each(|p| std::os::unix::fs::chown(p, Some(USER), Some(USER)).unwrap());
        }
    }

    /// Writes a policy whose agent has this workspace, and whose `[agent.main.files]` says `files`.
    pub(crate) fn policy(&self, files: &str) -> PathBuf {
        let path = self.top.join("mantlet.toml");
        let head = format!("version = 1\n[agent.main]\nrole = \"builder\"\nworkspace = {:?}\n", self.work());
        std::fs::write(&path, format!("{head}[agent.main.files]\n{files}\n")).unwrap();
        if self.who == Who::User {
            std::os::unix::fs::chown(&path, Some(USER), Some(USER)).unwrap();
        }
        path
    }

    /// Everything of a jail's environment that a script may see, also outside.
    fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        vec![
            ("HOME", self.top.join("home")),
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into()),
            ("LANG", "C.UTF-8".into()),
            ("TERM", "dumb".into()),
            ("SHELL", "/bin/sh".into()),
        ]
    }

    /// A command of the owner's, outside, with the jail's environment.
    pub(crate) fn outside(&self, program: &str) -> Command {
        self.command(Path::new(program), self.is_users())
    }

    /// `mantlet-run exec`, to be given its options and command.
    pub(crate) fn jail(&self) -> Command {
        let mut command = self.jail_through(&[]);
        command.arg("exec");
        command
    }

    /// `mantlet-run` started by other programs, each with its arguments.
    pub(crate) fn jail_through(&self, before: &[&str]) -> Command {
        let own = self.top.join("bin/mantlet-run");
        let is_users = self.who == Who::User;
        let mut command = match before {
            [] => self.command(&own, is_users),
            [first, rest @ ..] => {
                let mut command = self.command(Path::new(first), is_users);
                command.args(rest).arg(own);
                command
            }
        };
        command.env("XDG_STATE_HOME", self.top.join("state"));
        command
    }

    /// Shows a directory of root's to everyone, in a mount namespace of each command's own. Answers its path there.
    pub(crate) fn bind(&mut self, source: &Path) -> PathBuf {
        if !is_root() {
            return source.to_owned();
        }
        self.bound = Some(source.to_owned());
        self.make("bound", false);
        self.top.join("bound")
    }

    fn command(&self, program: &Path, is_users: bool) -> Command {
        if let Some(bound) = &self.bound {
            let mut command = Command::new("unshare");
            let line = "mount --bind \"$1\" \"$2\"; shift 2; exec \"$@\"";
            command.args(["--mount", "sh", "-ec", line, "sh"]).args([bound, &self.top.join("bound")]);
            if is_users {
                command.args(["setpriv", "--clear-groups", &format!("--reuid={USER}"), &format!("--regid={USER}")]);
            }
            command.arg(program).env_clear().envs(self.environment()).current_dir(self.work()).stdin(Stdio::null());
            return command;
        }
        let mut command = Command::new(program);
        command.env_clear().envs(self.environment()).current_dir(self.work()).stdin(Stdio::null());
        if is_users && is_root() {
            // Other groups go with root's uid.
            command.uid(USER).gid(USER);
        }
        command
    }

    /// Runs a line in the jail.
    pub(crate) fn run(&self, line: &str) -> Output {
        self.output(self.jail().args(["--timeout", "120s", "-c", line]))
    }

    /// Runs a line in the jail of a policy, and answers its report as well.
    pub(crate) fn run_with(&self, policy: &Path, line: &str) -> (Output, serde_json::Value) {
        let report = self.top.join("state/report.json");
        let mut command = self.jail();
        command.arg("--policy").arg(policy).arg("--report").arg(&report).args(["-c", line]);
        let output = self.output(&mut command);
        let text = std::fs::read(report).unwrap();
        (output, serde_json::from_slice(&text).unwrap_or_default())
    }

    /// Runs a line outside. A call that began within the same tick of the kernel's clock (10 ms at most) could not tell by
    /// their times what the line wrote from its own, and would review it.
    pub(crate) fn run_outside(&self, line: &str) -> Output {
        let output = self.output(self.outside("/bin/bash").args(["-c", line]));
        std::thread::sleep(Duration::from_millis(10));
        output
    }

    /// Makes an open thing that of whoever the commands run as, as it would be had they made it.
    pub(crate) fn give(&self, thing: impl std::os::fd::AsFd) {
        if self.is_users() {
            std::os::unix::fs::fchown(thing, Some(USER), Some(USER)).unwrap();
        }
    }

    /// Runs a command with pipes that belong to whoever it runs as, like those that a shell of theirs makes.
    fn output(&self, command: &mut Command) -> Output {
        let mut ends = Vec::new();
        for _ in 0..2 {
            let (reader, writer) = std::io::pipe().unwrap();
            self.give(&writer);
            ends.push((reader, writer));
        }
        let (error, error_end) = ends.pop().unwrap();
        let (normal, normal_end) = ends.pop().unwrap();
        let mut child = command.stdout(normal_end).stderr(error_end).spawn().unwrap();
        // The command holds the other ends.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let read = |mut end: std::io::PipeReader| {
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                end.read_to_end(&mut bytes).unwrap();
                bytes
            })
        };
        let (normal, error) = (read(normal), read(error));
        let status = child.wait().unwrap();
        Output { status, stdout: normal.join().unwrap(), stderr: error.join().unwrap() }
    }

    /// Empties the workspace and the home.
    pub(crate) fn reset(&self) {
        for name in ["work", "home"] {
            for entry in std::fs::read_dir(self.top.join(name)).unwrap() {
                let path = entry.unwrap().path();
                if path.symlink_metadata().unwrap().is_dir() {
                    std::fs::remove_dir_all(path).unwrap();
                } else {
                    std::fs::remove_file(path).unwrap();
                }
            }
        }
    }

    /// Every path below the workspace with its kind and mode, its owner and, for files, its size.
    pub(crate) fn tree(&self) -> BTreeMap<String, String> {
        let mut out = BTreeMap::new();
        let mut pending = vec![self.work()];
        while let Some(dir) = pending.pop() {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                let meta = path.symlink_metadata().unwrap();
                let size = if meta.is_file() { meta.len() } else { 0 };
                let what = format!("{:o} {}:{} {size}", meta.mode(), meta.uid(), meta.gid());
                let name = path.strip_prefix(self.work()).unwrap().as_os_str().as_bytes().escape_ascii().to_string();
                out.insert(name, what);
                if meta.is_dir() {
                    pending.push(path);
                }
            }
        }
        out
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let removed = std::fs::remove_dir_all(&self.top);
        assert!(removed.is_ok() || std::thread::panicking(), "{:?} cannot be removed: {removed:?}", self.top);
    }
}

/// The exit code as a shell tells it: 128+n for a signal.
pub(crate) fn code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|n| 128 + n)).unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Fails with all that a command said.
#[track_caller]
pub(crate) fn must_succeed(output: &Output, what: &str) {
    let Output { status, stdout, stderr } = output;
    assert!(status.success(), "{what}: {status}\n--- stdout\n{}\n--- stderr\n{}", text(stdout), text(stderr));
}

/// What of the files that a script leaves is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Files {
    /// Names, kinds, modes, owners and sizes.
    Same,
    /// Nothing: the script's tools choose names or sizes by the clock or by chance.
    Vary,
}

/// Runs a script outside and in the jail, for everyone, and compares.
///
/// It stops at the first command that fails: then it has failed outside as well, and that is an error of the test or
/// a missing program. Its output must end with `done`, so that no half of a script passes.
#[track_caller]
pub(crate) fn same_inside(name: &str, files: Files, script: &str) {
    same_inside_with(name, files, "", script);
}

/// As [`same_inside`]; `prepare` runs outside before each of the two.
#[track_caller]
pub(crate) fn same_inside_with(name: &str, files: Files, prepare: &str, script: &str) {
    let line = format!("set -eu -o pipefail\n{script}\necho done\n");
    for who in everyone() {
        let world = World::new(name, who);
        let prepare = |world: &World| {
            must_succeed(&world.run_outside(&format!("set -eu\n{prepare}")), "preparing");
        };
        prepare(&world);
        let outside = world.run_outside(&line);
        must_succeed(
            &outside,
            "this fails outside the jail as well: is a program of `./test --only packages` missing?",
        );
        let tree_outside = world.tree();
        world.reset();
        prepare(&world);
        let inside = world.run(&line);
        let tree_inside = world.tree();
        let as_text =
            |o: &Output| format!("{}\n--- stdout\n{}\n--- stderr\n{}", o.status, text(&o.stdout), text(&o.stderr));
        assert!(
            inside == outside,
            "{name} as {who:?} differs\n=== outside: {}\n=== inside: {}",
            as_text(&outside),
            as_text(&inside)
        );
        assert!(outside.stdout.ends_with(b"done\n"), "{name}: the script does not come to its end");
        if files == Files::Same {
            assert_eq!(tree_inside, tree_outside, "{name} as {who:?}: other files");
        }
    }
}
