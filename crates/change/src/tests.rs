//! Installs on real files in a throwaway directory: byte-identical ways back, foreign edits, and kills at every step.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::*;
use crate::op::tests::{Dice, json_file, toml_file};

static PASSED: AtomicUsize = AtomicUsize::new(0);

/// Kills the process at the step that the environment names, as an owner's impatience would.
pub(crate) fn point() {
    let Some(at) = std::env::var("MANTLET_TEST_KILL_AT").ok().and_then(|at| at.parse::<usize>().ok()) else { return };
    if PASSED.fetch_add(1, Ordering::SeqCst) == at {
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
    }
}

pub(crate) struct Place(PathBuf);

impl Place {
    pub(crate) fn new(name: &str) -> Place {
        let top = std::env::temp_dir().join(format!("mantlet-change-{name}-{}", std::process::id()));
        fs::remove_dir_all(&top).ok();
        fs::create_dir(&top).unwrap();
        fs::set_permissions(&top, fs::Permissions::from_mode(0o755)).unwrap();
        Place(top)
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.at(name).parent().unwrap()).unwrap();
        fs::write(self.at(name), text).unwrap();
    }

    fn journal(&self) -> Journal {
        Journal::open(&self.at("state/changes")).unwrap()
    }

    /// Every file and directory but the records, with content and mode.
    pub(crate) fn picture(&self) -> Vec<(PathBuf, u32, Option<String>)> {
        let mut found = Vec::new();
        let mut open = vec![self.at("home")];
        while let Some(dir) = open.pop() {
            for entry in fs::read_dir(dir).into_iter().flatten() {
                let path = entry.unwrap().path();
                let meta = path.symlink_metadata().unwrap();
                found.push((
                    path.clone(),
                    meta.mode(),
                    (!meta.is_dir()).then(|| String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned()),
                ));
                if meta.is_dir() {
                    open.push(path);
                }
            }
        }
        found.sort();
        found
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

const SETTINGS: &str = "\u{feff}{\r\n\t// mine\r\n\t\"model\": \"x\", /* y */\r\n\t\"hooks\": {}\r\n}";
const CONFIG: &str = "# top\nmodel = 'x' # y\n[features]\nweb = true";

fn plan(place: &Place) -> Plan {
    let hook = json!({"matcher": "*", "hooks": [{"type": "command", "command": "/usr/bin/mantlet"}]});
    let files = vec![
        FilePlan::program(place.at("home/new/bin/wrapper"), "#!/bin/sh\n", "why"),
        FilePlan::edited(place.at("home/.client/settings.json"), Format::Jsonc)
            .append(&["hooks", "PreToolUse"], hook.clone(), "why")
            .set(&["env", "PREFIX"], "/usr/bin/mantlet", "why"),
        FilePlan::edited(place.at("home/.client/config.toml"), Format::Toml)
            .set(&["features", "hooks"], true, "why")
            .append(&["hooks", "PreToolUse"], hook, "why"),
        FilePlan::edited(place.at("home/.other/absent.json"), Format::Json).set(&["a", "b"], 1, "why"),
    ];
    Plan { client: "claude".into(), level: Level::User, files, keep: Vec::new() }
}

fn prepared_world(name: &str) -> Place {
    let place = Place::new(name);
    place.write("home/.client/settings.json", SETTINGS);
    place.write("home/.client/config.toml", CONFIG);
    fs::set_permissions(place.at("home/.client/settings.json"), fs::Permissions::from_mode(0o640)).unwrap();
    place
}

fn install(place: &Place) {
    let journal = place.journal();
    journal.recover().unwrap();
    let record = journal.apply(journal.prepare(&plan(place)).unwrap()).unwrap();
    journal.confirm(record, Seen::Untried).unwrap();
}

fn uninstall(place: &Place) -> Notes {
    let journal = place.journal();
    journal.recover().unwrap();
    journal.uninstall("claude", Level::User).unwrap().unwrap_or_default()
}

#[test]
fn install_and_uninstall_leave_everything_as_it_was() {
    let place = prepared_world("round");
    let before = place.picture();
    install(&place);
    let with = place.picture();
    assert_ne!(before, with);
    assert_eq!(fs::metadata(place.at("home/.client/settings.json")).unwrap().mode() & 0o777, 0o640);
    assert_eq!(fs::metadata(place.at("home/new/bin/wrapper")).unwrap().mode() & 0o777, 0o700);
    let journal = place.journal();
    assert!(journal.prepare(&plan(&place)).unwrap().is_nothing());
    drop(journal);
    install(&place);
    assert_eq!(place.picture(), with);
    assert_eq!(uninstall(&place), Notes::new());
    assert_eq!(place.picture(), before);
    assert_eq!(fs::read_dir(place.at("state/changes")).unwrap().count(), 0);
}

#[test]
fn foreign_edits_in_between_stay_and_ours_go() {
    let place = prepared_world("foreign");
    install(&place);
    let settings = place.at("home/.client/settings.json");
    let text = fs::read_to_string(&settings).unwrap().replace("\"x\"", "\"theirs\"");
    fs::write(&settings, text).unwrap();
    fs::write(place.at("home/new/bin/wrapper"), "#!/bin/sh\nmine\n").unwrap();
    fs::write(place.at("home/.other/absent.json"), "{\"a\": {\"b\": 1}}").unwrap();
    fs::write(place.at("home/.client/mine"), "").unwrap();
    let notes = uninstall(&place);
    assert_eq!(fs::read_to_string(&settings).unwrap(), SETTINGS.replace("\"x\"", "\"theirs\""));
    assert_eq!(fs::read_to_string(place.at("home/.client/config.toml")).unwrap(), CONFIG);
    assert_eq!(fs::read_to_string(place.at("home/new/bin/wrapper")).unwrap(), "#!/bin/sh\nmine\n");
    assert!(!place.at("home/.other").exists());
    assert!(place.at("home/.client/mine").exists());
    assert!(notes.len() == 1 && notes[0].contains("wrapper"), "{notes:?}");
}

#[test]
fn another_plan_replaces_ours_and_the_way_back_stays() {
    let place = prepared_world("upgrade");
    let before = place.picture();
    install(&place);
    let with = place.picture();
    let mut newer = plan(&place);
    newer.files[0] = FilePlan::program(place.at("home/other/wrapper"), "#!/bin/sh\n", "why");
    newer.files[3] = FilePlan::edited(place.at("home/.other/absent.json"), Format::Json).set(&["a", "c"], 2, "why");
    let journal = place.journal();
    let record = journal.apply(journal.prepare(&newer).unwrap()).unwrap();
    assert_eq!(
        fs::read_to_string(place.at("home/.other/absent.json")).unwrap(),
        "{\n  \"a\": {\n    \"c\": 2\n  }\n}\n"
    );
    assert!(!place.at("home/new/bin/wrapper").exists());
    // What does not work gives way to what did.
    assert_eq!(journal.roll_back(record).unwrap(), Notes::new());
    assert_eq!(place.picture(), with);
    let record = journal.apply(journal.prepare(&newer).unwrap()).unwrap();
    journal.confirm(record, Seen::Untried).unwrap();
    drop(journal);
    uninstall(&place);
    assert_eq!(place.picture(), before);
}

#[test]
fn a_link_stays_and_its_target_is_changed_and_said() {
    let place = prepared_world("link");
    let (link, target) = (place.at("home/.client/settings.json"), place.at("home/dotfiles.json"));
    fs::rename(&link, &target).unwrap();
    symlink(&target, &link).unwrap();
    let before = place.picture();
    let journal = place.journal();
    assert_eq!(journal.prepare(&plan(&place)).unwrap().files()[1].target.as_ref(), Some(&target));
    drop(journal);
    install(&place);
    assert!(link.symlink_metadata().unwrap().is_symlink());
    assert_ne!(fs::read_to_string(&target).unwrap(), SETTINGS);
    uninstall(&place);
    assert_eq!(place.picture(), before);
}

#[test]
fn places_that_others_can_write_are_refused_and_nothing_is_written() {
    let place = prepared_world("open");
    let before = place.picture();
    let journal = place.journal();
    let refused = |name: &str| {
        let dir = place.at(name);
        let mode = fs::metadata(&dir).unwrap().permissions();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
        let result = journal.prepare(&plan(&place));
        fs::set_permissions(&dir, mode).unwrap();
        result
    };
    for name in ["home", "home/.client"] {
        assert!(matches!(refused(name), Err(ChangeError::Open { at, .. }) if at == place.at(name)));
    }
    fs::remove_file(place.at("home/.client/config.toml")).unwrap();
    symlink(place.at("home/nowhere"), place.at("home/.client/config.toml")).unwrap();
    assert!(matches!(journal.prepare(&plan(&place)), Err(ChangeError::Dangling(_))));
    fs::remove_file(place.at("home/.client/config.toml")).unwrap();
    place.write("home/.client/config.toml", CONFIG);
    place.write("home/new/bin/wrapper", "somebody else's");
    assert!(matches!(journal.prepare(&plan(&place)), Err(ChangeError::Exists(_))));
    fs::remove_dir_all(place.at("home/new")).unwrap();
    assert_eq!(place.picture(), before);
    assert!(matches!(Journal::open(&place.at("state/changes")), Err(ChangeError::Locked)));
}

/// Attributes of users need a file system that has them; /var/tmp usually has, tmpfs since Linux 6.6.
#[test]
fn owner_and_attributes_are_kept() {
    let place = prepared_world("attributes");
    let path = place.at("home/.client/settings.json");
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(&path, "user.mantlet-test", b"kept", flags).unwrap();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&path, None, Some(61234)).unwrap();
    }
    let group = fs::metadata(&path).unwrap().gid();
    install(&place);
    let mut value = [0u8; 16];
    let length = rustix::fs::getxattr(&path, "user.mantlet-test", &mut value[..]).unwrap();
    assert_eq!((&value[..length], fs::metadata(&path).unwrap().gid()), (&b"kept"[..], group));
}

