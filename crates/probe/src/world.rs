//! A throwaway world: namespaces of its own in which an attack, protected or not, can harm nothing real.
//!
//! The host's files are all read-only in it; home, /root, /tmp, /run, /etc and /var/log are private and
//! end with it. `enter` runs in a process of its own that the runner starts once per arm.

use std::fs;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, MountPropagationFlags, OpenTreeFlags};
use serde::{Deserialize, Serialize};

use crate::sys::world as sys;

/// One of the three ways a case is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Arm {
    /// The attack, unprotected: must succeed.
    Control,
    /// The attack, in the jail: must fail.
    Jail,
    /// The same commands on an allowed object, in the jail: must succeed.
    Twin,
}

/// What one world is made for. Written by the runner to the world's standard input.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Spec {
    /// The case's id.
    pub case: String,
    /// Which arm.
    pub arm: Arm,
    /// The user to become, when started by root.
    pub as_uid: Option<u32>,
    /// The directory with the jail's program, if one is to be found at [`BIN`].
    pub bin_dir: Option<PathBuf>,
    /// The jail's command line, placeholders still in it.
    pub jail_argv: Vec<String>,
    /// Words that name a policy file to the jail, put in when the case has a policy.
    pub policy_argv: Vec<String>,
    /// Drawn for this world: what the planted secrets read.
    pub canary: String,
    /// Drawn for this world: what the attacker leaves behind.
    pub mark: String,
    /// Seconds after which the world is killed, whatever happens in it.
    pub patience: u64,
}

/// Where this program is in every world, and in a jail that `--with` put it into: the commands stay the same.
pub(crate) const PROBE: &str = "/run/mantlet/mantlet-probe";
/// Where the jail's programs are in a world.
pub(crate) const BIN: &str = "/run/mantlet-bin";
/// Where the spec waits for the first process of the world.
pub(crate) const SPEC: &str = "/run/mantlet-world.json";
/// A second address of the host, for attacks on what listens there.
pub(crate) const HOST_ADDRESS: [u8; 4] = [10, 213, 7, 9];

/// Places that get a private, empty file system, if the host has them.
const PRIVATE: &[&str] =
    &["/home", "/root", "/tmp", "/run", "/var/log", "/var/tmp", "/var/spool", "/dev/shm", "/srv", "/usr/local/sbin"];
/// Directories of /etc that are made anew, because attacks write there.
const ETC_FRESH: &[&str] = &["cron.d", "profile.d", "mantlet", "sudoers.d", "xdg", "systemd", "claude-code"];

/// What stops a world from being made.
#[derive(Debug, thiserror::Error)]
#[error("the throwaway world cannot be made: {step}: {source}")]
pub(crate) struct WorldError {
    step: String,
    source: io::Error,
}

/// Names the step an error belongs to.
fn at<E: Into<io::Error>>(step: impl Into<String>) -> impl FnOnce(E) -> WorldError {
    move |source| WorldError { step: step.into(), source: source.into() }
}

/// Becomes a world and, in a child that is its first process, this program's `inside`.
///
/// # Errors
/// The step that failed.
pub(crate) fn enter() -> Result<(), WorldError> {
    sys::die_with_parent().map_err(at("ask to die with the parent"))?;
    let mut text = String::new();
    io::stdin().read_to_string(&mut text).map_err(at("read the spec"))?;
    let spec: Spec = serde_json::from_str(&text).map_err(|e| at("parse the spec")(io::Error::other(e)))?;

    let is_root = rustix::process::geteuid().is_root();
    // Root clones the trees before it becomes somebody who may not reach them; a user has to be in his own namespace first.
    let mut trees = if is_root { Some(clone_trees(&spec)?) } else { None };
    if let (Some(uid), true) = (spec.as_uid, is_root) {
        sys::become_user(uid, uid).map_err(at("become the other user"))?;
        sys::set_dumpable().map_err(at("become dumpable"))?;
        sys::die_with_parent().map_err(at("ask again to die with the parent"))?;
    }
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let private = libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    if uid == 0 {
        sys::unshare(private).map_err(at("unshare"))?;
    } else {
        sys::unshare(private | libc::CLONE_NEWUSER).map_err(at("unshare with a user namespace"))?;
        map_self(uid, gid)?;
    }
    if trees.is_none() {
        trees = Some(clone_trees(&spec)?);
    }
    match sys::fork().map_err(at("fork"))? {
        sys::Side::Child => become_first_process(&spec, &text, trees.unwrap_or_default(), uid),
        sys::Side::Parent(child) => wait_for(child, Duration::from_secs(spec.patience)),
    }
}

