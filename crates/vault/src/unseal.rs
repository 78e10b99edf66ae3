//! A decrypted file for a service, in memory and for its user alone: there before the service starts, gone when it stops.
//!
//! Root gives it a file system of its own, a user the directory that the login made. It has a name only once it is whole:
//! whoever kills this process in between leaves nothing behind. Mounts nothing below directories that others can change.

mod environment;
mod mounted;
mod service;
mod wipe;

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};

pub(crate) use environment::is_variable;
pub use environment::{EnvironmentError, fits_environment_file};
pub use mounted::{Medium, TOP};
pub use service::{Service, ServiceError};

use crate::secret::Secret;

/// Why a file could not be put in place or taken away.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnsealError {
    /// A step failed.
    #[error("cannot {step} {}", shown(path))]
    Step {
        /// What was done.
        step: &'static str,
        /// To what.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Somebody else could change, or read, what is put there.
    #[error("{} is not this user's alone; hint: remove it, and look who made it", shown(.0))]
    Untrusted(PathBuf),
    /// The place is on a disk, or in what could become one.
    #[error("{} is no memory file system (tmpfs): plaintext would be on a disk; hint: log in by PAM and logind, which make /run/user/UID", shown(.0))]
    NotMemory(PathBuf),
    /// No memory file system that stays out of swap.
    #[error("no memory file system can be made: tmpfs with noswap: {tmpfs}; ramfs: {ramfs}")]
    NoMedium {
        /// The kernel's answer to the first.
        tmpfs: io::Error,
        /// And to the second.
        ramfs: io::Error,
    },
}

fn shown(path: &Path) -> String {
    mantlet_ledger::escape(path.as_os_str().as_encoded_bytes())
}

type Result<T> = std::result::Result<T, UnsealError>;

/// Names the step and the path of an error.
trait At<T> {
    fn at(self, step: &'static str, path: &Path) -> Result<T>;
}

impl<T, E: Into<io::Error>> At<T> for std::result::Result<T, E> {
    fn at(self, step: &'static str, path: &Path) -> Result<T> {
        self.map_err(|error| UnsealError::Step { step, path: path.to_owned(), source: error.into() })
    }
}

/// Whose the file is.
#[derive(Debug, Clone, Copy)]
pub struct Owner {
    /// The user.
    pub uid: u32,
    /// The user's group.
    pub gid: u32,
}

/// Where files for services are put.
#[derive(Debug, Clone)]
pub enum Shelf {
    /// Below this directory, each on a file system of its own. Needs root.
    Mounted(PathBuf),
    /// Below this directory of the user's (`XDG_RUNTIME_DIR`), which is in memory already.
    Runtime(PathBuf),
}

impl Shelf {
    /// Returns the place for the calling user: root mounts, anybody else has a directory of the login's.
    pub fn of_caller(runtime: Option<PathBuf>) -> Shelf {
        let uid = rustix::process::geteuid();
        match uid.is_root() {
            true => Shelf::Mounted(TOP.into()),
            false => Shelf::Runtime(runtime.unwrap_or_else(|| format!("/run/user/{}", uid.as_raw()).into())),
        }
    }

    /// Returns where the file of a service is.
    pub fn path(&self, service: &Service, name: &str) -> PathBuf {
        self.directory().join(service.as_str()).join(name)
    }

    fn directory(&self) -> PathBuf {
        match self {
            Shelf::Mounted(top) => top.clone(),
            Shelf::Runtime(top) => top.join("mantlet/vault"),
        }
    }

    /// Puts a file in place, after what was there for this service is wiped.
    ///
    /// # Errors
    /// Nothing is left of it then.
    pub fn put(&self, service: &Service, name: &str, owner: Owner, plain: &Secret) -> Result<Medium> {
        let directory = self.locked()?;
        match self {
            Shelf::Mounted(top) => {
                mounted::take(top, service)?;
                mounted::put(top, service, name, owner, plain)
            }
            Shelf::Runtime(_) => {
                let at = self.directory().join(service.as_str());
                wipe::remove(&directory, service.as_str(), &at)?;
                put_in_runtime(&directory, service, &at, name, plain)
            }
        }
    }

