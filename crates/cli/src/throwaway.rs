//! A private directory that goes away with the value: where a trial run keeps its records.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::Context as _;

/// A directory of mode 0700 below the temporary directory.
pub(crate) struct Throwaway {
    pub(crate) path: PathBuf,
}

impl Throwaway {
    /// Makes it; one that exists is somebody else's, and an error.
    pub(crate) fn new(purpose: &str) -> anyhow::Result<Throwaway> {
        let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let name = format!("mantlet-{purpose}-{}-{nanos}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.with_context(|| format!("cannot make {}\nhint: set TMPDIR to a directory you may write", path.display()))?;
        Ok(Throwaway { path })
    }
}

impl Drop for Throwaway {
    fn drop(&mut self) {
        // Best effort: it holds nothing but the records of a trial.
        fs::remove_dir_all(&self.path).ok();
    }
}
