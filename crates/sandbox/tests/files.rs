//! File operations served inside the jail: they reach the workspace and nothing else, whatever a path is made of and
//! whatever is exchanged while they run.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test; the lint's own exception does not reach its helpers")]

mod common;

use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use common::{World, both, everyone};
use serde_json::{Value, json};

/// A jail that serves file operations.
struct Files<'w> {
    world: &'w World,
    child: Child,
}

impl<'w> Files<'w> {
    fn open(world: &'w World, access: &str, options: &[&str]) -> Files<'w> {
        let mut command = world.jail();
        command.args(options).args(["--files", access]);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        Files { world, child }
    }

    fn send(&mut self, kind: u8, payload: &[u8]) {
        let mut frame = vec![kind];
        frame.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
        frame.extend_from_slice(payload);
        self.child.stdin.as_mut().unwrap().write_all(&frame).unwrap();
    }

    fn ask_with(&mut self, op: &str, path: &str, more: Value, body: Option<&[u8]>) -> (Value, Vec<u8>) {
        let mut request = json!({ "op": op, "root": self.world.work(), "path": path });
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.send(b'Q', request.to_string().as_bytes());
        if let Some(body) = body {
            body.chunks(100_000).for_each(|piece| self.send(b'D', piece));
            self.send(b'E', b"");
        }
        let mut pieces = Vec::new();
        let out = self.child.stdout.as_mut().unwrap();
        loop {
            let mut head = [0; 5];
            out.read_exact(&mut head).unwrap();
            let mut payload = vec![0; u32::from_le_bytes(head[1..].try_into().unwrap()) as usize];
            out.read_exact(&mut payload).unwrap();
            match head[0] {
                b'D' => pieces.append(&mut payload),
                _ => return (serde_json::from_slice(&payload).unwrap(), pieces),
            }
        }
    }

    fn ask(&mut self, op: &str, path: &str, more: Value) -> Value {
        self.ask_with(op, path, more, None).0
    }

    #[track_caller]
    fn must(&mut self, op: &str, path: &str, more: Value) -> Value {
        let answer = self.ask(op, path, more);
        answer.get("ok").unwrap_or_else(|| panic!("{op} {path}: {answer}")).clone()
    }

    #[track_caller]
    fn write(&mut self, op: &str, path: &str, body: &[u8], more: Value) -> Value {
        let answer = self.ask_with(op, path, more, Some(body)).0;
        answer.get("ok").unwrap_or_else(|| panic!("{op} {path}: {answer}")).clone()
    }

    #[track_caller]
    fn refused(&mut self, op: &str, path: &str, more: Value, code: &str) {
        let body = ["write", "create", "append"].contains(&op).then_some(&b"x"[..]);
        let answer = self.ask_with(op, path, more, body).0;
        assert_eq!(answer["error"]["code"], code, "{op} {path}: {answer}");
    }

    /// The file's content, or the code of the refusal.
    fn read(&mut self, path: &str) -> Result<Vec<u8>, String> {
        let (answer, bytes) = self.ask_with("read", path, json!({}), None);
        match answer["error"]["code"].as_str() {
            None => Ok(bytes),
            Some(code) => Err(code.to_owned()),
        }
    }

    fn close(mut self) -> i32 {
        drop(self.child.stdin.take());
        common::code(self.child.wait().unwrap())
    }
}

impl Drop for Files<'_> {
    fn drop(&mut self) {
        // The monitor ends with its client; the world is removed after that.
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }
}

