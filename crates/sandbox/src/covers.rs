//! The covers of a jail, watched: the mounts over what is denied or protected.
//!
//! The attack: a mount falls off its name when anyone outside renames something over it (an editor, a hot reload), and
//! the kernel tells nobody. A jail that asks for the name at that moment gets the new file: it can open it, link it or
//! move it away. The parents of all covers are watched (inotify(7)); a keeper puts covers back. What was denied and could
//! be reached ends the call, and no output passes before the keeper has looked; what was protected is reviewed.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use crate::keeper;
use crate::live::Namespaces;
use crate::plan::Plan;
use crate::sys::Board;
use crate::wire::{self, Tag};

/// What is mounted over a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The directory itself, so that it cannot be renamed from inside.
    Pin,
    /// The thing itself, read-only.
    Protected,
    /// Nothing that could be opened.
    Denied,
}

/// One mount.
#[derive(Debug)]
pub(crate) struct Cover {
    pub(crate) path: PathBuf,
    pub(crate) kind: Kind,
}

/// Every mount of a plan, in the order in which they are made.
pub(crate) fn of(plan: &Plan) -> Vec<Cover> {
    let pins = plan.pins.iter().map(|path| Cover { path: path.clone(), kind: Kind::Pin });
    let spots = |list: &'_ [crate::spots::Spot], kind| -> Vec<Cover> {
        list.iter().map(|s| Cover { path: s.path.clone(), kind }).collect()
    };
    pins.chain(spots(&plan.protected, Kind::Protected)).chain(spots(&plan.denied, Kind::Denied)).collect()
}

/// Where a path of the jail lies outside: a place may be shown under another name than its own.
fn outside(plan: &Plan, path: &Path) -> PathBuf {
    let places = plan.places.iter().filter_map(|p| Some((&p.source, path.strip_prefix(&p.target).ok()?)));
    let nearest = places.min_by_key(|(_, rest)| rest.as_os_str().len());
    nearest.map_or_else(|| path.to_owned(), |(source, rest)| source.join(rest))
}

/// One inotify instance, and the directories it watches.
pub(crate) struct Watches {
    pub(crate) fd: OwnedFd,
    dirs: HashMap<i32, PathBuf>,
}

impl Watches {
    fn new() -> io::Result<Watches> {
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        Ok(Watches { fd, dirs: HashMap::new() })
    }

    /// Watches a directory that is found at `at`; its events speak of `dir`.
    pub(crate) fn add(&mut self, at: &Path, dir: &Path) -> io::Result<()> {
        let came = WatchFlags::CREATE | WatchFlags::MOVED_TO;
        let went = WatchFlags::DELETE | WatchFlags::MOVED_FROM;
        let flags = came | went | WatchFlags::ONLYDIR | WatchFlags::DONT_FOLLOW;
        let wd = inotify::add_watch(&self.fd, at, flags)?;
        self.dirs.insert(wd, dir.to_owned());
        Ok(())
    }

    /// The path an event speaks of.
    pub(crate) fn path(&self, wd: i32, name: &[u8]) -> Option<PathBuf> {
        Some(self.dirs.get(&wd)?.join(OsStr::from_bytes(name)))
    }
}

/// Everything the keeper needs, made before the command runs: what happens meanwhile waits in the queue.
pub(crate) struct Watch {
    pub(crate) covers: Vec<Cover>,
    /// Names that came and went.
    pub(crate) changes: Watches,
    pub(crate) ask: OwnedFd,
    pub(crate) board: &'static Board,
}

impl Watch {
    /// Watches the parents of all covers; nothing when there are none.
    fn start(plan: &Plan) -> io::Result<Option<Watch>> {
        let (covers, Some(board)) = (of(plan), plan.board) else { return Ok(None) };
        let mut changes = Watches::new()?;
        // All directories from the workspace down to a cover: any of them may be replaced.
        let above = |c: &'_ Cover| -> Vec<PathBuf> {
            let inside = c.path.ancestors().skip(1).take_while(|p| p.starts_with(&plan.workspace));
            inside.chain(c.path.parent()).map(Path::to_owned).collect()
        };
        let mut parents: Vec<PathBuf> = covers.iter().flat_map(above).collect();
        parents.sort_unstable();
        parents.dedup();
        for parent in parents {
            changes.add(&outside(plan, &parent), &parent)?;
        }
        let ask = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Some(Watch { covers, changes, ask, board }))
    }

    fn breach(&self) -> Option<(&Cover, (i64, i64))> {
        let number = self.board.breach.load(SeqCst).checked_sub(1)?;
        let [seconds, nanoseconds] = &self.board.since;
        Some((self.covers.get(number as usize)?, (seconds.load(SeqCst), nanoseconds.load(SeqCst))))
    }
}

