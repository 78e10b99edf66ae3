//! While a jail runs: watches its workspace, and undoes names that may not appear.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FileType, inotify};

use crate::plan::Plan;
use crate::quarantine::Quarantine;
use crate::report::Finding;
use crate::request::Kind;
use crate::review::{Judge, Verdict};
use crate::spots::Spot;
use crate::tree::WORKSPACE;
use crate::walk::{self, Descend};

/// Directories watched live. The others are looked at when the call ends, or at a service's next sweep.
fn most_watches(plan: &Plan) -> usize {
    match plan.kind {
        Kind::Command => 256,
        Kind::Service => 8192,
    }
}

/// How long names are judged before the monitor looks at everything else.
const SLICE: Duration = Duration::from_millis(20);

/// The most events that are read at once: as many as the kernel keeps by default.
const MOST_EVENTS: usize = 16_384;

/// The namespaces of a running jail.
pub(crate) struct Namespaces {
    pub(crate) mount: OwnedFd,
    /// Absent when root built the jail: its mounts belong to the host's user namespace.
    pub(crate) user: Option<OwnedFd>,
}

/// The watch over one running jail.
pub(crate) struct Live {
    inotify: Option<OwnedFd>,
    /// The tree and the path of each watch.
    dirs: HashMap<i32, (usize, Vec<u8>)>,
    unwatched: usize,
    /// Names that have appeared and are not judged yet.
    pending: VecDeque<(usize, Vec<u8>)>,
    quarantine: Quarantine,
    pub(crate) findings: Vec<Finding>,
    /// How many of these are in the ledger already.
    told: usize,
    /// How many more there were: of a service that runs for months the last are kept.
    dropped: u64,
    pub(crate) notes: Vec<String>,
}

