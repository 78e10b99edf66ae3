//! What was found in the place of something protected, kept for study: bounded in number and bytes.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::look::{self, Look};
use crate::state::{StateDir, StateError, failed, open_dir};

/// How deep a directory is gone through; what lies deeper is not counted, and removed by name where it can be.
const DEPTH_MAX: usize = 64;
/// How many entries of a directory are counted; one with more counts as too large.
const ENTRIES_MAX: usize = 10_000;

/// The quarantine.
#[derive(Debug)]
pub(crate) struct Kept {
    dir: OwnedFd,
    path: PathBuf,
    items: VecDeque<(String, u64)>,
    bytes: u64,
    items_max: usize,
    bytes_max: u64,
    copy_max: u64,
    next: u64,
    trash: VecDeque<String>,
}

impl Kept {
    pub(crate) fn open(state: &StateDir, items_max: usize, bytes_max: u64, copy_max: u64) -> Result<Kept, StateError> {
        let (dir, path) = state.sub("kept")?;
        let listing = rustix::fs::Dir::read_from(&dir).map_err(failed("list", &path))?;
        let mut names: Vec<String> = listing.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        names.retain(|name| name != "." && name != "..");
        // Names begin with the time: the oldest come first.
        names.sort_unstable();
        let mut kept = Kept {
            dir,
            path,
            items: VecDeque::new(),
            bytes: 0,
            items_max,
            bytes_max,
            copy_max,
            next: 0,
            trash: VecDeque::new(),
        };
        for name in names {
            kept.count(name);
        }
        Ok(kept)
    }

    fn count(&mut self, name: String) {
        let size = size(self.dir.as_fd(), name.as_ref(), 0, &mut 0).unwrap_or(0);
        self.bytes = self.bytes.saturating_add(size);
        self.items.push_back((name, size));
        while self.items.len() > self.items_max || self.bytes > self.bytes_max {
            let Some((oldest, size)) = self.items.pop_front() else { break };
            self.bytes = self.bytes.saturating_sub(size);
            // Not here: a directory with a million files in it would keep us from undoing the next thing.
            self.trash.push_back(oldest);
        }
    }

    /// Removes what had to go, until that time. What cannot be removed is found again by the next start.
    pub(crate) fn empty_trash(&mut self, until: Instant) {
        while let Some(name) = self.trash.pop_front() {
            if remove(self.dir.as_fd(), name.as_ref(), 0, Some(until)) == Err(Errno::AGAIN) {
                self.trash.push_front(name);
                return;
            }
        }
    }

    /// Takes what stands at a name out of the way, whole and at once; over file systems, by copy.
    pub(crate) fn take(&mut self, dir: BorrowedFd<'_>, name: &OsStr, called: &OsStr) -> Result<PathBuf, Errno> {
        let new = self.name(called);
        let moved = self.rename(dir, name, &new);
        match moved {
            Err(Errno::XDEV) => {
                self.copy_out(dir, name, &new)?;
                if look::stat(self.dir.as_fd(), new.as_ref())?.is_none() {
                    return Ok(PathBuf::from("(not kept: too large to copy, or nothing that can be copied)"));
                }
            }
            other => other?,
        }
        self.count(new.clone());
        Ok(self.path.join(new))
    }

    fn rename(&self, dir: BorrowedFd<'_>, name: &OsStr, new: &str) -> Result<(), Errno> {
        let rename = || rustix::fs::renameat_with(dir, name, &self.dir, new, RenameFlags::NOREPLACE);
        match rename() {
            // A directory changes its parent only for who may write it: one of ours can be made so.
            Err(Errno::ACCESS) => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let inner = rustix::fs::openat(dir, name, flags, Mode::empty()).map_err(|_| Errno::ACCESS)?;
                rustix::fs::chmod(format!("/proc/self/fd/{}", inner.as_raw_fd()), Mode::RWXU)?;
                rename()
            }
            other => other,
        }
    }

    fn copy_out(&self, dir: BorrowedFd<'_>, name: &OsStr, new: &str) -> Result<(), Errno> {
        copy(dir, name, self.dir.as_fd(), new.as_ref(), 0, &mut self.copy_max.clone())?;
        remove(dir, name, 0, None)
    }

    fn name(&mut self, called: &OsStr) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let is_plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let plain: String = called.as_bytes().iter().filter(|b| is_plain(b)).take(40).map(|b| char::from(*b)).collect();
        self.next += 1;
        format!("{now:014}-{:06}-{}-{plain}", self.next, std::process::id())
    }
}

