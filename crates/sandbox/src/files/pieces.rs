//! Frames: read with a bound on each, so that the other side cannot make this one hold much, and written whole.

use std::io::{self, Read, Write};

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Request,
    Piece,
    End,
    Reply,
}

const KINDS: [(u8, Kind); 4] = [(b'Q', Kind::Request), (b'D', Kind::Piece), (b'E', Kind::End), (b'R', Kind::Reply)];

/// The longest payload: of a request, of a piece.
pub(super) const LONGEST: usize = 256 * 1024;

/// Both directions, and the payload of the frame that was read last.
pub(super) struct Frames<R, W> {
    from: R,
    to: W,
    payload: Vec<u8>,
    /// Whether pieces of the request are still to be read.
    in_body: bool,
}

impl<R: Read, W: Write> Frames<R, W> {
    pub(super) fn new(from: R, to: W) -> Frames<R, W> {
        Frames { from, to, payload: Vec::new(), in_body: false }
    }

    /// Reads one frame. `Ok(None)`: the end, between two frames.
    pub(super) fn next(&mut self) -> io::Result<Option<Kind>> {
        let mut head = [0; 5];
        if self.from.read(&mut head[..1])? == 0 {
            return Ok(None);
        }
        self.from.read_exact(&mut head[1..])?;
        let [byte, length @ ..] = head;
        let kind = KINDS.iter().find(|(b, _)| *b == byte).map(|(_, kind)| *kind);
        let kind = kind.ok_or_else(|| io::Error::other("an unknown frame"))?;
        let length = u32::from_le_bytes(length) as usize;
        if length > LONGEST {
            return Err(io::Error::other("a frame is too long"));
        }
        self.payload.resize(length, 0);
        self.from.read_exact(&mut self.payload)?;
        Ok(Some(kind))
    }

    pub(super) fn payload(&self) -> &[u8] {
        &self.payload
    }

    pub(super) fn expect_body(&mut self, has_body: bool) {
        self.in_body = has_body;
    }

    /// The next piece of the request's body.
    pub(super) fn piece(&mut self) -> io::Result<Option<&[u8]>> {
        if !self.in_body {
            return Ok(None);
        }
        match self.next()? {
            Some(Kind::Piece) => Ok(Some(&self.payload)),
            Some(Kind::End) => {
                self.in_body = false;
                Ok(None)
            }
            // What was written so far is half of a file.
            _ => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the body ended before its end")),
        }
    }

    /// Reads what is left of a body that failed, so that the next frame is a request again.
    pub(super) fn skip_body(&mut self) -> io::Result<()> {
        while self.piece()?.is_some() {}
        Ok(())
    }

    pub(super) fn send(&mut self, kind: Kind, payload: &[u8]) -> io::Result<()> {
        let byte = KINDS.iter().find(|(_, k)| *k == kind).map_or(b'R', |(byte, _)| *byte);
        let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
        // One write where it fits a pipe: the reader wakes once.
        let mut frame = Vec::with_capacity(payload.len() + 5);
        frame.push(byte);
        frame.extend_from_slice(&length.to_le_bytes());
        frame.extend_from_slice(payload);
        self.to.write_all(&frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(bytes: &[u8]) -> Frames<&[u8], Vec<u8>> {
        Frames::new(bytes, Vec::new())
    }

    #[test]
    fn a_frame_sent_is_the_frame_read() {
        let mut out = frames(b"");
        out.send(Kind::Piece, b"abc").unwrap();
        let sent = out.to.clone();
        let mut back = frames(&sent);
        assert_eq!(back.next().unwrap(), Some(Kind::Piece));
        assert_eq!(back.payload(), b"abc");
        assert_eq!(back.next().unwrap(), None);
    }

    #[test]
    fn what_is_no_frame_is_an_error() {
        for bad in [&b"X\0\0\0\0"[..], b"Q", b"Q\x01\0\0\0", b"Q\xff\xff\xff\xff", b"Q\x01\0\x04\0"] {
            assert!(frames(bad).next().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_body_that_breaks_off_is_an_error_and_one_that_ends_is_not() {
        let mut whole = frames(b"D\x01\0\0\0aE\0\0\0\0");
        whole.expect_body(true);
        assert_eq!(whole.piece().unwrap(), Some(&b"a"[..]));
        assert_eq!(whole.piece().unwrap(), None);
        let mut broken = frames(b"D\x01\0\0\0a");
        broken.expect_body(true);
        assert_eq!(broken.piece().unwrap(), Some(&b"a"[..]));
        assert!(broken.piece().is_err());
    }
}
