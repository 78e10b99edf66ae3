//! What may be done with the object that a path reached: by the rules under which the jail would show it.

use std::ffi::OsStr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use mantlet_clients::Act;
use mantlet_policy::Agent;
use rustix::fs::{Access, AtFlags, FileType, StatVfsMountFlags};
use rustix::io::Errno;

use crate::covers::{Cover, Covers};
use crate::tree::{Area, Tree};
use crate::walk::{self, Last, Node, Reached, Real, Stop, walk};

/// Why something is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) rule: String,
    pub(crate) what: String,
    pub(crate) way: Way,
}

/// What would help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Way {
    Read(PathBuf),
    Write(PathBuf),
    Words(String),
    /// Nothing is there: whoever looks at it may look again.
    Missing,
    None,
}

/// What allowed it, as a person would name it.
pub(crate) type Grant = &'static str;

/// The judge of one agent's paths.
pub(crate) struct Judge<'g> {
    pub(crate) agent: &'g Agent,
    pub(crate) tree: &'g Tree,
    pub(crate) top: &'g OwnedFd,
}

/// Which of the names below a directory a search looks at: a path and its kind.
pub(crate) type Wanted<'w> = &'w dyn Fn(&[u8], FileType) -> bool;

fn refused(rule: impl Into<String>, what: impl Into<String>, way: Way) -> Refused {
    Refused { rule: rule.into(), what: what.into(), way }
}

pub(crate) fn show(path: &Path) -> String {
    mantlet_ledger::escape(path.as_os_str().as_bytes())
}

fn show_bytes(path: &[u8]) -> String {
    mantlet_ledger::escape(path)
}

/// Whether the act changes anything.
fn changes(act: Act) -> bool {
    matches!(act, Act::Write | Act::Delete)
}

const OUTSIDE: &str = "only the workspace and what the policy opens";
const PRIVATE: &str = "what each call has of its own";

