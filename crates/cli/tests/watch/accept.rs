//! Who may take a change: its owner, who has seen it, and nobody else.

use std::fs;
use std::process::Command;

use crate::common::{USER, Who, code, err, everybody, is_root, out, programs};
use crate::ground::{
    BASHRC, EVIL, KEYS, Watching, changes, is_alone, json, keys, of, sh, text, until, watch, world, world_with,
};

#[test]
fn an_undone_change_is_taken_from_its_copy() {
    if !is_alone("accept::an_undone_change_is_taken_from_its_copy") {
        return;
    }
    for who in everybody() {
        let world = world("copy", who);
        let watching = Watching::begin(&world);
        let keys = keys(&world);
        let wanted = format!("{KEYS}ssh-ed25519 AAAAC3New owner@laptop\n");
        fs::write(&keys, &wanted).unwrap();
        until("it is undone", || !of(&changes(&world), &keys, "undone").is_empty());
        let asked = watch(&world, &["accept", keys.to_str().unwrap()]);
        assert!(code(&asked) == 125 && err(&asked).contains("--yes"), "{who:?}: {}", err(&asked));
        assert!(out(&asked).contains("+ssh-ed25519 AAAAC3New owner@laptop"), "{who:?}: {}", out(&asked));
        assert_eq!(text(&keys), KEYS, "{who:?}: nobody said yes");
        let taken = watch(&world, &["accept", "--yes", keys.to_str().unwrap()]);
        assert_eq!(code(&taken), 0, "{who:?}: {}", err(&taken));
        assert_eq!(text(&keys), wanted, "{who:?}");
        assert_eq!(of(&changes(&world), &keys, "accepted").len(), 1, "{who:?}");
        // It holds, and is held: over a start, and against the next change.
        assert!(watching.stop().success());
        let _watching = Watching::begin(&world);
        fs::write(&keys, EVIL).unwrap();
        until("it is put back", || text(&keys) == wanted);
    }
}

/// Many keep their profile elsewhere, and have a link at its name.
#[test]
fn a_linked_profile_is_taken_by_its_own_name() {
    if !is_alone("accept::a_linked_profile_is_taken_by_its_own_name") {
        return;
    }
    for who in everybody() {
        let world = world("linked", who);
        let real = world.file("home/dotfiles/bashrc", BASHRC);
        let link = world.home().join(".bashrc");
        sh(&world, "ln -sf dotfiles/bashrc ~/.bashrc");
        let _watching = Watching::begin(&world);
        fs::write(&real, "alias ll='ls -l'\n").unwrap();
        until("it is undone", || !of(&changes(&world), &real, "undone").is_empty());
        let taken = watch(&world, &["accept", "--yes", link.to_str().unwrap()]);
        assert_eq!(code(&taken), 0, "{who:?}: {}", err(&taken));
        assert_eq!(text(&link), "alias ll='ls -l'\n", "{who:?}: {}", err(&taken));
        assert!(link.is_symlink());
    }
}

#[test]
fn a_change_without_a_watch_is_shown_and_taken() {
    if !is_alone("accept::a_change_without_a_watch_is_shown_and_taken") {
        return;
    }
    for who in everybody() {
        let world = world("offline", who);
        let none = watch(&world, &["diff"]);
        assert!(code(&none) == 125 && err(&none).contains("no baseline"), "{}", err(&none));
        assert!(Watching::begin(&world).stop().success());
        let same = watch(&world, &["diff", "--json"]);
        assert!(code(&same) == 0 && json(&same)["differences"].as_array().unwrap().is_empty(), "{}", out(&same));
        let (keys, bashrc) = (keys(&world), world.home().join(".bashrc"));
        fs::write(&keys, EVIL).unwrap();
        fs::write(&bashrc, "# new\n").unwrap();
        let diff = watch(&world, &["diff"]);
        assert_eq!(code(&diff), 1, "{}", err(&diff));
        for line in ["- ssh-ed25519 AAAAC3Nza owner@host", "+ ssh-ed25519 AAAAC3Evil somebody@else", "+ # new"] {
            assert!(out(&diff).contains(line), "{who:?}: {line}: {}", out(&diff));
        }
        let one = watch(&world, &["diff", "--json", bashrc.to_str().unwrap()]);
        let one = (code(&one), json(&one)["differences"].clone());
        assert_eq!((one.0, one.1.as_array().unwrap().len()), (1, 1), "{one:?}");
        assert_eq!(one.1[0]["path"].as_str(), bashrc.to_str());
        let asked = watch(&world, &["accept", bashrc.to_str().unwrap()]);
        assert!(code(&asked) == 125 && out(&asked).contains("+ # new"), "{}{}", out(&asked), err(&asked));
        let taken = watch(&world, &["accept", "--yes", bashrc.to_str().unwrap()]);
        assert_eq!(code(&taken), 0, "{}", err(&taken));
        assert_eq!(of(&changes(&world), &bashrc, "accepted").len(), 1, "{who:?}: it is told");
        assert_eq!(code(&watch(&world, &["diff", bashrc.to_str().unwrap()])), 0);
        // The control: what nobody took is undone by the next start.
        let _watching = Watching::begin(&world);
        assert_eq!((text(&bashrc).as_str(), text(&keys).as_str()), ("# new\n", KEYS), "{who:?}");
        let other = watch(&world, &["diff", "/nowhere/at/all"]);
        assert!(code(&other) == 125 && err(&other).contains("no protected place"), "{}", err(&other));
    }
}

