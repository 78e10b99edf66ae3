//! An ordinary user's watch against root: what it can undo it undoes, and what it cannot it tells at once.

use std::fs::{self, Permissions};
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mantlet_ledger::Change;
use mantlet_watch::Whole;

use crate::running::Running;
use crate::world::World;

const NOBODY: u32 = 65534;

fn millis() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()
}

fn wait_for(path: &Path) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !path.exists() {
        assert!(Instant::now() < deadline, "{path:?} did not appear");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn what_the_privilege_does_not_suffice_for_is_told_within_a_tenth_of_a_second() {
    if !rustix::process::geteuid().is_root() {
        println!("not applicable: needs root to change what an ordinary user's watch cannot undo");
        return;
    }
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "unprivileged::root_acts", "--nocapture", "--test-threads=1"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// What is told, accepted and locked is the same for an ordinary user; root's runs try it as one, too.
#[test]
fn what_holds_for_root_holds_for_an_ordinary_user() {
    if !rustix::process::geteuid().is_root() {
        println!("not applicable: everything here runs as an ordinary user anyway");
        return;
    }
    let dir = std::env::temp_dir().join(format!("mantlet-watch-user-{}", std::process::id()));
    fs::create_dir(&dir).unwrap();
    chown(&dir, Some(NOBODY), Some(NOBODY)).unwrap();
    fs::copy(std::env::current_exe().unwrap(), dir.join("tests")).unwrap();
    let output = Command::new(dir.join("tests"))
        .args(["telling::", "--test-threads=2"])
        .env("MANTLET_WORLDS", &dir)
        .current_dir("/")
        .uid(NOBODY)
        .gid(NOBODY)
        .output()
        .unwrap();
    fs::remove_dir_all(&dir).unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("test result: ok"), "{said}");
}

/// What is to become of one act.
struct Expected {
    path: PathBuf,
    outcome: &'static str,
    at: u128,
}

#[test]
#[ignore = "run by `what_the_privilege_does_not_suffice_for_is_told_within_a_tenth_of_a_second`, in a namespace"]
fn root_acts() {
    let dir = std::env::temp_dir().join(format!("mantlet-watch-nobody-{}", std::process::id()));
    fs::create_dir(&dir).unwrap();
    chown(&dir, Some(NOBODY), Some(NOBODY)).unwrap();
    fs::copy(std::env::current_exe().unwrap(), dir.join("tests")).unwrap();
    let mut child = Command::new(dir.join("tests"))
        .args(["--ignored", "--exact", "unprivileged::nobody_watches", "--nocapture", "--test-threads=1"])
        .env("MANTLET_WORLDS", &dir)
        .current_dir("/")
        .stdout(Stdio::piped())
        .uid(NOBODY)
        .gid(NOBODY)
        .spawn()
        .unwrap();
    wait_for(&dir.join("ready"));
    let home = PathBuf::from(fs::read_to_string(dir.join("ready")).unwrap());
    let mut expected = Vec::new();
    let mut act = |path: &str, outcome, act: &dyn Fn(&Path)| {
        let path = home.join(path);
        let at = millis();
        act(&path);
        expected.push(Expected { path, outcome, at });
        std::thread::sleep(Duration::from_millis(600));
    };
    // Its own directory: root's file is put aside, and its own is back.
    act("config/agent/settings.json", "undone", &|path| {
        chown(path, Some(0), Some(0)).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
        fs::write(path, "root's\n").unwrap();
    });
    act("tools/a.sh", "reported", &|path| {
        let file = fs::File::open(path).unwrap();
        rustix::fs::ioctl_setflags(&file, rustix::fs::IFlags::APPEND).unwrap();
    });
    act("linked.txt", "reported", &|path| rustix::mount::mount_bind("/etc/hostname", path).unwrap());
    act("config", "reported", &|path| rustix::mount::mount_bind("/etc", path).unwrap());
    // The watch must let go of everything before its world can be removed.
    for path in ["config", "linked.txt"] {
        rustix::mount::unmount(home.join(path), rustix::mount::UnmountFlags::DETACH).unwrap();
    }
    let tool = fs::File::open(home.join("tools/a.sh")).unwrap();
    rustix::fs::ioctl_setflags(&tool, rustix::fs::IFlags::empty()).unwrap();
    fs::write(dir.join("done"), "").unwrap();
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success(), "{said}");
    fs::remove_dir_all(&dir).unwrap();
    check(&said, &expected);
}

#[allow(clippy::print_stdout)] // What was measured, for whoever runs it with `--nocapture`.
fn check(said: &str, expected: &[Expected]) {
    let told: Vec<(u128, Change)> = said
        .lines()
        .filter_map(|line| line.strip_prefix("told ")?.split_once(' '))
        .map(|(at, json)| (at.parse().unwrap(), serde_json::from_str(json).unwrap()))
        .collect();
    for Expected { path, outcome, at } in expected {
        let first = told.iter().find(|(_, c)| Path::new(&c.path) == path && c.outcome == *outcome);
        let Some((told_at, change)) = first else { panic!("nothing {outcome} of {path:?}:\n{said}") };
        println!(
            "{outcome} ({}) {} ms after the act, {} ms after it was noticed: {}",
            change.what,
            told_at - at,
            change.took_ms,
            change.reason.as_deref().unwrap_or("-")
        );
        assert!(change.took_ms < 1000, "{change:?}");
        // The sweep that hears what no event tells comes every 100 ms; the rest is for a busy machine.
        assert!(told_at - at < 500, "{change:?}");
    }
}

#[test]
#[ignore = "run by `root_acts`, as an ordinary user"]
fn nobody_watches() {
    let dir = PathBuf::from(std::env::var_os("MANTLET_WORLDS").unwrap());
    let world = World::new();
    let running = Running::begin(world.options(), world.places(), Box::new(Whole), || {});
    fs::write(dir.join("ready.new"), world.home.to_str().unwrap()).unwrap();
    fs::rename(dir.join("ready.new"), dir.join("ready")).unwrap();
    let mut seen = 0;
    while !dir.join("done").exists() {
        for change in &running.told.changes.lock().unwrap()[seen..] {
            println!("\ntold {} {}", millis(), serde_json::to_string(change).unwrap());
            seen += 1;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    running.stop();
}
