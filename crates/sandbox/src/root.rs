//! The jail's root: a fresh tmpfs that binds in only what the plan names, at the same paths as outside.
//!
//! Runs in the new mount namespace, before ids and capabilities are dropped. Every source is opened
//! while the host's tree is still in sight; then the new root is entered and the host's is let go.

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
use crate::spots::Spot;
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
}

/// Builds the root and enters it. Irreversible: the host's tree is gone afterwards.
pub(crate) fn enter(plan: &Plan, idmap: Option<BorrowedFd<'_>>) -> Result<Built> {
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .at("make private", "/")?;
    let system = open_system()?;
    let devices = open_devices()?;
    let places = open_places(plan, idmap)?;
    let outer_proc = open_tree(Path::new("/proc"))?;
    let root = Root::new(plan)?;
    root.attach_system(system)?;
    root.write_etc(plan)?;
    root.make_private(plan)?;
    root.make_dev(devices)?;
    let (proc, proc_fd) = root.make_proc(outer_proc)?;
    for (place, tree) in places {
        root.attach(tree, &place.target)?;
    }
    root.protect(plan)?;
    root.deny(plan)?;
    root.pivot()?;
    let pty = if plan.needs_pty { Some(open_pty()?) } else { None };
    sys::mount_setattr(root.fd.as_fd(), attr::RDONLY | attr::NOSUID | attr::NODEV, Depth::One, None)
        .at("make read-only", "/")?;
    Ok(Built { proc, proc_fd, pty })
}

fn open_tree(path: &Path) -> Result<OwnedFd> {
    const RECURSIVE: OpenTreeFlags = OpenTreeFlags::from_bits_retain(libc::AT_RECURSIVE as u32);
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    rustix::mount::open_tree(CWD, path, flags | RECURSIVE).at("open", path)
}

/// What a system directory is on this host.
enum System {
    Link(PathBuf),
    Tree(OwnedFd),
}

fn open_system() -> Result<Vec<(PathBuf, System)>> {
    let mut out = Vec::new();
    for path in layout::system() {
        match rustix::fs::readlinkat(CWD, &path, Vec::new()) {
            Ok(target) => out.push((path, System::Link(PathBuf::from(OsStr::from_bytes(target.as_bytes()))))),
            Err(rustix::io::Errno::INVAL) => {
                let tree = open_tree(&path)?;
                let set = attr::RDONLY | attr::NOSUID | attr::NODEV;
                sys::mount_setattr(tree.as_fd(), set, Depth::Tree, None).at("make read-only", &path)?;
                out.push((path, System::Tree(tree)));
            }
            // Absent on this host, or its parent is no directory: absent inside too.
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::ACCESS) => {}
            Err(e) => return Err(e).at("read link", &path),
        }
    }
    Ok(out)
}

fn open_devices() -> Result<Vec<(PathBuf, OwnedFd)>> {
    layout::DEVICES
        .iter()
        .map(|name| {
            let path = Path::new("/dev").join(name);
            open_tree(&path).map(|tree| (path, tree))
        })
        .collect()
}

/// Opens the plan's places, with their attributes set while nobody can reach them.
fn open_places<'p>(plan: &'p Plan, idmap: Option<BorrowedFd<'_>>) -> Result<Vec<(&'p Place, OwnedFd)>> {
    let mut out = Vec::new();
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
        if let (Mapping::Idmapped, Some(userns)) = (plan.ids.mapping, idmap) {
            sys::mount_setattr(tree.as_fd(), attr::IDMAP, Depth::Tree, Some(userns))
                .at("map the ids of", &place.source)?;
        }
        out.push((place, tree));
    }
    Ok(out)
}

fn open_pty() -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::open("/dev/pts/ptmx", flags, Mode::empty()).at("open a terminal at", "/dev/pts/ptmx")
}

