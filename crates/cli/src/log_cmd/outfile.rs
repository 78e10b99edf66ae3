//! A file that appears whole, or not at all, and that only its owner reads.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};

/// Written beside its place; what is there already stays until the end.
pub(super) struct OutFile {
    out: BufWriter<File>,
    temporary: Temporary,
    path: PathBuf,
}

impl OutFile {
    /// Begins the file `path`.
    pub(super) fn create(path: &Path) -> anyhow::Result<OutFile> {
        let Some(name) = path.file_name() else { bail!("{path:?} is not a file name") };
        // A rename would put a file in the place of a device or a pipe, such as /dev/stdout.
        match std::fs::symlink_metadata(path) {
            Ok(found) if !found.is_file() => {
                bail!("{path:?} is no regular file\nhint: without --output it goes to standard output")
            }
            _ => {}
        }
        let mut beside = std::ffi::OsString::from(".");
        beside.push(name);
        beside.push(format!(".{}.new", std::process::id()));
        let beside = path.with_file_name(beside);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(CWD, &beside, flags, Mode::RUSR | Mode::WUSR)
            .with_context(|| format!("cannot make a file beside {path:?}"))?;
        Ok(OutFile { out: BufWriter::new(File::from(fd)), temporary: Temporary(beside), path: path.to_owned() })
    }

    /// Puts it in its place.
    pub(super) fn finish(mut self) -> anyhow::Result<()> {
        let path = &self.path;
        self.out.flush().with_context(|| format!("cannot write {path:?}"))?;
        self.out.get_ref().sync_all().with_context(|| format!("cannot sync {path:?}"))?;
        std::fs::rename(&self.temporary.0, path).with_context(|| format!("cannot replace {path:?}"))?;
        // Its name is gone, so that there is nothing to remove.
        std::mem::forget(self.temporary);
        Ok(())
    }
}

impl Write for OutFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

/// A file that goes away unless it is renamed.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // Best effort on a failure that is already being reported.
        rustix::fs::unlinkat(CWD, &self.0, AtFlags::empty()).ok();
    }
}
