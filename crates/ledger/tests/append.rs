//! The ledger on a real file system: concurrent writers, torn lines, places that must be refused.

#![allow(clippy::unwrap_used)] // A test's helper functions may fail the test.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

mod common;

use common::{Scratch, entry};
use mantlet_ledger::{AppendError, Expected, Kind, Line, OpenError, Reader, Writer, segments, verify};

fn commands(file: &Path) -> (Vec<String>, usize) {
    let (mut good, mut bad) = (Vec::new(), 0);
    for line in segments(file.parent().unwrap()).unwrap().iter().flat_map(|file| Reader::open(file).unwrap()) {
        match line.unwrap() {
            Line::Entry(entry) => {
                if let Kind::Exec(exec) = entry.kind {
                    good.push(exec.command);
                }
            }
            Line::Unreadable { .. } => bad += 1,
        }
    }
    (good, bad)
}

#[test]
fn entries_come_back_as_they_were_written() {
    let scratch = Scratch::new("roundtrip");
    let mut writer = Writer::open(&scratch.dir(), &[]).unwrap();
    let odd = "line\nbreak \u{202e} \"quote\" \\";
    writer.append(&entry("git status")).unwrap();
    writer.append(&entry(odd)).unwrap();
    assert_eq!(commands(&scratch.file()), (vec!["git status".to_owned(), odd.to_owned()], 0));
    assert_eq!(fs::metadata(scratch.file()).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(fs::metadata(scratch.dir()).unwrap().permissions().mode() & 0o7777, 0o700);
}

/// The child of the next test; does nothing when run by itself.
#[test]
fn child_appends() {
    let Some(dir) = std::env::var_os("LEDGER_TEST_DIR") else {
        return;
    };
    let process = std::process::id();
    std::thread::scope(|scope| {
        for thread in 0..5 {
            let dir = &dir;
            scope.spawn(move || {
                for n in 0..50 {
                    let mut writer = Writer::open(Path::new(dir), &[]).unwrap();
                    // Lines of up to 64 KiB: larger than a page and than a pipe's atomic write.
                    let size = (n * 1327 + thread * 911) % 65_536;
                    writer.append(&entry(&format!("{process}-{thread}-{n} {}", "x".repeat(size)))).unwrap();
                }
            });
        }
    });
}

#[test]
fn a_thousand_concurrent_appends_are_all_there_and_whole() {
    let scratch = Scratch::new("concurrent");
    let children: Vec<_> = (0..4)
        .map(|_| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "child_appends", "--quiet"])
                .env("LEDGER_TEST_DIR", scratch.dir())
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let (mut good, bad) = commands(&scratch.file());
    good.sort();
    good.dedup();
    assert_eq!((good.len(), bad), (1000, 0));
}

#[test]
fn a_torn_line_costs_only_itself() {
    let scratch = Scratch::new("torn");
    Writer::open(&scratch.dir(), &[]).unwrap().append(&entry("one")).unwrap();
    let mut raw = fs::OpenOptions::new().append(true).open(scratch.file()).unwrap();
    raw.write_all(b"{\"v\":1,\"time\":\"20").unwrap();
    let mut writer = Writer::open(&scratch.dir(), &[]).unwrap();
    writer.append(&entry("two")).unwrap();
    raw.write_all(b"torn again").unwrap();
    writer.append(&entry("three")).unwrap();
    assert_eq!(commands(&scratch.file()), (vec!["one".into(), "two".into(), "three".into()], 0));
    let found = verify(&scratch.dir(), &Expected::default()).unwrap();
    assert!(found.is_sound(), "{found:?}");
    assert_eq!((found.entries, found.notes.len()), (5, 2), "{found:?}");
}

#[test]
fn a_workspace_is_refused_under_any_name() {
    let scratch = Scratch::new("workspace");
    let outside = scratch.0.join("alias");
    symlink(&scratch.0, &outside).unwrap();
    for workspace in [scratch.0.clone(), scratch.0.join("state"), outside] {
        Writer::open(&scratch.dir(), &[]).unwrap();
        let refused = Writer::open(&scratch.dir(), &[Path::new("/nonexistent"), &workspace]);
        assert!(matches!(refused, Err(OpenError::InWorkspace { .. })), "{workspace:?}: {refused:?}");
    }
    let elsewhere = scratch.0.join("project");
    fs::create_dir(&elsewhere).unwrap();
    Writer::open(&scratch.dir(), &[&elsewhere]).unwrap();
}

