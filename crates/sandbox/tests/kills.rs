//! Client, monitor or both are killed at random moments: the next call finds nothing left and has reviewed first.
#![allow(clippy::expect_used)]

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How many calls are killed; the documented run is 200.
fn rounds() -> u64 {
    std::env::var("MANTLET_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(40)
}

struct World {
    top: PathBuf,
}

impl World {
    fn new() -> World {
        let top = std::env::temp_dir().join(format!("mantlet-kills-{}", std::process::id()));
        for dir in ["home", "ws", "state"] {
            fs::create_dir_all(top.join(dir)).expect("mkdir");
        }
        // Something protected, so that there is a keeper to be killed and left, too.
        fs::write(top.join("ws/AGENTS.md"), "agents").expect("write");
        std::thread::sleep(Duration::from_millis(20));
        World { top }
    }

    fn start(&self, line: &str) -> Child {
        Command::new(env!("CARGO_BIN_EXE_mantlet-run"))
            .args(["exec", "--workspace"])
            .arg(self.top.join("ws"))
            .args(["-c", line])
            .env_clear()
            .env("HOME", self.top.join("home"))
            .env("XDG_STATE_HOME", self.top.join("state"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("start mantlet-run")
    }

    fn journal(&self) -> usize {
        let entries = fs::read_dir(self.top.join("state/mantlet/journal")).into_iter().flatten().flatten();
        // A call killed before its entry had its name has not begun; the half entry is cleared away later.
        entries.filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b".")).count()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.top).ok();
    }
}

/// The processes whose parent, at any remove, is `root`, and whose command line names the workspace.
fn processes_of(top: &Path) -> Vec<i32> {
    let mark = top.join("ws").into_os_string().into_encoded_bytes();
    let mut out = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<i32>().ok()) else { continue };
        let text = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if text.windows(mark.len()).any(|w| w == mark) {
            out.push(pid);
        }
    }
    out
}

fn kill(pid: i32) {
    Command::new("kill").args(["-KILL", &pid.to_string()]).stderr(Stdio::null()).status().ok();
}

#[test]
fn after_a_kill_the_next_call_has_reviewed_and_nothing_is_left() {
    let world = World::new();
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    for round in 0..rounds() {
        let mut client =
            world.start("echo 'echo owned' > sub/.envrc; mkdir -p sub; echo 'echo owned' > sub/.envrc; sleep 30");
        std::thread::sleep(Duration::from_millis(random(120)));
        let own = i32::try_from(client.id()).expect("pid");
        let monitors: Vec<i32> = processes_of(&world.top).into_iter().filter(|p| *p != own).collect();
        match random(3) {
            0 => kill(own),
            1 => monitors.iter().for_each(|p| kill(*p)),
            _ => monitors.iter().chain([&own]).for_each(|p| kill(*p)),
        }
        if round % 2 == 0 {
            kill(own);
        }
        kill(own);
        client.wait().expect("wait");
        let mut next = world.start("test ! -e sub/.envrc");
        let deadline = Instant::now() + Duration::from_secs(20);
        let status = loop {
            if let Some(status) = next.try_wait().expect("wait") {
                break status;
            }
            assert!(Instant::now() < deadline, "round {round}: the next call hangs");
            std::thread::sleep(Duration::from_millis(5));
        };
        assert!(status.success(), "round {round}: the next call ran before the review ({status})");
        let deadline = Instant::now() + Duration::from_secs(5);
        while !processes_of(&world.top).is_empty() {
            assert!(Instant::now() < deadline, "round {round}: processes are left: {:?}", processes_of(&world.top));
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(world.journal(), 0, "round {round}: the journal is not empty");
    }
    let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
    assert!(!mounts.contains(world.top.to_str().expect("utf-8")), "a mount is left");
}
