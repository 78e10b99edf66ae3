//! What the owner signs: what was shown, all of it or nothing, whether a watch runs or not.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mantlet_watch::{Compare, Diff, Error, Notice, Place, PlaceKind, Watch, Whole};

use crate::running::{Running, Told};
use crate::world::World;

/// What was shown, as [`Watch::accept`] wants it.
pub(crate) fn seen(diffs: &[Diff]) -> BTreeMap<PathBuf, String> {
    diffs.iter().map(|diff| (diff.path.clone(), diff.now.clone())).collect()
}

fn open(world: &World) -> Watch {
    Watch::open(world.options(), world.places(), Box::new(Whole)).unwrap()
}

fn watched_once(world: &World) {
    drop(Running::begin(world.options(), world.places(), Box::new(Whole), || {}));
}

/// The attack is none: a watch that does not run took every place as missing, signed that, and the next one removed it all.
#[test]
fn without_a_running_watch_only_what_changed_is_taken() {
    let world = World::new();
    watched_once(&world);
    fs::write(world.settings(), "{\"new\": 1}\n").unwrap();
    let before = world.seen();
    let mut watch = open(&world);
    let all = watch.places();
    let shown = watch.differences(&all).unwrap();
    assert_eq!(shown.iter().map(|d| d.path.clone()).collect::<Vec<_>>(), [world.settings()]);
    assert_eq!(watch.accept(&all, &seen(&shown)).unwrap(), shown);
    drop(watch);
    let running = Running::begin(world.options(), world.places(), Box::new(Whole), || {});
    assert_eq!(*running.told.changes.lock().unwrap(), []);
    assert_eq!(world.seen(), before);
    // The control: what nobody took is undone.
    fs::write(world.tool(), "evil\n").unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    while fs::read_to_string(world.tool()).is_ok_and(|text| text == "evil\n") {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_way_that_leads_elsewhere_is_no_missing_file() {
    let world = World::new();
    watched_once(&world);
    let agent = world.home.join("config/agent");
    fs::rename(&agent, world.home.join("config/away")).unwrap();
    symlink("away", &agent).unwrap();
    let mut watch = open(&world);
    assert!(matches!(watch.differences(&[world.settings()]), Err(Error::Look { .. })));
    assert!(matches!(watch.accept(&[world.settings()], &BTreeMap::new()), Err(Error::Look { .. })));
    // The control: where the way is gone, the file is.
    fs::remove_file(&agent).unwrap();
    let gone = watch.differences(&[world.settings()]).unwrap();
    assert_eq!(gone.iter().map(|d| d.what.clone()).collect::<Vec<_>>(), [["deleted"]]);
}

/// The attack: another change between what the owner reads and what is signed.
#[test]
fn what_is_not_what_was_shown_is_refused_whole() {
    let world = World::new();
    watched_once(&world);
    let signed = || fs::read(world.state.join("baseline")).unwrap();
    let before = signed();
    let paths = [world.home.join("linked.txt"), world.settings()];
    for path in &paths {
        fs::write(path, "good\n").unwrap();
    }
    let mut watch = open(&world);
    let shown = watch.differences(&paths).unwrap();
    fs::write(world.settings(), "evil\n").unwrap();
    assert!(matches!(watch.accept(&paths, &seen(&shown)), Err(Error::Changed { path }) if path == world.settings()));
    fs::write(world.settings(), "good\n").unwrap();
    fs::set_permissions(world.settings(), std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    assert!(matches!(watch.accept(&paths, &seen(&shown)), Err(Error::Changed { .. })), "a mode is shown as well");
    assert!(matches!(watch.accept(&paths, &seen(&shown[..1])), Err(Error::Changed { .. })), "one was not shown");
    assert_eq!(signed(), before, "nothing was signed");
    assert_eq!(watch.differences(&paths).unwrap().len(), 2, "nothing was taken in memory");
    let shown = watch.differences(&paths).unwrap();
    assert_eq!(watch.accept(&paths, &seen(&shown)).unwrap().len(), 2, "the control");
}

#[test]
fn an_error_at_the_second_path_leaves_the_first_alone() {
    let world = World::new();
    watched_once(&world);
    fs::write(world.home.join("linked.txt"), "new\n").unwrap();
    fs::write(world.settings(), "new\n").unwrap();
    let mut watch = open(&world);
    let paths = [world.home.join("linked.txt"), world.settings()];
    let shown = seen(&watch.differences(&paths).unwrap());
    let agent = world.home.join("config/agent");
    fs::rename(&agent, world.home.join("config/away")).unwrap();
    symlink("away", &agent).unwrap();
    assert!(watch.accept(&[world.settings(), world.home.join("linked.txt")], &shown).is_err());
    assert_eq!(watch.differences(&paths[..1]).unwrap().len(), 1, "the first is not taken");
}

/// The attack: whoever waits for the accepted file to appear, and writes into it before it is signed.
#[test]
fn the_content_that_was_asked_for_is_signed() {
    let world = World::new();
    let place = Place { path: world.settings(), kind: PlaceKind::File, content: Compare::Whole };
    let (path, stop) = (world.settings(), AtomicBool::new(false));
    let mut watch = Watch::open(world.options(), vec![place.clone()], Box::new(Whole)).unwrap();
    watch.begin(&mut Told::default()).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut last = fs::metadata(&path).map(|meta| meta.ino()).ok();
            while !stop.load(Ordering::Relaxed) {
                let now = fs::metadata(&path).map(|meta| meta.ino()).ok();
                if now != last {
                    // Written and put back as it was, so that the content changes only for moments.
                    fs::write(&path, "evil\n").ok();
                    last = now;
                }
            }
        });
        for number in 0..200 {
            let content = format!("good {number}\n");
            // Nor does the attacker keep the owner from it.
            watch.accept_content(&path, content.as_bytes(), &mut Told::default()).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    drop(watch);
    // Whatever stands, nothing but what was asked for is put back.
    fs::write(&path, "something else\n").unwrap();
    let mut watch = Watch::open(world.options(), vec![place], Box::new(Whole)).unwrap();
    watch.begin(&mut Told::default()).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text, "good 199\n");
}

/// The attack: a file of terabytes that takes no room, made before the first run.
#[test]
fn a_huge_sparse_file_hangs_nobody() {
    let world = World::new();
    let huge = world.home.join("tools/huge");
    let made = File::create(&huge).unwrap().set_len(4 << 40);
    made.unwrap();
    let began = Instant::now();
    let running = Running::begin(world.options(), world.places(), Box::new(Whole), || {});
    let is_said = |n: &Notice| matches!(n, Notice::Uncopied { some, .. } if some.contains(&huge));
    assert!(running.told.notices.lock().unwrap().iter().any(is_said));
    running.stop();
    let mut watch = open(&world);
    assert_eq!(watch.differences(&watch.places()).unwrap(), []);
    File::options().write(true).open(&huge).unwrap().set_len(5 << 40).unwrap();
    let shown = watch.differences(&watch.places()).unwrap();
    assert_eq!(shown.len(), 1);
    watch.accept(std::slice::from_ref(&huge), &seen(&shown)).unwrap();
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    drop(watch);
    // The control: one that is not huge is compared by its content.
    let running = Running::begin(world.options(), world.places(), Box::new(Whole), || {});
    let mut file = File::options().write(true).open(world.tool()).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.write_all(b"#!/bin/ex").unwrap();
    drop(file);
    let deadline = Instant::now() + Duration::from_secs(5);
    while !fs::read_to_string(world.tool()).is_ok_and(|text| text.starts_with("#!/bin/sh")) {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(1));
    }
    running.stop();
}

