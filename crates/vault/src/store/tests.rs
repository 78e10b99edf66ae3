//! Files replaced and wiped, and what is done to them meanwhile.

use std::io::Seek as _;

use super::*;

fn scratch(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("mantlet-store-{}-{name}", std::process::id()));
    std::fs::create_dir(&dir).unwrap();
    dir
}

#[test]
fn a_file_is_replaced_only_if_it_says_what_was_read() {
    let dir = scratch("replace");
    let path = dir.join("a");
    let place = Place::lock(&path).unwrap();
    place.replace(None, b"one").unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    let before = place.read().unwrap();
    std::fs::write(&path, "other").unwrap();
    assert!(matches!(place.replace(before.as_ref(), b"two"), Err(StoreError::Meanwhile(_))));
    assert_eq!(std::fs::read(&path).unwrap(), b"other");
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1, "nothing is left beside it");
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn what_a_killed_writer_left_is_cleaned_up() {
    let dir = scratch("clean");
    std::fs::write(dir.join(".a.mantlet-new"), "half").unwrap();
    std::fs::write(dir.join("other"), "mine").unwrap();
    std::fs::hard_link(dir.join("other"), dir.join(".b.mantlet-wipe")).unwrap();
    Place::lock(&dir.join("b")).unwrap();
    assert_eq!(std::fs::read(dir.join("other")).unwrap(), b"mine", "a planted link empties nothing");
    std::fs::remove_file(dir.join("other")).unwrap();
    std::fs::write(dir.join(".a.mantlet-wipe"), "plain").unwrap();
    let watched = File::options().read(true).open(dir.join(".a.mantlet-wipe")).unwrap();
    Place::lock(&dir.join("a")).unwrap();
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
    let mut left = Vec::new();
    (&watched).rewind().and_then(|()| (&watched).read_to_end(&mut left)).unwrap();
    assert_eq!(left, b"\0\0\0\0\0");
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_plaintext_with_other_names_is_not_wiped() {
    let dir = scratch("linked");
    let path = dir.join("a");
    std::fs::write(&path, "plain").unwrap();
    std::fs::hard_link(&path, dir.join("b")).unwrap();
    let place = Place::lock(&path).unwrap();
    assert!(matches!(place.destroy(&Secret::from("plain")), Err(StoreError::Linked(_))));
    std::fs::remove_file(dir.join("b")).unwrap();
    assert!(matches!(place.destroy(&Secret::from("other")), Err(StoreError::Meanwhile(_))));
    place.destroy(&Secret::from("plain")).unwrap();
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
    std::os::unix::fs::symlink("/etc/hostname", &path).unwrap();
    assert!(matches!(place.read(), Err(StoreError::NotAFile(_))), "a link is not followed");
    std::fs::remove_dir_all(dir).unwrap();
}

/// Somebody who takes no lock gives the file new contents while `ours` runs; what is there in the end, for many moments.
fn race(name: &str, ours: impl Fn(&Place, &Secret) -> Result<(), StoreError>) -> usize {
    let dir = scratch(name);
    let path = dir.join("a");
    let mut meanwhile = 0;
    for round in 0..400_u64 {
        std::fs::write(&path, "first").unwrap();
        std::fs::write(dir.join("theirs"), "second").unwrap();
        let place = Place::lock(&path).unwrap();
        let go = std::sync::Barrier::new(2);
        let ended = std::thread::scope(|scope| {
            scope.spawn(|| {
                go.wait();
                let begun = Instant::now();
                while begun.elapsed() < Duration::from_micros(round) {}
                std::fs::rename(dir.join("theirs"), &path).unwrap();
            });
            go.wait();
            ours(&place, &Secret::from("first"))
        });
        match ended {
            Ok(()) => {}
            Err(StoreError::Meanwhile(_)) => meanwhile += 1,
            Err(other) => panic!("{other}"),
        }
        // Whoever came first: theirs is the newer one.
        assert_eq!(std::fs::read(&path).ok().as_deref(), Some(&b"second"[..]), "round {round}: {ended:?}");
        drop(place);
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1, "round {round}: something is left");
    }
    std::fs::remove_dir_all(dir).unwrap();
    meanwhile
}

#[test]
fn who_takes_no_lock_loses_nothing_to_a_writer() {
    race("race-replace", |place, before| place.replace(Some(before), b"ours"));
}

#[test]
fn who_takes_no_lock_loses_nothing_to_a_wipe() {
    race("race-destroy", |place, before| place.destroy(before));
}

#[test]
fn a_new_file_takes_nobodys_place_and_nobodys_mode() {
    let dir = scratch("new");
    let path = dir.join("a");
    let place = Place::lock(&path).unwrap();
    // Planted between the look and the writing: whoever has this mode on the new file reads it.
    std::fs::write(&path, "theirs").unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    assert!(matches!(place.replace(None, b"ours"), Err(StoreError::Meanwhile(_))));
    assert_eq!(std::fs::read(&path).unwrap(), b"theirs");
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1);
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_file_in_the_same_directory_is_under_the_same_lock() {
    let dir = scratch("another");
    let place = Place::lock(&dir.join("a")).unwrap();
    // Written in another way; with a lock of its own it would wait for itself.
    let name = dir.file_name().unwrap();
    let other = place.another(&dir.join("..").join(name).join("b")).unwrap();
    other.replace(None, b"x").unwrap();
    assert_eq!(std::fs::read(dir.join("b")).unwrap(), b"x");
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn every_writer_cleans_up_beside_all_files_of_its_directory() {
    let dir = scratch("sweep");
    for name in [".x.mantlet-new", ".x.mantlet-wipe", "y.mantlet-new", ".mantlet-new", ".z.mantlet-newer"] {
        std::fs::write(dir.join(name), "left").unwrap();
    }
    std::fs::create_dir(dir.join(".d.mantlet-wipe")).unwrap();
    Place::lock(&dir.join("a")).unwrap();
    let mut left: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, [".d.mantlet-wipe", ".mantlet-new", ".z.mantlet-newer", "y.mantlet-new"], "others are not ours");
    std::fs::remove_dir_all(dir).unwrap();
}
