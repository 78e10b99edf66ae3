//! The review: what a call left behind that something outside would execute or obey by itself.
//!
//! Directories whose change time is older than the call are not opened: names appear only by changing their
//! directory. Change times cannot be set back without privilege over the clock (inode(7)).

use std::cell::RefCell;
use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use mantlet_clients::{Protected, Scope, watchlist};
use mantlet_policy::Rules;
use rustix::fs::{AtFlags, FileType, OFlags, Statx, StatxFlags};

use crate::layout;
use crate::made;
use crate::quarantine::{self, open_beneath};
use crate::walk::{self, Descend, Met};

/// The rule for what git runs in a bare repository.
const BARE: &str = "bare repository";

/// What is wrong with one path.
#[derive(Debug, Clone)]
pub(crate) struct Verdict {
    pub(crate) path: Vec<u8>,
    pub(crate) rule: String,
    pub(crate) runs: String,
    pub(crate) reason: String,
    /// Whether it is only named.
    pub(crate) is_listed: bool,
}

impl Verdict {
    fn new(path: &[u8], rule: &str, runs: &str, reason: &str) -> Verdict {
        Verdict { path: path.to_vec(), rule: rule.into(), runs: runs.into(), reason: reason.into(), is_listed: false }
    }

    fn of_row(path: &[u8], row: &Protected) -> Verdict {
        let is_listed = !watchlist::is_enforced(row);
        let path = if is_listed { row_part(row, path) } else { path };
        Verdict { is_listed, ..Verdict::new(path, row.path, row.runs, row.reason) }
    }
}

/// The path up to the row's own directory: a tree is listed once, not file by file.
fn row_part<'p>(row: &Protected, path: &'p [u8]) -> &'p [u8] {
    let ends = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(i, _)| i);
    ends.map(|i| &path[..i]).find(|p| watchlist::is_row_itself(row, p)).unwrap_or(path)
}

/// The judge of one workspace.
pub(crate) struct Judge<'a> {
    pub(crate) workspace: &'a Path,
    pub(crate) top: &'a OwnedFd,
    pub(crate) rules: &'a Rules,
    /// Things that were mounted read-only: the jail cannot have changed them.
    pub(crate) mounted: HashSet<Vec<u8>>,
    /// Paths that an existing git configuration names for git to obey.
    pub(crate) named: &'a [Vec<u8>],
    /// In a client's own state: where its symlinks may lead besides that and the system.
    pub(crate) state: Option<&'a [PathBuf]>,
    /// Git directories and `.git` files that the review found new.
    pub(crate) made: RefCell<Vec<Vec<u8>>>,
}

