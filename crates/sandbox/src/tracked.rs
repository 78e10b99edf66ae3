//! Denied files that git tracks: the report names what of git fails on them, since git's own words do not say why.
//!
//! The index may have been written by the jail: it is read with bounds, and nothing follows from it but a note.

use std::collections::HashSet;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::OFlags;

use crate::plan::Plan;
use crate::quarantine::open_beneath;

/// A larger index is not read: no note then.
const MOST_BYTES: u64 = 64 << 20;

/// Answers a note for each.
pub(crate) fn notes(plan: &Plan) -> Vec<String> {
    let denied: Vec<&[u8]> = plan
        .denied
        .iter()
        .filter_map(|s| Some(s.path.strip_prefix(&plan.workspace).ok()?.as_os_str().as_bytes()))
        .collect();
    if denied.is_empty() {
        return Vec::new();
    }
    let tops = plan.scan.dirs.iter().filter_map(|dir| dir.strip_suffix(b".git"));
    let mut notes = Vec::new();
    for top in tops.filter(|top| top.is_empty() || top.ends_with(b"/")) {
        let below: HashSet<&[u8]> = denied.iter().filter_map(|path| path.strip_prefix(top)).collect();
        if below.is_empty() {
            continue;
        }
        let Some(index) = read(&plan.workspace_fd, &[top, b".git/index"].concat()) else { continue };
        // The length of a hash is said in the configuration alone: of the two, one comes out even.
        let Some(found) = tracked(&index, 20, &below).or_else(|| tracked(&index, 32, &below)) else { continue };
        notes.extend(found.iter().map(|path| note(top, path)));
    }
    notes
}

fn note(top: &[u8], path: &[u8]) -> String {
    let shown = mantlet_ledger::escape(&[top, path].concat());
    let in_its_repository = crate::text::shell_word(std::path::Path::new(std::ffi::OsStr::from_bytes(path)));
    format!(
        "{shown} is denied and tracked by git: git takes it for changed; `add -A`, `commit -a`, `diff`, `stash` and a \
         checkout that changes it fail; `git update-index --skip-worktree {}` has git leave it alone",
        mantlet_ledger::escape(in_its_repository.as_bytes())
    )
}

fn read(workspace: &OwnedFd, path: &[u8]) -> Option<Vec<u8>> {
    let fd = open_beneath(workspace, path, OFlags::RDONLY).ok()?;
    let size =
        rustix::fs::fstat(&fd).ok().filter(|s| rustix::fs::FileType::from_raw_mode(s.st_mode).is_file())?.st_size;
    if u64::try_from(size).ok()? > MOST_BYTES {
        return None;
    }
    let mut bytes = Vec::new();
    std::fs::File::from(fd).take(MOST_BYTES).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Answers which of the paths the index has and git compares with the tree (gitformat-index(5)). Nothing if damaged.
fn tracked(index: &[u8], hash: usize, wanted: &HashSet<&[u8]>) -> Option<Vec<Vec<u8>>> {
    let word = |at: usize| Some(u32::from_be_bytes(index.get(at..at + 4)?.try_into().ok()?));
    let half = |at: usize| Some(u16::from_be_bytes(index.get(at..at + 2)?.try_into().ok()?));
    let (version, count) = (word(4)?, word(8)?);
    if !index.starts_with(b"DIRC") || !(2..=4).contains(&version) {
        return None;
    }
    let (mut at, mut path, mut found) = (12, Vec::new(), Vec::new());
    for _ in 0..count {
        let begin = at;
        at += 40 + hash;
        let flags = half(at)?;
        at += 2;
        let mut is_left_alone = flags & 0x8000 != 0;
        if flags & 0x4000 != 0 {
            // Skip-worktree.
            is_left_alone |= half(at)? & 0x4000 != 0;
            at += 2;
        }
        if version == 4 {
            let (cut, rest) = varint(index, at)?;
            path.truncate(path.len().checked_sub(cut)?);
            at = rest;
        } else {
            path.clear();
        }
        let len = index.get(at..)?.iter().position(|b| *b == 0)?;
        path.extend_from_slice(&index[at..at + len]);
        // Up to version 3 an entry ends with one to eight NULs, at a multiple of eight.
        at = if version == 4 { at + len + 1 } else { begin + (at + len - begin + 8) / 8 * 8 };
        if path.is_empty() || at > index.len() {
            return None;
        }
        if !is_left_alone && wanted.contains(path.as_slice()) && found.last() != Some(&path) {
            found.push(path.clone());
        }
    }
    Some(found)
}

/// A number in the variable-length form of version 4, and where it ends.
fn varint(index: &[u8], mut at: usize) -> Option<(usize, usize)> {
    let mut byte = *index.get(at)?;
    let mut value = usize::from(byte & 0x7f);
    while byte & 0x80 != 0 {
        at += 1;
        byte = *index.get(at)?;
        value = value.checked_add(1)?.checked_mul(128)? | usize::from(byte & 0x7f);
    }
    Some((value, at + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_index_says_nothing() {
        let wanted = HashSet::from([&b"a"[..]]);
        let mut index = b"DIRC\0\0\0\x02\0\0\0\x01".to_vec();
        index.extend([0; 60]);
        index.extend(*b"\0\x01a\0\0\0\0\0\0\0");
        assert_eq!(tracked(&index, 20, &wanted), Some(vec![b"a".to_vec()]));
        assert_eq!(tracked(&index, 32, &wanted), None);
        for len in 0..76 {
            assert_eq!(tracked(&index[..len], 20, &wanted), None, "{len}");
        }
        index[7] = 4;
        index[74] = 0xff;
        assert_eq!(tracked(&index, 20, &wanted), None);
        index[7] = 9;
        assert_eq!(tracked(&index, 20, &wanted), None);
    }
}
