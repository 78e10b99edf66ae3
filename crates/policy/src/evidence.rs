//! `[ledger]` and `[watch]`: what is kept of what happened, and what must not change. Types, and their validation.

use std::path::PathBuf;
use std::time::Duration;

use crate::error::{Fault, Faults, escape};
use crate::file::{LedgerFile, WatchFile};
use crate::read::At;
use crate::types::{Agent, Host, Origin, PathRule};
use crate::validate::argv;
use crate::{place, units};

/// `[ledger]`: how the evidence is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ledger {
    /// Whether an entry is on the disk before what it tells of goes on, and not only in the kernel's memory.
    pub is_durable: bool,
    /// Whether commands run although no room is left to tell of them.
    pub runs_when_full: bool,
    /// From how many bytes on a segment is ended.
    pub segment: u64,
    /// After which time one is.
    pub age: Duration,
    /// How many bytes all segments may have.
    pub keep: u64,
    /// Where the newest entry's hash is kept besides.
    pub anchors: Vec<Anchor>,
    /// A program that is handed it.
    pub anchor_command: Vec<String>,
    /// Where it was written.
    pub origin: Origin,
}

/// Where a head of the ledger is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Anchor {
    /// A file that lines are appended to: on another disk, or another user's.
    File(PathBuf),
    /// A git repository, in which each is a commit.
    Git(PathBuf),
}

impl Default for Ledger {
    fn default() -> Self {
        Ledger {
            is_durable: false,
            runs_when_full: false,
            segment: 16 << 20,
            age: Duration::from_secs(30 * 86_400),
            keep: 1 << 30,
            anchors: Vec::new(),
            anchor_command: Vec::new(),
            origin: Origin::Builtin,
        }
    }
}

/// `[watch]`: what must not change.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Watch {
    /// Files and directories beyond those that are known of clients, shells and ssh.
    pub files: Vec<PathRule>,
    /// Whether what agents are told at their start is among them: AGENTS.md and settings at the top of workspaces.
    pub has_bootstrap: bool,
    /// Whether agents' own memory is.
    pub has_memory: bool,
    /// Whether the machine's settings are: cron, profiles, units, sudoers.
    pub has_system: bool,
    /// How often everything is read again, whatever was noticed.
    pub rescan: Duration,
    /// How often something is undone within ten seconds before `then`.
    pub tries: u32,
    /// What is done about somebody who keeps trying.
    pub then: Then,
    /// Where it was written.
    pub origin: Origin,
}

/// What is done about somebody who keeps trying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It is told, and undone less and less often.
    Report,
    /// The file is made unchangeable as far as the watcher's privilege goes.
    Lock,
    /// Every jail is ended, and none starts.
    Halt,
}

impl Then {
    /// The words of the file.
    pub const WORDS: &[&str] = &["report", "lock", "halt"];

    /// Returns the word of the file.
    pub fn word(self) -> &'static str {
        match self {
            Then::Report => "report",
            Then::Lock => "lock",
            Then::Halt => "halt",
        }
    }
}

impl Watch {
    /// How often everything is read again where the file says nothing.
    pub const RESCAN: Duration = Duration::from_secs(600);
    /// How many tries there are where the file says nothing.
    pub const TRIES: u32 = 20;
}

impl Default for Watch {
    fn default() -> Self {
        let (files, origin) = (Vec::new(), Origin::Builtin);
        let (has_bootstrap, has_memory, has_system) = (false, false, false);
        Watch {
            files,
            has_bootstrap,
            has_memory,
            has_system,
            rescan: Watch::RESCAN,
            tries: Watch::TRIES,
            then: Then::Lock,
            origin,
        }
    }
}

/// The least a segment may hold: one of the longest entries.
const SMALLEST_SEGMENT: u64 = 1 << 20;

pub(crate) fn ledger(section: &LedgerFile, host: &dyn Host, faults: &mut Faults<'_>) -> Ledger {
    let usual = Ledger::default();
    let ledger = Ledger {
        is_durable: word(&section.sync, &["written", "durable"], faults) == Some("durable"),
        runs_when_full: word(&section.full, &["refuse", "run"], faults) == Some("run"),
        segment: size(&section.segment, faults).unwrap_or(usual.segment),
        age: time(&section.age, faults).unwrap_or(usual.age),
        keep: size(&section.keep, faults).unwrap_or(usual.keep),
        anchors: section.anchor.iter().flatten().filter_map(|text| anchor(text, host, faults)).collect(),
        anchor_command: section
            .anchor_command
            .as_ref()
            .map_or(Vec::new(), |words| argv(words, section.at, "anchor_command", faults)),
        origin: Origin::Line(faults.line(section.at)),
    };
    if ledger.segment < SMALLEST_SEGMENT || ledger.keep / 2 < ledger.segment {
        let fault = Fault::Conflict("a segment holds 1MiB at least, and all of them two segments".into());
        faults.add(section.at, fault, "leave out `segment` and `keep` for 16MiB and 1GiB");
    }
    ledger
}