impl Judge<'_> {
    /// Judges one path that is new or changed.
    pub(crate) fn judge(&self, path: &[u8], kind: FileType, mode: u32) -> Option<Verdict> {
        if self.is_mounted(path) || self.rules.is_exempt(path) {
            return None;
        }
        if self.named.iter().any(|n| path == n.as_slice() || path.starts_with(n) && path.get(n.len()) == Some(&b'/')) {
            let reason = "the repository's own configuration includes it or takes hooks from it";
            return Some(Verdict::new(path, "named by a git configuration", "git, on any command", reason));
        }
        if let Some(rule) = self.rules.protecting(path).filter(|_| kind != FileType::Directory) {
            return Some(match self.state {
                None => Verdict::new(path, rule, "what the owner protects it from", "a protect rule of the policy"),
                Some(_) => Verdict::new(path, rule, "the client's next session", "a client obeys it, jailed or not"),
            });
        }
        // What is only listed under its name may still be worse by its kind: a symlink called `Makefile` leads out, too.
        let of_row = watchlist::classify(path).and_then(|row| self.judge_row(path, kind, row));
        match of_row {
            Some(verdict) if !verdict.is_listed => Some(verdict),
            listed => self.judge_kind(path, kind, mode).or(listed),
        }
    }

    /// Judges a path by what it is, whatever its name.
    fn judge_kind(&self, path: &[u8], kind: FileType, mode: u32) -> Option<Verdict> {
        if kind != FileType::Directory
            && let Some(dir) = bare_part(path).filter(|dir| is_bare(self.top, dir))
        {
            return self.judge_bare_part(path, dir);
        }
        match kind {
            FileType::RegularFile if path == b".git" || path.ends_with(b"/.git") => self.judge_gitfile(path),
            FileType::Symlink => self.judge_symlink(path),
            FileType::Fifo | FileType::CharacterDevice | FileType::BlockDevice => Some(Verdict::new(
                path,
                "special file",
                "whatever opens it",
                "a FIFO or device in place of a file hangs or misleads a program outside",
            )),
            FileType::RegularFile if mode & (libc::S_ISUID | libc::S_ISGID) != 0 && mode & 0o111 != 0 => {
                Some(Verdict::new(
                    path,
                    "setuid bit",
                    "anyone who starts it",
                    "it would run with the file owner's rights on the host",
                ))
            }
            _ => None,
        }
    }

    fn is_mounted(&self, path: &[u8]) -> bool {
        self.mounted.contains(path)
            || path.iter().enumerate().any(|(i, b)| *b == b'/' && self.mounted.contains(&path[..i]))
    }

    fn judge_row(&self, path: &[u8], kind: FileType, row: &'static Protected) -> Option<Verdict> {
        if !watchlist::is_enforced(row) {
            return (kind != FileType::Directory).then(|| Verdict::of_row(path, row));
        }
        if row.scope == Scope::GitDir {
            return self.judge_git(path, kind, row);
        }
        // An empty directory of settings does nothing yet; what appears in it is judged by itself.
        if kind == FileType::Directory { None } else { Some(Verdict::of_row(path, row)) }
    }

    /// Files of a git directory are judged by what they say: `git init` and `git clone` make harmless ones.
    fn judge_git(&self, path: &[u8], kind: FileType, row: &'static Protected) -> Option<Verdict> {
        if kind == FileType::Directory {
            return None;
        }
        let name = path.rsplit(|b| *b == b'/').next().unwrap_or(path);
        let in_hooks = row.path.starts_with("hooks");
        if kind == FileType::RegularFile {
            if in_hooks && name.ends_with(b".sample") {
                return None;
            }
            if name == b"config" || name == b"config.worktree" {
                return self.judge_git_config(path, row);
            }
            if name == b"commondir" && self.read(path).is_some_and(|text| text.trim_ascii_end() == b"../..") {
                return None;
            }
        }
        Some(Verdict::of_row(path, row))
    }

    fn judge_git_config(&self, path: &[u8], row: &'static Protected) -> Option<Verdict> {
        let Some(text) = self.read(path) else {
            return Some(Verdict { reason: "it could not be read for review".into(), ..Verdict::of_row(path, row) });
        };
        let why = crate::gitconfig::first_finding(&text)?;
        Some(Verdict { reason: why, ..Verdict::of_row(path, row) })
    }

    /// A `.git` file lends its directory the configuration of another: only of one git made for a worktree or submodule.
    fn judge_gitfile(&self, path: &[u8]) -> Option<Verdict> {
        let text = self.read(path);
        let target = text.as_deref().and_then(mantlet_clients::gitfile_target).map(|t| {
            let from = self.workspace.join(std::ffi::OsStr::from_bytes(path));
            normal(&from.parent().unwrap_or(self.workspace).join(std::ffi::OsStr::from_bytes(t)))
        });
        let is_made_by_git = target.is_some_and(|t| {
            let names: Vec<_> = t.components().map(|c| c.as_os_str().as_bytes()).collect();
            t.starts_with(self.workspace)
                && names.windows(2).any(|w| w[0] == b".git" && matches!(w[1], b"worktrees" | b"modules"))
        });
        let reason = "it lends this directory the configuration of a repository of the agent's choice";
        (!is_made_by_git).then(|| Verdict::new(path, ".git file", "git, on any command below", reason))
    }

    fn read(&self, path: &[u8]) -> Option<Vec<u8>> {
        quarantine::read_small(self.top, path)
    }

    /// A symlink that leads out of the workspace makes a trusted program outside write or read elsewhere.
    fn judge_symlink(&self, path: &[u8]) -> Option<Verdict> {
        let (parent, name) =
            path.iter().rposition(|b| *b == b'/').map_or((&b""[..], path), |i| (&path[..i], &path[i + 1..]));
        let name = Path::new(std::ffi::OsStr::from_bytes(name));
        let read = open_beneath(self.top, parent, OFlags::PATH | OFlags::DIRECTORY)
            .and_then(|dir| rustix::fs::readlinkat(&dir, name, Vec::new()));
        let target = match read {
            Ok(target) => target,
            Err(rustix::io::Errno::NOENT) => return None,
            Err(_) => {
                let reason = "the symlink could not be read for review";
                return Some(Verdict::new(path, "symlink", "a program outside that follows it", reason));
            }
        };
        let target = Path::new(std::ffi::OsStr::from_bytes(target.as_bytes()));
        if watchlist::leads_to_protected(name.as_os_str().as_bytes()) {
            let reason = "a directory of settings under another name: its files would be written past every rule";
            return Some(Verdict::new(path, "symlink", "whatever looks for settings under this name", reason));
        }
        let from = self.workspace.join(std::ffi::OsStr::from_bytes(parent));
        let aim = follow(&from.join(target));
        let real = aim.clone().unwrap_or_else(|| from.join(target));
        let is_inside = |p: &Path| {
            p.starts_with(self.workspace)
                || self.state.is_some_and(|places| places.iter().any(|place| p.starts_with(place)))
        };
        let is_system = |p: &Path| layout::SYSTEM.iter().any(|s| p.starts_with(s)) || p == Path::new("/dev/null");
        if aim.is_some_and(|aim| is_inside(&aim) || is_system(&aim)) {
            return None;
        }
        let runs = "a program outside that follows it".to_owned();
        let reason = format!(
            "the symlink leads out of the workspace, to {}",
            mantlet_ledger::escape(real.as_os_str().as_bytes())
        );
        Some(Verdict { path: path.to_vec(), rule: "symlink".into(), runs, reason, is_listed: false })
    }

    /// The configuration or a hook of a bare repository that was there before.
    fn judge_bare_part(&self, path: &[u8], dir: &[u8]) -> Option<Verdict> {
        let verdict = match path == join(dir, b"config") {
            true => self.judge_git_config(path, watchlist::git_row("config")?),
            false => Some(Verdict::of_row(path, watchlist::git_row("hooks/")?)),
        };
        verdict.map(|verdict| Verdict { rule: BARE.into(), ..verdict })
    }

    /// A directory that git takes for a repository by its shape: HEAD, objects and refs (CVE-2022-24765 class).
    fn judge_bare(&self, dir: &[u8], entries: &[Name], out: &mut Vec<Verdict>) {
        let has = |name: &[u8]| entries.iter().any(|e| e.name == name);
        let own_name = dir.rsplit(|b| *b == b'/').next().unwrap_or(dir);
        if own_name == b".git" || !(has(b"HEAD") && has(b"objects") && has(b"refs")) {
            return;
        }
        let row = watchlist::git_row("config");
        let config = join(dir, b"config");
        if has(b"config")
            && !self.rules.is_exempt(&config)
            && let Some(row) = row
            && let Some(verdict) = self.judge_git_config(&config, row)
        {
            out.push(Verdict { rule: BARE.into(), ..verdict });
        }
        let hooks = join(dir, b"hooks");
        if let (Some(row), Ok(fd)) =
            (watchlist::git_row("hooks/"), open_beneath(self.top, &hooks, OFlags::RDONLY | OFlags::DIRECTORY))
        {
            walk::walk(fd.as_fd(), &hooks, &mut |met| {
                let is_open = met.name().ends_with(b".sample") || self.rules.is_exempt(met.path);
                if met.kind != FileType::Directory && !is_open {
                    out.push(Verdict { rule: BARE.into(), ..Verdict::of_row(met.path, row) });
                }
                Descend::No
            });
        }
    }
}

