//! A command of the owner's that may change what is watched.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;

use crate::common::{code, err, everybody, out};
use crate::ground::{EVIL, KEYS, Watching, changes, is_alone, keys, kill, of, text, until, watch, world};

#[test]
fn what_a_held_command_changes_is_taken_with_yes() {
    if !is_alone("hold::what_a_held_command_changes_is_taken_with_yes") {
        return;
    }
    for who in everybody() {
        let world = world("hold", who);
        for is_running in [true, false] {
            let watching = Watching::begin(&world);
            let mut watching = Some(watching);
            if !is_running {
                assert!(watching.take().unwrap().stop().success());
            }
            let before = text(keys(&world));
            let new = format!("{before}ssh-ed25519 AAAAC3{is_running} owner@host\n");
            world.file("home/new", &new);
            let line = "cat ~/new > ~/.ssh/authorized_keys; echo done; exit 7";
            let refused = watch(&world, &["hold", "--", "/bin/sh", "-c", line]);
            assert!(out(&refused).contains("done\n") && out(&refused).contains("authorized_keys: written"));
            assert_eq!(code(&refused), 125, "{who:?} {is_running}: {}", err(&refused));
            assert!(err(&refused).contains("undo") && err(&refused).contains("--yes"), "{}", err(&refused));
            if is_running {
                until("it is undone", || text(keys(&world)) == before);
            } else {
                assert!(Watching::begin(&world).stop().success());
                assert_eq!(text(keys(&world)), before, "{who:?}: the next start undoes it");
            }
            let taken = watch(&world, &["hold", "--yes", "--", "/bin/sh", "-c", line]);
            assert_eq!(code(&taken), 7, "{who:?} {is_running}: the command's own: {}", err(&taken));
            assert!(out(&taken).contains("authorized_keys: written"), "{}", out(&taken));
            std::thread::sleep(Duration::from_millis(400));
            assert_eq!(text(keys(&world)), new, "{who:?} {is_running}");
            assert!(!of(&changes(&world), &keys(&world), "accepted").is_empty(), "{who:?} {is_running}");
            drop(watching.take());
            assert!(Watching::begin(&world).stop().success());
            assert_eq!(text(keys(&world)), new, "{who:?} {is_running}: after a start");
        }
        let other = watch(&world, &["hold", "--", "/bin/sh", "-c", "exit 7"]);
        assert_eq!(code(&other), 7, "{who:?}: it changed nothing: {}", err(&other));
        let killed = watch(&world, &["hold", "--", "/bin/sh", "-c", "kill -TERM $$"]);
        assert_eq!(code(&killed), 128 + 15, "{who:?}: {}", err(&killed));
        let missing = watch(&world, &["hold", "--", "/nowhere/program"]);
        assert!(code(&missing) == 125 && err(&missing).contains("/nowhere/program"), "{}", err(&missing));
    }
}

/// The attacks: what a holder leaves behind as it is killed, and a hold that nobody asked for.
#[test]
fn a_killed_holder_holds_no_longer() {
    if !is_alone("hold::a_killed_holder_holds_no_longer") {
        return;
    }
    for who in everybody() {
        let world = world("holder", who);
        let watching = Watching::begin(&world);
        let mut command = world.command("mantlet");
        let words =
            ["watch", "hold", "--yes", "--", "/bin/sh", "-c", "echo evil > ~/.ssh/authorized_keys; exec sleep 60"];
        let mut holder = command.args(words).spawn().unwrap();
        until("the command has changed it", || text(keys(&world)) == "evil\n");
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(text(keys(&world)), "evil\n", "{who:?}: while it is held nothing is undone");
        let status = watch(&world, &["status"]);
        assert!(code(&status) == 125 && err(&status).contains("holds the watch"), "{who:?}: {}", err(&status));
        kill(i32::try_from(holder.id()).unwrap(), Signal::KILL);
        holder.wait().unwrap();
        until("it is undone", || text(keys(&world)) == KEYS);
        assert!(changes(&world).iter().any(|change| change.what == "held"), "{who:?}: who held it is told");
        fs::write(keys(&world), EVIL).unwrap();
        until("the watch goes on", || text(keys(&world)) == KEYS);
        assert!(watching.stop().success());
    }
}

