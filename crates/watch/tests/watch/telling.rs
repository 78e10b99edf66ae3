//! What is told, what is accepted, and what happens when somebody keeps trying or the privilege does not suffice.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use mantlet_ledger::Change;
use mantlet_watch::{
    BaselineError, Compare, Content, ContentError, Difference, Error, Escalation, Notice, Place, PlaceError, PlaceKind,
    Restored, StateError, Watch, Whole,
};

use crate::running::{Running, Told};
use crate::world::{SETTINGS, World};

fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within five seconds");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn changes(told: &Told) -> Vec<Change> {
    told.changes.lock().unwrap().clone()
}

/// Lines `key=value`: `color` may change, everything else must not.
struct Lines;

impl Lines {
    fn read(mut file: &File) -> Result<BTreeMap<String, String>, ContentError> {
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(|e| ContentError::new(e.to_string()))?;
        text.lines()
            .map(|l| l.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())))
            .collect::<Option<_>>()
            .ok_or_else(|| ContentError::new("a line without `=`"))
    }

    fn parse(bytes: &[u8]) -> BTreeMap<String, String> {
        serde_json::from_slice(bytes).unwrap_or_default()
    }
}

impl Content for Lines {
    fn knows(&self, path: &Path) -> bool {
        path.ends_with("judged.conf")
    }

    fn snapshot(&self, _: &Path, file: &File) -> Result<Option<Vec<u8>>, ContentError> {
        let all = Lines::read(file)?;
        if all.keys().all(|key| key == "color") {
            return Ok(None);
        }
        serde_json::to_vec(&all).map(Some).map_err(|e| ContentError::new(e.to_string()))
    }

    fn compare(&self, _: &Path, baseline: &[u8], found: &[u8]) -> Difference {
        let (old, new) = (Lines::parse(baseline), Lines::parse(found));
        let mut keys: Vec<String> = old.keys().chain(new.keys()).cloned().collect();
        keys.sort();
        keys.dedup();
        keys.retain(|key| old.get(key) != new.get(key));
        match keys.as_slice() {
            [] => Difference::Same,
            keys if keys.iter().all(|key| key == "color") => Difference::Accepted { keys: keys.to_vec() },
            _ => Difference::Tampered { keys: keys.into_iter().filter(|key| *key != "color").collect() },
        }
    }

    fn restore(&self, _: &Path, baseline: &[u8], found: &File) -> Result<Restored, ContentError> {
        let color = Lines::read(found)?.remove("color");
        let mut all = Lines::parse(baseline);
        all.extend(color.map(|color| ("color".to_owned(), color)));
        let lines: Vec<String> = all.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
        Ok(Restored::Content(lines.concat().into_bytes()))
    }
}

fn judged(world: &World) -> (std::path::PathBuf, Running) {
    let path = world.home.join("judged.conf");
    fs::write(&path, "color=red\nhook=none\n").unwrap();
    let place = Place { path: path.clone(), kind: PlaceKind::File, content: Compare::Judged };
    let mut options = world.options();
    // A writer that sleeps on a busy machine sleeps long.
    options.patience = Duration::from_millis(300);
    (path, Running::begin(options, vec![place], Box::new(Lines), || {}))
}

#[test]
fn a_judged_file_keeps_what_its_owner_may_change() {
    let world = World::new();
    let (path, running) = judged(&world);
    fs::write(&path, "color=blue\nhook=none\n").unwrap();
    wait("accepted", || changes(&running.told).iter().any(|c| c.outcome == "accepted"));
    fs::write(&path, "color=green\nhook=evil\n").unwrap();
    wait("undone", || fs::read_to_string(&path).unwrap() == "color=green\nhook=none\n");
    wait("told", || changes(&running.told).iter().any(|c| c.outcome == "undone" && c.keys == ["hook"]));
    fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
    wait("mode", || fs::metadata(&path).unwrap().permissions().mode() & 0o777 == 0o644);
    assert_eq!(fs::read_to_string(&path).unwrap(), "color=green\nhook=none\n");
    running.stop();
    // What was accepted is the baseline of the next start, too.
    let place = Place { path: path.clone(), kind: PlaceKind::File, content: Compare::Judged };
    let running = Running::begin(world.options(), vec![place], Box::new(Lines), || {});
    assert_eq!(changes(&running.told), []);
    assert_eq!(fs::read_to_string(&path).unwrap(), "color=green\nhook=none\n");
}

