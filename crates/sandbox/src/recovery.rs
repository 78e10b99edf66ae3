//! The review of a call whose monitor was killed, made by the next call before anything of its own runs.

use std::cell::RefCell;
use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;

use mantlet_policy::Rules;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::journal::{Record, State};
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

/// Reviews everything that changed since the dead call began.
pub(crate) fn review(state: &State, record: &Record) -> Recovered {
    let workspace = record.workspace();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = match rustix::fs::openat(CWD, &workspace, flags, Mode::empty()) {
        Ok(top) => top,
        // The workspace is gone, and with it whatever was left there.
        Err(Errno::NOENT | Errno::NOTDIR) => return Recovered::default(),
        Err(e) => {
            let line =
                format!("the killed call {} could not be reviewed: its workspace cannot be opened: {e}", record.call);
            return Recovered { told: vec![line], is_stuck: true };
        }
    };
    let Ok(rules) = Rules::of_record(&record.exempt, &record.protect, &workspace) else {
        let line = format!("the killed call {} could not be reviewed: its rules are damaged", record.call);
        return Recovered { told: vec![line], is_stuck: true };
    };
    let judge = Judge {
        workspace: &workspace,
        top: &top,
        rules: &rules,
        mounted: HashSet::new(),
        named: &[],
        made: RefCell::default(),
    };
    let reviewed = review::review(&judge, None, &[], Since::Time(record.started));
    let mut quarantine = Quarantine::new(&state.top, &record.call);
    let mut out = Recovered::default();
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
    out
}