/// The directory whose configuration or hook this would be, were it a bare repository.
pub(crate) fn bare_part(path: &[u8]) -> Option<&[u8]> {
    let split = |path: &'_ [u8]| path.iter().rposition(|b| *b == b'/');
    let (parent, name) = split(path).map_or((&path[..0], path), |at| (&path[..at], &path[at + 1..]));
    if name == b"config" {
        return Some(parent);
    }
    let (above, dir) = split(parent).map_or((&parent[..0], parent), |at| (&parent[..at], &parent[at + 1..]));
    (dir == b"hooks" && !name.ends_with(b".sample")).then_some(above)
}

/// Whether git takes a directory for a repository by its shape, and no name says that it is one.
pub(crate) fn is_bare(top: &OwnedFd, dir: &[u8]) -> bool {
    let has = |name: &[u8]| {
        let path = join(dir, name);
        rustix::fs::statat(top, Path::new(std::ffi::OsStr::from_bytes(&path)), AtFlags::SYMLINK_NOFOLLOW).is_ok()
    };
    dir.rsplit(|b| *b == b'/').next() != Some(b".git") && has(b"HEAD") && has(b"objects") && has(b"refs")
}

/// One name of a directory that changed.
struct Name {
    name: Vec<u8>,
}

fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = dir.to_vec();
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

