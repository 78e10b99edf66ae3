//! Five host shapes, and each without Landlock: the tier and the report are what the host gives, or nothing runs.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test; the lint's own exception does not reach its helpers")]

mod world;

use world::{Caller, World, callers, owner};

const LANDLOCK: &str = "tier = \"landlock\"\n";
const NAMESPACES: [&str; 7] = ["mount", "pid", "network", "ipc", "uts", "cgroup-namespace", "user"];
const LINE: &str = "id -u; cat ../secret; echo made > made; echo HOME=$HOME; touch $HOME/x ${TMPDIR:-/tmp}/y";

/// The shapes that give no namespaces, and a word of the kernel's reason.
const REFUSING: [(&str, &str); 4] = [
    ("exhausted", "No space left on device"),
    ("clone-refused", "Operation not permitted"),
    ("mounts-refused", "Operation not permitted"),
    ("maps-refused", "Read-only file system"),
];

/// Without the jail the secret is there for the taking, on this shape too: else a refusal would prove nothing.
fn control(world: &World, shape: &str) {
    let output = world.on_host(shape, world.jailed()).args(["cat", "../secret"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "canary-of-the-owner\n", "{shape}: the control arm failed");
}

/// Refused: nothing has run, no tier is claimed, nothing is left, and the hint is there.
fn assert_refused(world: &World, shape: &str, why: &str) -> world::Call {
    let what = format!("{shape}, {:?}", world.caller);
    let call = world.call(shape, LINE);
    assert_eq!((call.code, call.tier(), call.out.as_str()), (125, "none", ""), "{what}: {call:?}");
    assert_eq!(call.report["exit"], 125, "{what}");
    assert_eq!(call.report["mechanisms"].as_object().unwrap().len(), 0, "{what}: {call:?}");
    assert!(call.reason().contains(why), "{what}: {call:?}");
    assert!(call.err.contains("hint: run `mantlet doctor`"), "{what}: {call:?}");
    assert!(!world.work().join("made").exists(), "{what}: something ran");
    world.assert_clean(&call, &what);
    call
}

#[test]
fn a_host_that_grants_all_gives_the_tier_full() {
    for caller in callers() {
        let world = World::new("granted", caller);
        for tier in ["tier = \"full\"\n", LANDLOCK] {
            world.policy(tier);
            control(&world, "granted");
            let call = world.call("granted", LINE);
            let what = format!("{caller:?}, {tier}: {call:?}");
            assert_eq!((call.code, call.tier()), (0, "full"), "{what}");
            assert!(!call.out.contains("canary") && !call.out.starts_with("0\n"), "{what}");
            for name in NAMESPACES.iter().chain(&["seccomp", "no-new-privileges", "proc", "deny"]) {
                assert_eq!(call.mechanism(name), "full", "{name}: {what}");
            }
            assert_eq!(call.mechanism("capabilities"), "full (none, bounding set empty)", "{what}");
            assert!(call.mechanism("protect").starts_with("partial: what exists is prevented"), "{what}");
            assert_eq!(owner(&world.work().join("made")), world.jailed(), "{what}");
            world.assert_clean(&call, "granted");
        }
    }
}

#[test]
fn without_namespaces_the_tier_full_is_refused_with_the_kernels_reason() {
    for caller in callers() {
        let world = World::new("full", caller);
        for (shape, why) in REFUSING {
            let call = assert_refused(&world, shape, why);
            let way = if caller == Caller::Root { "chown -R USER" } else { "set tier = \"landlock\"" };
            assert!(call.err.contains(way), "{shape}, {caller:?}: {call:?}");
        }
    }
}

#[test]
fn without_namespaces_the_tier_landlock_runs_and_says_what_is_missing() {
    for caller in callers().into_iter().filter(|c| *c != Caller::Root) {
        let world = World::new("landlock", caller);
        world.policy(LANDLOCK);
        for (shape, why) in REFUSING {
            control(&world, shape);
            let call = world.call(shape, LINE);
            let what = format!("{shape}, {caller:?}: {call:?}");
            assert_eq!((call.code, call.tier()), (0, "landlock"), "{what}");
            assert!(call.out.starts_with(&format!("{}\n", world.jailed())), "{what}");
            assert!(!call.out.contains("canary") && call.err.contains("secret: Permission denied"), "{what}");
            assert_eq!(call.report["ids"]["uid"], world.jailed(), "{what}");
            assert_eq!(owner(&world.work().join("made")), world.jailed(), "{what}");
            assert!(!call.out.contains(&format!("HOME={}\n", world.home().display())), "{what}");
            for name in NAMESPACES {
                let said = call.mechanism(name);
                assert!(said.starts_with("none: ") && said.contains(why), "{name}: {what}");
            }
            for (name, said) in [
                ("seccomp", "full"),
                ("no-new-privileges", "full"),
                ("deny", "full (nothing to cover)"),
                ("protect", "partial: nothing to cover; names that do not exist yet are undone"),
                ("proc", "partial: names, command lines and network tables of processes outside are visible"),
                ("landlock", "partial: ABI "),
            ] {
                assert!(call.mechanism(name).starts_with(said), "{name}: {what}");
            }
            assert!(call.mechanism("landlock").contains("modes, owners and times"), "{what}");
            assert!(!call.mechanism("limits").contains("sampler"), "{what}");
            let bounding = if caller == Caller::User { "partial: none, but an ordinary user" } else { "full (none" };
            assert!(call.mechanism("capabilities").starts_with(bounding), "{what}");
            let home = call.out.lines().find_map(|l| l.strip_prefix("HOME=")).unwrap();
            assert!(!std::path::Path::new(home).exists(), "{home} is left: {what}");
            world.assert_clean(&call, shape);
        }
    }
}

#[test]
fn a_workspace_of_roots_is_refused_where_ids_cannot_be_mapped() {
    for caller in callers().into_iter().filter(|c| *c == Caller::Root) {
        let world = World::new("root", caller);
        world.policy(LANDLOCK);
        for (shape, why) in REFUSING {
            let call = assert_refused(&world, shape, why);
            assert!(call.reason().contains("the workspace belongs to root"), "{call:?}");
            assert!(call.err.contains("chown -R USER"), "{call:?}");
        }
        // Root of a user namespace may not map ids on a mount of the host's.
        assert_refused(&world, "masked-proc", "map the ids of");
    }
}

#[test]
fn below_a_masked_proc_the_jail_says_that_its_proc_is_partial() {
    for caller in callers().into_iter().filter(|c| *c != Caller::Root) {
        let world = World::new("masked", caller);
        for tier in ["tier = \"full\"\n", LANDLOCK] {
            world.policy(tier);
            control(&world, "masked-proc");
            let call = world.call("masked-proc", LINE);
            let what = format!("{caller:?}: {call:?}");
            assert_eq!((call.code, call.tier()), (0, "full"), "{what}");
            assert!(call.out.starts_with(&format!("{}\n", world.jailed())) && !call.out.contains("canary"), "{what}");
            assert!(call.mechanism("proc").starts_with("partial: the host's /proc carries masks"), "{what}");
            assert!(!call.mechanism("limits").contains("sampler stand"), "{what}");
            for name in NAMESPACES {
                assert_eq!(call.mechanism(name), "full", "{name}: {what}");
            }
            world.assert_clean(&call, "masked-proc");
        }
    }
}

#[test]
fn without_landlock_nothing_runs_on_any_shape() {
    for caller in callers().into_iter().filter(|c| *c != Caller::Root) {
        let world = World::new("bare", caller);
        for tier in ["tier = \"full\"\n", LANDLOCK, "tier = \"landlock\"\naccept = [\"deny\"]\n"] {
            world.policy(tier);
            for shape in ["granted", "masked-proc"] {
                assert_refused(&world, &format!("{shape},no-landlock"), "landlock is not enforced by this kernel");
            }
            for (shape, why) in REFUSING {
                let call = assert_refused(&world, &format!("{shape},no-landlock"), why);
                let is_landlock = call.reason().contains("needs Landlock ABI 6, this kernel has 0");
                assert_eq!(is_landlock, tier.starts_with(LANDLOCK), "{call:?}");
            }
        }
    }
}

#[test]
fn what_cannot_be_denied_or_protected_is_refused_unless_the_policy_accepts_it() {
    for caller in callers().into_iter().filter(|c| *c != Caller::Root) {
        let world = World::new("deny", caller);
        let rules = [("deny", ".env", "cannot deny"), ("protect", ".envrc", "protect")];
        for (mechanism, name, word) in rules {
            std::fs::write(world.work().join(name), "token\n").unwrap();
            let rule = if mechanism == "deny" { "[agent.main.files]\ndeny = [\".env\"]\n" } else { "" };
            world.policy(&format!("{LANDLOCK}{rule}"));
            let call = world.call("clone-refused", "cat .env; touch made");
            let what = format!("{caller:?}, {mechanism}: {call:?}");
            assert_eq!((call.code, call.tier(), call.out.as_str()), (125, "none", ""), "{what}");
            assert!(call.reason().contains(word) && call.reason().contains(name), "{what}");
            assert!(call.err.contains("hint: set accept = [\"deny\"] for agent \"main\""), "{what}");
            assert!(!world.work().join("made").exists(), "{what}");
            // In the tier full the same policy holds.
            let call = world.call("granted", &format!("cat {name}; echo x >> {name}"));
            assert_eq!(
                (call.tier(), call.report[mechanism][0]["how"].as_str()),
                ("full", Some("prevented")),
                "{call:?}"
            );
            assert_eq!(std::fs::read_to_string(world.work().join(name)).unwrap(), "token\n", "{call:?}");
            world.policy(&format!("{LANDLOCK}accept = [\"deny\"]\n{rule}"));
            let call = world.call("clone-refused", &format!("cat {name}"));
            let what = format!("{caller:?}, {mechanism}: {call:?}");
            assert_eq!((call.code, call.tier(), call.out.as_str()), (0, "landlock", "token\n"), "{what}");
            assert!(call.mechanism(mechanism).starts_with("none: "), "{what}");
            assert_eq!(call.report[mechanism][0]["how"], "none", "{what}");
            std::fs::remove_file(world.work().join(name)).unwrap();
        }
    }
}

#[test]
fn work_goes_on_without_namespaces() {
    let line = "set -e; git init -q .; git config user.email a@b; git config user.name a; echo hi > a; git add a; \
                git commit -qm one; git checkout -q -b two; git log --format=%s; \
                python3 -c 'import asyncio, tempfile; asyncio.run(asyncio.sleep(0)); tempfile.mkdtemp(); print(\"py\")'; \
                printf 'int main(void){return 0;}' > m.c; gcc m.c -o m; ./m; echo built; \
                mkdir d; mv a d/b; ln d/b c; chmod 755 c; touch -d yesterday c; tar cf t.tar d; tar xf t.tar; mktemp -d; \
                sleep 0.1 & wait; echo done";
    for caller in callers().into_iter().filter(|c| *c != Caller::Root) {
        let world = World::new("work", caller);
        world.policy("tier = \"landlock\"\naccept = [\"deny\"]\n");
        let call = world.call("clone-refused", line);
        let what = format!("{caller:?}: {call:?}");
        assert_eq!((call.code, call.tier()), (0, "landlock"), "{what}");
        for word in ["one\n", "py\n", "built\n", "done\n"] {
            assert!(call.out.contains(word), "{word}: {what}");
        }
    }
}

/// Which kinds of socket can be made, and whether the host's loopback answers on a port.
const SOCKETS: &str = r#"python3 - "$PORT" <<'END'
import socket, sys
kinds = {
    "tcp4": (socket.AF_INET, socket.SOCK_STREAM, 0),
    "udp4": (socket.AF_INET, socket.SOCK_DGRAM, 0),
    "tcp6": (socket.AF_INET6, socket.SOCK_STREAM, 0),
    "udp6": (socket.AF_INET6, socket.SOCK_DGRAM, 0),
    "ping": (socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP),
    "raw": (socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
    "mptcp": (socket.AF_INET, socket.SOCK_STREAM, 262),
    "unix": (socket.AF_UNIX, socket.SOCK_STREAM, 0),
    "netlink": (socket.AF_NETLINK, socket.SOCK_RAW, 0),
}
made = []
for name, kind in kinds.items():
    try:
        socket.socket(*kind).close()
        made.append(name)
    except OSError:
        pass
print("made", *made)
try:
    print("said", socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5).recv(9).decode())
except OSError as error:
    print("said nothing", error.strerror)
print("servers", open("/etc/resolv.conf").read().encode().hex())
END"#;

#[test]
fn without_namespaces_the_hosts_network_is_open_only_where_the_policy_accepts_it() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            drop(std::io::Write::write_all(&mut stream, b"from host"));
        }
    });
    let line = SOCKETS.replace("$PORT", &port.to_string());
    let servers: String = std::fs::read("/etc/resolv.conf").unwrap().iter().map(|b| format!("{b:02x}")).collect();
    let way_out = "[agent.main.egress]\nallow = [\"a.example\"]\n";
    for caller in callers().into_iter().filter(|c| *c != Caller::Root) {
        let world = World::new("unconfined", caller);
        let call = |accept: &str, shape: &str| {
            world.policy(&format!("tier = \"landlock\"\n{accept}{way_out}"));
            world.call(shape, &line)
        };
        let refused = call("", "clone-refused");
        assert_eq!((refused.tier(), refused.out.lines().next()), ("landlock", Some("made")), "{refused:?}");
        assert!(refused.out.contains("said nothing") && !refused.out.contains("servers"), "{refused:?}");
        let egress = refused.mechanism("egress");
        assert!(
            egress.starts_with("none: INET refused") && egress.contains("accept = [\"unconfined\"]"),
            "{refused:?}"
        );
        assert!(refused.report["notes"].to_string().contains("there is no way out in the tier"), "{refused:?}");

        let open = call("accept = [\"unconfined\"]\n", "clone-refused");
        let wanted = format!("made tcp4 udp4 tcp6 udp6\nsaid from host\nservers {servers}\n");
        assert_eq!((open.code, open.tier(), open.out.as_str()), (0, "landlock", wanted.as_str()), "{open:?}");
        for name in ["network", "egress"] {
            assert_eq!(open.mechanism(name), "none: unconfined, as the policy accepts", "{open:?}");
        }
        assert!(
            open.mechanism("pid").starts_with("none: ") && !open.report["notes"].to_string().contains("way out"),
            "{open:?}"
        );
        world.assert_clean(&open, "unconfined");

        world.policy("tier = \"landlock\"\naccept = [\"unconfined\"]\n");
        let full = world.call("granted", &line);
        assert_eq!((full.tier(), full.mechanism("network")), ("full", "full"), "{full:?}");
        assert!(full.out.contains("said nothing Connection refused"), "in tier full it opens nothing: {full:?}");
    }
}
