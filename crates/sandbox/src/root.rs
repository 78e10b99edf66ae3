//! The jail's root: a fresh tmpfs that binds in only what the plan names, at the same paths as outside.
//!
//! Runs in the new mount namespace, before ids and capabilities are dropped. The root grows at one directory of the
//! host's tree, beside what it binds; what the policy names is opened before. Then it is entered and the host's let go.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};

use crate::ids::Mapping;
use crate::layout;
use crate::plan::{Place, Plan};
use crate::streams::Start;
use crate::sys::{self, Depth, attr};
use crate::tier::Extent;

/// A step of building the jail that failed: what was done, to what, and the kernel's answer.
#[derive(Debug, thiserror::Error)]
#[error("{step} {path:?}: {source}")]
pub(crate) struct BuildError {
    pub(crate) step: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) source: io::Error,
}

mod cover;
mod whole;

type Result<T> = std::result::Result<T, BuildError>;

/// Names the step and the path of an error.
pub(crate) trait At<T> {
    fn at(self, step: &'static str, path: impl AsRef<Path>) -> Result<T>;
}

impl<T, E: Into<io::Error>> At<T> for std::result::Result<T, E> {
    fn at(self, step: &'static str, path: impl AsRef<Path>) -> Result<T> {
        self.map_err(|e| BuildError { step, path: path.as_ref().to_owned(), source: e.into() })
    }
}

/// What building told about /proc, for the report.
pub(crate) struct Built {
    pub(crate) proc: Extent,
    /// A second, writable mount of the fresh /proc that no path leads to: for id maps, and for the monitor to look in.
    pub(crate) proc_fd: Option<OwnedFd>,
    /// The master of the jail's terminal.
    pub(crate) pty: Option<OwnedFd>,
    /// Where a whole agent's commands ask for jails of their own.
    pub(crate) listener: Option<OwnedFd>,
}

/// Builds the root and enters it. Irreversible: the host's tree is gone afterwards.
///
/// `idmap` is asked for late: the monitor makes it meanwhile.
pub(crate) fn enter(plan: &Plan, idmap: impl FnOnce() -> io::Result<Option<OwnedFd>>) -> Result<Built> {
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .at("make private", "/")?;
    let places = open_places(plan)?;
    let usr = open_tree(Path::new(SITE))?;
    // Modes are as they are written here; the command gets the caller's mask.
    let mask = rustix::process::umask(Mode::empty());
    let root = Root::new(plan)?;
    root.attach_system(usr)?;
    root.write_etc(plan)?;
    root.make_private(plan)?;
    root.make_dev()?;
    let (proc, proc_fd) = root.make_proc()?;
    root.cover_proc()?;
    root.attach_places(places, idmap().at("receive", "the id map")?)?;
    root.make_links(plan)?;
    root.protect(plan)?;
    root.deny(plan)?;
    root.pivot()?;
    let pty = plan.terminal.as_ref().map(|start| open_pty(start, "/dev/pts/ptmx")).transpose()?;
    let listener = plan.whole.as_ref().map(|_| whole::listen()).transpose()?;
    sys::mount_setattr(root.fd.as_fd(), attr::RDONLY | attr::NOSUID | attr::NODEV, Depth::One, None)
        .at("make read-only", "/")?;
    rustix::process::umask(mask);
    Ok(Built { proc, proc_fd, pty, listener })
}

/// Where the root grows: a directory that every host has, and that the plan's places cannot need meanwhile.
const SITE: &str = "/usr";

/// A detached copy of a mount and all below it.
const CLONE: OpenTreeFlags = OpenTreeFlags::OPEN_TREE_CLONE
    .union(OpenTreeFlags::OPEN_TREE_CLOEXEC)
    .union(OpenTreeFlags::from_bits_retain(libc::AT_RECURSIVE as u32));

fn open_tree(path: &Path) -> Result<OwnedFd> {
    rustix::mount::open_tree(CWD, path, CLONE | OpenTreeFlags::AT_SYMLINK_NOFOLLOW).at("open", path)
}

fn is_dir(tree: &OwnedFd) -> rustix::io::Result<bool> {
    Ok(rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(tree)?.st_mode).is_dir())
}

