//! The machine as far as advice asks: whether a path could be opened for an agent by its owner at all.

use std::io;
use std::path::{Path, PathBuf};

use mantlet_clients::{STATE_DIRS, STATE_SECRETS};
use mantlet_policy::Host;

/// The owner's home and what agent clients keep in it. Nothing of the environment: an agent may have written that.
#[derive(Debug)]
pub(crate) struct OwnersHome {
    home: PathBuf,
    state_dirs: Vec<PathBuf>,
    secrets: Vec<PathBuf>,
}

impl OwnersHome {
    pub(crate) fn new(home: &Path) -> OwnersHome {
        let mut host = OwnersHome { home: resolved(home), state_dirs: Vec::new(), secrets: Vec::new() };
        for state in STATE_DIRS {
            let written = host.home.join(state.path);
            let real = resolved(&written);
            for name in STATE_SECRETS.iter().filter(|secret| secret.client == state.client) {
                host.secrets.extend([real.join(name.path), written.join(name.path)]);
            }
            host.state_dirs.extend([real, written]);
        }
        host
    }
}

fn resolved(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

impl Host for OwnersHome {
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
}