    /// Wipes what is there for a service. That nothing is there is fine.
    ///
    /// # Errors
    /// Something is left.
    pub fn take(&self, service: &Service) -> Result<()> {
        let directory = self.locked()?;
        match self {
            Shelf::Mounted(top) => mounted::take(top, service),
            Shelf::Runtime(_) => wipe::remove(&directory, service.as_str(), &self.directory().join(service.as_str())),
        }
    }

    /// Opens the directory, made where it is missing, for one process at a time.
    fn locked(&self) -> Result<OwnedFd> {
        let directory = match self {
            Shelf::Mounted(top) => {
                // Others may pass, to what is theirs below; only root may look around or change anything.
                let above = top.parent().unwrap_or(top);
                let outer = above.parent().unwrap_or(above);
                let outer = open(outer)?;
                let above_fd = made(&outer, above, 0o755)?;
                made(&above_fd, top, 0o711)?
            }
            Shelf::Runtime(top) => {
                let runtime = open(top)?;
                judge(&runtime, top, Mode::RWXG | Mode::RWXO)?;
                let own = made(&runtime, &top.join("mantlet"), 0o700)?;
                made(&own, &self.directory(), 0o700)?
            }
        };
        rustix::fs::flock(&directory, FlockOperation::LockExclusive).at("lock", &self.directory())?;
        Ok(directory)
    }
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn open(path: &Path) -> Result<OwnedFd> {
    rustix::fs::open(path, DIRECTORY, Mode::empty()).at("open", path)
}

/// Makes a directory in another, or takes the one that is there; `path` is its whole name.
fn made(above: &OwnedFd, path: &Path, mode: u32) -> Result<OwnedFd> {
    let name = path.file_name().unwrap_or_default();
    match rustix::fs::mkdirat(above, name, Mode::from_raw_mode(mode)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(errno) => return Err(errno).at("make the directory", path),
    }
    let directory = rustix::fs::openat(above, name, DIRECTORY, Mode::empty()).at("open", path)?;
    let shared = if mode & 0o077 == 0 { Mode::RWXG | Mode::RWXO } else { Mode::WGRP | Mode::WOTH };
    judge(&directory, path, shared)?;
    Ok(directory)
}

/// Refuses a directory of somebody else's, and one with any of these permissions.
fn judge(directory: &OwnedFd, path: &Path, shared: Mode) -> Result<()> {
    let stat = rustix::fs::fstat(directory).at("examine", path)?;
    let is_own = stat.st_uid == rustix::process::geteuid().as_raw();
    match is_own && !Mode::from_raw_mode(stat.st_mode).intersects(shared) {
        true => Ok(()),
        false => Err(UnsealError::Untrusted(path.to_owned())),
    }
}

fn put_in_runtime(above: &OwnedFd, service: &Service, at: &Path, name: &str, plain: &Secret) -> Result<Medium> {
    const TMPFS: u32 = 0x0102_1994;
    const RAMFS: u32 = 0x8584_58f6;
    let directory = made(above, at, 0o700)?;
    let kind = rustix::fs::fstatfs(&directory).at("examine", at)?.f_type;
    // The kernel's numbers have 32 bits, its type for them depends on the architecture.
    let kind = (kind as i128 & i128::from(u32::MAX)) as u32;
    if kind != TMPFS && kind != RAMFS {
        rustix::fs::unlinkat(above, service.as_str(), rustix::fs::AtFlags::REMOVEDIR).at("remove", at)?;
        return Err(UnsealError::NotMemory(at.to_owned()));
    }
    let path = at.join(name);
    let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
    let nameless = rustix::fs::openat(&directory, ".", flags, Mode::RUSR | Mode::WUSR).at("make a file in", at)?;
    let mut nameless = std::fs::File::from(nameless);
    io::Write::write_all(&mut nameless, plain.expose()).at("write", &path)?;
    let own = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&nameless));
    let follow = rustix::fs::AtFlags::SYMLINK_FOLLOW;
    rustix::fs::linkat(rustix::fs::CWD, own, &directory, name, follow).at("name", &path)?;
    Ok(if kind == RAMFS { Medium::Ramfs } else { Medium::Tmpfs })
}