/// Opens the plan's places, with their attributes set while nobody can reach them.
fn open_places(plan: &Plan) -> Result<Vec<(&Place, OwnedFd)>> {
    let mut out = Vec::with_capacity(plan.places.len());
    for place in &plan.places {
        let tree = open_tree(&place.source)?;
        if let Some((dev, ino)) = place.must_be {
            let stat = rustix::fs::fstat(&tree).at("examine", &place.source)?;
            if (stat.st_dev, stat.st_ino) != (dev, ino) {
                let swapped = io::Error::other("replaced since it was checked");
                return Err(swapped).at("open", &place.source);
            }
        }
        let set = attr::NOSUID | attr::NODEV | if place.is_writable { 0 } else { attr::RDONLY };
        sys::mount_setattr(tree.as_fd(), set, Depth::Tree, None).at("set attributes of", &place.source)?;
        out.push((place, tree));
    }
    Ok(out)
}

/// Opens a terminal and sets it up. Its other side is taken from the master: no path needs to lead to it.
pub(crate) fn open_pty(start: &Start, path: &str) -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master = rustix::fs::open(path, flags, Mode::empty()).at("open a terminal at", path)?;
    start.apply(master.as_fd()).at("set up the terminal of", path)?;
    Ok(master)
}

/// The new root while it is built. Nobody else can reach it, so that paths of `layout` are used as they stand, relative
/// to its descriptor; paths of the plan may lead through symlinks and are resolved as within the root.
struct Root {
    fd: OwnedFd,
    uid: u32,
    gid: u32,
}

fn new_mount(kind: &'static str, options: &[(&str, &str)], set: MountAttrFlags) -> Result<OwnedFd> {
    let fs = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).at("open file system", kind)?;
    for (key, value) in options {
        rustix::mount::fsconfig_set_string(fs.as_fd(), *key, *value).at("configure file system", kind)?;
    }
    rustix::mount::fsconfig_create(fs.as_fd()).at("create file system", kind)?;
    rustix::mount::fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, set).at("mount file system", kind)
}

impl Root {
    /// Makes the tmpfs and hangs it at its site.
    fn new(plan: &Plan) -> Result<Root> {
        let options = [("mode", "0755"), ("size", "8m"), ("nr_inodes", "16k")];
        let set = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
        let fd = new_mount("tmpfs", &options, set)?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        rustix::mount::move_mount(fd.as_fd(), "", CWD, SITE, flags).at("mount the new root over", SITE)?;
        Ok(Root { fd, uid: plan.ids.uid, gid: plan.ids.gid })
    }

    fn relative(path: &Path) -> &Path {
        let path = path.strip_prefix("/").unwrap_or(path);
        if path.as_os_str().is_empty() { Path::new(".") } else { path }
    }

    /// Opens a path beneath the new root, following no symlink.
    fn open(&self, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(&self.fd, Self::relative(path), flags | OFlags::CLOEXEC, Mode::empty(), resolve)
    }

    /// Makes a directory of the layout and its parents where they are missing.
    fn make_dirs(&self, path: &Path) -> Result<()> {
        let make = || rustix::fs::mkdirat(&self.fd, Self::relative(path), Mode::from_raw_mode(0o755));
        let made = match (make(), path.parent()) {
            (Err(rustix::io::Errno::NOENT), Some(parent)) => {
                self.make_dirs(parent)?;
                make()
            }
            (made, _) => made,
        };
        match made {
            Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
            Err(e) => Err(e).at("make the directory", path),
        }
    }

    /// Makes something in a directory, and the directory first where it is missing.
    fn make_in<T>(&self, path: &Path, make: impl Fn(&Path) -> rustix::io::Result<T>) -> Result<T> {
        let made = match (make(Self::relative(path)), path.parent()) {
            (Err(rustix::io::Errno::NOENT), Some(parent)) => {
                self.make_dirs(parent)?;
                make(Self::relative(path))
            }
            (made, _) => made,
        };
        made.at("make", path)
    }

