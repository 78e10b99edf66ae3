//! A database for the watch: the rows that grant something compared with a baseline, and put back in one transaction.
//!
//! The client may have the database open: it sees all of what is put back, or nothing of it, with its next statement.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use mantlet_clients::watched::{Database, Gone, HeldColumn, New, Rows};
use mantlet_watch::{ContentError, Difference};
use rusqlite::{Connection, Transaction, TransactionBehavior, params_from_iter};
use serde_json::Value;

use super::rows_dump::{Dump, Row, dump, failed, open, parsed, unkept, unread};

/// How many rows a comparison names; an attacker could add any number.
const NAMED: usize = 64;
/// How long a row's name may be.
const LONG: usize = 160;

/// Returns what of a database is kept.
pub(super) fn snapshot(database: &Database, path: &Path, file: &File) -> Result<Vec<u8>, ContentError> {
    is_same(path, file)?;
    let mut connection = open(path)?;
    connection.execute_batch("PRAGMA query_only = ON").map_err(failed)?;
    // One state of the database, whoever writes meanwhile.
    let transaction = connection.transaction().map_err(failed)?;
    let found = dump(&transaction, database)?;
    is_same(path, file)?;
    serde_json::to_vec(&found).map_err(failed)
}

/// Compares two snapshots.
pub(super) fn compare(database: &Database, baseline: &[u8], found: &[u8]) -> Difference {
    let (Ok(before), Ok(after)) = (read(baseline), read(found)) else {
        return Difference::Tampered { keys: vec!["(unreadable)".to_owned()] };
    };
    let changes = changes(database, &before, &after);
    let named = |is_wanted: bool| {
        let wanted = changes.iter().filter(|change| change.is_tampering() == is_wanted);
        wanted.take(NAMED).map(Change::named).collect::<Vec<_>>()
    };
    match (named(true), named(false)) {
        (tampered, _) if !tampered.is_empty() => Difference::Tampered { keys: tampered },
        (_, accepted) if !accepted.is_empty() => Difference::Accepted { keys: accepted },
        _ => Difference::Same,
    }
}

/// Puts the rows of the baseline back.
pub(super) fn restore(database: &Database, path: &Path, baseline: &[u8], file: &File) -> Result<(), ContentError> {
    let before = read(baseline)?;
    is_same(path, file)?;
    let mut connection = open(path)?;
    is_same(path, file)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    for change in changes(database, &before, &dump(&transaction, database)?) {
        if change.is_tampering() {
            change.take_back(&transaction)?;
        }
    }
    // What is committed is what was wanted, or nothing: a schema can have surprises.
    if changes(database, &before, &dump(&transaction, database)?).iter().any(Change::is_tampering) {
        return Err(ContentError::new("the database does not take its own rows back"));
    }
    transaction.commit().map_err(failed)
}

/// The path still leads to the file that is meant; else a swap would have rows written into somebody else's database.
fn is_same(path: &Path, file: &File) -> Result<(), ContentError> {
    let (named, meant) = (std::fs::metadata(path).map_err(failed)?, file.metadata().map_err(failed)?);
    match (named.dev(), named.ino()) == (meant.dev(), meant.ino()) {
        true => Ok(()),
        false => Err(ContentError::new("the database was replaced by another file")),
    }
}

/// A snapshot as it was kept; one of nothing is handed in empty.
fn read(snapshot: &[u8]) -> Result<Dump, ContentError> {
    match snapshot {
        [] => Ok(Dump::default()),
        bytes => serde_json::from_slice(bytes).map_err(|_| unread()),
    }
}

/// One difference between two states of a database.
enum Change<'d> {
    /// A trigger or view that was not there.
    Program(&'d (String, String)),
    /// A row that was not there.
    Added(&'static Rows, &'d Row),
    /// A row that says something else, or stands there twice: as it was.
    Altered(&'static Rows, &'d Row),
    /// A row that is gone: as it was.
    Lost(&'static Rows, &'d Row),
}

fn changes<'d>(database: &Database, before: &'d Dump, after: &'d Dump) -> Vec<Change<'d>> {
    let mut found: Vec<Change> = Vec::new();
    found.extend(after.programs.iter().filter(|program| !before.programs.contains(program)).map(Change::Program));
    for rows in database.rows {
        let of = |dump: &'d Dump| {
            let found = dump.tables.iter().find(|(name, _)| name == rows.table);
            found.map(|(_, rows)| rows.as_slice()).unwrap_or_default()
        };
        let (old, new) = (of(before), of(after));
        for (at, row) in new.iter().enumerate() {
            // Sorted by key: a second row of one key stands behind the first.
            let is_second = at > 0 && new[at - 1].key == row.key;
            match old.iter().find(|old| old.key == row.key) {
                Some(old) if !is_second && old.held == row.held => {}
                Some(old) => found.push(Change::Altered(rows, old)),
                None => found.push(Change::Added(rows, row)),
            }
        }
        let is_lost = |row: &&Row| new.iter().all(|new| new.key != row.key);
        found.extend(old.iter().filter(is_lost).map(|row| Change::Lost(rows, row)));
    }
    found
}