#[test]
fn a_workspace_is_worked_in() {
    for who in everyone() {
        let world = World::new("files-work", who);
        let mut files = Files::open(&world, "write", &[]);
        let large: Vec<u8> = (0..1_000_003_u32).map(|n| n.to_le_bytes()[0]).collect();
        files.write("write", "a/b/c", &large, json!({ "mkdir": true }));
        assert!(files.read("a/b/c").unwrap() == large, "{who:?}");
        let (_, part) = files.ask_with("read", "a/b/c", json!({ "offset": 1_000_000, "length": 2 }), None);
        assert_eq!(part, large[1_000_000..1_000_002]);
        assert_eq!(
            std::fs::metadata(world.work().join("a/b/c")).unwrap().uid(),
            world.work().metadata().unwrap().uid()
        );

        // The mode of what is there stays; a new file's is the caller's to say, without set-id bits.
        files.write("write", "tool", b"1", json!({ "mode": 0o6755 }));
        files.write("write", "tool", b"2", json!({}));
        let tool = std::fs::metadata(world.work().join("tool")).unwrap();
        assert_eq!(tool.permissions().mode() & 0o7777, 0o755);
        assert_eq!(files.must("stat", "tool", json!({ "follow": true }))["type"], "file");

        assert_eq!(files.write("create", "new", b"1", json!({}))["created"], true);
        assert_eq!(files.write("create", "new", b"2", json!({}))["created"], false);
        files.write("append", "new", b"2", json!({}));
        assert_eq!(files.read("new").unwrap(), b"12");
        files.must("copy", "new", json!({ "to": "copies/new", "mkdir": true }));
        files.must("rename", "new", json!({ "to": "moved/new" }));
        assert_eq!(files.read("moved/new").unwrap(), files.read("copies/new").unwrap());
        files.must("mkdir", "d/e/f", json!({}));
        let (_, list) = files.ask_with("list", "d/e", json!({}), None);
        assert_eq!(serde_json::from_slice::<Value>(&list).unwrap()[0]["isDirectory"], true);
        assert_eq!(files.ask_with("list", "d/e/f", json!({}), None).1, b"[]");
        assert_eq!(files.must("stat", "absent/file", json!({ "follow": true })), Value::Null);
        files.refused("remove", "d", json!({}), "ENOTEMPTY");
        files.must("remove", "d", json!({ "recursive": true }));
        files.refused("remove", "d", json!({}), "ENOENT");
        assert_eq!(files.must("remove", "d", json!({ "force": true }))["removed"], false);
        files.refused("read", "absent", json!({}), "ENOENT");
        files.refused("read", "a", json!({}), "NOTFILE");
        files.refused("read", "tool", json!({ "max": 0 }), "EFBIG");
        assert_eq!(files.close(), 0);
        let tree = world.tree();
        assert!(!tree.keys().any(|name| name.contains(".openclaw-write")), "{tree:?}");
    }
}

