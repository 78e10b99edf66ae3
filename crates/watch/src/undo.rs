//! Puts one name back as its record says. Everything happens below an open directory, and nothing is followed: whoever
//! swaps a parent for a symlink meanwhile changes nothing about where this writes.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, IFlags, Mode, OFlags, RenameFlags, StatxAttributes, Uid};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use crate::kept::{Kept, Scene};
use crate::look::{self, Found, Look};
use crate::record::{Attributes, Is, Record};
use crate::store::Store;
use crate::text::hex;

/// How temporary files of ours begin. What a killed watch left behind is found by it.
pub(crate) const TEMPORARY: &str = ".mantlet-undo-";

/// Why something stands as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stands(pub(crate) String);

impl From<Errno> for Stands {
    fn from(errno: Errno) -> Stands {
        Stands(std::io::Error::from(errno).to_string())
    }
}

fn at(step: &'static str) -> impl FnOnce(Errno) -> Stands {
    move |errno| Stands(format!("cannot {step}: {}", std::io::Error::from(errno)))
}

/// One name that differs.
pub(crate) struct Job<'a> {
    pub(crate) dir: BorrowedFd<'a>,
    pub(crate) name: &'a OsStr,
    /// What is to stand there.
    pub(crate) wanted: &'a Record,
    /// What does.
    pub(crate) found: &'a Found,
    /// The inode that stood there when all was well, where it is known.
    pub(crate) known: Option<look::Stamp>,
    /// The content that is to stand there, where it is not that of the store.
    pub(crate) content: Option<Vec<u8>>,
    /// Whether the inode should stay, where that is safe: a database that is in use is not to be swapped.
    pub(crate) in_place: bool,
    pub(crate) scene: &'a Scene,
}

/// What undoing works with.
pub(crate) struct Hands<'a> {
    pub(crate) store: &'a Store,
    pub(crate) kept: &'a mut Kept,
}