/// Most programs truncate, then write: what stands there in between must not be undone under the writer's hands.
#[test]
fn a_judged_file_is_left_to_its_writer_for_a_moment() {
    use std::io::Write as _;
    let world = World::new();
    let (path, running) = judged(&world);
    let mut file = File::create(&path).unwrap();
    std::thread::sleep(Duration::from_millis(15));
    file.write_all(b"color=blue\nhook=none\n").unwrap();
    drop(file);
    wait("accepted", || changes(&running.told).iter().any(|c| c.outcome == "accepted"));
    assert_eq!(changes(&running.told).len(), 1);
    // The control: whoever takes longer is not waited for.
    let file = File::create(&path).unwrap();
    wait("undone", || fs::read_to_string(&path).unwrap() == "color=blue\nhook=none\n");
    drop(file);
}

#[test]
fn a_judged_file_that_cannot_be_read_comes_back_from_its_last_good_copy() {
    let world = World::new();
    let (path, running) = judged(&world);
    fs::write(&path, "color=blue\nhook=none\n").unwrap();
    wait("accepted", || changes(&running.told).iter().any(|c| c.outcome == "accepted"));
    fs::write(&path, "no such line\n").unwrap();
    wait("restored", || fs::read_to_string(&path).unwrap() == "color=blue\nhook=none\n");
    fs::remove_file(&path).unwrap();
    wait("deleted", || fs::read_to_string(&path).is_ok_and(|text| text == "color=blue\nhook=none\n"));
}

#[test]
fn a_judged_file_may_appear_with_nothing_that_matters_in_it() {
    let world = World::new();
    let path = world.home.join("judged.conf");
    let place = Place { path: path.clone(), kind: PlaceKind::File, content: Compare::Judged };
    let running = Running::begin(world.options(), vec![place], Box::new(Lines), || {});
    fs::write(&path, "hook=evil\n").unwrap();
    wait("taken away", || !path.exists());
    fs::write(world.home.join("x"), "color=red\n").unwrap();
    fs::rename(world.home.join("x"), &path).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(fs::read_to_string(&path).unwrap(), "color=red\n");
    fs::write(&path, "color=red\nhook=evil\n").unwrap();
    wait("undone", || fs::read_to_string(&path).is_ok_and(|text| text == "color=red\n"));
    running.stop();
}

#[test]
fn what_was_found_is_kept_and_what_is_told_is_whole() {
    let world = World::new();
    let running = Running::begin(world.options(), world.places(), Box::new(Whole), || {});
    fs::write(world.evil(), "evil \u{1b}[2J\n").unwrap();
    fs::rename(world.evil(), world.settings()).unwrap();
    wait("told", || !changes(&running.told).is_empty());
    let change = changes(&running.told).remove(0);
    assert_eq!((change.outcome.as_str(), change.count), ("undone", 1));
    assert!(change.before.is_some() && change.after.is_some() && change.before != change.after);
    let copy = change.copy.unwrap();
    assert!(copy.starts_with(world.state.join("kept").to_str().unwrap()));
    assert_eq!(fs::read_to_string(copy).unwrap(), "evil \u{1b}[2J\n");
    assert!(change.took_ms < 1000);
    assert!(running.told.notices.lock().unwrap().iter().any(|n| matches!(n, Notice::Made { .. })));
}

#[test]
fn the_culprit_is_named_where_the_kernel_says() {
    let world = World::new();
    let running = Running::begin(world.options(), world.places(), Box::new(Whole), || {});
    // It lives on, so that it can be looked at.
    let script = format!("echo evil > '{}'; read _", world.settings().display());
    let mut shell = Command::new("/bin/sh").args(["-c", &script]).stdin(std::process::Stdio::piped()).spawn().unwrap();
    wait("told", || !changes(&running.told).is_empty());
    let change = changes(&running.told).remove(0);
    shell.kill().unwrap();
    shell.wait().unwrap();
    let status = running.stop();
    if status.names_culprits {
        let culprit = change.culprit.unwrap();
        assert_eq!(culprit.pid, i32::try_from(shell.id()).unwrap());
        assert_eq!(culprit.uid, Some(rustix::process::geteuid().as_raw()));
        assert_eq!(culprit.exe.as_deref().map(Path::new), Some(fs::canonicalize("/bin/sh").unwrap().as_path()));
    } else {
        println!("not applicable: the kernel names processes to a privileged watch only");
        assert_eq!(change.culprit, None);
    }
}

