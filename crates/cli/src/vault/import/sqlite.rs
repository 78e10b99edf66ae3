//! Databases as bytes of a file: rows are read and written in memory, so that no plaintext passes through a disk.
//!
//! On the disk only one thing is done: what SQLite itself would do when the next program opens the file.

use std::path::Path;

use anyhow::{Context as _, bail};
use mantlet_change::Row;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, MAIN_DB, OpenFlags, OptionalExtension as _};

/// Where a database's header says how it is written and read: 2 is with a write-ahead log.
const VERSIONS: std::ops::Range<usize> = 18..20;

/// A database in memory.
pub(super) struct Database {
    connection: Connection,
    versions: [u8; 2],
}

impl Database {
    /// Reads the bytes of a file that has no log beside it.
    pub(super) fn read(bytes: &[u8]) -> anyhow::Result<Database> {
        let versions: [u8; 2] =
            bytes.get(VERSIONS).and_then(|versions| versions.try_into().ok()).context("this is no database")?;
        // In memory there is no log: SQLite refuses what says that it has one.
        let mut plain = bytes.to_vec();
        plain.splice(VERSIONS, [1, 1]);
        let mut connection = Connection::open_in_memory()?;
        connection.deserialize_read_exact(MAIN_DB, plain.as_slice(), plain.len(), false)?;
        Ok(Database { connection, versions })
    }

    /// Reads a file as it is now, with its log; another program may be using it. Writes nothing into it.
    pub(super) fn look(path: &Path) -> anyhow::Result<Database> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let source = Connection::open_with_flags(path, flags)?;
        source.busy_timeout(std::time::Duration::from_secs(2))?;
        source.execute_batch("PRAGMA query_only = ON")?;
        // Else whoever closes a file last takes its log into it.
        source.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        let bytes = source.serialize(MAIN_DB)?;
        Database::read(&bytes)
    }

    /// Returns a row's text; nothing when there is no such row, or no such table.
    pub(super) fn text(&self, row: &Row) -> anyhow::Result<Option<String>> {
        if !self.has(&row.table)? {
            return Ok(None);
        }
        let query = format!("SELECT {} FROM {} WHERE {} = ?1", row.text_column, row.table, row.key_column);
        Ok(self.connection.query_row(&query, [&row.key], |row| row.get(0)).optional()?)
    }

    /// Counts the rows of a table; none where there is no such table.
    pub(super) fn count(&self, table: &str) -> anyhow::Result<u64> {
        if !self.has(table)? {
            return Ok(0);
        }
        Ok(self.connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))?)
    }

    fn has(&self, table: &str) -> anyhow::Result<bool> {
        let query = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?1";
        Ok(self.connection.query_row(query, [table], |row| row.get::<_, i64>(0))? > 0)
    }

    /// Writes texts into rows, and returns the bytes of the file: written anew, so that nothing deleted is left in it.
    pub(super) fn with(self, rows: &[(Row, String)]) -> anyhow::Result<Vec<u8>> {
        for (row, text) in rows {
            let update = format!("UPDATE {} SET {} = ?1 WHERE {} = ?2", row.table, row.text_column, row.key_column);
            if self.connection.execute(&update, [text, &row.key])? != 1 {
                bail!("a row of {} is gone", row.table);
            }
        }
        self.connection.execute_batch("VACUUM")?;
        let sound: String = self.connection.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
        if sound != "ok" {
            bail!("the database is damaged");
        }
        let mut bytes = self.connection.serialize(MAIN_DB)?.to_vec();
        bytes.splice(VERSIONS, self.versions);
        Ok(bytes)
    }
}

/// Takes the log into a database, as the next program that opens it would, and makes sure that no program has it open.
pub(super) fn settle(path: &Path) -> anyhow::Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).with_context(|| failed(path))?;
    // Who holds the file exclusively is alone with it: every other program that has it open holds a shared lock.
    connection.execute_batch("PRAGMA locking_mode = EXCLUSIVE").with_context(|| failed(path))?;
    let alone = connection.execute_batch("BEGIN IMMEDIATE; COMMIT");
    match alone.and_then(|()| connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0))) {
        Ok(0) => {}
        Ok(_) => bail!("{}: {IN_USE}", path.display()),
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) => {
            bail!("{}: {IN_USE}", path.display())
        }
        Err(error) => return Err(error).with_context(|| failed(path)),
    }
    connection.close().map_err(|(_, error)| error).with_context(|| failed(path))?;
    // Alone with it, nothing was kept in the index of the log: one that a killed program left goes with this.
    let connection = Connection::open_with_flags(path, flags).with_context(|| failed(path))?;
    connection.execute_batch("SELECT count(*) FROM sqlite_schema").with_context(|| failed(path))?;
    connection.close().map_err(|(_, error)| error).with_context(|| failed(path))?;
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    if Path::new(&log).metadata().is_ok_and(|log| log.len() > 0) {
        bail!("{}: {IN_USE}", path.display());
    }
    Ok(())
}

