//! Bytes between two connections, counted, until both ends are done, nothing comes any more, or the rules change.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use crate::budget::{Direction, Meter};
use crate::conn::Conn;
use crate::decision::Reason;

/// How long an open tunnel may be silent: long-lived channels send something at least every few minutes.
const SILENT: Duration = Duration::from_secs(3600);
/// How long after one side has said its last word the other may be silent.
const HALF_CLOSED: Duration = Duration::from_secs(120);
const PIECE: usize = 64 * 1024;

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
    keep_alive(&server.stream);
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
            end = both(meter, &client.stream, &server.stream, &progress) => end,
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

/// A peer that has vanished without a word is noticed by the kernel.
fn keep_alive(stream: &TcpStream) {
    use rustix::net::sockopt::{set_socket_keepalive, set_tcp_keepcnt, set_tcp_keepidle, set_tcp_keepintvl};
    // Without it the longer limits below still hold.
    let _set = set_socket_keepalive(stream, true)
        .and_then(|()| set_tcp_keepidle(stream, Duration::from_secs(60)))
        .and_then(|()| set_tcp_keepintvl(stream, Duration::from_secs(15)))
        .and_then(|()| set_tcp_keepcnt(stream, 4));
}

async fn both(meter: &Meter, client: &TcpStream, server: &TcpStream, progress: &Progress) -> Result<(), Reason> {
    let up = pump(meter, client, server, Direction::Up, progress);
    let down = pump(meter, server, client, Direction::Down, progress);
    match tokio::try_join!(up, down) {
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

async fn pump(
    meter: &Meter,
    from: &TcpStream,
    to: &TcpStream,
    direction: Direction,
    progress: &Progress,
) -> Result<(), Stop> {
    let count = match direction {
        Direction::Up => &progress.up,
        Direction::Down => &progress.down,
    };
    loop {
        from.readable().await?;
        let mut left = match pass_on(meter, from, to, direction)? {
            Passed::Nothing => continue,
            Passed::End => break,
            Passed::Bytes(bytes, left) => {
                count.fetch_add(bytes, Relaxed);
                progress.note();
                left
            }
        };
        while !left.is_empty() {
            to.writable().await?;
            match to.try_write(&left) {
                Ok(written) => {
                    left.drain(..written);
                    progress.note();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    progress.note();
    progress.is_half_closed.store(true, Relaxed);
    rustix::net::shutdown(to, rustix::net::Shutdown::Write).map_err(io::Error::from)?;
    Ok(())
}

enum Passed {
    Nothing,
    End,
    /// So many bytes were read, and these could not be written at once.
    Bytes(u64, Vec<u8>),
}

/// Reads what is there and writes what fits. The buffer lives only here: an idle tunnel holds no memory.
fn pass_on(meter: &Meter, from: &TcpStream, to: &TcpStream, direction: Direction) -> Result<Passed, Stop> {
    let mut piece = [0; PIECE];
    let count = match from.try_read(&mut piece) {
        Ok(0) => return Ok(Passed::End),
        Ok(count) => count,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Passed::Nothing),
        Err(error) => return Err(error.into()),
    };
    meter.add(direction, count as u64).map_err(Stop::Budget)?;
    let bytes = piece.get(..count).unwrap_or_default();
    let left = match to.try_write(bytes) {
        Ok(written) => bytes.get(written..).unwrap_or_default().to_vec(),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => bytes.to_vec(),
        Err(error) => return Err(error.into()),
    };
    Ok(Passed::Bytes(count as u64, left))
}
