//! The mounts over what is denied or protected. They are kept up by the `keeper` once the jail stands.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::mount::OpenTreeFlags;

use super::{At, CLONE, Result, Root};
use crate::layout;
use crate::plan::Plan;
use crate::spots::Spot;
use crate::sys::{self, Depth, attr};

impl Root {
    /// Pins every ancestor of a protected thing by mounting it on itself, then mounts the thing read-only.
    ///
    /// A pinned directory is a mount point and cannot be renamed away (EBUSY), which would undo the protection.
    pub(super) fn protect(&self, plan: &Plan) -> Result<()> {
        for pin in &plan.pins {
            self.cover(pin, |at| self.clone_of(at))?;
        }
        for Spot { path, .. } in &plan.protected {
            self.cover(path, |at| {
                let tree = self.clone_of(at)?;
                sys::mount_setattr(tree.as_fd(), attr::RDONLY, Depth::Tree, None)?;
                Ok(tree)
            })?;
        }
        Ok(())
    }

    /// Covers every denied thing with something of mode 000 on a read-only mount.
    pub(super) fn deny(&self, plan: &Plan) -> Result<()> {
        if plan.denied.is_empty() {
            return Ok(());
        }
        let cover = |path: &str| -> Result<OwnedFd> {
            let tree = self.clone_of_layout(Path::new(path))?;
            sys::mount_setattr(tree.as_fd(), attr::RDONLY, Depth::One, None).at("make read-only", path)?;
            Ok(tree)
        };
        let (file, dir) = (cover(layout::DENIED_FILE)?, cover(layout::DENIED_DIR)?);
        self.attach(file, Path::new(layout::DENIED_FILE))?;
        self.attach(dir, Path::new(layout::DENIED_DIR))?;
        for Spot { path, .. } in &plan.denied {
            self.cover(path, |at| {
                let is_dir = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(at)?.st_mode).is_dir();
                let mask = if is_dir { layout::DENIED_DIR } else { layout::DENIED_FILE };
                Ok(rustix::mount::open_tree(&self.fd, Self::relative(Path::new(mask)), CLONE)?)
            })?;
        }
        Ok(())
    }

    /// Mounts over something of the plan that exists. What somebody outside replaces meanwhile is tried again; what is
    /// gone is left to the keeper, should it come back: no mount point is made in a workspace.
    fn cover(&self, path: &Path, tree: impl Fn(BorrowedFd<'_>) -> io::Result<OwnedFd>) -> Result<()> {
        for _ in 0..100 {
            let at = match self.open(path, OFlags::PATH | OFlags::NOFOLLOW) {
                Err(rustix::io::Errno::NOENT) => return Ok(()),
                at => at.at("open", path)?,
            };
            match tree(at.as_fd()).and_then(|tree| Ok(self.attach_at(tree.as_fd(), at.as_fd())?)) {
                Err(e) if e.raw_os_error() == Some(libc::ENOENT) => {}
                covered => return covered.at("cover", path),
            }
        }
        Err(io::Error::other("it is replaced again and again")).at("cover", path)
    }

    /// Clones the mount at an open path.
    fn clone_of(&self, at: BorrowedFd<'_>) -> io::Result<OwnedFd> {
        Ok(rustix::mount::open_tree(at, "", CLONE | OpenTreeFlags::AT_EMPTY_PATH)?)
    }
}
