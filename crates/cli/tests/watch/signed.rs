//! What an owner signs is what was shown, from the command to the file: without a watch, from a copy, and through the line.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{World, code, err, everybody, is_root, out};
use crate::ground::{
    BASHRC, EVIL, KEYS, OPENCLAW, Watching, changes, is_alone, json, keys, of, sh, text, until, watch, world,
};

/// What a start undoes of a home of [`world`].
fn undone(world: &World) -> Vec<String> {
    let all = changes(world).into_iter();
    all.filter(|change| change.outcome == "undone" && change.what != "killed").map(|change| change.path).collect()
}

/// A command without a running watch took every place as missing, signed that, and the next watch removed the owner's files.
#[test]
fn without_a_running_watch_nothing_else_is_taken() {
    if !is_alone("signed::without_a_running_watch_nothing_else_is_taken") {
        return;
    }
    for who in everybody() {
        let world = world("alone", who);
        assert!(Watching::begin(&world).stop().success());
        let bashrc = world.home().join(".bashrc");
        fs::write(&bashrc, "alias new=1\n").unwrap();
        let diff = json(&watch(&world, &["diff", "--json"]));
        let found: Vec<_> = diff["differences"].as_array().unwrap().iter().map(|one| one["path"].as_str()).collect();
        assert_eq!(found, [bashrc.to_str()], "{who:?}");
        let taken = watch(&world, &["accept", "--yes", bashrc.to_str().unwrap()]);
        assert_eq!(code(&taken), 0, "{who:?}: {}", err(&taken));
        let held = watch(&world, &["hold", "--yes", "--", "true"]);
        assert!(code(&held) == 0 && out(&held).is_empty(), "{who:?}: {}{}", out(&held), err(&held));
        let _watching = Watching::begin(&world);
        let stands =
            [(".bashrc", "alias new=1\n"), (".ssh/authorized_keys", KEYS), (".openclaw/openclaw.json", OPENCLAW)];
        for (path, content) in
            stands.into_iter().chain([("named/file.txt", "as it was\n"), ("named/dir/deep/b.txt", "b\n")])
        {
            assert_eq!(text(world.home().join(path)), content, "{who:?}: {path}");
        }
        assert_eq!(undone(&world), [""; 0], "{who:?}");
        // The control: what nobody took is undone.
        fs::write(&bashrc, BASHRC).unwrap();
        until("it is undone", || text(&bashrc) == "alias new=1\n");
    }
}

/// The attacks: what was undone is a link to a secret, which would be shown and taken; or a FIFO, which hangs the watch.
#[test]
fn what_was_undone_and_is_no_file_is_not_taken() {
    if !is_alone("signed::what_was_undone_and_is_no_file_is_not_taken") {
        return;
    }
    for who in everybody() {
        let world = world("nofile", who);
        world.file("home/secret", "the secret of the owner\n");
        let _watching = Watching::begin(&world);
        let bashrc = world.home().join(".bashrc");
        for (line, count) in [("ln -s ~/secret ~/l && mv ~/l ~/.bashrc", 1), ("mkfifo ~/f && mv ~/f ~/.bashrc", 2)] {
            sh(&world, line);
            until("it is undone", || of(&changes(&world), &bashrc, "undone").len() == count);
            let began = Instant::now();
            let taken = watch(&world, &["accept", "--yes", bashrc.to_str().unwrap()]);
            assert_eq!(code(&taken), 125, "{who:?}: {line}: {}", out(&taken));
            assert!(err(&taken).contains("is not taken") && !out(&taken).contains("secret"), "{line}: {}", err(&taken));
            assert!(began.elapsed() < Duration::from_secs(10), "{line}");
            assert_eq!(text(&bashrc), BASHRC, "{who:?}: {line}");
        }
        // The control: a file is.
        fs::write(&bashrc, "alias mine=1\n").unwrap();
        until("it is undone", || of(&changes(&world), &bashrc, "undone").len() == 3);
        assert_eq!(code(&watch(&world, &["accept", "--yes", bashrc.to_str().unwrap()])), 0, "{who:?}");
        assert_eq!(text(&bashrc), "alias mine=1\n", "{who:?}");
    }
}

/// Speaks the line's own words: `python3 -c ASK SOCKET PATH FROM SHA256`.
const ASK: &str = "import json, socket, sys\n\
    s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); f = s.makefile('rw')\n\
    f.write(json.dumps(dict(zip(['ask', 'path', 'from', 'sha256'], ['accept_content'] + sys.argv[2:]))) + '\\n'); f.flush()\n\
    print(f.readline())";

/// The attack: the copy says something else by the time it is taken than when it was shown.
#[test]
fn a_copy_that_is_not_what_was_shown_is_not_taken() {
    if !is_alone("signed::a_copy_that_is_not_what_was_shown_is_not_taken") {
        return;
    }
    for who in everybody() {
        let world = world("shown", who);
        let _watching = Watching::begin(&world);
        let keys = keys(&world);
        let wanted = format!("{KEYS}ssh-ed25519 AAAAC3New owner@laptop\n");
        fs::write(&keys, &wanted).unwrap();
        until("it is undone", || !of(&changes(&world), &keys, "undone").is_empty());
        let copy = of(&changes(&world), &keys, "undone").pop().unwrap().copy.unwrap();
        let shown = sh(&world, &format!("sha256sum < '{copy}' | cut -c1-64"));
        let ask = || {
            let socket = world.state().join("watch/watch.sock");
            let ask = [socket.to_str().unwrap(), keys.to_str().unwrap(), &copy, shown.trim()];
            sh(&world, &format!("python3 -c \"{ASK}\" '{}'", ask.join("' '")))
        };
        fs::write(&copy, EVIL).unwrap();
        assert!(ask().contains("not what was shown"), "{who:?}");
        assert_eq!(text(&keys), KEYS, "{who:?}");
        // The control: what was shown is taken.
        fs::write(&copy, &wanted).unwrap();
        assert!(ask().contains("done"), "{who:?}");
        assert_eq!(text(&keys), wanted, "{who:?}");
    }
}

/// Stops a process as a debugger does; no signal but the last one gets through to it.
fn frozen(pid: i32) -> Child {
    let python = format!(
        "import ctypes, time\nassert ctypes.CDLL(None).ptrace(16, {pid}, 0, 0) == 0\nprint(1, flush=True)\ntime.sleep(120)"
    );
    let mut child = Command::new("python3").args(["-c", &python]).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = [0];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut said).unwrap();
    child
}

/// The attack: a watching process that hangs, so that no service manager ends it, nor starts it again.
#[test]
fn a_watch_that_hangs_is_killed_when_it_is_to_end() {
    if !is_root() {
        return println!("only root may freeze another process: this is not tried");
    }
    if !is_alone("signed::a_watch_that_hangs_is_killed_when_it_is_to_end") {
        return;
    }
    for who in everybody() {
        let world = world("hangs", who);
        let watching = Watching::begin(&world);
        let mut tracer = frozen(watching.watcher());
        std::thread::sleep(Duration::from_millis(200));
        assert!(watching.stop().success(), "{who:?}");
        tracer.kill().unwrap();
        tracer.wait().unwrap();
    }
}
