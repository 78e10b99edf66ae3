//! A path followed as the kernel follows it, name by name, by open directories: never by the text of the path.
//!
//! It is followed twice: in the host's tree, where the client's tool will open it, and in the tree the jail would have.
//! The attack this answers is any spelling that means one thing to a checker and another to the kernel.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::tree::{Area, At, Tree};

/// As many symlinks as the kernel itself follows on one path.
const MOST_LINKS: usize = 40;

/// Why a path leads nowhere that could be judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The jail shows nothing there.
    Absent(PathBuf),
    /// A rule takes it away.
    Denied { path: PathBuf, rule: String },
    /// Something of a process: each process and each jail sees its own.
    Process(PathBuf),
    /// A name in the middle is missing, or no directory.
    Nowhere(PathBuf, Errno),
    /// The kernel refuses to go on.
    Failed(PathBuf, Errno),
}

/// An object on the way.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    /// A directory that the jail makes.
    Made,
    /// The directory of the process that asks, in /proc.
    OwnProcess,
    /// An object of the host's.
    Real(Real),
}

/// An open object of the host's.
#[derive(Debug, Clone)]
pub(crate) struct Real {
    pub(crate) fd: Rc<OwnedFd>,
    pub(crate) area: Area,
    pub(crate) stat: Rc<Stat>,
}

impl Real {
    pub(crate) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    pub(crate) fn id(&self) -> (u64, u64) {
        (self.stat.st_dev, self.stat.st_ino)
    }
}

/// Where a path leads.
#[derive(Debug)]
pub(crate) struct Reached {
    /// Its name without a symlink in it.
    pub(crate) path: PathBuf,
    pub(crate) node: Node,
    /// The directory it is in.
    pub(crate) parent: Option<Node>,
    /// The names that do not exist yet, below `node`.
    pub(crate) rest: Vec<Vec<u8>>,
}

impl Reached {
    /// Its name with what does not exist yet.
    pub(crate) fn whole(&self) -> PathBuf {
        self.rest.iter().fold(self.path.clone(), |path, name| path.join(OsStr::from_bytes(name)))
    }
}

/// What to do with a symlink at the very end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Last {
    Follow,
    Keep,
}

struct Step {
    name: Vec<u8>,
    node: Node,
}

struct Walk<'t> {
    tree: Option<&'t Tree>,
    steps: Vec<Step>,
    pending: VecDeque<Vec<u8>>,
    /// How many of the pending names were given, and not read in a link.
    given: usize,
    links: usize,
    cwd: &'t [u8],
    last: Last,
}

/// Follows an absolute path: in the jail's tree, or in the host's when there is none.
pub(crate) fn walk(tree: Option<&Tree>, path: &[u8], cwd: &[u8], last: Last) -> Result<Reached, Stop> {
    let root = match tree {
        Some(_) => Node::Made,
        None => open_root()?,
    };
    let root = Step { name: Vec::new(), node: root };
    let pending = VecDeque::from(names(path));
    let given = pending.len();
    let mut walk = Walk { tree, steps: vec![root], pending, given, links: 0, cwd, last };
    while let Some(name) = walk.pending.pop_front() {
        let is_given = walk.pending.len() < walk.given;
        walk.given = walk.given.min(walk.pending.len());
        if let Some(rest) = walk.step(name, is_given)? {
            return Ok(walk.end(rest));
        }
    }
    Ok(walk.end(Vec::new()))
}

const STEP: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn open_root() -> Result<Node, Stop> {
    let at = Path::new("/");
    let fd = rustix::fs::openat(CWD, at, STEP, Mode::empty()).map_err(|e| Stop::Failed(at.into(), e))?;
    real(fd, Area::System, at).map(Node::Real)
}

fn real(fd: OwnedFd, area: Area, at: &Path) -> Result<Real, Stop> {
    let stat = rustix::fs::fstat(&fd).map_err(|e| Stop::Failed(at.into(), e))?;
    Ok(Real { fd: Rc::new(fd), area, stat: Rc::new(stat) })
}