#[test]
fn no_path_leads_out() {
    for who in both() {
        let world = World::new("files-out", who);
        world.write("ok/file", "mine");
        std::fs::write(world.top().join("secret"), "planted").unwrap();
        std::fs::set_permissions(world.top().join("secret"), PermissionsExt::from_mode(0o644)).unwrap();
        let link = |target: &Path, name: &str| symlink(target, world.work().join(name)).unwrap();
        link(&world.top().join("secret"), "absolute");
        link(Path::new("../secret"), "relative");
        link(Path::new(".."), "parent");
        link(Path::new("/etc"), "etc");
        link(Path::new("/proc/self/root"), "proc");
        link(Path::new("loop"), "loop");
        link(Path::new("ok"), "inside");
        // The control: outside the jail every one of them is read.
        for name in ["absolute", "relative", "parent/secret"] {
            assert_eq!(std::fs::read(world.work().join(name)).unwrap(), b"planted", "{name}");
        }
        let mut files = Files::open(&world, "read", &[]);
        for name in ["absolute", "relative", "loop"] {
            files.refused("read", name, json!({}), "ELOOP");
        }
        for name in ["parent/secret", "etc/passwd", "proc/etc/passwd"] {
            files.refused("read", name, json!({}), "ESCAPE");
            files.refused("stat", name, json!({ "follow": true }), "ESCAPE");
            files.refused("list", Path::new(name).parent().unwrap().to_str().unwrap(), json!({}), "ESCAPE");
        }
        files.refused("stat", "absolute", json!({ "follow": true }), "ESCAPE");
        files.refused("stat", "loop", json!({ "follow": true }), "ELOOP");
        for path in
            ["../secret", "ok/../../secret", "./ok/file", "ok/file/..", world.top().join("secret").to_str().unwrap()]
        {
            files.refused("read", path, json!({}), "EINVAL");
            files.refused("copy", "ok/file", json!({ "to": path }), "EROFS");
        }
        files.refused("read", "passwd", json!({ "root": "/etc" }), "ESCAPE");
        for op in ["write", "create", "append", "mkdir", "remove", "rename", "copy"] {
            files.refused(op, "ok/new", json!({ "to": "ok/newer" }), "EROFS");
        }
        // The twin: the same kinds of paths work where they stay inside.
        assert_eq!(files.read("inside/file").unwrap(), b"mine");
        drop(files);
        let mut files = Files::open(&world, "write", &[]);
        for (op, path) in [("write", "parent/new"), ("create", "etc/new"), ("mkdir", "parent/new/dir")] {
            files.refused(op, path, json!({ "mkdir": true }), "ESCAPE");
        }
        files.refused("copy", "ok/file", json!({ "to": "../new" }), "EINVAL");
        files.refused("copy", "ok/file", json!({ "to": "parent/new" }), "ESCAPE");
        files.refused("rename", "ok/file", json!({ "to": "parent/new" }), "ESCAPE");
        files.refused("remove", "parent/secret", json!({ "recursive": true }), "ESCAPE");
        // A symlink at the end is a name: it is replaced or removed, and what it led to stays.
        files.write("write", "absolute", b"mine now", json!({}));
        files.must("remove", "relative", json!({}));
        files.write("write", "inside/second", b"1", json!({}));
        assert!(world.work().join("ok/second").exists());
        assert_eq!(std::fs::read(world.top().join("secret")).unwrap(), b"planted");
        assert!(!world.top().join("new").exists());
    }
}

#[test]
fn hard_links_and_what_is_no_file_are_refused() {
    for who in both() {
        let world = World::new("files-links", who);
        world.write("one", "twice");
        std::fs::hard_link(world.work().join("one"), world.work().join("two")).unwrap();
        assert!(world.outside("mkfifo").arg("fifo").status().unwrap().success());
        let mut files = Files::open(&world, "write", &[]);
        for op in ["read", "write", "append"] {
            files.refused(op, "two", json!({}), "HARDLINK");
        }
        files.refused("stat", "two", json!({ "follow": true }), "HARDLINK");
        files.refused("copy", "two", json!({ "to": "three" }), "HARDLINK");
        // It must not wait for the other end either.
        files.refused("read", "fifo", json!({}), "NOTFILE");
        files.must("remove", "two", json!({}));
        assert_eq!(files.read("one").unwrap(), b"twice");
    }
}

#[test]
fn a_clients_read_only_places_and_pinned_directories_hold() {
    let world = World::new("files-pinned", both()[0]);
    world.write("skills/one", "1");
    world.write("dir/file", "1");
    world.write("other/file", "2");
    symlink("skills", world.work().join("alias")).unwrap();
    let mut files = Files::open(&world, "write", &[]);
    let readonly = json!({ "readonly": ["skills", "absent"], "recursive": true, "mkdir": true, "to": "skills/to" });
    for (op, path) in [
        ("write", "skills/one"),
        ("create", "skills/new"),
        ("append", "alias/one"),
        ("mkdir", "skills/sub"),
        ("remove", "skills"),
        ("remove", "alias/one"),
        ("rename", "dir/file"),
        ("copy", "dir/file"),
    ] {
        files.refused(op, path, readonly.clone(), "READONLY");
    }
    files.write("write", "absent", b"a place that is not there holds nothing", readonly);
    // Resolved and allowed, then exchanged: a pinned path is not followed again.
    assert!(files.must("resolve", "dir/file", json!({}))["path"].as_str().unwrap().ends_with("/dir/file"));
    std::fs::rename(world.work().join("dir"), world.work().join("was")).unwrap();
    symlink("other", world.work().join("dir")).unwrap();
    files.refused("write", "dir/file", json!({ "pinned": true }), "ENOTDIR");
    files.refused("remove", "dir/file", json!({ "pinned": true, "recursive": true }), "ENOTDIR");
    files.write("write", "dir/file", b"followed", json!({}));
    assert_eq!(std::fs::read(world.work().join("other/file")).unwrap(), b"followed");
}

