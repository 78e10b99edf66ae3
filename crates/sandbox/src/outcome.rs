//! How a call ended, and what is said of it: exit code, report, ledger entry, lines for the person.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use mantlet_ledger::Writer;
use mantlet_policy::Review;

use crate::advice::{Advice, Opening};
use crate::budget::Budget;
use crate::covers::Cover;
use crate::evidence;
use crate::halt::Halted;
use crate::journal::State;
use crate::limits::Breach;
use crate::live::{self, Live};
use crate::made;
use crate::mechanisms::mechanisms;
use crate::plan::Plan;
use crate::report::{Finding, Held, Outcome, Report};
use crate::review::{self, Since};
use crate::tier::{Extent, Mechanisms, Tier};
use crate::tracked;
use crate::tree::{TreeRef, WORKSPACE};
use crate::wire::Output;

/// Mantlet's own failure or refusal, as `env(1)` uses it.
pub(crate) const REFUSED: i32 = 125;
/// The command was found and could not be executed.
const NOT_EXECUTABLE: i32 = 126;
/// The command was not found.
const NOT_FOUND: i32 = 127;
/// What a shell says of a process killed by SIGKILL.
pub(crate) const KILLED: i32 = 128 + libc::SIGKILL;

/// What a running jail has told of itself.
#[derive(Default)]
pub(crate) struct Facts {
    pub(crate) proc_partial: Option<String>,
    pub(crate) cgroup: Option<Extent>,
    pub(crate) has_sampler: bool,
    /// Protected things that somebody replaced, or of which nobody can tell.
    pub(crate) replaced: Vec<PathBuf>,
    /// What was denied and could be opened for a moment.
    pub(crate) exposed: Option<PathBuf>,
    /// What the way out refused, for the person.
    pub(crate) refused: Vec<String>,
    /// What confines the process that serves it.
    pub(crate) served: Option<String>,
    /// Why it is not the tier `full`.
    pub(crate) unavailable: Option<String>,
    pub(crate) notes: Vec<String>,
}

/// How a call ended.
pub(crate) struct Ending {
    pub(crate) code: i32,
    pub(crate) reason: Option<String>,
    /// The tier it ran with; absent when nothing ran.
    pub(crate) tier: Option<Tier>,
    pub(crate) facts: Facts,
    pub(crate) started: (i64, i64),
    pub(crate) findings: Vec<Finding>,
    pub(crate) bytes_out: Option<u64>,
    /// Whether something may not stay and could not be moved.
    pub(crate) is_stuck: bool,
    /// Whether the owner's halt ended it.
    pub(crate) is_halted: bool,
}

impl Ending {
    pub(crate) fn exited(code: i32) -> Ending {
        Ending {
            code,
            reason: None,
            tier: None,
            facts: Facts::default(),
            started: (0, 0),
            findings: Vec::new(),
            bytes_out: None,
            is_stuck: false,
            is_halted: false,
        }
    }

    /// The command's own end; a signal that only a limit sends is explained.
    pub(crate) fn of_command(code: i32, plan: &Plan) -> Ending {
        let breach = match code - 128 {
            libc::SIGXFSZ => Some(Breach::FileSize),
            libc::SIGXCPU => Some(Breach::Cpu),
            _ => None,
        };
        Ending { reason: breach.map(|b| b.message(&plan.limits, &plan.agent)), ..Ending::exited(code) }
    }

    pub(crate) fn refused(why: String) -> Ending {
        Ending { reason: Some(why), ..Ending::exited(REFUSED) }
    }

    pub(crate) fn client_gone() -> Ending {
        Ending { reason: Some("the caller went away; everything was killed".into()), ..Ending::exited(KILLED) }
    }

    /// Its init was killed, and everything is halted.
    pub(crate) fn halted(halted: &Halted) -> Ending {
        Ending { reason: Some(halted.to_string()), is_halted: true, ..Ending::exited(KILLED) }
    }

    /// Mantlet's own failure in the midst of a call.
    pub(crate) fn broken(why: String) -> Ending {
        Ending { reason: Some(why), ..Ending::exited(REFUSED) }
    }

    /// Adds which protected things may not be what they were.
    pub(crate) fn take_replaced(&mut self, replaced: Vec<PathBuf>) {
        self.facts.notes.extend(replaced.iter().map(|path| {
            let path = mantlet_ledger::escape(path.as_os_str().as_bytes());
            format!("{path} may have been replaced while the command ran: it was protected again, and is reviewed")
        }));
        self.facts.replaced = replaced;
    }

