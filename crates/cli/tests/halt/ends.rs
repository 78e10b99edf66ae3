//! Whatever runs in a jail ends, however it clings to life.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::common::{Who, World, everybody, is_root, programs};
use crate::ground::{
    assert_refused, assert_runs, exec, execs, halt, halts, is_alone, journal, kill, mark, opened, processes, resume,
    service, start, tunnel, until, with_service, world,
};

/// As many commands beside those that are told apart.
const PLAIN: usize = 12;

/// Starts one of everything. Answers the clients, and how many processes with the mark there will be at the least.
fn start_all(world: &World, mark: &str, port: u16) -> (Vec<Child>, usize) {
    let mut all = Vec::new();
    for _ in 0..PLAIN {
        all.push(exec(world, &format!("setsid -f sleep {mark}; sleep {mark}")));
    }
    all.push(exec(world, &format!("trap '' TERM INT HUP QUIT; sleep {mark} & wait; sleep {mark}")));
    // A daemon after the book: its parents are gone, its session is its own, nothing of the call is open in it.
    all.push(exec(world, &format!("(setsid sh -c '(sleep {mark} &) &' </dev/null >/dev/null 2>&1 &); sleep {mark}")));
    all.push(exec(world, &format!("sleep {mark} & sleep 0.2; kill -STOP $!; kill -STOP $$; sleep {mark}")));
    all.push(exec(world, &format!("sleep {mark} & {}", tunnel(port))));
    let with = programs().join("mantlet-run");
    let asks = format!("sleep {mark} & mantlet-run exec -c 'setsid -f sleep {mark}; sleep {mark}'");
    all.push(start(world.command("mantlet").args(["run", "main", "--", "/bin/sh", "-c", &asks])));
    let mut server = world.command("mantlet");
    server.args(["mcp", "--agent", "mcp-server", "--with"]).arg(with).args(["--", "/bin/sh", "-c"]);
    all.push(start(server.arg(format!("sleep {mark}; true"))));
    let marked = 2 * PLAIN + 1 + 2 + 1 + 1 + 3 + 1;
    // It has no command, and so no mark.
    all.push(start(world.command("mantlet").args(["exec", "--agent", "main", "--files", "write"])));
    (all, marked)
}

/// A command in the tier `landlock`, with a grandchild that has left it: without a pid namespace nothing dies with init.
fn start_landlock(world: &World, mark: &str) -> Option<Child> {
    if is_root() && world.who == Who::Me {
        // Root's workspace has a jail in the tier `full` only.
        return None;
    }
    let shape = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/shape");
    let mut command = Command::new(shape);
    command.arg("clone-refused");
    if world.who == Who::User {
        command.args(["--uid", &crate::common::USER.to_string()]);
    }
    command.arg("--").arg(programs().join("mantlet")).args(["exec", "--agent", "main", "-c"]);
    command.arg(format!("setsid -f sleep {mark}; sleep {mark}"));
    command.env_clear().env("HOME", world.home()).env("PATH", "/usr/bin:/bin").current_dir(world.work());
    Some(start(&mut command))
}