impl Hands<'_> {
    /// Undoes; answers where what was found is kept.
    pub(crate) fn undo(&mut self, job: &Job<'_>) -> Result<Option<PathBuf>, Stands> {
        let is_mount = |r: &Record| r.attributes.as_ref().is_some_and(|a| a.mount);
        if is_mount(&job.found.record) && !is_mount(job.wanted) {
            unmount(job.dir, job.name)?;
            // What comes to light may be untouched, or not: the caller looks again.
            return Ok(None);
        }
        match &job.wanted.is {
            Is::Absent => self.take_away(job),
            Is::File { .. } | Is::Judged { .. } => self.file(job),
            Is::Directory | Is::Way => self.directory(job),
            Is::Symlink { target } => self.symlink(job, target),
            Is::Other { kind } => self.special(job, *kind),
            Is::Unreadable { .. } => {
                Err(Stands("the file is too large or cannot be read by this user, so that there is no copy".into()))
            }
        }
    }

    fn take_away(&mut self, job: &Job<'_>) -> Result<Option<PathBuf>, Stands> {
        if let Some(look) = &job.found.look {
            free(look);
        }
        self.take(job, job.name).map_err(at("move it away"))
    }

    fn take(&mut self, job: &Job<'_>, name: &OsStr) -> Result<Option<PathBuf>, Errno> {
        match self.kept.take(job.dir, name, job.name, job.scene) {
            Err(Errno::PERM) if free_dir(job.dir) => self.kept.take(job.dir, name, job.name, job.scene),
            other => other,
        }
    }

    fn file(&mut self, job: &Job<'_>) -> Result<Option<PathBuf>, Stands> {
        let wanted = job.wanted.attributes.clone().unwrap_or_default();
        // On the inode that was there before: any other might be a hard link to a file that the attacker would like to
        // see opened.
        let known = job.found.look.as_ref().filter(|l| is_known(job.known, l) && l.stat.stx_nlink <= wanted.nlink);
        if let Some(look) = known.filter(|_| job.in_place) {
            return fix(look, &wanted).map(|()| None);
        }
        let Some(content) = self.content(job) else {
            // Too large for a copy. Attributes alone can be put back.
            let is_same = job.wanted.sha256() == job.found.record.sha256();
            return match known.filter(|_| is_same) {
                Some(look) => fix(look, &wanted).map(|()| None),
                None => Err(Stands("there is no copy to put back".into())),
            };
        };
        let temporary = temporary()?;
        let made = make(job.dir, &temporary, &content, &wanted);
        let placed = made.and_then(|file| {
            let copy = self.place(job, temporary.as_ref())?;
            set_flags(&file, &wanted)?;
            Ok(copy)
        });
        if placed.is_err() {
            // It may have been exchanged already, and is then the intruder: gone from the place either way.
            rustix::fs::unlinkat(job.dir, &temporary, AtFlags::empty()).ok();
        }
        placed
    }

    fn content(&self, job: &Job<'_>) -> Option<Vec<u8>> {
        if job.content.is_some() {
            return job.content.clone();
        }
        let sha256 = job.wanted.sha256()?;
        if let Some(bytes) = self.store.get(sha256) {
            return Some(bytes);
        }
        // The store has lost it, and what stands there is still right: only something beside the content differs.
        let file = job.found.look.as_ref()?.file.as_ref()?;
        let bytes = look::read(file, self.store.max()).ok()??;
        (crate::text::Sha256::of(&bytes) == sha256).then_some(bytes)
    }

    /// Gives what was made its name, at once; what stood there is kept.
    fn place(&mut self, job: &Job<'_>, temporary: &OsStr) -> Result<Option<PathBuf>, Stands> {
        const TRIES: usize = 8;
        let mut copy = None;
        for _ in 0..TRIES {
            let Some(there) = look::stat(job.dir, job.name)? else {
                let renamed = rustix::fs::renameat_with(job.dir, temporary, job.dir, job.name, RenameFlags::NOREPLACE);
                match renamed {
                    Ok(()) => return Ok(copy),
                    Err(Errno::EXIST) => continue,
                    Err(Errno::PERM) if free_dir(job.dir) => continue,
                    Err(e) => return Err(at("put it back")(e)),
                }
            };
            if look::is_directory(&there) {
                copy = self.take(job, job.name).map_err(at("move the directory away"))?;
                continue;
            }
            if let Some(look) = &job.found.look {
                free(look);
            }
            match rustix::fs::renameat_with(job.dir, temporary, job.dir, job.name, RenameFlags::EXCHANGE) {
                Ok(()) => return self.put_by(job, temporary),
                Err(Errno::NOENT) => {}
                Err(Errno::PERM) if free_dir(job.dir) => {}
                // A file system that cannot exchange: what stood there is taken away first.
                Err(Errno::INVAL) => copy = self.take(job, job.name).map_err(at("move it away"))?,
                Err(e) => return Err(at("replace it")(e)),
            }
        }
        Err(Stands("somebody else was faster each time".into()))
    }

    /// Keeps what was exchanged out. Where it cannot be kept it stays beside its place; where the names there are compared as
    /// well, it gets its own back: nothing is lost by us.
    fn put_by(&mut self, job: &Job<'_>, temporary: &OsStr) -> Result<Option<PathBuf>, Stands> {
        match (self.take(job, temporary), &job.scene.aside) {
            (Ok(copy), _) => Ok(copy),
            (Err(_), Some(aside)) if !job.scene.is_tree => Ok(Some(aside.path.join(temporary))),
            (Err(e), _) => {
                rustix::fs::renameat_with(job.dir, temporary, job.dir, job.name, RenameFlags::EXCHANGE)?;
                Err(at("keep what stands there")(e))
            }
        }
    }

    fn directory(&mut self, job: &Job<'_>) -> Result<Option<PathBuf>, Stands> {
        let wanted = job.wanted.attributes.clone().unwrap_or_default();
        let mut copy = None;
        if let Some(look) = &job.found.look {
            let is_directory = matches!(job.found.record.is, Is::Directory | Is::Way);
            // A stranger's directory that was moved here must not be given to the owner of ours.
            let is_ours = is_known(job.known, look) || look.stat.stx_uid == wanted.uid;
            if is_directory && is_ours {
                let fixed = if look.file.is_some() { fix(look, &wanted) } else { reopen(job, look, &wanted) };
                return fixed.map(|()| None);
            }
            copy = self.take_away(job)?;
        }
        let made = match rustix::fs::mkdirat(job.dir, job.name, Mode::RWXU) {
            Err(Errno::PERM) if free_dir(job.dir) => rustix::fs::mkdirat(job.dir, job.name, Mode::RWXU),
            other => other,
        };
        made.map_err(at("make the directory"))?;
        let new = look::look(job.dir, job.name)?;
        match new {
            Some(look) if look::is_directory(&look.stat) => fix(&look, &wanted).map(|()| copy),
            _ => Err(Stands("the directory was replaced as soon as it was made".into())),
        }
    }

    fn symlink(&mut self, job: &Job<'_>, target: &Path) -> Result<Option<PathBuf>, Stands> {
        let wanted = job.wanted.attributes.clone().unwrap_or_default();
        let temporary = temporary()?;
        let made = match rustix::fs::symlinkat(target, job.dir, &temporary) {
            Err(Errno::PERM) if free_dir(job.dir) => rustix::fs::symlinkat(target, job.dir, &temporary),
            other => other,
        };
        made.map_err(at("make the link"))?;
        let (uid, gid) = (Some(Uid::from_raw(wanted.uid)), Some(Gid::from_raw(wanted.gid)));
        let owned = rustix::fs::chownat(job.dir, &temporary, uid, gid, AtFlags::SYMLINK_NOFOLLOW);
        let placed = owned.map_err(at("give the link its owner")).and_then(|()| self.place(job, temporary.as_ref()));
        if placed.is_err() {
            rustix::fs::unlinkat(job.dir, &temporary, AtFlags::empty()).ok();
        }
        placed
    }

    fn special(&mut self, job: &Job<'_>, kind: u32) -> Result<Option<PathBuf>, Stands> {
        if FileType::from_raw_mode(kind) != FileType::Fifo {
            return Err(Stands("a socket or a device is not made again".into()));
        }
        let mode = job.wanted.attributes.as_ref().map_or(0o600, |a| a.mode);
        let copy = if job.found.look.is_some() { self.take_away(job)? } else { None };
        let made = rustix::fs::mknodat(job.dir, job.name, FileType::Fifo, Mode::from_raw_mode(mode), 0);
        made.map_err(at("make the FIFO")).map(|()| copy)
    }
}