/// The monitor's side: the watch, and the keeper once the jail stands.
#[derive(Default)]
pub(crate) struct Keeping {
    watch: Option<Watch>,
    namespaces: Option<Namespaces>,
    keeper: Option<OwnedFd>,
    /// What is protected and could not be watched.
    unwatched: Vec<PathBuf>,
}

impl Keeping {
    /// Watches the covers, and tells the client how to ask about them.
    ///
    /// # Errors
    /// When nobody could tell that what is denied can be opened.
    pub(crate) fn start(plan: &Plan, client: BorrowedFd<'_>) -> Result<(Keeping, Option<String>), String> {
        match Watch::start(plan) {
            Ok(watch) => {
                if let Some(watch) = watch.as_ref().filter(|_| !plan.denied.is_empty()) {
                    // A client that is gone is noticed by its socket.
                    drop(wire::send(client, Tag::Gate, &[], &[watch.ask.as_fd()]));
                }
                Ok((Keeping { watch, ..Keeping::default() }, None))
            }
            Err(e) if plan.denied.is_empty() => {
                let note =
                    format!("what is protected could not be watched ({e}): replaced from outside, it stays open");
                let unwatched = plan.protected.iter().map(|s| s.path.clone()).collect();
                Ok((Keeping { unwatched, ..Keeping::default() }, Some(note)))
            }
            Err(e) => Err(format!(
                "what is denied could not be watched: {e}\nhint: raise fs.inotify.max_user_instances or max_user_watches (sysctl)"
            )),
        }
    }

    /// Starts the keeper.
    pub(crate) fn attach(&mut self, namespaces: Option<Namespaces>, init: i32) -> io::Result<()> {
        self.namespaces = namespaces;
        if let (Some(watch), Some(namespaces)) = (&mut self.watch, &self.namespaces) {
            self.keeper = Some(keeper::start(watch, namespaces, init)?);
        }
        Ok(())
    }

    /// Readable when the keeper has ended.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.keeper.as_ref().map(AsFd::as_fd)
    }

    /// What was denied and could be opened for a moment, and since when.
    pub(crate) fn breach(&self) -> Option<(&Cover, (i64, i64))> {
        self.watch.as_ref().and_then(Watch::breach)
    }

    /// The protected things that may not be what they were, once the jail is dead: somebody replaced them, or nobody
    /// can tell.
    pub(crate) fn replaced(&self) -> Vec<PathBuf> {
        let Some(watch) = &self.watch else { return self.unwatched.clone() };
        let has_looked = self.keeper.is_some() && asked(watch.ask.as_fd(), watch.board);
        watch.board.is_over.store(true, SeqCst);
        let is_unsure = !has_looked || watch.board.was_off(usize::MAX).load(SeqCst);
        let is_replaced = |i: &usize| is_unsure || watch.board.was_off(*i).load(SeqCst);
        let covers = watch.covers.iter().enumerate().filter(|(i, c)| c.kind == Kind::Protected && is_replaced(i));
        covers.map(|(_, cover)| cover.path.clone()).collect()
    }

    /// Lets the keeper go after its last look.
    pub(crate) fn dismiss(&self) {
        if let Some(keeper) = &self.keeper {
            rustix::process::pidfd_send_signal(keeper, rustix::process::Signal::KILL).ok();
        }
    }
}

/// Tells the client that nothing is covered in this tier, so that there is nobody to ask.
pub(crate) fn open_gate(client: BorrowedFd<'_>) {
    // A client that is gone is noticed by its socket.
    drop(wire::send(client, Tag::Gate, &[], &[]));
}

/// How long an answer of the keeper is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks the keeper to look, and waits until it has. No answer is a no.
fn asked(ask: BorrowedFd<'_>, board: &Board) -> bool {
    let ticket = board.asked.fetch_add(1, SeqCst).wrapping_add(1);
    if rustix::io::write(ask, &1_u64.to_ne_bytes()).is_err() {
        return false;
    }
    let deadline = Instant::now() + PATIENCE;
    while (board.answered.load(SeqCst).wrapping_sub(ticket) as i32) < 0 {
        // The keeper has had its last look, and may be gone.
        if board.is_over.load(SeqCst) {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_micros(20));
    }
    true
}

/// The client's side: whether what the jail has printed may be passed on.
pub(crate) struct Gate {
    pub(crate) ask: OwnedFd,
    pub(crate) board: &'static Board,
}

/// What the keeper says of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// Everything denied has been covered until now.
    Clear,
    /// Something denied could be opened.
    Breach,
    /// It does not answer.
    Silence,
}

impl Gate {
    /// Asks whether everything denied has been covered until now, or until the jail was dead.
    pub(crate) fn ask(&self) -> Word {
        match self.board.is_over.load(SeqCst) || asked(self.ask.as_fd(), self.board) {
            false => Word::Silence,
            true if self.board.breach.load(SeqCst) == 0 => Word::Clear,
            true => Word::Breach,
        }
    }
}
