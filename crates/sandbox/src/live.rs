//! While a jail runs: watches its workspace, puts mounts back that were renamed away from outside, and undoes
//! names that may not appear.
//!
//! A mount on a name falls off when anyone outside renames something over it; the kernel tells nobody. The
//! parents of every mounted thing are watched (inotify(7)) and the mount is made again inside.

use std::cell::RefCell;
use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, inotify};
use rustix::mount::{MoveMountFlags, OpenTreeFlags};

use crate::ids::Mapping;
use crate::layout;
use crate::plan::Plan;
use crate::quarantine::Quarantine;
use crate::report::Finding;
use crate::review::{Judge, Verdict};
use crate::spots::Spot;
use crate::sys::{self, Depth, Fork, Wait, attr};
use crate::walk::{self, Descend};

/// Directories watched live. The others are looked at when the call ends.
const MOST_WATCHES: usize = 256;

/// The namespaces of a running jail.
pub(crate) struct Namespaces {
    pub(crate) mount: OwnedFd,
    /// Absent when root built the jail: its mounts belong to the host's user namespace.
    pub(crate) user: Option<OwnedFd>,
}

/// The watch over one running jail.
pub(crate) struct Live {
    inotify: Option<OwnedFd>,
    dirs: HashMap<i32, Vec<u8>>,
    unwatched: usize,
    quarantine: Quarantine,
    namespaces: Option<Namespaces>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) notes: Vec<String>,
}

impl Live {
    /// Starts watching, before the command runs.
    pub(crate) fn start(plan: &Plan, state: &Path) -> Live {
        let mut live = Live {
            inotify: inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).ok(),
            dirs: HashMap::new(),
            unwatched: 0,
            quarantine: Quarantine::new(state, &plan.call),
            namespaces: None,
            findings: Vec::new(),
            notes: Vec::new(),
        };
        if live.inotify.is_none() {
            live.notes.push("inotify is exhausted: new names are undone at the end of the call only".into());
        }
        // Parents of what is mounted first, then the rest from the top down.
        let needed: Vec<Vec<u8>> =
            plan.protected.iter().chain(&plan.denied).filter_map(|s| parent_inside(plan, &s.path)).collect();
        for dir in needed.iter().map(Vec::as_slice).chain(plan.scan.dirs.iter().map(|d| &**d)) {
            live.add(plan, dir);
        }
        if live.unwatched > 0 {
            live.notes
                .push(format!("{} directories are reviewed at the end of the call, not while it runs", live.unwatched));
        }
        live
    }

    /// Hands over the jail's namespaces once it stands.
    pub(crate) fn attach(&mut self, namespaces: Option<Namespaces>) {
        self.namespaces = namespaces;
    }

    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(AsFd::as_fd)
    }

    fn add(&mut self, plan: &Plan, dir: &[u8]) {
        let Some(inotify) = &self.inotify else { return };
        if self.dirs.len() >= MOST_WATCHES {
            self.unwatched += usize::from(!self.dirs.values().any(|d| d == dir));
            return;
        }
        let flags = inotify::WatchFlags::CREATE
            | inotify::WatchFlags::MOVED_TO
            | inotify::WatchFlags::MOVED_FROM
            | inotify::WatchFlags::DELETE
            | inotify::WatchFlags::ONLYDIR
            | inotify::WatchFlags::DONT_FOLLOW;
        match inotify::add_watch(inotify, plan.workspace.join(std::ffi::OsStr::from_bytes(dir)), flags) {
            Ok(wd) => drop(self.dirs.insert(wd, dir.to_vec())),
            Err(_) => self.unwatched += 1,
        }
    }

    /// Handles what has happened.
    pub(crate) fn react(&mut self, plan: &Plan) {
        let mut buffer = [MaybeUninit::uninit(); 8192];
        let mut happened: Vec<(Vec<u8>, bool)> = Vec::new();
        if let Some(inotify) = &self.inotify {
            let mut reader = inotify::Reader::new(inotify, &mut buffer);
            while let Ok(event) = reader.next() {
                if event.events().contains(inotify::ReadFlags::QUEUE_OVERFLOW) {
                    let note = "more changes than inotify could tell: the rest is undone at the end of the call";
                    self.notes.push(note.into());
                }
                let (Some(dir), Some(name)) = (self.dirs.get(&event.wd()), event.file_name()) else { continue };
                let mut path = dir.clone();
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(name.to_bytes());
                let appeared = inotify::ReadFlags::CREATE | inotify::ReadFlags::MOVED_TO;
                happened.push((path, event.events().intersects(appeared)));
            }
        }
        happened.dedup();
        for (path, appeared) in happened {
            if touches_mount(plan, &path) {
                self.mount_again(plan, &path);
            } else if appeared {
                self.appeared(plan, &path);
            }
        }
    }

    /// Judges a name that has appeared; a directory is watched and looked through.
    fn appeared(&mut self, plan: &Plan, path: &[u8]) {
        let judge = judge_of(plan);
        let Ok(stat) =
            rustix::fs::statat(judge.top, Path::new(std::ffi::OsStr::from_bytes(path)), AtFlags::SYMLINK_NOFOLLOW)
        else {
            return;
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            self.add(plan, path);
            let mut below = Vec::new();
            if let Ok(dir) = crate::quarantine::open_beneath(
                judge.top,
                path,
                rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY,
            ) {
                walk::walk(dir.as_fd(), path, &mut |met| {
                    below.push((met.path.to_vec(), met.kind));
                    if below.len() < MOST_WATCHES { Descend::Yes } else { Descend::No }
                });
            }
            for (path, kind) in below {
                if kind == FileType::Directory {
                    self.add(plan, &path);
                } else {
                    self.undo(plan, judge.judge(&path, kind, 0), true);
                }
            }
            return;
        }
        self.undo(plan, judge.judge(path, kind, stat.st_mode), true);
    }

    /// Acts on a verdict as the policy says. `is_live`: files judged by content are left until they are whole.
    pub(crate) fn undo(&mut self, plan: &Plan, verdict: Option<Verdict>, is_live: bool) {
        let Some(verdict) = verdict else { return };
        let is_by_content = verdict.path.ends_with(b"config") || verdict.path.ends_with(b"commondir");
        // Git makes the `.git` file of a worktree empty and writes it then.
        let is_by_content = is_by_content || verdict.rule == ".git file";
        if is_live && (verdict.is_listed || is_by_content || verdict.rule == "symlink") {
            return;
        }
        let act = !verdict.is_listed && plan.review != mantlet_policy::Review::Report;
        let action = if !act {
            if verdict.is_listed { "listed".to_owned() } else { "reported".to_owned() }
        } else {
            match self.quarantine.take(&plan.workspace_fd, &verdict.path) {
                Ok(to) => format!("quarantined to {}", mantlet_ledger::escape(to.as_os_str().as_bytes())),
                // Gone already: by the jail itself, or by an earlier event.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => return,
                Err(e) => format!("NOT undone: {e}"),
            }
        };
        self.findings.push(Finding {
            path: mantlet_ledger::escape(&verdict.path),
            rule: verdict.rule,
            runs: verdict.runs,
            reason: verdict.reason,
            action,
            allow: None,
            hint: None,
            raw: verdict.path,
        });
    }

    /// Makes the mounts at and below a path again, from a helper inside the jail's mount namespace.
    fn mount_again(&mut self, plan: &Plan, path: &[u8]) {
        let Some(namespaces) = &self.namespaces else { return };
        let full = plan.workspace.join(std::ffi::OsStr::from_bytes(path));
        let outcome = match sys::clone(0) {
            Ok(Fork::Child) => {
                let done = enter_and_mount(namespaces, plan, &full);
                sys::exit_now(i32::from(done.is_err()))
            }
            Ok(Fork::Parent(pid)) => sys::reap(pid, Wait::Block).map(|r| r.is_some_and(|r| r.code == 0)),
            Err(e) => Err(e),
        };
        let shown = mantlet_ledger::escape(path);
        let note = match outcome {
            Ok(true) => {
                format!("{shown} was replaced from outside; its mount was made again, with a window of milliseconds")
            }
            _ => format!("{shown} was replaced from outside and its mount could not be made again"),
        };
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}

