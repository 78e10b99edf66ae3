//! The thin client of a monitor: carries bytes, signals and the terminal between the caller and the jail.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::pipe::SpliceFlags;
use rustix::termios::{OptionalActions, Termios, Winsize};

use crate::covers::{Gate, Word};
use crate::report::Outcome;
use crate::request::TerminalSize;
use crate::streams::{Input, Streams};
use crate::sys::{self, Board};
use crate::wire::{self, Message, Output, Tag};

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

mod bytes;

use bytes::{MOST, Passes, copy, is_at_end, wait_writable};

/// Who is at the other end, and what follows from it.
pub(crate) enum Peer<'a> {
    /// The monitor of a call of this process's own.
    Monitor {
        /// The most output that may pass.
        limit: u64,
        /// With a board, output is held back until the keeper of the covers has judged what was opened before it.
        board: Option<&'static Board>,
        /// The connection of the jail that asked for the call: its signals, its terminal's size, and its end.
        asker: Option<&'a OwnedFd>,
        /// Told when a whole agent's jail stands.
        standing: Option<&'a dyn Fn(&Message)>,
    },
    /// The supervisor of the jail that this process is in.
    Supervisor {
        /// This side of the terminal, where the caller has one.
        terminal: Option<OwnedFd>,
    },
}

/// The client while its call runs.
struct Client<'a> {
    monitor: &'a OwnedFd,
    /// Whether that is the supervisor of this jail.
    is_inside: bool,
    asker: Option<&'a OwnedFd>,
    standing: Option<&'a dyn Fn(&Message)>,
    /// What the supervisor has said of the end, while output is still on its way.
    outcome: Option<Outcome>,
    signals: OwnedFd,
    streams: Streams,
    master: Option<OwnedFd>,
    /// Whether the jail's terminal has come: until then nothing of it can be at its end.
    had_terminal: bool,
    saved: Option<(RawFd, Termios)>,
    written: u64,
    limit: u64,
    limit_told: bool,
    output_told: bool,
    /// Why output of the command was lost.
    lost: Option<String>,
    /// Shared with the keeper when something is denied: output waits for it then.
    board: Option<&'static Board>,
    gate: Option<Gate>,
}

/// Carries everything until the other side says that the call is over.
pub(crate) fn carry<'a>(monitor: &'a OwnedFd, streams: Streams, peer: Peer<'a>) -> io::Result<Outcome> {
    // What the caller has us ignore is not for the command either. SIGPIPE is ignored by Rust's runtime.
    let forwarded = FORWARDED.into_iter().filter(|s| *s == libc::SIGPIPE || !sys::is_ignored(*s));
    let signals = sys::signal_fd(&forwarded.collect::<Vec<_>>())?;
    let is_inside = matches!(peer, Peer::Supervisor { .. });
    let (limit, board, asker, standing, master) = match peer {
        Peer::Monitor { limit, board, asker, standing } => (limit, board, asker, standing, None),
        Peer::Supervisor { terminal } => (u64::MAX, None, None, None, terminal),
    };
    let mut client = Client {
        monitor,
        is_inside,
        asker,
        standing,
        outcome: None,
        signals,
        streams,
        had_terminal: master.is_some(),
        master,
        saved: None,
        written: 0,
        limit,
        limit_told: false,
        output_told: false,
        lost: None,
        board,
        gate: None,
    };
    let outcome = client.take_keys().and_then(|()| client.raw()).and_then(|()| client.run());
    client.restore();
    outcome
}

