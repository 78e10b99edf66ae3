//! The files of a ledger: the one that is written, and those that were rotated away.
//!
//! `ledger.jsonl` is written; `ledger-00000000000000012345.jsonl` ends with entry 12345, and becomes `.jsonl.gz` later.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::Head;
use crate::chain::end;
use crate::place::FILE_NAME;

/// A file of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) path: PathBuf,
    /// The entry that it ends with; none for the one that is written.
    pub(crate) last: Option<u64>,
    pub(crate) is_compressed: bool,
}

/// The name of the segment that ends with an entry.
pub(crate) fn name(last: u64) -> String {
    format!("ledger-{last:020}.jsonl")
}

/// What a compressed segment has behind its name.
pub(crate) const COMPRESSED: &str = ".gz";

/// The path of a segment once it is compressed.
pub(crate) fn compressed(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(COMPRESSED);
    name.into()
}

fn parse(name: &str) -> Option<(u64, bool)> {
    let (plain, is_compressed) = match name.strip_suffix(COMPRESSED) {
        Some(plain) => (plain, true),
        None => (name, false),
    };
    let digits = plain.strip_prefix("ledger-")?.strip_suffix(".jsonl")?;
    let is_number = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok().map(|last| (last, is_compressed)))?
}

/// The rotated segments of a ledger, oldest first.
///
/// A segment that is there in both forms was compressed by somebody who was killed before the other was removed: under its
/// name the compressed one is whole.
pub(crate) fn rotated(dir: &Path) -> std::io::Result<Vec<Segment>> {
    let mut found = Vec::new();
    for item in std::fs::read_dir(dir)? {
        let item = item?;
        if let Some((last, is_compressed)) = item.file_name().to_str().and_then(parse) {
            found.push(Segment { path: item.path(), last: Some(last), is_compressed });
        }
    }
    found.sort_by_key(|segment| (segment.last, !segment.is_compressed));
    found.dedup_by_key(|segment| segment.last);
    Ok(found)
}

/// All segments of a ledger, oldest first, the one that is written last.
pub(crate) fn all(dir: &Path) -> std::io::Result<Vec<Segment>> {
    let mut found = rotated(dir)?;
    found.push(Segment { path: dir.join(FILE_NAME), last: None, is_compressed: false });
    Ok(found)
}

impl Segment {
    /// Opens the segment's text.
    pub(crate) fn open(&self) -> std::io::Result<Box<dyn Read>> {
        Ok(text(open(&self.path)?, &self.path))
    }
}

/// The text of a segment's file, by its name.
pub(crate) fn text(file: File, path: &Path) -> Box<dyn Read> {
    match path.extension() {
        Some(end) if end == "gz" => Box::new(flate2::read::MultiGzDecoder::new(BufReader::new(file))),
        _ => Box::new(file),
    }
}

/// The last entry of the chain in a segment; none where nothing in it is of the chain.
pub(crate) fn last_entry(segment: &Segment) -> std::io::Result<Option<Head>> {
    let mut lines = BufReader::new(segment.open()?);
    let (mut line, mut last) = (Vec::new(), None);
    while lines.read_until(b'\n', &mut line)? > 0 {
        last = line.strip_suffix(b"\n").and_then(end).map(|end| end.head()).or(last);
        line.clear();
    }
    Ok(last)
}

/// What the first entry of a segment follows.
pub(crate) fn followed(segment: &Segment) -> std::io::Result<Option<Head>> {
    const MOST: u64 = 1 << 20;
    let mut line = Vec::new();
    BufReader::new(segment.open()?).take(MOST).read_until(b'\n', &mut line)?;
    let first = line.strip_suffix(b"\n").and_then(end);
    Ok(first.and_then(|end| Some(Head { seq: end.seq.checked_sub(1)?, hash: end.prev.to_owned() })))
}

/// Opens a file that somebody may have planted: no link is followed, and no FIFO waited for.
pub(crate) fn open(path: &Path) -> std::io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    File::options().read(true).custom_flags(i32::from_ne_bytes(flags.bits().to_ne_bytes())).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways() {
        assert_eq!(parse(&name(12_345)), Some((12_345, false)));
        assert_eq!(parse(&format!("{}.gz", name(u64::MAX))), Some((u64::MAX, true)));
        for other in
            ["ledger.jsonl", "ledger-1.jsonl", "ledger-0000000000000000000x.jsonl", "ledger-99999999999999999999.jsonl"]
        {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
