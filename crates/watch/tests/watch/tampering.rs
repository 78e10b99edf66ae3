//! Every known way to change something protected: with the watch off the change stands, with it on it is undone.
//!
//! The ordinary run tries each way a few times; `MANTLET_TRIALS=200` is the full one, and with
//! `MANTLET_DOCS=docs/tampering.md` (from the repository's top) the measured table replaces the one on that page. Run as
//! root, everything happens in a private mount namespace, once as root and once as an ordinary user.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::cases::{CASES, Case, Held, When};
use crate::running::Running;
use crate::world::World;
use mantlet_watch::{Notice, Whole};

/// One way, tried.
enum Tried {
    /// Undone in every trial, after so many milliseconds.
    Undone { noticed: String, what: String, times: Vec<f64> },
    /// The kernel or the file system does not have it.
    Inapplicable(String),
    /// It was not undone in so many trials; the first one's remains.
    Stood(usize, String),
    /// Without the watch, nothing differed: the test shows nothing.
    NoControl,
}

fn trials() -> usize {
    std::env::var("MANTLET_TRIALS").ok().and_then(|n| n.parse().ok()).unwrap_or(5)
}

fn try_case(case: &Case) -> Tried {
    if let Err(tried) = control(case) {
        return tried;
    }
    let (mut times, mut noticed, mut what) = (Vec::new(), String::new(), String::new());
    let mut stood = (0, String::new());
    // Filling the queue takes a second each time.
    let trials = if case.when == When::Stalled { (trials() / 10).max(2) } else { trials() };
    for _ in 0..trials {
        match trial(case) {
            Ok((took, how, word)) => {
                times.push(took.as_secs_f64() * 1000.0);
                (noticed, what) = (how, word);
            }
            Err(left) => {
                stood.0 += 1;
                if stood.1.is_empty() {
                    stood.1 = left;
                }
            }
        }
    }
    if stood.0 > 0 { Tried::Stood(stood.0, stood.1) } else { Tried::Undone { noticed, what, times } }
}

/// The same act with nobody watching: it must leave a difference.
fn control(case: &Case) -> Result<(), Tried> {
    let world = World::new();
    let before = world.seen();
    let held = (case.prepare)(&world).unwrap();
    let held = (case.act)(&world, held).map_err(|e| Tried::Inapplicable(e.to_string()))?;
    let after = world.seen();
    unmount_all(&world.top);
    drop(held);
    if before == after { Err(Tried::NoControl) } else { Ok(()) }
}

fn trial(case: &Case) -> Result<(Duration, String, String), String> {
    let world = Arc::new(World::new());
    let before = world.seen();
    let mut held: Held = (case.prepare)(&world).unwrap();
    if case.when == When::Off {
        drop(Running::begin(world.options(), world.places(), Box::new(Whole), || {}));
        held = (case.act)(&world, held).unwrap();
    }
    let slot: Arc<Mutex<Option<Held>>> = Arc::new(Mutex::new(Some(held)));
    let mut began = Instant::now();
    let stalled = {
        let (world, slot, act, when) = (world.clone(), slot.clone(), case.act, case.when);
        move || {
            if when == When::Stalled {
                let held = slot.lock().unwrap().take().unwrap();
                *slot.lock().unwrap() = act(&world, held).ok();
            }
        }
    };
    let running = Running::begin(world.options(), world.places(), Box::new(Whole), stalled);
    if case.when == When::On {
        let held = slot.lock().unwrap().take().unwrap();
        began = Instant::now();
        // A step that fails here and not in the control found the step before it undone already.
        *slot.lock().unwrap() = (case.act)(&world, held).ok();
    } else if case.when == When::Stalled {
        began = Instant::now();
    }
    let took = wait_for(&world, &before, began);
    let (noticed, what) = {
        // What is undone is told afterwards.
        let deadline = Instant::now() + Duration::from_secs(20);
        while running.told.changes.lock().unwrap().is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        let changes = running.told.changes.lock().unwrap();
        changes.first().map(|c| (c.noticed.clone(), c.what.clone())).ok_or("nothing was told")?
    };
    let told = running.told.clone();
    let deadline = Instant::now() + Duration::from_secs(60);
    let is_overflown = || told.notices.lock().unwrap().contains(&Notice::Overflow);
    while case.when == When::Stalled && !is_overflown() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    let status = running.stop();
    if case.when == When::Stalled && status.overflows == 0 {
        return Err("the queue did not overflow".into());
    }
    unmount_all(&world.top);
    took.map(|took| (took, noticed, what))
        .ok_or_else(|| format!("{}\n    told: {:?}", difference(&before, &world.seen()), told.changes.lock().unwrap()))
}

