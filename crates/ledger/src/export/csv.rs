//! The table: RFC 4180, one row per entry, for people with spreadsheets.
//!
//! An agent chooses command lines, and a spreadsheet computes what begins like a formula: `=HYPERLINK(...)` sends other cells
//! away, `=cmd|...` starts programs (OWASP, CSV injection).

use super::facts::Facts;
use crate::{Entry, Kind, escape};

const COLUMNS: [&str; 20] = [
    "time",
    "agent",
    "kind",
    "outcome",
    "how",
    "subject",
    "reason",
    "rule",
    "call",
    "session",
    "exit",
    "duration_ms",
    "bytes",
    "up",
    "down",
    "count",
    "policy",
    "seq",
    "hash",
    "v",
];

/// Appends the names of the columns.
pub(super) fn header(out: &mut String) {
    record(COLUMNS.map(text), out);
}

/// Appends an entry's row.
pub(super) fn row(entry: &Entry, out: &mut String) {
    let facts = Facts::of(entry);
    let numbers = Numbers::of(&entry.kind);
    let optional = |value: Option<&str>| value.map_or(String::new(), text);
    let link = entry.chain.as_ref();
    let cells = [
        text(&entry.time),
        text(&entry.agent),
        text(facts.kind),
        text(facts.outcome),
        optional(facts.how),
        text(&facts.subject),
        optional(facts.reason),
        optional(facts.rule),
        optional(facts.call),
        optional(facts.session),
        number(numbers.exit),
        number(numbers.duration_ms),
        number(numbers.bytes),
        number(numbers.up),
        number(numbers.down),
        number(numbers.count),
        text(&entry.policy),
        number(link.map(|link| link.seq)),
        optional(link.map(|link| link.hash.as_str())),
        number(Some(entry.v)),
    ];
    record(cells, out);
}

#[derive(Default)]
struct Numbers {
    exit: Option<i32>,
    duration_ms: Option<u64>,
    bytes: Option<u64>,
    up: Option<u64>,
    down: Option<u64>,
    count: Option<u64>,
}

impl Numbers {
    fn of(kind: &Kind) -> Numbers {
        match kind {
            Kind::Exec(exec) => Numbers {
                exit: Some(exec.exit),
                duration_ms: Some(exec.duration_ms),
                bytes: exec.bytes_out,
                ..Numbers::default()
            },
            Kind::Egress(egress) => Numbers {
                up: Some(egress.up),
                down: Some(egress.down),
                count: Some(egress.count),
                ..Numbers::default()
            },
            Kind::Change(change) => {
                Numbers { duration_ms: Some(change.took_ms), count: Some(change.count), ..Numbers::default() }
            }
            Kind::Alert(alert) => Numbers { count: Some(alert.count), ..Numbers::default() },
            Kind::Ledger(upkeep) => Numbers { bytes: upkeep.bytes, ..Numbers::default() },
            Kind::Tool(_) | Kind::Halt(_) => Numbers::default(),
        }
    }
}

/// A record ends in CR LF, also the last one.
fn record(cells: [String; COLUMNS.len()], out: &mut String) {
    out.push_str(&cells.join(","));
    out.push_str("\r\n");
}

/// A number is no formula, even a negative one: nothing else can stand in its cell.
fn number(value: Option<impl ToString>) -> String {
    value.map_or(String::new(), |value| value.to_string())
}

/// A cell that every program takes for the text it shows: quoted, without line ends and controls, and with an apostrophe
/// before what would begin a formula.
fn text(value: &str) -> String {
    let mut cell = String::with_capacity(value.len() + 2);
    cell.push('"');
    let value = escape(value.as_bytes());
    if begins_formula(&value) {
        cell.push('\'');
    }
    for (at, c) in value.char_indices() {
        match c {
            '"' => cell.push_str("\"\""),
            // Where a comma divides decimals, spreadsheets open a .csv with the semicolon as the separator; then a cell of
            // theirs begins in the middle of one of ours.
            ';' if value.get(at + 1..).is_some_and(begins_formula) => cell.push_str(";'"),
            _ => cell.push(c),
        }
    }
    cell.push('"');
    cell
}

/// Whether a cell of this text would be computed. Spaces and quotes before it are dropped by some importers. A tab, CR or LF
/// cannot be there any more; the wide forms are what some input methods make of the four.
fn begins_formula(text: &str) -> bool {
    let text = text.trim_start_matches([' ', '"']);
    text.starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠'])
}