    fn write(&self, path: &Path, content: &[u8], mode: u32) -> Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = self.make_in(path, |p| rustix::fs::openat(&self.fd, p, flags, Mode::from_raw_mode(mode)))?;
        io::Write::write_all(&mut std::fs::File::from(fd), content).at("write", path)
    }

    fn link(&self, path: &Path, target: &Path) -> Result<()> {
        self.make_in(path, |p| rustix::fs::symlinkat(target, &self.fd, p))
    }

    /// Makes the mount point of a file.
    fn make_file(&self, path: &Path) -> Result<()> {
        use rustix::fs::FileType::RegularFile;
        self.make_in(path, |p| rustix::fs::mknodat(&self.fd, p, RegularFile, Mode::from_raw_mode(0o444), 0))
    }

    /// Hangs a mount at a path of the layout, which must exist.
    fn hang(&self, tree: BorrowedFd<'_>, path: &Path) -> Result<()> {
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        rustix::mount::move_mount(tree, "", &self.fd, Self::relative(path), flags).at("mount", path)
    }

    /// Hangs a mount at a path of the plan, making the mount point where it is missing.
    fn attach(&self, tree: OwnedFd, path: &Path) -> Result<()> {
        let at = match self.open(path, OFlags::PATH | OFlags::NOFOLLOW) {
            Ok(at) => at,
            Err(rustix::io::Errno::NOENT) => {
                self.make_point(path, is_dir(&tree).at("examine", path)?)?;
                self.open(path, OFlags::PATH | OFlags::NOFOLLOW).at("open the mount point", path)?
            }
            Err(e) => return Err(e).at("open the mount point", path),
        };
        self.attach_at(tree.as_fd(), at.as_fd()).at("mount", path)
    }

    /// Makes a mount point of the plan. Each directory on the way is opened beneath the one before it: an absolute
    /// symlink of the layout would lead to the host's own root, which is still in sight.
    fn make_point(&self, path: &Path, is_dir: bool) -> Result<()> {
        let (parent, name) = match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => (parent, name),
            _ => return Err(io::Error::from_raw_os_error(libc::EINVAL)).at("make the mount point", path),
        };
        let opened = match self.open(parent, OFlags::PATH | OFlags::DIRECTORY) {
            Err(rustix::io::Errno::NOENT) => {
                self.make_point(parent, true)?;
                self.open(parent, OFlags::PATH | OFlags::DIRECTORY)
            }
            opened => opened,
        };
        let opened = opened.at("open the mount point", parent)?;
        let made = if is_dir {
            rustix::fs::mkdirat(&opened, name, Mode::from_raw_mode(0o755))
        } else {
            let mode = Mode::from_raw_mode(0o444);
            rustix::fs::mknodat(&opened, name, rustix::fs::FileType::RegularFile, mode, 0)
        };
        made.at("make the mount point", path)
    }

    fn attach_at(&self, tree: BorrowedFd<'_>, at: BorrowedFd<'_>) -> rustix::io::Result<()> {
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        rustix::mount::move_mount(tree, "", at, "", flags)
    }

    /// Clones the mount at a path of the layout.
    fn clone_of_layout(&self, path: &Path) -> Result<OwnedFd> {
        rustix::mount::open_tree(&self.fd, Self::relative(path), CLONE).at("clone the mount of", path)
    }

    /// Hangs the system's parts in, and makes all of them read-only at once.
    fn attach_system(&self, usr: OwnedFd) -> Result<()> {
        self.make_dirs(Path::new(SITE))?;
        self.hang(usr.as_fd(), Path::new(SITE))?;
        for path in layout::SYSTEM.iter().filter(|path| **path != SITE) {
            self.bind(Path::new(path))?;
        }
        for name in layout::ETC {
            self.bind(&Path::new("/etc").join(name))?;
        }
        let set = attr::RDONLY | attr::NOSUID | attr::NODEV;
        sys::mount_setattr(self.fd.as_fd(), set, Depth::Tree, None).at("make read-only", "/")?;
        sys::mount_make_writable(self.fd.as_fd()).at("go on writing in", "/")
    }

    /// Binds something of the host's layout to the same path. What is absent there, or behind a symlink into the site,
    /// is absent inside too; a symlink stays one.
    fn bind(&self, path: &Path) -> Result<()> {
        use rustix::fs::FileType;
        use rustix::io::Errno;
        let stat = match rustix::fs::lstat(path) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => return Ok(()),
            stat => stat.at("examine", path)?,
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(CWD, path, Vec::new()).at("read link", path)?;
                return self.link(path, Path::new(OsStr::from_bytes(target.as_bytes())));
            }
            FileType::Directory => self.make_dirs(path)?,
            _ => self.make_file(path)?,
        }
        rustix::mount::mount_bind_recursive(path, Path::new(SITE).join(Self::relative(path))).at("bind", path)
    }

    fn attach_places(&self, places: Vec<(&Place, OwnedFd)>, idmap: Option<OwnedFd>) -> Result<()> {
        for (place, tree) in places {
            if let Some(userns) = &idmap {
                sys::mount_setattr(tree.as_fd(), attr::IDMAP, Depth::Tree, Some(userns.as_fd()))
                    .map_err(|e| match e.raw_os_error() {
                        Some(libc::EINVAL) => io::Error::other("its file system has no idmapped mounts"),
                        _ => e,
                    })
                    .at("map the ids of", &place.source)?;
            }
            self.attach(tree, &place.target)?;
        }
        Ok(())
    }

    fn write_etc(&self, plan: &Plan) -> Result<()> {
        for (path, content) in &plan.files {
            self.write(path, content, 0o444)?;
        }
        self.write(Path::new(layout::DENIED_FILE), b"", 0)?;
        let denied = Path::new(layout::DENIED_DIR);
        rustix::fs::mkdirat(&self.fd, Self::relative(denied), Mode::empty()).at("make the directory", denied)
    }

    /// HOME, /tmp, /var/tmp and /dev/shm: one tmpfs, so that one size and one inode count bound them all.
    ///
    /// It is hung at /tmp, and its own `tmp` over it: from then on only the four clones lead into it.
    fn make_private(&self, plan: &Plan) -> Result<()> {
        let (uid, gid) = (self.uid.to_string(), self.gid.to_string());
        let (size, inodes) = (
            plan.limits.tmpfs.to_string(),
            (plan.limits.tmpfs / 8192 + 1024).min(plan.limits.disk_files.max(64)).to_string(),
        );
        let options = [
            ("mode", "0700"),
            ("size", size.as_str()),
            ("nr_inodes", inodes.as_str()),
            ("uid", uid.as_str()),
            ("gid", gid.as_str()),
        ];
        let set = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
        let tmpfs = new_mount("tmpfs", &options, set)?;
        let at = Path::new("/tmp");
        self.make_dirs(at)?;
        self.hang(tmpfs.as_fd(), at)?;
        let part = |name: &str, mode| {
            let source = at.join(name);
            self.make_private_dir(plan, &source, mode)?;
            self.clone_of_layout(&source)
        };
        let (home, tmp) = (part("home", 0o700)?, part("tmp", 0o1777)?);
        let others = [("/var/tmp", part("vartmp", 0o1777)?), ("/dev/shm", part("shm", 0o1777)?)];
        self.hang(tmp.as_fd(), at)?;
        for (target, tree) in &others {
            self.make_dirs(Path::new(target))?;
            self.hang(tree.as_fd(), Path::new(target))?;
        }
        // Last: it may lie below one of the others. Where it is one of them, it is that one.
        if plan.home == at || others.iter().any(|(target, _)| plan.home == Path::new(target)) {
            return Ok(());
        }
        self.attach(home, &plan.home)?;
        self.copy_into_home(plan)
    }

    fn make_private_dir(&self, plan: &Plan, path: &Path, mode: u32) -> Result<()> {
        let relative = Self::relative(path);
        rustix::fs::mkdirat(&self.fd, relative, Mode::from_raw_mode(mode)).at("make the directory", path)?;
        if plan.ids.mapping != Mapping::Caller {
            let (uid, gid) = (rustix::fs::Uid::from_raw(self.uid), rustix::fs::Gid::from_raw(self.gid));
            rustix::fs::chownat(&self.fd, relative, Some(uid), Some(gid), rustix::fs::AtFlags::empty())
                .at("set the owner of", path)?;
        }
        Ok(())
    }

    fn make_dev(&self) -> Result<()> {
        for name in layout::DEVICES {
            self.bind(&Path::new("/dev").join(name))?;
        }
        for (path, target) in layout::DEVICE_LINKS {
            self.link(Path::new(path), Path::new(target))?;
        }
        let (uid, gid) = (self.uid.to_string(), self.gid.to_string());
        // The terminal is the command's own, so that /dev/stdout can be opened again: it is made before ids drop.
        let options = [("ptmxmode", "0666"), ("mode", "0620"), ("uid", uid.as_str()), ("gid", gid.as_str())];
        let set = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let pts = new_mount("devpts", &options, set)?;
        let at = Path::new("/dev/pts");
        self.make_dirs(at)?;
        self.hang(pts.as_fd(), at)
    }

    /// A /proc that knows only the jail's processes.
    ///
    /// Where the outer /proc carries masks the kernel refuses a fresh one (mount_too_revealing). The outer one
    /// is then bound read-only: Landlock refuses environ, mem, fd and root of every process outside the jail,
    /// but their names and command lines can be read, which the report says.
    fn make_proc(&self) -> Result<(Extent, Option<OwnedFd>)> {
        let set =
            MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let at = Path::new("/proc");
        self.make_dirs(at)?;
        match new_mount("proc", &[], set) {
            Ok(fresh) => {
                self.hang(fresh.as_fd(), at)?;
                Ok((Extent::Full(""), Some(self.clone_of_layout(at)?)))
            }
            Err(refused) if refused.source.raw_os_error() == Some(libc::EPERM) => {
                let outer = open_tree(at)?;
                let set = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC;
                sys::mount_setattr(outer.as_fd(), set, Depth::Tree, None).at("make read-only", at)?;
                self.hang(outer.as_fd(), at)?;
                let missing = "the host's /proc carries masks, so the kernel refuses a fresh one: names, command lines \
                               and network tables of processes outside are visible, their memory, environment and \
                               files are not";
                Ok((Extent::Partial(missing.into()), None))
            }
            Err(e) => Err(e),
        }
    }

    /// Covers what /proc tells of the host's kernel and keys.
    fn cover_proc(&self) -> Result<()> {
        for path in layout::PROC_COVERED {
            match rustix::mount::mount_bind("/dev/null", Path::new(SITE).join(Self::relative(Path::new(path)))) {
                // This kernel has no such file.
                Err(rustix::io::Errno::NOENT) => {}
                covered => covered.at("cover", path)?,
            }
        }
        Ok(())
    }

    /// Makes the new root the root, and lets go of the host's (pivot_root(2), the `"."` form).
    fn pivot(&self) -> Result<()> {
        rustix::process::fchdir(&self.fd).at("enter", "/")?;
        rustix::process::pivot_root(".", ".").at("pivot_root to", "/")?;
        rustix::mount::unmount(".", UnmountFlags::DETACH).at("let go of the host's", "/")?;
        rustix::process::chdir("/").at("enter", "/")?;
        Ok(())
    }
}

/// Makes /proc read-only once the id maps are written: lowering oom_score_adj again is one write away otherwise.
pub(crate) fn seal_proc() -> Result<()> {
    let fd = rustix::fs::open("/proc", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).at("open", "/proc")?;
    sys::mount_setattr(fd.as_fd(), attr::RDONLY, Depth::One, None).at("make read-only", "/proc")
}
