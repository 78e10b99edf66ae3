//! What the owner accepts: the state of places as it is becomes the baseline, and the difference is shown.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use mantlet_ledger::escape;

use crate::error::Error;
use crate::look;
use crate::record::{Is, Record};
use crate::report::Report;
use crate::text::Sha256;
use crate::watch::{Heard, Node, Watch};

/// The largest text of which lines are shown.
const TEXT_MAX: usize = 256 * 1024;
/// How many lines of a difference are shown.
const LINES_MAX: usize = 400;

/// What stands at paths, and the beginning of what is shown of it.
type Standing = BTreeMap<PathBuf, (Record, Option<Vec<u8>>)>;

/// How one path differs from the baseline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diff {
    /// The real path.
    pub path: PathBuf,
    /// In what, by the ledger's words.
    pub what: Vec<&'static str>,
    /// The hash of the baseline's content.
    pub before: Option<String>,
    /// The hash of what is there.
    pub after: Option<String>,
    /// For texts: lines that go (`-`) and come (`+`), for the rest what differs in words; escaped.
    pub lines: Vec<String>,
}

impl Watch {
    /// Shows how places differ from the baseline, and changes nothing.
    ///
    /// # Errors
    /// When a path is not protected or cannot be looked at.
    pub fn differences(&mut self, paths: &[PathBuf]) -> Result<Vec<Diff>, Error> {
        let held = self.as_it_stands();
        let found = self.differences_now(paths);
        self.hold_again(held);
        found
    }

    fn differences_now(&self, paths: &[PathBuf]) -> Result<Vec<Diff>, Error> {
        let mut all = Vec::new();
        for path in paths {
            let path = self.protected(path)?;
            let now = self.scan(&path)?;
            all.extend(self.diff(&path, &now));
        }
        Ok(all)
    }

    /// Makes what stands at these places the baseline, signs it, and shows what has become different by that.
    ///
    /// What is accepted is what is read at this moment: a caller that has shown [`Watch::differences`] before compares
    /// both, since somebody may have been quick in between.
    ///
    /// # Errors
    /// When a path is not protected, cannot be looked at, or the baseline cannot be written. Nothing is accepted then.
    pub fn accept(&mut self, paths: &[PathBuf]) -> Result<Vec<Diff>, Error> {
        let mut all = Vec::new();
        for path in paths {
            let path = self.protected(path)?;
            self.accept_ways(&path);
            let mut old: BTreeMap<PathBuf, Record> = BTreeMap::new();
            let below: Vec<PathBuf> = self.below(&path).map(|(at, _)| at.clone()).collect();
            for at in below {
                // Our lock is no state that anybody accepted.
                self.unlock(&at)?;
                if let Some(node) = self.nodes.remove(&at) {
                    self.watches.forget(&at, node.watched.map(|(_, _, wd)| wd));
                    old.insert(at, node.record);
                }
            }
            let taken = self.take(&path);
            let now: Standing = self.below(&path).map(|(at, node)| (at.clone(), (node.record.clone(), None))).collect();
            let new = std::mem::take(&mut self.nodes);
            // The difference is told against what was; afterwards what is new counts.
            self.nodes = old.into_iter().map(|(at, record)| (at, Node::new(record))).collect();
            all.extend(self.diff(&path, &now));
            let old = std::mem::replace(&mut self.nodes, new);
            if let Err(error) = taken {
                self.nodes.retain(|at, _| !at.starts_with(&path));
                self.nodes.extend(old);
                return Err(error);
            }
            self.standing.retain(|at, _| !at.starts_with(&path));
            self.pace.forget(&path);
        }
        self.sign()?;
        Ok(all)
    }