#[test]
fn deny_rules_hold_for_names_that_come_later() {
    for who in both() {
        let world = World::new("files-deny", who);
        world.write("old/.env", "old secret");
        world.write("plain", "plain");
        let policy = world.policy("deny = [\"**/.env\", \"private/**\"]");
        let options = ["--policy", policy.to_str().unwrap()];
        let mut files = Files::open(&world, "read", &options);
        assert_eq!(files.read("plain").unwrap(), b"plain");
        assert_eq!(files.read("old/.env").unwrap_err(), "DENIED");
        // The control: the mounts were made before these came.
        world.write("new/.env", "new secret");
        world.write("private/deep/file", "new secret");
        symlink(".env", world.work().join("new/alias")).unwrap();
        symlink("private", world.work().join("open")).unwrap();
        for path in ["new/.env", "private/deep/file", "open/deep/file"] {
            assert_eq!(files.read(path).unwrap_err(), "DENIED", "{path}");
        }
        files.refused("list", "private/deep", json!({}), "DENIED");
        assert_eq!(files.read("new/alias").unwrap_err(), "ELOOP");
        drop(files);
        let mut free = Files::open(&world, "read", &[]);
        assert_eq!(free.read("new/.env").unwrap(), b"new secret");
    }
}

/// Exchanges a name between two things until it is dropped.
struct Exchanger {
    stop: std::sync::Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Exchanger {
    fn start(one: &Path, other: &Path) -> Exchanger {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        let stop = std::sync::Arc::new(AtomicBool::new(false));
        let (stops, one, other) = (stop.clone(), one.to_owned(), other.to_owned());
        let thread = std::thread::spawn(move || {
            while !stops.load(Ordering::Relaxed) {
                renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).unwrap();
            }
        });
        Exchanger { stop, thread: Some(thread) }
    }
}