/// Runs one of the tests below in a process of its own that dies at step `at`; says whether it died.
pub(crate) fn killed(test: &str, place: &Place, at: usize) -> bool {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--ignored", "--test-threads=1"])
        .env("MANTLET_TEST_KILL_AT", at.to_string())
        .env("MANTLET_TEST_PLACE", &place.0)
        .output()
        .unwrap();
    use std::os::unix::process::ExitStatusExt as _;
    assert!(output.status.signal() == Some(9) || output.status.success(), "{output:?}");
    output.status.signal() == Some(9)
}

pub(crate) fn given_place() -> Option<Place> {
    std::env::var_os("MANTLET_TEST_PLACE").map(|place| Place(place.into()))
}

#[test]
#[ignore = "a part of `kills_at_every_step_are_repaired`, which runs it in a process that dies"]
fn child_installs() {
    let place = std::mem::ManuallyDrop::new(given_place().unwrap());
    install(&place);
}

#[test]
#[ignore = "a part of `kills_at_every_step_are_repaired`, which runs it in a process that dies"]
fn child_uninstalls() {
    let place = std::mem::ManuallyDrop::new(given_place().unwrap());
    uninstall(&place);
}

#[test]
fn generated_settings_come_back_byte_for_byte() {
    let mut dice = Dice(0x1234_5678_9abc_def1);
    let mut done = 0;
    for round in 0..200 {
        let place = prepared_world(&format!("bytes-{round}"));
        place.write("home/.client/settings.json", &json_file(&mut dice, Format::Jsonc));
        place.write("home/.client/config.toml", &toml_file(&mut dice));
        let before = place.picture();
        let journal = place.journal();
        match journal.prepare(&plan(&place)) {
            Ok(prepared) => {
                let record = journal.apply(prepared).unwrap();
                journal.confirm(record, Seen::Untried).unwrap();
                drop(journal);
                assert_ne!(place.picture(), before, "round {round}");
                uninstall(&place);
                done += 1;
            }
            // A file that its client could not read is refused, and stays.
            Err(error) => assert!(error.to_string().contains(".client/"), "round {round}: {error}"),
        }
        assert_eq!(place.picture(), before, "round {round}");
    }
    assert!(done > 150, "{done} of 200 could be installed");
}

