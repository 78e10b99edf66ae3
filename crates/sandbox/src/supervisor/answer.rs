//! One request of a jail, in a process of its own: read from a peer that may lie or fall silent, judged, and carried out.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path};
use std::time::{Duration, Instant, SystemTime};

use mantlet_ledger::Writer;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags};

use super::Outer;
use crate::ask::{self, Asking};
use crate::call::{self, Origin};
use crate::monitor;
use crate::outcome::REFUSED;
use crate::plan::Refusal;
use crate::request::Request;
use crate::sys;
use crate::wire::{self, Tag};

/// How long a request may take to arrive.
const PATIENCE: Duration = Duration::from_secs(5);

/// The exit code of a process that could not begin.
pub(super) const BROKEN: i32 = 1;
/// Exit codes of what is told in the ledger: a request that no client of ours sends.
const SILENT: i32 = 70;
const MALFORMED: i32 = 71;
const DESCRIPTORS: i32 = 72;
const FORGED: i32 = 73;

/// What an exit code says of a request, if it is worth a line.
pub(super) fn wrong(code: i32) -> Option<&'static str> {
    match code {
        SILENT => Some("a process of the agent's jail connected and sent no whole request"),
        MALFORMED => Some("a process of the agent's jail sent a request that is none"),
        DESCRIPTORS => Some("a process of the agent's jail sent descriptors that a call may not have"),
        FORGED => Some("a process of the agent's jail asked for another place than its own"),
        _ => None,
    }
}

/// Reads a request and carries it out. Answers the exit code of this process.
pub(super) fn answer(connection: &OwnedFd, outer: &Outer) -> i32 {
    let (asking, fds) = match read(connection) {
        Ok(read) => read,
        Err((code, why)) => {
            refuse(connection, why);
            return code;
        }
    };
    let request = match judged(asking, outer) {
        Ok(request) => request,
        Err(why) => {
            refuse(connection, &why);
            return FORGED;
        }
    };
    if take(&fds).is_err() {
        return BROKEN;
    }
    drop(fds);
    let outcome = match wire::send(connection.as_fd(), Tag::Accepted, &[], &[]) {
        Ok(()) => call::run(&request, &Origin::Jail { outer, asker: connection })
            .unwrap_or_else(|refusal| call::refused(&request, refusal)),
        Err(e) => call::refused(&request, Refusal::new(e.to_string())),
    };
    // The asker waits for the end of what it reads, which must not wait for this process.
    if let Ok(null) = nothing() {
        (0..3).for_each(|number| drop(sys::dup_onto(null.as_fd(), number)));
    }
    monitor::tell(connection, &outcome);
    0
}

/// Says no, to a peer that may not listen.
pub(super) fn refuse(connection: &OwnedFd, why: &str) {
    let request = Request::default();
    let hint = "inside a jail, ask with the `mantlet exec` that is in it";
    monitor::tell(connection, &call::refused(&request, Refusal::new(why).hint(hint)));
}

/// Reads a whole request with its three descriptors.
fn read(connection: &OwnedFd) -> Result<(Asking, [OwnedFd; 3]), (i32, &'static str)> {
    let deadline = Instant::now() + PATIENCE;
    let first = receive(connection, deadline)?;
    let size = match (first.tag, <[u8; 4]>::try_from(first.payload.as_slice())) {
        (Tag::Ask, Ok(size)) => u32::from_le_bytes(size) as usize,
        _ => return Err((MALFORMED, "the request does not begin as one")),
    };
    if size > ask::MOST_REQUEST {
        return Err((MALFORMED, "the request is too long"));
    }
    let fds = <[OwnedFd; 3]>::try_from(first.fds)
        .map_err(|_| (DESCRIPTORS, "a request carries exactly three descriptors"))?;
    for fd in &fds {
        check(fd).map_err(|why| (DESCRIPTORS, why))?;
    }
    let mut bytes = Vec::new();
    while bytes.len() < size {
        let part = receive(connection, deadline)?;
        if part.tag != Tag::Part || part.payload.is_empty() || !part.fds.is_empty() {
            return Err((MALFORMED, "a part of the request is none"));
        }
        bytes.extend_from_slice(&part.payload);
    }
    if bytes.len() != size {
        return Err((MALFORMED, "the request is longer than it says"));
    }
    ask::decode(&bytes).map(|asking| (asking, fds)).map_err(|why| (MALFORMED, why))
}

