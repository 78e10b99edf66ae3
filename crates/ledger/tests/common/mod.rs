//! A place for a ledger, and something to write into it.

#![allow(clippy::unwrap_used)] // A test's helper functions may fail the test.
#![allow(dead_code)] // Not every test needs all of it.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use mantlet_ledger::{Entry, Exec, FILE_NAME, Kind};

/// A directory that nobody else can write above, removed afterwards.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Scratch {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).unwrap();
        Scratch(path.canonicalize().unwrap())
    }
    pub(crate) fn dir(&self) -> PathBuf {
        self.0.join("state/mantlet/ledger")
    }
    pub(crate) fn file(&self) -> PathBuf {
        self.dir().join(FILE_NAME)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

pub(crate) fn entry(command: &str) -> Entry {
    Entry {
        v: 1,
        time: mantlet_ledger::rfc3339(std::time::SystemTime::now()),
        agent: "main".into(),
        policy: "0".repeat(64),
        kind: Kind::Exec(Exec {
            call: "c1".into(),
            command: command.into(),
            session: None,
            run: None,
            tier: "full".into(),
            mechanisms: [("landlock".to_owned(), "full".to_owned())].into(),
            exit: 0,
            reason: None,
            duration_ms: 3,
            bytes_out: Some(1),
            findings: vec![],
        }),
        chain: None,
    }
}
