//! `mantlet look` on a planted home: it changes nothing, is quick, and shows names and counts, never a value.
#![allow(clippy::unwrap_used, reason = "a test; the lint's own exception does not reach its helpers here")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::{Who, World, code, err, everybody, out};

/// What is planted, below the home: the file's content is the canary.
const PLANTED: &[&str] = &[
    ".ssh/id_ed25519",
    ".aws/credentials",
    ".kube/config",
    ".netrc",
    ".npmrc",
    ".git-credentials",
    ".config/gh/hosts.yml",
    ".openclaw/.env",
    ".openclaw/openclaw.json",
    ".openclaw/credentials/whatsapp.json",
    ".claude/.credentials.json",
    ".codex/auth.json",
    ".bash_history",
    ".bashrc",
];

/// No value of these may ever be shown; the names of variables may.
const CANARY: &str = "canary-7f3a91c2-value";

fn planted(who: Who) -> World {
    let mut world = World::new("look", who);
    for name in PLANTED {
        world.file(Path::new("home").join(name), format!("{CANARY}-{}", name.replace('/', "-")));
    }
    for number in 0..3000 {
        world.file(format!("home/many/{}/{number}", number % 30), "x");
    }
    world.dir("tmp");
    world.env("TMPDIR", world.top.join("tmp"));
    world.env("GITHUB_TOKEN", format!("{CANARY}-token"));
    world.env("OPENAI_API_KEY", format!("{CANARY}-key"));
    world
}

/// What of a file could tell of a change: mode, size, times, content.
type State = (u32, u64, [i64; 4], Vec<u8>);

/// The state of everything below a directory.
fn snapshot(top: &Path) -> BTreeMap<PathBuf, State> {
    let mut all = BTreeMap::new();
    let mut pending = vec![top.to_owned()];
    while let Some(path) = pending.pop() {
        let about = path.symlink_metadata().unwrap();
        let content = if about.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        if about.is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        let times = [about.mtime(), about.mtime_nsec(), about.ctime(), about.ctime_nsec()];
        all.insert(path, (about.mode(), about.size(), times, content));
    }
    all
}

#[test]
fn looking_changes_nothing_is_quick_and_shows_no_value() {
    for who in everybody() {
        let world = planted(who);
        let _socket = UnixListener::bind(world.home().join("work/socket")).unwrap();
        let before = snapshot(&world.home());
        for words in [&["look"][..], &["look", "--json"], &["look", "--workspace", "."]] {
            let began = Instant::now();
            let looked = world.mantlet(words);
            let took = began.elapsed();
            assert_eq!(code(&looked), 0, "{who:?}: {}", err(&looked));
            assert!(took < Duration::from_secs(3), "{took:?}");
            let all = out(&looked) + &err(&looked);
            assert!(!all.contains(CANARY), "a value was shown: {all}");
            for name in [".ssh/id_ed25519", ".openclaw/.env", ".aws/credentials", "GITHUB_TOKEN", "OPENAI_API_KEY"] {
                assert!(all.contains(name), "{who:?} {name} is missing: {all}");
            }
        }
        assert!(before == snapshot(&world.home()), "{who:?}: the home was changed");
        assert_eq!(common::files(&world.top.join("tmp")), Vec::<PathBuf>::new());
        assert_eq!(fs::read_dir(world.top.join("tmp")).unwrap().count(), 0);
    }
}

