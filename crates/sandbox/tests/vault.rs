//! What the vault opened for a service, and the keys that open it: in no jail, whatever a policy names and whenever.
//!
//! The attack: a policy, or a client's state directory, so wide that it shows the plaintext, or what reads it.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    missing_docs,
    reason = "a test; the lint's own exception does not reach its helpers"
)]

mod world;

use std::fs;
use std::path::PathBuf;

use world::{Call, Caller, World, callers, told};

/// Where the vault's things are, below this world: two keys, and what was opened for a service.
const KEYS: [&str; 2] = ["config/mantlet/vault/identity", "config/sops/age/keys.txt"];
const OPENED: &str = "runtime/mantlet/vault/app/env";

fn planted(name: &str, caller: Caller) -> World {
    let world = World::new(name, caller);
    for path in KEYS.iter().chain([&OPENED]) {
        let path = world.top.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "canary-of-the-vault\n").unwrap();
        // Readable to the jail's own uid: nothing but Mantlet is in the way.
        let owned = path.ancestors().take_while(|dir| *dir != world.top);
        owned.for_each(|dir| std::os::unix::fs::chown(dir, Some(world.jailed()), Some(world.jailed())).unwrap());
    }
    world
}

/// A call of a caller whose environment names those places, or does not.
fn call(world: &World, is_named: bool, words: &[&str]) -> Call {
    let mut command = world.on_host("granted", world.calling());
    if is_named {
        command.env("XDG_CONFIG_HOME", world.top.join("config")).env("XDG_RUNTIME_DIR", world.top.join("runtime"));
    }
    command.arg(world.jailer()).args(["exec", "--policy"]);
    command.arg(world.home().join(".config/mantlet/mantlet.toml")).args(words);
    told(&command.output().unwrap())
}

#[test]
fn no_rule_shows_what_the_vault_opened_or_what_opens_it() {
    for caller in callers() {
        let world = planted("vault-rule", caller);
        for path in KEYS.iter().chain([&OPENED]) {
            let path = world.top.join(path);
            let cat = ["--", "cat", path.to_str().unwrap()];
            // The file, and each directory that holds it, up to the one that the variable names.
            let places = path.ancestors().take_while(|dir| *dir != world.top);
            for place in places.map(PathBuf::from) {
                world.policy(&format!("[agent.main.files]\nread = [{place:?}]\n"));
                let denied = call(&world, true, &cat);
                let what = format!("{caller:?} {}: {denied:?}", place.display());
                assert_eq!((denied.code, denied.out.as_str()), (125, ""), "{what}");
                assert!(denied.err.contains("keys or secrets of the vault") && denied.err.contains("hint: "), "{what}");
                // The control: the same rule, where nothing says that this is the vault's.
                let control = call(&world, false, &cat);
                assert_eq!((control.code, control.out.as_str()), (0, "canary-of-the-vault\n"), "{control:?}");
            }
        }
        // The twin: what lies beside it.
        let beside = world.top.join("runtime/other");
        fs::write(&beside, "beside\n").unwrap();
        world.policy(&format!("[agent.main.files]\nread = [{beside:?}]\n"));
        let twin = call(&world, true, &["--", "cat", beside.to_str().unwrap()]);
        assert_eq!((twin.code, twin.out.as_str()), (0, "beside\n"), "{twin:?}");
    }
}

