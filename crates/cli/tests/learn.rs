//! `mantlet egress learn`: what is proposed, what is not, and that nothing is opened on the way.

#![allow(clippy::unwrap_used)] // A test's helper functions may fail the test.

mod common;

use std::fs;
use std::process::Output;

use common::{Who, World, code, err, everybody, out};
use serde_json::Value;

/// Looks names up, and asks the explicit proxy for hosts with a port.
const ASK: &str = r#"
import socket, sys
for name in ["registry.one.org", "api.two.org", "x.localhost", "kq3v9z7x1c5b8n2m4l6j0h9g7f5d3s1a.p2o4i6u8y0t1r3e5w7q9z8x6c4v2b0n1.evil.org"]:
    try:
        socket.getaddrinfo(name, 443)
        print("resolved", name)
    except socket.gaierror:
        pass
for host in ["api.two.org:8443", "192.0.2.7:80", "4.3.2.1.in-addr.arpa:443"]:
    with socket.create_connection(("127.0.0.1", 3128), 5) as proxy:
        proxy.sendall(f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        print(proxy.recv(100).split(b"\r\n")[0].decode())
sys.exit(7)
"#;

fn learn(world: &World, more: &[&str]) -> Output {
    world.file("home/work/ask.py", ASK);
    world.mantlet(&[&["egress", "learn"], more, &["--", "python3", "ask.py"]].concat())
}

fn hosts(answer: &Value) -> Vec<(&str, bool)> {
    let each = answer["allow"].as_array().unwrap().iter();
    each.map(|one| (one["host"].as_str().unwrap(), one["port_assumed"].as_bool().unwrap())).collect()
}

#[test]
fn what_was_refused_becomes_exact_lines_and_calls() {
    for who in everybody() {
        let world = World::new("learn", who);
        let policy = world.builder("[agent.main.egress]\nallow = [\"known.example\"]\n");
        let before = fs::read_to_string(&policy).unwrap();
        let said = learn(&world, &["--json"]);
        assert_eq!(code(&said), 7, "{}{}", out(&said), err(&said));
        let text = out(&said);
        let (own, answer) = text.trim_end().rsplit_once('\n').unwrap();
        assert_eq!(own, ["HTTP/1.1 403 Forbidden"; 3].join("\n"), "it stays confined");
        let answer: Value = serde_json::from_str(answer).unwrap();
        assert_eq!(hosts(&answer), [("api.two.org:8443", false), ("registry.one.org:443", true)], "{answer}");
        let apart = answer["not_proposed"].to_string();
        for what in ["x.localhost", "192.0.2.7", "in-addr.arpa", "evil.org"] {
            assert!(apart.contains(what), "{what}: {apart}");
        }
        assert_eq!(answer["complete"], true);
        assert_eq!(fs::read_to_string(&policy).unwrap(), before, "nothing is widened");
        assert!(err(&said).contains("a refused look-up hides what comes after it"), "{}", err(&said));

        // The calls that it prints do what it says, and the next run asks for no more of it.
        for call in common::printed(&said).iter().filter(|call| call.contains("registry.one.org")) {
            assert_eq!(code(&world.sh(&format!("{call} --yes"))), 0, "{call}");
        }
        let said = learn(&world, &["--json"]);
        let text = out(&said);
        let answer: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(hosts(&answer), [("api.two.org:8443", false)], "{answer}");
    }
}

#[test]
fn the_lines_are_a_policy() {
    let world = World::new("learn-lines", Who::Me);
    world.builder("");
    let file = world.top.join("addition.toml");
    let said = learn(&world, &["--write", file.to_str().unwrap()]);
    assert_eq!(code(&said), 7, "an agent without any way out can learn one: {}", err(&said));
    let lines = fs::read_to_string(&file).unwrap();
    assert!(lines.contains("    \"registry.one.org:443\",  # looked up only: the port is assumed\n"), "{lines}");
    assert!(!lines.contains("two.org:443") && !lines.contains('*') && !lines.contains("192.0.2"), "{lines}");
    world.builder(&lines);
    assert_eq!(code(&world.mantlet(&["egress", "test", "--no-resolve", "api.two.org:8443"])), 0);
    let again = learn(&world, &["--write", file.to_str().unwrap()]);
    assert!(code(&again) == 125 && err(&again).contains("exists already"), "{}", err(&again));
}

#[test]
fn where_nothing_can_be_learned_it_says_so() {
    let world = World::new("learn-none", Who::Me);
    let said = world.mantlet(&["egress", "learn", "--", "true"]);
    assert!(code(&said) == 125 && err(&said).contains("hint: mantlet allow makes one"), "{}", err(&said));
    world.builder("");
    let said = world.mantlet(&["egress", "learn", "--", "sh", "-c", "exit 3"]);
    assert!(code(&said) == 3 && err(&said).contains("asked for no host"), "{}", err(&said));
}
