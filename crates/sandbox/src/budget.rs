//! How much one call may use up: the policy's numbers, and what of them a long-running service is not held to.

use std::time::Duration;

use mantlet_policy::{Agent, Limits};
use serde::Serialize;

use crate::request::Kind;

/// Longer than any call: no limit.
const ENDLESS: Duration = Duration::from_secs(u32::MAX as u64);

/// What a whole agent gets where its policy says nothing: an agent holds runtimes and helpers, a command does not.
const SERVICE: Limits = Limits {
    memory: 8 << 30,
    processes: 2048,
    time: ENDLESS,
    cpu: ENDLESS,
    open_files: 65_536,
    file_size: 16 << 30,
    disk: 64 << 30,
    disk_files: 4_000_000,
    tmpfs: 4 << 30,
    output: u64::MAX,
};

/// The limits of a call. A service runs as long as it runs; what it may hold at one time stays bounded.
pub(crate) fn of(agent: &Agent, kind: Kind, timeout: Option<Duration>) -> Limits {
    let mut limits = agent.limits().clone();
    if kind == Kind::Service {
        let is_written = |key: &str| agent.line(&format!("limits.{key}")).is_some();
        let sizes = [
            ("memory", &mut limits.memory, SERVICE.memory),
            ("open_files", &mut limits.open_files, SERVICE.open_files),
            ("file_size", &mut limits.file_size, SERVICE.file_size),
            ("disk", &mut limits.disk, SERVICE.disk),
            ("disk_files", &mut limits.disk_files, SERVICE.disk_files),
            ("tmpfs", &mut limits.tmpfs, SERVICE.tmpfs),
        ];
        for (key, value, larger) in sizes {
            if !is_written(key) {
                *value = larger;
            }
        }
        if !is_written("processes") {
            limits.processes = SERVICE.processes;
        }
        (limits.time, limits.cpu, limits.output) = (SERVICE.time, SERVICE.cpu, SERVICE.output);
    }
    limits.time = timeout.map_or(limits.time, |t| t.min(limits.time)).max(Duration::from_millis(1));
    limits
}

/// The limits that a call had, for its report. What is absent was not limited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Budget {
    /// Bytes of memory of the whole jail.
    pub memory: u64,
    /// Processes and threads at one time.
    pub processes: u32,
    /// Bytes of the private tmpfs.
    pub tmpfs: u64,
    /// Bytes written to the workspace.
    pub disk: u64,
    /// Milliseconds of wall clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_ms: Option<u64>,
    /// Seconds of CPU time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_s: Option<u64>,
    /// Bytes of output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<u64>,
}

impl Budget {
    /// Of the limits a call had.
    pub(crate) fn of(limits: &Limits) -> Budget {
        let bounded = |time: Duration| (time < ENDLESS).then_some(time);
        Budget {
            memory: limits.memory,
            processes: limits.processes,
            tmpfs: limits.tmpfs,
            disk: limits.disk,
            time_ms: bounded(limits.time).map(|t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX)),
            cpu_s: bounded(limits.cpu).map(|t| t.as_secs()),
            output: (limits.output < u64::MAX).then_some(limits.output),
        }
    }
}
