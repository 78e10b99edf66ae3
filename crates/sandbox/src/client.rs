//! The thin client of a monitor: carries bytes, signals and the terminal between the caller and the jail.
//!
//! The jail never holds a descriptor of the caller's own: files could be reopened, changed in mode or typed into.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with};
use rustix::termios::{OptionalActions, Termios, Winsize};

use crate::init::Stdio;
use crate::outcome::REFUSED;
use crate::report::Outcome;
use crate::sys;
use crate::wire::{self, Message, Tag};

/// The signals that are passed on.
const FORWARDED: [i32; 10] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGCONT,
    libc::SIGWINCH,
    libc::SIGPIPE,
];

/// What the jail prints, on its way to the caller.
struct Relay {
    from: OwnedFd,
    to: RawFd,
    can_splice: bool,
}

/// The caller's input, on its way into the jail. Never waits: a command may print before it reads on, and only
/// this process takes what it prints.
struct Input {
    from: OwnedFd,
    /// Non-blocking, and owned: the monitor's fork drops it, or the jail would never see the end.
    to: OwnedFd,
    pending: Vec<u8>,
}

impl Input {
    fn interest(&self) -> PollFd<'_> {
        if self.pending.is_empty() {
            PollFd::new(&self.from, PollFlags::IN)
        } else {
            PollFd::new(&self.to, PollFlags::OUT)
        }
    }

    /// Moves what can be moved now; false at the end of either side.
    fn go_on(&mut self) -> bool {
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

/// The caller's standard descriptors, and the jail's ends of them.
pub(crate) struct Streams {
    relays: Vec<Relay>,
    input: Option<Input>,
    /// The caller's terminal, if any of the three is one.
    terminal: Option<RawFd>,
    input_is_terminal: bool,
}

/// Makes the jail's standard descriptors for the caller's.
///
/// # Errors
/// When a descriptor is of a kind that must not be passed on: a directory, an `O_PATH` or a block device.
pub(crate) fn streams() -> Result<(Streams, [Stdio; 3]), String> {
    let mut streams = Streams { relays: Vec::new(), input: None, terminal: None, input_is_terminal: false };
    let input = input(&mut streams)?;
    let normal = output(1, &mut streams)?;
    // One pipe for both when the caller has joined them: two would lose the order.
    let error = match (&normal, same_file(1, 2)) {
        (Stdio::Pipe(fd), true) => Stdio::Pipe(fd.try_clone().map_err(|e| e.to_string())?),
        _ => output(2, &mut streams)?,
    };
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
    if kind == FileType::Fifo && is_anonymous_pipe(fd) {
        return Ok(Stdio::Pipe(fd.try_clone_to_owned().map_err(|e| e.to_string())?));
    }
    let (inner, outer) = pipe_with(PipeFlags::CLOEXEC).map_err(|e| e.to_string())?;
    let from = fd.try_clone_to_owned().map_err(|e| e.to_string())?;
    rustix::fs::fcntl_setfl(&outer, OFlags::NONBLOCK).map_err(|e| e.to_string())?;
    streams.input = Some(Input { from, to: outer, pending: Vec::new() });
    Ok(Stdio::Pipe(inner))
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

impl Streams {
    pub(crate) fn needs_terminal(&self) -> bool {
        self.terminal.is_some()
    }
}

/// The client while its call runs.
struct Client<'a> {
    monitor: &'a OwnedFd,
    signals: OwnedFd,
    streams: Streams,
    master: Option<OwnedFd>,
    saved: Option<(RawFd, Termios)>,
    written: u64,
    limit: u64,
    limit_told: bool,
    output_told: bool,
    /// Why output of the command did not arrive.
    lost: Option<Errno>,
}

/// Carries everything until the monitor says that the call is over.
pub(crate) fn carry(monitor: &OwnedFd, streams: Streams, limit: u64) -> io::Result<Outcome> {
    let signals = sys::signal_fd(&FORWARDED)?;
    let mut client = Client {
        monitor,
        signals,
        streams,
        master: None,
        saved: None,
        written: 0,
        limit,
        limit_told: false,
        output_told: false,
        lost: None,
    };
    let outcome = client.run();
    client.restore();
    let mut outcome = outcome?;
    if let Some(why) = client.lost {
        outcome.messages.push(format!("output of the command was lost: it could not be written: {why}"));
        outcome.code = if outcome.code == 0 { REFUSED } else { outcome.code };
    }
    Ok(outcome)
}

impl Client<'_> {
    fn run(&mut self) -> io::Result<Outcome> {
        loop {
            self.tell_output();
            let mut fds = vec![PollFd::new(self.monitor, PollFlags::IN), PollFd::new(&self.signals, PollFlags::IN)];
            fds.extend(self.streams.relays.iter().map(|r| PollFd::new(&r.from, PollFlags::IN)));
            let relays = self.streams.relays.len();
            if let Some(master) = &self.master {
                fds.push(PollFd::new(master, PollFlags::IN));
                if self.streams.input_is_terminal {
                    fds.push(PollFd::from_borrowed_fd(sys::standard(0), PollFlags::IN));
                }
            }
            let input = fds.len();
            fds.extend(self.streams.input.as_ref().map(Input::interest));
            match poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            drop(fds);
            if ready[1] {
                self.forward_signals();
            }
            for i in (0..relays).rev().filter(|i| ready[2 + i]) {
                self.relay(i);
            }
            if self.streams.input.as_mut().is_some_and(|i| ready[input] && !i.go_on()) {
                self.streams.input = None;
            }
            if 2 + relays < input && ready[2 + relays] {
                self.show_terminal();
            }
            if 3 + relays < input && ready[3 + relays] {
                self.feed_terminal();
            }
            if ready[0]
                && let Some(outcome) = self.hear_monitor()?
            {
                return Ok(outcome);
            }
        }
    }

    fn hear_monitor(&mut self) -> io::Result<Option<Outcome>> {
        let Some(Message { tag, payload, fds }) = wire::receive(self.monitor.as_fd())? else {
            return Err(io::Error::other("the monitor was killed; the next call reviews and cleans up"));
        };
        match tag {
            Tag::Terminal => {
                self.master = fds.into_iter().next();
                self.raw()?;
                self.resize();
                Ok(None)
            }
            Tag::Done => Ok(Some(serde_json::from_slice(&payload)?)),
            Tag::DoneLarge => {
                let file = fds.into_iter().next().ok_or_else(|| io::Error::other("the outcome is missing"))?;
                let mut file = std::fs::File::from(file);
                io::Seek::rewind(&mut file)?;
                Ok(Some(serde_json::from_reader(io::BufReader::new(file))?))
            }
            _ => Ok(None),
        }
    }

    /// Once every output of the jail is at its end, says how much it was.
    fn tell_output(&mut self) {
        let is_open = !self.streams.relays.is_empty() || self.master.is_some();
        let awaits_terminal = self.streams.needs_terminal() && self.saved.is_none();
        if !(is_open || self.output_told || awaits_terminal) {
            self.output_told = true;
            drop(wire::send(self.monitor.as_fd(), Tag::OutputDone, &self.written.to_le_bytes(), &[]));
        }
    }

    fn forward_signals(&mut self) {
        while let Some(signal) = sys::next_signal(self.signals.as_fd()) {
            match signal {
                libc::SIGWINCH => self.resize(),
                libc::SIGPIPE => {}
                signal => {
                    let number = u8::try_from(signal).unwrap_or(0);
                    drop(wire::send(self.monitor.as_fd(), Tag::Signal, &[number], &[]));
                }
            }
        }
    }

    /// Moves what is there of one relay; ends it at the end of either side.
    fn relay(&mut self, i: usize) {
        let Some(relay) = self.streams.relays.get_mut(i) else { return };
        let to = sys::standard(relay.to);
        let moved = if relay.can_splice {
            match rustix::pipe::splice(&relay.from, None, to, None, 1 << 20, SpliceFlags::MOVE) {
                // An appended file or a terminal cannot be spliced into.
                Err(Errno::INVAL) => {
                    relay.can_splice = false;
                    copy(relay.from.as_fd(), to)
                }
                // The caller made its end non-blocking.
                Err(Errno::AGAIN) => return wait_writable(to),
                Err(Errno::INTR) => return,
                other => other,
            }
        } else {
            copy(relay.from.as_fd(), to)
        };
        match moved {
            // The command sees a closed pipe, as it would if it wrote to the reader itself.
            Ok(0) | Err(Errno::PIPE) => drop(self.streams.relays.remove(i)),
            Err(why) => {
                self.lost = Some(why);
                drop(self.streams.relays.remove(i));
            }
            Ok(count) => self.count(count),
        }
    }

    fn count(&mut self, count: usize) {
        self.written = self.written.saturating_add(count as u64);
        if self.written > self.limit && !self.limit_told {
            self.limit_told = true;
            drop(wire::send(self.monitor.as_fd(), Tag::OutputLimit, &[], &[]));
        }
    }

    /// The jail's terminal has something to show. EIO: its last user is gone.
    fn show_terminal(&mut self) {
        let (Some(master), Some(terminal)) = (&self.master, self.streams.terminal) else { return };
        let to = if self.streams.input_is_terminal && rustix::termios::isatty(sys::standard(1)) { 1 } else { terminal };
        match copy(master.as_fd(), sys::standard(to)) {
            Ok(0) | Err(_) => self.master = None,
            Ok(count) => self.count(count),
        }
    }

    fn feed_terminal(&mut self) {
        let Some(master) = &self.master else { return };
        if !matches!(copy(sys::standard(0), master.as_fd()), Ok(1..)) {
            self.streams.input_is_terminal = false;
        }
    }

    /// The caller's terminal passes every byte through: the jail's own terminal interprets them.
    fn raw(&mut self) -> io::Result<()> {
        let Some(fd) = self.streams.terminal else { return Ok(()) };
        let termios = rustix::termios::tcgetattr(sys::standard(fd))?;
        if self.streams.input_is_terminal {
            if let Some(master) = &self.master {
                // The inner terminal starts as the caller's was.
                rustix::termios::tcsetattr(master, OptionalActions::Now, &termios)?;
            }
            let mut raw = termios.clone();
            raw.make_raw();
            rustix::termios::tcsetattr(sys::standard(fd), OptionalActions::Now, &raw)?;
        } else if let Some(master) = &self.master {
            // Only output is a terminal: it stays cooked, so the inner one must not cook a second time.
            let mut inner = rustix::termios::tcgetattr(master)?;
            inner.output_modes.remove(rustix::termios::OutputModes::OPOST);
            rustix::termios::tcsetattr(master, OptionalActions::Now, &inner)?;
        }
        self.saved = Some((fd, termios));
        Ok(())
    }

    fn restore(&mut self) {
        if let Some((fd, termios)) = self.saved.take() {
            rustix::termios::tcsetattr(sys::standard(fd), OptionalActions::Drain, &termios).ok();
        }
    }

    fn resize(&self) {
        let (Some(master), Some(fd)) = (&self.master, self.streams.terminal) else { return };
        if let Ok(size) = rustix::termios::tcgetwinsize(sys::standard(fd)) {
            let size: Winsize = size;
            rustix::termios::tcsetwinsize(master, size).ok();
        }
    }
}

fn wait_readable(fd: BorrowedFd<'_>) {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    poll(&mut fds, None).ok();
}

fn wait_writable(fd: BorrowedFd<'_>) {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
    // A signal meanwhile is seen by the loop.
    poll(&mut fds, None).ok();
}

/// Reads once and writes all of it.
fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> rustix::io::Result<usize> {
    let mut buffer = [0; 65536];
    let got = loop {
        match rustix::io::read(from, &mut buffer) {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait_readable(from),
            other => break other?,
        }
    };
    let mut rest = &buffer[..got];
    while !rest.is_empty() {
        match rustix::io::write(to, rest) {
            Ok(count) => rest = &rest[count..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait_writable(to),
            Err(e) => return Err(e),
        }
    }
    Ok(got)
}
