//! A `deny` or `protect` rule holds under every name that leads to what it names, or the policy is refused: a rule that
//! silently matches nothing would be worse than none.
#![allow(clippy::unwrap_used, reason = "a test; the lint's own exception does not reach its helpers here")]

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use common::{Who, World, code, err, everybody, out};

/// A workspace with a file of each kind; `link` leads to it, and `ref` is opened by the policy.
fn world(who: Who) -> World {
    let world = World::new("rules", who);
    for file in ["work/a/b", "work/other/s", "work/x[1]/k", "ref/s", "ref/deep/s"] {
        world.file(Path::new("home").join(file), "SECRET");
    }
    for (target, name) in
        [("work", "link"), ("ref", "reflink"), ("other", "work/sub"), ("a/b", "work/alias"), ("../ref", "work/data")]
    {
        symlink(target, world.home().join(name)).unwrap();
    }
    // The review counts in ticks of the kernel's clock: what is made in the tick of a call's start is the call's own.
    std::thread::sleep(std::time::Duration::from_millis(50));
    world
}

fn policy(world: &World, workspace: &str, rules: &str) {
    let text = format!(
        "version = 1\n[agent.main]\nrole = \"builder\"\nworkspace = {workspace:?}\n[agent.main.files]\n{rules}\n"
    );
    world.file(world.policy(), text);
}

/// The rule, the workspace as it is written, what else is opened, and a name by which the secret must not be read.
const DENIED: &[(&str, &str, &str, &str)] = &[
    ("a/b", "~/work", "", "a/b"),
    ("./a/b", "~/work", "", "a/b"),
    ("a/b/", "~/work/", "", "a/b"),
    ("a", "~/work", "", "a/b"),
    ("HOME/work/a/b", "~/work", "", "a/b"),
    ("~/link/a/b", "~/link", "", "a/b"),
    ("~/link/a/b", "~/work", "", "a/b"),
    ("~/link/**/b", "~/link", "", "a/b"),
    ("~/work/**/b", "~/link", "", "a/b"),
    ("./**/b", "~/work", "", "a/b"),
    ("sub/s", "~/work", "", "sub/s"),
    ("sub/*", "~/work", "", "other/s"),
    ("sub", "~/work", "", "sub/s"),
    ("~/work/sub/s", "~/work", "", "other/s"),
    ("alias", "~/work", "", "a/b"),
    ("x[[]1]/k", "~/work", "", "x[1]/k"),
    ("~/ref/s", "~/work", "~/ref", "HOME/ref/s"),
    ("~/ref/s", "~/work", "~/reflink", "HOME/reflink/s"),
    ("~/reflink/s", "~/work", "~/ref", "HOME/ref/s"),
    ("~/ref/deep", "~/work", "~/ref", "HOME/ref/deep/s"),
    ("data", "~/work", "~/ref", "HOME/ref/s"),
    ("data/s", "~/work", "~/ref", "HOME/ref/s"),
];

#[test]
fn what_is_denied_is_denied_under_each_of_its_names() {
    for who in everybody() {
        let world = world(who);
        for (rule, workspace, opened, name) in DENIED {
            let name = name.replace("HOME", world.home().to_str().unwrap());
            let rule = rule.replace("HOME", world.home().to_str().unwrap());
            let read = if opened.is_empty() { String::new() } else { format!("read = [{opened:?}]") };
            policy(&world, workspace, &read);
            assert_eq!(out(&world.exec(&["--", "cat", &name])), "SECRET", "control: {name}");
            policy(&world, workspace, &format!("{read}\ndeny = [{rule:?}]"));
            let denied = world.exec(&["--", "cat", &name]);
            assert!(world.work().join("data").is_symlink(), "the review took what was there before");
            assert_eq!((code(&denied), out(&denied).as_str()), (1, ""), "{who:?} deny {rule} {name}: {}", err(&denied));
        }
    }
}

#[test]
fn what_is_protected_is_protected_under_each_of_its_names() {
    for who in everybody() {
        let world = world(who);
        for rule in ["a/b", "~/link/a/b", "~/link/*/b", "alias", "**/b"] {
            policy(&world, "~/link", "");
            assert_eq!(code(&world.exec(&["-c", "printf SECRET > a/b"])), 0, "control: {rule}");
            policy(&world, "~/link", &format!("protect = [{rule:?}]"));
            for name in ["a/b", "alias"] {
                assert_ne!(code(&world.exec(&["-c", &format!("echo x > {name}")])), 0, "{who:?} {rule} {name}");
            }
            assert_eq!(fs::read_to_string(world.work().join("a/b")).unwrap(), "SECRET", "{who:?} {rule}");
        }
    }
}

#[test]
fn a_program_of_the_system_can_be_denied() {
    for who in everybody() {
        let world = world(who);
        for rule in ["/usr/bin/base64", "/bin/base64"] {
            policy(&world, "~/work", "");
            assert_eq!(out(&world.exec(&["--", "base64", "a/b"])), "U0VDUkVU\n", "control");
            policy(&world, "~/work", &format!("deny = [{rule:?}]"));
            for program in ["base64", "/usr/bin/base64", "/bin/base64"] {
                let denied = world.exec(&["--", program, "a/b"]);
                assert_eq!((code(&denied), out(&denied).as_str()), (126, ""), "{who:?} {rule} {program}");
            }
        }
    }
}

#[test]
fn a_rule_that_could_hold_nothing_is_refused_with_its_place() {
    let world = world(Who::Me);
    for rule in
        ["a//b", "a/./b", ".//a", "**//b", "../x", "a/../b", "/**/b", "~/ref/*", "!a", "[", "{a", "", "/", "~", "."]
    {
        for key in ["deny", "protect"] {
            policy(&world, "~/work", &format!("{key} = [{rule:?}]"));
            let refused = world.exec(&["-c", "touch ran"]);
            assert_eq!(code(&refused), 125, "{key} {rule}");
            let place = format!("{}:6:{}: bad glob `{rule}`: ", world.policy().display(), key.len() + 5);
            assert!(err(&refused).contains(&place) && err(&refused).contains("hint: "), "{}", err(&refused));
        }
    }
    assert!(!world.work().join("ran").exists() && world.kept().is_empty());
}

#[test]
fn what_the_jail_makes_itself_cannot_be_denied_and_says_so() {
    let world = world(Who::Me);
    for rule in ["/proc/version", "/etc/passwd", "/dev/null"] {
        policy(&world, "~/work", &format!("deny = [{rule:?}]"));
        let refused = world.exec(&["-c", "touch ran"]);
        assert_eq!(code(&refused), 125, "{rule}");
        assert!(err(&refused).contains("the jail makes its own"), "{}", err(&refused));
    }
    assert!(!world.work().join("ran").exists() && world.kept().is_empty());
}
