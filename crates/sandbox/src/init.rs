//! The jail's pid 1: builds the jail around itself, gives up every privilege, starts the command, reaps.
//!
//! It has no way back: each step is irreversible, and any failure ends it before the command has started.
//! When it exits the kernel kills everything in its pid namespace.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};

use crate::cgroup;
use crate::channel::{self, SocketKind};
use crate::files;
use crate::ids::Mapping;
use crate::inside;
use crate::landlock_rules::{self, Use};
use crate::plan::Plan;
use crate::request::{Access, Kind};
use crate::root::{self, At, BuildError, Built};
use crate::sys::{self, Fork, Wait};
use crate::syscalls::Sockets;
use crate::tier::{Extent, Tier};
use crate::way_out::WayOut;
use crate::whole::Network;
use crate::wire::{self, Tag};

/// What init gets from the monitor.
pub(crate) struct Entry<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) tier: Tier,
    /// To the monitor: its end is the jail's life line.
    pub(crate) monitor: OwnedFd,
    /// Standard input, output and error; `None` is closed, or the terminal.
    pub(crate) stdio: [Stdio; 3],
}

/// One standard descriptor of the command.
pub(crate) enum Stdio {
    Closed,
    /// The jail's own /dev/null.
    Null,
    Terminal,
    Pipe(OwnedFd),
}

/// The step of going to where the command starts.
const ENTER: &str = "enter";

/// A jail that stands, and may start its command.
struct Ready {
    /// The terminal's slave.
    slave: Option<OwnedFd>,
    /// The journal's lock, open as long as this process lives: the call is not over before.
    _lock: Option<OwnedFd>,
}

/// Runs as pid 1. Never returns.
pub(crate) fn run(mut entry: Entry<'_>) -> ! {
    sys::set_process_name(c"mantlet-init");
    let (tag, failed) = match build(&entry) {
        // Nothing of the caller's has run.
        Err(e) => (Tag::Refused, e),
        Ok(ready) => match supervise(&mut entry, ready) {
            // The monitor reads the code from the exit status; the kernel kills the rest of the jail.
            Ok(code) => sys::exit_now(code),
            Err(e) => (Tag::Failed, e),
        },
    };
    // That a directory is not there says nothing of the command.
    let errno = if failed.step == ENTER { 0 } else { failed.source.raw_os_error().unwrap_or(0) };
    let text = format!("{errno} {failed}");
    // The monitor notices the end itself; without this it lacks only the reason.
    drop(wire::send(entry.monitor.as_fd(), tag, &text.as_bytes()[..text.len().min(wire::MAX)], &[]));
    sys::exit_now(125)
}

/// Builds the jail and waits for the word to start.
fn build(entry: &Entry<'_>) -> Result<Ready, BuildError> {
    let plan = entry.plan;
    let built = match entry.tier {
        Tier::Full => namespaces(entry)?,
        Tier::Landlock => without_namespaces(plan)?,
    };
    let slave = built.pty.as_ref().map(|m| sys::pty_peer(m.as_fd()).at("open the slave of", "/dev/pts")).transpose()?;
    announce(entry, built)?;
    keep_only_the_commands(entry, slave.as_ref()).at("close", "what the jail was built from")?;
    set_limits(plan, entry.tier)?;
    sys::wipe_initial_strings();
    sys::set_not_dumpable().at("set not dumpable", "init")?;
    sys::die_with_parent().at("set death signal", "init")?;
    confine(plan, entry.tier)?;
    let mut fds = wait_for(entry, Tag::Go).at("wait for", "the monitor")?.into_iter();
    let lock = fds.next();
    fds.try_for_each(cgroup::join).at("join", "the control group")?;
    Ok(Ready { slave, _lock: lock })
}

/// Waits for one message of the monitor. Answers its descriptors.
fn wait_for(entry: &Entry<'_>, tag: Tag) -> io::Result<Vec<OwnedFd>> {
    match wire::receive(entry.monitor.as_fd())? {
        Some(message) if message.tag == tag => Ok(message.fds),
        _ => Err(io::Error::other("the monitor is gone")),
    }
}

