//! Bytes between two connections, counted, until both ends are done, nothing comes any more, or the rules change.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::{AsyncWriteExt as _, Interest};
use tokio::net::TcpStream;
use tokio::net::tcp::ReadHalf;
use tokio::time::{Instant, sleep_until};

use crate::budget::{Direction, Meter};
use crate::conn::{Conn, PIECE_SIZE, read_with};
use crate::decision::Reason;
use crate::pipe::Pipe;

/// How long an open tunnel may be silent: long-lived channels send something at least every few minutes.
const SILENT: Duration = Duration::from_secs(3600);
/// How long after one side has said its last word the other may be silent.
const HALF_CLOSED: Duration = Duration::from_secs(120);

/// What went through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) up: u64,
    pub(crate) down: u64,
}

/// What both directions of a tunnel know of each other.
struct Progress {
    begin: Instant,
    up: AtomicU64,
    down: AtomicU64,
    /// Milliseconds after `begin` when something moved last.
    moved: AtomicU64,
    is_half_closed: AtomicBool,
}

/// Carries bytes until the end, or until they are no longer allowed. What was read ahead of the client goes first.
pub(crate) async fn carry(
    withdrawn: impl Future<Output = ()>,
    meter: &Meter,
    mut client: Conn,
    mut server: Conn,
) -> (Totals, Result<(), Reason>) {
    let (mut totals, mut end) = (Totals::default(), Ok(()));
    for (from, to, direction) in [
        (&mut client.ahead, &mut server.stream, Direction::Up),
        (&mut server.ahead, &mut client.stream, Direction::Down),
    ] {
        let bytes = std::mem::take(from);
        *totals.of(direction) = bytes.len() as u64;
        end = meter.add(direction, bytes.len() as u64);
        // A peer that is gone shows itself below.
        if end.is_err() || to.write_all(&bytes).await.is_err() {
            break;
        }
    }
    if end.is_ok() {
        let progress = Progress::new();
        end = tokio::select! {
            end = both(meter, &mut client.stream, &mut server.stream, &progress) => end,
            () = progress.silence() => Ok(()),
            () = withdrawn => Err(Reason::Withdrawn),
        };
        totals.up += progress.up.load(Relaxed);
        totals.down += progress.down.load(Relaxed);
    }
    if end.is_err() {
        client.reset();
        server.reset();
    }
    (totals, end)
}

impl Totals {
    pub(crate) fn of(&mut self, direction: Direction) -> &mut u64 {
        match direction {
            Direction::Up => &mut self.up,
            Direction::Down => &mut self.down,
        }
    }
}

impl Progress {
    fn new() -> Self {
        let (up, down, moved) = Default::default();
        Progress { begin: Instant::now(), up, down, moved, is_half_closed: AtomicBool::new(false) }
    }

    fn note(&self) {
        let since = u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved.store(since, Relaxed);
    }

    /// Returns when nothing has moved for as long as nothing may.
    async fn silence(&self) {
        loop {
            let patience = if self.is_half_closed.load(Relaxed) { HALF_CLOSED } else { SILENT };
            let deadline = self.begin + Duration::from_millis(self.moved.load(Relaxed)) + patience;
            if Instant::now() >= deadline {
                return;
            }
            // Looked at anew now and then: a side may have said its last word meanwhile.
            sleep_until(deadline.min(Instant::now() + HALF_CLOSED)).await;
        }
    }
}

async fn both(
    meter: &Meter,
    client: &mut TcpStream,
    server: &mut TcpStream,
    progress: &Progress,
) -> Result<(), Reason> {
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let up = Way { meter, to: to_server.as_ref(), direction: Direction::Up, count: &progress.up, progress };
    let down = Way { meter, to: to_client.as_ref(), direction: Direction::Down, count: &progress.down, progress };
    match tokio::try_join!(up.pump(from_client), down.pump(from_server)) {
        Ok(((), ())) | Err(Stop::Gone) => Ok(()),
        Err(Stop::Budget(reason)) => Err(reason),
    }
}

enum Stop {
    /// A reset on one side ends both.
    Gone,
    Budget(Reason),
}

impl From<io::Error> for Stop {
    fn from(_: io::Error) -> Self {
        Stop::Gone
    }
}

/// One direction of a tunnel.
struct Way<'t> {
    meter: &'t Meter,
    to: &'t TcpStream,
    direction: Direction,
    count: &'t AtomicU64,
    progress: &'t Progress,
}

impl Way<'_> {
    async fn pump(&self, mut from: ReadHalf<'_>) -> Result<(), Stop> {
        let mut is_bulk = false;
        loop {
            // What fills the buffer is likely to go on. From then on the kernel moves it, and no copy comes here.
            let moved = match is_bulk {
                true => self.spliced(from.as_ref()).await?,
                false => None,
            };
            let moved = match moved {
                Some(moved) => moved,
                None => self.copied(&mut from).await?,
            };
            if moved == 0 {
                break;
            }
            is_bulk = moved >= if is_bulk { PIECE_SIZE / 4 } else { PIECE_SIZE };
        }
        self.progress.note();
        // The second of two ends is said by closing.
        if !self.progress.is_half_closed.swap(true, Relaxed) {
            rustix::net::shutdown(self.to, rustix::net::Shutdown::Write).map_err(io::Error::from)?;
        }
        Ok(())
    }

    /// Passes on what is there; 0 at the end. The buffer is held only while nothing waits: an idle tunnel has no memory.
    async fn copied(&self, from: &mut ReadHalf<'_>) -> Result<usize, Stop> {
        let pass = |bytes: &[u8]| -> Result<(usize, Vec<u8>), Stop> {
            if bytes.is_empty() {
                return Ok((0, Vec::new()));
            }
            self.meter.add(self.direction, bytes.len() as u64).map_err(Stop::Budget)?;
            let left = match self.to.try_write(bytes) {
                Ok(written) => bytes.get(written..).unwrap_or_default().to_vec(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => bytes.to_vec(),
                Err(error) => return Err(error.into()),
            };
            Ok((bytes.len(), left))
        };
        let (count, mut left) = read_with(from, pass).await??;
        self.passed(count);
        while !left.is_empty() {
            let written = self.to.async_io(Interest::WRITABLE, || Ok(rustix::io::write(self.to, &left)?)).await?;
            left.drain(..written);
            self.progress.note();
        }
        Ok(count)
    }

    /// Moves what is there through a pipe; 0 at the end, nothing when all pipes are in use.
    async fn spliced(&self, from: &TcpStream) -> Result<Option<usize>, Stop> {
        let (mut pipe, count) = loop {
            from.readable().await?;
            // Taken only now: a tunnel that waits holds no pipe.
            let Some(mut pipe) = Pipe::take() else { return Ok(None) };
            match from.try_io(Interest::READABLE, || pipe.fill(from)) {
                Ok(count) => break (pipe, count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        };
        // What is over the budget goes with the pipe.
        self.meter.add(self.direction, count as u64).map_err(Stop::Budget)?;
        self.passed(count);
        while pipe.left() > 0 {
            self.to.async_io(Interest::WRITABLE, || pipe.empty(self.to)).await?;
            self.progress.note();
        }
        Ok(Some(count))
    }

    fn passed(&self, count: usize) {
        self.count.fetch_add(count as u64, Relaxed);
        self.progress.note();
    }
}
