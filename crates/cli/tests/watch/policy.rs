//! The policy is what a watch works by: an accepted one is taken over, and a tampered one is not.

use std::fs;

use rustix::process::Signal;

use crate::common::{builder, code, err, everybody};
use crate::ground::{EVIL, KEYS, WATCH, Watching, changes, is_alone, keys, kill, text, until, watch, world};

#[test]
fn an_accepted_policy_is_taken_over() {
    if !is_alone("policy::an_accepted_policy_is_taken_over") {
        return;
    }
    for who in everybody() {
        let world = world("taken", who);
        let mine = world.file("home/mine.txt", "mine\n");
        let watching = Watching::begin(&world);
        fs::write(&mine, "changed\n").unwrap();
        let more = "[watch]\nfiles = [\"~/named/file.txt\", \"~/named/dir\", \"~/mine.txt\"]\n";
        world.file("home/new.toml", builder(more));
        let line = "cat ~/new.toml > ~/.config/mantlet/mantlet.toml";
        let held = watch(&world, &["hold", "--yes", "--", "/bin/sh", "-c", line]);
        assert_eq!(code(&held), 0, "{}", err(&held));
        until("the new place is watched", || watching.said().contains("new in the baseline"));
        until("it watches", || code(&watch(&world, &["status"])) == 0);
        fs::write(&mine, "evil\n").unwrap();
        until("it is undone", || text(&mine) == "changed\n");
        assert!(changes(&world).iter().all(|change| change.what != "killed"), "{who:?}: nobody killed it");
        // One that is none is not accepted, whoever says yes: the next watch could not begin.
        let before = text(world.policy());
        let line = "echo nonsense > ~/.config/mantlet/mantlet.toml";
        let held = watch(&world, &["hold", "--yes", "--", "/bin/sh", "-c", line]);
        assert!(code(&held) == 125 && err(&held).contains("is not accepted"), "{who:?}: {}", err(&held));
        until("it is undone", || text(world.policy()) == before);
        fs::write(keys(&world), EVIL).unwrap();
        until("it is undone", || text(keys(&world)) == KEYS);
        // Neither while no watch runs.
        assert!(watching.stop().success());
        let held = watch(&world, &["hold", "--yes", "--", "/bin/sh", "-c", line]);
        assert!(code(&held) == 125 && err(&held).contains("is not accepted"), "{who:?}: {}", err(&held));
        let _watching = Watching::begin(&world);
        assert_eq!(text(world.policy()), before, "{who:?}");
    }
}

/// The attacks: a policy that protects less, or none that can be read, and a kill so that it is obeyed.
#[test]
fn a_tampered_policy_is_put_back_before_it_is_obeyed() {
    if !is_alone("policy::a_tampered_policy_is_put_back_before_it_is_obeyed") {
        return;
    }
    for who in everybody() {
        let world = world("tampered", who);
        let policy = text(world.policy());
        let named = world.home().join("named/file.txt");
        let other = world.file("home/other.txt", "other\n");
        for weaker in [builder("[watch]\nfiles = [\"~/other.txt\"]\n"), "nonsense\n".to_owned(), String::new()] {
            let mut watching = Watching::begin(&world);
            for is_stopped in [false, true] {
                let tamper = || {
                    if weaker.is_empty() {
                        fs::remove_file(world.policy()).unwrap();
                    } else {
                        fs::write(world.policy(), &weaker).unwrap();
                    }
                    fs::write(&named, EVIL).unwrap();
                };
                if is_stopped {
                    assert!(watching.stop().success());
                    tamper();
                    watching = Watching::begin(&world);
                } else {
                    // Both are stopped first, so that nothing is undone before it is killed.
                    let (watcher, supervisor) = (watching.watcher(), watching.supervisor());
                    kill(supervisor, Signal::STOP);
                    kill(watcher, Signal::STOP);
                    tamper();
                    kill(watcher, Signal::KILL);
                    kill(supervisor, Signal::CONT);
                    until("another watches", || watching.watcher() != watcher);
                }
                until("the policy is put back", || text(world.policy()) == policy);
                until("what it protects is put back", || text(&named) == "as it was\n");
                until("it watches", || code(&watch(&world, &["status"])) == 0);
                let diff = watch(&world, &["diff"]);
                assert_eq!(code(&diff), 0, "{who:?}: {}", err(&diff));
                fs::write(&named, EVIL).unwrap();
                until("it is still protected", || text(&named) == "as it was\n");
                fs::write(&other, "mine\n").unwrap();
                assert!(!watching.said().contains("other.txt"), "{who:?}: {}", watching.said());
            }
            drop(watching);
        }
        assert!(text(world.policy()).contains(WATCH));
    }
}