impl Judge<'_> {
    /// Judges an absolute path, for one act.
    pub(crate) fn path(&self, path: &[u8], act: Act, cwd: &[u8], wanted: Wanted<'_>) -> Result<Grant, Refused> {
        let reached = self.reach(path, act, cwd)?;
        if !reached.rest.is_empty() && act != Act::Write {
            let what = format!("{} does not exist", show(&reached.whole()));
            return Err(refused("only what exists", what, Way::Missing));
        }
        let Node::Real(real) = &reached.node else {
            return Err(self.absent(&reached.path, &reached.path, act));
        };
        match real.area {
            Area::Work => self.in_workspace(&reached, real, act, wanted),
            _ => self.outside(&reached, real, act),
        }
    }

    /// Follows a path in the jail's tree and in the host's: what is judged is what the tool would open.
    pub(crate) fn reach(&self, path: &[u8], act: Act, cwd: &[u8]) -> Result<Reached, Refused> {
        let last = if act == Act::Delete { Last::Keep } else { Last::Follow };
        let host = walk(None, path, cwd, last);
        let inside = walk(Some(self.tree), path, cwd, last).map_err(|stop| self.stopped(stop, &host, act))?;
        let host = host.map_err(|stop| self.stopped(stop, &Err(Stop::Process(PathBuf::new())), act))?;
        let is_same = match (&inside.node, &host.node) {
            (Node::Real(inside), Node::Real(host)) => inside.id() == host.id(),
            (Node::Made, Node::Real(_)) => return Err(self.absent(&inside.whole(), &host.whole(), act)),
            (Node::OwnProcess, _) => return Err(self.stopped(Stop::Process(inside.path), &Ok(host), act)),
            _ => false,
        };
        if !is_same || inside.rest != host.rest {
            let what = format!(
                "{} leads the client to {} and the jail to {}, or it is being changed",
                show_bytes(path),
                show(&host.whole()),
                show(&inside.whole())
            );
            return Err(refused("one path, one object", what, Way::Words("name the file by its real path".into())));
        }
        Ok(inside)
    }

    fn stopped(&self, stop: Stop, host: &Result<Reached, Stop>, act: Act) -> Refused {
        match stop {
            Stop::Absent(path) => {
                let real = host.as_ref().map_or_else(|_| path.clone(), Reached::whole);
                self.absent(&path, &real, act)
            }
            Stop::Denied { path, rule } => self.denied(&path, &rule),
            Stop::Process(path) => {
                let what = format!("{} is another thing for each process, and another in the jail", show(&path));
                refused(PRIVATE, what, Way::Words("name the file by its real path".into()))
            }
            Stop::Nowhere(path, errno) | Stop::Failed(path, errno) => {
                let what = format!("{}: {errno}", show(&path));
                let is_missing = matches!(errno, Errno::NOENT | Errno::NOTDIR);
                let way = if is_missing { Way::Missing } else { Way::Words("check the path".into()) };
                refused("only what the kernel can reach", what, way)
            }
        }
    }

    /// The jail does not show it.
    fn absent(&self, path: &Path, real: &Path, act: Act) -> Refused {
        if ["/proc", "/dev", "/sys"].iter().any(|own| path.starts_with(own)) {
            let what = format!("{} speaks of this machine or of one process", show(path));
            return refused(PRIVATE, what, Way::Words("no rule can open it".into()));
        }
        let what = format!("{} is outside of what agent `{}` sees", show(real), self.agent.name());
        let way = match act {
            // A rule opens what exists: for a new file, the directory it would be in.
            Act::Write => Way::Write(existing(real)),
            Act::Delete => Way::Write(real.parent().unwrap_or(real).to_owned()),
            _ => Way::Read(real.to_owned()),
        };
        refused(OUTSIDE, what, way)
    }

    fn denied(&self, path: &Path, rule: &str) -> Refused {
        refused(
            format!("deny `{}`", show_bytes(rule.as_bytes())),
            format!("{} is denied", show(path)),
            Way::Read(path.to_owned()),
        )
    }

    fn covered(&self, cover: Cover, path: &Path) -> Refused {
        match cover {
            Cover::Denied { name, rule } => {
                let other = self.tree.workspace.join(OsStr::from_bytes(&name));
                let mut refused = self.denied(&other, &rule);
                if other != path && !path.starts_with(&other) {
                    refused.what = format!("{} is another name of {}, which is denied", show(path), show(&other));
                }
                refused
            }
            Cover::Protected { name, rule, why } => {
                let other = self.tree.workspace.join(OsStr::from_bytes(&name));
                let what = match other == path {
                    true => format!("{} {why}", show(path)),
                    false => format!("{} is, or is in, {}, which {why}", show(path), show(&other)),
                };
                refused(format!("protected: {}", show_bytes(rule.as_bytes())), what, Way::Write(other))
            }
        }
    }

    fn covers(&self) -> Covers<'_> {
        Covers { rules: &self.tree.rules, top: self.top }
    }

    fn in_workspace(&self, reached: &Reached, real: &Real, act: Act, wanted: Wanted<'_>) -> Result<Grant, Refused> {
        let path = reached.whole();
        let inside = self.tree.inside(&path).unwrap_or_default().to_vec();
        let covers = self.covers();
        let has_names = reached.rest.is_empty() && real.kind().is_file() && real.stat.st_nlink > 1;
        let others =
            if has_names { covers.on_other_names(real.id()).map_err(|e| self.untold(&path, e))? } else { Vec::new() };
        let is_denied = |cover: &Cover| matches!(cover, Cover::Denied { .. });
        if let Some(cover) = others.iter().find(|cover| is_denied(cover)) {
            return Err(self.covered(cover.clone(), &path));
        }
        if !changes(act) {
            self.readable(reached, real, act)?;
            if real.kind().is_dir() {
                self.all_below(real, &path, act, wanted)?;
            }
            return Ok("the workspace");
        }
        self.writable_name(&inside, &path)?;
        // Of a path that is not there yet, what is there may be covered.
        let there = self.tree.inside(&reached.path).unwrap_or_default();
        if let Some(cover) = covers.over(there, real.kind()) {
            return Err(self.covered(cover, &path));
        }
        // A symlink has no content that another name would share.
        if let Some(cover) = others.into_iter().next() {
            return Err(self.covered(cover, &path));
        }
        if has_names && !self.agent.files().is_workspace_writable() {
            let what = format!("{} has other names, which may not be written", show(&path));
            return Err(refused("hard links", what, Way::Words("make a copy under another name".into())));
        }
        match act {
            Act::Delete => self.removable(reached, real, &inside, &path)?,
            _ => {
                if let Some(cover) = covers.undone(&inside) {
                    return Err(self.covered(cover, &path));
                }
                self.writable(reached, real, &path)?;
            }
        }
        Ok("the workspace")
    }

    /// Whether the role writes here at all.
    fn writable_name(&self, inside: &[u8], path: &Path) -> Result<(), Refused> {
        if self.agent.files().is_workspace_writable() || self.tree.rules.is_exempt(inside) {
            return Ok(());
        }
        let role = self.agent.role().word();
        let names: Vec<String> =
            self.agent.files().write().iter().map(|rule| show_bytes(rule.pattern().as_bytes())).collect();
        let what = format!("a {role} writes only {}; {} is none of them", names.join(", "), show(path));
        Err(refused(format!("role {role}"), what, Way::Write(path.to_owned())))
    }

    /// Judges what lies outside the workspace and is shown.
    fn outside(&self, reached: &Reached, real: &Real, act: Act) -> Result<Grant, Refused> {
        let path = reached.whole();
        if !changes(act) {
            self.readable(reached, real, act)?;
            if real.kind().is_dir() {
                self.all_below(real, &path, act, &|_, _| true)?;
            }
            return Ok(if real.area == Area::System { "the system's programs" } else { "a rule of the policy" });
        }
        if let Some((protected, rule)) = self.tree.protected.iter().find(|(protected, _)| path.starts_with(protected)) {
            let what = format!("{} is, or is in, {}", show(&path), show(protected));
            return Err(refused(format!("protect `{}`", show_bytes(rule.as_bytes())), what, Way::Write(path)));
        }
        match (real.area, act) {
            (Area::Device, Act::Write) => return Ok("a device that holds nothing"),
            (Area::Writable, Act::Write) => self.writable(reached, real, &path)?,
            (Area::Writable, _) => {
                let is_in = |(held, _): &&(PathBuf, String)| held.starts_with(&path);
                let mut held = self.tree.protected.iter().chain(&self.tree.denied);
                if let Some((held, rule)) = held.find(is_in) {
                    let what = format!("{} holds {}", show(&path), show(held));
                    return Err(refused(format!("rule `{}`", show_bytes(rule.as_bytes())), what, Way::None));
                }
                self.removable(reached, real, b"", &path)?;
            }
            _ => {
                let what = format!("{} is open for reading only", show(&path));
                return Err(refused(OUTSIDE, what, Way::Write(existing(&path))));
            }
        }
        Ok("a write rule of the policy")
    }

    /// Whether an object can be read as what it is.
    fn readable(&self, reached: &Reached, real: &Real, act: Act) -> Result<(), Refused> {
        let kind = real.kind();
        let is_fit = kind.is_file() || kind.is_dir() || real.area == Area::Device;
        if !is_fit {
            let what = format!("{} is no file and no directory", show(&reached.path));
            return Err(refused("files and directories", what, Way::None));
        }
        let bits = if kind.is_dir() && act == Act::Search { 0o005 } else { 0o004 };
        let is_roots = rustix::process::geteuid().is_root();
        let is_closed = match is_roots {
            // The jail has no id of root's: of the system it sees what everybody sees.
            true => real.area == Area::System && real.stat.st_mode & bits != bits,
            false => !may(real, Access::READ_OK),
        };
        if is_closed {
            let what = format!("{} is closed to the agent by its mode", show(&reached.path));
            return Err(refused("the file's own mode", what, Way::None));
        }
        Ok(())
    }

    /// Whether a file can be written, or made.
    fn writable(&self, reached: &Reached, real: &Real, path: &Path) -> Result<(), Refused> {
        let is_new = !reached.rest.is_empty();
        if !is_new && !real.kind().is_file() {
            let what = format!("{} is no regular file", show(path));
            return Err(refused("files", what, Way::None));
        }
        let access = if is_new { Access::WRITE_OK | Access::EXEC_OK } else { Access::WRITE_OK };
        self.changeable(real, access, path)
    }

    /// Whether a name can be taken away.
    fn removable(&self, reached: &Reached, real: &Real, inside: &[u8], path: &Path) -> Result<(), Refused> {
        let Some(Node::Real(parent)) = &reached.parent else {
            let what = format!("{} is opened by the policy itself", show(path));
            return Err(refused("what is opened stays", what, Way::None));
        };
        if inside.is_empty() && real.area == Area::Work || parent.area != real.area {
            let what = format!("{} is opened by the policy itself", show(path));
            return Err(refused("what is opened stays", what, Way::None));
        }
        self.changeable(parent, Access::WRITE_OK | Access::EXEC_OK, path)?;
        if walk::is_mount(real).map_err(|e| self.untold(path, e))? {
            let what = format!("something is mounted at {}", show(path));
            return Err(refused("mounts stay", what, Way::None));
        }
        if real.kind().is_dir() && real.area == Area::Work {
            let fd = self.open_again(real, path)?;
            if let Some(cover) = self.covers().covered_below(&fd, inside).map_err(|e| self.untold(path, e))? {
                return Err(self.covered(cover, path));
            }
        }
        Ok(())
    }

    fn changeable(&self, real: &Real, access: Access, path: &Path) -> Result<(), Refused> {
        let mount = rustix::fs::fstatvfs(&real.fd).map_err(|e| self.untold(path, e))?;
        if mount.f_flag.contains(StatVfsMountFlags::RDONLY) {
            let what = format!("{} is on a read-only mount", show(path));
            return Err(refused("the mount's own mode", what, Way::None));
        }
        if !rustix::process::geteuid().is_root() && !may(real, access) {
            let what = format!("{} is closed to the agent by its mode", show(path));
            return Err(refused("the file's own mode", what, Way::None));
        }
        Ok(())
    }

    /// A tool that goes through a directory by itself sees, outside the jail, what the jail would not show it.
    fn all_below(&self, real: &Real, path: &Path, act: Act, wanted: Wanted<'_>) -> Result<(), Refused> {
        if !matches!(act, Act::List | Act::Search) {
            return Ok(());
        }
        // The name of a denied file is seen in the jail, too; the names in a denied directory are not.
        let counts = |name: &[u8], kind: FileType| (act == Act::Search || kind.is_dir()) && wanted(name, kind);
        let holds = |denied: &Path| {
            let what = format!("{} holds {}, which is denied", show(path), show(denied));
            let way = format!("name a directory that does not hold {}", show(denied));
            refused("nothing denied in a search", what, Way::Words(way))
        };
        let is_in =
            |(denied, _): &&(PathBuf, String)| denied.starts_with(path) && (act == Act::Search || denied.is_dir());
        if let Some((denied, _)) = self.tree.denied.iter().find(is_in) {
            return Err(holds(denied));
        }
        let workspace = &self.tree.workspace;
        let found = if real.area == Area::Work {
            let fd = self.open_again(real, path)?;
            self.covers().denied_below(&fd, self.tree.inside(path).unwrap_or_default(), &counts)
        } else if workspace.starts_with(path) {
            self.covers().denied_below(self.top, b"", &counts)
        } else {
            Ok(None)
        };
        match found.map_err(|e| self.untold(path, e))? {
            Some(Cover::Denied { name, .. } | Cover::Protected { name, .. }) => {
                Err(holds(&workspace.join(OsStr::from_bytes(&name))))
            }
            None => Ok(()),
        }
    }

    /// Opens a directory for reading that was reached by a descriptor only.
    fn open_again(&self, real: &Real, path: &Path) -> Result<OwnedFd, Refused> {
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
        rustix::fs::openat(&*real.fd, ".", flags, rustix::fs::Mode::empty()).map_err(|e| self.untold(path, e))
    }

    fn untold(&self, path: &Path, errno: Errno) -> Refused {
        let what = format!("{} cannot be examined: {errno}", show(path));
        refused("only what can be told", what, Way::Words("name a smaller directory, or the file itself".into()))
    }
}

/// Whether the kernel would let this user do it.
fn may(real: &Real, access: Access) -> bool {
    let path = format!("/proc/self/fd/{}", real.fd.as_raw_fd());
    rustix::fs::accessat(rustix::fs::CWD, path, access, AtFlags::EACCESS).is_ok()
}

/// The nearest directory, or the thing itself, that exists.
fn existing(path: &Path) -> PathBuf {
    path.ancestors().find(|above| above.symlink_metadata().is_ok()).unwrap_or(path).to_owned()
}
