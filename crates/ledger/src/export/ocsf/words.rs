//! The schema's numbers with their captions, and its classes: data.

use crate::export::facts::Severity;

/// A number of an enumeration and its caption; for [`OTHER`] a word of ours.
pub(super) type Word<'a> = (u32, &'a str);

/// What the schema has no number for.
pub(super) const OTHER: u32 = 99;

/// A class of events.
pub(super) struct Class {
    pub(super) uid: u32,
    pub(super) name: &'static str,
    pub(super) category: Word<'static>,
    /// The profiles whose attributes are used.
    pub(super) profiles: &'static [&'static str],
}

pub(super) mod class {
    use super::Class;

    const CONTROL: &[&str] = &["security_control"];
    const BOTH: &[&str] = &["host", "security_control"];

    pub(in super::super) const FILE: Class =
        Class { uid: 1001, name: "File System Activity", category: (1, "System Activity"), profiles: CONTROL };
    pub(in super::super) const PROCESS: Class =
        Class { uid: 1007, name: "Process Activity", category: (1, "System Activity"), profiles: CONTROL };
    pub(in super::super) const EVENT_LOG: Class =
        Class { uid: 1008, name: "Event Log Activity", category: (1, "System Activity"), profiles: &[] };
    pub(in super::super) const FINDING: Class =
        Class { uid: 2004, name: "Detection Finding", category: (2, "Findings"), profiles: CONTROL };
    pub(in super::super) const NETWORK: Class =
        Class { uid: 4001, name: "Network Activity", category: (4, "Network Activity"), profiles: BOTH };
    pub(in super::super) const DNS: Class =
        Class { uid: 4003, name: "DNS Activity", category: (4, "Network Activity"), profiles: BOTH };
    pub(in super::super) const APPLICATION: Class =
        Class { uid: 6002, name: "Application Lifecycle", category: (6, "Application Activity"), profiles: &["host"] };
    pub(in super::super) const API: Class =
        Class { uid: 6003, name: "API Activity", category: (6, "Application Activity"), profiles: BOTH };
}

pub(super) mod activity {
    use super::Word;

    pub(in super::super) const LAUNCH: Word<'static> = (1, "Launch");
    pub(in super::super) const QUERY: Word<'static> = (1, "Query");
    pub(in super::super) const REFUSE: Word<'static> = (5, "Refuse");
    pub(in super::super) const TRAFFIC: Word<'static> = (6, "Traffic");
    pub(in super::super) const CREATE: Word<'static> = (1, "Create");
    pub(in super::super) const UPDATE_FILE: Word<'static> = (3, "Update");
    pub(in super::super) const DELETE_FILE: Word<'static> = (4, "Delete");
    pub(in super::super) const RENAME: Word<'static> = (5, "Rename");
    pub(in super::super) const SET_ATTRIBUTES: Word<'static> = (6, "Set Attributes");
    pub(in super::super) const SET_SECURITY: Word<'static> = (7, "Set Security");
    pub(in super::super) const MOUNT: Word<'static> = (12, "Mount");
    pub(in super::super) const START: Word<'static> = (3, "Start");
    pub(in super::super) const STOP: Word<'static> = (4, "Stop");
    pub(in super::super) const UPDATE: Word<'static> = (8, "Update");
    pub(in super::super) const DELETE_LOG: Word<'static> = (2, "Delete");
    pub(in super::super) const ROTATE: Word<'static> = (5, "Rotate");
}

pub(super) mod action {
    use super::Word;

    pub(in super::super) const ALLOWED: Word<'static> = (1, "Allowed");
    pub(in super::super) const DENIED: Word<'static> = (2, "Denied");
    pub(in super::super) const OBSERVED: Word<'static> = (3, "Observed");
    pub(in super::super) const MODIFIED: Word<'static> = (4, "Modified");
}

pub(super) mod disposition {
    use super::Word;

    pub(in super::super) const ALLOWED: Word<'static> = (1, "Allowed");
    pub(in super::super) const BLOCKED: Word<'static> = (2, "Blocked");
    pub(in super::super) const ISOLATED: Word<'static> = (4, "Isolated");
    pub(in super::super) const APPROVED: Word<'static> = (8, "Approved");
    pub(in super::super) const RESTORED: Word<'static> = (9, "Restored");
    pub(in super::super) const UNCORRECTED: Word<'static> = (13, "Uncorrected");
    pub(in super::super) const LOGGED: Word<'static> = (17, "Logged");
    pub(in super::super) const ALERT: Word<'static> = (19, "Alert");
}

pub(super) mod status {
    use super::Word;

    pub(in super::super) const UNKNOWN: Word<'static> = (0, "Unknown");
    pub(in super::super) const SUCCESS: Word<'static> = (1, "Success");
    pub(in super::super) const FAILURE: Word<'static> = (2, "Failure");
}

/// The states of a finding, which are not those of other events.
pub(super) mod finding {
    use super::Word;

    pub(in super::super) const NEW: Word<'static> = (1, "New");
    pub(in super::super) const RESOLVED: Word<'static> = (4, "Resolved");
}

pub(super) fn severity(severity: Severity) -> Word<'static> {
    match severity {
        Severity::Informational => (1, "Informational"),
        Severity::Low => (2, "Low"),
        Severity::Medium => (3, "Medium"),
        Severity::High => (4, "High"),
        Severity::Critical => (5, "Critical"),
    }
}