/// The tier `landlock`: the ids all the same, since no jailed process is root.
fn without_namespaces(plan: &Plan) -> Result<Built, BuildError> {
    if plan.ids.mapping != Mapping::Caller {
        sys::set_ids(plan.ids.uid, plan.ids.gid).at("take the ids of", "the jail")?;
    }
    // A new terminal among the host's: Landlock lets the jail reach no other, nor this one by its name.
    let pty = plan.terminal.as_ref().map(|start| root::open_pty(start, "/dev/ptmx")).transpose()?;
    Ok(Built { proc: Extent::Full(""), proc_fd: None, pty, listener: None })
}

/// Everything that needs privilege over the new namespaces, then the ids.
fn namespaces(entry: &Entry<'_>) -> Result<Built, BuildError> {
    let plan = entry.plan;
    let proc = rustix::fs::open("/proc", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).at("open", "/proc")?;
    if plan.ids.mapping == Mapping::Caller {
        write_maps(&proc, plan)?;
    }
    let network = match &plan.whole {
        Some(whole) if whole.told.network == Network::Host => None,
        _ => Some(sys::Network::begin().at("make", "the network namespace")?),
    };
    sys::new_session_keyring().at("make a session keyring for", "the jail")?;
    sys::set_host_name("mantlet").at("set the host name", "mantlet")?;
    write(&proc, "self/oom_score_adj", b"1000")?;
    let built = root::enter(plan, || match plan.ids.mapping {
        // Without a map the command could not write, and root's files would not be its own: no jail.
        Mapping::Idmapped => {
            wait_for(entry, Tag::IdMap)?.pop().map(Some).ok_or_else(|| io::Error::other("it is missing"))
        }
        Mapping::Caller | Mapping::Owner => Ok(None),
    })?;
    if let Some(network) = network {
        let namespace = network.enter().at("make", "the network namespace")?;
        if let Some(way) = &plan.way_out {
            hand_over(entry, way, namespace)?;
        }
    }
    if built.proc_fd.is_some() {
        // Kernels before 6.14 have no pid_max of a namespace's own; RLIMIT_NPROC bounds the jail either way.
        let pid_max = (plan.limits.processes.saturating_mul(4) + 300).to_string();
        drop(std::fs::write("/proc/sys/kernel/pid_max", pid_max));
        let pages = (plan.limits.memory / 4096).to_string();
        drop(std::fs::write("/proc/sys/kernel/shmall", pages));
        root::seal_proc()?;
    }
    if plan.ids.mapping != Mapping::Caller {
        sys::set_ids(plan.ids.uid, plan.ids.gid).at("take the ids of", "the jail")?;
        sys::set_dumpable().at("set dumpable", "init")?;
        sys::unshare(libc::CLONE_NEWUSER).at("make", "the user namespace")?;
        // Where the jail has no fresh /proc, the outer one knows this process too.
        write_maps(built.proc_fd.as_ref().unwrap_or(&proc), plan)?;
    }
    Ok(built)
}

/// Opens the way out, for whoever serves it: nothing of it stays in here.
fn hand_over(entry: &Entry<'_>, way: &WayOut, network: OwnedFd) -> Result<(), BuildError> {
    let user = match entry.plan.ids.mapping {
        Mapping::Caller => {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            Some(rustix::fs::open("/proc/self/ns/user", flags, Mode::empty()).at("open", "/proc/self/ns/user")?)
        }
        // Root made the network namespace while it was the host's own.
        Mapping::Owner | Mapping::Idmapped => None,
    };
    let namespaces = std::iter::once(network).chain(user).map(|fd| (SocketKind::Namespace, fd));
    let sockets: channel::Sockets = namespaces.chain(inside::open(&way.low).at("open", "the way out")?).collect();
    channel::send_sockets(entry.monitor.as_fd(), &sockets).at("tell", "the monitor")
}

fn write(proc: &OwnedFd, path: &str, content: &[u8]) -> Result<(), BuildError> {
    let full = Path::new("/proc").join(path);
    let fd = rustix::fs::openat(proc, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).at("open", &full)?;
    rustix::io::write(&fd, content).at("write", &full).map(drop)
}

