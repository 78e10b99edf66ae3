//! The review of a call whose monitor was killed, made by the next call before anything of its own runs.

use std::cell::RefCell;
use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use mantlet_policy::Rules;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::journal::{self, Record, State};
use crate::quarantine::Quarantine;
use crate::review::{self, Judge, Since};

/// What the review of a killed call came to.
#[derive(Default)]
pub(crate) struct Recovered {
    /// Lines for the person.
    pub(crate) told: Vec<String>,
    /// Whether something may not stay and could not be moved: the call is not over then.
    pub(crate) is_stuck: bool,
}

impl Recovered {
    fn stuck(&mut self, record: &Record, why: &str) {
        self.told.push(format!("the killed call {} could not be reviewed: {why}", record.call));
        self.is_stuck = true;
    }
}

/// Reviews everything that changed since the dead call began.
pub(crate) fn review(state: &State, record: &Record) -> Recovered {
    let mut out = Recovered::default();
    let mut quarantine = Quarantine::new(&state.top, &record.call);
    let top = Top { path: record.workspace(), exempt: &record.exempt, protect: &record.protect, leads: None };
    review_tree(record, &top, &mut quarantine, &mut out);
    for (path, protect) in &record.state {
        let leads = Some(record.leads.iter().map(|bytes| journal::path(bytes)).collect());
        let top = Top { path: journal::path(path), exempt: &[], protect, leads };
        review_tree(record, &top, &mut quarantine, &mut out);
    }
    out
}

/// A tree that the dead call could write.
struct Top<'r> {
    path: PathBuf,
    exempt: &'r [Vec<u8>],
    protect: &'r [String],
    /// Of a client's own state.
    leads: Option<Vec<PathBuf>>,
}

fn review_tree(record: &Record, tree: &Top<'_>, quarantine: &mut Quarantine, out: &mut Recovered) {
    let workspace = tree.path.as_path();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = match rustix::fs::openat(CWD, workspace, flags, Mode::empty()) {
        Ok(top) => top,
        // It is gone, and with it whatever was left there.
        Err(Errno::NOENT | Errno::NOTDIR) => return,
        Err(e) => return out.stuck(record, &format!("{workspace:?} cannot be opened: {e}")),
    };
    let Ok(rules) = Rules::of_record(tree.exempt, tree.protect, workspace) else {
        return out.stuck(record, "its rules are damaged");
    };
    let judge = Judge {
        workspace,
        top: &top,
        rules: &rules,
        mounted: HashSet::new(),
        named: &[],
        state: tree.leads.as_deref(),
        made: RefCell::default(),
    };
    let reviewed = review::review(&judge, None, &[], Since::Time(record.started));
    for verdict in reviewed.verdicts.into_iter().filter(|v| !v.is_listed) {
        let shown = mantlet_ledger::escape(&verdict.path);
        let action = if record.review == "Report" {
            "reported".to_owned()
        } else {
            match quarantine.take(&top, &verdict.path) {
                Ok(to) => format!("quarantined to {}", mantlet_ledger::escape(to.as_os_str().as_bytes())),
                Err(e) => {
                    out.is_stuck = true;
                    format!("NOT undone: {e}")
                }
            }
        };
        out.told.push(format!(
            "review of the killed call {}: {shown} ({}): {}; {action}",
            record.call, verdict.rule, verdict.reason
        ));
    }
}
