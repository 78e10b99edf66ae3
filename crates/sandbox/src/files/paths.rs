//! Where a path leads, and the way there by descriptors.
//!
//! The attack: what is a directory when it is looked at is a symlink when it is used. So a path is resolved first, which
//! says whether it stays in the workspace, and then walked from the workspace's own descriptor without following
//! anything: a name that was exchanged in between is an error, never another file. (openat2 would do both at once; the
//! jail's seccomp filter refuses it.)

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use mantlet_policy::Rules;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::Failure;

/// What is served.
#[derive(Clone, Copy)]
pub(super) struct Scope<'p> {
    pub(super) workspace: &'p Path,
    pub(super) rules: &'p Rules,
}

/// The workspace, open.
pub(super) struct Root<'p> {
    scope: Scope<'p>,
    fd: OwnedFd,
}

/// A name in an open directory.
pub(super) struct Entry {
    pub(super) dir: OwnedFd,
    pub(super) name: OsString,
    /// Relative to the root, without symlinks when it was opened.
    pub(super) path: PathBuf,
}

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// As many as the kernel follows.
const MOST_LINKS: u32 = 40;

impl<'p> Root<'p> {
    pub(super) fn open(scope: Scope<'p>, root: &Path) -> Result<Root<'p>, Failure> {
        if root != scope.workspace {
            return Err(Failure::new("ESCAPE", format!("{root:?} is not the workspace {:?}", scope.workspace)));
        }
        let fd = rustix::fs::openat(CWD, scope.workspace, DIRECTORY, Mode::empty())?;
        Ok(Root { scope, fd })
    }

    pub(super) fn real(&self, path: &Path) -> PathBuf {
        if path.as_os_str().is_empty() { self.scope.workspace.to_owned() } else { self.scope.workspace.join(path) }
    }

    /// Resolves every symlink of a path, those of its end too. What does not exist is kept as it is.
    ///
    /// # Errors
    /// `ESCAPE` when that leads out of the workspace.
    pub(super) fn resolve(&self, path: &Path) -> Result<PathBuf, Failure> {
        let mut done = self.scope.workspace.to_owned();
        let mut todo: Vec<OsString> = Vec::new();
        push_reversed(&mut todo, path);
        let (mut links, mut is_missing) = (0, false);
        while let Some(name) = todo.pop() {
            if name == ".." {
                if is_missing {
                    return Err(Errno::NOENT.into());
                }
                done.pop();
                continue;
            }
            done.push(&name);
            if is_missing {
                continue;
            }
            match rustix::fs::readlinkat(CWD, &done, Vec::new()) {
                Ok(target) => {
                    links += 1;
                    if links > MOST_LINKS {
                        return Err(Errno::LOOP.into());
                    }
                    let target = Path::new(OsStr::from_bytes(target.to_bytes()));
                    done.pop();
                    if target.is_absolute() {
                        done = PathBuf::from("/");
                    }
                    push_reversed(&mut todo, target);
                }
                Err(Errno::INVAL) => {}
                // The walk says which of the two it is.
                Err(Errno::NOENT | Errno::NOTDIR) => is_missing = true,
                Err(e) => return Err(e.into()),
            }
        }
        let inside = done.strip_prefix(self.scope.workspace).map(Path::to_owned);
        inside.map_err(|_| Failure::new("ESCAPE", format!("{path:?} leads out of the workspace")))
    }

    /// Opens a directory without following a symlink; `mkdir` makes what is missing.
    pub(super) fn walk(&self, path: &Path, mkdir: Mkdir) -> Result<OwnedFd, Failure> {
        let mut fd = rustix::io::fcntl_dupfd_cloexec(&self.fd, 3)?;
        for part in path.components() {
            let Component::Normal(name) = part else { return Err(Errno::INVAL.into()) };
            fd = match rustix::fs::openat(&fd, name, DIRECTORY, Mode::empty()) {
                Err(Errno::NOENT) if mkdir == Mkdir::Yes => {
                    match rustix::fs::mkdirat(&fd, name, Mode::from_raw_mode(0o777)) {
                        // Whoever was faster must have made a directory.
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(e) => return Err(e.into()),
                    }
                    rustix::fs::openat(&fd, name, DIRECTORY, Mode::empty())?
                }
                other => other?,
            };
        }
        Ok(fd)
    }

    /// The entry a path names: its directory resolved and opened, its last name left alone.
    pub(super) fn entry(&self, path: &Path, pinned: Pinned, mkdir: Mkdir) -> Result<Entry, Failure> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Failure::new("EINVAL", "the workspace itself is no entry of it"));
        };
        let parent = match pinned {
            Pinned::Yes => parent.to_owned(),
            Pinned::No => self.resolve(parent)?,
        };
        let path = parent.join(name);
        self.refuse_denied(&path)?;
        Ok(Entry { dir: self.walk(&parent, mkdir)?, name: name.to_owned(), path })
    }

    /// A jail that is kept serves names that came after it was made, over which no mount lies: the rules are asked too.
    pub(super) fn refuse_denied(&self, path: &Path) -> Result<(), Failure> {
        match path.ancestors().find_map(|p| self.scope.rules.denying(p.as_os_str().as_bytes())) {
            None => Ok(()),
            Some((rule, _)) => {
                Err(Failure::new("DENIED", format!("{path:?} is denied by the rule {rule:?} of the policy")))
            }
        }
    }

    /// Refuses to change what the client holds read-only: it, what is in it, or, with `Below`, what it is in.
    pub(super) fn refuse_readonly(&self, roots: &[PathBuf], path: &Path, reach: Reach) -> Result<(), Failure> {
        let touches = |root: &&PathBuf| path.starts_with(root) || (reach == Reach::Below && root.starts_with(path));
        for root in roots.iter().filter(touches) {
            if rustix::fs::statat(&self.fd, root, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
                return Err(Failure::new("READONLY", format!("{root:?} is read-only for this client")));
            }
        }
        Ok(())
    }
}