/// Maps the jail's uid and gid onto themselves, and nothing else.
fn write_maps(proc: &OwnedFd, plan: &Plan) -> Result<(), BuildError> {
    write(proc, "self/setgroups", b"deny")?;
    write(proc, "self/uid_map", format!("{0} {0} 1", plan.ids.uid).as_bytes())?;
    write(proc, "self/gid_map", format!("{0} {0} 1", plan.ids.gid).as_bytes())
}

/// What init hands to the monitor with its first word, in this order.
pub(crate) const HAS_TERMINAL: u8 = 1;
pub(crate) const HAS_PROC: u8 = 2;
pub(crate) const HAS_TMPFS: u8 = 4;
pub(crate) const HAS_MOUNT_NS: u8 = 8;
pub(crate) const HAS_USER_NS: u8 = 16;
pub(crate) const HAS_LISTENER: u8 = 32;

/// Tells the monitor what was built, and hands over the terminal and views of the jail.
fn announce(entry: &Entry<'_>, built: Built) -> Result<(), BuildError> {
    let open =
        |path: &str, flags: OFlags| rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty()).at("open", path);
    let is_full = entry.tier == Tier::Full;
    let is_own = entry.plan.ids.mapping == Mapping::Caller;
    let tmpfs = is_full.then(|| open("/tmp", OFlags::PATH)).transpose()?;
    let mount = is_full.then(|| open("/proc/self/ns/mnt", OFlags::RDONLY)).transpose()?;
    let user = (is_full && is_own).then(|| open("/proc/self/ns/user", OFlags::RDONLY)).transpose()?;
    let views = [
        (HAS_TERMINAL, &built.pty),
        (HAS_PROC, &built.proc_fd),
        (HAS_TMPFS, &tmpfs),
        (HAS_MOUNT_NS, &mount),
        (HAS_USER_NS, &user),
        (HAS_LISTENER, &built.listener),
    ];
    let flags = views.iter().filter(|(_, fd)| fd.is_some()).fold(0, |sum, (bit, _)| sum | bit);
    let fds: Vec<_> = views.iter().filter_map(|(_, fd)| fd.as_ref().map(AsFd::as_fd)).collect();
    let mut payload = vec![flags];
    if built.listener.is_some() {
        // This process will soon be nobody's to look at, and the supervisor must know which namespace it serves.
        let own = rustix::fs::stat("/proc/self/ns/pid").at("examine", "/proc/self/ns/pid")?;
        payload.extend_from_slice(&own.st_ino.to_le_bytes());
    }
    if let Extent::Partial(missing) = &built.proc {
        payload.extend_from_slice(missing.as_bytes());
    }
    wire::send(entry.monitor.as_fd(), Tag::Built, &payload, &fds).at("tell", "the monitor")
}

fn set_limits(plan: &Plan, tier: Tier) -> Result<(), BuildError> {
    let limits = &plan.limits;
    let cpu = match plan.kind {
        Kind::Command => limits.cpu.as_secs().max(1),
        Kind::Service => libc::RLIM_INFINITY,
    };
    let mut list = vec![
        (libc::RLIMIT_NOFILE, limits.open_files),
        (libc::RLIMIT_FSIZE, limits.file_size),
        (libc::RLIMIT_CPU, cpu),
        (libc::RLIMIT_CORE, 0),
        (libc::RLIMIT_MEMLOCK, limits.memory.min(64 << 20)),
        (libc::RLIMIT_MSGQUEUE, 1 << 20),
        (libc::RLIMIT_SIGPENDING, 4096),
    ];
    if tier == Tier::Full {
        // Inside a user namespace this counts the jail's processes only (init is one of them).
        list.push((libc::RLIMIT_NPROC, u64::from(limits.processes) + 1));
    }
    for (resource, value) in list {
        let hard = sys::hard_rlimit(resource).at("read", "the resource limits")?;
        let value = value.min(hard);
        // SIGXCPU comes at the soft limit and says why; SIGKILL, at the hard one, would not.
        let last = if resource == libc::RLIMIT_CPU { value.saturating_add(1).min(hard) } else { value };
        sys::set_rlimit(resource, value, last).at("set", "the resource limits")?;
    }
    Ok(())
}

