//! What is printed: the list of cases, the table of verdicts, the same as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;

use serde::Serialize;

use crate::corpus::Case;
use crate::inside::Outcome;
use crate::world::Arm;

/// One case and what came of its arms.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    id: String,
    class: String,
    title: String,
    shows: String,
    verdict: Verdict,
    #[serde(skip)]
    must_say_why: bool,
    arms: BTreeMap<Arm, Outcome>,
}

/// What the arms say together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[must_use]
pub(crate) enum Verdict {
    /// Every arm that was run came out as it must.
    Holds,
    /// The attack worked in the jail.
    AttackSucceeded,
    /// The attack worked without a jail neither, so the case proves nothing.
    ControlDidNotSucceed,
    /// The allowed thing did not work in the jail.
    TwinFailed,
    /// The jailed attack did not end in time.
    Hung,
    /// The jailed attack was stopped without a word, where whoever ran it must be told why.
    Silent,
    /// An arm could not be run.
    Error,
    /// This host or user cannot do it even without a jail.
    NotApplicable,
}

impl Row {
    /// Starts a row with no arm run.
    pub(crate) fn new(case: &Case) -> Row {
        Row {
            id: case.id.clone(),
            class: case.class.clone(),
            title: case.title.clone(),
            shows: case.shows.clone(),
            verdict: Verdict::Error,
            must_say_why: case.must_say_why,
            arms: BTreeMap::new(),
        }
    }

    /// Notes what an arm came to.
    pub(crate) fn set(&mut self, arm: Arm, outcome: Outcome) {
        self.arms.insert(arm, outcome);
        self.verdict = match (judge(&self.arms), self.arms.get(&Arm::Jail)) {
            (Verdict::Holds, Some(Outcome::Failed(seen))) if self.must_say_why && seen.complaint.is_empty() => {
                Verdict::Silent
            }
            (verdict, _) => verdict,
        };
    }

    /// Whether nothing about this case is amiss.
    pub(crate) fn holds(&self) -> bool {
        matches!(self.verdict, Verdict::Holds | Verdict::NotApplicable)
    }
}

fn judge(arms: &BTreeMap<Arm, Outcome>) -> Verdict {
    let get = |arm| arms.get(&arm);
    if arms.values().any(|o| matches!(o, Outcome::NotApplicable { .. })) {
        return Verdict::NotApplicable;
    }
    match get(Arm::Jail) {
        Some(Outcome::Succeeded(_)) => return Verdict::AttackSucceeded,
        Some(Outcome::Hung(_)) => return Verdict::Hung,
        _ => {}
    }
    if arms.values().any(|o| matches!(o, Outcome::Error { .. })) {
        return Verdict::Error;
    }
    if !matches!(get(Arm::Control), None | Some(Outcome::Succeeded(_))) {
        return Verdict::ControlDidNotSucceed;
    }
    if !matches!(get(Arm::Twin), None | Some(Outcome::Succeeded(_))) {
        return Verdict::TwinFailed;
    }
    Verdict::Holds
}

/// Prints the cases.
pub(crate) fn list(cases: &[Case], json: bool) -> String {
    if json {
        let items: Vec<_> = cases
            .iter()
            .map(|c| {
                serde_json::json!({"id": c.id, "class": c.class, "title": c.title, "shows": c.shows,
                    "mechanism": c.mechanism, "object": c.object, "demo": c.demo})
            })
            .collect();
        return format!("{}\n", serde_json::Value::from(items));
    }
    let mut out = String::new();
    for c in cases {
        line(&mut out, &format!("{:<14} {:<34} {}", c.class, c.id, c.title));
    }
    line(&mut out, &format!("{} cases", cases.len()));
    out
}

fn line(out: &mut String, text: &str) {
    // Writing to a String cannot fail.
    writeln!(out, "{text}").ok();
}

/// The rows and their sum as one JSON document.
pub(crate) fn json(rows: &[Row]) -> String {
    let doc = serde_json::json!({"version": 1, "summary": summary(rows), "cases": rows});
    format!("{doc}\n")
}

fn summary(rows: &[Row]) -> BTreeMap<String, usize> {
    let mut sum = BTreeMap::from([("cases".to_owned(), rows.len())]);
    for row in rows {
        *sum.entry(word(row.verdict).replace(' ', "_")).or_default() += 1;
    }
    sum
}

