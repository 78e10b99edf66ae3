//! The rows of a database that grant something, as they are kept in a baseline: sorted, with what is needed to put them back.
//!
//! The database is another program's, and perhaps an attacker's: nothing in its schema gets to run here.

use std::path::Path;
use std::time::Duration;

use mantlet_clients::watched::{Database, Gone, HeldColumn, Rows};
use mantlet_watch::ContentError;
use rusqlite::config::DbConfig;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// More rows than any owner grants. An attacker could make a baseline of any size otherwise.
const MOST: usize = 20_000;
/// How long another program's transaction is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is kept of a database.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Dump {
    /// Triggers and views, which change what is written and read: kind and name.
    pub(super) programs: Vec<(String, String)>,
    /// The rows of each table, in the order of the table's description.
    pub(super) tables: Vec<(String, Vec<Row>)>,
}

/// What is kept of a row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    /// What tells it apart.
    pub(super) key: Vec<Value>,
    /// What is compared.
    pub(super) held: Vec<Value>,
    /// What is put back where that is more than what is compared.
    pub(super) raw: Vec<Value>,
    /// The whole row, where it has to come back when it is gone.
    pub(super) whole: Option<Map<String, Value>>,
}

/// Opens a database that another program may be using.
pub(super) fn open(path: &Path) -> Result<Connection, ContentError> {
    let real = std::fs::canonicalize(path).map_err(failed)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(&real, flags).map_err(failed)?;
    connection.busy_timeout(PATIENCE).map_err(failed)?;
    for (option, is_on) in [
        // The attack: a trigger that writes the grant anew as soon as it is taken away.
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        // Whoever closes a file last takes its log into it; a watch that does this hears itself.
        (DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true),
    ] {
        connection.set_db_config(option, is_on).map_err(failed)?;
    }
    connection.execute_batch("PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0").map_err(failed)?;
    Ok(connection)
}

/// Reads what is kept of a database.
pub(super) fn dump(connection: &Connection, database: &Database) -> Result<Dump, ContentError> {
    let mut tables = Vec::new();
    for rows in database.rows {
        let found = if is_table(connection, rows.table)? { table(connection, rows)? } else { Vec::new() };
        tables.push((rows.table.to_owned(), found));
    }
    Ok(Dump { programs: programs(connection)?, tables })
}

fn programs(connection: &Connection) -> Result<Vec<(String, String)>, ContentError> {
    let query = "SELECT type, name FROM sqlite_schema WHERE type IN ('trigger', 'view') ORDER BY type, name";
    let mut statement = connection.prepare(query).map_err(failed)?;
    let found = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed)?;
    found.take(MOST).collect::<Result<_, _>>().map_err(failed)
}

/// Whether there is an ordinary table of this name. Something else of the name is no table that its client made.
fn is_table(connection: &Connection, name: &str) -> Result<bool, ContentError> {
    let query = "SELECT type, coalesce(sql, '') FROM sqlite_schema WHERE name = ?1 COLLATE NOCASE";
    let mut statement = connection.prepare(query).map_err(failed)?;
    let found = statement.query_map([name], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)));
    let found: Vec<_> = found.map_err(failed)?.collect::<Result<_, _>>().map_err(failed)?;
    match &found[..] {
        [] => Ok(false),
        [(kind, sql)] if kind == "table" && sql.to_ascii_uppercase().starts_with("CREATE TABLE") => Ok(true),
        _ => Err(ContentError::new(format!("`{name}` is no table any more"))),
    }
}

fn table(connection: &Connection, rows: &Rows) -> Result<Vec<Row>, ContentError> {
    let query = format!("SELECT * FROM \"{}\" WHERE {}", rows.table, rows.only);
    let mut statement = connection.prepare(&query).map_err(failed)?;
    let columns: Vec<String> = statement.column_names().into_iter().map(str::to_owned).collect();
    let mut found = Vec::new();
    let mut cursor = statement.query([]).map_err(failed)?;
    while let Some(row) = cursor.next().map_err(failed)? {
        let mut whole = Map::new();
        for (at, name) in columns.iter().enumerate() {
            whole.insert(name.clone(), kept(row.get_ref(at).map_err(failed)?));
        }
        found.extend(described(rows, whole)?);
        if found.len() > MOST {
            return Err(ContentError::new(format!("`{}` has more rows than anybody grants", rows.table)));
        }
    }
    found.sort_by_cached_key(|row| Value::from(row.key.clone()).to_string());
    Ok(found)
}

