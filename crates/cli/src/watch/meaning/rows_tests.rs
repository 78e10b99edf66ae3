//! Each row of a database that grants something, attacked under a client that has the database open.

use mantlet_clients::watched::{Compared, of_client};
use serde_json::json;

use super::*;

fn openclaw() -> &'static Database {
    let row = of_client("openclaw").into_iter().find(|row| row.name == "state/openclaw.sqlite").unwrap();
    let Compared::Rows(database) = row.compared else { panic!() };
    database
}

/// Tables as OpenClaw 2026.9.6 makes them, as far as they are looked at, with what an owner granted.
const MADE: &str = r#"
PRAGMA journal_mode = WAL;
CREATE TABLE exec_approvals_config (config_key TEXT NOT NULL PRIMARY KEY, raw_json TEXT NOT NULL, socket_path TEXT,
  has_socket_token INTEGER NOT NULL, default_security TEXT, default_ask TEXT, default_ask_fallback TEXT,
  auto_allow_skills INTEGER, agent_count INTEGER NOT NULL, allowlist_count INTEGER NOT NULL, updated_at_ms INTEGER NOT NULL) STRICT;
INSERT INTO exec_approvals_config VALUES ('current',
  '{"version":1,"defaults":{"security":"allowlist"},"agents":{"main":{"allowlist":[{"pattern":"/usr/bin/jq","lastUsedAt":1}]}}}',
  NULL, 0, 'allowlist', NULL, NULL, NULL, 1, 1, 1);
CREATE TABLE channel_pairing_allow_entries (channel_key TEXT NOT NULL, account_id TEXT NOT NULL, entry TEXT NOT NULL,
  sort_order INTEGER NOT NULL, updated_at INTEGER NOT NULL, PRIMARY KEY (channel_key, account_id, entry)) STRICT;
INSERT INTO channel_pairing_allow_entries VALUES ('telegram', 'default', '1', 0, 1);
CREATE TABLE device_pairing_paired (device_id TEXT NOT NULL PRIMARY KEY, public_key TEXT NOT NULL, role TEXT, roles_json TEXT,
  scopes_json TEXT, approved_scopes_json TEXT, approved_via TEXT, last_seen_at_ms INTEGER) STRICT;
INSERT INTO device_pairing_paired VALUES ('phone', 'key', 'operator', '[]', '["operator.read"]', '["operator.read"]', 'owner', 1);
CREATE TABLE config_machine_state (state_key TEXT NOT NULL PRIMARY KEY, value_json TEXT NOT NULL, updated_at_ms INTEGER NOT NULL) STRICT;
INSERT INTO config_machine_state VALUES ('plugins.installedIndex', '{"revision":1,"index":{"installRecords":{"mine":{"installPath":"/p"}},"plugins":[]}}', 1);
CREATE TABLE cron_jobs (store_key TEXT NOT NULL, job_id TEXT NOT NULL, payload_kind TEXT NOT NULL, job_json TEXT NOT NULL,
  state_json TEXT NOT NULL DEFAULT '{}', PRIMARY KEY (store_key, job_id)) STRICT;
INSERT INTO cron_jobs VALUES ('s', 'backup', 'command', '{"payload":{"kind":"command","argv":["backup"]},"schedule":{"kind":"every"}}', '{}');
CREATE TABLE secret_store_entries (scope_kind TEXT, scope_id TEXT, name TEXT, value TEXT NOT NULL, deleted_at_ms INTEGER,
  allowed_hosts TEXT, PRIMARY KEY (scope_kind, scope_id, name)) STRICT;
INSERT INTO secret_store_entries VALUES ('team', '', 'KEY', 'canary-secret', NULL, '["a.example"]');
"#;

struct World {
    directory: std::path::PathBuf,
    /// The client, which has the database open all the time.
    client: Connection,
    baseline: Vec<u8>,
}

impl World {
    fn new(name: &str) -> World {
        let directory = std::env::temp_dir().join(format!("mantlet-rows-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let client = Connection::open(directory.join("openclaw.sqlite")).unwrap();
        client.execute_batch(MADE).unwrap();
        let mut world = World { directory, client, baseline: Vec::new() };
        world.baseline = world.now().unwrap();
        world
    }

    fn path(&self) -> std::path::PathBuf {
        self.directory.join("openclaw.sqlite")
    }

    fn now(&self) -> Result<Vec<u8>, ContentError> {
        snapshot(openclaw(), &self.path(), &File::open(self.path()).unwrap())
    }

    fn difference(&self) -> Difference {
        compare(openclaw(), &self.baseline, &self.now().unwrap())
    }

    fn restore(&self) -> Result<(), ContentError> {
        restore(openclaw(), &self.path(), &self.baseline, &File::open(self.path()).unwrap())
    }

    /// What the client, with its connection of before, reads.
    fn read(&self, sql: &str) -> Vec<String> {
        let mut statement = self.client.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get::<_, rusqlite::types::Value>(0)).unwrap();
        rows.map(|value| format!("{:?}", value.unwrap())).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.directory).ok();
    }
}

