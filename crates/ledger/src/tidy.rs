//! Keeps the ledger within its bounds: rotates by age, compresses what was rotated, drops the oldest and says so.
//!
//! It is called where nobody waits for it. One process does it at a time, and none waits for another.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::chain::upkeep;
use crate::segment::{self, COMPRESSED, Segment};
use crate::writer::now;
use crate::{AppendError, Durability, Head, Upkeep, Writer, lock, rfc3339};

/// Locked by whoever tidies, and by whoever must not have segments removed while it reads.
pub(crate) const LOCK_NAME: &str = "tidy";

/// What was done.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Tidied {
    /// How many segments were compressed.
    pub compressed: u64,
    /// The last entry that was dropped to stay within the bound.
    pub dropped: Option<Head>,
}

impl Writer {
    /// Rotates a file that is too old, compresses what was rotated away, and drops what is too much.
    ///
    /// # Errors
    /// When one of that failed; the ledger is whole then, and larger than it should be.
    pub fn tidy(&mut self) -> Result<Tidied, AppendError> {
        if self.is_old().map_err(|e| self.failed(e))? {
            self.locked(|ledger| {
                let (mut head, size) = ledger.find_end()?;
                if size == 0 { Ok(()) } else { ledger.rotate(&mut head) }
            })?;
        }
        let rotated = segment::rotated(&self.dir_path).map_err(|e| self.failed(e))?;
        if rotated.is_empty() {
            return Ok(Tidied::default());
        }
        let lock = open_lock(&self.dir).map_err(|e| self.failed(e))?;
        if !lock::try_take(&lock).map_err(|e| self.failed(e))? {
            return Ok(Tidied::default());
        }
        // On a full disk nothing can be compressed, and all the more is to be dropped.
        let compressed = self.compress(&rotated);
        let dropped = self.drop_oldest()?;
        Ok(Tidied { compressed: compressed.map_err(|e| self.failed(e))?, dropped })
    }

    /// Tidies if this writer has ended a segment: for one that stays open for months, whatever others do.
    ///
    /// # Errors
    /// As [`Writer::tidy`].
    pub fn tidy_rotated(&mut self) -> Result<Tidied, AppendError> {
        if std::mem::take(&mut self.has_rotated) { self.tidy() } else { Ok(Tidied::default()) }
    }

    /// Whether the first entry of the file that is written is older than the policy wants.
    fn is_old(&self) -> std::io::Result<bool> {
        let mut start = [0; 64];
        let file = segment::open(self.path())?;
        let read = rustix::io::pread(&file, &mut start, 0)?;
        let start = String::from_utf8_lossy(start.get(..read).unwrap_or_default());
        let time = start.split_once("\"time\":\"").and_then(|(_, rest)| rest.split_once('"'));
        let oldest = SystemTime::now().checked_sub(self.keep.age).unwrap_or(SystemTime::UNIX_EPOCH);
        Ok(time.is_some_and(|(time, _)| time < rfc3339(oldest).as_str()))
    }

    fn compress(&self, rotated: &[Segment]) -> std::io::Result<u64> {
        let mut count = 0;
        for plain in rotated {
            let Some(name) = plain.path.file_name().and_then(|name| name.to_str()) else { continue };
            if plain.is_compressed {
                // Left by somebody who was killed between the two.
                let plain = name.strip_suffix(COMPRESSED).unwrap_or(name);
                remove(&self.dir, plain)?;
                continue;
            }
            let beside = format!(".{name}{COMPRESSED}.new");
            remove(&self.dir, &beside)?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = rustix::fs::openat(&self.dir, &beside, flags, Mode::RUSR | Mode::WUSR)?;
            if let Err(e) = write_compressed(plain, &file) {
                remove(&self.dir, &beside).ok();
                return Err(e);
            }
            rustix::fs::renameat(&self.dir, &beside, &self.dir, format!("{name}{COMPRESSED}"))?;
            rustix::fs::fsync(&self.dir)?;
            remove(&self.dir, name)?;
            count += 1;
        }
        Ok(count)
    }

    /// Drops whole segments, oldest first, while all together are too large. An entry says so before.
    fn drop_oldest(&mut self) -> Result<Option<Head>, AppendError> {
        let rotated = segment::rotated(&self.dir_path).map_err(|e| self.failed(e))?;
        let written = length(self.path()).map_err(|e| self.failed(e))?;
        let mut sizes = Vec::new();
        for segment in &rotated {
            sizes.push(length(&segment.path).map_err(|e| self.failed(e))?);
        }
        let mut total = written + sizes.iter().sum::<u64>();
        let mut dropped = None;
        for (segment, size) in rotated.iter().zip(sizes) {
            if total <= self.keep.total {
                break;
            }
            let through = self.last_of(segment);
            let told =
                Upkeep { event: "dropped".into(), bytes: Some(size), through: through.clone(), ..Upkeep::default() };
            self.append_with(&upkeep(now(), told), Durability::Durable)?;
            std::fs::remove_file(&segment.path).map_err(|e| self.failed(e))?;
            total -= size;
            dropped = through.or(dropped);
        }
        Ok(dropped)
    }
}

impl Writer {
    /// The last entry of a rotated segment; of one that cannot be read, by what the next one follows.
    fn last_of(&self, segment: &Segment) -> Option<Head> {
        if let Ok(Some(head)) = segment::last_entry(segment) {
            return Some(head);
        }
        let seq = segment.last?;
        let all = segment::all(&self.dir_path).ok()?;
        let next = all.iter().find(|other| other.last.is_none_or(|last| last > seq))?;
        segment::followed(next).ok()?.filter(|head| head.seq == seq)
    }
}

/// The lock of a ledger's directory, made where it is missing and the directory is ours: another user's must stay theirs.
pub(crate) fn open_lock(dir: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    let is_ours = rustix::fs::fstat(dir)?.st_uid == rustix::process::geteuid().as_raw();
    let make = if is_ours { OFlags::CREATE } else { OFlags::empty() };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::openat(dir, LOCK_NAME, flags | make, Mode::RUSR | Mode::WUSR)
}

fn write_compressed(plain: &Segment, file: &OwnedFd) -> std::io::Result<()> {
    let mut text = plain.open()?;
    let out = BufWriter::new(File::from(file.try_clone()?));
    let mut packed = flate2::write::GzEncoder::new(out, flate2::Compression::default());
    std::io::copy(&mut text, &mut packed)?;
    packed.finish()?.flush()?;
    Ok(rustix::fs::fsync(file)?)
}

fn remove(dir: &OwnedFd, name: &str) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(e),
    }
}

fn length(path: &Path) -> std::io::Result<u64> {
    Ok(std::fs::symlink_metadata(path)?.len())
}
