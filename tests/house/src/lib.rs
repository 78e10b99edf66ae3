//! What the rules of the house are checked against: the workspace's crates and the repository's files.
//!
//! Test-only. It reads the repository, runs `cargo metadata` and `git ls-files`, and depends on no room.

#![allow(clippy::unwrap_used, clippy::expect_used)] // This crate is nothing but tests' ground.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Returns the top of the repository.
pub fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository's top")
}

/// Returns what `cargo metadata` says, for the lock file as it is committed.
pub fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--locked", "--filter-platform", host()])
        .current_dir(top())
        .output()
        .expect("cargo metadata");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

/// The platform whose dependencies count: that of the machine, which alone has all its crates downloaded.
fn host() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "aarch64-unknown-linux-gnu",
        _ => "x86_64-unknown-linux-gnu",
    }
}

/// Returns the workspace's packages, and for each the workspace's packages that it names in its Cargo.toml, for
/// building, running or testing.
pub fn arrows(metadata: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let members: BTreeSet<&str> = texts(&metadata["workspace_members"]).collect();
    let packages = metadata["packages"].as_array().expect("packages");
    let ours = packages.iter().filter(|p| members.contains(p["id"].as_str().expect("id")));
    let names: BTreeSet<&str> = ours.clone().map(|p| p["name"].as_str().expect("name")).collect();
    ours.map(|package| {
        let dependencies = package["dependencies"].as_array().expect("dependencies");
        let to = dependencies.iter().map(|d| d["name"].as_str().expect("name")).filter(|d| names.contains(d));
        (package["name"].as_str().expect("name").to_owned(), to.map(str::to_owned).collect())
    })
    .collect()
}

/// Returns the packages of others that reach `package` in what it builds or runs: not those of its tests.
pub fn reaches(metadata: &Value, package: &str) -> BTreeSet<String> {
    let nodes = metadata["resolve"]["nodes"].as_array().expect("resolve.nodes");
    let name_of: BTreeMap<&str, &str> = metadata["packages"]
        .as_array()
        .expect("packages")
        .iter()
        .map(|p| (p["id"].as_str().expect("id"), p["name"].as_str().expect("name")))
        .collect();
    let mut open: Vec<&str> = name_of.iter().filter(|(_, name)| **name == package).map(|(id, _)| *id).collect();
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        let node = nodes.iter().find(|n| n["id"] == id).expect("every package has a node");
        for dep in node["deps"].as_array().expect("deps") {
            let kinds = dep["dep_kinds"].as_array().expect("dep_kinds");
            if kinds.iter().any(|k| k["kind"].is_null()) {
                open.push(dep["pkg"].as_str().expect("pkg"));
            }
        }
    }
    seen.iter().map(|id| name_of[id].to_owned()).filter(|name| !name.starts_with("mantlet-")).collect()
}

fn texts(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().expect("an array").iter().map(|v| v.as_str().expect("a text"))
}

/// A file of the repository.
pub struct Tracked {
    /// Its path from the top.
    pub path: String,
    /// Whether git has it as a program.
    pub is_executable: bool,
    /// What is in it; nothing for a binary file.
    pub text: String,
}

/// Returns every file of the repository: what git tracks or, in an unpacked archive, what is there.
pub fn tracked() -> Vec<Tracked> {
    let paths = if top().join(".git").exists() { git_paths() } else { walked_paths() };
    assert!(!paths.is_empty(), "a repository without files");
    let read = |(path, is_executable): (String, bool)| {
        let bytes = std::fs::read(top().join(&path)).ok()?;
        Some(Tracked { path, is_executable, text: String::from_utf8(bytes).unwrap_or_default() })
    };
    paths.into_iter().filter_map(read).collect()
}

fn git_paths() -> Vec<(String, bool)> {
    let output = Command::new("git")
        // A checkout that belongs to another user than the tests' is still the one to look at.
        .args(["-c", "safe.directory=*", "ls-files", "-z", "--stage"])
        .current_dir(top())
        .output()
        .expect("git ls-files");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let listing = String::from_utf8(output.stdout).expect("paths are UTF-8");
    let entries = listing.split('\0').filter(|e| !e.is_empty()).map(|e| e.split_once('\t').expect("mode, tab, path"));
    entries.map(|(stage, path)| (path.to_owned(), stage.starts_with("100755"))).collect()
}

fn walked_paths() -> Vec<(String, bool)> {
    use std::os::unix::fs::PermissionsExt as _;
    let top = top();
    let mut open = vec![top.clone()];
    let mut paths = Vec::new();
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).expect("a readable directory") {
            let path = entry.expect("a readable entry").path();
            let name = path.file_name().unwrap_or_default().to_owned();
            let meta = path.symlink_metadata().expect("metadata");
            if meta.is_dir() && name != "target" && name != "node_modules" {
                open.push(path);
            } else if meta.is_file() {
                let inside = path.strip_prefix(&top).expect("below the top").to_str().expect("UTF-8").to_owned();
                paths.push((inside, meta.permissions().mode() & 0o100 != 0));
            }
        }
    }
    paths
}