#[test]
fn a_baseline_that_somebody_else_wrote_is_refused() {
    let world = World::new();
    drop(Running::begin(world.options(), world.places(), Box::new(Whole), || {}));
    let path = world.state.join("baseline");
    let good = fs::read(&path).unwrap();
    let refused = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        matches!(
            Watch::open(world.options(), world.places(), Box::new(Whole)),
            Err(Error::Baseline(BaselineError::Signature { .. }))
        )
    };
    let text = String::from_utf8(good.clone()).unwrap();
    assert!(refused(text.replacen("\"mode\":", "\"mode\":1", 1).as_bytes()), "a changed record");
    let lines: Vec<&str> = text.lines().collect();
    assert!(refused((lines[..lines.len() - 1].join("\n") + "\n").as_bytes()), "no signature");
    assert!(refused(b""), "nothing");
    assert!(refused(&good[..good.len() / 2]), "half of it");
    // Signed by another key.
    let other = World::new();
    drop(Running::begin(other.options(), other.places(), Box::new(Whole), || {}));
    assert!(refused(&fs::read(other.state.join("baseline")).unwrap()), "another key's");
    assert!(!refused(&good), "the control");
}

#[test]
fn a_state_directory_that_others_can_enter_is_refused_and_so_is_a_second_watch() {
    let world = World::new();
    fs::create_dir(&world.state).unwrap();
    fs::set_permissions(&world.state, Permissions::from_mode(0o755)).unwrap();
    let open = || Watch::open(world.options(), world.places(), Box::new(Whole));
    assert!(matches!(open(), Err(Error::State(StateError::Loose { .. }))));
    fs::set_permissions(&world.state, Permissions::from_mode(0o700)).unwrap();
    let first = open().unwrap();
    assert!(matches!(open(), Err(Error::State(StateError::Busy { .. }))));
    drop(first);
    assert!(open().is_ok());
    for file in ["key", "lock"] {
        assert_eq!(fs::metadata(world.state.join(file)).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

/// Nothing can be renamed over file systems: what was found is copied out and removed.
#[test]
fn the_quarantine_may_be_on_another_file_system() {
    use std::os::unix::fs::MetadataExt as _;
    let world = World::new();
    let before = world.seen();
    let other = Path::new("/dev/shm");
    let device = |path: &Path| fs::metadata(path).map(|meta| meta.dev()).ok();
    if device(other).is_none() || device(other) == device(&world.top) {
        println!("not applicable: no second file system at {other:?}");
        return;
    }
    let state = other.join(world.top.file_name().unwrap());
    let mut options = world.options();
    options.state.clone_from(&state);
    let running = Running::begin(options, world.places(), Box::new(Whole), || {});
    fs::rename(world.evil(), world.settings()).unwrap();
    fs::create_dir_all(world.home.join("tools/new/deep")).unwrap();
    fs::write(world.home.join("tools/new/deep/x"), "evil\n").ok();
    symlink("/etc/passwd", world.home.join("tools/new-link")).unwrap();
    wait("all is as it was", || world.seen() == before);
    running.stop();
    let kept = fs::read_dir(state.join("kept")).unwrap().flatten().map(|e| e.path()).collect::<Vec<_>>();
    assert!(kept.iter().any(|p| p.is_file() && fs::read_to_string(p).unwrap() == "evil\n"), "{kept:?}");
    assert!(kept.iter().any(|p| p.is_symlink()) && kept.iter().any(|p| p.is_dir()), "{kept:?}");
    fs::remove_dir_all(&state).unwrap();
}

#[test]
fn the_state_of_the_watch_is_no_place() {
    let world = World::new();
    fs::create_dir(&world.state).unwrap();
    fs::set_permissions(&world.state, Permissions::from_mode(0o700)).unwrap();
    for path in [&world.top, &world.state, &world.state.join("kept")] {
        let place = Place { path: path.clone(), kind: PlaceKind::Directory, content: Compare::Whole };
        let opened = Watch::open(world.options(), vec![place], Box::new(Whole));
        assert!(matches!(opened, Err(Error::Place(PlaceError::State { .. }))), "{path:?}");
    }
}

#[test]
fn copies_and_a_baseline_that_somebody_removed_are_made_again() {
    let world = World::new();
    let mut options = world.options();
    options.rescan = Duration::from_millis(100);
    let running = Running::begin(options, world.places(), Box::new(Whole), || {});
    let copies = || fs::read_dir(world.state.join("store")).unwrap().flatten().map(|e| e.path()).collect::<Vec<_>>();
    let before = copies().len();
    for path in copies() {
        fs::remove_file(path).unwrap();
    }
    fs::write(world.state.join("baseline"), "{}").unwrap();
    wait("copies", || copies().len() == before);
    wait("baseline", || fs::read(world.state.join("baseline")).unwrap().len() > 100);
    fs::write(world.settings(), "evil\n").unwrap();
    wait("undone", || fs::read_to_string(world.settings()).unwrap() == SETTINGS);
    running.stop();
    assert!(Watch::open(world.options(), world.places(), Box::new(Whole)).is_ok());
}

/// A judge whose files are changed as they stand, as a database would be.
struct InPlace;

impl Content for InPlace {
    fn knows(&self, path: &Path) -> bool {
        Lines.knows(path)
    }

    fn snapshot(&self, path: &Path, file: &File) -> Result<Option<Vec<u8>>, ContentError> {
        Lines.snapshot(path, file)
    }

    fn compare(&self, path: &Path, baseline: &[u8], found: &[u8]) -> Difference {
        Lines.compare(path, baseline, found)
    }

    fn restore(&self, path: &Path, baseline: &[u8], found: &File) -> Result<Restored, ContentError> {
        let Restored::Content(bytes) = Lines.restore(path, baseline, found)? else {
            return Err(ContentError::new("no content"));
        };
        fs::write(path, bytes).map(|()| Restored::InPlace).map_err(|e| ContentError::new(e.to_string()))
    }
}

#[test]
fn a_database_is_restored_as_it_stands() {
    use std::os::unix::fs::MetadataExt as _;
    let world = World::new();
    let path = world.home.join("judged.conf");
    fs::write(&path, "color=red\nhook=none\n").unwrap();
    let inode = fs::metadata(&path).unwrap().ino();
    let place = Place { path: path.clone(), kind: PlaceKind::File, content: Compare::Judged };
    let running = Running::begin(world.options(), vec![place], Box::new(InPlace), || {});
    fs::write(&path, "color=blue\nhook=evil\n").unwrap();
    wait("undone", || fs::read_to_string(&path).unwrap() == "color=blue\nhook=none\n");
    wait("told", || changes(&running.told).iter().any(|c| c.outcome == "undone" && c.keys == ["hook"]));
    fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
    wait("mode", || fs::metadata(&path).unwrap().permissions().mode() & 0o777 == 0o644);
    assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
    running.stop();
}

#[test]
fn a_watch_can_live_in_any_thread() {
    fn is_send<T: Send>() {}
    is_send::<Watch>();
}

#[test]
fn what_is_accepted_is_shown_and_stays() {
    let world = World::new();
    drop(Running::begin(world.options(), world.places(), Box::new(Whole), || {}));
    fs::write(world.settings(), "{\"hooks\": [1]}\n").unwrap();
    fs::write(world.home.join("tools/new"), "new\n").unwrap();
    let mut watch = Watch::open(world.options(), world.places(), Box::new(Whole)).unwrap();
    let mut told = Told::default();
    // Undone by the start, as it must be; then accepted from what was kept.
    watch.begin(&mut told).unwrap();
    assert_eq!(fs::read_to_string(world.settings()).unwrap(), SETTINGS);
    watch.accept_content(&world.settings(), b"{\"hooks\": [2]}\n", &mut told).unwrap();
    assert_eq!(fs::read_to_string(world.settings()).unwrap(), "{\"hooks\": [2]}\n");
    fs::write(world.home.join("tools/new"), "new\n").unwrap();
    let tools = [world.home.join("tools")];
    let shown = watch.differences(&tools).unwrap();
    let accepted = watch.accept(&tools, &crate::owner::seen(&shown)).unwrap();
    assert_eq!(shown, accepted);
    let new = accepted.iter().find(|diff| diff.path.ends_with("tools/new")).unwrap();
    assert_eq!((new.what.as_slice(), &new.lines[..2]), (&["made"][..], &["@@ line 1 @@".into(), "+ new".into()][..]));
    assert!(matches!(watch.accept(&["/etc/passwd".into()], &BTreeMap::new()), Err(Error::Unknown { .. })));
    drop(watch);
    let running = Running::begin(world.options(), world.places(), Box::new(Whole), || {});
    assert_eq!(changes(&running.told), []);
    fs::remove_file(world.home.join("tools/new")).unwrap();
    wait("put back", || fs::read_to_string(world.home.join("tools/new")).is_ok_and(|text| text == "new\n"));
}

#[test]
fn somebody_who_keeps_trying_meets_the_next_step() {
    let world = World::new();
    let mut options = world.options();
    options.tries = 5;
    options.pause = Duration::from_millis(50);
    let running = Running::begin(options, world.places(), Box::new(Whole), || {});
    // Deleting works against a locked file as long as its directory may be written; root takes the flag off first.
    let deadline = Instant::now() + Duration::from_secs(10);
    while *running.told.halts.lock().unwrap() == 0 && Instant::now() < deadline {
        if let Ok(file) = File::open(world.settings()) {
            rustix::fs::ioctl_setflags(&file, rustix::fs::IFlags::empty()).ok();
        }
        fs::remove_file(world.settings()).ok();
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(*running.told.halts.lock().unwrap(), 1);
    wait("told", || changes(&running.told).iter().any(|c| c.outcome == "locked"));
    wait("put back", || fs::read_to_string(world.settings()).is_ok_and(|text| text == SETTINGS));
    let told = running.told.clone();
    let status = running.stop();
    assert_eq!(status.locked, [world.settings()]);
    let mode = fs::metadata(world.settings()).unwrap().permissions().mode() & 0o777;
    // Nobody's flag, where root has set it; else no right to write.
    assert!(mode == 0o600 || mode == 0o400, "{mode:o}");
    assert_eq!(fs::write(world.settings(), "evil\n").is_err(), mode == 0o600 || !rustix::process::geteuid().is_root());
    // A flood of changes is no flood of entries.
    assert!(changes(&told).len() < 100);
}

#[test]
fn a_directory_in_which_names_come_and_go_is_locked_and_kept_clean() {
    let world = World::new();
    let before = world.seen();
    let mut options = world.options();
    (options.tries, options.pause) = (5, Duration::from_millis(50));
    options.escalation = vec![Escalation::Lock];
    let running = Running::begin(options, world.places(), Box::new(Whole), || {});
    let (tools, deadline) = (world.home.join("tools"), Instant::now() + Duration::from_secs(10));
    let is_locked = || changes(&running.told).iter().any(|c| c.outcome == "locked");
    let mut number = 0;
    while !is_locked() && Instant::now() < deadline {
        number += 1;
        fs::write(tools.join(format!("new-{number}")), "evil\n").ok();
        std::thread::sleep(Duration::from_millis(3));
    }
    assert!(is_locked());
    // The same user takes the lock off; what is made then is taken away, and the lock is back.
    std::thread::sleep(Duration::from_millis(100));
    if let Ok(dir) = File::open(&tools) {
        rustix::fs::ioctl_setflags(&dir, rustix::fs::IFlags::empty()).ok();
    }
    fs::set_permissions(&tools, Permissions::from_mode(0o755)).unwrap();
    let made = fs::write(tools.join("again"), "evil\n");
    fs::write(world.tool(), "evil\n").ok();
    wait("clean", || {
        let names = fs::read_dir(&tools).unwrap().count();
        names == 3 && fs::read_to_string(world.tool()).unwrap() == "#!/bin/sh\necho tool\n"
    });
    println!("made: {made:?}");
    wait("locked", || fs::write(tools.join("again"), "").is_err() || rustix::process::geteuid().is_root());
    assert_eq!(running.stop().locked, std::slice::from_ref(&tools));
    // The next start knows of no lock.
    let running = Running::begin(world.options(), world.places(), Box::new(Whole), || {});
    assert_eq!(world.seen(), before);
    running.stop();
}

#[test]
fn the_order_of_steps_is_the_callers() {
    let world = World::new();
    let mut options = world.options();
    options.tries = 2;
    options.escalation = vec![Escalation::Halt];
    let running = Running::begin(options, world.places(), Box::new(Whole), || {});
    let deadline = Instant::now() + Duration::from_secs(10);
    while *running.told.halts.lock().unwrap() == 0 && Instant::now() < deadline {
        fs::write(world.settings(), "evil\n").ok();
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(*running.told.halts.lock().unwrap(), 1);
    assert_eq!(running.stop().locked, Vec::<std::path::PathBuf>::new());
}

/// A parent that is swapped for a symlink again and again must not make the watch write anywhere else.
#[test]
fn a_parent_that_becomes_a_symlink_leads_the_watch_nowhere() {
    let world = World::new();
    let before = world.seen();
    let victim = world.out.join("victim");
    fs::create_dir(&victim).unwrap();
    let mut options = world.options();
    options.tries = usize::MAX;
    let running = Running::begin(options, world.places(), Box::new(Whole), || {});
    let sub = world.home.join("tools/sub");
    let mut swaps = 0;
    let end = Instant::now() + Duration::from_millis(1500);
    while Instant::now() < end {
        fs::remove_file(sub.join("b.txt")).ok();
        if fs::rename(&sub, world.out.join(format!("sub-{swaps}"))).is_ok() {
            swaps += u32::from(symlink(&victim, &sub).is_ok());
        }
        let agent = world.home.join("config/agent");
        fs::remove_file(agent.join("settings.json")).ok();
        if fs::rename(&agent, world.out.join(format!("agent-{swaps}"))).is_ok() {
            swaps += u32::from(symlink(&victim, &agent).is_ok());
        }
        assert_eq!(fs::read_dir(&victim).unwrap().count(), 0, "the watch wrote through a symlink");
    }
    assert!(swaps > 10, "only {swaps} swaps");
    wait("all is as it was", || world.seen() == before);
    assert_eq!(fs::read_dir(&victim).unwrap().count(), 0);
    running.stop();
}

#[test]
fn a_file_too_large_for_a_copy_is_told_and_stands() {
    let world = World::new();
    let mut options = world.options();
    options.copy_max = 64;
    fs::write(world.settings(), "x".repeat(100)).unwrap();
    let running = Running::begin(options, world.places(), Box::new(Whole), || {});
    assert!(running.told.notices.lock().unwrap().iter().any(|n| matches!(n, Notice::Uncopied { count: 1, .. })));
    fs::set_permissions(world.settings(), Permissions::from_mode(0o666)).unwrap();
    wait("mode", || fs::metadata(world.settings()).unwrap().permissions().mode() & 0o777 == 0o600);
    // At once: a file that is truncated first has been in two states.
    let file = fs::OpenOptions::new().write(true).open(world.settings()).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"evil", 0).unwrap();
    drop(file);
    wait("told", || changes(&running.told).iter().any(|c| c.outcome == "reported"));
    let change = changes(&running.told).into_iter().find(|c| c.outcome == "reported").unwrap();
    assert!(change.reason.unwrap().contains("no copy"));
    assert!(change.took_ms < 1000);
    std::thread::sleep(Duration::from_millis(400));
    let count = changes(&running.told).iter().filter(|c| c.outcome == "reported").map(|c| c.count).sum::<u64>();
    assert_eq!(count, 1, "one state is told once");
    assert_eq!(running.stop().standing, [world.settings()]);
}

#[test]
fn the_quarantine_is_bounded() {
    let world = World::new();
    let mut options = world.options();
    (options.kept_items, options.kept_bytes, options.tries) = (4, 100_000, usize::MAX);
    let running = Running::begin(options, world.places(), Box::new(Whole), || {});
    for size in [10, 20_000, 50_000, 50_000, 10, 10, 10, 10, 300_000, 10] {
        fs::write(world.out.join("big"), "x".repeat(size)).unwrap();
        fs::rename(world.out.join("big"), world.home.join("tools/big")).unwrap();
        wait("taken away", || !world.home.join("tools/big").exists());
    }
    running.stop();
    let kept = fs::read_dir(world.state.join("kept")).unwrap().flatten().map(|e| e.metadata().unwrap().len());
    let kept: Vec<u64> = kept.collect();
    assert!(kept.len() <= 4 && kept.iter().sum::<u64>() <= 100_000, "{kept:?}");
}

#[test]
fn a_directory_that_was_absent_is_taken_away_once() {
    let world = World::new();
    let absent = world.home.join("tools-later");
    let mut places = world.places();
    places.push(Place { path: absent.clone(), kind: PlaceKind::Directory, content: Compare::Whole });
    let running = Running::begin(world.options(), places, Box::new(Whole), || {});
    fs::create_dir(&absent).unwrap();
    wait("it is gone", || !absent.exists());
    // What brings it back as one that was moved away would go on for ever.
    std::thread::sleep(Duration::from_millis(500));
    let told: Vec<_> = changes(&running.told).into_iter().filter(|change| change.path.contains("later")).collect();
    assert!(told.len() == 1 && !absent.exists(), "{told:?}");
    running.stop();
}
