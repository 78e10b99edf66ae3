//! Who serves a jail's way out may be killed, and its policy may change, while the jail runs.

use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::jails::{Jail, Real};
use crate::world::agent::hex;
use crate::world::bypass::look_ups::query;
use crate::world::bypass::{GOOD, Inside as _};
use crate::world::ground::World;
use crate::world::internet::MARK;

pub(crate) fn run(world: &World, jails: &Real<'_>) {
    nothing(world, jails);
    killed_process(world, jails);
    killed_daemon(world, jails);
    unseen_daemon(jails);
    changed(world, jails);
    queries(jails);
}

fn address(jail: &Jail, name: &str) -> Option<IpAddr> {
    let asked = jail.agent().ask(&["udp", "127.0.0.1", "53", &hex(&query(name, 1)), "4000"]);
    let answer = asked.ok().filter(|answer| answer.len() > 7 && answer[7] == 1)?;
    Some(IpAddr::from(<[u8; 4]>::try_from(&answer[answer.len() - 4..]).unwrap()))
}

/// Fetches a page by its name, as a client does that tries once.
fn fetches(jail: &Jail, name: &str) -> bool {
    let request = GOOD.replace("allowed.test", name);
    let answer = address(jail, name).map(|ip| jail.agent().talk(SocketAddr::new(ip, 80), request.as_bytes()));
    answer.is_some_and(|answer| String::from_utf8_lossy(&answer).contains(MARK))
}