impl Drop for Exchanger {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// A directory and a file that become symlinks to what the jail itself shows, between check and use.
#[test]
fn ten_thousand_exchanges_leak_nothing() {
    const TRIES: usize = 10_000;
    let world = World::new("files-race", both()[0]);
    world.write("dir/passwd", "mine");
    world.write("file", "mine");
    symlink("/etc", world.work().join("dir-link")).unwrap();
    symlink("/etc/passwd", world.work().join("file-link")).unwrap();
    let exchange = |name: &str| Exchanger::start(&world.work().join(name), &world.work().join(format!("{name}-link")));
    let exchangers = [exchange("dir"), exchange("file")];
    let paths = ["dir/passwd", "file"];
    // The control: who looks first and opens then reads the other file, often.
    let naive = |path: &str| {
        let full = world.work().join(path);
        let is_link = |p: &Path| p.symlink_metadata().is_ok_and(|m| m.is_symlink());
        if is_link(&full) || is_link(full.parent().unwrap()) {
            return None;
        }
        std::fs::read(full).ok()
    };
    let leaks = |bytes: &[u8]| bytes != b"mine";
    for path in paths {
        let leaked = (0..1_000_000).filter_map(|_| naive(path)).filter(|bytes| leaks(bytes)).take(3).count();
        assert_eq!(leaked, 3, "the race is no race: {path}");
    }
    let mut files = Files::open(&world, "read", &[]);
    let (mut read, mut refused) = (0, 0);
    for i in 0..TRIES {
        match files.read(paths[i % 2]) {
            Ok(bytes) => {
                assert!(!leaks(&bytes), "try {i}: {}", String::from_utf8_lossy(&bytes));
                read += 1;
            }
            Err(code) => {
                assert!(["ESCAPE", "ELOOP", "ENOTDIR", "ENOENT"].contains(&code.as_str()), "{code}");
                refused += 1;
            }
        }
    }
    println!("{TRIES} tries: {read} read, {refused} refused, 0 leaked");
    assert!(read > 100 && refused > 100, "{read} read, {refused} refused");
    drop(exchangers);
}

#[test]
fn moves_across_the_mounts_of_protected_places() {
    let world = World::new("files-mounts", both()[0]);
    world.write("pinned/AGENTS.md", "held");
    world.write("pinned/file", "1");
    world.write("pinned/dir/deep/file", "2");
    symlink("file", world.work().join("pinned/link")).unwrap();
    let policy = world.policy("protect = [\"pinned/AGENTS.md\"]");
    let mut files = Files::open(&world, "write", &["--policy", policy.to_str().unwrap()]);
    for name in ["file", "dir", "link"] {
        files.must("rename", &format!("pinned/{name}"), json!({ "to": format!("free/{name}") }));
        assert!(world.work().join("pinned").join(name).symlink_metadata().is_err(), "{name}");
    }
    assert_eq!(std::fs::read(world.work().join("free/dir/deep/file")).unwrap(), b"2");
    assert_eq!(std::fs::read_link(world.work().join("free/link")).unwrap(), Path::new("file"));
    for (op, more) in [("write", json!({})), ("remove", json!({})), ("rename", json!({ "to": "gone" }))] {
        let body = (op == "write").then_some(&b"x"[..]);
        assert!(files.ask_with(op, "pinned/AGENTS.md", more, body).0.get("error").is_some(), "{op}");
    }
    assert_eq!(std::fs::read(world.work().join("pinned/AGENTS.md")).unwrap(), b"held");
}

#[test]
fn nonsense_ends_the_jail_and_a_broken_off_file_is_none() {
    let world = World::new("files-nonsense", both()[0]);
    for nonsense in [&b"Q\xff\xff\xff\xff"[..], b"Zabcd", b"Q\x02\0\0\0{}"] {
        let mut files = Files::open(&world, "write", &[]);
        files.child.stdin.as_mut().unwrap().write_all(nonsense).unwrap();
        assert_eq!(files.close(), 2, "{nonsense:?}");
    }
    let mut files = Files::open(&world, "write", &[]);
    files.send(b'Q', json!({ "op": "write", "root": world.work(), "path": "half" }).to_string().as_bytes());
    files.send(b'D', b"half of it");
    assert_eq!(files.close(), 2);
    assert!(world.tree().is_empty(), "{:?}", world.tree());
}

#[test]
fn what_a_client_calls_it_is_in_the_ledger_and_decides_nothing() {
    let world = World::new("files-labels", both()[0]);
    let labels = ["--session", "agent:main:\u{1b}[2J", "--run", "token=ghp_0123456789abcdefghijABCDEFGHIJ012345"];
    let mut files = Files::open(&world, "write", &labels);
    files.write("write", "x", b"1", json!({}));
    assert_eq!(files.close(), 0);
    let ledger = std::fs::read_to_string(world.top().join("state/mantlet/ledger/ledger.jsonl")).unwrap();
    let entry: Value = serde_json::from_str(ledger.lines().last().unwrap()).unwrap();
    assert_eq!(entry["session"], "agent:main:\\x1b[2J");
    assert_eq!(entry["command"], "files-write");
    assert!(!ledger.contains("0123456789abcdef"), "{ledger}");
}
