//! A tool call written to the ledger: what, by whom, decided how; its arguments in short and masked.

use std::path::PathBuf;
use std::time::SystemTime;

use mantlet_guard::dialect::Event;
use mantlet_ledger::{Entry, Kind, Tool, Writer, escape, ledger_dir, rfc3339, shorten};
use mantlet_policy::{Agent, Host as _};
use mantlet_sandbox::RealHost;
use mantlet_sandbox::halt::{Halted, look};
use serde_json::Value;

/// The longest text of one argument that is looked at, and shown.
const LOOKED_AT: usize = 4096;
const SHOWN: usize = 200;
/// The longest text of all arguments together.
const LONGEST: usize = 2048;

/// What was decided.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outcome<'o> {
    pub(super) decision: &'static str,
    pub(super) rule: Option<&'o str>,
    pub(super) reason: Option<&'o str>,
}

/// Where it goes: the agent and its policy.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'p> {
    pub(super) client: &'p str,
    pub(super) agent: &'p Agent,
    pub(super) policy: &'p str,
    pub(super) host: &'p RealHost,
    /// Whether `XDG_STATE_HOME` is the owner's word.
    pub(super) asks_environment: bool,
}

/// The ledger's directory.
fn dir(host: &RealHost, asks_environment: bool) -> PathBuf {
    let state = std::env::var_os("XDG_STATE_HOME").filter(|_| asks_environment);
    ledger_dir(state.as_deref(), host.home())
}

/// Whether the owner has stopped everything.
pub(super) fn halted(host: &RealHost, asks_environment: bool) -> Option<Halted> {
    let mut state = dir(host, asks_environment);
    state.pop();
    look(&state)
}

/// Appends one entry. Without fsync: a client waits.
pub(super) fn write(place: Place<'_>, event: &Event, outcome: Outcome<'_>) -> Result<(), String> {
    let dir = dir(place.host, place.asks_environment);
    let mut writer = Writer::open(&dir, &[place.agent.workspace()]).map_err(|error| error.to_string())?;
    let entry = Entry {
        v: 1,
        time: rfc3339(SystemTime::now()),
        agent: place.agent.name().to_owned(),
        policy: place.policy.to_owned(),
        kind: Kind::Tool(Tool {
            client: place.client.to_owned(),
            tool: shorten(&escape(event.tool.as_bytes()), SHOWN).into_owned(),
            decision: outcome.decision.to_owned(),
            rule: outcome.rule.map(safe),
            reason: outcome.reason.map(safe),
            session: event.session.as_deref().map(safe),
            by: event.agent.as_deref().map(safe),
            input: input(event),
        }),
        chain: None,
    };
    writer.append(&entry).map(drop).map_err(|error| error.to_string())
}

/// Masked before it is escaped: an escape in the middle of a token would hide it.
fn safe(text: &str) -> String {
    shorten(&escape(mantlet_dlp::mask(start(text)).as_bytes()), LONGEST).into_owned()
}

/// `name=value` of each argument, long ones cut.
fn input(event: &Event) -> String {
    let mut out = String::new();
    for (name, value) in &event.input {
        let text = match value {
            Value::String(text) => std::borrow::Cow::Borrowed(text.as_str()),
            other => std::borrow::Cow::Owned(other.to_string()),
        };
        // The name stands before the value as it would on a command line, which is what the mask knows.
        let pair = format!("{name}={}", start(&text));
        let masked = escape(mantlet_dlp::mask(&pair).as_bytes());
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(&shorten(&masked, SHOWN));
        if out.len() > LONGEST {
            break;
        }
    }
    shorten(&out, LONGEST).into_owned()
}

fn start(text: &str) -> &str {
    let mut end = text.len().min(LOOKED_AT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or(text)
}
