//! A connection with the bytes that were read ahead of it, and the ways to end one.

use std::io;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::timeout;

/// How long a client has for its first message: whole, so that a byte now and then buys no time.
pub(crate) const FIRST: Duration = Duration::from_secs(10);
/// How long nothing may happen in the middle of a message.
pub(crate) const IDLE: Duration = Duration::from_secs(300);
/// How long a client that is refused has to read why.
const FAREWELL: Duration = Duration::from_secs(2);
const PIECE: usize = 16 * 1024;

/// A connection, and what was read of it and not used yet.
pub(crate) struct Conn {
    pub(crate) stream: TcpStream,
    pub(crate) ahead: Vec<u8>,
}

impl Conn {
    pub(crate) fn new(stream: TcpStream) -> Self {
        // Small messages in both directions; waiting to fill packets would only delay them.
        drop(stream.set_nodelay(true));
        Conn { stream, ahead: Vec::new() }
    }

    /// Reads more; the number of bytes, 0 at the end.
    pub(crate) async fn fill(&mut self) -> io::Result<usize> {
        read_some(&self.stream, &mut self.ahead).await
    }

    /// Takes bytes that were used off the front.
    pub(crate) fn used(&mut self, count: usize) {
        self.ahead.drain(..count.min(self.ahead.len()));
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        timed(self.stream.write_all(bytes)).await
    }

    /// Both directions at once, with what was read ahead.
    pub(crate) fn split(&mut self) -> (Source<'_>, WriteHalf<'_>) {
        let (read, write) = self.stream.split();
        (Source { read, ahead: &mut self.ahead }, write)
    }

    /// Sends a last message and closes so that the client can read it: with unread bytes the kernel would send a reset,
    /// which throws the message away.
    pub(crate) async fn farewell(mut self, message: &[u8]) {
        let mut last = async || -> io::Result<()> {
            self.stream.write_all(message).await?;
            self.stream.shutdown().await?;
            let mut dropped = 0;
            while dropped < 1 << 20 {
                self.ahead.clear();
                match self.fill().await? {
                    0 => break,
                    count => dropped += count,
                }
            }
            Ok(())
        };
        // The client may be gone; there is nobody else to tell.
        drop(timeout(FAREWELL, last()).await);
    }

    /// Closes with a reset, as a port that nobody listens on.
    pub(crate) fn reset(self) {
        // Without the option the client sees an ordinary end.
        let _lingers = rustix::net::sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO));
    }
}

/// The reading half of a connection with the bytes read ahead.
pub(crate) struct Source<'c> {
    read: ReadHalf<'c>,
    pub(crate) ahead: &'c mut Vec<u8>,
}

impl Source<'_> {
    pub(crate) async fn fill(&mut self) -> io::Result<usize> {
        timed(read_some(self.read.as_ref(), self.ahead)).await
    }
}

/// Reads what is there. No buffer is held while nothing comes: a thousand idle connections cost no memory.
async fn read_some(stream: &TcpStream, into: &mut Vec<u8>) -> io::Result<usize> {
    loop {
        stream.readable().await?;
        let mut piece = [0; PIECE];
        match stream.try_read(&mut piece) {
            Ok(count) => {
                into.extend_from_slice(piece.get(..count).unwrap_or_default());
                return Ok(count);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Gives up when nothing happens for a long time.
pub(crate) async fn timed<T>(what: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(IDLE, what).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}