/// Waits until everything is as before, and stays so for a moment.
fn wait_for(world: &World, before: &BTreeMap<String, String>, began: Instant) -> Option<Duration> {
    let deadline = began + Duration::from_secs(60);
    while Instant::now() < deadline {
        if world.seen() == *before {
            let took = began.elapsed();
            std::thread::sleep(Duration::from_millis(20));
            if world.seen() == *before {
                return Some(took);
            }
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    None
}

fn difference(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> String {
    let lost = before.iter().filter(|(k, v)| after.get(*k) != Some(v)).map(|(k, v)| format!("- {k}: {v}"));
    let new = after.iter().filter(|(k, v)| before.get(*k) != Some(v)).map(|(k, v)| format!("+ {k}: {v}"));
    lost.chain(new).collect::<Vec<_>>().join("\n    ")
}

/// What an act mounted and nobody unmounted would keep the world from being removed.
fn unmount_all(top: &Path) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    for point in points.filter(|point| point.starts_with(top)) {
        rustix::mount::unmount(point, rustix::mount::UnmountFlags::DETACH).ok();
    }
}

/// Runs all ways as whoever runs this, and writes one row for each.
#[test]
#[ignore = "run by `every_way_is_undone`, in a namespace and as a user of its choice"]
fn table() {
    let path = std::env::var_os("MANTLET_ROWS").unwrap();
    let is_root = rustix::process::geteuid().is_root();
    let only = std::env::var("MANTLET_ONLY").ok();
    let mut rows = String::new();
    for case in CASES.iter().filter(|case| only.as_ref().is_none_or(|only| case.name.contains(only.as_str()))) {
        let row = if case.needs_root && !is_root {
            "needs root\t-\t-\t-\t-".to_owned()
        } else {
            match try_case(case) {
                Tried::Undone { noticed, what, mut times } => {
                    times.sort_by(f64::total_cmp);
                    let at = |part: usize| times[(times.len() - 1) * part / 100];
                    format!("undone\t{what}\t{noticed}\t{:.1}\t{:.1}", at(50), at(100))
                }
                Tried::Inapplicable(why) => format!("not applicable: {why}\t-\t-\t-\t-"),
                Tried::Stood(trials, left) => format!("STOOD in {trials}\t-\t-\t-\t-\n    {left}"),
                Tried::NoControl => "NO CONTROL\t-\t-\t-\t-".to_owned(),
            }
        };
        rows += &format!("{}\t{row}\n", case.name);
        fs::write(&path, &rows).unwrap();
    }
}

/// Runs `table` as root or as an ordinary user, where root does it in a private mount namespace.
fn run(as_user: bool) -> String {
    let dir = std::env::temp_dir().join(format!("mantlet-watch-table-{}-{as_user}", std::process::id()));
    fs::create_dir(&dir).unwrap();
    let (rows, program) = (dir.join("rows"), dir.join("tests"));
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let is_root = rustix::process::geteuid().is_root();
    let mut command = if is_root && !as_user {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "--"]).arg(&program);
        command
    } else {
        let mut command = Command::new(&program);
        if is_root {
            const NOBODY: u32 = 65534;
            std::os::unix::fs::chown(&dir, Some(NOBODY), Some(NOBODY)).unwrap();
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    };
    let arguments = ["--ignored", "--exact", "tampering::table", "--nocapture", "--test-threads=1"];
    let output =
        command.args(arguments).env("MANTLET_ROWS", &rows).env("MANTLET_WORLDS", &dir).current_dir("/").output();
    let output = output.unwrap();
    let text = fs::read_to_string(&rows).unwrap_or_default();
    fs::remove_dir_all(&dir).unwrap();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn every_way_is_undone() {
    let is_root = rustix::process::geteuid().is_root();
    let user = run(true);
    let root = if is_root { run(false) } else { String::new() };
    println!("as an ordinary user:\n{user}\nas root:\n{root}");
    let count = |rows: &str, word: &str| rows.lines().filter(|row| row.split('\t').nth(1) == Some(word)).count();
    let inapplicable = |rows: &str| rows.lines().filter(|row| row.contains("\tnot applicable")).count();
    println!(
        "undone: {} ways as a user ({} need root, {} not applicable); {} as root ({} not applicable)",
        count(&user, "undone"),
        count(&user, "needs root"),
        inapplicable(&user),
        count(&root, "undone"),
        inapplicable(&root),
    );
    for rows in [&user, &root] {
        assert!(!rows.contains("STOOD") && !rows.contains("NO CONTROL"), "{rows}");
    }
    if std::env::var_os("MANTLET_ONLY").is_none() {
        assert!(count(&user, "undone") >= 30);
        assert!(!is_root || count(&root, "undone") >= 40);
    }
    if let Some(page) = std::env::var_os("MANTLET_DOCS") {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        write_page(&top.join(page), &user, &root);
    }
}

/// Replaces what stands between the marks of the page.
fn write_page(page: &Path, user: &str, root: &str) {
    const MARKS: (&str, &str) = ("<!-- measured: begin -->\n", "<!-- measured: end -->\n");
    let cell = |rows: &str, name: &str| -> (String, String, String) {
        let row = rows.lines().find(|row| row.split('\t').next() == Some(name)).unwrap_or_default();
        let parts: Vec<&str> = row.split('\t').collect();
        match parts.as_slice() {
            [_, "undone", what, noticed, median, most] => {
                (format!("{median} / {most}"), (*what).to_owned(), (*noticed).to_owned())
            }
            [_, why, ..] => ((*why).to_owned(), String::new(), String::new()),
            _ => ("not run".into(), String::new(), String::new()),
        }
    };
    let mut table =
        String::from("| way | told as | noticed by | user: ms, median / most | root: ms, median / most |\n");
    table += "|---|---|---|---|---|\n";
    for case in CASES {
        let (user, root) = (cell(user, case.name), cell(root, case.name));
        let (what, noticed) = if user.1.is_empty() { (root.1, root.2) } else { (user.1, user.2) };
        table += &format!("| {} | {what} | {noticed} | {} | {} |\n", case.name, user.0, root.0);
    }
    let text = fs::read_to_string(page).unwrap();
    let (head, rest) = text.split_once(MARKS.0).unwrap();
    let (_, tail) = rest.split_once(MARKS.1).unwrap();
    let trials = format!("{} trials of each way.\n\n", trials());
    fs::write(page, format!("{head}{}{trials}{table}{}{tail}", MARKS.0, MARKS.1)).unwrap();
}