fn is_known(known: Option<look::Stamp>, look: &Look) -> bool {
    let now = look::stamp(&look.stat);
    known.is_some_and(|then| (then.dev, then.ino) == (now.dev, now.ino))
}

fn temporary() -> Result<String, Stands> {
    let mut random = [0; 8];
    rustix::rand::getrandom(&mut random[..], rustix::rand::GetRandomFlags::empty())?;
    Ok(format!("{TEMPORARY}{}", hex(&random)))
}

fn make(dir: BorrowedFd<'_>, name: &str, content: &[u8], wanted: &Attributes) -> Result<File, Stands> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = || rustix::fs::openat(dir, name, flags, Mode::RUSR | Mode::WUSR);
    let fd = match open() {
        Err(Errno::PERM) if free_dir(dir) => open(),
        other => other,
    };
    let mut file = File::from(fd.map_err(at("write beside it"))?);
    let written = file.write_all(content).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO));
    written.map_err(at("write a copy"))?;
    put_attributes(&file, wanted)?;
    // Without this a power failure could leave an empty file under the right name.
    rustix::fs::fsync(&file).map_err(at("write a copy to the disk"))?;
    Ok(file)
}

/// Puts attributes back on what is open. Only for an inode that is known to be ours.
fn fix(look: &Look, wanted: &Attributes) -> Result<(), Stands> {
    let Some(file) = &look.file else { return Err(Stands("it cannot be opened".into())) };
    free(look);
    put_attributes(file, wanted)?;
    set_flags(file, wanted)
}

