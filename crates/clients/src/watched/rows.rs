//! Rows of a client's database that grant something. Names after OpenClaw 2026.9.6; data only.
//!
//! Every name here goes into SQL as it stands: it is a constant of this file, never text from elsewhere.

/// What is held of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// A column.
    Column(&'static str),
    /// A column with a JSON text, without what stands at these paths: what a client notes there. Names are joined by dots,
    /// and `*` is any one member or element.
    Json(&'static str, &'static [&'static str]),
    /// One value in a column with a JSON text, by its path: `$.a.b`.
    Within(&'static str, &'static str),
}

/// What a row that is gone means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// A grant less: it is accepted.
    Accepted,
    /// A limit less: the row is put back.
    PutBack,
}

/// What a row that was not there means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum New {
    /// It is a grant: it is taken out.
    TakenOut,
    /// It grants nothing by itself, and taking it out would destroy something: it is accepted.
    Accepted,
}

/// The rows of one table that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rows {
    /// The table.
    pub table: &'static str,
    /// The columns that tell rows apart.
    pub key: &'static [&'static str],
    /// Which rows: a condition of SQL.
    pub only: &'static str,
    /// Which of these grant nothing: those where each of these says one of its words. Read as the client reads JSON, where
    /// the last of two members with one name counts; SQLite takes the first.
    pub unless: &'static [(Held, &'static [&'static str])],
    /// What is held of each.
    pub held: &'static [Held],
    /// What a row that was not there means.
    pub new: New,
    /// What a row that is gone means.
    pub gone: Gone,
    /// What somebody who writes there gets.
    pub why: &'static str,
}

/// A database that is compared by rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Database {
    /// The client that has it open.
    pub client: &'static str,
    /// The rows. A table that is not there has none.
    pub rows: &'static [Rows],
    /// What stands beside it and changes instead of it, by the ending of its name.
    pub beside: &'static [&'static str],
}

use Held::{Column, Json, Within};

/// What an agent may plan for itself.
const OWN_JOBS: &[&str] = &["agentTurn", "systemEvent", "heartbeat", "skillCollectionReview", "script"];

/// `state/openclaw.sqlite`, which all agents of a gateway share.
///
/// Left out: what a gateway decides and forgets by itself (`operator_approvals`, `*_pending`, tokens of its own devices),
/// and secrets (`secret_store_entries.value`), which a baseline would hold once more in the clear.
pub(super) const OPENCLAW: Database = Database {
    client: "openclaw",
    beside: &["-wal"],
    rows: &[
        Rows {
            table: "exec_approvals_config",
            key: &["config_key"],
            // The gateway makes a row for its socket, with the first command that it would have to ask about.
            only: "NOT CASE WHEN json_valid(raw_json) THEN json_remove(raw_json, '$.version', '$.socket') IN \
                   ('{}', '{\"defaults\":{}}', '{\"agents\":{}}', '{\"defaults\":{},\"agents\":{}}') ELSE 0 END",
            unless: &[],
            held: &[
                Json(
                    "raw_json",
                    &[
                        "socket",
                        "agents.*.allowlist.*.lastUsedAt",
                        "agents.*.allowlist.*.lastUsedCommand",
                        "agents.*.allowlist.*.lastResolvedPath",
                    ],
                ),
                Column("default_security"),
                Column("default_ask"),
                Column("default_ask_fallback"),
                Column("auto_allow_skills"),
                Column("agent_count"),
                Column("allowlist_count"),
            ],
            new: New::TakenOut,
            gone: Gone::PutBack,
            why: "which commands run on the host without a question",
        },
        Rows {
            table: "channel_pairing_allow_entries",
            key: &["channel_key", "account_id", "entry"],
            only: "1",
            unless: &[],
            held: &[],
            new: New::TakenOut,
            gone: Gone::Accepted,
            why: "a sender that every agent of the channel obeys",
        },
        Rows {
            table: "device_pairing_paired",
            key: &["device_id"],
            only: "1",
            unless: &[],
            held: &[
                Column("public_key"),
                Column("role"),
                Column("roles_json"),
                Column("scopes_json"),
                Column("approved_scopes_json"),
                Column("approved_via"),
            ],
            new: New::TakenOut,
            gone: Gone::Accepted,
            why: "a device that may do what its scopes say, up to everything",
        },
        Rows {
            table: "plugin_binding_approvals",
            key: &["plugin_root", "channel", "account_id"],
            only: "1",
            unless: &[],
            held: &[Column("plugin_id")],
            new: New::TakenOut,
            gone: Gone::Accepted,
            why: "a plugin that may take over a conversation",
        },
        Rows {
            table: "config_machine_state",
            key: &["state_key"],
            only: "state_key = 'plugins.installedIndex'",
            unless: &[],
            held: &[Within("value_json", "$.index.installRecords")],
            new: New::TakenOut,
            gone: Gone::Accepted,
            why: "where the code of an installed plugin is loaded from, into the gateway's own process",
        },
        Rows {
            table: "cron_jobs",
            key: &["store_key", "job_id"],
            only: "1",
            // An agent plans its own turns and scripts with its own tools. Every other kind of job is a command on the host.
            unless: &[(Column("payload_kind"), OWN_JOBS), (Within("job_json", "$.payload.kind"), OWN_JOBS)],
            held: &[Column("payload_kind"), Json("job_json", &["state", "updatedAtMs"])],
            new: New::TakenOut,
            gone: Gone::Accepted,
            why: "a command that the gateway runs on the host by the clock, without an agent and without a question",
        },
        Rows {
            table: "secret_store_entries",
            key: &["scope_kind", "scope_id", "name"],
            only: "deleted_at_ms IS NULL",
            unless: &[],
            held: &[Column("allowed_hosts")],
            new: New::Accepted,
            gone: Gone::Accepted,
            why: "the hosts that a secret is sent to",
        },
        Rows {
            table: "user_profiles",
            key: &["id"],
            only: "1",
            unless: &[],
            held: &[Column("role"), Column("merged_into")],
            new: New::Accepted,
            gone: Gone::Accepted,
            why: "what a person may do who logs in to the gateway",
        },
        Rows {
            table: "user_profile_identities",
            key: &["provider", "subject"],
            only: "1",
            unless: &[],
            held: &[Column("profile_id")],
            new: New::TakenOut,
            gone: Gone::Accepted,
            why: "as whom a person counts who logs in to the gateway",
        },
        Rows {
            table: "user_profile_emails",
            key: &["email"],
            only: "1",
            unless: &[],
            held: &[Column("profile_id")],
            new: New::TakenOut,
            gone: Gone::Accepted,
            why: "as whom a person counts who logs in to the gateway",
        },
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_one_that_sql_reads_as_a_name() {
        let is_name = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        for rows in OPENCLAW.rows {
            assert!(is_name(rows.table) && rows.key.iter().all(|name| is_name(name)) && !rows.why.is_empty());
            for held in rows.held {
                let (Column(name) | Json(name, _) | Within(name, _)) = held;
                assert!(is_name(name) && !rows.key.contains(name), "{name}");
                assert!(!matches!(held, Within(_, path) if path.contains('\'')));
            }
            assert_eq!(OPENCLAW.rows.iter().filter(|other| other.table == rows.table).count(), 1, "{}", rows.table);
        }
    }
}
