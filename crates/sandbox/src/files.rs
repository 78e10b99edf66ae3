//! File operations inside a finished jail: what `exec --files` does in place of a command.
//!
//! A client's file tools must reach what its commands reach, and nothing else. So the child of init does not execute
//! anything: it reads requests from standard input and answers on standard output, many in one jail. It touches files by
//! descriptors only (`paths`), starts nothing, and opens nothing outside the workspace.
//!
//! Frames both ways: one byte that says what it is, the length (4 bytes, little endian), the payload.
//! `Q` a request (JSON), `D` a piece of a file, `E` the end of the pieces, `R` the answer (JSON).

mod changes;
mod paths;
mod pieces;
mod reads;

use std::io::{self, BufReader, Read, Write};
use std::path::{Component, PathBuf};

use serde::Deserialize;

use crate::plan::Plan;
use crate::request::Access;
use crate::sys;
use paths::{Root, Scope};
use pieces::{Frames, Kind};

/// A request. Which of its fields an operation reads is said there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    op: Op,
    /// The workspace by its real path: nothing else is served.
    root: PathBuf,
    /// Relative to the root, without `.` and `..`; empty for the root itself.
    path: PathBuf,
    /// The second path of a rename or a copy.
    #[serde(default)]
    to: Option<PathBuf>,
    /// Relative paths that may not be changed where they exist: the client's own rules.
    #[serde(default)]
    readonly: Vec<PathBuf>,
    /// The destination's directories were resolved and allowed before: none of them may be a symlink now.
    #[serde(default)]
    pinned: bool,
    /// Make missing directories above the destination.
    #[serde(default)]
    mkdir: bool,
    #[serde(default)]
    recursive: bool,
    /// Not to be there is no error.
    #[serde(default)]
    force: bool,
    /// Follow a symlink at the end (`stat`, `resolve`).
    #[serde(default)]
    follow: bool,
    /// The most bytes the file may have.
    #[serde(default)]
    max: Option<u64>,
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    length: Option<u64>,
    /// The file can be made again: the disk is not waited for.
    #[serde(default)]
    unsynced: bool,
    /// Permission bits of a new file.
    #[serde(default)]
    mode: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Op {
    Stat,
    Read,
    List,
    Resolve,
    Write,
    Create,
    Append,
    Mkdir,
    Remove,
    Rename,
    Copy,
}

impl Op {
    fn changes(self) -> bool {
        !matches!(self, Op::Stat | Op::Read | Op::List | Op::Resolve)
    }

    /// Whether pieces follow the request.
    fn has_body(self) -> bool {
        matches!(self, Op::Write | Op::Create | Op::Append)
    }
}

/// Why an operation was not done.
#[derive(Debug)]
struct Failure {
    /// The kernel's name for it, or one of ours in capital letters.
    code: &'static str,
    message: String,
}

impl Failure {
    fn new(code: &'static str, message: impl Into<String>) -> Failure {
        Failure { code, message: message.into() }
    }
}

impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Failure {
        Failure { code: name_of(e.raw_os_error().unwrap_or(libc::EIO)), message: e.to_string() }
    }
}

impl From<rustix::io::Errno> for Failure {
    fn from(e: rustix::io::Errno) -> Failure {
        io::Error::from(e).into()
    }
}

fn name_of(errno: i32) -> &'static str {
    const NAMES: &[(i32, &str)] = &[
        (libc::ENOENT, "ENOENT"),
        (libc::EEXIST, "EEXIST"),
        (libc::EISDIR, "EISDIR"),
        (libc::ENOTDIR, "ENOTDIR"),
        (libc::ENOTEMPTY, "ENOTEMPTY"),
        (libc::EACCES, "EACCES"),
        (libc::EPERM, "EPERM"),
        (libc::EROFS, "EROFS"),
        (libc::EBUSY, "EBUSY"),
        (libc::ELOOP, "ELOOP"),
        (libc::EXDEV, "EXDEV"),
        (libc::EFBIG, "EFBIG"),
        (libc::ENOSPC, "ENOSPC"),
        (libc::EDQUOT, "EDQUOT"),
        (libc::EINVAL, "EINVAL"),
        (libc::EMFILE, "EMFILE"),
        (libc::ENAMETOOLONG, "ENAMETOOLONG"),
        (libc::ESTALE, "ESTALE"),
    ];
    NAMES.iter().find(|(number, _)| *number == errno).map_or("EIO", |(_, name)| name)
}

/// Standard input and output, without a lock that a fork could have copied in a locked state.
struct Stream(i32);

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        rustix::io::retry_on_intr(|| rustix::io::read(sys::standard(self.0), &mut *buffer)).map_err(Into::into)
    }
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        rustix::io::retry_on_intr(|| rustix::io::write(sys::standard(self.0), buffer)).map_err(Into::into)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Serves until standard input ends. Answers the exit code: 0, or 2 when the other side does not keep to the frames.
pub(crate) fn serve(plan: &Plan, access: Access) -> i32 {
    let mut frames = Frames::new(BufReader::with_capacity(1 << 16, Stream(0)), Stream(1));
    loop {
        match frames.next() {
            Ok(None) => return 0,
            Ok(Some(Kind::Request)) => {}
            Ok(Some(_)) | Err(_) => return 2,
        }
        if serve_one(plan, access, &mut frames).is_err() {
            return 2;
        }
    }
}

/// `Err`: the other side is gone, or its frames make no sense.
fn serve_one(plan: &Plan, access: Access, frames: &mut Frames<impl Read, impl Write>) -> io::Result<()> {
    let request: Request = match serde_json::from_slice(frames.payload()) {
        Ok(request) => request,
        // Pieces may follow that nobody would read as such.
        Err(e) => {
            answer(frames, Err(Failure::new("EINVAL", format!("not a request: {e}"))))?;
            return Err(io::Error::other("not a request"));
        }
    };
    frames.expect_body(request.op.has_body());
    let outcome = act(plan, access, &request, frames);
    frames.skip_body()?;
    answer(frames, outcome)
}

fn act(
    plan: &Plan,
    access: Access,
    request: &Request,
    frames: &mut Frames<impl Read, impl Write>,
) -> Result<serde_json::Value, Failure> {
    if request.op.changes() && access == Access::Read {
        return Err(Failure::new("EROFS", "this jail was made for reading"));
    }
    for path in std::iter::once(&request.path).chain(&request.to).chain(&request.readonly) {
        if !path.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(Failure::new("EINVAL", format!("{path:?} is not a plain relative path")));
        }
    }
    let root = Root::open(Scope { workspace: &plan.workspace, rules: &plan.rules }, &request.root)?;
    match request.op {
        Op::Stat => reads::stat(&root, request),
        Op::Read => reads::read(&root, request, frames),
        Op::List => reads::list(&root, request, frames),
        Op::Resolve => reads::resolve(&root, request),
        Op::Write | Op::Create => changes::write(&root, request, frames),
        Op::Append => changes::append(&root, request, frames),
        Op::Mkdir => changes::mkdir(&root, request),
        Op::Remove => changes::remove(&root, request),
        Op::Rename => changes::rename(&root, request),
        Op::Copy => changes::copy(&root, request),
    }
}

fn answer(frames: &mut Frames<impl Read, impl Write>, outcome: Result<serde_json::Value, Failure>) -> io::Result<()> {
    let value = match outcome {
        Ok(value) => serde_json::json!({ "ok": value }),
        Err(e) => serde_json::json!({ "error": { "code": e.code, "message": e.message } }),
    };
    frames.send(Kind::Reply, &serde_json::to_vec(&value)?)
}
