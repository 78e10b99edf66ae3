//! A watch that is killed comes back, and then nothing of what was done meanwhile stands.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::common::{Who, everybody};
use crate::ground::{
    EVIL, KEYS, WATCH, Watching, changes, is_alone, keys, kill, pair, processes, text, until, world_with,
};

/// As many as an hour of work has: what is tried is not that it gives up.
const PATIENT: &str = "tries = 1000\n";

/// Rewrites it without a pause until told to stop.
fn attack(keys: &Path, is_over: &AtomicBool) {
    while !is_over.load(Ordering::Relaxed) {
        drop(fs::write(keys, EVIL));
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Kills what it can of these, in this order.
fn strike(pids: &[i32]) {
    for pid in pids {
        kill_process(Pid::from_raw(*pid).unwrap(), Signal::KILL).ok();
    }
}

fn rounds(who: Who) {
    let world = world_with("killed", who, &format!("{WATCH}{PATIENT}"));
    let mut watching = Watching::begin(&world);
    let mut stood = 0;
    for round in 0..20 {
        until("both are there", || pair(&world).is_some());
        let (watcher, supervisor) = pair(&world).unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let attacker = std::thread::spawn({
            let (keys, is_over) = (keys(&world), Arc::clone(&is_over));
            move || attack(&keys, &is_over)
        });
        std::thread::sleep(Duration::from_millis(20));
        match round % 4 {
            0 => strike(&[watcher]),
            1 => strike(&[supervisor]),
            2 => strike(&[watcher, supervisor]),
            _ => strike(&[supervisor, watcher]),
        }
        std::thread::sleep(Duration::from_millis(20));
        is_over.store(true, Ordering::Relaxed);
        attacker.join().unwrap();
        stood += u32::from(text(keys(&world)) == EVIL);
        if round % 4 >= 2 {
            // Nobody is left of both: what a service manager does.
            until("both are gone", || {
                let gone = |pid| processes(&world).iter().all(|(each, _)| *each != pid);
                gone(watcher) && gone(supervisor) || pair(&world).is_some_and(|now| now != (watcher, supervisor))
            });
            if pair(&world).is_none() {
                drop(watching);
                watching = Watching::begin(&world);
            }
        }
        until("it is undone", || text(keys(&world)) == KEYS);
        until("another watches", || pair(&world).is_some_and(|now| now != (watcher, supervisor)));
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(text(keys(&world)), KEYS, "{who:?} {round}");
    }
    assert!(stood > 5, "{who:?}: the control: it stood only {stood} times of 20 when nobody watched");
    let killed = changes(&world).into_iter().filter(|change| change.what == "killed").count();
    assert!(killed >= 10, "{who:?}: what was killed while another lived is told: {killed}");
    drop(watching);
}

#[test]
fn nothing_survives_the_return_of_a_killed_watch() {
    if !is_alone("killed::nothing_survives_the_return_of_a_killed_watch") {
        return;
    }
    std::thread::scope(|scope| {
        for who in everybody() {
            scope.spawn(move || rounds(who));
        }
    });
}

#[test]
fn each_kill_is_in_the_ledger() {
    if !is_alone("killed::each_kill_is_in_the_ledger") {
        return;
    }
    for who in everybody() {
        let world = world_with("told", who, WATCH);
        let watching = Watching::begin(&world);
        let killed = |of: &str| {
            let all = changes(&world);
            all.into_iter().filter(|c| c.what == "killed" && c.reason.as_ref().is_some_and(|r| r.contains(of))).count()
        };
        kill(watching.watcher(), Signal::KILL);
        until("the watching process is told of", || killed("by signal 9") == 1);
        until("another watches", || pair(&world).is_some());
        // The attack: with the baseline gone, what stands would be the new one without a word.
        fs::remove_file(world.state().join("watch/baseline")).unwrap();
        kill(watching.watcher(), Signal::KILL);
        until("that is told as well", || changes(&world).iter().any(|change| change.what == "deleted"));
        until("another watches", || pair(&world).is_some());
        kill(watching.supervisor(), Signal::KILL);
        until("the supervisor is told of", || killed("supervisor") == 1);
        until("another supervises", || pair(&world).is_some_and(|(_, now)| now != watching.supervisor()));
    }
}