/// Without a policy the workspace is the current directory, which is any.
#[test]
fn no_workspace_shows_it_and_no_rule_opens_run() {
    for caller in callers() {
        let world = planted("vault-ws", caller);
        fs::remove_file(world.home().join(".config/mantlet/mantlet.toml")).unwrap();
        for place in ["runtime", "runtime/mantlet", "runtime/mantlet/vault/app", "config", "config/sops/age"] {
            let command = |is_named: bool| {
                let mut command = world.on_host("granted", world.calling());
                command.current_dir(world.top.join(place));
                if is_named {
                    command.env("XDG_CONFIG_HOME", world.top.join("config"));
                    command.env("XDG_RUNTIME_DIR", world.top.join("runtime"));
                }
                told(&command.arg(world.jailer()).args(["exec", "-c", "ls -A"]).output().unwrap())
            };
            let denied = command(true);
            assert_eq!((denied.code, denied.out.as_str()), (125, ""), "{caller:?} {place}: {denied:?}");
            assert!(denied.err.contains("keys or secrets of the vault"), "{caller:?} {place}: {denied:?}");
            let control = command(false);
            assert!(control.code == 0 && !control.out.is_empty(), "{caller:?} {place}: {control:?}");
        }
        for place in ["/run", "/run/mantlet", "/run/mantlet/vault/app/env", "/var/run/mantlet"] {
            world.policy(&format!("[agent.main.files]\nread = [\"{place}\"]\n"));
            let denied = call(&world, false, &["--", "true"]);
            assert!(denied.code == 125 && denied.err.contains("no rule can open it"), "{place}: {denied:?}");
        }
    }
}

/// A variable moves the state of a client, which a whole agent is shown.
#[test]
fn no_state_of_a_client_shows_it() {
    for caller in callers().into_iter().filter(|caller| *caller != Caller::Root) {
        let world = planted("vault-state", caller);
        world.policy("client = \"claude\"\n");
        for place in ["runtime/mantlet/vault/app", "runtime/mantlet", "runtime"] {
            let run = |is_named: bool| {
                let mut command = world.on_host("granted", world.calling());
                if is_named {
                    command.env("XDG_RUNTIME_DIR", world.top.join("runtime"));
                }
                command.env("CLAUDE_CONFIG_DIR", world.top.join(place)).arg(world.jailer()).args(["run", "main", "--"]);
                told(&command.arg("cat").arg(world.top.join(OPENED)).output().unwrap())
            };
            let denied = run(true);
            assert_eq!((denied.code, denied.out.as_str()), (125, ""), "{caller:?} {place}: {denied:?}");
            assert!(denied.err.contains("is Mantlet's own"), "{caller:?} {place}: {denied:?}");
            let control = run(false);
            assert_eq!((control.code, control.out.as_str()), (0, "canary-of-the-vault\n"), "{caller:?} {control:?}");
        }
    }
}

/// A jail that stands when something is mounted below a place that it has: the mount must not appear there.
#[test]
fn a_later_mount_does_not_appear_in_a_jail() {
    for caller in callers().into_iter().filter(|caller| *caller != Caller::RootForUser) {
        let world = World::new("vault-late", caller);
        let script = "
            set -eu
            mount --make-rshared /
            mkdir late; mount --bind . .; cd \"$PWD\"; mount --make-shared .
            late() { \"$@\" 'touch up; while [ ! -e go ]; do sleep 0.02; done; cat late/secret; rm up' >out 2>&1 & }
            try() {
                rm -f go; late \"$@\"; while [ ! -e up ]; do kill -0 $! || { cat out; exit 1; }; sleep 0.02; done
                mount -t tmpfs -o mode=755 tmpfs late; echo canary-of-the-vault >late/secret; touch go
                wait $! || true; cat out; umount late
            }
            echo slave; try unshare --mount --propagation slave sh -c
            echo jail; try \"$M\" exec --timeout 20s -c";
        let mut command = world.on_host("granted", world.calling());
        command.env("M", world.jailer()).args(["unshare", "--mount"]);
        if caller == Caller::User {
            // Whoever mounts is privileged: the user is, in a user namespace of their own.
            let uid = world.calling();
            command.args(["--user", &format!("--map-user={uid}"), &format!("--map-group={uid}"), "--keep-caps"]);
        }
        let call = told(&command.args(["sh", "-c", script]).output().unwrap());
        let (control, jail) = call.out.split_once("jail\n").unwrap_or_else(|| panic!("{caller:?}: {call:?}"));
        assert_eq!(control, "slave\ncanary-of-the-vault\n", "{caller:?}: {call:?}");
        assert!(jail.contains("late/secret: No such file") && !jail.contains("canary"), "{caller:?}: {call:?}");
    }
}