impl Entry {
    pub(super) fn stat(&self) -> Result<Option<Stat>, Failure> {
        match rustix::fs::statat(&self.dir, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Opens a regular file with one name, without following a symlink and without waiting for a FIFO's other end.
    pub(super) fn open(&self, flags: OFlags) -> Result<(OwnedFd, Stat), Failure> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.dir, &self.name, flags, Mode::RUSR | Mode::WUSR)?;
        let stat = rustix::fs::fstat(&fd)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Failure::new("NOTFILE", "only regular files are allowed"));
        }
        refuse_links(&stat, &self.path)?;
        Ok((fd, stat))
    }
}

/// A second name may lie where the file is not allowed: it cannot be told from here.
pub(super) fn refuse_links(stat: &Stat, path: &Path) -> Result<(), Failure> {
    if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_nlink > 1 {
        return Err(Failure::new("HARDLINK", format!("{path:?} has several names (hard links)")));
    }
    Ok(())
}

/// Opens a directory that the walk has reached, to list it.
pub(super) fn reopen(dir: &impl AsFd) -> Result<OwnedFd, Failure> {
    Ok(rustix::fs::openat(dir, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

fn push_reversed(todo: &mut Vec<OsString>, path: &Path) {
    let names = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    });
    let mut names: Vec<OsString> = names.collect();
    names.reverse();
    todo.append(&mut names);
}

/// Whether directories are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mkdir {
    Yes,
    No,
}

/// Whether the directories of a path were resolved before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pinned {
    Yes,
    No,
}

/// How much an operation changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// One entry.
    Itself,
    /// All that is in it.
    Below,
}

impl From<bool> for Mkdir {
    fn from(yes: bool) -> Mkdir {
        if yes { Mkdir::Yes } else { Mkdir::No }
    }
}

impl From<bool> for Pinned {
    fn from(yes: bool) -> Pinned {
        if yes { Pinned::Yes } else { Pinned::No }
    }
}