/// Some names in a directory: no attacker decides how many we hold.
fn entries(dir: &OwnedFd, most: usize) -> Result<Vec<std::ffi::CString>, Errno> {
    let listing = rustix::fs::Dir::read_from(dir)?;
    let names = listing.map(|entry| entry.map(|e| e.file_name().to_owned()));
    let is_inner =
        |n: &Result<std::ffi::CString, Errno>| !n.as_ref().is_ok_and(|n| matches!(n.as_bytes(), b"." | b".."));
    names.filter(is_inner).take(most).collect()
}

fn size(dir: BorrowedFd<'_>, name: &OsStr, depth: usize, seen: &mut usize) -> Result<u64, Errno> {
    *seen += 1;
    let Some(stat) = look::stat(dir, name)? else { return Ok(0) };
    let mut total = stat.stx_blocks.saturating_mul(512);
    if look::is_directory(&stat) {
        let inner = open_dir(dir, name)?;
        for entry in entries(&inner, ENTRIES_MAX + 1)? {
            if depth > DEPTH_MAX || *seen > ENTRIES_MAX {
                return Ok(u64::MAX);
            }
            let name = OsStr::from_bytes(entry.as_bytes());
            total = total.saturating_add(size(inner.as_fd(), name, depth + 1, seen)?);
        }
    }
    Ok(total)
}

/// Removes a name and everything below, following nothing; `AGAIN` when that takes longer than until then.
pub(crate) fn remove(dir: BorrowedFd<'_>, name: &OsStr, depth: usize, until: Option<Instant>) -> Result<(), Errno> {
    const AT_ONCE: usize = 1024;
    if until.is_some_and(|until| Instant::now() >= until) {
        return Err(Errno::AGAIN);
    }
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Err(Errno::ISDIR | Errno::PERM) if depth <= DEPTH_MAX => {}
        Err(Errno::NOENT) => return Ok(()),
        other => return other,
    }
    let inner = match open_dir(dir, name) {
        Ok(inner) => inner,
        Err(Errno::NOTDIR) => return Err(Errno::PERM),
        Err(e) => return Err(e),
    };
    loop {
        let some = entries(&inner, AT_ONCE)?;
        if some.is_empty() {
            return rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR);
        }
        for entry in some {
            remove(inner.as_fd(), OsStr::from_bytes(entry.as_bytes()), depth + 1, until)?;
        }
    }
}

/// Copies files, links and directories as far as the budget goes; what else there may be is only removed.
fn copy(
    dir: BorrowedFd<'_>,
    name: &OsStr,
    to: BorrowedFd<'_>,
    new: &OsStr,
    depth: usize,
    budget: &mut u64,
) -> Result<(), Errno> {
    let Some(Look { stat, file, target, .. }) = look::look(dir, name)? else { return Ok(()) };
    if let Some(target) = target {
        return rustix::fs::symlinkat(&target, to, new);
    }
    let Some(file) = file else { return Ok(()) };
    if look::is_directory(&stat) {
        rustix::fs::mkdirat(to, new, Mode::RWXU)?;
        if depth > DEPTH_MAX {
            return Ok(());
        }
        let (inner, inner_to) = (OwnedFd::from(file), open_dir(to, new)?);
        for entry in entries(&inner, ENTRIES_MAX)? {
            let name = OsStr::from_bytes(entry.as_bytes());
            copy(inner.as_fd(), name, inner_to.as_fd(), name, depth + 1, budget)?;
        }
        return Ok(());
    }
    let Some(bytes) = look::read(&file, *budget)? else { return Ok(()) };
    *budget = budget.saturating_sub(bytes.len() as u64);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut copy = File::from(rustix::fs::openat(to, new, flags, Mode::RUSR | Mode::WUSR)?);
    copy.write_all(&bytes).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))
}
