//! Each channel against a server or program of the test's own on loopback, and the attacks that come through an alert.

mod flood;
mod mail;
mod programs;
mod secrets;
mod servers;
mod text;
mod web;

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mantlet_policy::{Host, parse};

use super::channel::Settings;
use super::{Alert, Channel, Pace, Record, SendError, configured, send_once};

/// A token as a provider makes them, so that the detectors know it; and one that no detector knows.
pub(super) const KNOWN: &str = concat!("ghp_", "16C7e42F292c6912E7710c838347Ae178B4a");
const UNKNOWN: &str = "tk-canary-8271-very-secret";

/// A host without agents: nothing here asks it for more than a home.
pub(super) struct Nowhere;

impl Host for Nowhere {
    fn home(&self) -> &Path {
        Path::new("/nonexistent/home")
    }
    fn state_dirs(&self) -> &[PathBuf] {
        &[]
    }
    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        path.join("").canonicalize()
    }
}

/// A directory that is gone after the test.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Dir {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("mantlet-alert-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Dir(path.canonicalize().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn file(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    /// A file that holds [`UNKNOWN`], for a policy.
    fn token(&self) -> String {
        self.file("token", &format!("{UNKNOWN}\n"), 0o600).to_str().unwrap().to_owned()
    }

    fn program(&self, name: &str, text: &str) -> String {
        self.file(name, &format!("#!/bin/sh\n{text}\n"), 0o700).to_str().unwrap().to_owned()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// The settings of a policy with this section, with short pauses.
fn settings(section: &str) -> Settings {
    let policy = parse(&format!("version = 1\n{section}"), Path::new("test.toml"), &Nowhere).unwrap();
    let mut settings = Settings::new(&policy).unwrap();
    let pause = Duration::from_millis(20);
    settings.pace = Pace { timeout: Duration::from_secs(5), pauses: [pause, pause] };
    settings
}

/// The same, for what will not answer.
fn hasty(section: &str) -> Settings {
    let mut settings = settings(section);
    settings.pace.timeout = Duration::from_millis(500);
    settings
}

/// An alert with a file's name that an agent chose.
fn alert(name: &str) -> Alert {
    Alert::new(&format!("put back: {name}"), name)
        .when("2026-01-02T03:04:05.678Z")
        .who(&format!("pid 7, {name}"))
        .outcome("It was put back.")
        .next("mantlet log")
}

/// Sends by the only channel there is.
fn send(settings: &Settings, alert: &Alert) -> Result<(), SendError> {
    let channels = configured(&settings.policy);
    assert_eq!(channels.len(), 1);
    let sent = send_once(settings, channels[0], alert);
    if let Err(error) = &sent {
        assert!(!format!("{error} {error:?}").contains(UNKNOWN), "{error}");
    }
    sent
}

/// What would be in the ledger.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<mantlet_ledger::Alert>>>);

impl Kept {
    fn record(&self) -> Record {
        let kept = Arc::clone(&self.0);
        Arc::new(move |entry| kept.lock().unwrap().push(entry))
    }

    fn all(&self) -> Vec<mantlet_ledger::Alert> {
        self.0.lock().unwrap().clone()
    }

    fn outcomes(&self, channel: Channel) -> Vec<String> {
        let all = self.all().into_iter().filter(|entry| entry.channel == channel.word());
        all.map(|entry| entry.outcome).collect()
    }
}
