//! Copies of what was undone, as their owner may take them back.
//!
//! The attacks: a copy that is a link to the owner's secrets, a FIFO that hangs whoever opens it, and a file that says
//! something else by the time it is taken than when it was shown.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use rustix::fs::{Mode, OFlags};

/// The largest copy that is taken.
const MOST: u64 = 64 << 20;

/// Reads a copy once.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::LOOP) => bail!("what was undone is a link, and is not taken: {path:?}"),
        Err(rustix::io::Errno::NOENT) => bail!("the copy in {path:?} is gone"),
        Err(error) => return Err(error).with_context(|| format!("cannot read the copy in {path:?}")),
    };
    let meta = file.metadata().with_context(|| format!("cannot look at the copy in {path:?}"))?;
    let is_ours = meta.uid() == rustix::process::geteuid().as_raw() && meta.nlink() == 1;
    if !meta.is_file() || !is_ours || meta.len() > MOST {
        bail!(
            "what was undone is no file, too large or still in other hands, and is not taken: {path:?}\nhint: change it yourself, and then: mantlet watch accept"
        );
    }
    let mut bytes = Vec::new();
    file.take(MOST + 1).read_to_end(&mut bytes).with_context(|| format!("cannot read the copy in {path:?}"))?;
    if bytes.len() as u64 > MOST {
        bail!("the copy in {path:?} grows while it is read");
    }
    Ok(bytes)
}

/// Reads a copy that was shown with this hash.
pub(super) fn read_shown(path: &Path, sha256: &str) -> anyhow::Result<Vec<u8>> {
    let bytes = read(path)?;
    match mantlet_watch::content_hash(&bytes) == sha256 {
        true => Ok(bytes),
        false => bail!("the copy in {path:?} is not what was shown, and nothing was accepted"),
    }
}