/// What an attacker writes, where it shows, and which row that is.
const ATTACKS: &[(&str, &str, &str)] = &[
    (
        "UPDATE exec_approvals_config SET raw_json = json_set(raw_json, '$.defaults.security', 'full')",
        "SELECT raw_json FROM exec_approvals_config",
        "exec_approvals_config(current)",
    ),
    (
        r#"UPDATE exec_approvals_config SET raw_json = json_insert(raw_json, '$.agents.main.allowlist[#]', json('{"pattern":"/bin/sh"}'))"#,
        "SELECT raw_json FROM exec_approvals_config",
        "exec_approvals_config(current)",
    ),
    (
        "UPDATE exec_approvals_config SET raw_json = 'x'",
        "SELECT raw_json FROM exec_approvals_config",
        "exec_approvals_config(current)",
    ),
    // Without the row everything is allowed.
    (
        "DELETE FROM exec_approvals_config",
        "SELECT raw_json FROM exec_approvals_config",
        "exec_approvals_config(current)",
    ),
    (
        "INSERT INTO channel_pairing_allow_entries VALUES ('telegram', 'default', '666', 1, 2)",
        "SELECT entry FROM channel_pairing_allow_entries",
        "channel_pairing_allow_entries(telegram, default, 666)",
    ),
    (
        r#"UPDATE device_pairing_paired SET scopes_json = '["operator.admin"]', approved_scopes_json = '["operator.admin"]'"#,
        "SELECT scopes_json || approved_scopes_json FROM device_pairing_paired",
        "device_pairing_paired(phone)",
    ),
    (
        "INSERT INTO device_pairing_paired SELECT 'evil', 'k', 'operator', '[]', '[]', '[\"operator.admin\"]', 'silent', 1",
        "SELECT device_id FROM device_pairing_paired",
        "device_pairing_paired(evil)",
    ),
    (
        "UPDATE config_machine_state SET value_json = json_set(value_json, '$.index.installRecords.mine.installPath', '/evil')",
        "SELECT value_json ->> '$.index.installRecords' FROM config_machine_state",
        "config_machine_state(plugins.installedIndex)",
    ),
    (
        r#"INSERT INTO cron_jobs VALUES ('s', 'x', 'command', '{"payload":{"kind":"command","argv":["evil"]}}', '{}')"#,
        "SELECT job_id FROM cron_jobs",
        "cron_jobs(s, x)",
    ),
    // The column says one thing, and the job another.
    (
        r#"INSERT INTO cron_jobs VALUES ('s', 'x', 'agentTurn', '{"payload":{"kind":"command","argv":["evil"]}}', '{}')"#,
        "SELECT job_id FROM cron_jobs",
        "cron_jobs(s, x)",
    ),
    // One reader takes the first of two members, and the gateway the last.
    (
        r#"INSERT INTO cron_jobs VALUES ('s', 'x', 'agentTurn', '{"payload":{"kind":"agentTurn","kind":"command","argv":["evil"]}}', '{}')"#,
        "SELECT job_id FROM cron_jobs",
        "cron_jobs(s, x)",
    ),
    (
        r#"INSERT INTO cron_jobs VALUES ('s', 'x', 'agentTurn', '{"payload":{"kind":"agentTurn"},"p\u0061yload":{"kind":"command"}}', '{}')"#,
        "SELECT job_id FROM cron_jobs",
        "cron_jobs(s, x)",
    ),
    (
        "INSERT INTO cron_jobs VALUES ('s', 'x', 'agentTurn', 'no JSON', '{}')",
        "SELECT job_id FROM cron_jobs",
        "cron_jobs(s, x)",
    ),
    (
        r#"UPDATE config_machine_state SET value_json = '{"revision":1,"index":{"installRecords":{"mine":{"installPath":"/p"}},"plugins":[]},"index":{"installRecords":{"mine":{"installPath":"/evil"}},"plugins":[]}}'"#,
        "SELECT count(*) FROM config_machine_state WHERE value_json LIKE '%/evil%'",
        "config_machine_state(plugins.installedIndex)",
    ),
    (
        "UPDATE cron_jobs SET job_json = json_set(job_json, '$.payload.argv', json('[\"evil\"]'))",
        "SELECT job_json FROM cron_jobs",
        "cron_jobs(s, backup)",
    ),
    (
        "UPDATE secret_store_entries SET allowed_hosts = '[\"evil.example\"]'",
        "SELECT allowed_hosts FROM secret_store_entries",
        "secret_store_entries(team, , KEY)",
    ),
];

