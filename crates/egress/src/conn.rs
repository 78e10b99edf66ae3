//! A connection with the bytes that were read ahead of it, and the ways to end one.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use rustix::net::sockopt::{
    set_socket_keepalive, set_tcp_keepcnt, set_tcp_keepidle, set_tcp_keepintvl, set_tcp_nodelay, set_tcp_user_timeout,
};
use tokio::io::{AsyncRead, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::timeout;

/// How long a client has for its first message: whole, so that a byte now and then buys no time.
pub(crate) const FIRST: Duration = Duration::from_secs(10);
/// How long nothing may happen in the middle of a message.
pub(crate) const IDLE: Duration = Duration::from_secs(300);
/// How long a client that is refused has to read why.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long a peer may be gone before it is noticed.
const VANISHED: Duration = Duration::from_secs(120);
/// As many bytes as are read at a time.
pub(crate) const PIECE_SIZE: usize = 64 * 1024;

/// A connection, and what was read of it and not used yet.
pub(crate) struct Conn {
    pub(crate) stream: TcpStream,
    pub(crate) ahead: Vec<u8>,
}

impl Conn {
    /// A connection of a listener that is [`set_up`].
    pub(crate) fn accepted(stream: TcpStream) -> Self {
        Conn { stream, ahead: Vec::new() }
    }

    /// A connection that we opened.
    pub(crate) fn dialled(stream: TcpStream) -> Self {
        // A server that acknowledges nothing for so long is gone, with and without bytes on their way to it. Not for
        // clients: one that is stopped (Ctrl-Z) and does not read is in this machine, and only waits.
        let vanished = VANISHED.as_millis().try_into().unwrap_or(u32::MAX);
        let _set = prompt(&stream).and_then(|()| set_tcp_user_timeout(&stream, vanished));
        Conn { stream, ahead: Vec::new() }
    }

    /// Reads more; the number of bytes, 0 at the end.
    pub(crate) async fn fill(&mut self) -> io::Result<usize> {
        read_some(&mut self.stream, &mut self.ahead).await
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
        timed(read_some(&mut self.read, self.ahead)).await
    }
}

/// Sets options of a listener, which its connections inherit (tcp(7)).
pub(crate) fn set_up(listener: &impl AsFd) {
    // Without these the longer limits still hold.
    let _set = prompt(listener)
        .and_then(|()| set_tcp_keepintvl(listener, VANISHED / 8))
        .and_then(|()| set_tcp_keepcnt(listener, 4));
}

/// Small messages in both directions: waiting to fill packets would only delay them. And the kernel looks whether a peer
/// that is silent has vanished without a word.
fn prompt(socket: &impl AsFd) -> rustix::io::Result<()> {
    set_tcp_nodelay(socket, true)?;
    set_socket_keepalive(socket, true)?;
    set_tcp_keepidle(socket, VANISHED / 2)
}

thread_local! {
    /// Where bytes are between a read and what takes them. One for all: nothing waits while it is in use, so that a
    /// thousand idle connections hold no memory.
    static PIECE: RefCell<Vec<u8>> = RefCell::new(vec![0; PIECE_SIZE]);
}

/// Reads what is there, at most [`PIECE_SIZE`] bytes, and hands it over at once. Nothing is the end.
pub(crate) async fn read_with<T>(
    from: &mut (impl AsyncRead + Unpin),
    mut with: impl FnMut(&[u8]) -> T,
) -> io::Result<T> {
    poll_fn(|context| {
        PIECE.with_borrow_mut(|piece| {
            let mut buffer = ReadBuf::new(piece);
            ready!(Pin::new(&mut *from).poll_read(context, &mut buffer))?;
            Poll::Ready(Ok(with(buffer.filled())))
        })
    })
    .await
}

async fn read_some(from: &mut (impl AsyncRead + Unpin), into: &mut Vec<u8>) -> io::Result<usize> {
    let append = |bytes: &[u8]| {
        into.extend_from_slice(bytes);
        bytes.len()
    };
    read_with(from, append).await
}

/// Gives up when nothing happens for a long time.
pub(crate) async fn timed<T>(what: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(IDLE, what).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}
