//! What the root of a whole agent's jail has beside that of a command: copies, other names, and the supervisor's socket.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::{At, Result, Root};
use crate::ids::Mapping;
use crate::layout;
use crate::plan::Plan;

/// Makes the socket at which the jail's commands ask for jails of their own. Its name is in the jail's own root, which
/// no path of the host leads to: whoever is not in the jail must be handed it.
pub(super) fn listen() -> Result<OwnedFd> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
    let at = layout::SOCKET;
    let (kind, flags) = (SocketType::SEQPACKET, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK);
    let socket = rustix::net::socket_with(AddressFamily::UNIX, kind, flags, None).at("make the socket", at)?;
    let address = SocketAddrUnix::new(at).at("name the socket", at)?;
    rustix::net::bind(&socket, &address).at("make the socket", at)?;
    rustix::net::listen(&socket, 128).at("listen at", at)?;
    Ok(socket)
}

impl Root {
    /// A whole agent's copies of its owner's files.
    pub(super) fn copy_into_home(&self, plan: &Plan) -> Result<()> {
        for (path, content) in plan.whole.iter().flat_map(|whole| &whole.copies) {
            let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { continue };
            let dir = self.open(dir, OFlags::PATH | OFlags::DIRECTORY).at("open", dir)?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = rustix::fs::openat(&dir, name, flags, Mode::from_raw_mode(0o600)).at("make", path)?;
            if plan.ids.mapping != Mapping::Caller {
                let (uid, gid) = (rustix::fs::Uid::from_raw(self.uid), rustix::fs::Gid::from_raw(self.gid));
                rustix::fs::fchown(&file, Some(uid), Some(gid)).at("set the owner of", path)?;
            }
            io::Write::write_all(&mut std::fs::File::from(file), content).at("write", path)?;
        }
        Ok(())
    }

    /// A whole agent's other names of what is shown. Last: a name may lie in a private directory.
    pub(super) fn make_links(&self, plan: &Plan) -> Result<()> {
        for (path, target) in plan.whole.iter().flat_map(|whole| &whole.links) {
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { continue };
            self.make_points(parent)?;
            let dir = self.open(parent, OFlags::PATH | OFlags::DIRECTORY).at("open", parent)?;
            match rustix::fs::symlinkat(target, &dir, name) {
                // A place of the same name is shown there.
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(e) => return Err(e).at("make", path),
            }
        }
        Ok(())
    }

    /// Makes a directory of the plan where it is missing.
    fn make_points(&self, path: &Path) -> Result<()> {
        match self.open(path, OFlags::PATH | OFlags::DIRECTORY) {
            Err(rustix::io::Errno::NOENT) => self.make_point(path, true),
            opened => opened.map(drop).at("open", path),
        }
    }
}
