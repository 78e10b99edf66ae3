use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

fn place(name: &str) -> PathBuf {
    let top = std::env::temp_dir().join(format!("mantlet-halt-{name}-{}", std::process::id()));
    fs::create_dir_all(&top).unwrap();
    top
}

fn written(reason: &str) -> Halted {
    Halted { when: now(), reason: Some(reason.into()), by: "owner".into() }
}

#[test]
fn what_is_written_is_read_and_stays() {
    let top = place("written");
    assert_eq!(look(&top), None);
    let first = written("first");
    mark::write(&top, &first).unwrap();
    mark::write(&top, &written("second")).unwrap();
    assert_eq!(look(&top), Some(first));
    assert_eq!(fs::metadata(top.join(NAME)).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(&top).unwrap().count(), 1, "nothing is left beside it");
    fs::remove_dir_all(&top).unwrap();
}

/// The attacks: a file that would be believed to be none, hang its reader, or write to the owner's terminal.
#[test]
fn whatever_stands_there_halts() {
    let top = place("odd");
    let path = top.join(NAME);
    let odd = |what: &str| {
        let halted = look(&top).unwrap_or_else(|| panic!("{what} does not halt"));
        assert!(halted.by == "unknown" && halted.reason.unwrap().contains("counts as halted"), "{what}");
    };
    fs::create_dir(&path).unwrap();
    odd("a directory");
    assert!(mark::write(&top, &written("it stays")).is_ok(), "it halts already");
    fs::remove_dir(&path).unwrap();
    rustix::fs::mkfifoat(CWD, &path, rustix::fs::Mode::RUSR).unwrap();
    odd("a FIFO");
    fs::remove_file(&path).unwrap();
    symlink("/nowhere", &path).unwrap();
    odd("a dangling link");
    fs::remove_file(&path).unwrap();
    symlink("/dev/zero", &path).unwrap();
    odd("a link");
    fs::remove_file(&path).unwrap();
    for text in ["", "{", "null", "{\"when\":\"now\",\"by\":\"owner\",\"more\":1}"] {
        fs::write(&path, text).unwrap();
        odd(text);
    }
    fs::write(&path, "{\"when\":\"\\u001b[2J\",\"by\":\"me\",\"reason\":\"\\u202e\"}").unwrap();
    let said = look(&top).unwrap().to_string();
    assert!(said.chars().all(|c| c.is_ascii_graphic() || c == ' '), "{said}");
    // An owner who cannot read it is halted too; root can.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    assert!(look(&top).is_some());
    // The control: without it nothing is halted, whatever else is there.
    fs::rename(&path, top.join(".halted.1")).unwrap();
    assert_eq!(look(&top), None);
    fs::remove_dir_all(&top).unwrap();
}

#[test]
fn a_state_directory_that_is_none_halts() {
    let top = place("none");
    fs::write(top.join("file"), "").unwrap();
    assert!(look(&top.join("file")).is_some());
    symlink("loop", top.join("loop")).unwrap();
    assert!(look(&top.join("loop")).is_some());
    fs::remove_dir_all(&top).unwrap();
}

#[test]
fn who_waits_is_told_of_both() {
    let top = place("notice");
    let notice = Notice::new(&top);
    let is_told = || {
        let mut fds = [rustix::event::PollFd::from_borrowed_fd(notice.fd().unwrap(), rustix::event::PollFlags::IN)];
        let wait = rustix::event::Timespec { tv_sec: 2, tv_nsec: 0 };
        rustix::event::poll(&mut fds, Some(&wait)).unwrap() > 0
    };
    assert_eq!(notice.look(), None);
    mark::write(&top, &written("a test")).unwrap();
    assert!(is_told() && notice.look().is_some());
    fs::remove_file(top.join(NAME)).unwrap();
    assert!(is_told() && notice.look().is_none());
    fs::remove_dir_all(&top).unwrap();
}