/// The judge of a plan's workspace.
pub(crate) fn judge_of(plan: &Plan) -> Judge<'_> {
    let inside = |s: &Spot| Some(s.path.strip_prefix(&plan.workspace).ok()?.as_os_str().as_bytes().to_vec());
    Judge {
        workspace: &plan.workspace,
        top: &plan.workspace_fd,
        rules: &plan.rules,
        named: &plan.scan.named,
        made: RefCell::default(),
        mounted: plan.protected.iter().chain(&plan.denied).filter_map(inside).collect(),
    }
}

fn parent_inside(plan: &Plan, path: &Path) -> Option<Vec<u8>> {
    Some(path.parent()?.strip_prefix(&plan.workspace).ok()?.as_os_str().as_bytes().to_vec())
}

/// Whether a mounted thing is at, or below, this path.
fn touches_mount(plan: &Plan, path: &[u8]) -> bool {
    let full = plan.workspace.join(std::ffi::OsStr::from_bytes(path));
    plan.protected.iter().chain(&plan.denied).any(|s| s.path.starts_with(&full)) || plan.pins.contains(&full)
}

/// In a forked helper: enters the jail's namespaces and mounts what belongs at or below `path`.
fn enter_and_mount(namespaces: &Namespaces, plan: &Plan, path: &Path) -> std::io::Result<()> {
    if let (Mapping::Caller, Some(user)) = (plan.ids.mapping, &namespaces.user) {
        sys::setns(user.as_fd(), libc::CLONE_NEWUSER)?;
    }
    sys::setns(namespaces.mount.as_fd(), libc::CLONE_NEWNS)?;
    for pin in plan.pins.iter().filter(|p| p.starts_with(path)) {
        over(pin, pin, 0)?;
    }
    for spot in plan.protected.iter().filter(|s| s.path.starts_with(path)) {
        over(&spot.path, &spot.path, attr::RDONLY)?;
    }
    for spot in plan.denied.iter().filter(|s| s.path.starts_with(path)) {
        let is_dir = std::fs::symlink_metadata(&spot.path).is_ok_and(|m| m.is_dir());
        over(Path::new(if is_dir { layout::DENIED_DIR } else { layout::DENIED_FILE }), &spot.path, attr::RDONLY)?;
    }
    Ok(())
}

/// Mounts a clone of `source` over `target`, where that exists.
fn over(source: &Path, target: &Path, set: u64) -> std::io::Result<()> {
    const RECURSIVE: OpenTreeFlags = OpenTreeFlags::from_bits_retain(libc::AT_RECURSIVE as u32);
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    let tree = match rustix::mount::open_tree(rustix::fs::CWD, source, flags | RECURSIVE) {
        Err(rustix::io::Errno::NOENT) => return Ok(()),
        other => other?,
    };
    sys::mount_setattr(tree.as_fd(), set, Depth::Tree, None)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    match rustix::mount::move_mount(&tree, "", rustix::fs::CWD, target, flags) {
        Err(rustix::io::Errno::NOENT) => Ok(()),
        other => Ok(other?),
    }
}