#[test]
fn a_place_that_others_can_write_is_refused() {
    let scratch = Scratch::new("writable");
    Writer::open(&scratch.dir(), &[]).unwrap();
    for (path, mode) in [(scratch.dir(), 0o720), (scratch.dir(), 0o702), (scratch.0.join("state"), 0o707)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let refused = Writer::open(&scratch.dir(), &[]);
        assert!(matches!(refused, Err(OpenError::Writable { .. })), "{path:?} {mode:o}: {refused:?}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    }
    Writer::open(&scratch.dir(), &[]).unwrap();
}

#[test]
fn a_foreign_directory_is_refused() {
    if !rustix::process::geteuid().is_root() {
        // Only root can give a directory away; as anybody else, use one that is not ours.
        let refused = Writer::open(Path::new("/etc"), &[]);
        assert!(matches!(refused, Err(OpenError::Foreign { .. })), "{refused:?}");
        return;
    }
    let scratch = Scratch::new("foreign");
    Writer::open(&scratch.dir(), &[]).unwrap();
    for path in [scratch.dir(), scratch.0.join("state")] {
        std::os::unix::fs::chown(&path, Some(12_345), None).unwrap();
        let refused = Writer::open(&scratch.dir(), &[]);
        assert!(matches!(refused, Err(OpenError::Foreign { owner: 12_345, .. })), "{path:?}: {refused:?}");
        std::os::unix::fs::chown(&path, Some(0), None).unwrap();
    }
}

#[test]
fn planted_files_are_refused() {
    let scratch = Scratch::new("planted");
    fs::create_dir_all(scratch.0.join("state/mantlet")).unwrap();
    fs::DirBuilder::new().mode(0o700).create(scratch.dir()).unwrap();
    let victim = scratch.0.join("victim");
    fs::write(&victim, "").unwrap();

    symlink(&victim, scratch.file()).unwrap();
    assert!(matches!(Writer::open(&scratch.dir(), &[]), Err(OpenError::File { .. })));
    assert!(Reader::open(&scratch.file()).is_err());
    fs::remove_file(scratch.file()).unwrap();

    fs::set_permissions(&victim, fs::Permissions::from_mode(0o600)).unwrap();
    fs::hard_link(&victim, scratch.file()).unwrap();
    assert!(matches!(Writer::open(&scratch.dir(), &[]), Err(OpenError::Untrusted { .. })));
    fs::remove_file(scratch.file()).unwrap();

    assert!(Command::new("mkfifo").arg("-m600").arg(scratch.file()).status().unwrap().success());
    assert!(matches!(Writer::open(&scratch.dir(), &[]), Err(OpenError::Untrusted { .. })));
    fs::remove_file(scratch.file()).unwrap();

    fs::write(scratch.file(), "").unwrap();
    fs::set_permissions(scratch.file(), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(Writer::open(&scratch.dir(), &[]), Err(OpenError::Untrusted { .. })));
}

#[test]
fn a_full_device_is_an_error_and_not_a_loss() {
    let scratch = Scratch::new("full");
    let mut writer = Writer::open(&scratch.dir(), &[]).unwrap();
    writer.append(&entry("one")).unwrap();
    // RLIMIT_FSIZE stands in for a full disk: the write is cut short at the limit. In a child, because it is
    // inherited and SIGXFSZ would end the test.
    let script = "trap '' XFSZ; ulimit -f 1; exec \"$0\" --exact child_meets_the_limit --quiet";
    let status = Command::new("bash")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .env("LEDGER_LIMIT_DIR", scratch.dir())
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    writer.append(&entry("three")).unwrap();
    assert_eq!(commands(&scratch.file()), (vec!["one".into(), "three".into()], 0));
}

/// The child of the test above; does nothing when run by itself.
#[test]
fn child_meets_the_limit() {
    let Some(dir) = std::env::var_os("LEDGER_LIMIT_DIR") else {
        return;
    };
    let mut writer = Writer::open(Path::new(&dir), &[]).unwrap();
    let failed = writer.append(&entry(&"two".repeat(4096)));
    assert!(matches!(failed, Err(AppendError::Short { .. })), "{failed:?}");
}
