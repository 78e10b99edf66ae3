//! The end of a segment: the entry that the next one follows, and what stands behind it that is none.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use crate::Head;
use crate::chain::{END_MAX, end, hex};

/// What stands at the end of a segment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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
    fn read((bytes, hash): (u64, Sha256)) -> Option<Rest> {
        (bytes > 0).then(|| Rest { bytes, sha256: hex(&hash.finalize()) })
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

    /// Goes through the whole file, in bounded memory: rare, since each such end is told of in an entry that is an
    /// ordinary end again. Whatever is in the way, a cut is made where a line ends and nowhere else.
    fn search(file: &OwnedFd, size: u64) -> rustix::io::Result<Tail> {
        let mut search = Search::default();
        let mut block = vec![0; 64 << 10];
        let mut at = 0;
        while at < size {
            let length = block.len().min(usize::try_from(size - at).unwrap_or(block.len()));
            let block = block.get_mut(..length).unwrap_or_default();
            read_at(file, block, at)?;
            search.take(block);
            at += length as u64;
        }
        Ok(search.finish())
    }
}

/// What is known of a file while it is gone through.
#[derive(Default)]
struct Search {
    tail: Tail,
    at: u64,
    /// The last bytes of the line that is read.
    line: Vec<u8>,
    /// Everything since the last entry; as far as whole lines go; and what came after the last newline.
    since: (u64, Sha256),
    foreign: (u64, Sha256),
    torn: (u64, Sha256),
}

impl Search {
    fn take(&mut self, block: &[u8]) {
        for part in block.split_inclusive(|byte| *byte == b'\n') {
            self.at += part.len() as u64;
            for (bytes, hash) in [&mut self.since, &mut self.torn] {
                *bytes += part.len() as u64;
                hash.update(part);
            }
            self.line.extend_from_slice(part.get(part.len().saturating_sub(END_MAX)..).unwrap_or_default());
            self.line.drain(..self.line.len().saturating_sub(END_MAX));
            if part.ends_with(b"\n") {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        self.tail.whole = self.at;
        if let Some(end) = self.line.strip_suffix(b"\n").and_then(end) {
            self.tail.head = Some(end.head());
            self.since = Default::default();
        }
        self.foreign = self.since.clone();
        self.line.clear();
        self.torn = Default::default();
    }

    fn finish(mut self) -> Tail {
        self.tail.foreign = Rest::read(self.foreign);
        self.tail.torn = Rest::read(self.torn);
        self.tail
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

    fn rest(text: &[u8]) -> Option<Rest> {
        Rest::read((text.len() as u64, Sha256::new_with_prefix(text)))
    }

    /// The same in blocks of every size.
    fn tail(text: &[u8]) -> Tail {
        let all = [1, 7, 256, 4096, usize::MAX].map(|size| {
            let mut search = Search::default();
            text.chunks(size.min(text.len().max(1))).for_each(|block| search.take(block));
            search.finish()
        });
        let [first, ..] = all.clone();
        assert!(all.iter().all(|tail| *tail == first));
        first
    }

    #[test]
    fn what_is_not_of_the_chain_is_told_apart() {
        let (mut text, head) = lines(3);
        let whole = text.len() as u64;
        assert_eq!(tail(&text), Tail { head: Some(head.clone()), whole, ..Tail::default() });
        text.extend_from_slice(b"foreign\nlines\nand a to");
        let found = tail(&text);
        assert_eq!((found.head, found.foreign, found.torn), (Some(head), rest(b"foreign\nlines\n"), rest(b"and a to")));
        assert_eq!(found.whole, text.len() as u64 - 8);
        let legacy = tail(b"{\"v\":1}\n");
        assert_eq!((legacy.head, legacy.foreign, legacy.torn), (None, rest(b"{\"v\":1}\n"), None));
    }

    #[test]
    fn a_cut_is_made_where_a_line_ends_however_long_the_rest_is() {
        let (mut text, head) = lines(2);
        let whole = text.len() as u64;
        text.extend(vec![b'x'; 300_000]);
        let found = tail(&text);
        assert_eq!((found.head, found.whole, found.torn.unwrap().bytes), (Some(head), whole, 300_000));
        assert_eq!(tail(&vec![b'x'; 300_000]).whole, 0);
    }
}