    /// Makes this the content of a protected file, and signs it: for a change that was undone before it could be
    /// accepted, and is kept.
    ///
    /// # Errors
    /// When the path is no protected file, the content is too large to be kept, or it cannot be written.
    pub fn accept_content(&mut self, path: &Path, content: &[u8], report: &mut dyn Report) -> Result<(), Error> {
        let path = self.protected(path)?;
        self.accept_ways(&path);
        let failed = |why: &str| Error::Look { path: path.clone(), why: why.into() };
        if content.len() as u64 > self.options.copy_max {
            return Err(failed("it is larger than what is kept"));
        }
        let old = self.nodes.get(&path).map_or_else(Record::absent, |node| node.record.clone());
        if !old.is_regular() && old.is != Is::Absent {
            return Err(failed("it is no file"));
        }
        let attributes = old.attributes.clone().unwrap_or_else(|| crate::record::Attributes {
            mode: 0o600,
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            nlink: 1,
            ..Default::default()
        });
        let sha256 = self.store.put(content)?;
        let record = Record { is: Is::File { sha256, size: content.len() as u64 }, attributes: Some(attributes) };
        self.nodes.entry(path.clone()).or_insert_with(|| Node::new(Record::absent())).record = record;
        let applied = self.apply(&path).map_err(|why| failed(&why.0)).and_then(|()| self.take(&path));
        if applied.is_err()
            && let Some(node) = self.nodes.get_mut(&path)
        {
            node.record = old;
            self.check(&path, Heard::now("rescan"), report);
        }
        applied?;
        Ok(self.sign()?)
    }

    /// The real path of one that the owner names.
    fn protected(&self, path: &Path) -> Result<PathBuf, Error> {
        if self.spot_of(path).is_some() {
            return Ok(path.to_owned());
        }
        let given = self.spots.iter().find_map(|(real, spot)| {
            let rest =
                path.strip_prefix(&spot.given).ok().filter(|rest| spot.is_tree || rest.as_os_str().is_empty())?;
            Some(if rest.as_os_str().is_empty() { real.clone() } else { real.join(rest) })
        });
        given.ok_or_else(|| Error::Unknown { path: path.to_owned() })
    }

    /// What the baseline has at a path and below it.
    pub(crate) fn below(&self, path: &Path) -> impl Iterator<Item = (&PathBuf, &Node)> {
        let from = (Bound::Included(path), Bound::Unbounded);
        self.nodes.range::<Path, _>(from).take_while(move |(at, _)| at.starts_with(path))
    }

    /// Takes what stands at a path, and below it, into the baseline in memory, and watches it.
    pub(crate) fn take(&mut self, path: &Path) -> Result<(), Error> {
        let mut open = vec![path.to_owned()];
        while let Some(path) = open.pop() {
            let Some((found, record)) = self.record_at(&path)? else {
                self.nodes.insert(path, Node::new(Record::absent()));
                continue;
            };
            let is_directory = record.is == Is::Directory;
            self.nodes.insert(path.clone(), Node::new(record));
            self.settle(&path, &found, None);
            // Watched first, listed afterwards: what appears in between is heard.
            if is_directory && self.spot_of(&path).is_some_and(|(_, spot)| spot.is_tree) {
                match self.names(&path, usize::MAX, |_| true) {
                    Some(paths) => open.extend(paths),
                    // No right to read it: what appears in it is not seen, which the status says.
                    None => self.watches.miss(&path),
                }
            }
        }
        Ok(())
    }

    fn record_at(&self, path: &Path) -> Result<Option<(look::Found, Record)>, Error> {
        let failed = |e: rustix::io::Errno| Error::Look { path: path.to_owned(), why: e.to_string() };
        let dir = match self.dir_of(path) {
            Ok(dir) => dir,
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(None),
            Err(e) => return Err(failed(e)),
        };
        let Some(name) = path.file_name() else { return Ok(None) };
        let found = look::find(dir.as_fd(), name, u64::MAX).map_err(failed)?;
        if found.look.is_none() {
            return Ok(None);
        }
        let record = self.record_of(path, &found)?;
        Ok(Some((found, record)))
    }

    /// Goes through what stands at a path and below it.
    fn scan(&self, path: &Path) -> Result<Standing, Error> {
        let mut all = Standing::new();
        let mut open = vec![path.to_owned()];
        while let Some(path) = open.pop() {
            let Some((found, record)) = self.record_at(&path)? else {
                all.insert(path, (Record::absent(), None));
                continue;
            };
            if record.is == Is::Directory {
                open.extend(self.names(&path, usize::MAX, |_| true).unwrap_or_default());
            }
            let file = found.look.as_ref().and_then(|look| look.file.as_ref()).filter(|_| record.is_regular());
            let bytes = file.and_then(|file| look::read(file, TEXT_MAX as u64).ok().flatten());
            all.insert(path, (record, bytes));
        }
        Ok(all)
    }