    /// What is denied was replaced from outside, and the jail could open it until its cover was back. It was killed and
    /// its output withheld; what it wrote since then may be a copy.
    pub(crate) fn got_past(&mut self, cover: &Cover, since: (i64, i64), plan: &Plan, live: &mut Live) {
        let path = mantlet_ledger::escape(cover.path.as_os_str().as_bytes());
        self.code = KILLED;
        self.facts.exposed = Some(cover.path.clone());
        self.reason = Some(format!(
            "killed: {path}, which is denied, was replaced from outside and could be opened for a moment; output since then \
             is withheld\nhint: run it again"
        ));
        for tree in 0..plan.trees() {
            self.undo_since(plan, tree, since, live);
        }
    }

    fn undo_since(&self, plan: &Plan, tree: usize, since: (i64, i64), live: &mut Live) {
        let judge = live::judge_of(plan, tree, &[]);
        for verdict in review::changed_since(&judge, since.max(self.started)) {
            live.undo(plan, tree, Some(verdict), false);
        }
    }

    pub(crate) fn breach(breach: Breach, plan: &Plan) -> Ending {
        Ending { reason: Some(breach.message(&plan.limits, &plan.agent)), ..Ending::exited(KILLED) }
    }

    /// A `Failed` message of init after the jail stood: the command itself could not be started.
    pub(crate) fn failed(plan: &Plan, payload: &[u8]) -> Ending {
        let text = String::from_utf8_lossy(payload);
        let (errno, sentence) = text.split_once(' ').unwrap_or(("0", &text));
        let code = match errno.parse::<i32>() {
            Ok(libc::ENOENT) => NOT_FOUND,
            Ok(libc::EACCES | libc::ENOEXEC | libc::EISDIR | libc::E2BIG) => NOT_EXECUTABLE,
            _ => REFUSED,
        };
        let mut reason = mantlet_ledger::escape(sentence.as_bytes());
        let hint = match code {
            NOT_FOUND => plan.advisor.hidden_program(plan),
            NOT_EXECUTABLE => plan.advisor.denied_program(plan),
            _ => None,
        };
        if let Some(hint) = hint {
            reason = format!("{reason}\nhint: {hint}");
        }
        Ending { reason: Some(reason), ..Ending::exited(code) }
    }

    /// Adds what became of the output. A call whose output was lost has not succeeded, whatever the command thinks.
    pub(crate) fn take_output(&mut self, output: Option<Output>) {
        self.bytes_out = output.as_ref().map(|o| o.bytes);
        if let Some(lost) = output.and_then(|o| o.lost) {
            self.fail(lost);
        }
    }

    /// A failure of ours beside the command's own end: said, and the code unless there is one already.
    fn fail(&mut self, why: String) {
        if self.code == 0 {
            self.code = REFUSED;
        }
        self.reason = Some(self.reason.take().map_or_else(|| why.clone(), |reason| format!("{reason}\n{why}")));
    }

    /// Reviews the workspace. The jail is dead.
    pub(crate) fn review(&mut self, plan: &Plan, live: &mut Live, clock: Clock, state: &State) {
        if plan.changes_nothing() {
            // Not watched, not walked: what anybody else does meanwhile is no matter of this call.
            self.findings.append(&mut live.findings);
            return self.facts.notes.append(&mut live.notes);
        }
        for tree in 0..plan.trees() {
            self.review_tree(plan, tree, live, clock, state);
        }
        // What could not be moved while the jail was alive may have been since.
        let is_stuck = |f: &Finding| f.action.starts_with("NOT undone");
        let is_gone = |path: &str| live.findings.iter().any(|f| f.path == path && !is_stuck(f));
        if live.findings.iter().any(|f| is_stuck(f) && !is_gone(&f.path)) {
            self.is_stuck = true;
            self.fail(
                "the review could not undo everything: look at what it names before anything else runs there".into(),
            );
        }
        live.say_dropped();
        self.findings.append(&mut live.findings);
        self.facts.notes.append(&mut live.notes);
        self.advise(plan);
        if plan.review == Review::Fail && self.findings.iter().any(|f| f.action != "listed") {
            self.code = REFUSED;
            self.reason = Some("the review found what this agent may not leave behind (review = \"fail\")".into());
        }
    }

    fn review_tree(&self, plan: &Plan, tree: usize, live: &mut Live, clock: Clock, state: &State) {
        let judge = live::judge_of(plan, tree, &self.facts.replaced);
        let TreeRef { scan, fd, .. } = plan.tree(tree);
        let since = if clock.was_set() || !keeps_times(fd) { Since::Always } else { Since::Time(self.started) };
        let reviewed = review::review(&judge, Some(&scan.dirs), &scan.known, since);
        if let Since::Time(started) = since
            && tree == WORKSPACE
            && let Err(e) = made::remember(&judge, started, &state.top)
        {
            live.notes
                .push(format!("the repositories made here could not be remembered, and are mounted next time: {e}"));
        }
        for verdict in reviewed.verdicts {
            live.undo(plan, tree, Some(verdict), false);
        }
        for dir in reviewed.unseen {
            live.notes.push(format!("{} could not be reviewed", mantlet_ledger::escape(&plan.named(tree, &dir))));
        }
    }

