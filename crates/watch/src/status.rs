//! What a watch holds, and what of it is less than was asked for.

use std::path::PathBuf;

use crate::record::{Is, Record};
use crate::report::{Notice, Report, Status};
use crate::watch::Watch;

impl Watch {
    /// The real paths of all places.
    pub fn places(&self) -> Vec<PathBuf> {
        self.spots.keys().cloned().collect()
    }

    /// Says what the watch holds.
    pub fn status(&self) -> Status {
        let mut standing: Vec<PathBuf> = self.standing.keys().cloned().collect();
        standing.sort_unstable();
        Status {
            paths: self.nodes.len(),
            watched: self.watches.count(),
            unwatched: self.watches.unwatched().iter().cloned().collect(),
            names_culprits: self.fan.is_some(),
            undone: self.undone,
            standing,
            locked: self.nodes.iter().filter(|(_, n)| n.lock.is_some()).map(|(p, _)| p.clone()).collect(),
            overflows: self.overflows,
            rescans: self.rescans,
            key: self.key.public(),
        }
    }

    pub(crate) fn say_unwatched(&mut self, report: &mut dyn Report) {
        let count = self.watches.unwatched().len();
        if count > self.told_unwatched {
            let some = self.watches.unwatched().iter().take(8).cloned().collect();
            report.notice(Notice::Unwatched { count, some });
        }
        self.told_unwatched = count;
    }

    pub(crate) fn say_uncopied(&self, report: &mut dyn Report) {
        let is_uncopied = |record: &Record| match &record.is {
            Is::File { size, .. } | Is::Judged { size, .. } => *size > self.options.copy_max,
            Is::Unreadable { .. } => true,
            _ => false,
        };
        let mut all = self.nodes.iter().filter(|(_, node)| is_uncopied(&node.record)).map(|(path, _)| path);
        let some: Vec<PathBuf> = all.by_ref().take(8).cloned().collect();
        let count = some.len() + all.count();
        if count > 0 {
            report.notice(Notice::Uncopied { count, some });
        }
    }
}
