//! The file that halts, written whole or empty, and read by whoever is asked why.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};

use super::{Halted, NAME, clean};

/// What a halt that was killed while it wrote leaves, before the number of its process.
pub(super) const HALF: &str = ".halted.";

/// More than this is none of ours.
const LONGEST_FILE: u64 = 64 * 1024;

/// Writes it, and waits until it is on the disk. One that is there stays: it says since when.
pub(super) fn write(top: &Path, halted: &Halted) -> io::Result<()> {
    let path = top.join(NAME);
    if read(&path).is_err() {
        let half = top.join(format!("{HALF}{}", std::process::id()));
        let whole = write_whole(&half, halted).and_then(|()| std::fs::rename(&half, &path));
        whole.or_else(|e| {
            std::fs::remove_file(&half).ok();
            stand_in(&path).map_err(|_| e)
        })?;
    }
    sync(top)
}

fn write_whole(half: &Path, halted: &Halted) -> io::Result<()> {
    std::fs::remove_file(half).or_else(|e| if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) })?;
    let mut file = File::from(create(half)?);
    file.write_all(&serde_json::to_vec(halted)?)?;
    file.sync_all()
}

/// A full disk mostly has room for one more name: an empty file halts as well. So does whatever stands there.
fn stand_in(path: &Path) -> io::Result<()> {
    match rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(()),
        Err(_) => create(path).map(drop),
    }
}

fn create(path: &Path) -> io::Result<std::os::fd::OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?)
}

/// Waits until a directory's names are on the disk.
pub(super) fn sync(dir: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::fsync(rustix::fs::open(dir, flags, Mode::empty())?)?)
}

/// Reads it. The attacks: a FIFO that nobody writes to, a link to somewhere else, text for the owner's terminal.
pub(super) fn read(path: &Path) -> Result<Halted, String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| io::Error::from(e).to_string())?;
    let stat = rustix::fs::fstat(&file).map_err(|e| io::Error::from(e).to_string())?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err("it is no plain file".into());
    }
    let mut text = Vec::new();
    File::from(file).take(LONGEST_FILE).read_to_end(&mut text).map_err(|e| e.to_string())?;
    let said: Halted = serde_json::from_slice(&text).map_err(|_| "it is no record of a halt".to_owned())?;
    let by = ["owner", "watch"].iter().find(|word| **word == said.by).map_or("unknown", |word| word);
    Ok(Halted { when: clean(&said.when), reason: said.reason.as_deref().map(clean), by: by.to_owned() })
}
