//! A memory file system for one file: filled while no path leads to it, then hung in place, whole and read-only.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, StatxAttributes, StatxFlags, Uid};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags, MoveMountFlags, UnmountFlags, fsconfig_create,
    fsconfig_reconfigure, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, fspick, move_mount, unmount,
};

use super::{At as _, DIRECTORY, Owner, Result, Service, UnsealError, open, wipe};
use crate::secret::Secret;

/// Where root's services find what was opened for them.
pub const TOP: &str = "/run/mantlet/vault";

/// What holds a file that was put in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Medium {
    /// A tmpfs that the kernel never swaps out (Linux 6.4).
    TmpfsNoSwap,
    /// A ramfs, which the kernel never swaps out either.
    Ramfs,
    /// A tmpfs that may be swapped out.
    Tmpfs,
}

/// Mounts of one service over each other: a start that no stop followed leaves one.
const MOST_MOUNTS: usize = 64;

/// Makes the file system, fills it, and hangs it in place.
pub(super) fn put(top: &Path, service: &Service, name: &str, owner: Owner, plain: &Secret) -> Result<Medium> {
    let at = top.join(service.as_str());
    let (fs, medium) = made(plain.expose().len())?;
    let attributes =
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let mount = fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes).at("mount", &at)?;
    fill(&mount, &at, name, owner, plain)?;
    // A ramfs has no size: nobody can write to it. The whole file system, so that this holds for every copy of the mount.
    reconfigure(fs.as_fd(), "ro").at("make read-only", &at)?;
    match rustix::fs::mkdir(&at, Mode::RWXU) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(errno) => return Err(errno).at("make the directory", &at),
    }
    move_mount(mount.as_fd(), "", CWD, &at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).at("mount", &at)?;
    Ok(medium)
}

fn made(size: usize) -> Result<(OwnedFd, Medium)> {
    let size = (size + 64 * 1024).to_string();
    let options = [("source", "mantlet"), ("mode", "0700"), ("size", size.as_str()), ("nr_inodes", "16")];
    let tmpfs = match file_system("tmpfs", &options, Some("noswap")) {
        Ok(fs) => return Ok((fs, Medium::TmpfsNoSwap)),
        Err(error) => error,
    };
    match file_system("ramfs", &[("source", "mantlet"), ("mode", "0700")], None) {
        Ok(fs) => Ok((fs, Medium::Ramfs)),
        Err(ramfs) => Err(UnsealError::NoMedium { tmpfs, ramfs }),
    }
}

fn file_system(kind: &str, options: &[(&str, &str)], flag: Option<&str>) -> io::Result<OwnedFd> {
    let fs = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        fsconfig_set_string(fs.as_fd(), *key, *value)?;
    }
    if let Some(flag) = flag {
        fsconfig_set_flag(fs.as_fd(), flag)?;
    }
    fsconfig_create(fs.as_fd())?;
    Ok(fs)
}

/// Writes the one file. The mount is this process's alone until it has a place.
fn fill(mount: &OwnedFd, at: &Path, name: &str, owner: Owner, plain: &Secret) -> Result<()> {
    let root = rustix::fs::openat(mount, ".", DIRECTORY, Mode::empty()).at("open", at)?;
    let path = at.join(name);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&root, name, flags, Mode::empty()).at("make", &path)?;
    let mut file = std::fs::File::from(file);
    io::Write::write_all(&mut file, plain.expose()).at("write", &path)?;
    let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
    rustix::fs::fchown(&file, Some(uid), Some(gid)).at("set the owner of", &path)?;
    rustix::fs::fchmod(&file, Mode::RUSR | Mode::WUSR).at("set the mode of", &path)?;
    rustix::fs::fchown(&root, Some(uid), Some(gid)).at("set the owner of", at)?;
    rustix::fs::fchmod(&root, Mode::RUSR | Mode::XUSR).at("set the mode of", at)
}

/// Changes whether a file system can be written. `noswap` is said again: Linux before 6.13 takes its absence for a wish.
fn reconfigure(fs: BorrowedFd<'_>, access: &str) -> io::Result<()> {
    // A ramfs ignores it.
    fsconfig_set_flag(fs, "noswap")?;
    fsconfig_set_flag(fs, access)?;
    Ok(fsconfig_reconfigure(fs)?)
}

/// Wipes and unmounts everything that is there for a service.
pub(super) fn take(top: &Path, service: &Service) -> Result<()> {
    let at = top.join(service.as_str());
    for _ in 0..MOST_MOUNTS {
        if !is_mounted(&at)? {
            break;
        }
        let wiped = wipe_mount(&at);
        // Also when wiping failed: unreachable is better than nothing.
        unmount(&at, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).at("unmount", &at)?;
        wiped?;
    }
    match rustix::fs::rmdir(&at) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno).at("remove", &at),
    }
}

fn wipe_mount(at: &Path) -> Result<()> {
    let fs = fspick(CWD, at, FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_SYMLINK_NOFOLLOW);
    let fs = fs.at("open the file system of", at)?;
    reconfigure(fs.as_fd(), "rw").at("make writable", at)?;
    wipe::contents(&open(at)?, at)
}

fn is_mounted(at: &Path) -> Result<bool> {
    match rustix::fs::statx(CWD, at, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::TYPE) {
        Ok(found) => Ok(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno).at("examine", at),
    }
}
