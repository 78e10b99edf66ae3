//! fanotify: who did it. Only for a privileged watch; what it hears is a second ear beside inotify.
//!
//! The process is looked up after its deed: one that has ended by then has only its number, and one that has executed
//! another program meanwhile shows that one.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use mantlet_ledger::{Culprit, escape};
use rustix::io::Errno;

use crate::sys;

/// Deeds that are remembered, so that the undoing can name who it was.
const DEEDS_MAX: usize = 1024;

/// The group of one watch.
#[derive(Debug)]
pub(crate) struct Fan {
    fd: OwnedFd,
    directories: HashMap<Vec<u8>, PathBuf>,
    deeds: VecDeque<(PathBuf, Culprit)>,
    buffer: Vec<u8>,
}

impl Fan {
    /// Opens a group, where the privilege suffices.
    pub(crate) fn new() -> Option<Fan> {
        let fd = sys::fanotify().ok()?;
        Some(Fan { fd, directories: HashMap::new(), deeds: VecDeque::new(), buffer: vec![0; 64 * 1024] })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Marks a directory. One that cannot be marked names no culprits; inotify hears of it all the same.
    pub(crate) fn add(&mut self, path: &Path, directory: BorrowedFd<'_>) {
        if let (Ok(handle), Ok(())) = (sys::handle_of(directory), sys::fanotify_mark(&self.fd, directory)) {
            self.directories.insert(handle, path.to_owned());
        }
    }

    /// Reads what was done, and by whom.
    pub(crate) fn read(&mut self) -> BTreeSet<PathBuf> {
        const READS_MAX: usize = 16;
        let mut paths = BTreeSet::new();
        let mut known: HashMap<i32, Culprit> = HashMap::new();
        for _ in 0..READS_MAX {
            let mut buffer = std::mem::take(&mut self.buffer);
            let read = rustix::io::read(&self.fd, &mut buffer[..]);
            if let Ok(length) = read {
                for (handle, name, pid) in events(buffer.get(..length).unwrap_or_default()) {
                    self.note(handle, name, pid, &mut known, &mut paths);
                }
            }
            self.buffer = buffer;
            match read {
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
        paths
    }

    fn note(
        &mut self,
        handle: &[u8],
        name: &[u8],
        pid: i32,
        known: &mut HashMap<i32, Culprit>,
        paths: &mut BTreeSet<PathBuf>,
    ) {
        // Our own restoring is told apart by what stands afterwards; it is only no culprit.
        if rustix::process::Pid::from_raw(pid) == Some(rustix::process::getpid()) {
            return;
        }
        let Some(directory) = self.directories.get(handle) else { return };
        let path = if name == b"." { directory.clone() } else { directory.join(std::ffi::OsStr::from_bytes(name)) };
        let culprit = known.entry(pid).or_insert_with(|| culprit(pid)).clone();
        if self.deeds.len() >= DEEDS_MAX {
            self.deeds.pop_front();
        }
        self.deeds.push_back((path.clone(), culprit));
        paths.insert(path);
    }

    /// Returns who last did something at a path, or below it.
    pub(crate) fn culprit(&self, path: &Path) -> Option<Culprit> {
        let at = self.deeds.iter().rev().find(|(p, _)| p == path);
        at.or_else(|| self.deeds.iter().rev().find(|(p, _)| p.starts_with(path))).map(|(_, who)| who.clone())
    }

    /// Forgets who did something at a path: what happens there next is another deed.
    pub(crate) fn forget(&mut self, path: &Path) {
        self.deeds.retain(|(p, _)| !p.starts_with(path));
    }
}

fn culprit(pid: i32) -> Culprit {
    let proc = PathBuf::from(format!("/proc/{pid}"));
    let uid = std::fs::metadata(&proc).ok().map(|meta| meta.uid());
    let exe = std::fs::read_link(proc.join("exe")).ok().map(|exe| escape(exe.as_os_str().as_bytes()));
    Culprit { pid, uid, exe, call: None }
}

/// Takes apart what the kernel wrote (`fanotify(7)`): the handle of the directory, the name in it, the process.
fn events(mut bytes: &[u8]) -> Vec<(&[u8], &[u8], i32)> {
    const METADATA: usize = 24;
    const PID_AT: usize = 20;
    const DFID_NAME: u8 = 2;
    let mut all = Vec::new();
    while let Some(length) = number(bytes, 0).filter(|n| *n >= METADATA && *n <= bytes.len()) {
        let (event, rest) = bytes.split_at(length);
        bytes = rest;
        let pid = event.get(PID_AT..METADATA).and_then(|b| b.try_into().ok()).map_or(0, i32::from_ne_bytes);
        let mut info = event.get(METADATA..).unwrap_or_default();
        while let Some(length) = info.get(2..4).and_then(|b| b.try_into().ok()).map(u16::from_ne_bytes).map(usize::from)
        {
            let Some(record) = info.get(..length).filter(|r| r.len() >= 4) else { break };
            if record.first() == Some(&DFID_NAME) {
                all.extend(named(record).map(|(handle, name)| (handle, name, pid)));
            }
            info = info.get(length..).unwrap_or_default();
        }
    }
    all
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map(|b| u32::from_ne_bytes(b) as usize)
}

/// Header, file system id, then the handle (its length, its type and its bytes), then the name.
fn named(record: &[u8]) -> Option<(&[u8], &[u8])> {
    const LENGTH_AT: usize = 12;
    const TYPE_AT: usize = 16;
    const BYTES_AT: usize = 20;
    let end = BYTES_AT.checked_add(number(record, LENGTH_AT)?)?;
    let name = record.get(end..)?.split(|b| *b == 0).next()?;
    Some((record.get(TYPE_AT..end)?, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_taken_apart() {
        let mut record = vec![2, 0, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9, 2, 0, 0, 0, 1, 0, 0, 0, 0xaa, 0xbb];
        record.extend(b"name\0\0\0");
        let length = u16::try_from(record.len()).unwrap();
        record[2..4].copy_from_slice(&length.to_ne_bytes());
        let mut event = vec![0; 24];
        event[20..24].copy_from_slice(&77_i32.to_ne_bytes());
        event.extend(&record);
        let length = u32::try_from(event.len()).unwrap();
        event[..4].copy_from_slice(&length.to_ne_bytes());
        let twice = event.repeat(2);
        let one = (&[1, 0, 0, 0, 0xaa, 0xbb][..], &b"name"[..], 77);
        assert_eq!(events(&twice), [one, one]);
        for cut in 0..event.len() {
            assert!(events(&event[..cut]).is_empty());
        }
    }
}
