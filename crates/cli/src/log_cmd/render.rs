//! Entries of the ledger as a person reads them.
//!
//! What the ledger holds came from agents: everything is escaped again here, whatever was written.

use std::io::IsTerminal as _;

use mantlet_ledger::{Alert, Change, Egress, Entry, Exec, Halt, Kind, Tool, Upkeep, escape};

/// Whether lines have colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ink {
    Plain,
    Coloured,
}

impl Ink {
    /// Colours are for a terminal, unless its owner wants none (no-color.org).
    pub(super) fn of_stdout() -> Ink {
        let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if std::io::stdout().is_terminal() && !is_unwanted { Ink::Coloured } else { Ink::Plain }
    }

    /// How something ended: escaped, and red where it did not happen.
    fn outcome(self, word: &str) -> String {
        let colour = match word {
            "refused" | "denied" | "failed" | "reported" | "halt" | "torn" | "dropped" => 31,
            "passed" | "allowed" | "ran" | "jailed" | "undone" | "accepted" | "sent" | "resume" => 32,
            _ => return short(word),
        };
        match self {
            Ink::Plain => short(word),
            Ink::Coloured => format!("\x1b[{colour}m{}\x1b[0m", short(word)),
        }
    }
}

/// One entry, as one line and what belongs to it indented below.
pub(super) fn render(entry: &Entry, ink: Ink) -> String {
    let start = format!("{}  {}", short(&entry.time), short(&entry.agent));
    match &entry.kind {
        Kind::Exec(exec) => format!("{start}  {}", render_exec(exec, ink)),
        Kind::Tool(tool) => format!("{start}  {}", render_tool(tool, ink)),
        Kind::Egress(egress) => format!("{start}  {}", render_egress(egress, ink)),
        Kind::Change(change) => format!("{start}  {}", render_change(change, ink)),
        Kind::Alert(alert) => format!("{start}  {}", render_alert(alert, ink)),
        Kind::Halt(halt) => format!("{start}  {}", render_halt(halt, ink)),
        Kind::Ledger(upkeep) => format!("{start}  {}", render_upkeep(upkeep, ink)),
    }
}

fn short(text: &str) -> String {
    escape(text.as_bytes())
}

fn render_exec(exec: &Exec, ink: Ink) -> String {
    let mut line =
        format!("{}  exit {}  {}  {}", ink.outcome(&exec.tier), exec.exit, duration(exec), short(&exec.command));
    let names = [("session", &exec.session), ("run", &exec.run)];
    let names = names.iter().filter_map(|(what, name)| Some(format!("{what} {}", short(name.as_deref()?))));
    let names = names.collect::<Vec<_>>().join(", ");
    if !names.is_empty() {
        line.push_str("\n    ");
        line.push_str(&names);
    }
    if let Some(reason) = &exec.reason {
        line.push_str("\n    ");
        line.push_str(&short(reason));
    }
    for finding in &exec.findings {
        line.push_str("\n    found: ");
        line.push_str(&short(finding));
    }
    line
}

fn render_tool(tool: &Tool, ink: Ink) -> String {
    let mut line = format!("{}  {}  {}", ink.outcome(&tool.decision), short(&tool.tool), short(&tool.input));
    if let Some(reason) = &tool.reason {
        let rule = tool.rule.as_deref().unwrap_or("no rule");
        line.push_str(&format!("\n    {} ({})", short(reason), short(rule)));
    }
    line
}

fn render_egress(egress: &Egress, ink: Ink) -> String {
    let times = times(egress.count);
    let (outcome, way, host) = (ink.outcome(&egress.outcome), short(&egress.way), short(&egress.host));
    let why = [&egress.reason, &egress.rule].into_iter().flatten().next().map(|why| format!("  ({})", short(why)));
    let bytes = match (egress.up, egress.down) {
        (0, 0) => String::new(),
        (up, down) => format!("  {up} B out, {down} B in"),
    };
    format!("{outcome}  {way}  {host}{bytes}{times}{}", why.unwrap_or_default())
}

fn render_change(change: &Change, ink: Ink) -> String {
    let (outcome, what, path) = (ink.outcome(&change.outcome), short(&change.what), short(&change.path));
    let mut line = format!("{outcome}  {what}  {path}  {} ms{}", change.took_ms, times(change.count));
    if !change.keys.is_empty() {
        line.push_str(&format!("\n    keys: {}", short(&change.keys.join(", "))));
    }
    if let Some(culprit) = &change.culprit {
        let exe = culprit.exe.as_deref().map_or("a program that had ended".into(), short);
        let call = culprit.call.as_deref().map_or(String::new(), |call| format!(", call {}", short(call)));
        line.push_str(&format!("\n    by: pid {}, {exe}{call}", culprit.pid));
    }
    for (what, text) in [("kept", &change.copy), ("why", &change.reason)] {
        if let Some(text) = text {
            line.push_str(&format!("\n    {what}: {}", short(text)));
        }
    }
    line
}

