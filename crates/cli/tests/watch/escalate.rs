//! Somebody who keeps trying is met as the policy says.

use std::fs;
use std::time::{Duration, Instant};

use crate::common::{World, code, err, everybody, is_root, out};
use crate::ground::{
    EVIL, KEYS, WATCH, Watching, changes, halts, is_alone, json, keys, of, text, until, watch, world_with,
};

/// Changes it as soon as it is put back, until that ends what it is about.
fn attack(world: &World, mut is_over: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_over() {
        assert!(Instant::now() < deadline, "it never ends");
        drop(fs::write(keys(world), EVIL));
        std::thread::sleep(Duration::from_millis(30));
    }
}

#[test]
fn who_keeps_trying_has_everything_halted() {
    if !is_alone("escalate::who_keeps_trying_has_everything_halted") {
        return;
    }
    for who in everybody() {
        let world = world_with("halt", who, &format!("{WATCH}then = \"halt\"\ntries = 3\n"));
        let watching = Watching::begin(&world);
        let mut command = world.command("mantlet");
        let jail = command.args(["exec", "--agent", "main", "-c", "touch runs; exec sleep 60"]);
        let mut jail = jail.spawn().unwrap();
        until("the jail runs", || world.work().join("runs").exists());
        // The control: fewer tries end nothing.
        for _ in 0..2 {
            fs::write(keys(&world), EVIL).unwrap();
            until("it is undone", || text(keys(&world)) == KEYS);
        }
        assert!(jail.try_wait().unwrap().is_none() && !world.state().join("halted").exists(), "{who:?}");
        attack(&world, || world.state().join("halted").exists());
        until("the jail ends", || jail.try_wait().unwrap().is_some());
        until("it is told", || !halts(&world).is_empty());
        let halt = halts(&world).remove(0);
        assert!(halt.action == "halt" && halt.by == "watch" && halt.ended == 1, "{who:?}: {halt:?}");
        assert!(halt.reason.as_ref().unwrap().contains("authorized_keys"), "{halt:?}");
        until("it is undone", || text(keys(&world)) == KEYS);
        let refused = world.exec(&["--agent", "main", "-c", "true"]);
        assert!(code(&refused) == 125 && err(&refused).contains("halted"), "{who:?}: {}", err(&refused));
        // The owner lets it go on. What was locked on the way is unlocked by looking at it.
        assert_eq!(code(&world.mantlet(&["resume"])), 0);
        assert_eq!(code(&world.exec(&["--agent", "main", "-c", "true"])), 0);
        let taken = watch(&world, &["accept", "--yes", keys(&world).to_str().unwrap()]);
        assert_eq!(code(&taken), 0, "{}", err(&taken));
        assert!(watching.stop().success());
    }
}

#[test]
fn who_keeps_trying_finds_it_locked() {
    if !is_alone("escalate::who_keeps_trying_finds_it_locked") {
        return;
    }
    for who in everybody() {
        let world = world_with("lock", who, &format!("{WATCH}then = \"lock\"\ntries = 3\n"));
        let watching = Watching::begin(&world);
        let is_locked = || !of(&changes(&world), &keys(&world), "locked").is_empty();
        attack(&world, is_locked);
        until("it is undone", || text(keys(&world)) == KEYS);
        let status = watch(&world, &["status", "--json"]);
        let locked = json(&status)["locked"].clone();
        assert_eq!(locked[0].as_str(), keys(&world).to_str(), "{who:?}: {locked}");
        let said = out(&watch(&world, &["status"]));
        assert!(said.contains("locked after too many tries: "), "{who:?}: {said}");
        assert!(!world.state().join("halted").exists(), "{who:?}");
        if is_root() && who == crate::common::Who::Me {
            let refused = fs::write(keys(&world), EVIL);
            println!("root's own write to what is immutable: {refused:?}");
        }
        // Its owner takes it as it stands, and can write it again.
        let taken = watch(&world, &["accept", "--yes", keys(&world).to_str().unwrap()]);
        assert_eq!(code(&taken), 0, "{who:?}: {}", err(&taken));
        let locked = json(&watch(&world, &["status", "--json"]))["locked"].clone();
        assert_eq!(locked.as_array().unwrap().len(), 0, "{who:?}: {}", err(&taken));
        let line = "echo new >> ~/.ssh/authorized_keys";
        let held = watch(&world, &["hold", "--yes", "--", "/bin/sh", "-c", line]);
        assert_eq!(code(&held), 0, "{who:?}: {}", err(&held));
        assert!(text(keys(&world)).ends_with("new\n"), "{who:?}");
        assert!(watching.stop().success());
    }
}