/// Gives up every privilege, for this process and all it will start.
fn confine(plan: &Plan, tier: Tier) -> Result<(), BuildError> {
    sys::set_no_new_privs().at("set", "no_new_privs")?;
    let places: Vec<(PathBuf, Use)> = plan.landlock_places(tier);
    landlock_rules::restrict(places.iter().map(|(p, u)| (p.as_path(), *u)))
        .map_err(|e| io::Error::other(e.to_string()))
        .at("apply", "Landlock")?;
    let bounding = match tier {
        Tier::Full => sys::Bounding::MustEmpty,
        Tier::Landlock => sys::Bounding::MayStay,
    };
    sys::drop_capabilities(bounding).at("drop", "capabilities")?;
    let sockets = if plan.is_unconfined { Sockets::Internet } else { Sockets::OfTheTier };
    sys::install_seccomp(&crate::seccomp::program(tier, sockets)).at("install", "seccomp")
}

/// Closes what the jail was built from, above all the host's view of the workspace.
///
/// The attack: a jail that asks for a call names `/proc/self/fd/3` as its directory. Behind such a descriptor nothing
/// is covered and nothing is read-only.
fn keep_only_the_commands(entry: &Entry<'_>, slave: Option<&OwnedFd>) -> io::Result<()> {
    let pipes = entry.stdio.iter().filter_map(|s| if let Stdio::Pipe(fd) = s { Some(fd.as_raw_fd()) } else { None });
    let own = std::iter::once(entry.monitor.as_raw_fd()).chain(slave.map(AsRawFd::as_raw_fd));
    sys::close_all_but(&own.chain(pipes).collect::<Vec<_>>())
}

/// Goes to where the command starts: in the jail's own tree. What the path leads to outside is nobody's matter.
fn enter_cwd(plan: &Plan) -> Result<(), BuildError> {
    rustix::process::chdir(plan.cwd.as_path()).at(ENTER, &plan.cwd)?;
    // The kernel puts "(unreachable)" before a directory that is in no tree of this process's.
    let is_in_the_jail = rustix::process::getcwd(Vec::new()).is_ok_and(|path| path.to_bytes().starts_with(b"/"));
    if is_in_the_jail { Ok(()) } else { Err(rustix::io::Errno::NOENT).at(ENTER, &plan.cwd) }
}

/// Starts the command and reaps until it ends. Answers its exit code.
fn supervise(entry: &mut Entry<'_>, ready: Ready) -> Result<i32, BuildError> {
    enter_cwd(entry.plan)?;
    let signals = sys::signal_fd(&[libc::SIGCHLD]).at("watch", "signals")?;
    // Its word to start may have outlived it: nobody would watch the command.
    if wire::is_gone(entry.monitor.as_fd()) {
        return Err(io::Error::other("the monitor is gone")).at("start", "the command");
    }
    let mut failed = None;
    let child = match entry.plan.files_access {
        None => sys::vfork(|| {
            failed = Some(start(entry, ready.slave.as_ref()));
            127
        }),
        Some(access) => serve_files(entry, access),
    };
    let child = child.at("fork", "the command")?;
    drop(ready.slave);
    // The command's output is at its end when the command's own processes have let go of it.
    entry.stdio = [Stdio::Closed, Stdio::Closed, Stdio::Closed];
    loop {
        let mut fds = [PollFd::new(&signals, PollFlags::IN), PollFd::new(&entry.monitor, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e).at("wait for", "the command"),
        }
        if !fds[1].revents().is_empty() {
            match wire::receive(entry.monitor.as_fd()).at("hear", "the monitor")? {
                Some(message) if message.tag == Tag::Signal => forward(child, &message.payload),
                Some(_) => {}
                // The monitor is dead: nothing may outlive it.
                None => sys::exit_now(125),
            }
        }
        while sys::next_signal(signals.as_fd()).is_some() {}
        while let Ok(Some(reaped)) = sys::reap(-1, Wait::Poll) {
            if reaped.pid == child {
                return match failed {
                    None => {
                        tell_end(entry, reaped.code);
                        Ok(reaped.code)
                    }
                    Some(errno) => Err(io::Error::from_raw_os_error(errno)).at("exec", plan_program(entry.plan)),
                };
            }
        }
    }
}