/// What of a row is kept; nothing of one in which nothing stands.
fn described(rows: &Rows, whole: Map<String, Value>) -> Result<Option<Row>, ContentError> {
    let column = |name: &str| {
        let value = whole.get(name).cloned();
        value.ok_or_else(|| ContentError::new(format!("`{}` has no column `{name}` any more", rows.table)))
    };
    let mut is_own = !rows.unless.is_empty();
    for (part, words) in rows.unless {
        let said = match part {
            HeldColumn::Column(name) | HeldColumn::Json(name, _) => column(name)?,
            HeldColumn::Within(name, path) => parsed(&column(name)?).map_or(Value::Null, |value| within(value, path)),
        };
        is_own &= said.as_str().is_some_and(|said| words.contains(&said));
    }
    if is_own {
        return Ok(None);
    }
    let key = rows.key.iter().map(|name| column(name)).collect::<Result<_, _>>()?;
    let (mut held, mut raw) = (Vec::new(), Vec::new());
    for part in rows.held {
        match part {
            HeldColumn::Column(name) => {
                held.push(column(name)?);
                raw.push(Value::Null);
            }
            HeldColumn::Json(name, ignored) => {
                let text = column(name)?;
                held.push(parsed(&text).map_or_else(|| json!({"text": text}), |value| without(value, ignored)));
                raw.push(text);
            }
            HeldColumn::Within(name, path) => {
                let text = column(name)?;
                held.push(parsed(&text).map_or_else(|| json!({"text": text}), |value| within(value, path)));
                raw.push(Value::Null);
            }
        }
    }
    let is_within = !rows.held.is_empty() && rows.held.iter().all(|part| matches!(part, HeldColumn::Within(..)));
    let is_nothing = |value: &Value| value.is_null() || value.as_object().is_some_and(Map::is_empty);
    if is_within && held.iter().all(is_nothing) {
        return Ok(None);
    }
    Ok(Some(Row { key, held, raw, whole: (rows.gone == Gone::PutBack).then_some(whole) }))
}

/// A JSON text as its client reads it: the last of two members with one name counts.
pub(super) fn parsed(text: &Value) -> Option<Value> {
    serde_json::from_str(text.as_str()?).ok()
}

/// Takes out what stands at these paths.
fn without(mut value: Value, paths: &[&str]) -> Value {
    for path in paths {
        let names: Vec<&str> = path.split('.').collect();
        take_out(&mut value, &names);
    }
    value
}

fn take_out(value: &mut Value, names: &[&str]) {
    match (value, names) {
        (Value::Object(members), [name]) => drop(members.remove(*name)),
        (Value::Object(members), ["*", rest @ ..]) => members.values_mut().for_each(|value| take_out(value, rest)),
        (Value::Object(members), [name, rest @ ..]) => {
            if let Some(value) = members.get_mut(*name) {
                take_out(value, rest);
            }
        }
        (Value::Array(elements), ["*", rest @ ..]) => elements.iter_mut().for_each(|value| take_out(value, rest)),
        _ => {}
    }
}

/// Follows a path: `$.a.b`.
fn within(mut value: Value, path: &str) -> Value {
    for name in path.split('.').skip(1) {
        value = value.get_mut(name).map(Value::take).unwrap_or_default();
    }
    value
}

/// A value of a database as JSON keeps it.
fn kept(value: ValueRef) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => json!({"real": number.to_bits()}),
        ValueRef::Blob(bytes) => json!({"blob": bytes}),
        ValueRef::Text(bytes) => std::str::from_utf8(bytes).map_or_else(|_| json!({"bytes": bytes}), Value::from),
    }
}

/// The value of a database that was kept so.
pub(super) fn unkept(value: &Value) -> Result<rusqlite::types::Value, ContentError> {
    use rusqlite::types::Value as Sql;
    let bytes = |value: &Value| serde_json::from_value::<Vec<u8>>(value.clone()).ok();
    Ok(match value {
        Value::Null => Sql::Null,
        Value::String(text) => Sql::Text(text.clone()),
        Value::Number(number) => Sql::Integer(number.as_i64().ok_or_else(unread)?),
        Value::Object(members) if members.len() == 1 => match members.iter().next() {
            Some((name, value)) if name == "real" => Sql::Real(f64::from_bits(value.as_u64().ok_or_else(unread)?)),
            Some((name, value)) if name == "blob" => Sql::Blob(bytes(value).ok_or_else(unread)?),
            // SQLite's texts need not be UTF-8, ours are: what no client writes is not put back.
            _ => return Err(unread()),
        },
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => return Err(unread()),
    })
}

pub(super) fn unread() -> ContentError {
    ContentError::new("the baseline of this database cannot be read")
}

pub(super) fn failed(error: impl std::fmt::Display) -> ContentError {
    ContentError::new(format!("the database cannot be read: {error}"))
}
