//! The evidence of a call: where it is written, that there is room for it, and the entry of one whose monitor was killed.

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::time::SystemTime;

use mantlet_ledger::{Durability, Entry, Exec, Keep, Kind, Writer};
use mantlet_policy::Ledger;

use crate::journal::{Record, State};
use crate::layout;
use crate::outcome::REFUSED;
use crate::plan::Plan;

/// What the policy says of the evidence.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Evidence {
    pub(crate) keep: Keep,
    /// Whether a call runs although it cannot be told of.
    pub(crate) runs_when_full: bool,
}

impl Evidence {
    pub(crate) fn of(ledger: Option<&Ledger>) -> Evidence {
        Evidence { keep: keep(ledger), runs_when_full: ledger.is_some_and(|ledger| ledger.runs_when_full) }
    }
}

/// Returns how a policy wants the ledger kept.
#[must_use]
pub fn keep(ledger: Option<&Ledger>) -> Keep {
    let Some(ledger) = ledger else { return Keep::default() };
    let durability = if ledger.is_durable { Durability::Durable } else { Durability::Written };
    Keep { durability, segment: ledger.segment, age: ledger.age, total: ledger.keep }
}

/// Opens the evidence of a call.
pub(crate) fn open(plan: &Plan, state: &State) -> Result<Writer, String> {
    let dir = state.top.join("ledger");
    Writer::open_with(&dir, &[&plan.workspace], plan.evidence.keep).map_err(|e| e.to_string())
}

/// Opens it for a call that is to begin: with room for what will be told at its end, or a note that there is none.
pub(crate) fn begin(plan: &Plan, state: &State) -> Result<(Writer, Option<String>), String> {
    let mut ledger = open(plan, state)?;
    match ledger.reserve() {
        Ok(()) => Ok((ledger, None)),
        Err(e) if plan.evidence.runs_when_full && e.is_full() => {
            Ok((ledger, Some(format!("this call could not be sure to be told of: {e}"))))
        }
        Err(e) => Err(e.to_string()),
    }
}

/// As many findings as an entry holds, and how long all of them may be: a jail chooses their names and their number.
const MOST_FINDINGS: usize = 500;
const LONGEST_FINDINGS: usize = 64 * 1024;

/// Findings as they are kept: the first ones, and how many there were beyond.
pub(crate) fn bounded(findings: impl Iterator<Item = String>) -> Vec<String> {
    let (mut kept, mut length, mut more) = (Vec::new(), 0, 0_usize);
    for finding in findings {
        length += finding.len();
        if kept.len() < MOST_FINDINGS && length <= LONGEST_FINDINGS {
            kept.push(finding);
        } else {
            more += 1;
        }
    }
    if more > 0 {
        kept.push(format!("and {more} more"));
    }
    kept
}

/// The longest command text kept in the ledger: a call may have a megabyte of it, and the ledger's bound is everybody's.
const LONGEST_COMMAND: usize = 128 * 1024;

/// The command, masked before it is escaped and stored.
pub(crate) fn command_text(plan: &Plan) -> String {
    let shell_word = |word: &[u8]| crate::text::shell_word(std::path::Path::new(std::ffi::OsStr::from_bytes(word)));
    let mut words: Vec<String> = plan.argv.iter().map(|word| shell_word(word.as_bytes())).collect();
    // A text that is too long for an argument came in by a file, which the last argument only names.
    let text = plan.files.iter().find(|(path, _)| path.as_os_str() == layout::COMMAND_FILE);
    if let (Some((_, text)), Some(last)) = (text, words.last_mut()) {
        *last = shell_word(text);
    }
    let text = words.join(" ");
    let masked = mantlet_dlp::mask(&text);
    mantlet_ledger::shorten(&mantlet_ledger::escape(masked.as_bytes()), LONGEST_COMMAND).into_owned()
}

/// Writes down a call whose monitor was killed before it could: the attack is a command that kills it to leave no trace.
pub(crate) fn of_killed(state: &State, keep: Keep, record: &Record, told: &[String]) -> io::Result<()> {
    let mut ledger =
        Writer::open_with(&state.top.join("ledger"), &[], keep).map_err(|e| io::Error::other(e.to_string()))?;
    let entry = Entry {
        v: 1,
        time: mantlet_ledger::rfc3339(SystemTime::now()),
        agent: record.agent.clone(),
        policy: record.policy.clone(),
        kind: Kind::Exec(Exec {
            call: record.call.clone(),
            command: record.command.clone(),
            session: record.session.clone(),
            run: record.run.clone(),
            tier: "unknown".into(),
            mechanisms: Default::default(),
            exit: REFUSED,
            reason: Some("its monitor was killed; what it had not told yet is not known".into()),
            duration_ms: 0,
            bytes_out: None,
            findings: bounded(told.iter().map(|line| mantlet_ledger::escape(line.as_bytes()))),
        }),
        chain: None,
    };
    ledger.append(&entry).map(drop).map_err(|e| io::Error::other(e.to_string()))
}