fn soon(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < Duration::from_secs(20), "{what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Kills the processes of this world that were started with this word. Answers how many there were.
fn kill(word: &str) -> usize {
    let found = Command::new("pgrep").args(["-f", "--", &format!("^[^ ]*mantlet {word}")]).output().unwrap();
    let pids = String::from_utf8(found.stdout).unwrap();
    for pid in pids.lines() {
        assert!(Command::new("kill").args(["-KILL", pid]).status().unwrap().success());
    }
    pids.lines().count()
}

/// No section in the policy: no name server, no route, and nobody who would serve one.
fn nothing(world: &World, jails: &Real<'_>) {
    let jail = jails.begin("builder", "");
    world.packets.take();
    assert_eq!(address(&jail, "allowed.test"), None);
    for to in ["9.9.9.9:80", "198.18.1.1:80", "127.0.0.1:3128"] {
        let answer = jail.agent().talk(to.parse().unwrap(), GOOD.as_bytes());
        assert!(answer.starts_with(b"("), "{to}: {}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(kill("--way-out"), 0);
    let seen = world.packets.take();
    assert!(seen.names.is_empty() && seen.connections.is_empty() && seen.others.is_empty(), "{seen:?}");
    assert!(jail.end().is_empty());
}

/// The process that serves one jail is killed in the midst of a connection: that one fails, nothing goes out any other
/// way, and the next is served by a new process.
fn killed_process(world: &World, jails: &Real<'_>) {
    let jail = jails.begin("builder", EGRESS);
    assert!(fetches(&jail, "allowed.test"));
    in_flight(world, &jail, || assert_eq!(kill("--way-out"), 1));
    soon("a new process serves", || fetches(&jail, "allowed.test"));
    jail.end();
}

/// The same for the daemon: the jail has nobody until there is one again, and then goes on.
fn killed_daemon(world: &World, jails: &Real<'_>) {
    let (jail, daemon) = jails.begin_with_daemon(EGRESS);
    assert!(fetches(&jail, "allowed.test"));
    assert_eq!(kill("--way-out"), 0, "the daemon serves, and no process of the jail's own");
    in_flight(world, &jail, || daemon.kill());
    world.packets.take();
    assert!(!fetches(&jail, "allowed.test"), "without a daemon nobody serves");
    let seen = world.packets.take();
    assert!(seen.names.is_empty() && seen.connections.is_empty() && seen.others.is_empty(), "{seen:?}");
    let daemon = jail.daemon();
    soon("the new daemon serves", || fetches(&jail, "allowed.test"));
    // What it starts to serve dies alone: it is started again.
    assert_eq!(kill("--ways-out"), 1);
    soon("the serving process was started again", || fetches(&jail, "allowed.test"));
    jail.end();
    drop(daemon);
}

const EGRESS: &str = "allow = [\"allowed.test:80\", \"allowed.test:5432\"]";

/// A connection that is open when `fail` happens ends, with what had come until then.
fn in_flight(world: &World, jail: &Jail, fail: impl FnOnce()) {
    let raw = SocketAddr::new(address(jail, "allowed.test").unwrap(), 5432);
    let open = jail.agent().begin(&["talk", &raw.ip().to_string(), "5432", &hex(b"hello\n"), "20000"]);
    thread::sleep(Duration::from_millis(400));
    world.packets.take();
    let begin = Instant::now();
    fail();
    let answer = open.recv_timeout(Duration::from_secs(10)).expect("it ends").unwrap();
    let text = String::from_utf8_lossy(&answer);
    assert!(text.contains("ready") && text.contains("hello") && !text.contains("bye"), "{text}");
    assert!(begin.elapsed() < Duration::from_secs(5));
}

/// The attack: a jail that reaches the daemon's socket has whatever it likes dialled in the owner's name.
fn unseen_daemon(jails: &Real<'_>) {
    let (jail, daemon) = jails.begin_with_daemon(EGRESS);
    let socket = jail.state().join("daemon.sock");
    let connect = format!(
        "import socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.connect({socket:?}); print('connected')"
    );
    let tried = |command: &mut Command| String::from_utf8(command.output().unwrap().stdout).unwrap();
    let outside = tried(Command::new("python3").args(["-c", &connect]));
    assert_eq!(outside, "connected\n", "the control: the socket is there");
    let inside = jail.agent().run(&["/usr/bin/python3", "-c", &connect]);
    let inside = inside.map_or_else(|why| why, |said| String::from_utf8_lossy(&said).into_owned());
    assert!(!inside.contains("connected"), "{inside}");
    jail.end();
    drop(daemon);
}

/// The policy changes while the jail runs: what is valid counts at once, what is not changes nothing.
fn changed(world: &World, jails: &Real<'_>) {
    let jail = jails.begin("builder", EGRESS);
    let raw = SocketAddr::new(address(&jail, "allowed.test").unwrap(), 5432);
    assert!(fetches(&jail, "allowed.test") && !fetches(&jail, "second.test"));
    let open = jail.agent().begin(&["talk", &raw.ip().to_string(), "5432", &hex(b"hello\n"), "20000"]);
    // A port that has no listener yet comes with it.
    jail.rewrite("\"allowed.test:5432\"", "\"second.test:80\", \"second.test:443\"");
    soon("the new rule counts", || fetches(&jail, "second.test"));
    let answer = open.recv_timeout(Duration::from_secs(10)).expect("what is no longer allowed is cut").unwrap();
    assert!(!String::from_utf8_lossy(&answer).contains("bye"));
    let secure = SocketAddr::new(address(&jail, "second.test").unwrap(), 443);
    soon("the new port is listened on", || !jail.agent().talk(secure, b"x").starts_with(b"("));
    jail.rewrite("\"second.test:80\"", "\"second.test:80\", \"evil.test:80\", nonsense");
    let told =
        |outcome: &str| jail.entries().iter().any(|entry| entry["way"] == "policy" && entry["outcome"] == outcome);
    assert!(told("passed"));
    soon("a policy that is not valid is told", || told("refused"));
    world.packets.take();
    assert!(fetches(&jail, "second.test") && !fetches(&jail, "evil.test"), "the one before it stays");
    jail.end();
}

/// The ledger has names, and nothing of what was asked of them.
fn queries(jails: &Real<'_>) {
    let jail = jails.begin("builder", EGRESS);
    let web = SocketAddr::new(address(&jail, "allowed.test").unwrap(), 80);
    let request = GOOD.replace("GET / ", "GET /secret-path?key=secret-value ");
    jail.agent().talk(web, request.as_bytes());
    let entries = jail.end();
    let text = serde_json::to_string(&entries).unwrap();
    let passed = entries.iter().find(|entry| entry["outcome"] == "passed").expect("an entry");
    assert_eq!((passed["host"].as_str(), passed["way"].as_str()), (Some("allowed.test:80"), Some("direct")));
    assert!(passed["up"].as_u64() > Some(20) && passed["down"].as_u64() > Some(20) && passed["rule"].is_string());
    assert!(!text.contains("secret"), "{text}");
}
