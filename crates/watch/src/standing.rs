//! What stands at places at the moment, as it is shown to the owner and signed: followed by its names from the top, and each
//! content read once, so that the hash, the lines and the snapshot are of the same bytes.
//!
//! The attack: whoever has a way taken as missing has everything below it signed as absent, and removed by the watch itself.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{MemfdFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::error::Error;
use crate::look::{self, Found};
use crate::record::{Is, Record};
use crate::text::Sha256;
use crate::watch::{Lock, Watch};

/// The largest file that is read where the baseline says nothing of it. An attacker makes one of a petabyte with one call.
const NEW_MAX: u64 = 1 << 30;

/// How much more of what the baseline does not know is read in one go; the rest is compared by size and attributes.
#[derive(Debug)]
pub(crate) struct Budget(u64);

impl Budget {
    pub(crate) fn new() -> Budget {
        Budget(4 << 30)
    }
}

/// What stands at one path.
pub(crate) struct Stood {
    pub(crate) record: Record,
    /// The content, where it is small enough to be kept.
    pub(crate) bytes: Option<Vec<u8>>,
}

/// What stands at paths.
pub(crate) type Standing = BTreeMap<PathBuf, Stood>;

fn failed(path: &Path, why: impl ToString) -> Error {
    Error::Look { path: path.to_owned(), why: why.to_string() }
}

