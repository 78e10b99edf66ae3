//! The caller's standard descriptors, and what the jail gets in their place.
//!
//! The jail never holds a descriptor of the caller's own: files could be reopened, changed in mode or typed into.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::termios::{OptionalActions, Termios, Winsize};

use crate::init::Stdio;
use crate::request::{Request, TerminalSize};
use crate::sys;

/// What the jail prints, on its way to the caller.
pub(crate) struct Relay {
    pub(crate) from: OwnedFd,
    pub(crate) to: RawFd,
    pub(crate) can_splice: bool,
}

/// The caller's input, on its way into the jail. Never waits: a command may print before it reads on, and only
/// this process takes what it prints.
pub(crate) struct Input {
    from: OwnedFd,
    /// Non-blocking, and owned: the monitor's fork drops it, or the jail would never see the end.
    to: OwnedFd,
    pending: Vec<u8>,
}

impl Input {
    fn new(from: BorrowedFd<'_>, to: OwnedFd) -> io::Result<Input> {
        rustix::fs::fcntl_setfl(&to, rustix::fs::fcntl_getfl(&to)? | OFlags::NONBLOCK)?;
        Ok(Input { from: from.try_clone_to_owned()?, to, pending: Vec::new() })
    }

    /// The caller's input on its way to a terminal that the caller does not have itself.
    pub(crate) fn to_terminal(master: BorrowedFd<'_>, requested: Requested) -> io::Result<Option<Input>> {
        let to = master.try_clone_to_owned()?;
        requested.keys.and_then(borrowed).map(|from| Input::new(from, to)).transpose()
    }

    pub(crate) fn interest(&self) -> PollFd<'_> {
        if self.pending.is_empty() {
            PollFd::new(&self.from, PollFlags::IN)
        } else {
            PollFd::new(&self.to, PollFlags::OUT)
        }
    }

    /// Moves what can be moved now; false at the end of either side.
    pub(crate) fn go_on(&mut self) -> bool {
        if self.pending.is_empty() {
            let mut buffer = [0; 65536];
            match rustix::io::read(&self.from, &mut buffer) {
                Ok(0) => return false,
                Ok(count) => self.pending.extend_from_slice(&buffer[..count]),
                Err(Errno::INTR | Errno::AGAIN) => return true,
                Err(_) => return false,
            }
        }
        match rustix::io::write(&self.to, &self.pending) {
            Ok(count) => {
                self.pending.drain(..count);
                true
            }
            Err(Errno::INTR | Errno::AGAIN) => true,
            Err(_) => false,
        }
    }
}

/// A terminal that the caller does not have itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Requested {
    pub(crate) size: TerminalSize,
    /// Where its keys come from.
    pub(crate) keys: Option<RawFd>,
    /// Where what it shows goes to.
    pub(crate) screen: RawFd,
    is_cooked_outside: bool,
}

/// The caller's standard descriptors, and the jail's ends of them.
#[derive(Default)]
pub(crate) struct Streams {
    pub(crate) relays: Vec<Relay>,
    pub(crate) input: Option<Input>,
    /// The caller's terminal, if any of the three is one.
    pub(crate) terminal: Option<RawFd>,
    /// The terminal that a caller without one asks for.
    pub(crate) requested: Option<Requested>,
    pub(crate) input_is_terminal: bool,
    /// Whether the caller's terminal goes on making its line ends. It must where others write to it too: only output
    /// is a terminal, or the jail's output goes through a pipe to a program beside it. The inner one then makes none.
    pub(crate) is_cooked_outside: bool,
}

/// Makes the jail's standard descriptors for the caller's.
///
/// # Errors
/// When a descriptor is of a kind that must not be passed on: a directory, an `O_PATH` or a block device.
pub(crate) fn streams(request: &Request) -> Result<(Streams, [Stdio; 3]), String> {
    let mut streams = Streams::default();
    let has_terminal = (0..3).any(|n| borrowed(n).is_some_and(rustix::termios::isatty));
    let bits = match request.terminal_streams & 0b111 {
        0 => 0b111,
        bits => bits,
    };
    let is_terminal = |number: RawFd| request.terminal.is_some() && !has_terminal && bits & 1 << number != 0;
    if let Some(size) = request.terminal.filter(|_| !has_terminal) {
        let is_one_socket = request.terminal_streams != 0;
        let screen = if is_one_socket { bits.trailing_zeros().cast_signed() } else { 1 };
        let keys = is_terminal(0).then_some(0);
        let is_cooked_outside = request.terminal_streams & 0b1000 != 0;
        streams.requested = Some(Requested { size, keys, screen, is_cooked_outside });
        for (number, fd) in (0..3).filter_map(|n| Some((n, borrowed(n)?))) {
            kind_of(fd, number)?;
        }
    }
    let input = if is_terminal(0) { Stdio::Terminal } else { input(&mut streams)? };
    let normal = if is_terminal(1) { Stdio::Terminal } else { output(1, &mut streams)? };
    if is_terminal(2) {
        return Ok((streams, [input, normal, Stdio::Terminal]));
    }
    // One pipe for both when the caller has joined them: two would lose the order.
    let error = match (&normal, same_file(1, 2)) {
        (Stdio::Pipe(fd), true) => Stdio::Pipe(fd.try_clone().map_err(|e| e.to_string())?),
        _ => output(2, &mut streams)?,
    };
    streams.is_cooked_outside = !(streams.input_is_terminal && streams.relays.is_empty());
    Ok((streams, [input, normal, error]))
}

