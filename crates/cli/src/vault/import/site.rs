//! Where this user's OpenClaw keeps its files, and where Mantlet puts its own.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use mantlet_policy::Host as _;
use mantlet_sandbox::RealHost;

use super::super::{config_home, provide};

/// The places.
pub(super) struct Site {
    pub(super) home: PathBuf,
    pub(super) state: PathBuf,
    pub(super) config: PathBuf,
    pub(super) settings: PathBuf,
    /// The encrypted file.
    pub(super) vault: PathBuf,
    /// The program that OpenClaw calls.
    pub(super) provider: PathBuf,
    /// The records of imports.
    pub(super) records: PathBuf,
    /// The records of `mantlet install`, which are not sealed.
    pub(super) changes: PathBuf,
}

impl Site {
    pub(super) fn find() -> anyhow::Result<Site> {
        let home = RealHost::new()?.home().to_owned();
        let moved = |name: &str, usual: PathBuf| {
            let given = std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
            given.unwrap_or(usual)
        };
        let state = moved("OPENCLAW_STATE_DIR", home.join(".openclaw"));
        let config = moved("OPENCLAW_CONFIG_PATH", state.join("openclaw.json"));
        let records = moved("XDG_STATE_HOME", home.join(".local/state")).join("mantlet/vault/imports");
        let provider = moved("XDG_DATA_HOME", home.join(".local/share")).join("mantlet/bin/openclaw-secrets");
        let vault = provide::default_file()?;
        let is_root = rustix::process::geteuid().is_root();
        let changes = mantlet_change::changes_dir(is_root, std::env::var_os("XDG_STATE_HOME").as_deref(), &home);
        Ok(Site { settings: config_home()?, home, state, config, vault, provider, records, changes })
    }

    /// The script that OpenClaw calls. It wants a program of its user's own, no link, that nobody else can write; ours may
    /// be root's. It passes no environment.
    pub(super) fn script(&self) -> anyhow::Result<String> {
        let own = std::fs::read_link("/proc/self/exe").context("cannot find this program")?;
        Ok(format!(
            "#!/bin/sh\n# Written by `mantlet vault import openclaw`; `--undo` takes it away.\n\
             HOME={} XDG_CONFIG_HOME={} exec {} vault provide --file {}\n",
            quoted(&self.home),
            quoted(&self.settings),
            quoted(&own),
            quoted(&self.vault)
        ))
    }

    /// What there is of a pattern below a directory; `*` is any part of one name.
    pub(super) fn matching(directory: &Path, pattern: &str) -> Vec<PathBuf> {
        let mut found = vec![directory.to_owned()];
        for wanted in pattern.split('/') {
            found = found.iter().flat_map(|above| children(above, wanted)).collect();
        }
        found.sort();
        found
    }
}

fn children(above: &Path, wanted: &str) -> Vec<PathBuf> {
    let Some((before, after)) = wanted.split_once('*') else {
        let path = above.join(wanted);
        return if path.symlink_metadata().is_ok() { vec![path] } else { Vec::new() };
    };
    let fits = |name: &std::ffi::OsStr| {
        let name = name.as_encoded_bytes();
        name.len() >= wanted.len() - 1 && name.starts_with(before.as_bytes()) && name.ends_with(after.as_bytes())
    };
    let entries = std::fs::read_dir(above).into_iter().flatten().flatten();
    entries.filter(|entry| fits(&entry.file_name())).map(|entry| entry.path()).collect()
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_one_name_each() {
        let top = std::env::temp_dir().join(format!("mantlet-site-{}", std::process::id()));
        for name in ["agents/a/agent/db", "agents/b/agent/db", "agents/b/other/db", "x.bak", "x.bak.1", "x.ba"] {
            std::fs::create_dir_all(top.join(name).parent().unwrap()).unwrap();
            std::fs::write(top.join(name), "").unwrap();
        }
        let names = |pattern: &str| {
            let found = Site::matching(&top, pattern);
            found.iter().map(|path| path.strip_prefix(&top).unwrap().to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names("agents/*/agent/db"), ["agents/a/agent/db", "agents/b/agent/db"]);
        assert_eq!(
            (names("x.bak"), names("x.bak.*"), names("none/*")),
            (vec!["x.bak".into()], vec!["x.bak.1".into()], vec![])
        );
        std::fs::remove_dir_all(top).unwrap();
    }
}