impl Change<'_> {
    fn is_tampering(&self) -> bool {
        match self {
            Change::Lost(rows, _) => rows.gone == Gone::PutBack,
            Change::Added(rows, _) => rows.new == New::TakenOut,
            Change::Program(_) | Change::Altered(..) => true,
        }
    }

    fn named(&self) -> String {
        let whole = match self {
            Change::Program((kind, name)) => format!("{kind} {name}"),
            Change::Added(rows, row) | Change::Altered(rows, row) | Change::Lost(rows, row) => {
                let key = row.key.iter().map(|part| part.as_str().map_or_else(|| part.to_string(), str::to_owned));
                format!("{}({})", rows.table, key.collect::<Vec<_>>().join(", "))
            }
        };
        match whole.char_indices().nth(LONG) {
            Some((at, _)) => format!("{}…", &whole[..at]),
            None => whole,
        }
    }

    fn take_back(&self, transaction: &Transaction) -> Result<(), ContentError> {
        match self {
            Change::Program((kind, name)) => {
                let kind = if kind == "view" { "VIEW" } else { "TRIGGER" };
                transaction.execute_batch(&format!("DROP {kind} \"{}\"", name.replace('"', "\"\""))).map_err(failed)
            }
            Change::Added(rows, row) => {
                let delete = format!("DELETE FROM \"{}\" WHERE {}", rows.table, keyed(rows, 0));
                run(transaction, &delete, row.key.iter())
            }
            Change::Altered(rows, row) => alter(transaction, rows, row),
            Change::Lost(rows, row) => {
                let whole = row.whole.as_ref().ok_or_else(unread)?;
                let names: Vec<String> =
                    whole.keys().map(|name| format!("\"{}\"", name.replace('"', "\"\""))).collect();
                let marks: Vec<String> = (1..=names.len()).map(|at| format!("?{at}")).collect();
                // A row of the key that says nothing counts as gone.
                let insert = format!(
                    "INSERT OR REPLACE INTO \"{}\" ({}) VALUES ({})",
                    rows.table,
                    names.join(", "),
                    marks.join(", ")
                );
                run(transaction, &insert, whole.values())
            }
        }
    }
}

/// The condition that finds a row by its key, with parameters from `after` on.
fn keyed(rows: &Rows, after: usize) -> String {
    let parts = rows.key.iter().enumerate().map(|(at, name)| format!("\"{name}\" IS ?{}", after + at + 1));
    parts.collect::<Vec<_>>().join(" AND ")
}

fn alter(transaction: &Transaction, rows: &Rows, row: &Row) -> Result<(), ContentError> {
    if row.held.len() != rows.held.len() || row.raw.len() != rows.held.len() {
        return Err(unread());
    }
    for (part, (held, raw)) in rows.held.iter().zip(row.held.iter().zip(&row.raw)) {
        let (name, value) = match part {
            HeldColumn::Column(name) => (name, held.clone()),
            HeldColumn::Json(name, _) => (name, raw.clone()),
            HeldColumn::Within(name, path) => (name, inside(transaction, rows, row, (name, path), held)?),
        };
        let update = format!("UPDATE \"{}\" SET \"{name}\" = ?1 WHERE {}", rows.table, keyed(rows, 1));
        run(transaction, &update, std::iter::once(&value).chain(&row.key))?;
    }
    Ok(())
}

/// The text of a column with one value in it as it was. Not by SQLite's own functions: of two members with one name they
/// would change the first, and the client reads the last.
fn inside(
    transaction: &Transaction,
    rows: &Rows,
    row: &Row,
    (name, path): (&str, &str),
    held: &Value,
) -> Result<Value, ContentError> {
    let query = format!("SELECT \"{name}\" FROM \"{}\" WHERE {}", rows.table, keyed(rows, 0));
    let key = row.key.iter().map(unkept).collect::<Result<Vec<_>, _>>()?;
    let text: String = transaction.query_row(&query, params_from_iter(key), |row| row.get(0)).map_err(failed)?;
    let mut whole = parsed(&Value::from(text)).ok_or_else(unread)?;
    let mut names: Vec<&str> = path.split('.').skip(1).collect();
    let last = names.pop().ok_or_else(unread)?;
    let mut at = &mut whole;
    for name in names {
        at = at.as_object_mut().ok_or_else(unread)?.entry(name).or_insert_with(|| Value::Object(Default::default()));
    }
    let members = at.as_object_mut().ok_or_else(unread)?;
    match held {
        Value::Null => drop(members.remove(last)),
        held => drop(members.insert(last.to_owned(), held.clone())),
    }
    Ok(Value::from(whole.to_string()))
}

fn run<'v>(connection: &Connection, sql: &str, values: impl Iterator<Item = &'v Value>) -> Result<(), ContentError> {
    let values = values.map(unkept).collect::<Result<Vec<_>, _>>()?;
    connection.execute(sql, params_from_iter(values)).map(drop).map_err(failed)
}

#[cfg(test)]
#[path = "rows_tests.rs"]
mod tests;
