//! What the owner accepts: the state of places as it is becomes the baseline, and the difference is shown.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use mantlet_ledger::escape;

use crate::baseline::BaselineError;
use crate::error::Error;
use crate::record::{Is, Record};
use crate::report::Report;
use crate::standing::{Budget, Standing, Stood, memory};
use crate::text::Sha256;
use crate::watch::{Heard, Node, Watch};

/// The largest text of which lines are shown.
const TEXT_MAX: usize = 256 * 1024;
/// How many lines of a difference are shown.
const LINES_MAX: usize = 400;

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
    /// A hash of all that would be signed of what is there: content, attributes, and what a judge makes of it.
    pub now: String,
    /// For texts: lines that go (`-`) and come (`+`), for the rest what differs in words; escaped.
    pub lines: Vec<String>,
}

impl Watch {
    /// Shows how places differ from the baseline, and changes nothing.
    ///
    /// # Errors
    /// When a path is not protected or cannot be looked at.
    pub fn differences(&mut self, paths: &[PathBuf]) -> Result<Vec<Diff>, Error> {
        let mut all = Vec::new();
        for path in self.tops(paths)? {
            all.extend(self.diff(&path, &self.scan(&path)?)?);
        }
        Ok(all)
    }

    /// Makes what stands at these places the baseline, signs it, and shows what has become different by that: when it is
    /// what was shown before, each path with its [`Diff::now`], and nothing else.
    ///
    /// # Errors
    /// When something else stands there than was shown, a path is not protected or cannot be looked at, or the baseline
    /// cannot be written. Nothing is accepted then.
    pub fn accept(&mut self, paths: &[PathBuf], shown: &BTreeMap<PathBuf, String>) -> Result<Vec<Diff>, Error> {
        let tops = self.tops(paths)?;
        let mut nodes = self.nodes.clone();
        let mut all = Vec::new();
        for path in &tops {
            let now = self.scan(path)?;
            all.extend(self.diff(path, &now)?);
            nodes.retain(|at, _| !at.starts_with(path));
            nodes.extend(now.into_iter().map(|(at, stood)| {
                let node = self.nodes.get(&at).map_or_else(|| Node::new(Record::absent()), Node::clone);
                (at, Node { record: stood.record, stamp: None, lock: None, ..node })
            }));
        }
        let found: BTreeMap<PathBuf, String> = all.iter().map(|diff| (diff.path.clone(), diff.now.clone())).collect();
        if let Some(path) = other(&found, shown) {
            return Err(Error::Changed { path });
        }
        self.sign_as(&nodes)?;
        let old = std::mem::replace(&mut self.nodes, nodes);
        self.settle_in(old, &tops);
        Ok(all)
    }

    /// Goes on with what was accepted.
    fn settle_in(&mut self, old: BTreeMap<PathBuf, Node>, tops: &[PathBuf]) {
        let mut locked = Vec::new();
        for (at, node) in old {
            if !self.nodes.contains_key(&at) {
                self.watches.forget(&at, node.watched.map(|(_, _, wd)| wd));
            } else if node.lock.is_some() && tops.iter().any(|top| at.starts_with(top)) {
                locked.push(at);
            }
        }
        for top in tops {
            self.standing.retain(|at, _| !at.starts_with(top));
            self.pace.forget(top);
            self.hold_ways(top);
        }
        for at in locked {
            self.pace.forget(&at);
            // Where the lock cannot be taken off, the next look finds it, and says so.
            self.apply(&at).ok();
        }
        self.unsigned_since = None;
        // What is new is watched from the next sweep on, which reads whatever has no stamp.
        self.sweep_soon();
    }