/// The new root while it is built: every path is resolved beneath its descriptor.
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
    /// Makes the tmpfs and hangs it over an existing directory, from where it becomes the root.
    fn new(plan: &Plan) -> Result<Root> {
        let options = [("mode", "0755"), ("size", "8m"), ("nr_inodes", "16k")];
        let set = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
        let fd = new_mount("tmpfs", &options, set)?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        rustix::mount::move_mount(fd.as_fd(), "", CWD, "/usr", flags).at("mount the new root over", "/usr")?;
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

    /// Makes a directory and its parents where they are missing.
    fn make_dirs(&self, path: &Path) -> Result<()> {
        if self.open(path, OFlags::PATH).is_ok() {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            self.make_dirs(parent)?;
        }
        let mode = Mode::from_raw_mode(0o755);
        match rustix::fs::mkdirat(&self.fd, Self::relative(path), mode) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
            Err(e) => Err(e).at("make the directory", path),
        }
    }

    fn write(&self, path: &Path, content: &[u8], mode: u32) -> Result<()> {
        if let Some(parent) = path.parent() {
            self.make_dirs(parent)?;
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd =
            rustix::fs::openat(&self.fd, Self::relative(path), flags, Mode::from_raw_mode(mode)).at("write", path)?;
        io::Write::write_all(&mut std::fs::File::from(fd), content).at("write", path)
    }

    fn link(&self, path: &Path, target: &Path) -> Result<()> {
        if let Some(parent) = path.parent() {
            self.make_dirs(parent)?;
        }
        rustix::fs::symlinkat(target, &self.fd, Self::relative(path)).at("make the symlink", path)
    }

    /// Hangs a mount at a path, making the mount point where it is missing.
    fn attach(&self, tree: OwnedFd, path: &Path) -> Result<()> {
        let at = match self.open(path, OFlags::PATH | OFlags::NOFOLLOW) {
            Ok(at) => at,
            Err(rustix::io::Errno::NOENT) => {
                let stat = rustix::fs::fstat(&tree).at("examine", path)?;
                if rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir() {
                    self.make_dirs(path)?;
                } else {
                    self.write(path, b"", 0o444)?;
                }
                self.open(path, OFlags::PATH | OFlags::NOFOLLOW).at("open the mount point", path)?
            }
            Err(e) => return Err(e).at("open the mount point", path),
        };
        self.attach_at(tree.as_fd(), at.as_fd()).at("mount", path)
    }

    fn attach_at(&self, tree: BorrowedFd<'_>, at: BorrowedFd<'_>) -> rustix::io::Result<()> {
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        rustix::mount::move_mount(tree, "", at, "", flags)
    }

    /// Clones the mount at a path of the new root.
    fn clone_at(&self, path: &Path) -> Result<OwnedFd> {
        const RECURSIVE: OpenTreeFlags = OpenTreeFlags::from_bits_retain(libc::AT_RECURSIVE as u32);
        let at = self.open(path, OFlags::PATH | OFlags::NOFOLLOW).at("open", path)?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
        rustix::mount::open_tree(&at, "", flags | RECURSIVE).at("clone the mount of", path)
    }

    fn attach_system(&self, system: Vec<(PathBuf, System)>) -> Result<()> {
        for (path, kind) in system {
            match kind {
                System::Link(target) => self.link(&path, &target)?,
                System::Tree(tree) => self.attach(tree, &path)?,
            }
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
    /// It is hung at /tmp, and its own `tmp` over it last: from then on only the four clones lead into it.
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
        self.attach(tmpfs, at)?;
        for (name, target, mode) in [
            ("vartmp", Path::new("/var/tmp"), 0o1777),
            ("shm", Path::new("/dev/shm"), 0o1777),
            ("home", plan.home.as_path(), 0o700),
            ("tmp", at, 0o1777),
        ] {
            let source = at.join(name);
            self.make_private_dir(plan, &source, mode)?;
            let tree = self.clone_at(&source)?;
            self.attach(tree, target)?;
        }
        Ok(())
    }

    fn make_private_dir(&self, plan: &Plan, path: &Path, mode: u32) -> Result<()> {
        let (relative, mode) = (Self::relative(path), Mode::from_raw_mode(mode));
        rustix::fs::mkdirat(&self.fd, relative, mode).at("make the directory", path)?;
        rustix::fs::chmodat(&self.fd, relative, mode, rustix::fs::AtFlags::empty()).at("set the mode of", path)?;
        if plan.ids.mapping != Mapping::Caller {
            let (uid, gid) = (rustix::fs::Uid::from_raw(self.uid), rustix::fs::Gid::from_raw(self.gid));
            rustix::fs::chownat(&self.fd, relative, Some(uid), Some(gid), rustix::fs::AtFlags::empty())
                .at("set the owner of", path)?;
        }
        Ok(())
    }

    fn make_dev(&self, devices: Vec<(PathBuf, OwnedFd)>) -> Result<()> {
        for (path, tree) in devices {
            self.attach(tree, &path)?;
        }
        for (path, target) in layout::DEVICE_LINKS {
            self.link(Path::new(path), Path::new(target))?;
        }
        let options = [("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620")];
        let set = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let pts = new_mount("devpts", &options[1..], set)?;
        self.attach(pts, Path::new("/dev/pts"))
    }

    /// A /proc that knows only the jail's processes.
    ///
    /// Where the outer /proc carries masks the kernel refuses a fresh one (mount_too_revealing). The outer one
    /// is then bound read-only: Landlock refuses environ, mem, fd and root of every process outside the jail,
    /// but their names and command lines can be read, which the report says.
    fn make_proc(&self, outer: OwnedFd) -> Result<(Extent, Option<OwnedFd>)> {
        let set =
            MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let at = Path::new("/proc");
        self.make_dirs(at)?;
        match new_mount("proc", &[], set) {
            Ok(fresh) => {
                self.attach_at(fresh.as_fd(), self.open(at, OFlags::PATH).at("open", at)?.as_fd()).at("mount", at)?;
                Ok((Extent::Full(""), Some(self.clone_at(at)?)))
            }
            Err(refused) if refused.source.raw_os_error() == Some(libc::EPERM) => {
                let set = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC;
                sys::mount_setattr(outer.as_fd(), set, Depth::Tree, None).at("make read-only", at)?;
                self.attach(outer, at)?;
                let missing = "the host's /proc carries masks, so the kernel refuses a fresh one: names and command \
                               lines of processes outside are visible, their memory, environment and files are not";
                Ok((Extent::Partial(missing.into()), None))
            }
            Err(e) => Err(e),
        }
    }

    /// Pins every ancestor of a protected thing by mounting it on itself, then mounts the thing read-only.
    ///
    /// A pinned directory is a mount point and cannot be renamed away (EBUSY), which would undo the protection.
    fn protect(&self, plan: &Plan) -> Result<()> {
        for pin in &plan.pins {
            let tree = self.clone_at(pin)?;
            self.attach(tree, pin)?;
        }
        for spot in &plan.protected {
            let tree = self.clone_at(&spot.path)?;
            sys::mount_setattr(tree.as_fd(), attr::RDONLY, Depth::Tree, None).at("make read-only", &spot.path)?;
            self.attach(tree, &spot.path)?;
        }
        Ok(())
    }

    /// Covers every denied thing with something of mode 000 on a read-only mount.
    fn deny(&self, plan: &Plan) -> Result<()> {
        if plan.denied.is_empty() {
            return Ok(());
        }
        let cover = |path: &str| -> Result<OwnedFd> {
            let tree = self.clone_at(Path::new(path))?;
            sys::mount_setattr(tree.as_fd(), attr::RDONLY, Depth::One, None).at("make read-only", path)?;
            Ok(tree)
        };
        let (file, dir) = (cover(layout::DENIED_FILE)?, cover(layout::DENIED_DIR)?);
        self.attach(file, Path::new(layout::DENIED_FILE))?;
        self.attach(dir, Path::new(layout::DENIED_DIR))?;
        for Spot { path, is_dir, .. } in &plan.denied {
            let tree = self.clone_at(Path::new(if *is_dir { layout::DENIED_DIR } else { layout::DENIED_FILE }))?;
            self.attach(tree, path)?;
        }
        Ok(())
    }

    /// Makes the new root the root, and lets go of the host's (pivot_root(2), the `"."` form).
    fn pivot(&self) -> Result<()> {
        rustix::process::fchdir(&self.fd).at("enter", "/")?;
        rustix::process::pivot_root(".", ".").at("pivot_root to", "/")?;
        rustix::mount::unmount(".", UnmountFlags::DETACH).at("let go of the host's", "/")?;
        rustix::process::chdir("/").at("enter", "/")?;
        for path in layout::PROC_COVERED {
            if Path::new(path).exists() {
                rustix::mount::mount_bind("/dev/null", *path).at("cover", path)?;
            }
        }
        Ok(())
    }
}

/// Makes /proc read-only once the id maps are written: lowering oom_score_adj again is one write away otherwise.
pub(crate) fn seal_proc() -> Result<()> {
    let fd = rustix::fs::open("/proc", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).at("open", "/proc")?;
    sys::mount_setattr(fd.as_fd(), attr::RDONLY, Depth::One, None).at("make read-only", "/proc")
}