fn no_leftovers(place: &Place) {
    let left: Vec<_> =
        place.picture().into_iter().filter(|(path, ..)| path.to_string_lossy().contains("mantlet-new")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn kills_at_every_step_are_repaired() {
    let (mut kills, mut finished, mut at) = (0, 0, 0);
    let reference = prepared_world("kill-reference");
    let (before, with) = (reference.picture(), {
        install(&reference);
        reference.picture()
    });
    let same = |place: &Place, wanted: &[(PathBuf, u32, Option<String>)], at: usize| {
        let strip = |list: &[(PathBuf, u32, Option<String>)], top: &Path| -> Vec<_> {
            list.iter().map(|(p, m, t)| (p.strip_prefix(top).unwrap().to_owned(), *m, t.clone())).collect()
        };
        assert_eq!(strip(&place.picture(), &place.0), strip(wanted, &reference.0), "killed at {at}");
    };
    loop {
        let place = prepared_world(&format!("kill-{at}"));
        let died = killed("tests::child_installs", &place, at);
        if died {
            place.journal().recover().unwrap();
            no_leftovers(&place);
            // The last step writes that it stands; what is killed behind that does stand.
            let is_installed = place.journal().record("claude", Level::User).unwrap().is_some();
            same(&place, if is_installed { &with } else { &before }, at);
            finished += usize::from(is_installed);
            kills += 1;
        }
        install(&place);
        same(&place, &with, at);
        if !killed("tests::child_uninstalls", &place, at) && !died {
            break;
        }
        place.journal().recover().unwrap();
        // An uninstall that was killed before it began has not begun.
        uninstall(&place);
        same(&place, &before, at);
        assert_eq!(fs::read_dir(place.at("state/changes")).unwrap().count(), 0, "killed at {at}");
        at += 1;
    }
    assert!(kills > 20 && finished < 3, "{kills} steps, {finished} of them too late");
}