impl Live {
    /// Starts watching, before the command runs.
    pub(crate) fn start(plan: &Plan, state: &Path) -> Live {
        let mut live = Live {
            inotify: None,
            dirs: HashMap::new(),
            unwatched: 0,
            pending: VecDeque::new(),
            quarantine: Quarantine::new(state, &plan.call),
            findings: Vec::new(),
            told: 0,
            dropped: 0,
            notes: Vec::new(),
        };
        if plan.changes_nothing() {
            return live;
        }
        live.inotify = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).ok();
        if live.inotify.is_none() {
            live.notes.push("inotify is exhausted: new names are undone at the end of the call only".into());
        }
        for tree in 0..plan.trees() {
            for dir in &plan.tree(tree).scan.dirs {
                live.add(plan, tree, dir);
            }
        }
        if live.unwatched > 0 {
            let when = match plan.kind {
                Kind::Command => "at the end of the call, not while it runs",
                Kind::Service => "now and then, not at once",
            };
            live.notes.push(format!("{} directories are reviewed {when}", live.unwatched));
        }
        live
    }

    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(AsFd::as_fd)
    }

    fn add(&mut self, plan: &Plan, tree: usize, dir: &[u8]) {
        let Some(inotify) = &self.inotify else { return };
        if self.dirs.len() >= most_watches(plan) {
            self.unwatched += usize::from(!self.dirs.values().any(|(t, d)| *t == tree && d == dir));
            return;
        }
        let flags = inotify::WatchFlags::CREATE
            | inotify::WatchFlags::MOVED_TO
            | inotify::WatchFlags::MOVED_FROM
            | inotify::WatchFlags::DELETE
            | inotify::WatchFlags::ONLYDIR
            | inotify::WatchFlags::DONT_FOLLOW;
        match inotify::add_watch(inotify, plan.tree(tree).top.join(OsStr::from_bytes(dir)), flags) {
            Ok(wd) => drop(self.dirs.insert(wd, (tree, dir.to_vec()))),
            Err(_) => self.unwatched += 1,
        }
    }

    /// Handles what has happened, for a moment: a jail that makes names faster than they are judged must not keep its
    /// monitor from its limits and from its caller. What is left comes next, or is found by the review.
    pub(crate) fn react(&mut self, plan: &Plan) {
        let until = Instant::now() + SLICE;
        // What is not read yet is in the kernel's queue, which has an end.
        if self.pending.is_empty() {
            self.hear(plan);
        }
        while let Some((tree, path)) = self.pending.pop_front() {
            // A covered name is the keeper's while the jail runs, and the review's afterwards.
            if !touches_mount(plan, tree, &path) {
                self.appeared(plan, tree, &path);
            }
            if Instant::now() >= until {
                return;
            }
        }
    }

    /// Whether there is more to handle that nothing will wake anybody for.
    pub(crate) fn is_behind(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Reads what has happened. A name that came many times is judged once, as it is then.
    fn hear(&mut self, plan: &Plan) {
        let mut buffer = [MaybeUninit::uninit(); 8192];
        let (mut gone, mut has_overflown, mut seen) = (Vec::new(), false, HashSet::new());
        if let Some(inotify) = &self.inotify {
            let mut reader = inotify::Reader::new(inotify, &mut buffer);
            for _ in 0..MOST_EVENTS {
                let Ok(event) = reader.next() else { break };
                has_overflown |= event.events().contains(inotify::ReadFlags::QUEUE_OVERFLOW);
                if event.events().contains(inotify::ReadFlags::IGNORED) {
                    gone.push(event.wd());
                }
                let (Some((tree, dir)), Some(name)) = (self.dirs.get(&event.wd()), event.file_name()) else { continue };
                if !event.events().intersects(inotify::ReadFlags::CREATE | inotify::ReadFlags::MOVED_TO) {
                    continue;
                }
                let mut path = dir.clone();
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(name.to_bytes());
                if seen.insert((*tree, path.clone())) {
                    self.pending.push_back((*tree, path));
                }
            }
        }
        let note = "more changes than inotify could tell: the rest is undone at the end of the call";
        if has_overflown && plan.kind == Kind::Command && !self.notes.iter().any(|told| told == note) {
            self.notes.push(note.into());
        }
        // Their directories are no more: a service makes and removes them all its life.
        for wd in gone {
            self.dirs.remove(&wd);
        }
    }

    /// The findings that nobody was told of yet. What was told long ago is let go.
    pub(crate) fn take_new(&mut self) -> Vec<Finding> {
        const MOST_KEPT: usize = 1000;
        let new = self.findings.get(self.told..).unwrap_or_default().to_vec();
        let old = self.findings.len().saturating_sub(MOST_KEPT);
        self.findings.drain(..old);
        self.dropped = self.dropped.saturating_add(old as u64);
        self.told = self.findings.len();
        new
    }

    /// Says at the end that there was more than is kept.
    pub(crate) fn say_dropped(&mut self) {
        if self.dropped > 0 {
            self.notes.push(format!("{} earlier findings are in the ledger only", self.dropped));
        }
    }

    /// Judges a name that has appeared; a directory is watched and looked through.
    fn appeared(&mut self, plan: &Plan, tree: usize, path: &[u8]) {
        let judge = judge_of(plan, tree, &[]);
        let Ok(stat) = rustix::fs::statat(judge.top, Path::new(OsStr::from_bytes(path)), AtFlags::SYMLINK_NOFOLLOW)
        else {
            return;
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            self.add(plan, tree, path);
            let mut below = Vec::new();
            if let Ok(dir) = crate::quarantine::open_beneath(
                judge.top,
                path,
                rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY,
            ) {
                walk::walk(dir.as_fd(), path, &mut |met| {
                    below.push((met.path.to_vec(), met.kind));
                    if below.len() < most_watches(plan) { Descend::Yes } else { Descend::No }
                });
            }
            for (path, kind) in below {
                if kind == FileType::Directory {
                    self.add(plan, tree, &path);
                } else {
                    self.undo(plan, tree, judge.judge(&path, kind, 0), true);
                }
            }
            return;
        }
        self.undo(plan, tree, judge.judge(path, kind, stat.st_mode), true);
    }

    /// Acts on a verdict as the policy says. `is_live`: files judged by content are left until they are whole.
    pub(crate) fn undo(&mut self, plan: &Plan, tree: usize, verdict: Option<Verdict>, is_live: bool) {
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
            match self.quarantine.take(plan.tree(tree).fd, &verdict.path) {
                Ok(to) => format!("quarantined to {}", mantlet_ledger::escape(to.as_os_str().as_bytes())),
                // Gone already: by the jail itself, or by an earlier event.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => return,
                Err(e) => format!("NOT undone: {e}"),
            }
        };
        let raw = plan.named(tree, &verdict.path);
        self.findings.push(Finding {
            path: mantlet_ledger::escape(&raw),
            rule: verdict.rule,
            runs: verdict.runs,
            reason: verdict.reason,
            action,
            allow: None,
            hint: None,
            raw,
        });
    }
}

/// The judge of one of a plan's trees. What was replaced is judged as if nothing had been mounted there.
pub(crate) fn judge_of<'p>(plan: &'p Plan, number: usize, replaced: &[PathBuf]) -> Judge<'p> {
    let tree = plan.tree(number);
    let held = plan.protected.iter().filter(|s| !replaced.contains(&s.path));
    let inside = |s: &Spot| Some(s.path.strip_prefix(tree.top).ok()?.as_os_str().as_bytes().to_vec());
    Judge {
        workspace: tree.top,
        top: tree.fd,
        rules: tree.rules,
        named: &tree.scan.named,
        state: (number != WORKSPACE).then_some(plan.leads.as_slice()),
        made: RefCell::default(),
        mounted: held.chain(&plan.denied).filter_map(inside).collect(),
    }
}

/// Whether a mounted thing is at, or below, this path.
fn touches_mount(plan: &Plan, tree: usize, path: &[u8]) -> bool {
    let full = plan.tree(tree).top.join(OsStr::from_bytes(path));
    plan.protected.iter().chain(&plan.denied).any(|s| s.path.starts_with(&full)) || plan.pins.contains(&full)
}