    /// Says of each finding what would allow it. Not of thousands: an agent decides how many there are.
    fn advise(&mut self, plan: &Plan) {
        const MOST_ADVICE: usize = 100;
        for finding in self.findings.iter_mut().filter(|f| f.action != "listed").take(MOST_ADVICE) {
            let path = plan.workspace.join(std::ffi::OsStr::from_bytes(&finding.raw));
            if (1..plan.trees()).any(|tree| path.starts_with(plan.tree(tree).top)) {
                let hint = "what a client obeys is changed outside: run the client without `mantlet run` for that";
                finding.hint = Some(hint.into());
                continue;
            }
            match plan.advisor.open(Opening::Write, &path) {
                Advice::Call(call) => finding.allow = Some(call),
                Advice::Words(words) => finding.hint = Some(words),
            }
        }
    }

    /// Writes the ledger and makes the report.
    pub(crate) fn conclude(mut self, plan: &Plan, ledger: Result<&mut Writer, String>, began: Instant) -> Outcome {
        let mechanisms = self.tier.map(|tier| mechanisms(tier, &self.facts, plan)).unwrap_or_default();
        let entry = self.entry(plan, &mechanisms, milliseconds(began));
        let written = ledger
            .map_err(|why| (why, false))
            .and_then(|l| l.append(&entry).map_err(|e| (format!("the ledger could not be written: {e}"), e.is_full())));
        if let Err((why, is_full)) = written {
            self.facts.notes.push(why.clone());
            if plan.evidence.runs_when_full && is_full {
                // The policy's own word; the note is for the person.
                return self.told(plan, began);
            }
            self.code = REFUSED;
            // A refusal has its own reason, and had nothing to tell of but that.
            self.reason = self.reason.filter(|_| self.tier.is_none()).or(Some(why));
        }
        self.told(plan, began)
    }

    /// What the client and the person are told.
    fn told(mut self, plan: &Plan, began: Instant) -> Outcome {
        if self.tier.is_some() {
            self.facts.notes.extend(tracked::notes(plan));
            self.facts.notes.extend(plan.notes.iter().cloned());
        }
        let messages = self.messages();
        if !plan.wants_report {
            return Outcome { code: self.code, messages, report: String::new() };
        }
        let report = self.report(plan, began);
        Outcome { code: self.code, messages, report: serde_json::to_string(&report).unwrap_or_default() }
    }

    /// The report of a call as far as it is known.
    pub(crate) fn report(&self, plan: &Plan, began: Instant) -> Report {
        let mechanisms = self.tier.map(|tier| mechanisms(tier, &self.facts, plan)).unwrap_or_default();
        let mut protect = held(plan, self.tier, &plan.protected);
        let undone = held(plan, self.tier, &plan.reviewed).into_iter();
        protect.extend(undone.map(|h| Held { how: "undone", ..h }));
        for (held, spot) in protect.iter_mut().zip(&plan.protected) {
            // Put back and reviewed: what was there in between is not known.
            if self.facts.replaced.contains(&spot.path) {
                held.how = "undone";
            }
        }
        let mut deny = held(plan, self.tier, &plan.denied);
        for (held, _) in deny.iter_mut().zip(&plan.denied).filter(|(_, s)| Some(&s.path) == self.facts.exposed.as_ref())
        {
            held.how = "undone";
        }
        Report {
            v: 1,
            call: plan.call.clone(),
            agent: plan.agent.clone(),
            policy: plan.policy_hash.clone(),
            kind: plan.kind,
            limits: Some(Budget::of(&plan.limits)),
            whole: plan.whole.as_ref().map(|whole| whole.told.clone()),
            tier: self.tier,
            ids: self.tier.map(|_| plan.ids),
            deny,
            protect,
            mechanisms,
            findings: self.findings.clone(),
            notes: self.facts.notes.clone(),
            exit: self.code,
            reason: self.reason.clone(),
            duration_ms: milliseconds(began),
            bytes_out: self.bytes_out,
        }
    }