/// The names of a path. A slash at the end demands a directory, as a dot does.
fn names(path: &[u8]) -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = path.split(|b| *b == b'/').filter(|n| !n.is_empty()).map(<[u8]>::to_vec).collect();
    if path.ends_with(b"/") && !names.is_empty() {
        names.push(b".".to_vec());
    }
    names
}

impl Walk<'_> {
    fn node(&self) -> &Node {
        // The root is never taken off.
        &self.steps[self.steps.len() - 1].node
    }

    fn path(&self) -> PathBuf {
        let mut path = PathBuf::from("/");
        path.extend(self.steps.iter().skip(1).map(|step| OsStr::from_bytes(&step.name)));
        path
    }

    fn end(mut self, rest: Vec<Vec<u8>>) -> Reached {
        let path = self.path();
        let node = self.steps.pop().map_or(Node::Made, |step| step.node);
        Reached { path, node, parent: self.steps.pop().map(|step| step.node), rest }
    }

    /// Takes one name. Answers the names that are missing when there is nothing more to follow.
    fn step(&mut self, name: Vec<u8>, is_given: bool) -> Result<Option<Vec<Vec<u8>>>, Stop> {
        let is_dir = match self.node() {
            Node::Real(real) => real.kind().is_dir(),
            Node::Made | Node::OwnProcess => true,
        };
        if !is_dir {
            return Err(Stop::Nowhere(self.path(), Errno::NOTDIR));
        }
        match name.as_slice() {
            b"." => return Ok(None),
            b".." => {
                if self.steps.len() > 1 {
                    self.steps.pop();
                }
                return Ok(None);
            }
            _ => {}
        }
        let path = self.path();
        let at = path.join(OsStr::from_bytes(&name));
        if path == Path::new("/proc") {
            return self.enter_proc(name, at).map(|()| None);
        }
        if matches!(self.node(), Node::OwnProcess) {
            return self.jump(&name, at).map(|()| None);
        }
        match self.child(&name, &at) {
            Ok(node) => self.push(name, node, at).map(|()| None),
            Err(Stop::Nowhere(_, Errno::NOENT)) => self.missing(name, at, is_given).map(Some),
            Err(stop) => Err(stop),
        }
    }

    /// What is missing may be made, with the directories above it; a path that turns back in it leads nowhere, and
    /// no directory is made through a link that dangles.
    fn missing(&mut self, name: Vec<u8>, at: PathBuf, is_given: bool) -> Result<Vec<Vec<u8>>, Stop> {
        let is_file = self.pending.back().is_none_or(|last| last != b".");
        let more = self.pending.drain(..).filter(|name| name != b".");
        let rest: Vec<Vec<u8>> = std::iter::once(name).chain(more).collect();
        let turns = rest.iter().any(|name| name == b"..");
        match turns || !is_file || !is_given && rest.len() > 1 {
            true => Err(Stop::Nowhere(at, Errno::NOENT)),
            false => Ok(rest),
        }
    }

    /// /proc knows each process by another number in each jail; only what a process says of itself can be told.
    fn enter_proc(&mut self, name: Vec<u8>, at: PathBuf) -> Result<(), Stop> {
        match name.as_slice() {
            b"self" | b"thread-self" => {
                self.steps.push(Step { name, node: Node::OwnProcess });
                Ok(())
            }
            _ => Err(Stop::Process(at)),
        }
    }

    /// The links of /proc/self that lead into the tree. They are not text but the object itself (proc(5)).
    fn jump(&mut self, name: &[u8], at: PathBuf) -> Result<(), Stop> {
        if self.pending.is_empty() && self.last == Last::Keep {
            return Err(Stop::Process(at));
        }
        let target: &[u8] = match name {
            b"root" => b"/",
            b"cwd" => self.cwd,
            _ => return Err(Stop::Process(at)),
        };
        self.follow(target, at)
    }

    fn follow(&mut self, target: &[u8], at: PathBuf) -> Result<(), Stop> {
        self.links += 1;
        if self.links > MOST_LINKS {
            return Err(Stop::Failed(at, Errno::LOOP));
        }
        if target.starts_with(b"/") {
            self.steps.truncate(1);
        }
        for name in names(target).into_iter().rev() {
            self.pending.push_front(name);
        }
        Ok(())
    }

    /// Opens what has this name in the directory where the walk stands.
    fn child(&self, name: &[u8], at: &Path) -> Result<Node, Stop> {
        let (dir, area) = match (self.tree.map(|tree| tree.at(at)), self.node()) {
            (Some(At::Host(source, area)), _) => {
                let fd = rustix::fs::openat(CWD, source, STEP, Mode::empty());
                let fd = fd.map_err(|_| Stop::Absent(at.to_owned()))?;
                return real(fd, area, at).map(Node::Real);
            }
            (_, Node::Real(dir)) => (dir.fd.clone(), dir.area),
            (Some(At::Made), _) => return Ok(Node::Made),
            _ => return Err(Stop::Absent(at.to_owned())),
        };
        let fd = rustix::fs::openat(dir.as_fd(), OsStr::from_bytes(name), STEP, Mode::empty());
        let fd = fd.map_err(|e| match e {
            Errno::NOENT | Errno::NOTDIR => Stop::Nowhere(at.to_owned(), e),
            _ => Stop::Failed(at.to_owned(), e),
        })?;
        real(fd, area, at).map(Node::Real)
    }

    /// Stands on an object, or goes where it leads.
    fn push(&mut self, name: Vec<u8>, node: Node, at: PathBuf) -> Result<(), Stop> {
        if let Node::Real(found) = &node {
            if found.kind() == FileType::Symlink {
                if !self.pending.is_empty() || self.last == Last::Follow {
                    let target = rustix::fs::readlinkat(&found.fd, "", Vec::new());
                    let target = target.map_err(|e| Stop::Failed(at.clone(), e))?;
                    return self.follow(target.as_bytes(), at);
                }
            } else {
                self.may_pass(found, &at)?;
            }
        }
        self.steps.push(Step { name, node });
        Ok(())
    }

    /// Whether the jail lets a path through here at all.
    fn may_pass(&self, found: &Real, at: &Path) -> Result<(), Stop> {
        let above = match self.node() {
            Node::Real(dir) => dir.stat.st_dev,
            Node::Made | Node::OwnProcess => 0,
        };
        // Another /proc than the usual one shows the same processes.
        let is_other = found.stat.st_dev != above && at != Path::new("/proc");
        if is_other && rustix::fs::fstatfs(&found.fd).is_ok_and(|fs| fs.f_type == rustix::fs::PROC_SUPER_MAGIC) {
            return Err(Stop::Process(at.to_owned()));
        }
        let Some(tree) = self.tree else { return Ok(()) };
        if let Some(rule) = tree.denying(at, found.area) {
            return Err(Stop::Denied { path: at.to_owned(), rule: rule.to_owned() });
        }
        // Root opens what the jail, which is nobody there, cannot search.
        let is_closed = found.kind().is_dir() && found.stat.st_mode & 0o001 == 0;
        if found.area == Area::System && is_closed && rustix::process::geteuid().is_root() {
            return Err(Stop::Failed(at.to_owned(), Errno::ACCESS));
        }
        Ok(())
    }
}

/// Whether an object of the host's is where something is mounted: then its name cannot be taken away.
pub(crate) fn is_mount(real: &Real) -> rustix::io::Result<bool> {
    /// STATX_ATTR_MOUNT_ROOT (statx(2)).
    const MOUNT_ROOT: u64 = 0x2000;
    let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW;
    let stat = rustix::fs::statx(&real.fd, "", flags, rustix::fs::StatxFlags::TYPE)?;
    Ok(stat.stx_attributes.bits() & MOUNT_ROOT != 0)
}