fn same_file(a: RawFd, b: RawFd) -> bool {
    let (Some(a), Some(b)) = (borrowed(a), borrowed(b)) else { return false };
    match (rustix::fs::fstat(a), rustix::fs::fstat(b)) {
        (Ok(a), Ok(b)) => (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino),
        _ => false,
    }
}

/// A standard descriptor, if it is open.
fn borrowed(fd: RawFd) -> Option<BorrowedFd<'static>> {
    sys::is_open(fd).then(|| sys::standard(fd))
}

fn kind_of(fd: BorrowedFd<'_>, number: RawFd) -> Result<FileType, String> {
    let flags = rustix::fs::fcntl_getfl(fd).map_err(|e| e.to_string())?;
    let stat = rustix::fs::fstat(fd).map_err(|e| e.to_string())?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    if flags.contains(OFlags::PATH) || matches!(kind, FileType::Directory | FileType::BlockDevice) {
        return Err(format!("standard descriptor {number} is a directory or a device: it would reach out of the jail"));
    }
    Ok(kind)
}

fn input(streams: &mut Streams) -> Result<Stdio, String> {
    let Some(fd) = borrowed(0) else { return Ok(Stdio::Closed) };
    let kind = kind_of(fd, 0)?;
    if rustix::termios::isatty(fd) {
        streams.terminal = Some(0);
        streams.input_is_terminal = true;
        return Ok(Stdio::Terminal);
    }
    if is_null(fd) {
        return Ok(Stdio::Null);
    }
    if kind == FileType::Fifo && is_anonymous_pipe(fd) {
        return Ok(Stdio::Pipe(fd.try_clone_to_owned().map_err(|e| e.to_string())?));
    }
    let (inner, outer) = pipe_with(PipeFlags::CLOEXEC).map_err(|e| e.to_string())?;
    streams.input = Some(Input::new(fd, outer).map_err(|e| e.to_string())?);
    Ok(Stdio::Pipe(inner))
}

/// Programs tell "no input" from input that has yet to come: `rg PATTERN` searches what a pipe brings, not the tree.
fn is_null(fd: BorrowedFd<'_>) -> bool {
    rustix::fs::fstat(fd).is_ok_and(|s| {
        FileType::from_raw_mode(s.st_mode) == FileType::CharacterDevice && s.st_rdev == rustix::fs::makedev(1, 3)
    })
}

/// A pipe has no name that could be opened again with more rights; a FIFO has.
fn is_anonymous_pipe(fd: BorrowedFd<'_>) -> bool {
    let link = rustix::fs::readlink(format!("/proc/self/fd/{}", fd.as_raw_fd()), Vec::new());
    link.is_ok_and(|l| l.to_bytes().starts_with(b"pipe:"))
}

fn output(number: RawFd, streams: &mut Streams) -> Result<Stdio, String> {
    let Some(fd) = borrowed(number) else { return Ok(Stdio::Closed) };
    kind_of(fd, number)?;
    if rustix::termios::isatty(fd) {
        streams.terminal.get_or_insert(number);
        return Ok(Stdio::Terminal);
    }
    let (outer, inner) = pipe_with(PipeFlags::CLOEXEC).map_err(|e| e.to_string())?;
    streams.relays.push(Relay { from: outer, to: number, can_splice: true });
    Ok(Stdio::Pipe(inner))
}

/// How the jail's terminal starts. Init sets it: a command that has begun may have changed it already.
#[derive(Debug)]
pub(crate) struct Start {
    /// Those of the caller's terminal; a new one's own where the caller has none.
    modes: Option<Termios>,
    size: Winsize,
    /// Whether the other side makes the line ends.
    is_cooked_outside: bool,
}

impl Start {
    pub(crate) fn apply(&self, master: BorrowedFd<'_>) -> rustix::io::Result<()> {
        if let Some(modes) = &self.modes {
            rustix::termios::tcsetattr(master, OptionalActions::Now, modes)?;
        }
        if self.is_cooked_outside {
            let mut modes = rustix::termios::tcgetattr(master)?;
            modes.output_modes.remove(rustix::termios::OutputModes::OPOST);
            rustix::termios::tcsetattr(master, OptionalActions::Now, &modes)?;
        }
        rustix::termios::tcsetwinsize(master, self.size)
    }
}

/// As the kernel has it; pixels are nobody's.
pub(crate) fn window(size: TerminalSize) -> Winsize {
    Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 }
}

impl Streams {
    pub(crate) fn needs_terminal(&self) -> bool {
        self.terminal.is_some() || self.requested.is_some()
    }

    /// The size of the terminal that the jail needs, if it needs one.
    pub(crate) fn window(&self) -> Option<Winsize> {
        let own = self.terminal.map(sys::standard).and_then(|fd| rustix::termios::tcgetwinsize(fd).ok());
        own.or(self.requested.map(|requested| window(requested.size)))
    }

    /// A terminal like the caller's, if the jail needs one.
    pub(crate) fn start(&self) -> io::Result<Option<Start>> {
        if let Some(Requested { size, is_cooked_outside, .. }) = self.requested {
            return Ok(Some(Start { modes: None, size: window(size), is_cooked_outside }));
        }
        let Some(fd) = self.terminal.map(sys::standard) else { return Ok(None) };
        let modes = rustix::termios::tcgetattr(fd)?;
        let size = rustix::termios::tcgetwinsize(fd)?;
        Ok(Some(Start { modes: Some(modes), size, is_cooked_outside: self.is_cooked_outside }))
    }
}