/// The attacks: an agent that has its change accepted, by the program in its jail, and by the socket.
#[test]
fn nothing_in_a_jail_accepts() {
    if !is_alone("accept::nothing_in_a_jail_accepts") {
        return;
    }
    for who in everybody() {
        // The socket's place is bound into the jail by a policy that no owner should write: the line still refuses.
        let world = world_with("jailed", who, crate::ground::WATCH);
        let watching = Watching::begin(&world);
        let keys = keys(&world);
        fs::write(&keys, EVIL).unwrap();
        until("it is undone", || !of(&changes(&world), &keys, "undone").is_empty());
        let program = programs().join("mantlet");
        let line = format!("/run/mantlet/mantlet watch accept --yes {}", keys.display());
        let output = world.exec(&["--with", program.to_str().unwrap(), "-c", &line]);
        let said = err(&output);
        assert!(code(&output) == 125 && said.contains("nothing in a jail"), "{who:?}: {said}");
        // The socket itself: by its path, and by a descriptor of its directory that would be all a jail needed.
        let socket = world.state().join("watch/watch.sock");
        assert!(socket.exists(), "the control: it is there outside");
        let python =
            format!("python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect(\"{}\")' 2>&1", socket.display());
        let output = world.exec(&["-c", &python]);
        assert!(code(&output) != 0 && out(&output).contains("No such file"), "{who:?}: {}", out(&output));
        assert_eq!(text(&keys), KEYS, "{who:?}");
        assert!(of(&changes(&world), &keys, "accepted").is_empty(), "{who:?}");
        drop(watching);
    }
}

/// Speaks the line's own words to the socket: `python3 -c ASK SOCKET PATH FROM`.
const ASK: &str = "import hashlib, json, socket, sys\n\
    s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); f = s.makefile('rw')\n\
    f.write(json.dumps({'ask': 'accept_content', 'path': sys.argv[2], 'from': sys.argv[3], 'sha256': hashlib.sha256(open(sys.argv[3], 'rb').read()).hexdigest()}) + '\\n'); f.flush()\n\
    print(f.readline())";

/// Whoever is in another pid namespace is turned away, even where the socket can be reached; so is another user.
#[test]
fn who_reaches_the_socket_from_elsewhere_is_turned_away() {
    if !is_alone("accept::who_reaches_the_socket_from_elsewhere_is_turned_away") {
        return;
    }
    if !is_root() {
        return println!("only root can be another user, or leave a pid namespace alone: this is not tried");
    }
    for who in everybody() {
        let world = world("socket", who);
        let watching = Watching::begin(&world);
        let keys = keys(&world);
        let evil = world.file("home/evil.txt", EVIL);
        let ask = |prefix: &[&str]| {
            let mut words: Vec<&str> = prefix.to_vec();
            let socket = world.state().join("watch/watch.sock");
            words.extend([
                "python3",
                "-c",
                ASK,
                socket.to_str().unwrap(),
                keys.to_str().unwrap(),
                evil.to_str().unwrap(),
            ]);
            let output = Command::new(words[0]).args(&words[1..]).env("PATH", "/usr/bin:/bin").output().unwrap();
            out(&output).trim().to_owned()
        };
        let uid = if who == Who::User { USER } else { 0 };
        let other = if who == Who::User { 0 } else { USER };
        let as_user = |id: u32| format!("--reuid={id}");
        // Of the right user, in a pid namespace of its own.
        let inside = ask(&["unshare", "--pid", "--fork", "setpriv", &as_user(uid), "--clear-groups"]);
        assert_eq!(inside, "", "{who:?}: from another pid namespace");
        let foreign = ask(&["setpriv", &as_user(other), "--clear-groups"]);
        assert_eq!(foreign, "", "{who:?}: another user");
        std::thread::sleep(std::time::Duration::from_millis(100));
        assert_eq!(text(&keys), KEYS, "{who:?}");
        if who == Who::User {
            let line = ["watch", "accept", "--yes", keys.to_str().unwrap()];
            let output = Command::new(programs().join("mantlet"))
                .args(line)
                .env_clear()
                .env("HOME", world.home())
                .output()
                .unwrap();
            assert!(code(&output) == 125 && err(&output).contains(&format!("{USER}")), "{}", err(&output));
        }
        // The control: the same words from the owner are obeyed.
        let owner = ask(&["setpriv", &as_user(uid), "--clear-groups"]);
        assert!(owner.contains("done"), "{who:?}: {owner}");
        assert_eq!(text(&keys), EVIL, "{who:?}");
        drop(watching);
    }
}