#[test]
fn each_row_that_grants_something_is_put_back_under_a_client_that_has_the_database_open() {
    for (at, (attack, looks, key)) in ATTACKS.iter().enumerate() {
        let world = World::new(&format!("attack-{at}"));
        let was = world.read(looks);
        world.client.execute_batch(attack).unwrap();
        assert_ne!(world.read(looks), was, "the control: without the watch the attack stays: {attack}");
        assert_eq!(world.difference(), Difference::Tampered { keys: vec![(*key).to_owned()] }, "{attack}");
        world.restore().unwrap();
        assert_eq!(world.read(looks), was, "{attack}");
        assert_eq!(world.difference(), Difference::Same, "{attack}");
    }
}

#[test]
fn what_a_gateway_writes_by_itself_is_no_difference() {
    let world = World::new("ordinary");
    for ordinary in [
        "UPDATE exec_approvals_config SET raw_json = json_set(raw_json, '$.agents.main.allowlist[0].lastUsedAt', 99), updated_at_ms = 9",
        "UPDATE exec_approvals_config SET raw_json = json_set(raw_json, '$.socket', json('{\"path\":\"/s\",\"token\":\"t\"}')), socket_path = '/s', has_socket_token = 1",
        "UPDATE device_pairing_paired SET last_seen_at_ms = 99",
        "UPDATE config_machine_state SET value_json = json_set(value_json, '$.revision', 2), updated_at_ms = 9",
        "INSERT INTO config_machine_state VALUES ('update.checkState', '{}', 1)",
        r#"INSERT INTO cron_jobs VALUES ('s', 'turn', 'agentTurn', '{"payload":{"kind":"agentTurn","message":"x"}}', '{}')"#,
        "UPDATE cron_jobs SET state_json = '{\"nextRunAtMs\":1}'",
        "CREATE TABLE later (x)",
        "ALTER TABLE device_pairing_paired ADD COLUMN later TEXT",
    ] {
        world.client.execute_batch(ordinary).unwrap();
        assert_eq!(world.difference(), Difference::Same, "{ordinary}");
    }
    for (fewer, key) in [
        ("DELETE FROM channel_pairing_allow_entries", "channel_pairing_allow_entries(telegram, default, 1)"),
        ("DELETE FROM device_pairing_paired", "device_pairing_paired(phone)"),
    ] {
        let world = World::new("fewer");
        world.client.execute_batch(fewer).unwrap();
        assert_eq!(world.difference(), Difference::Accepted { keys: vec![key.to_owned()] }, "{fewer}");
    }
}

