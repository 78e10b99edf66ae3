//! Files overwritten in memory, then removed: whoever still has one open, or another copy of its mount, reads zeros.

use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};

use super::{At as _, DIRECTORY, Result};

/// Wipes the files of a directory and removes them.
pub(super) fn contents(directory: &OwnedFd, path: &Path) -> Result<()> {
    let names: io::Result<Vec<_>> = Dir::read_from(directory)
        .map_err(io::Error::from)
        .and_then(|entries| entries.map(|entry| Ok(entry?.file_name().to_owned())).collect());
    for name in names.at("list", path)? {
        if name.as_bytes() == b"." || name.as_bytes() == b".." {
            continue;
        }
        let stat = rustix::fs::statat(directory, name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW).at("examine", path)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
            let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file =
                rustix::fs::openat(directory, name.as_c_str(), flags, Mode::empty()).at("open a file in", path)?;
            zeros(file, u64::try_from(stat.st_size).unwrap_or(0)).at("wipe a file in", path)?;
        }
        rustix::fs::unlinkat(directory, name.as_c_str(), AtFlags::empty()).at("remove a file in", path)?;
    }
    Ok(())
}

/// Wipes and removes a directory in another; none is fine.
pub(super) fn remove(above: &OwnedFd, name: &str, path: &Path) -> Result<()> {
    let directory = match rustix::fs::openat(above.as_fd(), name, DIRECTORY, Mode::empty()) {
        Err(rustix::io::Errno::NOENT) => return Ok(()),
        opened => opened.at("open", path)?,
    };
    contents(&directory, path)?;
    rustix::fs::unlinkat(above, name, AtFlags::REMOVEDIR).at("remove", path)
}

fn zeros(file: OwnedFd, mut size: u64) -> io::Result<()> {
    let mut file = std::fs::File::from(file);
    let block = [0; 4096];
    while size > 0 {
        let part = size.min(block.len() as u64) as usize;
        file.write_all(&block[..part])?;
        size -= part as u64;
    }
    Ok(())
}
