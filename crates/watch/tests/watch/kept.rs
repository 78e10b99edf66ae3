//! The quarantine: whose what is kept is, what it holds against a flood, and that nothing of the owner's is lost in it.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mantlet_watch::{Options, Whole};

use crate::running::Running;
use crate::world::{SETTINGS, World};

fn begin(world: &World, options: Options) -> Running {
    Running::begin(options, world.places(), Box::new(Whole), || {})
}

#[track_caller]
fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within ten seconds");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The copy that is named for a path, once it is undone.
#[track_caller]
fn copy_of(running: &Running, path: &Path) -> PathBuf {
    let mut copy = None;
    wait("told", || {
        let changes = running.told.changes.lock().unwrap();
        copy =
            changes.iter().rfind(|c| Path::new(&c.path) == path && c.outcome == "undone").and_then(|c| c.copy.clone());
        copy.is_some()
    });
    copy.unwrap().into()
}

/// The attack: what is kept is shown to the owner, and rewritten before it is taken, through a descriptor or another name.
#[test]
fn a_kept_file_is_a_copy_that_nobody_else_has_open() {
    let world = World::new();
    let running = begin(&world, world.options());
    let mut open = File::options().append(true).open(world.evil()).unwrap();
    fs::hard_link(world.evil(), world.out.join("again")).unwrap();
    let inode = fs::metadata(world.evil()).unwrap().ino();
    fs::rename(world.evil(), world.settings()).unwrap();
    let copy = copy_of(&running, &world.settings());
    // Who may be just writing it has a moment for that.
    wait("it is ours", || fs::metadata(&copy).is_ok_and(|meta| meta.ino() != inode));
    open.write_all(b"more evil\n").unwrap();
    assert_eq!(fs::read_to_string(world.out.join("again")).unwrap(), "evil\nmore evil\n", "the control");
    assert_eq!(fs::read_to_string(&copy).unwrap(), "evil\n");
    let meta = fs::metadata(&copy).unwrap();
    assert_ne!(meta.ino(), inode);
    assert_eq!(
        (meta.nlink(), meta.permissions().mode() & 0o777, meta.uid()),
        (1, 0o600, rustix::process::geteuid().as_raw())
    );
    running.stop();
}

/// A shell makes a file, and then writes it: what is taken away in between must not be all that is kept.
#[test]
fn what_is_just_being_written_is_kept_whole() {
    let world = World::new();
    let running = begin(&world, world.options());
    let new = world.home.join("tools/new");
    let mut file = File::create(&new).unwrap();
    wait("taken away", || !new.exists());
    let copy = copy_of(&running, &new);
    file.write_all(b"the owner's work\n").unwrap();
    drop(file);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(fs::read_to_string(&copy).unwrap(), "the owner's work\n");
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    running.stop();
}

/// The attack: a directory of so many names that it counted as larger than everything, and drove out every copy and itself.
#[test]
fn a_crowded_directory_drives_nothing_out() {
    let world = World::new();
    let running = begin(&world, world.options());
    fs::write(world.settings(), "the owner's\n").unwrap();
    let first = copy_of(&running, &world.settings());
    let crowd = world.out.join("crowd");
    fs::create_dir(&crowd).unwrap();
    for number in 0..10_050 {
        File::create(crowd.join(number.to_string())).unwrap();
    }
    // A new name in a protected directory.
    fs::rename(&crowd, world.home.join("tools/crowd")).unwrap();
    wait("taken away", || !world.home.join("tools/crowd").exists());
    let copies = || -> Vec<PathBuf> {
        fs::read_dir(world.state.join("kept")).unwrap().flatten().map(|e| e.path()).filter(|p| p.is_dir()).collect()
    };
    wait("kept", || copies().len() == 1);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(fs::read_dir(&copies()[0]).unwrap().count(), 10_050);
    assert!(first.exists());
    running.stop();
}

#[test]
fn a_flood_at_one_place_leaves_the_copies_of_others() {
    let world = World::new();
    let mut options = world.options();
    (options.kept_items, options.tries) = (16, usize::MAX);
    let running = begin(&world, options);
    fs::write(world.settings(), "the owner's\n").unwrap();
    let first = copy_of(&running, &world.settings());
    for number in 0..40 {
        let new = world.home.join(format!("tools/new-{number}"));
        fs::write(&new, "flood\n").unwrap();
        wait("taken away", || !new.exists());
    }
    let floods = || {
        fs::read_dir(world.state.join("kept"))
            .unwrap()
            .flatten()
            .filter(|e| e.file_name().to_string_lossy().contains("new-"))
            .count()
    };
    // The control: the flood itself is bounded.
    wait("given up", || floods() <= 4);
    assert_eq!(fs::read_to_string(first).unwrap(), "the owner's\n");
    running.stop();
}

/// What cannot be copied to the file system of the state stays beside its place, and is named there.
#[test]
fn what_is_too_large_for_another_file_system_is_set_aside() {
    let world = World::new();
    let other = Path::new("/dev/shm");
    let device = |path: &Path| fs::metadata(path).map(|meta| meta.dev()).ok();
    if device(other).is_none() || device(other) == device(&world.top) {
        println!("not applicable: no second file system at {other:?}");
        return;
    }
    let state = other.join(format!("{}-large", world.top.file_name().unwrap().to_str().unwrap()));
    fs::DirBuilder::new().mode(0o700).create(&state).unwrap();
    let mut options = Options::new(state.clone());
    options.copy_max = 1000;
    let running = begin(&world, options);
    let large = "the owner's\n".repeat(1000);
    fs::write(world.settings(), &large).unwrap();
    let copy = copy_of(&running, &world.settings());
    assert_eq!(copy.parent(), world.settings().parent());
    assert_eq!(fs::read_to_string(&copy).unwrap(), large);
    assert_eq!(fs::read_to_string(world.settings()).unwrap(), SETTINGS);
    // In a tree the names are compared: beside means beside the tree.
    let new = world.home.join("tools/sub/new");
    fs::create_dir(world.out.join("new")).unwrap();
    fs::write(world.out.join("new/large"), &large).unwrap();
    fs::rename(world.out.join("new"), &new).unwrap();
    let copy = copy_of(&running, &new);
    assert_eq!(copy.parent(), Some(world.home.as_path()));
    assert_eq!(fs::read_to_string(copy.join("large")).unwrap(), large);
    assert!(!new.exists());
    // So does what somebody is just writing.
    let slow = world.home.join("tools/slow");
    let mut file = File::create(&slow).unwrap();
    let copy = copy_of(&running, &slow);
    file.write_all(b"the owner's work\n").unwrap();
    assert_eq!(fs::read_to_string(&copy).unwrap(), "the owner's work\n");
    assert_eq!(copy.parent(), Some(world.home.as_path()));
    // What has no content has no copy, and none is named.
    let fifo = world.home.join("tools/fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    wait("taken away", || !fifo.exists());
    wait("told", || running.told.changes.lock().unwrap().iter().any(|c| Path::new(&c.path) == fifo));
    let changes = running.told.changes.lock().unwrap().clone();
    assert!(changes.iter().filter(|c| Path::new(&c.path) == fifo).all(|c| c.copy.is_none()), "{changes:?}");
    for copy in changes.iter().filter_map(|c| c.copy.as_ref()) {
        assert!(Path::new(copy).exists(), "{copy} is named");
    }
    running.stop();
    fs::remove_dir_all(&state).unwrap();
}
