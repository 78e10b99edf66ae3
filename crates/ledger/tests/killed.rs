//! Fifty writers that are killed at random moments: the chain is whole, and nothing that was acknowledged is lost.

#![allow(clippy::unwrap_used)] // A test's helper functions may fail the test.

mod common;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{Scratch, entry};
use mantlet_ledger::{Durability, Expected, Head, Keep, Writer, verify};

const WRITERS: usize = 50;

/// How many entries are written; the bench asks for a million.
fn entries() -> usize {
    std::env::var("MANTLET_ENTRIES").map_or(50_000, |text| text.parse().unwrap())
}

/// The child of the test below, which tells of each entry once it is acknowledged; does nothing when run by itself.
#[test]
fn child_appends_until_it_is_killed() {
    let Some(dir) = std::env::var_os("LEDGER_KILLED_DIR") else {
        return;
    };
    let keep = Keep { segment: 4 << 20, ..Keep::default() };
    let mut told = std::io::stdout();
    for number in 0.. {
        // Opened anew now and then, as each call does.
        let mut writer = Writer::open_with(Path::new(&dir), &[], keep).unwrap();
        for _ in 0..20 {
            let durability = if number % 10 == 9 { Durability::Durable } else { Durability::Written };
            let head = writer.append_with(&entry("echo one two three"), durability).unwrap();
            writeln!(told, "ACK {} {}", head.seq, head.hash).unwrap();
        }
        if number % 50 == 49 {
            writer.tidy().unwrap();
        }
    }
}

fn start(dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_appends_until_it_is_killed", "--quiet", "--nocapture"])
        .env("LEDGER_KILLED_DIR", dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Starts a writer, lets it write for a moment and kills it, until there are enough entries.
fn writer(dir: &Path, number: usize, count: &AtomicUsize) -> Vec<Head> {
    let (mut heads, entries) = (Vec::new(), entries());
    let mut rounds = 0;
    while count.load(Ordering::Relaxed) < entries {
        let mut child = start(dir);
        let out = BufReader::new(child.stdout.take().unwrap());
        let killer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200 + (number * 7919 + rounds * 104_729) as u64 % 1500));
            child.kill().unwrap();
            child.wait().unwrap();
        });
        for line in out.lines().map_while(Result::ok) {
            // A line that the kill cut off is no acknowledgement.
            if let Some((seq, hash)) = line.strip_prefix("ACK ").and_then(|rest| rest.split_once(' '))
                && hash.len() == 64
            {
                heads.push(Head { seq: seq.parse().unwrap(), hash: hash.into() });
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
        killer.join().unwrap();
        rounds += 1;
    }
    heads
}

#[test]
fn no_acknowledged_entry_of_fifty_killed_writers_is_lost() {
    let scratch = Scratch::new("killed");
    let count = AtomicUsize::new(0);
    let dir = scratch.dir();
    let heads: Vec<Head> = std::thread::scope(|scope| {
        let (dir, count) = (&dir, &count);
        let writers: Vec<_> = (0..WRITERS).map(|number| scope.spawn(move || writer(dir, number, count))).collect();
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    assert!(heads.len() >= entries());
    // What was torn last is told of by the next writer.
    Writer::open(&dir, &[]).unwrap().append(&entry("after all")).unwrap();
    let found = verify(&dir, &Expected { heads: heads.clone(), key: None }).unwrap();
    assert!(found.is_sound(), "{:?} {:?}", found.findings, found.notes);
    assert_eq!(found.anchored, heads.len() as u64);
    assert_eq!(found.keys.len(), 1);
}