impl Watch {
    /// Opens the directory that holds a path, by the names from the top. `None`: the way ends before it.
    pub(crate) fn reach(&self, path: &Path) -> Result<Option<OwnedFd>, Error> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut at = PathBuf::from("/");
        let mut dir = rustix::fs::openat(rustix::fs::CWD, "/", flags, Mode::empty()).map_err(|e| failed(&at, e))?;
        let parent = path.parent().unwrap_or(Path::new("/"));
        for name in parent.components().filter(|name| !matches!(name, Component::RootDir)) {
            at.push(name);
            let Some(stat) = look::stat(dir.as_fd(), name.as_os_str()).map_err(|e| failed(&at, e))? else {
                return Ok(None);
            };
            if look::is_symlink(&stat) {
                return Err(failed(&at, "a link stands on the way to what is protected"));
            }
            if !look::is_directory(&stat) {
                return Ok(None);
            }
            // What is below a mount that belongs there, or below one that does not, is not what is protected.
            if self.ways.get(&at).and_then(|way| way.was_mount()).is_some_and(|was| was != look::is_mount(&stat)) {
                return Err(failed(&at, "a file system is mounted there that was not, or the other way round"));
            }
            dir = rustix::fs::openat(&dir, name.as_os_str(), flags, Mode::empty()).map_err(|e| failed(&at, e))?;
        }
        Ok(Some(dir))
    }

    /// Looks at a path below the ways that are held. Nothing is there only where nothing can be: a way that is not held
    /// says nothing about what lies below.
    pub(crate) fn record_at(&self, path: &Path, budget: &mut Budget) -> Result<Option<(Found, Record)>, Error> {
        let dir = match self.dir_of(path) {
            Ok(dir) => dir,
            Err(e) => {
                return match self.reach(path)? {
                    None => Ok(None),
                    Some(_) => Err(failed(path, format!("the way there is not held: {e}"))),
                };
            }
        };
        let Some(name) = path.file_name() else { return Ok(None) };
        let read = self.read_at(path, dir.as_fd(), name, budget)?;
        Ok(read.map(|(found, stood)| (found, stood.record)))
    }

    /// Goes through what stands at a path and below it.
    pub(crate) fn scan(&self, top: &Path) -> Result<Standing, Error> {
        let absent = || Stood { record: Record::absent(), bytes: None };
        let mut all = Standing::new();
        let mut budget = Budget::new();
        let Some(dir) = self.reach(top)? else { return Ok(Standing::from([(top.to_owned(), absent())])) };
        let mut open = vec![(Arc::new(dir), top.to_owned())];
        while let Some((dir, path)) = open.pop() {
            let name = path.file_name().ok_or_else(|| failed(&path, "it has no name"))?;
            let Some((found, mut stood)) = self.read_at(&path, dir.as_fd(), name, &mut budget)? else {
                if path == top {
                    all.insert(path, absent());
                }
                continue;
            };
            if stood.record.is == Is::Directory && self.spot_of(&path).is_some_and(|(_, spot)| spot.is_tree) {
                let inner = found.look.and_then(|look| look.file);
                open.extend(self.children(&path, inner)?);
            }
            self.without_lock(&path, &mut stood.record);
            all.insert(path, stood);
        }
        Ok(all)
    }

    fn children(&self, path: &Path, dir: Option<File>) -> Result<Vec<(Arc<OwnedFd>, PathBuf)>, Error> {
        let Some(dir) = dir else {
            // One that never could be listed is said to be unwatched. One that could must not look empty.
            let has_known = self.below(path).nth(1).is_some();
            return if has_known { Err(failed(path, Errno::ACCESS)) } else { Ok(Vec::new()) };
        };
        let dir = Arc::new(OwnedFd::from(dir));
        let mut all = Vec::new();
        for entry in rustix::fs::Dir::read_from(&dir).map_err(|e| failed(path, e))? {
            let entry = entry.map_err(|e| failed(path, e))?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                all.push((Arc::clone(&dir), path.join(OsStr::from_bytes(name))));
            }
        }
        Ok(all)
    }

    /// Looks at a name until its content stays the same for as long as it takes to read it.
    fn read_at(
        &self,
        path: &Path,
        dir: BorrowedFd<'_>,
        name: &OsStr,
        budget: &mut Budget,
    ) -> Result<Option<(Found, Stood)>, Error> {
        const TRIES: usize = 8;
        for _ in 0..TRIES {
            let found = look::find(dir, name, self.bound(path, budget)).map_err(|e| failed(path, e))?;
            if found.look.is_none() {
                return Ok(None);
            }
            if let Is::File { size, .. } = found.record.is {
                budget.0 = budget.0.saturating_sub(size);
            }
            if let Some(stood) = self.stood(path, &found)? {
                return Ok(Some((found, stood)));
            }
        }
        Err(failed(path, "it is being written all the time"))
    }

    /// The largest file that is read at a path, for its record.
    fn bound(&self, path: &Path, budget: &Budget) -> u64 {
        match self.nodes.get(path).map(|node| &node.record) {
            // As the checks read it, or the same file would differ.
            Some(record @ Record { is: Is::Unreadable { .. }, .. }) => self.most(record),
            Some(record) => self.most(record).max(NEW_MAX.min(budget.0)),
            None => NEW_MAX.min(budget.0),
        }
    }

    /// The record of what was found, with copies of it in the store. `None`: it changed while it was read.
    fn stood(&self, path: &Path, found: &Found) -> Result<Option<Stood>, Error> {
        let mut record = found.record.clone();
        let file = found.look.as_ref().and_then(|look| look.file.as_ref());
        let (Some(file), Is::File { sha256, size }) = (file, &record.is) else {
            return Ok(Some(Stood { record, bytes: None }));
        };
        let (sha256, size) = (*sha256, *size);
        let mut bytes = None;
        if size <= self.store.max() {
            let read = look::read(file, self.store.max()).map_err(|e| failed(path, e))?;
            let Some(read) = read.filter(|read| Sha256::of(read) == sha256) else { return Ok(None) };
            self.store.put(&read)?;
            bytes = Some(read);
        }
        if let Some(is) = self.judged_as(path, file, bytes.as_deref(), (sha256, size))? {
            record.is = is;
        }
        Ok(Some(Stood { record, bytes }))
    }

    /// What the judge makes of a content. What it cannot read is compared whole, until the owner accepts something it can.
    pub(crate) fn judged_as(
        &self,
        path: &Path,
        file: &File,
        bytes: Option<&[u8]>,
        (sha256, size): (Sha256, u64),
    ) -> Result<Option<Is>, Error> {
        let Some(given) = self.judged(path) else { return Ok(None) };
        let snapshot = match bytes {
            // From a copy: in the file something else may stand by now.
            Some(bytes) if self.content.beside(&given).is_empty() => {
                self.content.snapshot(&given, &memory(bytes).map_err(|e| failed(path, e))?)
            }
            _ => {
                rustix::fs::seek(file, rustix::fs::SeekFrom::Start(0)).map_err(|e| failed(path, e))?;
                self.content.snapshot(&given, file)
            }
        };
        let Ok(snapshot) = snapshot else { return Ok(None) };
        let snapshot = snapshot.map(|bytes| self.store.put(&bytes)).transpose()?;
        Ok(Some(Is::Judged { sha256, size, snapshot }))
    }

    /// Our lock is no state that anybody accepts.
    fn without_lock(&self, path: &Path, record: &mut Record) {
        let locked = self.wanted(path).attributes;
        let Some(node) = self.nodes.get(path) else { return };
        let (Some(lock), Some(was), Some(locked)) = (node.lock, &node.record.attributes, locked) else { return };
        let Some(now) = &mut record.attributes else { return };
        match lock {
            Lock::Immutable => now.flags.immutable = was.flags.immutable,
            Lock::Mode if now.mode == locked.mode => now.mode = was.mode,
            Lock::Mode => {}
        }
    }
}

/// A file with these bytes that nobody else has.
pub(crate) fn memory(bytes: &[u8]) -> std::io::Result<File> {
    let mut file = File::from(rustix::fs::memfd_create(c"mantlet-watch", MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}
