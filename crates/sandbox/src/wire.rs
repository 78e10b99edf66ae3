//! Messages between client, monitor and init: one tag byte, a payload, and descriptors, over a seqpacket socket.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Tag {
    /// monitor to init: start the command; the journal's lock, and doors into control groups.
    Go = 1,
    /// monitor to init: the user namespace that maps root's files to the jail's uid.
    IdMap,
    /// client to monitor to init: deliver this signal.
    Signal,
    /// init to monitor: the jail is built; what is partial, and descriptors into it.
    Built,
    /// init to monitor: the command could not be started.
    Failed,
    /// init to monitor: the jail could not be built, or not be closed; nothing has run.
    Refused,
    /// init to monitor: the command has ended, with this code, and nothing else runs.
    Ended,
    /// monitor to client: the terminal's master.
    Terminal,
    /// monitor to client: how to ask whether output may be passed on.
    Gate,
    /// client to monitor: the output limit is passed.
    OutputLimit,
    /// client to monitor: all output is relayed; how much it was, and whether any was lost.
    OutputDone,
    /// monitor to client: the call is over; the outcome.
    Done,
    /// monitor to client: the outcome, in a memfd.
    DoneLarge,
    /// monitor to client: a whole agent's jail stands; what to say of it, and the report so far in a memfd.
    Standing,
    /// jail to supervisor: a call is asked for; how long the request is, and the three standard descriptors.
    Ask,
    /// jail to supervisor: the next part of the request.
    Part,
    /// jail to supervisor: the terminal has another size.
    Resize,
    /// supervisor to jail: the request is whole, and the call begins.
    Accepted,
    /// init to monitor, monitor to server: sockets of the way out, and the kind of each.
    Sockets,
    /// monitor to server: whom to serve, and the policy's text in a memfd.
    Begin,
    /// monitor to server: the policy's text as it is now, in a memfd.
    Reload,
    /// monitor to server: whether what is published beyond this host may be reached; why not.
    Exposed,
    /// monitor to server: the jail is dead.
    End,
    /// server to monitor: it serves; what protects it.
    Serving,
    /// server to monitor: something passed, or was refused.
    Event,
    /// server to monitor: more sockets that are not connected yet are needed, for what is published.
    More,
    /// server to monitor: it cannot serve; why.
    Unable,
    /// server to monitor: everything was told.
    Over,
}

const TAGS: [Tag; 28] = [
    Tag::Go,
    Tag::IdMap,
    Tag::Signal,
    Tag::Built,
    Tag::Failed,
    Tag::Refused,
    Tag::Ended,
    Tag::Terminal,
    Tag::Gate,
    Tag::OutputLimit,
    Tag::OutputDone,
    Tag::Done,
    Tag::DoneLarge,
    Tag::Standing,
    Tag::Ask,
    Tag::Part,
    Tag::Resize,
    Tag::Accepted,
    Tag::Sockets,
    Tag::Begin,
    Tag::Reload,
    Tag::Exposed,
    Tag::End,
    Tag::Serving,
    Tag::Event,
    Tag::More,
    Tag::Unable,
    Tag::Over,
];

/// The largest payload of one message.
pub(crate) const MAX: usize = 4 * 1024;
const MAX_FDS: usize = 6;
/// The most sockets of a way out in one message.
pub(crate) const MAX_SOCKETS: usize = 64;

/// A message received.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) tag: Tag,
    pub(crate) payload: Vec<u8>,
    pub(crate) fds: Vec<OwnedFd>,
}

/// What became of a command's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) bytes: u64,
    /// Why some of it was lost.
    pub(crate) lost: Option<String>,
}

impl Output {
    pub(crate) fn to_payload(&self) -> Vec<u8> {
        let mut payload = self.bytes.to_le_bytes().to_vec();
        payload.extend_from_slice(self.lost.as_deref().unwrap_or_default().as_bytes());
        payload
    }

    pub(crate) fn of_payload(payload: &[u8]) -> Option<Output> {
        let (bytes, lost) = payload.split_first_chunk()?;
        let lost = (!lost.is_empty()).then(|| String::from_utf8_lossy(lost).into_owned());
        Some(Output { bytes: u64::from_le_bytes(*bytes), lost })
    }
}

/// Makes a connected pair.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Sends one message.
pub(crate) fn send(socket: BorrowedFd<'_>, tag: Tag, payload: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("too many descriptors in one message"));
    }
    let parts = [IoSlice::new(std::slice::from_ref(&TAG_BYTES[tag as usize])), IoSlice::new(payload)];
    rustix::net::sendmsg(socket, &parts, &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

const TAG_BYTES: [u8; 29] =
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28];

/// Receives one message, waiting for it. `Ok(None)`: the other side is gone.
pub(crate) fn receive(socket: BorrowedFd<'_>) -> io::Result<Option<Message>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    receive_into(socket, &mut RecvAncillaryBuffer::new(&mut space))
}

/// As [`receive`], from a side that may send many sockets at once.
pub(crate) fn receive_sockets(socket: BorrowedFd<'_>) -> io::Result<Option<Message>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
    receive_into(socket, &mut RecvAncillaryBuffer::new(&mut space))
}

fn receive_into(socket: BorrowedFd<'_>, control: &mut RecvAncillaryBuffer<'_>) -> io::Result<Option<Message>> {
    let mut buffer = [0; MAX + 1];
    let got = loop {
        let mut parts = [IoSliceMut::new(&mut buffer)];
        match rustix::net::recvmsg(socket, &mut parts, control, RecvFlags::CMSG_CLOEXEC) {
            // A side that goes without having read all resets the other once; what it sent before is still there.
            Err(rustix::io::Errno::INTR | rustix::io::Errno::CONNRESET) => {}
            other => break other?,
        }
    };
    if got.bytes == 0 {
        return Ok(None);
    }
    if got.flags.contains(ReturnFlags::TRUNC) {
        return Err(io::Error::other("a message was truncated"));
    }
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(list) = message {
            fds.extend(list);
        }
    }
    let tag =
        TAGS.iter().copied().find(|t| *t as u8 == buffer[0]).ok_or_else(|| io::Error::other("unknown message"))?;
    Ok(Some(Message { tag, payload: buffer[1..got.bytes].to_vec(), fds }))
}

/// Waits for something to be heard, or the other side's end, until then.
pub(crate) fn is_readable(socket: BorrowedFd<'_>, deadline: Instant) -> bool {
    let left = deadline.saturating_duration_since(Instant::now());
    let left = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: i64::from(left.subsec_nanos()) };
    poll(&mut [PollFd::from_borrowed_fd(socket, PollFlags::IN)], Some(&left)).is_ok_and(|ready| ready > 0)
}

/// Whether the other side is gone.
pub(crate) fn is_gone(socket: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(socket, PollFlags::RDHUP)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_err() || !fds[0].revents().is_empty()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn the_last_word_of_a_side_that_did_not_read_all_is_heard() {
        let (here, there) = pair().unwrap();
        send(here.as_fd(), Tag::OutputDone, b"never read", &[]).unwrap();
        send(there.as_fd(), Tag::Done, b"the outcome", &[]).unwrap();
        drop(there);
        let heard = receive(here.as_fd()).unwrap().unwrap();
        assert_eq!((heard.tag, heard.payload.as_slice()), (Tag::Done, &b"the outcome"[..]));
        assert!(receive(here.as_fd()).unwrap().is_none());
    }
}
