//! A user namespace that exists only to be named in an idmapped mount: root's files become the jail's own.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};

use crate::ids::Ids;
use crate::sys::{self, Fork};

/// Makes the namespace: uid 0 on disk is the jail's uid, everybody else stays who they are.
pub(crate) fn user_namespace(ids: Ids) -> io::Result<OwnedFd> {
    let (gone, held) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    match sys::clone(libc::CLONE_NEWUSER)? {
        Fork::Child => {
            // Lives until its namespace is opened: the parent's end of the pipe closes then.
            drop(held);
            let mut byte = [0];
            rustix::io::read(&gone, &mut byte).ok();
            sys::exit_now(0)
        }
        Fork::Parent(pid) => {
            let opened = write_and_open(pid, ids);
            drop(held);
            // Not waited for: init waits for the map. It ends by itself, and is reaped when this process has ended.
            opened
        }
    }
}

fn write_and_open(pid: i32, ids: Ids) -> io::Result<OwnedFd> {
    fs::write(format!("/proc/{pid}/uid_map"), format!("0 {} 1\n1 1 65535", ids.uid))?;
    fs::write(format!("/proc/{pid}/gid_map"), format!("0 {} 1\n1 1 65535", ids.gid))?;
    Ok(rustix::fs::open(format!("/proc/{pid}/ns/user"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}