/// Gives a directory its mode back that we may not even open; the next look does the rest.
fn reopen(job: &Job<'_>, look: &Look, wanted: &Attributes) -> Result<(), Stands> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = rustix::fs::openat(job.dir, job.name, flags, Mode::empty())?;
    let now = look::stat_of(&open)?;
    if !is_known(Some(look::stamp(&now)), look) || u32::from(now.stx_mode) & 0o7777 == wanted.mode {
        return Err(Stands("it cannot be opened".into()));
    }
    let path = format!("/proc/self/fd/{}", open.as_raw_fd());
    rustix::fs::chmod(path, Mode::from_raw_mode(wanted.mode)).map_err(at("give it its mode back"))
}

/// Owner, then extended attributes, then mode: each step can undo what follows it.
fn put_attributes(file: &File, wanted: &Attributes) -> Result<(), Stands> {
    let stat = look::stat_of(file)?;
    if (stat.stx_uid, stat.stx_gid) != (wanted.uid, wanted.gid) {
        let (uid, gid) = (Uid::from_raw(wanted.uid), Gid::from_raw(wanted.gid));
        rustix::fs::fchown(file, Some(uid), Some(gid)).map_err(at("give it its owner back"))?;
    }
    let failed = look::set_xattrs(file, &wanted.xattrs);
    if !failed.is_empty() {
        return Err(Stands(format!("cannot put back the extended attributes {failed:?}")));
    }
    rustix::fs::fchmod(file, Mode::from_raw_mode(wanted.mode)).map_err(at("give it its mode back"))
}

const HINDERING: IFlags = IFlags::IMMUTABLE.union(IFlags::APPEND);

/// Takes immutable and append-only from an inode; what cannot be taken shows when the next step fails.
fn free(look: &Look) {
    let is_hindered = |a: StatxAttributes| a.intersects(StatxAttributes::IMMUTABLE | StatxAttributes::APPEND);
    if let Some(file) = look.file.as_ref().filter(|_| is_hindered(look.stat.stx_attributes)) {
        clear(file);
    }
}

fn clear(file: &File) -> bool {
    let flags = rustix::fs::ioctl_getflags(file);
    flags.is_ok_and(|flags| {
        flags.intersects(HINDERING) && rustix::fs::ioctl_setflags(file, flags.difference(HINDERING)).is_ok()
    })
}

/// Does the same for the directory that is worked in. Answers whether it was that which hindered.
fn free_dir(dir: BorrowedFd<'_>) -> bool {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, c".", flags, Mode::empty()).is_ok_and(|dir| clear(&File::from(dir)))
}

fn set_flags(file: &File, wanted: &Attributes) -> Result<(), Stands> {
    let mut flags = IFlags::empty();
    flags.set(IFlags::IMMUTABLE, wanted.flags.immutable);
    flags.set(IFlags::APPEND, wanted.flags.append);
    if flags.is_empty() {
        return Ok(());
    }
    let now = rustix::fs::ioctl_getflags(file).map_err(at("see its flags"))?;
    rustix::fs::ioctl_setflags(file, now.union(flags)).map_err(at("set its flags"))
}

/// Takes away every file system that is mounted over a name.
pub(crate) fn unmount(dir: BorrowedFd<'_>, name: &OsStr) -> Result<(), Stands> {
    const STACK_MAX: usize = 32;
    for _ in 0..STACK_MAX {
        match look::stat(dir, name)? {
            Some(stat) if look::is_mount(&stat) => {}
            _ => return Ok(()),
        }
        let mounted: OwnedFd =
            rustix::fs::openat(dir, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        // By the descriptor: the path could lead elsewhere by now.
        let path = format!("/proc/self/fd/{}", mounted.as_fd().as_raw_fd());
        rustix::mount::unmount(path, UnmountFlags::DETACH).map_err(at("unmount what covers it"))?;
    }
    Err(Stands("too many mounts cover it".into()))
}
