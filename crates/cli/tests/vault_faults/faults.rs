//! One disturbance per run, at every system call a command makes: killed there, failed there, failing from there on, half
//! written there.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::cases::{CASES, Case, leftovers};
use crate::slot::{CANARY, Ended, Fault, Files, NONE, Slot};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;

/// A way of disturbing: what is done, the error, and whether at every call or at those that write only.
#[derive(Clone, Copy)]
struct Way {
    what: &'static str,
    errno: i32,
    at: At,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Every,
    Writes,
}

const WAYS: &[Way] = &[
    Way { what: "kill", errno: 0, at: At::Every },
    Way { what: "fail", errno: EIO, at: At::Every },
    Way { what: "fail", errno: ENOSPC, at: At::Writes },
    Way { what: "break", errno: EROFS, at: At::Writes },
    Way { what: "short", errno: 0, at: At::Writes },
];

pub fn run() -> String {
    if !cfg!(target_arch = "x86_64") {
        return "NOT APPLICABLE: the tracer knows the registers of x86-64 only".into();
    }
    let jobs: Vec<(&Case, &Way)> = CASES.iter().flat_map(|case| WAYS.iter().map(move |way| (case, way))).collect();
    let (next, tries, wrong) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for worker in 0..2 {
            let (next, tries, wrong, jobs) = (&next, &tries, &wrong, &jobs);
            scope.spawn(move || {
                let mut slot = Slot::new(&worker.to_string());
                while let Some((case, way)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let mut found = Vec::new();
                    tries.fetch_add(job(&mut slot, case, way, &mut found), Ordering::Relaxed);
                    wrong.lock().unwrap().extend(found);
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    format!("{} commands, {} ways, {} runs", CASES.len(), WAYS.len(), tries.into_inner())
}

/// One command, one way, every call; answers how many runs that took.
fn job(slot: &mut Slot, case: &Case, way: &Way, wrong: &mut Vec<String>) -> usize {
    (case.prepare)(slot);
    let start = slot.files();
    let whole = slot.run(case.args, case.stdin, NONE);
    assert_eq!(whole.code, 0, "{}: {}", case.name, whole.said);
    case.is_finished(slot).unwrap();
    let points: Box<dyn Iterator<Item = u64>> = match way.at {
        At::Every => Box::new(1..),
        At::Writes => {
            Box::new(whole.writes.iter().filter(|(_, name)| way.what != "short" || name == "write").map(|w| w.0))
        }
    };
    let mut tries = 0;
    for at in points {
        slot.restore(&start);
        let ended = slot.run(case.args, case.stdin, Fault { what: way.what, at, errno: way.errno });
        let Some(hit) = ended.hit.clone() else { break };
        tries += 1;
        // A kill leaves what the last write left: the calls after it need no second call each. Memory that is asked for
        // shifts the numbers a little from run to run.
        let is_new = way.what != "kill" || whole.writes.iter().any(|(write, _)| (write - 2..write + 4).contains(&at));
        if let Err(error) = try_one(slot, case, way, &start, &ended, (&hit, is_new)) {
            let how = format!("{}: {} {} at call {at}, {hit}", case.name, way.what, way.errno);
            wrong.push(format!("{how}: {error}; it said {:?} with {}", ended.said, ended.code));
        }
    }
    tries
}

fn try_one(
    slot: &Slot,
    case: &Case,
    way: &Way,
    start: &Files,
    ended: &Ended,
    (hit, is_new): (&str, bool),
) -> Result<(), String> {
    if ended.said.contains(CANARY) {
        return Err("it said a secret".into());
    }
    if ended.code == 999 {
        return Err("it hangs".into());
    }
    if way.what == "short" && ended.code != 0 {
        return Err("a short write was not continued".into());
    }
    let is_told = ended.code != 0 && ended.said.contains("mantlet: ");
    if way.at == At::Writes && ["fail", "break"].contains(&way.what) && !is_told {
        return Err("the failure was not told".into());
    }
    // Nothing was done: nothing can be lost, and a second call is a first one.
    if slot.files() == *start {
        return Ok(());
    }
    case.is_kept(slot)?;
    if !is_new {
        return Ok(());
    }
    // What one call could not do, the next ones clean up; plaintext that is left has to be named.
    let is_named = [".mantlet-wipe", "mantlet-edit-"].iter().any(|name| ended.said.contains(name));
    // The standard library's, when it cannot start an editor.
    let is_panic = ended.said.contains("the CLOEXEC pipe failed");
    if way.what == "fail" && hit != "unlinkat" && !is_named && !is_panic {
        leftovers(slot, case.plaintexts(), "nothing")?;
    }
    let again = slot.alone(case.args, case.stdin);
    let is_done = |said: &str| case.done.is_some_and(|done| said.contains(done));
    if again.code != 0 && !is_done(&again.said) {
        return Err(format!("a second call failed: {}", again.said));
    }
    case.is_finished(slot).map_err(|error| format!("after a second call: {error}"))
}