/// Resolves `.` and `..` by words; the result is only compared, never opened.
fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::from("/");
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => drop(out.pop()),
            std::path::Component::Normal(name) => out.push(name),
            _ => {}
        }
    }
    out
}

/// Follows a path as the kernel would, also where its end does not exist yet. Nothing after too many links.
fn follow(path: &Path) -> Option<PathBuf> {
    const MOST_LINKS: usize = 40;
    let mut pending: Vec<std::ffi::OsString> = path.components().rev().map(|c| c.as_os_str().to_owned()).collect();
    let (mut out, mut links) = (PathBuf::from("/"), 0);
    while let Some(part) = pending.pop() {
        match part.as_bytes() {
            b"/" => out = PathBuf::from("/"),
            b".." => drop(out.pop()),
            _ => {
                out.push(&part);
                let Ok(target) = std::fs::read_link(&out) else { continue };
                links += 1;
                if links > MOST_LINKS {
                    return None;
                }
                out.pop();
                pending.extend(target.components().rev().map(|c| c.as_os_str().to_owned()));
            }
        }
    }
    Some(out)
}

/// Since when a change counts, and whether change times can be trusted at all.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Since {
    Time((i64, i64)),
    /// The clock was set during the call, or the file system keeps no such times: everything counts.
    Always,
}

impl Since {
    fn is_after(self, stat: &Statx) -> bool {
        match self {
            Since::Always => true,
            Since::Time(start) => (stat.stx_ctime.tv_sec, i64::from(stat.stx_ctime.tv_nsec)) >= start,
        }
    }
}

fn statx(dir: BorrowedFd<'_>, name: &[u8], flags: AtFlags) -> rustix::io::Result<Statx> {
    let wanted = StatxFlags::TYPE | StatxFlags::MODE | StatxFlags::CTIME;
    rustix::fs::statx(dir, Path::new(std::ffi::OsStr::from_bytes(name)), flags, wanted)
}

/// What the review says.
#[derive(Default)]
pub(crate) struct Reviewed {
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) unseen: Vec<Vec<u8>>,
}

