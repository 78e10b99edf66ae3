//! Where the ledger lies, and whether that place can be trusted with evidence.
//!
//! The attacks: a state directory that another user owns or can swap for one of theirs, and one that lies in a
//! workspace, where the agent that is written about could rewrite it.

use std::ffi::OsStr;
use std::fs::{DirBuilder, Metadata};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::process::{getegid, geteuid};

use crate::OpenError;

/// The ledger's file in its directory.
pub const FILE_NAME: &str = "ledger.jsonl";

/// Returns the directory of the ledger: `$XDG_STATE_HOME/mantlet/ledger`, or the same below `~/.local/state`.
///
/// A relative `XDG_STATE_HOME` is ignored, as the XDG base directory specification asks.
pub fn ledger_dir(xdg_state_home: Option<&OsStr>, home: &Path) -> PathBuf {
    let state = xdg_state_home.map(PathBuf::from).filter(|path| path.is_absolute());
    state.unwrap_or_else(|| home.join(".local/state")).join("mantlet/ledger")
}

const STICKY: u32 = 0o1000;

/// Makes the directory if it is missing, and opens it once it has been judged.
pub(crate) fn open_dir(dir: &Path, workspaces: &[&Path]) -> Result<(OwnedFd, PathBuf), OpenError> {
    if !dir.is_absolute() {
        return Err(OpenError::Relative { path: dir.into() });
    }
    let failed = |step: &'static str, path: &Path| {
        let path = path.to_path_buf();
        move |source| OpenError::Directory { step, path, source }
    };
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed("make", dir))?;
    let path = dir.canonicalize().map_err(failed("resolve", dir))?;
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
    let fd = rustix::fs::open(&path, flags, Mode::empty()).map_err(|e| failed("open", &path)(e.into()))?;
    let stat = rustix::fs::fstat(&fd).map_err(|e| failed("examine", &path)(e.into()))?;
    if stat.st_uid != geteuid().as_raw() {
        return Err(OpenError::Foreign { path, owner: stat.st_uid });
    }
    if stat.st_mode & 0o022 != 0 {
        return Err(OpenError::Writable { path });
    }
    judge_ancestors(&path, workspaces)?;
    Ok((fd, path))
}

/// Whoever can write a directory above can put another ledger in the place of this one.
fn judge_ancestors(path: &Path, workspaces: &[&Path]) -> Result<(), OpenError> {
    let examine = |at: &Path| {
        let failed = |source| OpenError::Directory { step: "examine", path: at.into(), source };
        std::fs::symlink_metadata(at).map_err(failed)
    };
    // In a user namespace that does not map root, root's directories seem to be owned by the overflow uid.
    let system = examine(Path::new("/"))?.uid();
    let roots = workspaces.iter().map(|w| identity(w)).collect::<Result<Vec<_>, _>>()?;
    for above in path.ancestors() {
        let meta = examine(above)?;
        if roots.iter().flatten().any(|root| *root == (meta.dev(), meta.ino())) {
            return Err(OpenError::InWorkspace { path: path.into(), workspace: above.into() });
        }
        if ![0, system, geteuid().as_raw()].contains(&meta.uid()) {
            return Err(OpenError::Foreign { path: above.into(), owner: meta.uid() });
        }
        if is_open_to_others(&meta) {
            return Err(OpenError::Writable { path: above.into() });
        }
    }
    Ok(())
}

/// A group of one's own (umask 002, as Ubuntu has it) is nobody else; in a sticky directory only owners rename.
fn is_open_to_others(meta: &Metadata) -> bool {
    let is_own_group = meta.gid() == getegid().as_raw() && meta.uid() == geteuid().as_raw();
    let others = if is_own_group { 0o002 } else { 0o022 };
    meta.mode() & others != 0 && meta.mode() & STICKY == 0
}

/// The workspace as the kernel knows it: a bind mount or a symlink is another name, not another directory.
fn identity(workspace: &Path) -> Result<Option<(u64, u64)>, OpenError> {
    match std::fs::metadata(workspace) {
        Ok(meta) => Ok(Some((meta.dev(), meta.ino()))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(OpenError::Directory { step: "examine", path: workspace.into(), source }),
    }
}