/// The attack: a connection that says nothing, for ever, so that nothing is undone.
#[test]
fn a_silent_connection_holds_nothing_for_long() {
    if !is_alone("hold::a_silent_connection_holds_nothing_for_long") {
        return;
    }
    for who in everybody() {
        let world = world("silent", who);
        let _watching = Watching::begin(&world);
        let socket = world.state().join("watch/watch.sock");
        let python = format!(
            "import socket, time\ns = socket.socket(socket.AF_UNIX); s.connect(\"{}\")\nprint(1, flush=True)\ntime.sleep(60)",
            socket.display()
        );
        let mut silent = crate::ground::typed(&world, &format!("exec python3 -c '{python}' > ~/connected"));
        until("it is connected", || text(world.home().join("connected")) == "1\n");
        fs::write(keys(&world), EVIL).unwrap();
        until("it is undone all the same", || text(keys(&world)) == KEYS);
        silent.kill().unwrap();
        silent.wait().unwrap();
    }
}

/// Told to end while somebody holds it, it ends.
#[test]
fn a_held_watch_ends_when_it_is_told_to() {
    if !is_alone("hold::a_held_watch_ends_when_it_is_told_to") {
        return;
    }
    for who in everybody() {
        let world = world("held", who);
        let watching = Watching::begin(&world);
        let mut command = world.command("mantlet");
        command.args(["watch", "hold", "--yes", "--", "/bin/sh", "-c", "echo > ~/held; exec sleep 60"]);
        let mut holder = command.spawn().unwrap();
        until("it is held", || world.home().join("held").exists());
        assert!(watching.stop().success(), "{who:?}");
        holder.kill().unwrap();
        holder.wait().unwrap();
    }
}

/// As package managers do: directories that were not there, and one that is another afterwards.
#[test]
fn what_an_upgrade_makes_anew_is_taken_whole() {
    if !is_alone("hold::what_an_upgrade_makes_anew_is_taken_whole") {
        return;
    }
    const UPGRADE: &str = "mkdir -p ~/.config/fish/conf.d && echo new > ~/.config/fish/conf.d/new.fish && \
        mv ~/named/dir ~/named/old && mkdir -p ~/named/dir/other && echo new > ~/named/dir/other/c.txt && rm -r ~/named/old";
    for who in everybody() {
        for is_running in [true, false] {
            let world = world("upgrade", who);
            let mut watching = Some(Watching::begin(&world));
            if !is_running {
                assert!(watching.take().unwrap().stop().success());
            }
            let held = watch(&world, &["hold", "--yes", "--", "/bin/sh", "-c", UPGRADE]);
            assert_eq!(code(&held), 0, "{who:?} {is_running}: {}", err(&held));
            std::thread::sleep(Duration::from_millis(400));
            drop(watching.take());
            let _watching = Watching::begin(&world);
            let home = world.home();
            assert_eq!(text(home.join(".config/fish/conf.d/new.fish")), "new\n", "{who:?} {is_running}");
            assert_eq!(text(home.join("named/dir/other/c.txt")), "new\n", "{who:?} {is_running}");
            assert!(!home.join("named/dir/a.txt").exists(), "{who:?} {is_running}");
            let diff = watch(&world, &["diff"]);
            assert_eq!(code(&diff), 0, "{who:?} {is_running}: {}{}", out(&diff), err(&diff));
            let undone = changes(&world).into_iter().filter(|change| change.outcome == "undone").collect::<Vec<_>>();
            assert!(undone.is_empty(), "{who:?} {is_running}: {undone:?}");
            // The control: what came with it is protected from now on.
            fs::write(home.join("named/dir/other/c.txt"), EVIL).unwrap();
            until("it is undone", || text(home.join("named/dir/other/c.txt")) == "new\n");
        }
    }
}
