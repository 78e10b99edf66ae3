//! What its owner is told: by the alerts, by `status` and `list`, and by the unit that is printed.

use std::fs;
use std::process::Command;

use rustix::process::Signal;

use crate::common::{code, err, everybody, out};
use crate::ground::{EVIL, KEYS, WATCH, Watching, is_alone, json, keys, kill, text, until, watch, world, world_with};

#[test]
fn an_undone_change_and_a_kill_reach_the_owners_program() {
    if !is_alone("tell::an_undone_change_and_a_kill_reach_the_owners_program") {
        return;
    }
    for who in everybody() {
        let world = world_with("alert", who, &format!("{WATCH}[alert]\ncommand = [\"~/bin/tell\"]\n"));
        world.program("home/bin/tell", "#!/bin/sh\ncat >> ~/heard\necho >> ~/heard\n");
        let heard = world.home().join("heard");
        let watching = Watching::begin(&world);
        fs::write(keys(&world), EVIL).unwrap();
        until("the change is told", || text(&heard).contains("authorized_keys"));
        assert!(!text(&heard).contains("AAAAC3Evil"), "{who:?}: what was in it is not: {}", text(&heard));
        kill(watching.watcher(), Signal::KILL);
        until("the kill is told", || text(&heard).contains("killed"));
        until("another watches", || code(&watch(&world, &["status"])) == 0);
        let before = text(&heard).matches("killed").count();
        kill(watching.supervisor(), Signal::KILL);
        until("that one as well", || text(&heard).matches("killed").count() > before);
    }
}

#[test]
fn status_and_list_say_what_is_held() {
    if !is_alone("tell::status_and_list_say_what_is_held") {
        return;
    }
    for who in everybody() {
        let world = world("status", who);
        let none = watch(&world, &["status"]);
        assert!(code(&none) == 1 && out(&none).contains("no watch runs"), "{}", out(&none));
        assert_eq!(json(&watch(&world, &["status", "--json"]))["runs"], false);
        let list = watch(&world, &["list"]);
        assert!(
            code(&list) == 0 && out(&list).contains("named/file.txt\n    the policy names it (policy)"),
            "{}",
            out(&list)
        );
        let places = json(&watch(&world, &["list", "--json"]))["places"].clone();
        let find = |end: &str| {
            let all = places.as_array().unwrap();
            all.iter().find(|place| place["path"].as_str().unwrap().ends_with(end)).unwrap().clone()
        };
        assert_eq!(find("/.openclaw/openclaw.json")["content"], "Judged", "{who:?}");
        assert_eq!(find("/named/dir")["kind"], "Directory", "{who:?}");
        let watching = Watching::begin(&world);
        let said = watch(&world, &["status"]);
        assert!(code(&said) == 0 && out(&said).contains("changes undone since its start"), "{}", out(&said));
        let status = json(&watch(&world, &["status", "--json"]));
        assert_eq!(status["pid"], watching.watcher(), "{who:?}: {status}");
        assert_eq!((status["undone"].as_u64(), status["standing"].as_array().unwrap().len()), (Some(0), 0), "{status}");
        fs::write(keys(&world), EVIL).unwrap();
        until("it is undone", || text(keys(&world)) == KEYS);
        until("it is counted", || json(&watch(&world, &["status", "--json"]))["undone"] == 1);
        assert!(watching.stop().success());
    }
}

#[test]
fn the_units_are_what_systemd_reads() {
    if !is_alone("tell::the_units_are_what_systemd_reads") {
        return;
    }
    for who in everybody() {
        let world = world("unit", who);
        for kind in ["user", "system"] {
            let printed = watch(&world, &["unit", kind]);
            assert_eq!(code(&printed), 0, "{}", err(&printed));
            let text = out(&printed);
            assert!(text.contains("watch run\n") && text.contains("Restart=always"), "{text}");
            let unit = world.file(format!("home/{kind}/mantlet-watch.service"), &text);
            let verify = |unit: &std::path::Path| {
                let mut command = Command::new("systemd-analyze");
                command.env("HOME", world.home()).env("XDG_RUNTIME_DIR", world.dir("home/run"));
                command.arg(format!("--{kind}")).arg("verify").arg(unit).output()
            };
            let Ok(verified) = verify(&unit) else {
                println!("systemd-analyze is not installed: the unit {kind} is not verified");
                continue;
            };
            let said = err(&verified);
            let ours: Vec<&str> = said.lines().filter(|line| line.contains("mantlet-watch")).collect();
            assert!(ours.is_empty(), "{kind}: {said}");
            // The control: what systemd does not know is said.
            let wrong = text.replace("Restart=", "Rstart=");
            let wrong = world.file(format!("home/{kind}/wrong.service"), wrong);
            let told = verify(&wrong).unwrap();
            assert!(err(&told).contains("Rstart"), "{kind}: {}", err(&told));
        }
    }
}