fn render_alert(alert: &Alert, ink: Ink) -> String {
    let why = alert.reason.as_deref().map_or(String::new(), |why| format!("  ({})", short(why)));
    let (outcome, channel, subject) = (ink.outcome(&alert.outcome), short(&alert.channel), short(&alert.subject));
    format!("{outcome}  {channel}  {subject}{}{why}", times(alert.count))
}

fn render_halt(halt: &Halt, ink: Ink) -> String {
    let why = halt.reason.as_deref().map_or(String::new(), |why| format!("  ({})", short(why)));
    let left = if halt.left == 0 { String::new() } else { format!(", {} could not be ended", halt.left) };
    let ended = if halt.action == "resume" { String::new() } else { format!("  {} jails ended", halt.ended) };
    format!("{}  by {}{ended}{left}{why}", ink.outcome(&halt.action), short(&halt.by))
}

fn render_upkeep(upkeep: &Upkeep, ink: Ink) -> String {
    let bytes = upkeep.bytes.map_or(String::new(), |bytes| format!("  {bytes} B"));
    let through = upkeep.through.as_ref().map_or(String::new(), |head| format!("  through entry {}", head.seq));
    format!("{}{bytes}{through}", ink.outcome(&upkeep.event))
}

fn times(count: u64) -> String {
    if count == 1 { String::new() } else { format!("  {count} times") }
}

fn duration(exec: &Exec) -> String {
    match exec.duration_ms {
        ms @ 0..10_000 => format!("{ms} ms"),
        ms => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn entry(command: &str) -> Entry {
        Entry {
            v: 1,
            time: "2026-11-23T09:15:38.042Z".into(),
            agent: "main".into(),
            policy: String::new(),
            kind: Kind::Exec(Exec {
                call: "c".into(),
                command: command.into(),
                session: None,
                run: None,
                tier: "full".into(),
                mechanisms: Default::default(),
                exit: 1,
                reason: None,
                duration_ms: 12,
                bytes_out: None,
                findings: vec!["a\x1b]0;x\x07".into()],
            }),
            chain: None,
        }
    }

    #[test]
    fn a_line_is_one_line_and_harmless() {
        assert_eq!(
            render(&entry("ls\x1b[2J\n2026 forged"), Ink::Plain),
            "2026-11-23T09:15:38.042Z  main  full  exit 1  12 ms  ls\\x1b[2J\\n2026 forged\n    found: a\\x1b]0;x\\x07"
        );
    }

    #[test]
    fn session_and_run_are_shown_where_the_client_named_them() {
        let mut entry = entry("ls");
        let Kind::Exec(exec) = &mut entry.kind else { panic!("no command") };
        exec.findings.clear();
        exec.session = Some("agent:main:a\nb".into());
        exec.run = Some("r1".into());
        assert!(
            render(&entry, Ink::Plain).ends_with("  ls\n    session agent:main:a\\nb, run r1"),
            "{}",
            render(&entry, Ink::Plain)
        );
    }

    #[test]
    fn a_tool_is_shown_with_what_was_decided() {
        let kind = Kind::Tool(Tool {
            client: "claude".into(),
            tool: "Read\x1b[2J".into(),
            decision: "denied".into(),
            rule: Some("secrets".into()),
            reason: Some("it is a key".into()),
            session: None,
            by: None,
            input: "file_path=/x\n".into(),
        });
        assert_eq!(
            render(&Entry { kind, ..entry("") }, Ink::Plain),
            "2026-11-23T09:15:38.042Z  main  denied  Read\\x1b[2J  file_path=/x\\n\n    it is a key (secrets)"
        );
    }

    #[test]
    fn what_passed_the_border_is_one_line() {
        let egress = Egress {
            call: None,
            outcome: "refused".into(),
            way: "dns".into(),
            host: "evil.test\x1b[2J".into(),
            rule: None,
            reason: Some("no rule allows it".into()),
            address: None,
            up: 0,
            down: 0,
            count: 7,
        };
        let line = |egress: &Egress, ink| render(&Entry { kind: Kind::Egress(egress.clone()), ..entry("") }, ink);
        assert_eq!(
            line(&egress, Ink::Plain),
            "2026-11-23T09:15:38.042Z  main  refused  dns  evil.test\\x1b[2J  7 times  (no rule allows it)"
        );
        let passed =
            Egress { outcome: "passed".into(), rule: Some("a.test:443, line 6".into()), reason: None, ..egress };
        let passed = Egress { up: 5, down: 9, count: 1, host: "a.test:443".into(), way: "connect".into(), ..passed };
        assert!(
            line(&passed, Ink::Plain).ends_with("  passed  connect  a.test:443  5 B out, 9 B in  (a.test:443, line 6)")
        );
        assert!(line(&passed, Ink::Coloured).contains("  \x1b[32mpassed\x1b[0m  connect"));
    }
}
