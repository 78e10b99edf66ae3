//! A file replaced whole or not at all, with its mode and owner kept.

use std::fs::{DirBuilder, File};
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use rustix::fs::{AtFlags, CWD, FlockOperation, Gid, Mode, OFlags, Uid};

/// Replaces `path` by `text`, if it still says `before`; `judge` sees the finished file under its temporary name.
///
/// Nothing is left behind when a step fails, and a reader sees the old text or the new one.
pub(crate) fn replace(
    path: &Path,
    before: &str,
    text: &str,
    judge: impl FnOnce(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        bail!("{} is not a file name", path.display())
    };
    // Private directories: one that others can write makes the policy in it worthless.
    let made = DirBuilder::new().recursive(true).mode(0o700).create(parent);
    made.with_context(|| format!("cannot make the directory {}", parent.display()))?;
    let directory = File::open(parent).with_context(|| format!("cannot open {}", parent.display()))?;
    // Two owners' terminals at the same time must not lose one grant.
    rustix::fs::flock(&directory, FlockOperation::LockExclusive).context("cannot lock the directory")?;
    let old = std::fs::symlink_metadata(path).ok();
    let now = match &old {
        Some(_) => std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?,
        None => String::new(),
    };
    if now != before {
        bail!("{} has changed meanwhile\nhint: call again", path.display());
    }
    let mut temporary = name.to_owned();
    temporary.push(format!(".{}.new", std::process::id()));
    let temporary = Temporary::write(&parent.join(temporary), text, old.as_ref())?;
    judge(&temporary.0)?;
    std::fs::rename(&temporary.0, path).with_context(|| format!("cannot replace {}", path.display()))?;
    std::mem::forget(temporary);
    directory.sync_all().with_context(|| format!("cannot sync {}", parent.display()))
}

/// A file that goes away unless it is renamed.
struct Temporary(PathBuf);

impl Temporary {
    fn write(path: &Path, text: &str, old: Option<&std::fs::Metadata>) -> anyhow::Result<Self> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(CWD, path, flags, Mode::RUSR | Mode::WUSR).with_context(|| {
            format!(
                "cannot write {}\nhint: the policy's owner can; for a file of the machine, that is root",
                path.display()
            )
        })?;
        let temporary = Temporary(path.to_owned());
        let mut file = File::from(fd);
        if let Some(old) = old {
            let mine = file.metadata().context("cannot ask for the new file's owner")?;
            if (mine.uid(), mine.gid()) != (old.uid(), old.gid()) {
                let (uid, gid) = (Uid::from_raw(old.uid()), Gid::from_raw(old.gid()));
                rustix::fs::fchown(file.as_fd(), Some(uid), Some(gid)).context("cannot keep the file's owner")?;
            }
            rustix::fs::fchmod(file.as_fd(), Mode::from_raw_mode(old.mode())).context("cannot keep the file's mode")?;
        }
        file.write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(temporary)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Best effort on a failure that is already being reported.
        rustix::fs::unlinkat(CWD, &self.0, AtFlags::empty()).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    fn names(directory: &Path) -> Vec<String> {
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_is_replaced_whole_with_its_mode_or_not_at_all() {
        let top = std::env::temp_dir().join(format!("mantlet-write-{}", std::process::id()));
        let path = top.join("a/b/policy.toml");
        replace(&path, "", "one", |_| Ok(())).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(top.join("a")).unwrap().mode() & 0o777, 0o700);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        replace(&path, "one", "two", |_| Ok(())).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        assert!(replace(&path, "one", "three", |_| Ok(())).is_err());
        assert!(replace(&path, "two", "three", |_| bail!("no")).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(names(path.parent().unwrap()), ["policy.toml"]);
        fs::remove_dir_all(&top).unwrap();
    }
}