#[test]
fn a_row_that_only_has_a_socket_is_no_policy_and_one_that_lost_its_policy_is_put_back() {
    let socket = r#"{"version":1,"socket":{"path":"/s","token":"t"},"defaults":{},"agents":{}}"#;
    let world = World::new("socket");
    world.client.execute("UPDATE exec_approvals_config SET raw_json = ?1", [socket]).unwrap();
    assert!(matches!(world.difference(), Difference::Tampered { .. }));
    world.restore().unwrap();
    assert_eq!(world.difference(), Difference::Same);
    let mut world = World::new("no-policy");
    world.client.execute_batch("DELETE FROM exec_approvals_config").unwrap();
    world.baseline = world.now().unwrap();
    let insert = "INSERT INTO exec_approvals_config VALUES ('current', ?1, '/s', 1, NULL, NULL, NULL, NULL, 0, 0, 1)";
    world.client.execute(insert, [socket]).unwrap();
    assert_eq!(world.difference(), Difference::Same);
    // An agent that is called like what is not compared is compared.
    for (at, name) in ["socket", "lastUsedAt", "main"].iter().enumerate() {
        let policy = format!(r#"{{"version":1,"defaults":{{}},"agents":{{"{name}":{{"security":"full"}}}}}}"#);
        world.client.execute("UPDATE exec_approvals_config SET raw_json = ?1", [policy]).unwrap();
        assert!(matches!(world.difference(), Difference::Tampered { .. }), "{at}");
    }
    world.restore().unwrap();
    assert_eq!(world.difference(), Difference::Same);
}

/// A database without any grant, before the first gateway: what that writes first is none.
#[test]
fn an_index_without_installs_is_no_grant() {
    let world = World::new("first");
    world
        .client
        .execute_batch("UPDATE config_machine_state SET value_json = '{\"index\":{\"installRecords\":{}}}'")
        .unwrap();
    let found = compare(openclaw(), b"", &world.now().unwrap());
    let Difference::Tampered { keys } = found else { panic!("{found:?}") };
    assert!(!keys.iter().any(|key| key.contains("installedIndex")), "{keys:?}");
}

#[test]
fn a_trigger_that_would_grant_again_is_dropped_and_does_not_run() {
    let world = World::new("trigger");
    let again = "INSERT OR REPLACE INTO channel_pairing_allow_entries VALUES ('telegram', 'default', '666', 1, 2)";
    let body = format!("BEGIN {again}; END");
    world
        .client
        .execute_batch(&format!(
            "CREATE TRIGGER \"a\"\"b\" AFTER DELETE ON channel_pairing_allow_entries {body}; {again}"
        ))
        .unwrap();
    // The control: to a connection that lets triggers run, the row comes back.
    world.client.execute_batch("DELETE FROM channel_pairing_allow_entries WHERE entry = '666'").unwrap();
    assert_eq!(world.read("SELECT entry FROM channel_pairing_allow_entries").len(), 2);
    assert!(
        matches!(world.difference(), Difference::Tampered { keys } if keys.len() == 2 && keys[0] == "trigger a\"b")
    );
    world.restore().unwrap();
    assert_eq!(world.difference(), Difference::Same);
    assert_eq!(world.read("SELECT entry FROM channel_pairing_allow_entries"), ["Text(\"1\")"]);
    assert!(world.read("SELECT name FROM sqlite_schema WHERE type = 'trigger'").is_empty());
}

#[test]
fn what_is_no_table_any_more_is_not_judged() {
    for attack in [
        "DROP TABLE exec_approvals_config; CREATE VIEW exec_approvals_config AS SELECT 'current' AS config_key",
        "ALTER TABLE exec_approvals_config RENAME COLUMN raw_json TO other",
    ] {
        let world = World::new("shape");
        world.client.execute_batch(attack).unwrap();
        assert!(world.now().is_err() && world.restore().is_err(), "{attack}");
    }
    // A table that is gone has no rows: that is tampering, and what cannot be put back is said.
    let world = World::new("dropped");
    world.client.execute_batch("DROP TABLE exec_approvals_config").unwrap();
    assert!(matches!(world.difference(), Difference::Tampered { .. }));
    assert!(world.restore().is_err());
}

/// A table without its key can hold the owner's row and, in front of it, an attacker's.
#[test]
fn a_second_row_of_one_key_is_tampering() {
    let world = World::new("twice");
    world
        .client
        .execute_batch(
            "CREATE TABLE t AS SELECT * FROM exec_approvals_config; INSERT INTO t SELECT * FROM exec_approvals_config;
             UPDATE t SET default_security = 'full' WHERE rowid = 1; DROP TABLE exec_approvals_config;
             ALTER TABLE t RENAME TO exec_approvals_config",
        )
        .unwrap();
    assert!(matches!(world.difference(), Difference::Tampered { .. }));
    // Both say again what the owner's said; or it is an error. Never is the attacker's left.
    let restored = world.restore();
    let left = world.read("SELECT default_security FROM exec_approvals_config WHERE default_security = 'full'");
    assert!(left.is_empty() || restored.is_err());
}

#[test]
fn a_database_that_was_swapped_is_not_written() {
    let world = World::new("swap");
    let meant = File::open(world.path()).unwrap();
    std::fs::copy(world.path(), world.directory.join("other")).unwrap();
    std::fs::rename(world.directory.join("other"), world.path()).unwrap();
    assert!(snapshot(openclaw(), &world.path(), &meant).is_err());
    assert!(restore(openclaw(), &world.path(), &world.baseline, &meant).is_err());
}

#[test]
fn a_writer_is_waited_for_and_all_is_put_back_or_nothing() {
    let world = World::new("busy");
    world.client.execute_batch("BEGIN IMMEDIATE; UPDATE exec_approvals_config SET default_security = 'full'").unwrap();
    let (path, baseline) = (world.path(), world.baseline.clone());
    let restored = std::thread::spawn(move || restore(openclaw(), &path, &baseline, &File::open(&path).unwrap()));
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert!(!restored.is_finished(), "it waits");
    world.client.execute_batch("COMMIT").unwrap();
    restored.join().unwrap().unwrap();
    assert_eq!(world.difference(), Difference::Same);
}

/// Values of other columns, and above all secrets, are not kept.
#[test]
fn a_baseline_holds_no_secret_of_the_store() {
    let world = World::new("secret");
    assert!(!String::from_utf8_lossy(&world.baseline).contains("canary-secret"));
    assert!(
        compare(openclaw(), b"{}", &world.baseline) != Difference::Same
            && compare(openclaw(), b"x", b"x") != Difference::Same
    );
    assert_eq!(unkept(&json!({"real": 0})).unwrap(), rusqlite::types::Value::Real(0.0));
    assert!(unkept(&json!([1])).is_err() && unkept(&json!({"other": 1})).is_err());
}