const IN_USE: &str = "OpenClaw is using it\nhint: stop the gateway (`openclaw gateway stop`), and call again";

fn failed(path: &Path) -> String {
    format!("cannot open the database {}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: &str) -> Row {
        Row { table: "t".into(), key_column: "k".into(), key: key.into(), text_column: "v".into() }
    }

    /// A database with a log beside it, in which a canary was written, changed and deleted.
    fn made(name: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("mantlet-sqlite-{name}-{}", std::process::id()));
        std::fs::remove_file(&path).ok();
        let made = Connection::open(&path).unwrap();
        made.execute_batch(
            "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;
             CREATE TABLE t (k TEXT PRIMARY KEY, v TEXT NOT NULL) STRICT;
             INSERT INTO t VALUES ('one', 'canary-1'), ('two', 'other'), ('gone', 'canary-2');
             UPDATE t SET v = 'canary-3' WHERE k = 'one'; DELETE FROM t WHERE k = 'gone';",
        )
        .unwrap();
        drop(made);
        path
    }

    fn canaries(bytes: &[u8]) -> usize {
        bytes.windows(7).filter(|part| part == b"canary-").count()
    }

    #[test]
    fn a_row_is_rewritten_and_nothing_of_the_old_one_is_left() {
        let path = made("rewrite");
        settle(&path).unwrap();
        let before = std::fs::read(&path).unwrap();
        // The control: SQLite leaves what was changed and deleted in its file.
        assert!(canaries(&before) > 1, "{}", canaries(&before));
        let database = Database::read(&before).unwrap();
        assert_eq!(database.text(&row("one")).unwrap().as_deref(), Some("canary-3"));
        assert_eq!((database.text(&row("none")).unwrap(), database.count("t").unwrap()), (None, 2));
        let after = database.with(&[(row("one"), "clean".into())]).unwrap();
        assert_eq!(canaries(&after), 0);
        std::fs::write(&path, &after).unwrap();
        let again = Connection::open(&path).unwrap();
        let read = |query: &str| again.query_row(query, [], |row| row.get::<_, String>(0)).unwrap();
        assert_eq!(
            (read("SELECT v FROM t WHERE k = 'one'"), read("SELECT v FROM t WHERE k = 'two'")),
            ("clean".into(), "other".into())
        );
        assert_eq!((read("PRAGMA journal_mode"), read("PRAGMA integrity_check")), ("wal".into(), "ok".into()));
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_database_in_use_is_looked_at_and_not_settled() {
        let path = made("busy");
        let user = Connection::open(&path).unwrap();
        user.execute_batch("UPDATE t SET v = 'canary-4' WHERE k = 'one'").unwrap();
        assert!(settle(&path).unwrap_err().to_string().contains("stop the gateway"));
        assert_eq!(Database::look(&path).unwrap().text(&row("one")).unwrap().as_deref(), Some("canary-4"));
        // As if it had been killed: the log stays, and a look leaves both as they are.
        user.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
        drop(user);
        let log = path.with_file_name(format!("{}-wal", path.file_name().unwrap().to_str().unwrap()));
        let both = || (std::fs::read(&path).unwrap(), std::fs::read(&log).unwrap());
        let before = both();
        assert!(!before.1.is_empty());
        assert_eq!(Database::look(&path).unwrap().text(&row("one")).unwrap().as_deref(), Some("canary-4"));
        assert!(both() == before);
        settle(&path).unwrap();
        assert!(!log.exists());
        assert!(Database::read(b"no database").is_err());
        assert!(Database::read(&[b'x'; 4096]).and_then(|database| database.count("t")).is_err());
        std::fs::remove_file(&path).unwrap();
    }
}
