//! The chunked coding, read strictly. Pure: it says which bytes are body, and keeps none.
//!
//! The attack: a chunk size that two parsers read differently, an extension or trailer that smuggles a field.

/// What is wrong with a chunked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the chunks of the body are malformed")]
pub struct ChunkError;

/// Where in the coding the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// In a size, with so many digits read.
    Size(u8),
    /// In an extension, which is dropped, after so many bytes.
    Extension(u16),
    /// Before the LF that ends a size.
    SizeEnd,
    /// In data.
    Data,
    /// Before the CR behind data.
    DataCr,
    /// Before the LF behind data.
    DataLf,
    /// At the beginning of a trailer, or of the last line.
    Trailer,
    /// Before the last LF.
    LastLf,
    /// In a trailer, which is dropped, after so many bytes.
    TrailerLine(u16),
    /// Behind everything.
    Done,
}

/// Who sends: a client gets nothing forgiven, a server's extensions and trailers are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// The jail.
    Client,
    /// The server.
    Server,
}

/// A decoder of one body.
#[derive(Debug, Clone)]
pub struct Chunks {
    at: At,
    left: u64,
    trailers: u16,
    from: From,
}

/// A step of a decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// So many bytes belong to the coding.
    Skip(usize),
    /// So many bytes are body.
    Data(usize),
    /// The body has ended.
    End,
}

/// As many bytes of extensions, or of trailers, as are dropped.
const MOST_DROPPED: u16 = 4096;

impl Chunks {
    /// Starts a body.
    pub fn new(from: From) -> Self {
        Chunks { at: At::Size(0), left: 0, trailers: 0, from }
    }

    /// Says what the next bytes are. With no bytes it only says whether the body has ended.
    ///
    /// # Errors
    /// They are no chunked body.
    pub fn step(&mut self, bytes: &[u8]) -> Result<Step, ChunkError> {
        if self.at == At::Done {
            return Ok(Step::End);
        }
        if self.at == At::Data {
            let here = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
            self.left -= here as u64;
            if self.left == 0 {
                self.at = At::DataCr;
            }
            return Ok(if here == 0 { Step::Skip(0) } else { Step::Data(here) });
        }
        for (count, byte) in bytes.iter().enumerate() {
            self.at = self.next(*byte)?;
            if matches!(self.at, At::Data | At::Done) {
                return Ok(Step::Skip(count + 1));
            }
        }
        Ok(Step::Skip(bytes.len()))
    }

    fn next(&mut self, byte: u8) -> Result<At, ChunkError> {
        let is_server = self.from == From::Server;
        Ok(match (self.at, byte) {
            (At::Size(digits), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') if digits < 12 => {
                let digit = char::from(byte).to_digit(16).ok_or(ChunkError)?;
                self.left = self.left << 4 | u64::from(digit);
                At::Size(digits + 1)
            }
            (At::Size(1..), b'\r') => At::SizeEnd,
            (At::Size(1..), b';' | b' ' | b'\t') if is_server => At::Extension(0),
            (At::Extension(_), b'\r') => At::SizeEnd,
            (At::Extension(count), b' '..=b'~' | b'\t') if count < MOST_DROPPED => At::Extension(count + 1),
            (At::SizeEnd, b'\n') if self.left == 0 => At::Trailer,
            (At::SizeEnd, b'\n') => At::Data,
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Size(0),
            (At::Trailer, b'\r') => At::LastLf,
            (At::Trailer, b'!'..=b'~') if is_server => At::TrailerLine(1),
            (At::TrailerLine(_), b'\n') => At::Trailer,
            (At::TrailerLine(count), b' '..=b'~' | b'\t' | b'\r') if self.trailers < MOST_DROPPED => {
                self.trailers += 1;
                At::TrailerLine(count)
            }
            (At::LastLf, b'\n') => At::Done,
            _ => return Err(ChunkError),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Dice;

    /// Reads a body in pieces; what is left over follows behind.
    fn read(bytes: &[u8], piece: usize, from: From) -> Result<(Vec<u8>, Option<usize>), ChunkError> {
        let (mut chunks, mut body, mut at) = (Chunks::new(from), Vec::new(), 0);
        loop {
            let end = (at + piece).min(bytes.len());
            match chunks.step(&bytes[at..end])? {
                Step::End => return Ok((body, Some(at))),
                Step::Skip(count) => at += count,
                Step::Data(count) => {
                    body.extend_from_slice(&bytes[at..at + count]);
                    at += count;
                }
            }
            if at == bytes.len() && chunks.step(&[])? != Step::End {
                return Ok((body, None));
            }
        }
    }

    #[test]
    fn a_body_is_the_same_in_pieces_of_any_size() {
        let bytes = b"5\r\nhello\r\nA\r\n0123456789\r\n0\r\n\r\nGET /";
        for piece in 1..bytes.len() {
            assert_eq!(
                read(bytes, piece, From::Client),
                Ok((b"hello0123456789".to_vec(), Some(bytes.len() - 5))),
                "{piece}"
            );
        }
        assert_eq!(read(b"5\r\nhel", 3, From::Client), Ok((b"hel".to_vec(), None)));
    }

    #[test]
    fn what_two_parsers_would_read_differently_is_refused() {
        for bytes in [
            &b"\r\n"[..],
            b"5\nhello\n0\n\n",
            b"0x5\r\nhello",
            b"+5\r\nhello",
            b" 5\r\nhello",
            b"5 \r\nhello",
            b"5;x\r\nhello",
            b"5\r\nhelloX",
            b"5\r\nhello\n",
            b"5\r\nhello\r\r",
            b"fffffffffffff\r\n",
            b"g\r\n",
            b"0\r\nX: y\r\n\r\n",
            b"0\r\n\n",
            b"5\r\nhello\r\n\r\n",
        ] {
            assert!(read(bytes, 100, From::Client).is_err(), "{bytes:?}");
        }
        let server = b"5;ext=\"1\"\r\nhello\r\n0\r\nX-Trailer: y\r\n\r\n";
        assert_eq!(read(server, 4, From::Server), Ok((b"hello".to_vec(), Some(server.len()))));
        let endless = [b"1;".to_vec(), vec![b'a'; 10_000]].concat();
        assert!(read(&endless, 100, From::Server).is_err());
        let endless = [b"0\r\n".to_vec(), b"a: b\r\n".repeat(2000)].concat();
        assert!(read(&endless, 100, From::Server).is_err());
    }

    #[test]
    fn random_and_mutated_bodies_end_or_are_refused() {
        let mut dice = Dice::new(17);
        let seeds = [b"5\r\nhello\r\n0\r\n\r\n".to_vec(), b"5;a\r\nhello\r\n0\r\nx: y\r\n\r\n".to_vec()];
        for _ in 0..50_000 {
            let bytes = dice.one_of(&seeds);
            let whole = read(&bytes, bytes.len().max(1), From::Client);
            let piece = 1 + dice.below(5);
            if let Ok(whole) = &whole {
                assert_eq!(read(&bytes, piece, From::Client).as_ref(), Ok(whole));
            }
            let _read = read(&bytes, piece, From::Server);
        }
    }
}
