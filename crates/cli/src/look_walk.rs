//! The walk of `mantlet look`: which places of the inventory a command of this process's rights could take.
//!
//! It opens to see whether that is allowed, and reads nothing. The same code runs outside and in the jail.

use std::fs::{self, OpenOptions};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use mantlet_clients::{SECRETS, STATE_DIRS, STATE_SECRETS, SecretKind};
use mantlet_ledger::escape;
use rustix::fs::{Access, AtFlags, CWD, OFlags};
use serde::{Deserialize, Serialize};

/// The walk ends after this time, whatever is left.
const LONGEST: Duration = Duration::from_millis(1000);
/// Names looked at in one directory.
const MOST_NAMES: usize = 2000;

/// One thing that could be taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Taken {
    /// The group, for a person.
    pub(crate) kind: String,
    /// The path, or the variable's name; escaped.
    pub(crate) name: String,
    /// What it is.
    pub(crate) what: String,
}

/// What one walk found.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// In the order of the inventory.
    pub(crate) taken: Vec<Taken>,
    /// Whether time or a directory's size cut the walk short, so that there may be more.
    pub(crate) is_cut: bool,
}

/// Where to look from.
pub(crate) struct Walk<'a> {
    pub(crate) home: &'a Path,
    pub(crate) workspace: &'a Path,
    /// The caller's id outside, for the names in /run/user.
    pub(crate) uid: u32,
}

impl Walk<'_> {
    /// Looks at every place of the inventory, and at the environment's names.
    pub(crate) fn run(&self) -> Seen {
        let end = Instant::now() + LONGEST;
        let mut seen = Seen::default();
        let mut known: Vec<PathBuf> = Vec::new();
        for (place, kind, what) in self.places() {
            for path in expand(&place, end, &mut seen.is_cut) {
                let is_own = path == self.home || self.workspace.starts_with(&path);
                if is_own || known.contains(&path) || !can_take(&path, kind) {
                    continue;
                }
                let name = escape(path.as_os_str().as_bytes());
                seen.taken.push(Taken { kind: group(kind).into(), name, what: what.clone() });
                known.push(path);
            }
        }
        for (name, value) in std::env::vars_os() {
            if !value.is_empty() && is_secret_name(name.as_bytes()) {
                let name = escape(name.as_bytes());
                seen.taken.push(Taken { kind: ENVIRONMENT.into(), name, what: "environment variable".into() });
            }
        }
        seen
    }

    fn places(&self) -> Vec<(PathBuf, SecretKind, String)> {
        let mut places = Vec::new();
        for row in SECRETS {
            let text = row.path.replace("{uid}", &self.uid.to_string());
            let path = text.strip_prefix("~/").map_or_else(|| PathBuf::from(&text), |rest| self.home.join(rest));
            places.push((path, row.kind, row.what.to_owned()));
        }
        for secret in STATE_SECRETS {
            for state in STATE_DIRS.iter().filter(|state| state.client == secret.client) {
                let path = self.home.join(state.path).join(secret.path);
                places.push((path, SecretKind::AgentState, format!("{}'s state", state.client)));
            }
        }
        places
    }
}

/// The group of environment variables.
pub(crate) const ENVIRONMENT: &str = "environment";

/// Every group, in the order of the table.
pub(crate) const GROUPS: &[&str] = &[
    "ssh keys and hosts",
    "private keys",
    "cloud tokens",
    "developer tokens",
    "keyrings",
    "browser profiles",
    "agents' state",
    "messengers and mail",
    "histories",
    "wallets",
    "sockets",
    "start-up files",
    "system",
    ENVIRONMENT,
];

fn group(kind: SecretKind) -> &'static str {
    match kind {
        SecretKind::SshKey => "ssh keys and hosts",
        SecretKind::PrivateKey => "private keys",
        SecretKind::CloudToken => "cloud tokens",
        SecretKind::DeveloperToken => "developer tokens",
        SecretKind::Keyring => "keyrings",
        SecretKind::Browser => "browser profiles",
        SecretKind::AgentState => "agents' state",
        SecretKind::Messages => "messengers and mail",
        SecretKind::History => "histories",
        SecretKind::Wallet => "wallets",
        SecretKind::Socket => "sockets",
        SecretKind::Startup => "start-up files",
        SecretKind::System => "system",
    }
}

/// The paths that a place of the inventory stands for. `*` stands for any part of one name.
fn expand(place: &Path, end: Instant, is_cut: &mut bool) -> Vec<PathBuf> {
    let mut paths = vec![PathBuf::new()];
    for component in place.components() {
        let pattern = component.as_os_str().as_bytes();
        if !matches!(component, Component::Normal(_)) || !pattern.contains(&b'*') {
            paths.iter_mut().for_each(|path| path.push(component));
            continue;
        }
        let mut next = Vec::new();
        for directory in &paths {
            let Ok(entries) = fs::read_dir(directory) else { continue };
            for (count, entry) in entries.flatten().enumerate() {
                if count >= MOST_NAMES || Instant::now() > end {
                    *is_cut = true;
                    break;
                }
                if matches(pattern, entry.file_name().as_bytes()) {
                    next.push(entry.path());
                }
            }
        }
        paths = next;
    }
    if Instant::now() > end {
        *is_cut = true;
        return Vec::new();
    }
    paths
}

/// As a shell's `*`, without its exception for leading dots.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some((b'*', rest)) => (0..=name.len()).any(|at| matches(rest, &name[at..])),
        Some((byte, rest)) => name.first() == Some(byte) && matches(rest, &name[1..]),
    }
}

fn can_take(path: &Path, kind: SecretKind) -> bool {
    let Ok(about) = fs::metadata(path) else { return false };
    let may_write = || rustix::fs::accessat(CWD, path, Access::WRITE_OK, AtFlags::empty()).is_ok();
    if about.file_type().is_socket() || kind == SecretKind::Startup {
        return may_write();
    }
    if about.is_dir() {
        return fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
    }
    // Landlock is not asked by access(2), only by open(2). Devices and FIFOs are never opened: that may act.
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits();
    let opened =
        || i32::try_from(flags).is_ok_and(|f| OpenOptions::new().read(true).custom_flags(f).open(path).is_ok());
    about.is_file() && about.len() > 0 && opened()
}

fn is_secret_name(name: &[u8]) -> bool {
    const PARTS: &[&str] =
        &["TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "API_KEY", "APIKEY", "_KEY", "AUTH"];
    let name = String::from_utf8_lossy(name).to_uppercase();
    PARTS.iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_part_of_one_name() {
        assert!(matches(b"id_*", b"id_rsa") && matches(b"*.pem", b"a.pem") && matches(b"*", b""));
        assert!(!matches(b"id_*", b"known_hosts") && !matches(b"a*c", b"ab"));
    }

    #[test]
    fn names_of_secrets_are_told_from_others() {
        assert!(
            is_secret_name(b"GITHUB_TOKEN") && is_secret_name(b"SSH_AUTH_SOCK") && is_secret_name(b"openai_api_key")
        );
        assert!(!is_secret_name(b"PATH") && !is_secret_name(b"LANG"));
    }
}
