//! What was found in the place of something protected, kept for study: bounded in number and bytes.

use std::collections::{HashMap, VecDeque};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::look::{self, Look};
use crate::state::{StateDir, StateError, failed, open_dir};
use crate::sys::{self, Writer};
use crate::text::Sha256;

/// How deep a directory is gone through; what lies deeper is not counted, and removed by name where it can be.
const DEPTH_MAX: usize = 64;
/// How many entries of a directory are counted; one with more counts as too large.
const ENTRIES_MAX: usize = 10_000;

/// How long whoever writes what was moved away has for it. Meanwhile nothing of it is taken that was not shown.
const WRITING: Duration = Duration::from_secs(2);
/// The part of the quarantine that one place may fill: whoever floods one does not drive out what others have left.
const SHARES: u64 = 4;
/// How names begin beside places that are on another file system, where no copy was possible.
const HIDDEN: &str = ".mantlet-kept-";

/// The quarantine.
#[derive(Debug)]
pub(crate) struct Kept {
    dir: OwnedFd,
    path: PathBuf,
    items: VecDeque<Item>,
    items_max: usize,
    bytes_max: u64,
    copy_max: u64,
    next: u64,
    trash: VecDeque<String>,
    /// What was moved here, and is not a copy of ours yet.
    fresh: Vec<(String, Instant)>,
}

#[derive(Debug)]
struct Item {
    name: String,
    /// The place it was found at, as names of items have it.
    place: String,
    /// Its bytes; one that is larger than the share of a place fills it, and is not counted further.
    size: u64,
}

/// A directory outside of everything that is compared, on the file system of a place.
#[derive(Debug)]
pub(crate) struct Aside {
    pub(crate) dir: Arc<OwnedFd>,
    pub(crate) path: PathBuf,
}

/// From where something is taken away.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) place: PathBuf,
    /// Whether the names around it are compared.
    pub(crate) is_tree: bool,
    pub(crate) aside: Option<Aside>,
}

/// What became of something that could not be moved into the quarantine.
enum Left {
    /// It is there as a whole copy.
    Copied,
    /// There was no content in it.
    Nothing,
    /// It is here, beside its place.
    Aside(PathBuf),
}

impl Kept {
    pub(crate) fn open(state: &StateDir, items_max: usize, bytes_max: u64, copy_max: u64) -> Result<Kept, StateError> {
        let (dir, path) = state.sub("kept")?;
        let listing = rustix::fs::Dir::read_from(&dir).map_err(failed("list", &path))?;
        let mut names: Vec<String> = listing.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        names.retain(|name| name != "." && name != "..");
        // Names begin with the time: the oldest come first.
        names.sort_unstable();
        let (items, trash) = (VecDeque::new(), VecDeque::new());
        let mut kept = Kept { dir, path, items, items_max, bytes_max, copy_max, next: 0, trash, fresh: Vec::new() };
        for name in names {
            kept.count(name);
        }
        Ok(kept)
    }

    /// Counts what has come, and gives up older items where there are too many: of its place first, then of whichever holds
    /// most. Never the newest one, which may be all that is left of somebody's work.
    fn count(&mut self, name: String) {
        let share = self.bytes_max / SHARES;
        let size = size(self.dir.as_fd(), name.as_ref(), 0, &mut 0).unwrap_or(share).min(share);
        let place = place_of(&name).to_owned();
        self.items.push_back(Item { name, place: place.clone(), size });
        let most = (self.items_max / usize::try_from(SHARES).unwrap_or(1)).max(1);
        while self.is_beyond(share, most, |item| item.place == place) && self.give_up(&place) {}
        while self.is_beyond(self.bytes_max, self.items_max, |_| true) {
            let Some(heaviest) = self.heaviest() else { break };
            if !self.give_up(&heaviest) {
                break;
            }
        }
    }

    fn is_beyond(&self, bytes: u64, items: usize, is_meant: impl Fn(&Item) -> bool) -> bool {
        let meant = self.items.iter().filter(|item| is_meant(item));
        let (count, sum) = meant.fold((0, 0_u64), |(count, sum), item| (count + 1, sum.saturating_add(item.size)));
        count > items || sum > bytes
    }

    /// Gives up the oldest item of a place.
    fn give_up(&mut self, place: &str) -> bool {
        let older = self.items.len().saturating_sub(1);
        let Some(at) = self.items.iter().take(older).position(|item| item.place == place) else { return false };
        // Not removed here: a directory with a million files in it would keep us from undoing the next thing.
        self.trash.extend(self.items.remove(at).map(|item| item.name));
        true
    }