#[test]
fn everything_that_runs_ends() {
    if !is_alone("ends::everything_that_runs_ends") {
        return;
    }
    for who in everybody() {
        let world = world("ends", who);
        let (port, connections) = service();
        world.dir("home/work");
        let server = "[agent.mcp-server]\nrole = \"builder\"\nworkspace = \"~/work\"\n";
        world.builder(&format!("tier = \"landlock\"\naccept = [\"deny\"]\n{}{server}", with_service(port)));
        let mark = mark(&world);
        let (mut clients, mut marked) = start_all(&world, &mark, port);
        if let Some(client) = start_landlock(&world, &mark) {
            clients.push(client);
            marked += 2;
        }
        let stream = opened(&connections);
        let jails = clients.len() + 1;
        until("everything runs", || {
            let gone = clients.iter_mut().position(|client| client.try_wait().unwrap().is_some());
            if let Some(gone) = gone {
                let output = clients.swap_remove(gone).wait_with_output().unwrap();
                panic!("{who:?}: client {gone} ended: {}", crate::common::err(&output));
            }
            processes(&mark).len() >= marked && journal(&world).len() == jails
        });
        stop_some(&world);
        // The control: nobody has ended any of it.
        std::thread::sleep(Duration::from_millis(200));
        assert!(processes(&mark).len() >= marked && journal(&world).len() == jails, "{who:?}");

        let began = Instant::now();
        let told = halt(&world, &["--reason", "a test \u{1b}[2J with AKIAIOSFODNN7EXAMPLE"]);
        let took = began.elapsed();
        assert_eq!(processes(&mark), [0; 0], "{who:?}: what is left when halt says that it is done");
        assert_eq!(told["ended"], jails, "{who:?}: {told}");
        assert!(
            told["left"].as_array().unwrap().is_empty() && told["trouble"].as_array().unwrap().is_empty(),
            "{told}"
        );
        assert!(took < Duration::from_secs(10), "{who:?}: {took:?}");
        println!("{who:?}: {jails} jails ended in {took:?}");
        assert!(crate::ground::cut(stream) < Duration::from_secs(1), "{who:?}");
        for client in clients {
            end_of(client);
        }
        until("every call is struck out", || journal(&world).is_empty());
        let ended =
            execs(&world).into_iter().filter(|e| e.reason.as_ref().is_some_and(|r| r.contains("halted by the owner")));
        assert_eq!(ended.filter(|entry| entry.exit == 137).count(), jails, "{who:?}: each is told of");
        let halts = halts(&world);
        let reason = halts[0].reason.as_ref().unwrap();
        assert!(halts.len() == 1 && halts[0].action == "halt" && halts[0].by == "owner", "{halts:?}");
        assert!(halts[0].ended == jails as u64 && halts[0].left == 0, "{halts:?}");
        assert!(!reason.contains('\u{1b}') && !reason.contains("IOSFODNN7"), "{reason}");
        refused_until_resumed(&world);
    }
}

/// Stops a monitor, another call's init, and a client: by the owner, since no jail could.
fn stop_some(world: &World) {
    let calls = journal(world);
    kill(calls[0].1, "STOP");
    kill(calls[1].2, "STOP");
    kill(calls[2].1, "STOP");
    kill(calls[2].2, "STOP");
}

/// Whoever waits for a client is not to wait for ever.
fn end_of(mut client: Child) {
    // The client of the file bridge ends with its input as well.
    until("a client ends", || client.try_wait().unwrap().is_some());
}

fn refused_until_resumed(world: &World) {
    let words: &[&[&str]] = &[
        &["exec", "--agent", "main", "-c", "touch started"],
        &["exec", "--agent", "main", "--files", "read"],
        &["run", "main", "--", "/bin/sh", "-c", "touch started"],
        &["mcp", "--agent", "mcp-server", "--", "/bin/sh", "-c", "touch started"],
        &["egress", "learn", "--agent", "main", "--", "/bin/sh", "-c", "touch started"],
    ];
    for words in words {
        assert_refused(&world.mantlet(words), &format!("{words:?}"));
    }
    assert_refused(
        &world.command("mantlet-run").args(["exec", "--agent", "main", "-c", "touch started"]).output().unwrap(),
        "mantlet-run",
    );
    assert!(!world.work().join("started").exists());
    let doctor = world.mantlet(&["doctor"]);
    let said = crate::common::out(&doctor);
    assert!(said.contains("halted by the owner since") && said.contains("mantlet resume"), "{said}");
    resume(world);
    assert_runs(world);
    assert!(!crate::common::out(&world.mantlet(&["doctor"])).contains("halted"));
    let log = crate::common::out(&world.mantlet(&["log", "--kind", "halt"]));
    assert!(log.lines().count() == 2 && log.contains("resume"), "{log}");
}