/// The rows as a table, what is amiss explained below it.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut out = String::new();
    let mut class = "";
    for row in rows {
        if row.class != class {
            class = &row.class;
            line(&mut out, class);
        }
        line(
            &mut out,
            &format!(
                "  {:<34} {:<11} {:<11} {:<11} {}",
                row.id,
                short(row, Arm::Control),
                short(row, Arm::Jail),
                short(row, Arm::Twin),
                word(row.verdict)
            ),
        );
    }
    for row in rows.iter().filter(|r| r.verdict != Verdict::Holds) {
        line(&mut out, &format!("\n{}: {}\n  {}", row.id, word(row.verdict), row.title));
        for (arm, outcome) in &row.arms {
            line(&mut out, &format!("  {arm:?}: {}", long(outcome)));
        }
    }
    line(&mut out, "");
    for (what, n) in summary(rows) {
        line(&mut out, &format!("{n:>5} {}", what.replace('_', " ")));
    }
    out
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Holds => "holds",
        Verdict::AttackSucceeded => "ATTACK SUCCEEDED",
        Verdict::ControlDidNotSucceed => "control did not succeed",
        Verdict::TwinFailed => "twin failed",
        Verdict::Hung => "hung",
        Verdict::Silent => "stopped without a word",
        Verdict::Error => "error",
        Verdict::NotApplicable => "not applicable",
    }
}

fn short(row: &Row, arm: Arm) -> &'static str {
    match row.arms.get(&arm) {
        None => "-",
        Some(Outcome::Succeeded(_)) => "succeeded",
        Some(Outcome::Failed(_)) => "failed",
        Some(Outcome::Hung(_)) => "hung",
        Some(Outcome::NotApplicable { .. }) => "n/a",
        Some(Outcome::Error { .. }) => "error",
    }
}

fn long(outcome: &Outcome) -> String {
    let (what, seen) = match outcome {
        Outcome::Succeeded(s) => ("succeeded", s),
        Outcome::Failed(s) => ("failed", s),
        Outcome::Hung(s) => ("hung", s),
        Outcome::NotApplicable { reason } => return format!("not applicable: {reason}"),
        Outcome::Error { reason } => return format!("error: {reason}"),
    };
    let exit = seen.exit.map_or_else(|| "by a signal".to_owned(), |e| format!("exit {e}"));
    format!("{what}, {exit}, {} ms: {}", seen.ms, seen.complaint)
}

/// Prints one line about where the run is.
pub(crate) fn progress(done: usize, all: usize, title: &str) {
    // A closed standard error loses the progress, not the result.
    drop(writeln!(std::io::stderr(), "{done}/{all} {title}"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inside::Seen;

    fn seen() -> Seen {
        Seen { exit: Some(0), ms: 1, complaint: String::new() }
    }

    #[test]
    fn a_control_that_fails_is_never_a_pass() {
        let arms = BTreeMap::from([
            (Arm::Control, Outcome::Failed(seen())),
            (Arm::Jail, Outcome::Failed(seen())),
            (Arm::Twin, Outcome::Succeeded(seen())),
        ]);
        assert_eq!(judge(&arms), Verdict::ControlDidNotSucceed);
    }

    #[test]
    fn a_limit_that_is_kept_in_silence_is_not_enough() {
        let mut row = Row::new(&crate::corpus::load().unwrap().into_iter().find(|c| c.must_say_why).unwrap());
        row.set(Arm::Jail, Outcome::Failed(seen()));
        assert_eq!(row.verdict, Verdict::Silent);
    }

    #[test]
    fn a_jail_that_never_starts_is_caught_by_the_twin() {
        let arms = BTreeMap::from([
            (Arm::Control, Outcome::Succeeded(seen())),
            (Arm::Jail, Outcome::Failed(seen())),
            (Arm::Twin, Outcome::Failed(seen())),
        ]);
        assert_eq!(judge(&arms), Verdict::TwinFailed);
    }

    #[test]
    fn an_attack_that_works_in_the_jail_outranks_every_other_finding() {
        let arms = BTreeMap::from([
            (Arm::Control, Outcome::Failed(seen())),
            (Arm::Jail, Outcome::Succeeded(seen())),
            (Arm::Twin, Outcome::Error { reason: String::new() }),
        ]);
        assert_eq!(judge(&arms), Verdict::AttackSucceeded);
    }
}
