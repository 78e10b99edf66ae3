//! Makes the worlds: a mount namespace of their own, a user, directories with mounts in them; and adds up what came out.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// An ordinary user of no account.
const USER: u32 = 61_235;
/// Worlds for each user.
const WORLDS: usize = 4;
/// What the issue asks of each way that leads to the same object.
const LEAST: usize = 500;
pub(crate) const KINDS: [&str; 8] =
    ["plain", "symlink", "dotdot", "hardlink", "mount", "proc", "race-closed", "race-open"];

/// Mounts of each world, made before anything is in it: `$1` is the world.
const MOUNTS: &str = r#"
set -eu
for world in "$1"/*/; do
    w=$world/work
    mount -t tmpfs -o mode=755,uid=$2,gid=$2 agree "$w/m_tmp"
    mount --bind "$w/m_src" "$w/m_in"
    mount --bind "$world/shown" "$w/m_out"
    mount --bind "$world/fixed" "$w/m_ro"
    mount -o remount,bind,ro "$w/m_ro"
    mount --bind "$w/m_src" "$world/outside/alias"
    mount --bind "$world/lent" "$world/write/m"
done
shift 2
exec "$@"
"#;

const DIRS: [&str; 17] = [
    "fixed",
    "lent",
    "home",
    "state",
    "read",
    "rreal",
    "write",
    "outside",
    "shown",
    "work",
    "work/m_tmp",
    "work/m_src",
    "work/m_in",
    "work/m_out",
    "work/m_ro",
    "outside/alias",
    "write/m",
];

pub(crate) fn main() {
    let seed = match std::env::var("MANTLET_SEED") {
        Ok(text) => text.parse().expect("MANTLET_SEED is a number"),
        Err(_) => 20_261_124_u64,
    };
    let is_root = rustix::process::geteuid().is_root();
    let users: &[Option<u32>] = if is_root { &[None, Some(USER)] } else { &[None] };
    if !is_root {
        println!("agree: only root mounts: the ways through mounts are not tried by this user");
    }
    let mut counts: BTreeMap<String, [usize; 2]> = BTreeMap::new();
    let mut is_wrong = false;
    let workers: Vec<_> = users
        .iter()
        .map(|user| {
            (
                *user,
                std::thread::spawn({
                    let (seed, user) = (seed, *user);
                    move || worker(seed, user, is_root)
                }),
            )
        })
        .collect();
    for (user, worker) in workers {
        let (text, is_well) = worker.join().expect("a worker");
        is_wrong |= !is_well;
        for line in text.lines() {
            match line.strip_prefix("count\t").map(|rest| rest.split('\t').collect::<Vec<_>>()) {
                Some(parts) => {
                    let sum = counts.entry(parts[0].to_owned()).or_default();
                    sum[0] += parts[1].parse::<usize>().unwrap();
                    sum[1] += parts[2].parse::<usize>().unwrap();
                }
                None => println!("agree (uid {}): {line}", user.unwrap_or_else(|| rustix::process::geteuid().as_raw())),
            }
        }
    }
    for (kind, [allow, deny]) in &counts {
        println!("agree: {kind}: {allow} allowed, {deny} denied");
    }
    for kind in KINDS.iter().filter(|kind| is_root || **kind != "mount") {
        let [allow, deny] = counts.get(*kind).copied().unwrap_or_default();
        let has_enough = match *kind {
            "race-closed" => allow == 0 && deny >= LEAST,
            "race-open" => allow >= LEAST,
            _ => allow >= LEAST && deny >= LEAST,
        };
        if !has_enough {
            println!("agree: {kind}: {allow} allowed and {deny} denied are too few, or too many");
            is_wrong = true;
        }
    }
    if is_wrong {
        eprintln!("agree: failed; again with MANTLET_SEED={seed}");
        std::process::exit(1);
    }
    println!("agree: guard and jail agree (seed {seed})");
}

/// Everything of one user, in a mount namespace that ends with it.
fn worker(seed: u64, user: Option<u32>, is_root: bool) -> (String, bool) {
    let top = std::env::temp_dir().join(format!("mantlet-agree-{}-{}", std::process::id(), user.unwrap_or(0)));
    let owner = user.unwrap_or_else(|| rustix::process::geteuid().as_raw());
    for world in 0..WORLDS {
        for dir in DIRS {
            fs::create_dir_all(top.join("worlds").join(world.to_string()).join(dir)).unwrap();
        }
    }
    own(&top.join("worlds"), owner);
    let own_program = copy(&std::env::current_exe().unwrap(), &top.join("agree"));
    let jailer = copy(&crate::worlds::jailer(), &top.join("mantlet-run"));
    let mut words: Vec<String> = Vec::new();
    if is_root {
        let text = ["unshare", "--mount", "--propagation", "private", "sh", "-c", MOUNTS, "sh"];
        words.extend(text.map(str::to_owned));
        words.extend([top.join("worlds").display().to_string(), owner.to_string()]);
    }
    if let Some(user) = user {
        words.extend(["setpriv", "--clear-groups"].map(str::to_owned));
        words.extend([format!("--reuid={user}"), format!("--regid={user}")]);
    }
    words.push(own_program.display().to_string());
    words.extend(["worker".to_owned(), top.join("worlds").display().to_string()]);
    words.extend([jailer.display().to_string(), (seed ^ u64::from(owner)).to_string()]);
    let output = Command::new(&words[0]).args(&words[1..]).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.unwrap();
    fs::remove_dir_all(&top).unwrap();
    (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.success())
}

/// The programs are put where every user can start them. Not copied by this process: a thread beside this one may fork
/// while the copy is open for writing, and then it cannot be executed (ETXTBSY).
fn copy(from: &Path, to: &Path) -> PathBuf {
    assert!(Command::new("cp").arg(from).arg(to).status().unwrap().success());
    to.to_owned()
}

fn own(path: &Path, user: u32) {
    if rustix::process::geteuid().is_root() {
        assert!(Command::new("chown").arg("-R").arg(format!("{user}:{user}")).arg(path).status().unwrap().success());
    }
}

/// The jailer of this source: `cargo test -p mantlet-cli` builds `mantlet` only.
fn jailer() -> PathBuf {
    use std::sync::OnceLock;
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| crate::worlds::common::programs().join("mantlet-run")).clone()
}

#[path = "../common/mod.rs"]
mod common;