#[test]
fn what_is_here_is_compared_with_what_the_same_walk_sees_in_the_jail() {
    for who in everybody() {
        let world = planted(who);
        let looked: serde_json::Value = serde_json::from_slice(&world.mantlet(&["look", "--json"]).stdout).unwrap();
        let kinds = |of: &str, kind: &str| {
            let taken = looked[of]["taken"].as_array().unwrap();
            taken.iter().filter(|taken| taken["kind"] == kind).count()
        };
        for kind in
            ["ssh keys and hosts", "cloud tokens", "developer tokens", "agents' state", "histories", "environment"]
        {
            assert!(kinds("here", kind) > 0, "{who:?} {kind}");
            assert_eq!(kinds("jail", kind), 0, "{who:?} {kind}");
        }
        assert_eq!(looked["jail"]["taken"].as_array().unwrap().len(), 0, "{who:?}: {}", looked["jail"]);
        assert_eq!(looked["reason"], serde_json::Value::Null);
        // The control of the walk inside: what the policy opens is seen there, by its name.
        world.builder("[agent.main.files]\nread = [\"~/.aws\"]\n[agent.main.env]\npass = [\"GITHUB_TOKEN\"]\n");
        let opened: serde_json::Value = serde_json::from_slice(&world.mantlet(&["look", "--json"]).stdout).unwrap();
        let names: Vec<&str> =
            opened["jail"]["taken"].as_array().unwrap().iter().map(|taken| taken["name"].as_str().unwrap()).collect();
        assert!(names.iter().any(|name| name.ends_with(".aws/credentials")), "{names:?}");
        assert!(names.contains(&"GITHUB_TOKEN"), "{names:?}");
    }
}

/// The card: counts only. Neither a path nor a user's or a host's name is in it.
#[test]
fn the_card_is_safe_to_paste_and_the_next_command_follows() {
    for who in everybody() {
        let world = planted(who);
        let text = out(&world.mantlet(&["look"]));
        let card = text.split("--- counts only, safe to paste ---\n").nth(1).unwrap().split("---\n").next().unwrap();
        assert!(card.contains("total") && card.contains("in jail"), "{card}");
        for line in card.lines() {
            assert!(!line.contains(['/', '~', '@', '_']), "{line}");
            let end = line.trim_end().rsplit(' ').next().unwrap();
            assert!(end == "jail" || end.parse::<usize>().is_ok(), "{line}");
        }
        assert!(text.ends_with("Next: mantlet exec -- COMMAND, or mantlet shell\n"), "{text}");
    }
}

/// Nothing is set up, and the person stands in his home, or below a policy for something else.
#[test]
fn from_the_home_directory_the_jail_is_shown_around_an_empty_workspace() {
    for who in everybody() {
        let world = planted(who);
        let before = snapshot(&world.home());
        let in_home = || world.command("mantlet").current_dir(world.home()).arg("look").output().unwrap();
        let looked = in_home();
        assert_eq!(code(&looked), 0, "{who:?}: {}", out(&looked));
        let text = out(&looked);
        assert!(text.contains("is your home directory") && text.contains("the default one, with an empty workspace"));
        assert!(text.contains("nothing of the inventory") && !text.contains(CANARY), "{text}");
        assert!(before == snapshot(&world.home()));
        world.builder("[agent.other]\nrole = \"scout\"\nworkspace = \"~/work\"\n");
        let looked = in_home();
        assert_eq!(code(&looked), 0, "{}", out(&looked));
        let named = world.command("mantlet").args(["look", "--workspace"]).arg(world.home()).output().unwrap();
        assert_eq!(code(&named), 125, "a workspace that was named is not exchanged");
        assert!(out(&named).ends_with("Next: mantlet doctor\n"), "{}", out(&named));
        assert_eq!(fs::read_dir(world.top.join("tmp")).unwrap().count(), 0);
    }
}

#[test]
fn what_cannot_be_looked_at_is_said() {
    let mut world = World::new("look", Who::Me);
    let none = world.mantlet(&["look", "--workspace", "/nonexistent"]);
    assert_eq!(code(&none), 125);
    assert!(err(&none).contains("cannot find /nonexistent"), "{}", err(&none));
    let homeless = world.command("mantlet").env_remove("HOME").arg("look").output().unwrap();
    assert_eq!(code(&homeless), 125);
    assert!(err(&homeless).contains("hint: set it"), "{}", err(&homeless));
    world.env("TMPDIR", "/nonexistent");
    let nowhere = world.mantlet(&["look"]);
    assert_eq!(code(&nowhere), 125);
    assert!(out(&nowhere).contains("hint: set TMPDIR"), "{}", out(&nowhere));
}
