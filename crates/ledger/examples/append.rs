//! What an entry costs: many processes append to one file, in the ledger or as plain lines.
//!
//! `append DIR WAY WRITERS ENTRIES`, where WAY is `written`, `durable`, `plain` (O_APPEND and nothing else) or `fdatasync`
//! (the same, and one fdatasync per line). Prints entries per second.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use mantlet_ledger::{Durability, Entry, Exec, Keep, Kind, Writer, rfc3339};

type Failed = Box<dyn std::error::Error>;

fn main() -> Result<ExitCode, Failed> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--one", dir, way, entries] => one(Path::new(dir), way, entries.parse()?)?,
        [dir, way, writers, entries] => all(dir, way, writers.parse()?, entries.parse()?)?,
        _ => return Ok(ExitCode::from(2)),
    }
    Ok(ExitCode::SUCCESS)
}

fn all(dir: &str, way: &str, writers: u64, entries: u64) -> Result<(), Failed> {
    let own = std::env::current_exe()?;
    let began = Instant::now();
    let each = (entries / writers).to_string();
    let start = |_| Command::new(&own).args(["--one", dir, way, &each]).spawn();
    let children = (0..writers).map(start).collect::<Result<Vec<_>, _>>()?;
    for mut child in children {
        if !child.wait()?.success() {
            return Err("a writer failed".into());
        }
    }
    let rate = (entries / writers * writers) as f64 / began.elapsed().as_secs_f64();
    writeln!(std::io::stdout(), "{rate:.0}")?;
    Ok(())
}

fn one(dir: &Path, way: &str, entries: u64) -> Result<(), Failed> {
    let mut line = serde_json::to_vec(&entry())?;
    // As long as a line of the ledger.
    line.resize(line.len() + 180, b' ');
    line.push(b'\n');
    if let Some(durability) = match way {
        "written" => Some(Durability::Written),
        "durable" => Some(Durability::Durable),
        _ => None,
    } {
        let mut writer = Writer::open_with(dir, &[], Keep { total: u64::MAX, ..Keep::default() })?;
        for _ in 0..entries {
            writer.append_with(&entry(), durability)?;
        }
        return Ok(());
    }
    let mut file = OpenOptions::new().create(true).append(true).open(dir.join("plain"))?;
    for _ in 0..entries {
        // The line is made anew each time there as well.
        drop(serde_json::to_vec(&entry())?);
        file.write_all(&line)?;
        if way == "fdatasync" {
            file.sync_data()?;
        }
    }
    Ok(())
}

fn entry() -> Entry {
    Entry {
        v: 1,
        time: rfc3339(std::time::SystemTime::now()),
        agent: "main".into(),
        policy: "0".repeat(64),
        kind: Kind::Exec(Exec {
            call: "0123456789abcdef".into(),
            command: "git -c core.pager=cat log --oneline -n 20 -- src/main.rs".into(),
            session: None,
            run: None,
            tier: "full".into(),
            mechanisms: [("landlock".to_owned(), "full".to_owned())].into(),
            exit: 0,
            reason: None,
            duration_ms: 12,
            bytes_out: Some(800),
            findings: vec![],
        }),
        chain: None,
    }
}