    /// Makes this the content of a protected file, and signs it: for a change that was undone before it could be
    /// accepted, and is kept.
    ///
    /// # Errors
    /// When the path is no protected file, the content is too large to be kept, or it cannot be written.
    pub fn accept_content(&mut self, path: &Path, content: &[u8], report: &mut dyn Report) -> Result<(), Error> {
        let path = self.protected(path)?;
        let failed = |why: &str| Error::Look { path: path.clone(), why: why.into() };
        if content.len() as u64 > self.options.copy_max {
            return Err(failed("it is larger than what is kept"));
        }
        if self.judged(&path).is_some_and(|given| !self.content.may_be_replaced(&given)) {
            return Err(failed("an earlier copy of a database would break it"));
        }
        let before = self.nodes.get(&path).cloned();
        let old = before.as_ref().map_or_else(Record::absent, |node| node.record.clone());
        if !old.is_regular() && old.is != Is::Absent {
            return Err(failed("it is no file"));
        }
        let record = self.record_with(&path, &old, content)?;
        if self.dir_of(&path).is_err() {
            self.hold_ways(&path);
        }
        let node = before.clone().unwrap_or_else(|| Node::new(Record::absent()));
        self.nodes.insert(path.clone(), Node { record, stamp: None, lock: None, ..node });
        // The record that was asked for is signed, whatever somebody writes there in between.
        let applied = self.apply_content(&path, content).map_err(|why| failed(&why.0));
        let done = applied.and_then(|()| Ok(self.sign()?));
        if done.is_err() {
            match before {
                Some(node) => drop(self.nodes.insert(path.clone(), Node { stamp: None, ..node })),
                None => drop(self.nodes.remove(&path)),
            }
        }
        self.pace.forget(&path);
        // What was done to it meanwhile is undone: to what holds now, or holds again.
        self.check(&path, Heard::now("rescan"), report);
        done
    }

    /// The record of a file that has this content, and else what the old one says.
    fn record_with(&self, path: &Path, old: &Record, content: &[u8]) -> Result<Record, Error> {
        let attributes = old.attributes.clone().unwrap_or_else(|| crate::record::Attributes {
            mode: 0o600,
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            nlink: 1,
            ..Default::default()
        });
        let (sha256, size) = (self.store.put(content)?, content.len() as u64);
        let failed = |e: std::io::Error| Error::Look { path: path.to_owned(), why: e.to_string() };
        let judged = self.judged_as(path, &memory(content).map_err(failed)?, Some(content), (sha256, size))?;
        Ok(Record { is: judged.unwrap_or(Is::File { sha256, size }), attributes: Some(attributes) })
    }

    /// The real paths that the owner names, without those that are below others.
    fn tops(&self, paths: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
        let mut all = paths.iter().map(|path| self.protected(path)).collect::<Result<Vec<PathBuf>, Error>>()?;
        all.sort_unstable();
        all.dedup_by(|path, before| path.starts_with(before));
        Ok(all)
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
        let mut budget = Budget::new();
        while let Some(path) = open.pop() {
            let Some((found, record)) = self.record_at(&path, &mut budget)? else {
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

    fn diff(&self, path: &Path, now: &Standing) -> Result<Vec<Diff>, Error> {
        let absent = Stood { record: Record::absent(), bytes: None };
        let mut paths: Vec<&PathBuf> = now.keys().collect();
        paths.extend(self.below(path).map(|(at, _)| at).filter(|at| !now.contains_key(*at)));
        paths.sort_unstable();
        let diffs = paths.into_iter().filter_map(|at| {
            let Stood { record: new, bytes } = now.get(at).unwrap_or(&absent);
            let old = self.nodes.get(at).map_or(&absent.record, |node| &node.record);
            let mut what: Vec<&'static str> = old.differences(new).iter().map(|what| what.word()).collect();
            if what.is_empty() && old.sha256() != new.sha256() {
                what.push("written");
            }
            (!what.is_empty()).then(|| {
                Ok(Diff {
                    path: at.clone(),
                    what,
                    before: old.sha256().as_ref().map(Sha256::hex),
                    after: new.sha256().as_ref().map(Sha256::hex),
                    now: digest(new)?,
                    lines: self.lines(old, new, bytes.as_deref()),
                })
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

/// The hash by which a content is named in differences, in hex.
pub fn content_hash(content: &[u8]) -> String {
    Sha256::of(content).hex()
}

fn digest(record: &Record) -> Result<String, Error> {
    let text = serde_json::to_vec(record).map_err(BaselineError::Encode)?;
    Ok(Sha256::of(&text).hex())
}

/// A path of which both do not say the same.
fn other(one: &BTreeMap<PathBuf, String>, two: &BTreeMap<PathBuf, String>) -> Option<PathBuf> {
    one.keys().chain(two.keys()).find(|path| one.get(*path) != two.get(*path)).cloned()
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
