//! The hash chain: how an entry becomes a line, and what a line says of the one before. Pure.
//!
//! ```text
//! {"v":1, ... ,"chain":{"seq":7,"prev":"<hash of line 6>","hash":"<SHA-256 of this line up to here>"}}
//! ```
//!
//! A line's hash covers the hash before it, so that an edit, a dropped, swapped or doubled line shows at the next one, and
//! an edit of the last line at itself. Everything behind the hash is fixed to the byte.

use sha2::{Digest as _, Sha256};

use crate::{Entry, Head, Kind, Upkeep};

/// What the first entry follows.
pub(crate) const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// How long a hash is in hex.
const HEX: usize = 64;

/// Whether an entry at this place is a checkpoint: so many, and where, is known to whoever verifies.
pub(crate) const fn is_checkpoint_due(seq: u64) -> bool {
    seq % 256 == 255
}

/// Appends the entry to `out` as the line behind `head`, and makes `head` that line.
///
/// # Errors
/// When the entry cannot be put into JSON.
pub(crate) fn push(out: &mut Vec<u8>, entry: &Entry, head: &mut Option<Head>) -> Result<(), serde_json::Error> {
    let start = out.len();
    if entry.chain.is_some() {
        serde_json::to_writer(&mut *out, &Entry { chain: None, ..entry.clone() })?;
    } else {
        serde_json::to_writer(&mut *out, entry)?;
    }
    // The closing brace of the object, which the chain goes in front of.
    out.pop();
    let (seq, prev) = head.as_ref().map_or((0, GENESIS), |head| (head.seq.saturating_add(1), head.hash.as_str()));
    out.extend_from_slice(format!(",\"chain\":{{\"seq\":{seq},\"prev\":\"{prev}\"").as_bytes());
    let hash = hex(&Sha256::digest(out.get(start..).unwrap_or_default()));
    out.extend_from_slice(format!(",\"hash\":\"{hash}\"}}}}\n").as_bytes());
    *head = Some(Head { seq, hash });
    Ok(())
}

/// What a line says at its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct End<'l> {
    pub(crate) seq: u64,
    pub(crate) prev: &'l str,
    pub(crate) hash: &'l str,
    /// How much of the line the hash covers.
    pub(crate) covered: usize,
}

impl End<'_> {
    pub(crate) fn head(&self) -> Head {
        Head { seq: self.seq, hash: self.hash.to_owned() }
    }
}

/// The longest end of a line: all of it must be read to go on behind it.
pub(crate) const END_MAX: usize = 256;

/// Reads the end of a line (without its newline, and perhaps without its beginning).
pub(crate) fn end(line: &[u8]) -> Option<End<'_>> {
    let rest = line.strip_suffix(b"\"}}")?;
    let (rest, hash) = take_hex(rest)?;
    let rest = rest.strip_suffix(b",\"hash\":\"")?;
    let covered = rest.len();
    let rest = rest.strip_suffix(b"\"")?;
    let (rest, prev) = take_hex(rest)?;
    let rest = rest.strip_suffix(b",\"prev\":\"")?;
    let digits = rest.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let (rest, number) = rest.split_at_checked(rest.len().checked_sub(digits)?)?;
    rest.strip_suffix(b",\"chain\":{\"seq\":")?;
    let seq: u64 = std::str::from_utf8(number).ok()?.parse().ok()?;
    Some(End { seq, prev, hash, covered })
}

fn take_hex(text: &[u8]) -> Option<(&[u8], &str)> {
    let (rest, hex) = text.split_at_checked(text.len().checked_sub(HEX)?)?;
    let is_hex = hex.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_hex.then_some(())?;
    Some((rest, std::str::from_utf8(hex).ok()?))
}

/// Whether a line's hash is that of what it covers.
pub(crate) fn is_whole(line: &[u8], end: &End<'_>) -> bool {
    line.get(..end.covered).is_some_and(|covered| hex(&Sha256::digest(covered)) == end.hash)
}

/// An entry that the ledger writes of itself.
pub(crate) fn upkeep(time: String, upkeep: Upkeep) -> Entry {
    Entry { v: 1, time, agent: "-".into(), policy: "-".into(), kind: Kind::Ledger(upkeep), chain: None }
}

/// Bytes in lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(*DIGITS.get(usize::from(nibble)).unwrap_or(&b'?'));
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Bytes of hex; nothing where it is no hex of that length.
pub(crate) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let &[high, low] = pair else { return None };
        *byte = value(high)? << 4 | value(low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(head: &mut Option<Head>) -> Vec<u8> {
        let mut out = Vec::new();
        push(&mut out, &upkeep("t".into(), Upkeep::default()), head).unwrap();
        out
    }

    #[test]
    fn a_line_says_where_it_stands() {
        let mut head = None;
        let first = line(&mut head);
        let second = line(&mut head);
        let first = end(first.strip_suffix(b"\n").unwrap()).unwrap();
        assert_eq!((first.seq, first.prev), (0, GENESIS));
        let text = second.strip_suffix(b"\n").unwrap();
        let second = end(text).unwrap();
        assert_eq!((second.seq, second.prev), (1, first.hash));
        assert!(is_whole(text, &second));
        assert_eq!(head, Some(second.head()));
        let entry: Entry = serde_json::from_slice(text).unwrap();
        assert_eq!(entry.chain.unwrap().hash, second.hash);
    }

    #[test]
    fn the_end_is_found_in_the_last_bytes_of_the_longest() {
        let mut head = Some(Head { seq: u64::MAX - 1, hash: GENESIS.into() });
        let text = line(&mut head);
        assert!(end(&text[text.len() - END_MAX..text.len() - 1]).is_some());
    }

    #[test]
    fn every_edited_byte_of_a_line_shows() {
        let mut head = None;
        line(&mut head);
        let whole = line(&mut head);
        let before = GENESIS.len();
        for at in 0..whole.len() - 1 {
            for bit in 0..8 {
                let mut text = whole.clone();
                text[at] ^= 1 << bit;
                let text = &text[..text.len() - 1];
                assert!(end(text).is_none_or(|end| !is_whole(text, &end)), "byte {at} of {before}, bit {bit}");
            }
        }
    }

    #[test]
    fn hex_goes_both_ways() {
        assert_eq!(unhex(&hex(&[0, 1, 0xab, 0xff])), Some([0, 1, 0xab, 0xff]));
        assert_eq!(unhex::<1>("0g"), None);
        assert_eq!(unhex::<1>("000"), None);
    }
}