    /// The place that holds the largest part, the newest item aside.
    fn heaviest(&self) -> Option<String> {
        let mut weights: HashMap<&str, u128> = HashMap::new();
        for item in self.items.iter().take(self.items.len().saturating_sub(1)) {
            let weight = u128::from(item.size) * self.items_max as u128 + u128::from(self.bytes_max);
            *weights.entry(&item.place).or_default() += weight;
        }
        weights.into_iter().max_by_key(|(_, weight)| *weight).map(|(place, _)| place.to_owned())
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

    /// Takes what stands at a name out of the way, whole and at once, and answers where it is, or a copy of it. Nothing where
    /// there was no content to keep; an error where it stays.
    pub(crate) fn take(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &OsStr,
        called: &OsStr,
        scene: &Scene,
    ) -> Result<Option<PathBuf>, Errno> {
        let new = self.name(called, &scene.place);
        match self.rename(dir, name, &new) {
            Ok(()) => self.fresh.push((new.clone(), Instant::now())),
            // Another file system, or no room for one more name in ours.
            Err(Errno::XDEV | Errno::NOSPC | Errno::DQUOT) => match self.copy_out(dir, name, &new, scene)? {
                Left::Copied => {}
                Left::Nothing => return Ok(None),
                Left::Aside(path) => return Ok(Some(path)),
            },
            Err(e) => return Err(e),
        }
        self.count(new.clone());
        Ok(Some(self.path.join(new)))
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

    /// Makes what was moved here since ours. Called once the place is right again, and before anybody is told of a copy.
    ///
    /// Whoever is just writing a file writes it to its end, for a moment: it may be the owner, and all there is of the work.
    pub(crate) fn make_ours(&mut self) {
        const WRITERS_MAX: usize = 64;
        let fresh = std::mem::take(&mut self.fresh);
        // The attack: so many of them that looking after them takes all the time.
        let is_few = fresh.len() <= WRITERS_MAX;
        for (new, since) in fresh {
            match is_few && since.elapsed() < WRITING && writer(self.dir.as_fd(), new.as_ref()) != Writer::Absent {
                true => self.fresh.push((new, since)),
                false => self.copy_moved(&new),
            }
        }
    }

    /// Does the same for all that is left, when there is no later.
    pub(crate) fn make_all_ours(&mut self) {
        for (new, _) in std::mem::take(&mut self.fresh) {
            self.copy_moved(&new);
        }
    }

    /// When there is something to be made ours.
    pub(crate) fn due(&self) -> Option<Instant> {
        const AGAIN: Duration = Duration::from_millis(100);
        (!self.fresh.is_empty()).then(|| Instant::now() + AGAIN)
    }

    /// Puts a copy in the place of a file that was moved here: the attacker may have its inode open, or by another name, and
    /// would go on writing it. One that is too large, or cannot be read, stays; nobody takes it unseen.
    fn copy_moved(&mut self, new: &str) {
        let here = self.dir.as_fd();
        let Ok(Some(Look { stat, file: Some(file), .. })) = look::look(here, new.as_ref()) else { return };
        if !look::is_regular(&stat) || stat.stx_size > self.copy_max {
            return;
        }
        let copy = format!("{new}.copy");
        let Ok(Some(bytes)) = look::read(&file, self.copy_max) else { return };
        let is_whole = write(here, copy.as_ref(), &bytes).is_ok();
        if !is_whole || rustix::fs::renameat(here, &copy, here, new).is_err() {
            // What was moved is still there, under its name.
            rustix::fs::unlinkat(here, &copy, AtFlags::empty()).ok();
        } else if let Some(item) = self.items.iter_mut().find(|item| item.name == new) {
            // It may have been written since it was moved.
            item.size = item.size.max(bytes.len() as u64).min(self.bytes_max / SHARES);
        }
    }

    fn copy_out(&mut self, dir: BorrowedFd<'_>, name: &OsStr, new: &str, scene: &Scene) -> Result<Left, Errno> {
        let hidden = format!("{HIDDEN}{new}");
        // Out of its place first, and at once: what comes after is no matter of speed.
        let aside = scene
            .aside
            .as_ref()
            .filter(|aside| rustix::fs::renameat_with(dir, name, &aside.dir, &hidden, RenameFlags::NOREPLACE).is_ok());
        let (dir, name) = aside.map_or((dir, name), |aside| (aside.dir.as_fd(), OsStr::new(&hidden)));
        if let Some(aside) = aside.filter(|_| is_written_for_long(dir, name)) {
            return Ok(Left::Aside(aside.path.join(&hidden)));
        }
        let mut limit = Limit { bytes: self.copy_max, entries: ENTRIES_MAX };
        let copied = copy(dir, name, self.dir.as_fd(), new.as_ref(), 0, &mut limit);
        if let Ok(copied @ (Copied::Whole | Copied::Nothing)) = copied {
            let removed = remove(dir, name, 0, None);
            return match (copied, aside) {
                (Copied::Nothing, _) => removed.map(|()| Left::Nothing),
                // A second copy beside the place harms nobody.
                (_, Some(_)) => Ok(Left::Copied),
                (_, None) => match removed {
                    Ok(()) => Ok(Left::Copied),
                    Err(e) => {
                        self.count(new.to_owned());
                        Err(e)
                    }
                },
            };
        }
        // No part of it may look like a copy.
        remove(self.dir.as_fd(), new.as_ref(), 0, None).ok();
        match aside {
            Some(aside) => Ok(Left::Aside(aside.path.join(&hidden))),
            None => Err(copied.err().unwrap_or(Errno::FBIG)),
        }
    }

    fn name(&mut self, called: &OsStr, place: &Path) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let is_plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let plain: String = called.as_bytes().iter().filter(|b| is_plain(b)).take(40).map(|b| char::from(*b)).collect();
        let place: String = Sha256::of(place.as_os_str().as_bytes()).hex().chars().take(PLACE).collect();
        self.next += 1;
        format!("{now:014}-{:06}-{}-{place}-{plain}", self.next, std::process::id())
    }
}

fn writer(dir: BorrowedFd<'_>, name: &OsStr) -> Writer {
    let look = look::look(dir, name).ok().flatten().filter(|look| look::is_regular(&look.stat));
    look.and_then(|look| look.file).map_or(Writer::Absent, |file| sys::writer_of(&file))
}

/// Waits a moment for whoever is writing a file, as a shell does that has just made it; answers whether it takes longer.
fn is_written_for_long(dir: BorrowedFd<'_>, name: &OsStr) -> bool {
    const MOMENT: Duration = Duration::from_millis(50);
    let began = Instant::now();
    loop {
        match writer(dir, name) {
            Writer::Absent => return false,
            said if began.elapsed() >= MOMENT => return said == Writer::Present,
            _ => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

/// How many digits of its hash stand for a place in names.
const PLACE: usize = 8;

fn place_of(name: &str) -> &str {
    let mut parts = name.splitn(5, '-').skip(3);
    match (parts.next(), parts.next()) {
        (Some(place), Some(_)) if place.len() == PLACE => place,
        _ => "",
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

/// What a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Copied {
    Whole,
    /// Something is missing: it was too large, or could not be read.
    Part,
    /// A FIFO, a socket or a device, which has no content, or nothing at all.
    Nothing,
}

struct Limit {
    bytes: u64,
    entries: usize,
}

fn write(to: BorrowedFd<'_>, new: &OsStr, bytes: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut copy = File::from(rustix::fs::openat(to, new, flags, Mode::RUSR | Mode::WUSR)?);
    copy.write_all(bytes).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))
}

/// Copies files, links and directories, as far as the limit goes.
fn copy(
    dir: BorrowedFd<'_>,
    name: &OsStr,
    to: BorrowedFd<'_>,
    new: &OsStr,
    depth: usize,
    limit: &mut Limit,
) -> Result<Copied, Errno> {
    let Some(Look { stat, file, target, .. }) = look::look(dir, name)? else { return Ok(Copied::Nothing) };
    if let Some(target) = target {
        return rustix::fs::symlinkat(&target, to, new).map(|()| Copied::Whole);
    }
    let has_content = look::is_directory(&stat) || look::is_regular(&stat);
    let Some(file) = file else { return Ok(if has_content { Copied::Part } else { Copied::Nothing }) };
    if look::is_directory(&stat) {
        return copy_names(&OwnedFd::from(file), to, new, depth, limit);
    }
    if stat.stx_size > limit.bytes {
        return Ok(Copied::Part);
    }
    let Some(bytes) = look::read(&file, limit.bytes)? else { return Ok(Copied::Part) };
    limit.bytes = limit.bytes.saturating_sub(bytes.len() as u64);
    write(to, new, &bytes).map(|()| Copied::Whole)
}

fn copy_names(
    inner: &OwnedFd,
    to: BorrowedFd<'_>,
    new: &OsStr,
    depth: usize,
    limit: &mut Limit,
) -> Result<Copied, Errno> {
    rustix::fs::mkdirat(to, new, Mode::RWXU)?;
    let names = entries(inner, limit.entries.saturating_add(1))?;
    if depth > DEPTH_MAX || names.len() > limit.entries {
        return Ok(Copied::Part);
    }
    limit.entries -= names.len();
    let to = open_dir(to, new)?;
    for entry in names {
        let name = OsStr::from_bytes(entry.as_bytes());
        if copy(inner.as_fd(), name, to.as_fd(), name, depth + 1, limit)? == Copied::Part {
            return Ok(Copied::Part);
        }
    }
    Ok(Copied::Whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_knows_its_place() {
        assert_eq!(place_of("00001764000000-000001-77-0a1b2c3d-AGENTS.md"), "0a1b2c3d");
        assert_eq!(place_of("00001764000000-000001-77-AGENTS.md"), "", "of an older version");
    }
}
