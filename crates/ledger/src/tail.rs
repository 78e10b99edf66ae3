//! The end of a segment: the entry that the next one follows, and what stands behind it that is none.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use crate::Head;
use crate::chain::{END_MAX, end, hex};

/// What stands at the end of a segment.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tail {
    /// The last entry of the chain; none in an empty file, or where nothing is of the chain.
    pub(crate) head: Option<Head>,
    /// Whole lines behind it that are not of the chain: what an older version wrote, or somebody else did.
    pub(crate) foreign: Option<Rest>,
    /// The line without an end behind all that, which a killed writer left.
    pub(crate) torn: Option<Rest>,
    /// Where the last whole line ends.
    pub(crate) whole: u64,
}

/// Bytes by their number and hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rest {
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

impl Rest {
    pub(crate) fn of(text: &[u8]) -> Option<Rest> {
        (!text.is_empty()).then(|| Rest { bytes: text.len() as u64, sha256: hex(&Sha256::digest(text)) })
    }
}

impl Tail {
    /// Reads the tail of a file of `size` bytes.
    pub(crate) fn read(file: &OwnedFd, size: u64) -> rustix::io::Result<Tail> {
        if size == 0 {
            return Ok(Tail::default());
        }
        let mut last = [0; END_MAX];
        let length = END_MAX.min(usize::try_from(size).unwrap_or(END_MAX));
        let last = last.get_mut(..length).unwrap_or_default();
        read_at(file, last, size - length as u64)?;
        match last.strip_suffix(b"\n").and_then(end) {
            Some(end) => Ok(Tail { head: Some(end.head()), whole: size, ..Tail::default() }),
            None => Tail::search(file, size),
        }
    }

    /// Looks further back: rare, since each such end is told of in an entry that is an ordinary end again.
    fn search(file: &OwnedFd, size: u64) -> rustix::io::Result<Tail> {
        // A segment is bounded; one that somebody blew up is not read into memory.
        const MOST: u64 = 64 << 20;
        let start = size.saturating_sub(MOST);
        let mut text = vec![0; usize::try_from(size - start).unwrap_or(0)];
        read_at(file, &mut text, start)?;
        Ok(Tail::of(&text, start))
    }

    fn of(text: &[u8], start: u64) -> Tail {
        let mut tail = Tail::default();
        let (mut chained, mut whole) = (0, 0);
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            let Some(line) = line.strip_suffix(b"\n") else { break };
            whole += line.len() + 1;
            if let Some(end) = end(line) {
                tail.head = Some(end.head());
                chained = whole;
            }
        }
        tail.foreign = text.get(chained..whole).and_then(Rest::of);
        tail.torn = text.get(whole..).and_then(Rest::of);
        tail.whole = start + whole as u64;
        tail
    }
}

fn read_at(file: impl AsFd, mut into: &mut [u8], mut at: u64) -> rustix::io::Result<()> {
    while !into.is_empty() {
        match rustix::io::pread(&file, &mut *into, at) {
            // Cut by somebody between the look and the read.
            Ok(0) => return Err(Errno::IO),
            Ok(read) => {
                into = into.get_mut(read..).unwrap_or_default();
                at += read as u64;
            }
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::{push, upkeep};

    fn lines(count: usize) -> (Vec<u8>, Head) {
        let (mut out, mut head) = (Vec::new(), None);
        for _ in 0..count {
            push(&mut out, &upkeep("t".into(), crate::Upkeep::default()), &mut head).unwrap();
        }
        (out, head.unwrap())
    }

    #[test]
    fn what_is_not_of_the_chain_is_told_apart() {
        let (mut text, head) = lines(3);
        let whole = text.len() as u64;
        let tail = Tail::of(&text, 0);
        assert_eq!(tail, Tail { head: Some(head.clone()), whole, ..Tail::default() });
        text.extend_from_slice(b"foreign\nlines\nand a to");
        let tail = Tail::of(&text, 0);
        assert_eq!(tail.head, Some(head));
        assert_eq!(tail.foreign, Rest::of(b"foreign\nlines\n"));
        assert_eq!(tail.torn, Rest::of(b"and a to"));
        assert_eq!(tail.whole, text.len() as u64 - 8);
        let legacy = Tail::of(b"{\"v\":1}\n", 0);
        assert_eq!((legacy.head, legacy.foreign, legacy.torn), (None, Rest::of(b"{\"v\":1}\n"), None));
    }
}