impl Client<'_> {
    fn run(&mut self) -> io::Result<Outcome> {
        loop {
            self.tell_output();
            // One that has said its last word would be ready for ever.
            let first = if self.outcome.is_none() { self.monitor } else { &self.signals };
            let mut fds = vec![PollFd::new(first, PollFlags::IN), PollFd::new(&self.signals, PollFlags::IN)];
            // Nothing runs before there is a way to ask. The word of it may be under way when output is there already.
            let is_waiting = self.board.is_some() && self.gate.is_none();
            let relays = if is_waiting { 0 } else { self.streams.relays.len() };
            fds.extend(self.streams.relays.iter().take(relays).map(|r| PollFd::new(&r.from, PollFlags::IN)));
            if let Some(master) = &self.master {
                fds.push(PollFd::new(master, PollFlags::IN));
                if self.streams.input_is_terminal {
                    fds.push(PollFd::from_borrowed_fd(sys::standard(0), PollFlags::IN));
                }
            }
            let input = fds.len();
            fds.extend(self.streams.input.as_ref().map(Input::interest));
            let asker = fds.len();
            fds.extend(self.asker.map(|asker| PollFd::new(asker, PollFlags::IN)));
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
                self.end_of_keys();
            }
            if 2 + relays < input && ready[2 + relays] {
                self.show_terminal();
            }
            if 3 + relays < input && ready[3 + relays] {
                self.feed_terminal();
            }
            if self.asker.is_some() && ready[asker] {
                self.hear_asker();
            }
            if ready[0]
                && self.outcome.is_none()
                && let Some(outcome) = self.hear_monitor()?
            {
                self.outcome = Some(outcome);
            }
            // A monitor has waited for the output; a supervisor has let go of the other ends of it.
            let is_relayed = !self.is_inside || (self.streams.relays.is_empty() && self.master.is_none());
            if is_relayed && let Some(outcome) = self.outcome.take() {
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
                self.had_terminal = true;
                self.take_keys()?;
                self.raw()?;
                self.resize();
                Ok(None)
            }
            Tag::Gate => {
                let mut fds = fds.into_iter();
                match (fds.next(), self.board) {
                    (Some(ask), Some(board)) => self.gate = Some(Gate { ask, board }),
                    // There are no covers in this tier, which its report says.
                    _ => self.board = None,
                }
                Ok(None)
            }
            Tag::Standing => {
                if let Some(standing) = self.standing {
                    standing(&Message { tag, payload, fds });
                }
                Ok(None)
            }
            _ => outcome_of(Message { tag, payload, fds }),
        }
    }

    /// Hears the jail that asked for the call. Its end is the call's: the monitor kills, reviews, and answers still.
    fn hear_asker(&mut self) {
        let Some(asker) = self.asker else { return };
        match wire::receive(asker.as_fd()) {
            Ok(Some(Message { tag: Tag::Signal, payload, .. })) => {
                if let Some(signal) = payload.first().filter(|s| FORWARDED.contains(&i32::from(**s))) {
                    drop(wire::send(self.monitor.as_fd(), Tag::Signal, &[*signal], &[]));
                }
            }
            Ok(Some(Message { tag: Tag::Resize, payload, .. })) => {
                if let (Some(size), Some(master)) = (TerminalSize::of_payload(&payload), &self.master) {
                    rustix::termios::tcsetwinsize(master, crate::streams::window(size)).ok();
                }
            }
            // Nothing else has a meaning once a call has begun.
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => {
                self.asker = None;
                rustix::net::shutdown(self.monitor, rustix::net::Shutdown::Write).ok();
            }
        }
    }

    /// Once every output of the jail is at its end, says how much it was.
    fn tell_output(&mut self) {
        let is_open = !self.streams.relays.is_empty() || self.master.is_some();
        let awaits_terminal = self.streams.needs_terminal() && !self.had_terminal;
        if !(is_open || self.output_told || awaits_terminal || self.is_inside) {
            self.output_told = true;
            let output = Output { bytes: self.written, lost: self.lost.take() };
            drop(wire::send(self.monitor.as_fd(), Tag::OutputDone, &output.to_payload(), &[]));
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
        let most = self.streams.relays.get(i).map(|relay| self.passes(relay.from.as_fd()));
        let Some(relay) = self.streams.relays.get_mut(i) else { return };
        let most = match most {
            Some(Passes::UpTo(most)) => most,
            Some(Passes::Nothing) | None => return,
            Some(never) => {
                self.note_silence(&never);
                return drop(self.streams.relays.remove(i));
            }
        };
        let to = sys::standard(relay.to);
        let moved = if relay.can_splice {
            match rustix::pipe::splice(&relay.from, None, to, None, most, SpliceFlags::MOVE) {
                // An appended file or a terminal cannot be spliced into.
                Err(Errno::INVAL) => {
                    relay.can_splice = false;
                    copy(relay.from.as_fd(), to, most)
                }
                // The caller made its end non-blocking.
                Err(Errno::AGAIN) => return wait_writable(to),
                Err(Errno::INTR) => return,
                other => other,
            }
        } else {
            copy(relay.from.as_fd(), to, most)
        };
        match moved {
            // A reader that has had enough is no failure; the command hears of it by SIGPIPE.
            Ok(0) | Err(Errno::PIPE) => drop(self.streams.relays.remove(i)),
            Err(e) => {
                let name = if relay.to == 1 { "output" } else { "error" };
                self.lost.get_or_insert(format!("standard {name} could not be written: {}", io::Error::from(e)));
                drop(self.streams.relays.remove(i));
            }
            Ok(count) => self.count(count),
        }
    }

    /// How much of a stream may be passed on now.
    fn passes(&self, from: BorrowedFd<'_>) -> Passes {
        match (self.board, &self.gate) {
            (None, _) => Passes::UpTo(MOST),
            (Some(_), None) => Passes::Nothing,
            (Some(_), Some(gate)) => {
                // An end seen after the count could hide what came in between.
                let is_at_end = is_at_end(from);
                // First what is there, then the question: what comes after it waits for the next.
                let bytes = rustix::io::ioctl_fionread(from).unwrap_or(0);
                if bytes == 0 {
                    return if is_at_end { Passes::UpTo(1) } else { Passes::Nothing };
                }
                match gate.ask() {
                    Word::Clear => Passes::UpTo(usize::try_from(bytes).unwrap_or(MOST).min(MOST)),
                    // The monitor says why.
                    Word::Breach => Passes::Never,
                    Word::Silence => Passes::Unanswered,
                }
            }
        }
    }

    /// Output that nobody cleared is lost, and said to be.
    fn note_silence(&mut self, passes: &Passes) {
        if matches!(passes, Passes::Unanswered) {
            self.lost.get_or_insert("output was withheld: the keeper of the covers does not answer".into());
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
        let Some(master) = &self.master else { return };
        let to = match self.streams.terminal {
            Some(terminal) if !(self.streams.input_is_terminal && rustix::termios::isatty(sys::standard(1))) => {
                terminal
            }
            _ => self.streams.requested.map_or(1, |requested| requested.screen),
        };
        let most = match self.passes(master.as_fd()) {
            Passes::UpTo(most) => most,
            Passes::Nothing => return,
            never => {
                self.note_silence(&never);
                return self.close_terminal();
            }
        };
        match copy(master.as_fd(), sys::standard(to), most) {
            Ok(0) | Err(_) => self.close_terminal(),
            Ok(count) => self.count(count),
        }
    }

    /// Nobody is at the jail's terminal any more: its last user is gone, or nobody reads what it shows.
    fn close_terminal(&mut self) {
        self.master = None;
        if self.streams.requested.is_some_and(|requested| requested.keys.is_some()) {
            self.streams.input = None;
        }
    }

    fn feed_terminal(&mut self) {
        let Some(master) = &self.master else { return };
        if !matches!(copy(sys::standard(0), master.as_fd(), MOST), Ok(1..)) {
            self.streams.input_is_terminal = false;
        }
    }

    /// Where the caller has no terminal, the keys of the jail's come from its input.
    fn take_keys(&mut self) -> io::Result<()> {
        if let (Some(master), Some(requested)) = (&self.master, self.streams.requested)
            && let Some(keys) = Input::to_terminal(master.as_fd(), requested)?
        {
            self.streams.input = Some(keys);
        }
        Ok(())
    }

    /// A terminal has no end: where the caller's input has one, its reader is told as by a key.
    fn end_of_keys(&self) {
        let (Some(master), Some(requested)) = (&self.master, self.streams.requested) else { return };
        if requested.keys.is_none() {
            return;
        }
        if self.is_inside {
            // The supervisor's side presses the key.
            rustix::net::shutdown(master, rustix::net::Shutdown::Write).ok();
            return;
        }
        if let Ok(modes) = rustix::termios::tcgetattr(master) {
            let key = modes.special_codes[rustix::termios::SpecialCodeIndex::VEOF];
            // A program that reads keys one by one has no use for it, and may have closed the terminal.
            rustix::io::write(master, &[key]).ok();
        }
    }

    /// The caller's terminal passes every byte through: the jail's own terminal interprets them.
    fn raw(&mut self) -> io::Result<()> {
        let Some(fd) = self.streams.terminal.filter(|_| self.had_terminal && self.saved.is_none()) else {
            return Ok(());
        };
        let termios = rustix::termios::tcgetattr(sys::standard(fd))?;
        if self.streams.input_is_terminal {
            let mut raw = termios.clone();
            raw.make_raw();
            if self.streams.is_cooked_outside {
                raw.output_modes = termios.output_modes;
            }
            rustix::termios::tcsetattr(sys::standard(fd), OptionalActions::Now, &raw)?;
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
            if self.is_inside {
                let size = TerminalSize { rows: size.ws_row, columns: size.ws_col };
                drop(wire::send(self.monitor.as_fd(), Tag::Resize, &size.to_payload(), &[]));
                return;
            }
            rustix::termios::tcsetwinsize(master, size).ok();
        }
    }
}

/// The outcome of a call, if a message tells it.
pub(crate) fn outcome_of(message: Message) -> io::Result<Option<Outcome>> {
    match message.tag {
        Tag::Done => Ok(Some(serde_json::from_slice(&message.payload)?)),
        Tag::DoneLarge => {
            let file = message.fds.into_iter().next().ok_or_else(|| io::Error::other("the outcome is missing"))?;
            let mut file = std::fs::File::from(file);
            io::Seek::rewind(&mut file)?;
            Ok(Some(serde_json::from_reader(io::BufReader::new(file))?))
        }
        _ => Ok(None),
    }
}