/// Refuses an anchor that an agent can write: it would cut both.
pub(crate) fn out_of_reach(ledger: &Ledger, at: usize, agents: &[Agent], faults: &mut Faults<'_>) {
    for Anchor::File(path) | Anchor::Git(path) in &ledger.anchors {
        let reaches = |agent: &&Agent| {
            let opened = agent.files().write().iter().filter_map(|rule| rule.path());
            opened.chain([agent.workspace()]).any(|place| path.starts_with(place))
        };
        if let Some(agent) = agents.iter().find(reaches) {
            let what = format!("agent `{}` can write where a head is kept: {}", agent.name(), place::show(path));
            faults.add(at, Fault::Conflict(what), "keep it where no agent writes");
        }
    }
}

fn anchor(text: &At<String>, host: &dyn Host, faults: &mut Faults<'_>) -> Option<Anchor> {
    let (kind, path) = text.value.split_once(':').unwrap_or(("", &text.value));
    let made = place::literal(path, None, host.home()).and_then(|path| match kind {
        "file" => Ok(Anchor::File(path)),
        "git" => Ok(Anchor::Git(path)),
        _ => Err("it says not what is there".into()),
    });
    made.map_err(|why| {
        let fault = Fault::BadValue { what: "anchor", value: escape(&text.value), why };
        faults.add(text.at, fault, "write `file:/path/of/a/file` or `git:/path/of/a/repository`");
    })
    .ok()
}

pub(crate) fn watch(section: &WatchFile, host: &dyn Host, faults: &mut Faults<'_>) -> Watch {
    let tries = section.tries.as_ref().map_or(Some(Watch::TRIES), |tries| {
        let count = u32::try_from(tries.value).ok().filter(|count| (1..=1000).contains(count));
        if count.is_none() {
            let why = "not of 1 to 1000".to_owned();
            let fault = Fault::BadValue { what: "number of tries", value: tries.value.to_string(), why };
            faults.add(tries.at, fault, "write a number such as 20");
        }
        count
    });
    let then = match word(&section.then, Then::WORDS, faults) {
        Some("report") => Then::Report,
        Some("halt") => Then::Halt,
        _ => Then::Lock,
    };
    Watch {
        files: section.files.iter().flatten().filter_map(|file| watched(file, host, faults)).collect(),
        has_bootstrap: is_set(&section.bootstrap),
        has_memory: is_set(&section.memory),
        has_system: is_set(&section.system),
        rescan: time(&section.rescan, faults).unwrap_or(Watch::RESCAN),
        tries: tries.unwrap_or(Watch::TRIES),
        then,
        origin: Origin::Line(faults.line(section.at)),
    }
}

fn is_set(flag: &Option<At<bool>>) -> bool {
    flag.as_ref().is_some_and(|flag| flag.value)
}

fn watched(text: &At<String>, host: &dyn Host, faults: &mut Faults<'_>) -> Option<PathRule> {
    let origin = Origin::Line(faults.line(text.at));
    match place::literal(&text.value, None, host.home()) {
        Ok(path) => Some(PathRule { pattern: text.value.clone(), path: Some(path), origin }),
        Err(why) => {
            let fault = Fault::BadValue { what: "path", value: escape(&text.value), why };
            faults.add(text.at, fault, "write an absolute path, or one that begins with `~/`");
            None
        }
    }
}

fn word<'w>(text: &Option<At<String>>, words: &[&'w str], faults: &mut Faults<'_>) -> Option<&'w str> {
    let text = text.as_ref()?;
    let found = words.iter().find(|word| **word == text.value).copied();
    if found.is_none() {
        let fault = Fault::BadValue { what: "word", value: escape(&text.value), why: "not known here".into() };
        faults.add(text.at, fault, format!("write one of {}", words.join(", ")));
    }
    found
}

fn size(text: &Option<At<String>>, faults: &mut Faults<'_>) -> Option<u64> {
    measured(text, units::size, "size", "write for example `\"16MiB\"`", faults)
}

fn time(text: &Option<At<String>>, faults: &mut Faults<'_>) -> Option<Duration> {
    measured(text, units::time, "time", "write for example `\"720h\"`", faults)
}

fn measured<T>(
    text: &Option<At<String>>,
    read: impl Fn(&str) -> Result<T, String>,
    what: &'static str,
    hint: &str,
    faults: &mut Faults<'_>,
) -> Option<T> {
    let text = text.as_ref()?;
    read(&text.value)
        .map_err(|why| faults.add(text.at, Fault::BadValue { what, value: escape(&text.value), why }, hint))
        .ok()
}