/// Waits for the world's first process; kills it, and with it the whole world, when it takes too long.
fn wait_for(child: i32, patience: Duration) -> Result<(), WorldError> {
    use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
    let pid = Pid::from_raw(child).ok_or_else(|| at("fork")(io::Error::other("no process number")))?;
    let end = Instant::now() + patience;
    loop {
        match waitpid(Some(pid), WaitOptions::NOHANG).map_err(at("wait"))? {
            Some((_, status)) if status.exit_status() == Some(0) => return Ok(()),
            Some((_, status)) => {
                return Err(at("its first process")(io::Error::other(format!("ended with {status:?}"))));
            }
            None if Instant::now() > end => {
                kill_process(pid, Signal::KILL).map_err(at("kill"))?;
                waitpid(Some(pid), WaitOptions::empty()).map_err(at("wait"))?;
                return Err(at("patience")(io::Error::from(io::ErrorKind::TimedOut)));
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Maps the caller to himself and nobody else: uid 1000 stays 1000.
fn map_self(uid: u32, gid: u32) -> Result<(), WorldError> {
    fs::write("/proc/self/setgroups", "deny").map_err(at("deny setgroups"))?;
    fs::write("/proc/self/uid_map", format!("{uid} {uid} 1")).map_err(at("write uid_map"))?;
    fs::write("/proc/self/gid_map", format!("{gid} {gid} 1")).map_err(at("write gid_map"))
}

/// Copies of what must still be there when the world has hidden its place.
#[derive(Default)]
struct Trees {
    probe: Option<OwnedFd>,
    bin: Option<OwnedFd>,
}

fn clone_trees(spec: &Spec) -> Result<Trees, WorldError> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let me = std::env::current_exe().map_err(at("find this program"))?;
    let clone = |path: &Path| {
        rustix::mount::open_tree(rustix::fs::CWD, path, flags).map_err(at(format!("clone {}", path.display())))
    };
    let bin = spec.bin_dir.as_deref().map(clone).transpose()?;
    Ok(Trees { probe: Some(clone(&me)?), bin })
}

fn become_first_process(spec: &Spec, text: &str, trees: Trees, uid: u32) -> Result<(), WorldError> {
    sys::die_with_parent().map_err(at("ask to die with the parent"))?;
    build(trees, uid)?;
    // The owner's processes get numbers that no process in a young jail has: a number means one process only.
    fs::write("/proc/sys/kernel/ns_last_pid", "20000").map_err(at("choose high process numbers"))?;
    fs::write(SPEC, text).map_err(at("leave the spec"))?;
    sys::loopback_up(HOST_ADDRESS).map_err(at("bring the loopback interface up"))?;
    let home = home_of(uid);
    // The first process's own environment holds a secret too: jails are known to hand theirs over.
    let e = std::os::unix::process::CommandExt::exec(
        std::process::Command::new(PROBE)
            .arg("inside")
            .env_clear()
            .envs(environment(&home, uid))
            .env("PROBE_FIRST_PROCESS_SECRET", &spec.canary)
            .current_dir("/"),
    );
    Err(at("start the first process")(e))
}

/// The home of the world's owner.
pub(crate) fn home_of(uid: u32) -> PathBuf {
    PathBuf::from(if uid == 0 { "/root" } else { "/home/probe" })
}

/// The environment an owner's program has.
pub(crate) fn environment(home: &Path, uid: u32) -> Vec<(String, String)> {
    let user = if uid == 0 { "root" } else { "probe" };
    let pairs = [
        ("HOME", home.display().to_string()),
        ("USER", user.to_owned()),
        ("LOGNAME", user.to_owned()),
        ("SHELL", "/bin/sh".to_owned()),
        ("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin".to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
        ("TERM", "dumb".to_owned()),
        ("XDG_RUNTIME_DIR", format!("/run/user/{uid}")),
        ("GIT_CONFIG_NOSYSTEM", "1".to_owned()),
    ];
    pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
}

fn build(trees: Trees, uid: u32) -> Result<(), WorldError> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).map_err(at("make mounts private"))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount("proc", "/proc", "proc", flags, None).map_err(at("mount a fresh /proc"))?;
    crate::sys::mounts::set_read_only("/").map_err(at("make the host's files read-only"))?;
    crate::sys::mounts::set_writable("/proc").map_err(at("keep /proc as it is"))?;
    let etc = read_etc()?;
    for place in PRIVATE {
        if Path::new(place).is_dir() {
            tmpfs(place)?;
        }
    }
    let pts = c"newinstance,ptmxmode=0666,mode=620";
    rustix::mount::mount("devpts", "/dev/pts", "devpts", MountFlags::NOSUID | MountFlags::NOEXEC, pts)
        .map_err(at("mount /dev/pts"))?;
    fill_etc(etc, uid)?;
    fill_run(trees, uid)?;
    fill_homes(uid)
}

fn tmpfs(place: &str) -> Result<(), WorldError> {
    let shared = place.ends_with("tmp") || place == "/dev/shm";
    let mode = if shared { c"mode=1777" } else { c"mode=755" };
    // No nosuid: a setuid bit that lands here must count as one.
    rustix::mount::mount("tmpfs", place, "tmpfs", MountFlags::NODEV, mode).map_err(at(format!("mount {place}")))
}

/// What is carried over into the private /etc.
struct Etc {
    files: Vec<(PathBuf, Vec<u8>, u32)>,
    links: Vec<(PathBuf, PathBuf)>,
    dirs: Vec<(PathBuf, OwnedFd)>,
}

fn read_etc() -> Result<Etc, WorldError> {
    let mut etc = Etc { files: Vec::new(), links: Vec::new(), dirs: Vec::new() };
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    for entry in fs::read_dir("/etc").map_err(at("read /etc"))? {
        let entry = entry.map_err(at("read /etc"))?;
        let (path, name) = (entry.path(), entry.file_name());
        let kind = entry.file_type().map_err(at("read /etc"))?;
        if kind.is_symlink() {
            let to = fs::read_link(&path).map_err(at(format!("read {}", path.display())))?;
            etc.links.push((path, to));
        } else if kind.is_dir() && !ETC_FRESH.iter().any(|f| name == *f) {
            let tree = rustix::mount::open_tree(rustix::fs::CWD, &path, flags)
                .map_err(at(format!("clone {}", path.display())))?;
            etc.dirs.push((path, tree));
        } else if kind.is_file()
            && let Ok(content) = fs::read(&path)
        {
            // What the owner cannot read (shadow) is not carried over.
            let mode = fs::metadata(&path).map_or(0o644, |m| m.permissions().mode() & 0o777);
            etc.files.push((path, content, mode));
        }
    }
    Ok(etc)
}

fn fill_etc(etc: Etc, uid: u32) -> Result<(), WorldError> {
    tmpfs("/etc")?;
    for (path, content, mode) in etc.files {
        write(&path, &content, mode)?;
    }
    for (path, to) in etc.links {
        symlink(to, &path).map_err(at(format!("link {}", path.display())))?;
    }
    for (path, tree) in etc.dirs {
        fs::create_dir(&path).map_err(at(format!("make {}", path.display())))?;
        attach(&tree, &path)?;
    }
    for fresh in ETC_FRESH {
        fs::create_dir(Path::new("/etc").join(fresh)).map_err(at(format!("make /etc/{fresh}")))?;
    }
    let owner = if uid == 0 { String::new() } else { format!("probe:x:{uid}:{uid}::/home/probe:/bin/sh\n") };
    let passwd = format!("root:x:0:0:root:/root:/bin/sh\n{owner}alice:x:4242:4242::/home/alice:/bin/sh\n");
    write(Path::new("/etc/passwd"), passwd.as_bytes(), 0o644)?;
    let group = if uid == 0 { String::new() } else { format!("probe:x:{uid}:\n") };
    write(Path::new("/etc/group"), format!("root:x:0:\n{group}alice:x:4242:\n").as_bytes(), 0o644)
}

fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), WorldError> {
    let step = || format!("write {}", path.display());
    fs::write(path, content).map_err(at(step()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(at(step()))
}

fn attach(tree: &OwnedFd, to: &Path) -> Result<(), WorldError> {
    use rustix::mount::{MoveMountFlags, move_mount};
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(tree.as_fd(), "", rustix::fs::CWD, to, flags).map_err(at(format!("attach {}", to.display())))
}

fn fill_run(trees: Trees, uid: u32) -> Result<(), WorldError> {
    let user = format!("/run/user/{uid}");
    for dir in ["/run/mantlet", BIN, "/run/dbus", "/run/systemd", &user] {
        fs::create_dir_all(dir).map_err(at(format!("make {dir}")))?;
    }
    fs::set_permissions(&user, fs::Permissions::from_mode(0o700)).map_err(at("close the runtime directory"))?;
    fs::write(PROBE, b"").map_err(at("make a place for this program"))?;
    if let Some(tree) = trees.probe {
        attach(&tree, Path::new(PROBE))?;
    }
    if let Some(tree) = trees.bin {
        attach(&tree, Path::new(BIN))?;
    }
    Ok(())
}

fn fill_homes(uid: u32) -> Result<(), WorldError> {
    let home = home_of(uid);
    fs::create_dir_all(home.join("project")).map_err(at("make the workspace"))?;
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).map_err(at("close the home"))?;
    fs::create_dir_all("/home/alice").map_err(at("make another home"))
}