fn receive(connection: &OwnedFd, deadline: Instant) -> Result<wire::Message, (i32, &'static str)> {
    let left = deadline.saturating_duration_since(Instant::now());
    let wait = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: i64::from(left.subsec_nanos()) };
    let is_ready = poll(&mut [PollFd::new(connection, PollFlags::IN)], Some(&wait)).is_ok_and(|ready| ready > 0);
    if !is_ready {
        return Err((SILENT, "the request did not come in time"));
    }
    match wire::receive(connection.as_fd()) {
        Ok(Some(message)) => Ok(message),
        Ok(None) => Err((SILENT, "the request was not finished")),
        Err(_) => Err((MALFORMED, "a message is none")),
    }
}

/// What may become a standard descriptor of a call: bytes in or out, and no way to anything else.
///
/// The attacks: a directory of the jail's as a way for the owner's process to be led elsewhere; an `O_PATH` descriptor,
/// which can be opened anew; a terminal, into which keys can be typed; a device; a file of /proc, in which the kernel
/// tells a reader as much as that reader may know, and who reads for a call is the owner.
fn check(fd: &OwnedFd) -> Result<(), &'static str> {
    let failed = |_| "a descriptor cannot be examined";
    let flags = rustix::fs::fcntl_getfl(fd).map_err(failed)?;
    if flags.contains(OFlags::PATH) {
        return Err("a descriptor of a path (O_PATH) is refused");
    }
    let stat = rustix::fs::fstat(fd).map_err(failed)?;
    if rustix::fs::fstatfs(fd).map_err(failed)?.f_type == rustix::fs::PROC_SUPER_MAGIC {
        return Err("a file of /proc is refused");
    }
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Fifo | FileType::Socket => Ok(()),
        // What is in no directory is in nobody's quota: memory that would be counted to the owner.
        FileType::RegularFile if stat.st_nlink > 0 => Ok(()),
        FileType::RegularFile => Err("a file without a name is refused"),
        FileType::CharacterDevice if stat.st_rdev == rustix::fs::makedev(1, 3) => Ok(()),
        FileType::Directory => Err("a directory is refused"),
        _ => Err("a terminal or a device is refused"),
    }
}

/// The request as the supervisor's own: agent, policy and workspace are the run's.
fn judged(asking: Asking, outer: &Outer) -> Result<Request, String> {
    let Asking { mut request, here } = asking;
    let workspace = &outer.workspace;
    if let Some(wanted) = request.workspace.take() {
        if !is_below(&wanted, workspace) {
            return Err("the workspace that is asked for is not in the agent's own".into());
        }
        request.cwd.get_or_insert(wanted);
    }
    // Only words so far: the jail that is made for the call finds the directory, or does not.
    let here = here.filter(|here| is_below(here, workspace)).unwrap_or_else(|| workspace.clone());
    request.cwd = Some(request.cwd.map_or(here, |cwd| workspace.join(cwd)));
    request.agent = Some(outer.agent.clone());
    request.policy = outer.policy.clone();
    request.workspace = Some(workspace.clone());
    Ok(request)
}

fn is_below(path: &Path, workspace: &Path) -> bool {
    path.starts_with(workspace) && !path.components().any(|part| part == Component::ParentDir)
}

/// Puts the three descriptors where a client has them. Their own numbers are higher: those were taken already.
fn take(fds: &[OwnedFd; 3]) -> std::io::Result<()> {
    for (number, fd) in (0..).zip(fds) {
        sys::dup_onto(fd.as_fd(), number)?;
    }
    sys::standard_are_open();
    Ok(())
}

fn nothing() -> rustix::io::Result<OwnedFd> {
    rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
}

/// Writes a refused request into the ledger.
pub(super) fn write_down(outer: &Outer, why: &str) {
    let Ok(mut ledger) = Writer::open(&outer.state.join("ledger"), &[&outer.workspace]) else { return };
    let entry = mantlet_ledger::Entry {
        v: 1,
        time: mantlet_ledger::rfc3339(SystemTime::now()),
        agent: outer.agent.clone(),
        policy: outer.policy_hash.clone(),
        kind: mantlet_ledger::Kind::Exec(mantlet_ledger::Exec {
            call: String::new(),
            command: "(a request to the supervisor)".into(),
            session: None,
            run: None,
            tier: "refused".into(),
            mechanisms: Default::default(),
            exit: REFUSED,
            reason: Some(why.into()),
            duration_ms: 0,
            bytes_out: None,
            findings: Vec::new(),
        }),
        chain: None,
    };
    // Nothing has run; a full disk is told of by the next call, which is refused for it.
    drop(ledger.append(&entry));
}
