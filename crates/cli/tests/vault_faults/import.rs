//! `mantlet vault import openclaw`, killed or failed at each of its system calls: whatever happened, a second call ends
//! without plaintext, and an undo ends with every file as it was.

use std::fs;
use std::path::Path;

use crate::cases::leftovers;
use crate::slot::{CANARY, Ended, Fault, Files, NONE, Slot};

const IMPORT: &[&str] = &["vault", "import", "openclaw", "--yes", "--history"];
const UNDO: &[&str] = &["vault", "import", "openclaw", "--undo"];

/// OpenClaw's files, as small as they can be with a credential in each.
fn prepare(slot: &Slot) {
    slot.fresh();
    let state = slot.top.join("home/.openclaw");
    let agent = state.join("agents/main/agent");
    fs::create_dir_all(&agent).unwrap();
    let config = format!(
        "{{\n  // mine\n  gateway: {{ auth: {{ token: '{CANARY}-1' }} }},\n  models: {{ providers: {{ own: {{ apiKey: \"${{OWN_KEY}}\" }} }} }},\n}}\n"
    );
    fs::write(state.join("openclaw.json"), &config).unwrap();
    fs::write(state.join("openclaw.json.bak"), &config).unwrap();
    fs::write(state.join(".env"), format!("# keys\nOWN_KEY={CANARY}-2\nLOG_LEVEL=info\n")).unwrap();
    fs::write(slot.top.join("home/.bash_history"), format!("ls\nexport OWN_KEY={CANARY}-2\n")).unwrap();
    let profiles =
        format!(r#"{{"version":1,"profiles":{{"x:manual":{{"type":"api_key","provider":"x","key":"{CANARY}-3"}}}}}}"#);
    let database = rusqlite::Connection::open(agent.join("openclaw-agent.sqlite")).unwrap();
    database.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE auth_profile_store (store_key TEXT PRIMARY KEY, store_json TEXT NOT NULL) STRICT").unwrap();
    database.execute("INSERT INTO auth_profile_store VALUES ('primary', ?1)", [&profiles]).unwrap();
}

/// What is OpenClaw's and its user's, without what the vault keeps for itself.
fn theirs(slot: &Slot) -> Files {
    let is_ours = |path: &Path| path.starts_with("home/.config") || path.starts_with("home/.local");
    // What SQLite keeps beside a database that a killed program had open: an index, and a log with nothing in it.
    let is_sqlites = |path: &Path, (_, text): &(u32, Option<Vec<u8>>)| {
        let name = path.to_string_lossy();
        name.ends_with("-shm") || (name.ends_with("-wal") && text.as_ref().is_some_and(Vec::is_empty))
    };
    slot.files().into_iter().filter(|(path, file)| !is_ours(path) && !is_sqlites(path, file)).collect()
}

pub fn run() -> String {
    if !cfg!(target_arch = "x86_64") {
        return "NOT APPLICABLE: the tracer knows the registers of x86-64 only".into();
    }
    let ways = [&[("kill", 0)][..], &[("fail", 5), ("fail", 28), ("break", 30)]];
    let parts: Vec<Part> = std::thread::scope(|scope| {
        let workers = ways.map(|ways| scope.spawn(move || work(ways)));
        workers.map(|worker| worker.join().unwrap()).into()
    });
    let wrong: Vec<String> = parts.iter().flat_map(|part| part.wrong.clone()).collect();
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    format!("killed at {} calls, {} runs in all", parts[0].tries, parts.iter().map(|part| part.tries).sum::<usize>())
}

struct Part {
    tries: usize,
    wrong: Vec<String>,
}

/// Each of these ways, at every call or at those that write.
fn work(ways: &[(&'static str, i32)]) -> Part {
    let mut slot = Slot::new(&format!("import-{}", ways[0].0));
    prepare(&slot);
    let (start, before) = (slot.files(), theirs(&slot));
    let whole = slot.run(IMPORT, "", NONE);
    assert_eq!(whole.code, 0, "{}", whole.said);
    leftovers(&slot, "nothing", "nothing").unwrap();
    slot.must(UNDO, "");
    assert!(theirs(&slot) == before, "the undo is not exact");
    let mut part = Part { tries: 0, wrong: Vec::new() };
    for (what, errno) in ways.iter().copied() {
        let writes = whole.writes.iter().map(|(at, _)| *at);
        let points: Box<dyn Iterator<Item = u64>> = if errno > 5 { Box::new(writes) } else { Box::new(1..) };
        for at in points {
            slot.restore(&start);
            let ended = slot.run(IMPORT, "", Fault { what, at, errno });
            let Some(hit) = ended.hit.clone() else { break };
            part.tries += 1;
            if let Err(error) = try_one(&slot, &ended, &before, at) {
                let how = format!("{what} {errno} at call {at}, {hit}: {error}");
                part.wrong.push(format!("{how}; it said {:?} with {}", ended.said, ended.code));
            }
        }
    }
    part
}

fn try_one(slot: &Slot, ended: &Ended, before: &Files, at: u64) -> Result<(), String> {
    if ended.said.contains(CANARY) {
        return Err("it said a secret".into());
    }
    if ended.code == 999 {
        return Err("it hangs".into());
    }
    if ended.code == 0 {
        leftovers(slot, "nothing", "nothing")?;
    }
    if at.is_multiple_of(2) {
        let again = slot.alone(IMPORT, "");
        if again.code != 0 {
            return Err(format!("a second call failed: {}", again.said));
        }
        leftovers(slot, "nothing", "nothing").map_err(|error| format!("after a second call: {error}"))?;
    }
    let undone = slot.alone(UNDO, "");
    if undone.code != 0 {
        return Err(format!("the undo failed: {}", undone.said));
    }
    let now = theirs(slot);
    let differs = |path: &&std::path::PathBuf| now.get(*path) != before.get(*path);
    match before.keys().chain(now.keys()).find(differs) {
        Some(path) => Err(format!("after the undo, {} is not as it was", path.display())),
        None => Ok(()),
    }
}
