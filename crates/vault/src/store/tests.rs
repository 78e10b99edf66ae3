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
