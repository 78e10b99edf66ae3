//! A home with a ledger, and `mantlet log` in it.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use mantlet_ledger::{Egress, Entry, Exec, FILE_NAME, Kind, Writer, ledger_dir};

pub(crate) struct Home(pub(crate) PathBuf);

impl Home {
    pub(crate) fn new(name: &str) -> Home {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("log-{name}-{}", std::process::id()));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).unwrap();
        Home(path)
    }

    pub(crate) fn append(&self, time: &str, agent: &str, command: &str) {
        let exec = Exec {
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
        };
        self.append_kind(time, agent, Kind::Exec(exec));
    }

    pub(crate) fn append_kind(&self, time: &str, agent: &str, kind: Kind) {
        let (time, agent, policy) = (time.into(), agent.into(), "0".repeat(64));
        let entry = Entry { v: 1, time, agent, policy, kind, chain: None };
        Writer::open(&ledger_dir(None, &self.0), &[]).unwrap().append(&entry).unwrap();
    }

    pub(crate) fn append_egress(&self, host: &str) {
        let egress = Egress {
            call: Some("c1".into()),
            outcome: "refused".into(),
            way: "dns".into(),
            host: host.into(),
            rule: None,
            reason: Some("no rule allows it".into()),
            address: None,
            up: 0,
            down: 0,
            count: 3,
        };
        self.append_kind("2026-11-24T10:00:00.000Z", "main", Kind::Egress(egress));
    }

    pub(crate) fn file(&self) -> PathBuf {
        ledger_dir(None, &self.0).join(FILE_NAME)
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        // As from a terminal: what a shell starts in the background, such as these tests, ignores SIGINT.
        let mut command = Command::new("env");
        command.args(["--default-signal=INT", env!("CARGO_BIN_EXE_mantlet"), "log"]).args(args);
        command.env("HOME", &self.0).env_remove("XDG_STATE_HOME");
        command
    }

    pub(crate) fn log(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    pub(crate) fn lines(&self, args: &[&str]) -> Vec<String> {
        let output = self.log(args);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}