    /// What standard error gets: nothing unless Mantlet did something.
    fn messages(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.reason.iter().flat_map(|r| r.lines().map(str::to_owned)).collect();
        for finding in self.findings.iter().filter(|f| f.action != "listed") {
            lines.push(format!("review: {} ({}): {}; {}", finding.path, finding.rule, finding.reason, finding.action));
            lines.extend(finding.allow.iter().chain(&finding.hint).map(|a| format!("hint: {a}")));
        }
        // A program says of a name it cannot look up only that: who is refused has to know by whom, and what to do.
        lines.extend(self.facts.refused.iter().flat_map(|refusal| refusal.lines().map(str::to_owned)));
        lines.extend(self.facts.notes.iter().filter(|n| n.contains("could not")).map(|n| format!("note: {n}")));
        lines
    }

    /// The call as a line of the ledger.
    pub(crate) fn entry(&self, plan: &Plan, mechanisms: &Mechanisms, duration_ms: u64) -> mantlet_ledger::Entry {
        mantlet_ledger::Entry {
            v: 1,
            time: mantlet_ledger::rfc3339(SystemTime::now()),
            agent: plan.agent.clone(),
            policy: plan.policy_hash.clone(),
            kind: mantlet_ledger::Kind::Exec(mantlet_ledger::Exec {
                call: plan.call.clone(),
                command: evidence::command_text(plan),
                session: plan.session.clone(),
                run: plan.run.clone(),
                tier: self.tier.map_or("refused", |t| if t == Tier::Full { "full" } else { "landlock" }).to_owned(),
                mechanisms: mechanisms
                    .iter()
                    .map(|(k, v)| ((*k).to_owned(), v.to_string()))
                    .collect::<BTreeMap<_, _>>(),
                exit: self.code,
                reason: self.reason.clone(),
                duration_ms,
                bytes_out: self.bytes_out,
                findings: evidence::bounded(
                    self.findings.iter().map(|f| format!("{} ({}): {}", f.path, f.rule, f.action)),
                ),
            }),
            chain: None,
        }
    }
}

fn milliseconds(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn held(plan: &Plan, tier: Option<Tier>, spots: &[crate::spots::Spot]) -> Vec<Held> {
    let how = if tier == Some(Tier::Full) { "prevented" } else { "none" };
    let shown = |path: &std::path::Path| {
        let inside = path.strip_prefix(&plan.workspace).unwrap_or(path);
        mantlet_ledger::escape(inside.as_os_str().as_bytes())
    };
    spots.iter().map(|s| Held { path: shown(&s.path), rule: s.rule.clone(), how }).collect()
}

/// Both clocks at the start of a call: they tell whether the wall clock was set during it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    wall: SystemTime,
    steady: Instant,
}

impl Clock {
    pub(crate) fn start() -> Clock {
        Clock { wall: SystemTime::now(), steady: Instant::now() }
    }

    /// A step of more than this between the clocks means change times prove nothing.
    fn was_set(self) -> bool {
        let wall = SystemTime::now().duration_since(self.wall).unwrap_or_default();
        wall.abs_diff(self.steady.elapsed()) > Duration::from_millis(500)
    }
}

/// Whether a tree's file system gives a directory a new change time with each new name.
fn keeps_times(top: &OwnedFd) -> bool {
    // ext2/3/4, xfs, btrfs, tmpfs, f2fs, zfs, bcachefs, overlayfs: local ones whose times come from this kernel.
    const KNOWN: [i64; 8] =
        [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0xf2f5_2010, 0x2fc1_2fc1, 0xca45_1a4e, 0x794c_7630];
    rustix::fs::fstatfs(top).is_ok_and(|s| KNOWN.contains(&s.f_type))
}

/// Finishes calls whose monitor was killed: kills what is left, reviews, cleans, strikes them out.
///
/// # Errors
/// When the journal cannot be read, a dying call does not die, or what it left cannot be undone: nothing may run then.
pub(crate) fn recover(state: &State, keep: mantlet_ledger::Keep) -> std::io::Result<Vec<String>> {
    let mut told = Vec::new();
    let unfinished = state.unfinished()?;
    for (entry, record) in unfinished {
        if let Some(record) = record {
            crate::cgroup::Cgroups::remove(&record.cgroups);
            crate::fallback::remove_private(state, &record.call);
            let mut recovered = crate::recovery::review(state, &record);
            if !recovered.is_stuck {
                evidence::of_killed(state, keep, &record, &recovered.told)?;
            }
            told.append(&mut recovered.told);
            if recovered.is_stuck {
                // It stays written down: the next call tries again.
                return Err(std::io::Error::other(format!(
                    "{}\nhint: free some disk space in {:?}, or look at what is named and remove it",
                    told.join("\n"),
                    state.top
                )));
            }
        }
        drop(entry.finish());
    }
    Ok(told)
}
