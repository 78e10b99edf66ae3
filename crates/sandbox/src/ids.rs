//! Which uid a jail runs as, outside and inside. Never 0 in either.
//!
//! With kernel uid 0 and no capability at all, /proc/sys/kernel/core_pattern opens for writing,
//! RLIMIT_NPROC is ignored, and a chmod leaves a root setuid file on the host.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::Serialize;

/// For a root caller whose workspace belongs to root. Above every range that systemd, containers and subuids use.
pub(crate) const RESERVED: u32 = 2_000_000_000;

/// How the ids of a jail come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mapping {
    /// An ordinary caller: its own uid, alone in a user namespace.
    Caller,
    /// A root caller: the uid that owns the workspace.
    Owner,
    /// A root caller and a workspace of root: a reserved uid, and an idmapped mount that shows root's files as its own.
    Idmapped,
}

/// The ids of a jail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Ids {
    /// The uid inside, which is also the kernel's.
    pub uid: u32,
    /// The gid inside, which is also the kernel's.
    pub gid: u32,
    /// How they come about.
    pub mapping: Mapping,
}

impl Ids {
    /// Chooses the ids for a caller and a workspace.
    ///
    /// # Errors
    /// When the workspace cannot be examined.
    pub(crate) fn choose(workspace: &Path) -> std::io::Result<Ids> {
        let uid = rustix::process::geteuid().as_raw();
        let gid = rustix::process::getegid().as_raw();
        if uid != 0 {
            return Ok(Ids { uid, gid, mapping: Mapping::Caller });
        }
        let meta = std::fs::metadata(workspace)?;
        if meta.uid() == 0 {
            return Ok(Ids { uid: RESERVED, gid: RESERVED, mapping: Mapping::Idmapped });
        }
        let gid = if meta.gid() == 0 { meta.uid() } else { meta.gid() };
        Ok(Ids { uid: meta.uid(), gid, mapping: Mapping::Owner })
    }
}