    fn diff(&self, path: &Path, now: &Standing) -> Vec<Diff> {
        let absent = (Record::absent(), None);
        let mut paths: Vec<&PathBuf> = now.keys().collect();
        paths.extend(self.below(path).map(|(at, _)| at).filter(|at| !now.contains_key(*at)));
        paths.sort_unstable();
        let diffs = paths.into_iter().filter_map(|at| {
            let (new, bytes) = now.get(at).unwrap_or(&absent);
            let old = self.nodes.get(at).map_or(&absent.0, |node| &node.record);
            let mut what: Vec<&'static str> = old.differences(new).iter().map(|what| what.word()).collect();
            if what.is_empty() && old.sha256() != new.sha256() {
                what.push("written");
            }
            (!what.is_empty()).then(|| Diff {
                path: at.clone(),
                what,
                before: old.sha256().as_ref().map(Sha256::hex),
                after: new.sha256().as_ref().map(Sha256::hex),
                lines: self.lines(old, new, bytes.as_deref()),
            })
        });
        diffs.collect()
    }

    fn lines(&self, old: &Record, new: &Record, bytes: Option<&[u8]>) -> Vec<String> {
        let stored = |record: &Record| record.sha256().and_then(|sha256| self.store.get(sha256));
        let after = bytes.map(<[u8]>::to_vec).or_else(|| stored(new));
        let text = |bytes: Option<Vec<u8>>| match bytes {
            Some(bytes) if bytes.len() <= TEXT_MAX => String::from_utf8(bytes).ok().filter(|t| !t.contains('\0')),
            Some(_) => None,
            None => Some(String::new()),
        };
        let mut lines = Vec::new();
        if old.sha256() != new.sha256() {
            match (text(stored(old)), text(after)) {
                (Some(old), Some(new)) => lines.extend(text_lines(&old, &new)),
                _ => lines.push("the content differs, and is no text to show".to_owned()),
            }
        }
        for (sign, record) in [('-', old), ('+', new)] {
            if let Some(a) = record.attributes.as_ref().filter(|_| old.attributes != new.attributes) {
                let names: Vec<&str> = a.xattrs.iter().map(|x| x.name.as_str()).collect();
                let said = format!(
                    "{sign} mode {:04o}, owner {}:{}, names {}, flags {:?}, attributes {names:?}",
                    a.mode, a.uid, a.gid, a.nlink, a.flags
                );
                lines.push(escape(said.as_bytes()));
            }
            if let Is::Symlink { target } = &record.is {
                lines.push(format!("{sign} link to {}", escape(target.as_os_str().as_bytes())));
            }
        }
        lines
    }
}

/// The lines between what both texts begin and end with.
fn text_lines(old: &str, new: &str) -> Vec<String> {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let start = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let rest = old.len().min(new.len()) - start;
    let end = old.iter().rev().zip(new.iter().rev()).take(rest).take_while(|(a, b)| a == b).count();
    let part = |lines: &[&str], sign: char| -> Vec<String> {
        let middle = lines.get(start..lines.len() - end).unwrap_or_default();
        let mut said: Vec<String> =
            middle.iter().take(LINES_MAX).map(|line| format!("{sign} {}", escape(line.as_bytes()))).collect();
        if middle.len() > LINES_MAX {
            said.push(format!("{sign} ({} more lines)", middle.len() - LINES_MAX));
        }
        said
    };
    let mut lines = vec![format!("@@ line {} @@", start + 1)];
    lines.extend(part(&old, '-'));
    lines.extend(part(&new, '+'));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_that_differ_are_shown() {
        assert_eq!(text_lines("a\nb\nc\n", "a\nx\ny\nc\n"), ["@@ line 2 @@", "- b", "+ x", "+ y"]);
        assert_eq!(text_lines("a\n", "a\na\n"), ["@@ line 2 @@", "+ a"]);
        assert_eq!(text_lines("", "\x1b[2J\n"), ["@@ line 1 @@", "+ \\x1b[2J"]);
    }
}