/// The attack: a directory that is moved away, and called as the kernel calls a deleted one.
#[test]
fn a_directory_called_deleted_is_found_and_brought_back() {
    let world = World::new();
    let agent = world.home.join("config/agent");
    fs::write(agent.join("note"), "the owner's, and not protected\n").unwrap();
    let running = Running::begin(world.options(), world.places(), Box::new(Whole), || {});
    fs::rename(&agent, world.home.join("config/agent (deleted)")).unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    while !agent.join("note").exists() {
        assert!(Instant::now() < deadline, "{:?}", running.told.changes.lock().unwrap());
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(!world.home.join("config/agent (deleted)").exists());
    running.stop();
}

/// A directory that stands where a file is protected: what is in it is not the watch's to take away.
#[test]
fn a_directory_at_the_place_of_a_file_keeps_what_is_in_it() {
    let world = World::new();
    let path = world.home.join("config/agent");
    let place = Place { path: path.clone(), kind: PlaceKind::File, content: Compare::Whole };
    let running = Running::begin(world.options(), vec![place], Box::new(Whole), || {});
    std::thread::sleep(Duration::from_millis(300));
    fs::write(path.join("more"), "the owner's\n").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert!(world.settings().exists() && path.join("more").exists());
    // The control: it is watched itself.
    fs::rename(&path, world.out.join("away")).unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    while !path.is_dir() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(1));
    }
    running.stop();
}
