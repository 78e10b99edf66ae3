//! The real machine, as far as validation asks: the owner's home, the clients' state directories, `realpath`.
//!
//! On the path of every call, so that it asks the kernel little.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use mantlet_clients::{STATE_DIRS, STATE_SECRETS};
use mantlet_policy::Host;
use rustix::fs::FileType;

use crate::source::SourceError;

/// This machine, seen by the calling user.
#[derive(Debug, Clone)]
pub struct RealHost {
    home: PathBuf,
    state_dirs: Vec<PathBuf>,
    secrets: Vec<PathBuf>,
    vault: Vec<PathBuf>,
}

impl RealHost {
    /// Asks who is calling and where that user's things are.
    ///
    /// # Errors
    /// No home directory: neither HOME nor an entry in `/etc/passwd`, or one that does not resolve.
    pub fn new() -> Result<Self, SourceError> {
        // HOME is the owner's own word here: the agent's environment never reaches this process.
        let named = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
        let home = match named {
            Some(home) => home,
            None => passwd_home(rustix::process::getuid().as_raw())?,
        };
        Self::at(&home, |name| std::env::var_os(name))
    }

    /// As [`RealHost::new`], for a given home, where the environment may be an agent's.
    ///
    /// # Errors
    /// The home does not resolve.
    pub fn with_home(home: &Path) -> Result<Self, SourceError> {
        let host = Self::at(home, |name| std::env::var_os(name))?;
        // A variable that a repository sets would make its workspace the vault's place, and every call a refusal.
        let vault = vault(&host.home, |_| None);
        Ok(RealHost { vault, ..host })
    }

    /// As [`RealHost::new`], for a given home and environment.
    ///
    /// # Errors
    /// The home does not resolve.
    pub(crate) fn at(home: &Path, env: impl Fn(&str) -> Option<OsString>) -> Result<Self, SourceError> {
        let home = std::fs::canonicalize(home).map_err(|source| SourceError::Home { path: home.to_owned(), source })?;
        let (mut state_dirs, mut secrets) = (Vec::new(), Vec::new());
        for state in STATE_DIRS {
            // Both places count: the variable may be set for the agent's service and not for this caller.
            let moved = state.env.and_then(&env).map(PathBuf::from).filter(|path| path.is_absolute());
            let usual = home.join(state.path);
            let usual = (below(&home, state.path), usual);
            for (real, place) in [usual].into_iter().chain(moved.map(|moved| (resolved(&moved), moved))) {
                let names = STATE_SECRETS.iter().filter(|secret| secret.client == state.client);
                for name in names {
                    secrets.push(real.join(name.path));
                    if real != place {
                        secrets.push(place.join(name.path));
                    }
                }
                if real != place {
                    state_dirs.push(place);
                }
                state_dirs.push(real);
            }
        }
        let vault = vault(&home, env);
        Ok(RealHost { home, state_dirs, secrets, vault })
    }
}

/// What the vault opened for a service of root's. In a jail this is a directory of the jail's own.
const UNSEALED: &str = "/run/mantlet";

/// Where the vault's keys are and what it opened, under every name: also where no variable of this caller's leads, since
/// a service may have been told otherwise.
fn vault(home: &Path, env: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let named = |name: &str| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let uid = rustix::process::getuid().as_raw();
    let config = [Some(home.join(".config")), named("XDG_CONFIG_HOME")].into_iter().flatten();
    let runtime = [Some(format!("/run/user/{uid}").into()), named("XDG_RUNTIME_DIR")].into_iter().flatten();
    let keys = config.flat_map(|dir| ["mantlet/vault", "sops/age"].map(|name| dir.join(name)));
    let opened = std::iter::once(UNSEALED.into()).chain(runtime.map(|dir: PathBuf| dir.join("mantlet")));
    let mut out = Vec::new();
    for place in keys.chain(opened) {
        let real = existing(&place);
        if real != place {
            out.push(place);
        }
        out.push(real);
    }
    out
}

/// Resolves as much of a path as exists: the rest may be made while a jail stands.
fn existing(path: &Path) -> PathBuf {
    let found = path.ancestors().find_map(|dir| Some((std::fs::canonicalize(dir).ok()?, dir)));
    match found {
        Some((real, dir)) => path.strip_prefix(dir).map_or_else(|_| real.clone(), |rest| real.join(rest)),
        None => path.to_owned(),
    }
}

/// Resolves a path below a home that is resolved itself: where no name of it is a symlink, one look at each is enough.
fn below(home: &Path, path: &str) -> PathBuf {
    let mut real = home.to_owned();
    for name in Path::new(path) {
        real.push(name);
        match rustix::fs::lstat(&real) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
                return resolved(&home.join(path));
            }
            Ok(_) => {}
            Err(_) => return home.join(path),
        }
    }
    real
}

/// What does not exist, or cannot be searched, is taken by the name it has.
fn resolved(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

impl Host for RealHost {
    fn home(&self) -> &Path {
        &self.home
    }
    fn state_dirs(&self) -> &[PathBuf] {
        &self.state_dirs
    }
    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        std::fs::canonicalize(path)
    }
    fn secrets(&self) -> &[PathBuf] {
        &self.secrets
    }
    fn vault(&self) -> &[PathBuf] {
        &self.vault
    }
}

/// Finds the home of a user. Only files: a static program has no name service.
fn passwd_home(uid: u32) -> Result<PathBuf, SourceError> {
    let path = PathBuf::from("/etc/passwd");
    let text = std::fs::read_to_string(&path).map_err(|source| SourceError::Home { path, source })?;
    home_in(&text, uid).ok_or(SourceError::NoHome { uid })
}

fn home_in(passwd: &str, uid: u32) -> Option<PathBuf> {
    passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let is_user = fields.get(2)?.parse::<u32>().ok()? == uid;
        let home = PathBuf::from(fields.get(5)?);
        (is_user && home.is_absolute()).then_some(home)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn home_comes_from_passwd_by_uid() {
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\nbad\nann:x:1000:1000:Ann,,,:/home/ann:/bin/sh\nx:x:7:7::rel:/bin/sh\n";
        assert_eq!(home_in(passwd, 1000), Some("/home/ann".into()));
        assert_eq!(home_in(passwd, 7), None);
        assert_eq!(home_in(passwd, 5), None);
    }

    #[test]
    fn a_moved_and_a_symlinked_state_directory_count_under_every_name() {
        let top = std::env::temp_dir().join(format!("mantlet-host-{}", std::process::id()));
        std::fs::create_dir_all(top.join("home")).unwrap();
        std::fs::create_dir_all(top.join("data/oc")).unwrap();
        std::os::unix::fs::symlink(top.join("data/oc"), top.join("home/.openclaw")).unwrap();
        let moved = top.join("codex-state");
        let host =
            RealHost::at(&top.join("home"), |name| (name == "CODEX_HOME").then(|| moved.clone().into())).unwrap();
        std::fs::remove_dir_all(&top).unwrap();
        let real_top = top.clone();
        for wanted in ["home/.openclaw", "data/oc", "home/.codex", "codex-state"] {
            assert!(host.state_dirs.contains(&real_top.join(wanted)), "{wanted}");
        }
        assert!(host.secrets.contains(&real_top.join("data/oc/.env")));
        assert!(host.secrets.contains(&moved.join("auth.json")));
    }
}