/// Starts the child that serves file operations: it executes nothing, and so is a process with a memory of its own.
fn serve_files(entry: &Entry<'_>, access: Access) -> io::Result<i32> {
    match sys::clone(0)? {
        Fork::Parent(pid) => Ok(pid),
        Fork::Child => {
            sys::set_process_name(c"mantlet-files");
            // Nothing of init's may be reached from here: the line to the monitor, the journal's lock.
            match prepare(entry, None).and_then(|()| sys::close_from(3)) {
                Ok(()) => sys::exit_now(files::serve(entry.plan, access)),
                Err(_) => sys::exit_now(125),
            }
        }
    }
}

/// Tells the monitor early that all is over, where it is: the end of this process takes the kernel longer than the
/// review. Every process of a pid namespace descends from its init, so that without a child there is none.
fn tell_end(entry: &Entry<'_>, code: i32) {
    let is_alone = sys::reap(-1, Wait::Poll).is_err_and(|e| e.raw_os_error() == Some(libc::ECHILD));
    if entry.tier == Tier::Full && is_alone {
        // Not heard, the end of this process is.
        drop(wire::send(entry.monitor.as_fd(), Tag::Ended, &code.to_le_bytes(), &[]));
    }
}

/// Delivers a forwarded signal: those a terminal makes to the whole group, others to the command alone.
fn forward(child: i32, payload: &[u8]) {
    let Some(signal) = payload.first().map(|s| i32::from(*s)) else { return };
    let target =
        if matches!(signal, libc::SIGINT | libc::SIGQUIT | libc::SIGHUP | libc::SIGWINCH) { -child } else { child };
    // ESRCH: it has just ended, which the loop will see.
    drop(sys::kill(target, signal));
}

fn plan_program(plan: &Plan) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(plan.argv.first().map_or(b"".as_slice(), |a| a.to_bytes())))
}

/// The command's own process, up to its exec. Answers only when that fails, with the errno.
fn start(entry: &Entry<'_>, slave: Option<&OwnedFd>) -> i32 {
    let error = match prepare(entry, slave) {
        Ok(()) => exec(entry.plan),
        Err(e) => e,
    };
    error.raw_os_error().unwrap_or(libc::EIO)
}

fn prepare(entry: &Entry<'_>, slave: Option<&OwnedFd>) -> io::Result<()> {
    rustix::process::setsid()?;
    if let Some(slave) = slave {
        sys::controlling_terminal(slave.as_fd())?;
    }
    for (target, stdio) in (0..).zip(&entry.stdio) {
        match (stdio, slave) {
            (Stdio::Pipe(fd), _) => sys::dup_onto(fd.as_fd(), target)?,
            (Stdio::Terminal, Some(slave)) => sys::dup_onto(slave.as_fd(), target)?,
            (Stdio::Null, _) => {
                let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
                sys::dup_onto(null.as_fd(), target)?;
            }
            (Stdio::Closed, _) | (Stdio::Terminal, None) => sys::close_standard(target),
        }
    }
    sys::reset_signals();
    sys::close_on_exec_from(3)
}

/// Looks the program up in the jail's PATH, as execvp(3) does.
fn exec(plan: &Plan) -> io::Error {
    let Some(program) = plan.argv.first() else { return io::Error::from_raw_os_error(libc::ENOENT) };
    if program.as_bytes().contains(&b'/') {
        return sys::exec(program, &plan.argv, &plan.env);
    }
    let mut last = io::Error::from_raw_os_error(libc::ENOENT);
    for dir in plan.path.split(|b| *b == b':') {
        let mut full = dir.to_vec();
        full.push(b'/');
        full.extend_from_slice(program.as_bytes());
        let Ok(full) = CString::new(full) else { continue };
        let err = sys::exec(&full, &plan.argv, &plan.env);
        if !matches!(err.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) {
            last = err;
            if last.raw_os_error() != Some(libc::EACCES) {
                break;
            }
        }
    }
    last
}
