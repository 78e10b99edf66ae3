//! What signals do: its owner ends a watch by its supervisor, and nobody by its watching process alone.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;

use crate::common::{World, code, err, everybody};
use crate::ground::{
    EVIL, KEYS, WATCH, Watching, changes, is_alone, keys, kill, processes, text, until, watch, world, world_with,
};

const TOLD: [Signal; 3] = [Signal::TERM, Signal::INT, Signal::HUP];

fn assert_undoes(world: &World) {
    fs::write(keys(world), EVIL).unwrap();
    until("it is undone", || text(keys(world)) == KEYS);
}

#[test]
fn the_watching_process_alone_is_not_told_to_end() {
    if !is_alone("signals::the_watching_process_alone_is_not_told_to_end") {
        return;
    }
    for who in everybody() {
        let world = world("told", who);
        let watching = Watching::begin(&world);
        let watcher = watching.watcher();
        for signal in TOLD {
            kill(watcher, signal);
            std::thread::sleep(Duration::from_millis(100));
            assert_undoes(&world);
            assert_eq!(watching.watcher(), watcher, "{who:?}: {signal:?}");
        }
        // The attack: what waits there ends it once it has its supervisor's place.
        let supervisor = watching.supervisor();
        kill(supervisor, Signal::KILL);
        until("it takes its place", || crate::ground::pair(&world).is_some_and(|(_, now)| now == watcher));
        until("somebody watches again", || code(&watch(&world, &["status"])) == 0);
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(processes(&world).len(), 2, "{who:?}");
        assert_undoes(&world);
    }
}

/// The attack: a process that is stopped is not killed, and watches nothing.
#[test]
fn a_stopped_watch_goes_on() {
    if !is_alone("signals::a_stopped_watch_goes_on") {
        return;
    }
    for who in everybody() {
        let world = world("stopped", who);
        let watching = Watching::begin(&world);
        let watcher = watching.watcher();
        // Not SIGTSTP: it stops nobody in an orphaned process group, as where the tests have no terminal.
        for _ in 0..2 {
            kill(watcher, Signal::STOP);
            assert_undoes(&world);
        }
        assert_eq!(watching.watcher(), watcher, "{who:?}");
        until("it is told", || changes(&world).iter().filter(|change| change.what == "stopped").count() == 2);
        assert!(watching.stop().success());
    }
}

/// The attack: the socket is taken away, so that nobody can be asked.
#[test]
fn a_watch_that_cannot_be_reached_is_not_said_to_be_none() {
    if !is_alone("signals::a_watch_that_cannot_be_reached_is_not_said_to_be_none") {
        return;
    }
    for who in everybody() {
        let world = world("unreached", who);
        let watching = Watching::begin(&world);
        fs::remove_file(world.state().join("watch/watch.sock")).unwrap();
        for words in [&["status"][..], &["diff"], &["accept", "--yes", "/nowhere"]] {
            let refused = watch(&world, words);
            assert!(code(&refused) == 125 && err(&refused).contains("at work"), "{words:?}: {}", err(&refused));
        }
        assert_undoes(&world);
        assert!(watching.stop().success());
        assert_eq!(code(&watch(&world, &["status"])), 1, "the control: then it is none");
    }
}

#[test]
fn the_supervisor_ends_both() {
    if !is_alone("signals::the_supervisor_ends_both") {
        return;
    }
    for who in everybody() {
        // With threads that tell, and without.
        for more in [WATCH.to_owned(), format!("{WATCH}[alert]\ncommand = [\"/bin/true\"]\n")] {
            let world = world_with("ends", who, &more);
            for signal in TOLD {
                let mut watching = Watching::begin(&world);
                kill(watching.supervisor(), signal);
                assert_eq!(watching.ended().code(), Some(0), "{who:?} {signal:?}: {}", watching.said());
                assert!(processes(&world).is_empty(), "{who:?} {signal:?}");
            }
            assert!(changes(&world).iter().all(|change| change.what != "killed"), "{who:?}: that is no attack");
            assert_eq!(code(&watch(&world, &["status"])), 1, "{who:?}");
        }
    }
}

#[test]
fn a_second_watch_is_refused() {
    if !is_alone("signals::a_second_watch_is_refused") {
        return;
    }
    for who in everybody() {
        let world = world("second", who);
        let watching = Watching::begin(&world);
        let watcher = watching.watcher();
        let mut second = Watching::start(world.command("mantlet").args(["watch", "run"]), &world);
        assert_eq!(second.ended().code(), Some(125), "{who:?}: {}", second.said());
        until("it says why", || second.said().contains("another watch is at work"));
        assert_eq!(watching.watcher(), watcher, "{who:?}: the first goes on");
        assert!(changes(&world).is_empty(), "{who:?}: nothing was killed: {:?}", changes(&world));
        assert_undoes(&world);
        assert!(watching.stop().success());
        drop(second);
    }
}

#[test]
fn without_a_policy_or_in_another_place_it_says_so() {
    if !is_alone("signals::without_a_policy_or_in_another_place_it_says_so") {
        return;
    }
    for who in everybody() {
        let world = world("none", who);
        fs::remove_file(world.policy()).unwrap();
        let none = watch(&world, &["run"]);
        assert!(code(&none) == 125 && err(&none).contains("there is no policy"), "{}", err(&none));
        world.file(world.policy(), "version = 1\nnonsense\n");
        let bad = watch(&world, &["run"]);
        assert!(code(&bad) == 125 && err(&bad).contains("not valid"), "{}", err(&bad));
        assert!(processes(&world).is_empty());
    }
}
