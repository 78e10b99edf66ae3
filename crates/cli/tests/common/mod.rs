//! A home that exists only for one test, and the built programs in it, for each kind of user the test can be.
#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test; the lint's own exception does not reach its helpers here")]

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Whose call it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// The user who runs the tests.
    Me,
    /// An ordinary user, when root runs them. No account has this id.
    User,
}

/// The id of [`Who::User`].
pub const USER: u32 = 61234;

/// Everybody that a test about ids is run for.
pub fn everybody() -> Vec<Who> {
    match is_root() {
        true => vec![Who::Me, Who::User],
        false => vec![Who::Me],
    }
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The programs that `mantlet` expects beside itself.
const BESIDE: [&str; 2] = ["mantlet-run", "mantlet-probe"];

/// The directory with `mantlet` and what belongs beside it: every user can reach it, and all are of one source.
pub fn programs() -> &'static Path {
    static PLACE: OnceLock<PathBuf> = OnceLock::new();
    PLACE.get_or_init(|| {
        let mantlet = Path::new(env!("CARGO_BIN_EXE_mantlet"));
        build_beside(mantlet);
        let place = mantlet.parent().unwrap();
        let is_open = |dir: &Path| fs::metadata(dir).unwrap().permissions().mode() & 0o001 != 0;
        match place.ancestors().all(is_open) {
            true => place.to_owned(),
            false => copied(place),
        }
    })
}

/// `cargo test -p mantlet-cli` builds `mantlet` only, and an old jailer would be tested.
fn build_beside(mantlet: &Path) {
    let mut above = mantlet.ancestors().skip(1);
    let profile = match above.next().unwrap().file_name().unwrap().to_str().unwrap() {
        "debug" => "dev",
        other => other,
    };
    let target = above.nth(1).unwrap();
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked", "--offline", "--workspace"])
        .args(BESIDE.iter().flat_map(|name| ["--bin", name]))
        .args(["--profile", profile, "--target-dir"])
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .unwrap();
    assert!(status.success() && BESIDE.iter().all(|name| mantlet.with_file_name(name).is_file()));
}

/// A clone below /root is closed to others: the programs are put where every user can start them.
fn copied(from: &Path) -> PathBuf {
    let to = std::env::temp_dir().join("mantlet-cli-programs");
    let pid = std::process::id();
    fs::create_dir_all(&to).unwrap();
    for name in BESIDE.iter().chain(&["mantlet"]) {
        let temporary = to.join(format!("{name}.{pid}"));
        fs::copy(from.join(name), &temporary).unwrap();
        fs::rename(&temporary, to.join(name)).unwrap();
    }
    to
}

/// A home with a workspace `work` in it.
pub struct World {
    pub top: PathBuf,
    pub who: Who,
    env: Vec<(OsString, OsString)>,
}

impl World {
    pub fn new(name: &str, who: Who) -> World {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let top = std::env::temp_dir().join(format!("mantlet-{name}-{}-{number}", std::process::id()));
        let world = World { top, who, env: Vec::new() };
        fs::create_dir_all(&world.top).unwrap();
        fs::set_permissions(&world.top, fs::Permissions::from_mode(0o755)).unwrap();
        world.dir("home/work");
        world
    }

    pub fn home(&self) -> PathBuf {
        self.top.join("home")
    }
    pub fn work(&self) -> PathBuf {
        self.home().join("work")
    }
    pub fn policy(&self) -> PathBuf {
        self.home().join(".config/mantlet/mantlet.toml")
    }
    pub fn state(&self) -> PathBuf {
        self.home().join(".local/state/mantlet")
    }

    /// Adds to the environment of every call.
    pub fn env(&mut self, name: &str, value: impl Into<OsString>) {
        self.env.push((name.into(), value.into()));
    }

    /// Gives a path to the user of this world.
    pub fn own(&self, path: &Path) {
        if self.who == Who::User {
            std::os::unix::fs::lchown(path, Some(USER), Some(USER)).unwrap();
        }
    }

    /// Makes a directory and those above it.
    pub fn dir(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = self.top.join(path);
        let mut missing: Vec<&Path> = path.ancestors().take_while(|p| !p.exists()).collect();
        while let Some(next) = missing.pop() {
            fs::create_dir(next).unwrap();
            fs::set_permissions(next, fs::Permissions::from_mode(0o755)).unwrap();
            self.own(next);
        }
        path
    }

    /// Writes a file, with what is missing above it.
    pub fn file(&self, path: impl AsRef<Path>, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.top.join(path);
        self.dir(path.parent().unwrap());
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        self.own(&path);
        path
    }

    /// Writes a program.
    pub fn program(&self, path: impl AsRef<Path>, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.file(path, text);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// Writes the policy: a builder in `work`, and what else is given.
    pub fn builder(&self, more: &str) -> PathBuf {
        self.file(self.policy(), builder(more))
    }

    /// A program of ours, in this home and nothing of the caller's environment.
    pub fn command(&self, program: &str) -> Command {
        self.plain(&programs().join(program))
    }

    fn plain(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", programs().display());
        command.env_clear().env("HOME", self.home()).env("PATH", path).envs(self.env.iter().cloned());
        command.current_dir(self.work()).stdin(Stdio::null());
        if self.who == Who::User {
            command.uid(USER).gid(USER);
        }
        command
    }

    pub fn mantlet<A: AsRef<OsStr>>(&self, args: &[A]) -> Output {
        self.command("mantlet").args(args).output().unwrap()
    }

    /// `mantlet exec --timeout 20s` with these words.
    pub fn exec<A: AsRef<OsStr>>(&self, args: &[A]) -> Output {
        self.command("mantlet").args(["exec", "--timeout", "20s"]).args(args).output().unwrap()
    }

    /// A line as a person types it.
    pub fn sh(&self, line: &str) -> Output {
        self.plain(Path::new("/bin/sh")).args(["-c", line]).output().unwrap()
    }

    /// The hash of the compiled policy.
    pub fn hash(&self, more: &[&str]) -> String {
        let output = self.mantlet(&[&["policy", "check", "--json"], more].concat());
        assert_eq!(code(&output), 0, "{}", err(&output));
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        answer["hash"].as_str().unwrap().to_owned()
    }

    /// Every file that Mantlet keeps: journal, ledger, quarantine.
    pub fn kept(&self) -> Vec<PathBuf> {
        files(&self.state())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.top).unwrap();
    }
}

/// The policy of a builder in `~/work`, and more.
pub fn builder(more: &str) -> String {
    format!("version = 1\n[agent.main]\nrole = \"builder\"\nworkspace = \"~/work\"\n{more}")
}

/// Every file below a directory that may not exist.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let each = entries.map(|entry| entry.unwrap().path());
    each.flat_map(|path| if path.is_dir() && !path.is_symlink() { files(&path) } else { vec![path] }).collect()
}

pub fn code(output: &Output) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    output.status.code().unwrap_or_else(|| -output.status.signal().unwrap())
}

pub fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A path made of bytes.
pub fn bytes(name: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(name))
}

/// The printed calls of `mantlet allow`, whole.
pub fn printed(output: &Output) -> Vec<String> {
    let text = err(output);
    let lines = text.lines().filter_map(|line| Some(line[line.find("mantlet allow")?..].to_owned()));
    lines.collect()
}