/// Reviews the workspace after the jail is dead.
///
/// `dirs` and `known` come from the walk before the call; without them (a call whose monitor was killed)
/// every directory is walked.
pub(crate) fn review(
    judge: &Judge<'_>,
    dirs: Option<&[Box<[u8]>]>,
    known: &[crate::scan::Known],
    since: Since,
) -> Reviewed {
    let mut out = Reviewed::default();
    let seen: Option<HashSet<&[u8]>> = dirs.map(|d| d.iter().map(|p| &**p).collect());
    let top = [Box::<[u8]>::default()];
    for dir in dirs.unwrap_or(&top) {
        let path: &[u8] = if dir.is_empty() { b"." } else { dir };
        let changed = match statx(judge.top.as_fd(), path, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => dirs.is_none() || since.is_after(&stat),
            Err(_) => false, // gone: its parent has changed
        };
        if changed {
            review_dir(judge, dir, seen.as_ref(), since, &mut out);
        }
    }
    // What was in a bare repository before counts where it has changed, not where something beside it has.
    let before: HashSet<&[u8]> = known.iter().map(|file| &*file.path).collect();
    out.verdicts.retain(|verdict| verdict.rule != BARE || !before.contains(&*verdict.path));
    for file in known {
        let Ok(stat) = statx(judge.top.as_fd(), &file.path, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        if since.is_after(&stat) {
            let mode = u32::from(stat.stx_mode);
            out.verdicts.extend(judge.judge(&file.path, FileType::from_raw_mode(mode), mode));
        }
    }
    out.verdicts.sort_by(|a, b| a.path.cmp(&b.path));
    out.verdicts.dedup_by(|a, b| a.path == b.path);
    out
}

/// Everything in the workspace that changed since a moment, covers aside: each may hold a copy of what was denied, be
/// it in a directory's name.
pub(crate) fn changed_since(judge: &Judge<'_>, moment: (i64, i64)) -> Vec<Verdict> {
    let since = Since::Time(moment);
    let mut out = Vec::new();
    walk::walk(judge.top.as_fd(), b"", &mut |met| {
        let Ok(stat) = rustix::fs::statx(
            met.dir,
            Path::new(std::ffi::OsStr::from_bytes(met.name())),
            AtFlags::SYMLINK_NOFOLLOW,
            StatxFlags::CTIME | StatxFlags::BTIME,
        ) else {
            return Descend::No;
        };
        let born = (stat.stx_btime.tv_sec, i64::from(stat.stx_btime.tv_nsec));
        // A directory that only got a new name in it is that name's matter.
        let is_new = if met.kind == FileType::Directory { born >= moment } else { since.is_after(&stat) };
        if is_new && !judge.is_mounted(met.path) {
            let reason = "written while a denied file could be opened: it may be a copy";
            out.push(Verdict::new(met.path, "copy of a denied file", "nobody by itself", reason));
            return Descend::No;
        }
        Descend::Yes
    });
    out
}

/// Looks at every name of a changed directory; below a directory that was not there before everything is new.
fn review_dir(judge: &Judge<'_>, dir: &[u8], seen: Option<&HashSet<&[u8]>>, since: Since, out: &mut Reviewed) {
    let fd = match open_beneath(judge.top, dir, OFlags::RDONLY | OFlags::DIRECTORY) {
        Ok(fd) => fd,
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => return,
        Err(_) => return out.unseen.push(dir.to_vec()),
    };
    let mut current: Vec<u8> = dir.to_vec();
    let mut names: Vec<Name> = Vec::new();
    let mut verdicts = Vec::new();
    let unseen = walk::walk(fd.as_fd(), dir, &mut |met| {
        let parent = if met.name_at == 0 { &b""[..] } else { &met.path[..met.name_at - 1] };
        if parent != current {
            judge.judge_bare(&current, &names, &mut verdicts);
            names.clear();
            current = parent.to_vec();
        }
        names.push(Name { name: met.name().to_vec() });
        visit(judge, met, dir, seen, since, &mut verdicts)
    });
    judge.judge_bare(&current, &names, &mut verdicts);
    out.verdicts.append(&mut verdicts);
    out.unseen.extend(unseen.dirs);
}

fn visit(
    judge: &Judge<'_>,
    met: &Met<'_>,
    dir: &[u8],
    seen: Option<&HashSet<&[u8]>>,
    since: Since,
    out: &mut Vec<Verdict>,
) -> Descend {
    let in_new_dir = seen.is_some() && met.path[..met.name_at].len() > if dir.is_empty() { 0 } else { dir.len() + 1 };
    let Ok(stat) = statx(met.dir, met.name(), AtFlags::SYMLINK_NOFOLLOW) else { return Descend::No };
    let mode = u32::from(stat.stx_mode);
    if met.kind == FileType::Directory {
        // Directories known from before have a turn of their own; new ones are entered here.
        let is_new = seen.is_none_or(|s| !s.contains(met.path));
        if is_new && made::root_of(met.path) == Some(met.path) {
            judge.made.borrow_mut().push(met.path.to_vec());
        }
        return if is_new { Descend::Yes } else { Descend::No };
    }
    if in_new_dir || since.is_after(&stat) {
        if made::root_of(met.path) == Some(met.path) {
            judge.made.borrow_mut().push(met.path.to_vec());
        }
        out.extend(judge.judge(met.path, met.kind, mode));
    }
    Descend::Yes
}
