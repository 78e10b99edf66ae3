//! `mantlet egress test` as a person runs it: what it says, and its exit codes.

#![allow(clippy::unwrap_used)] // A test's helper functions may fail the test.

mod common;

use std::process::{Command, Output};

use common::{Who, World, code, err, out, programs};
use serde_json::Value;

const POLICY: &str = r#"
[agent.main.egress]
allow = ["github.com", "*.npmjs.org", "api.example:80", "db.example:5432", "two.example", "lan.example"]
local = [{ name = "ollama.host", to = "127.0.0.1:11434" }]
http = [{ host = "api.example:80", methods = ["GET", "POST"], paths = ["/v1/*"] }]
budget = [{ host = "github.com", upload = "20MiB", requests = 100 }]
"#;

fn world(name: &str, more: &str) -> World {
    let world = World::new(name, Who::Me);
    world.builder(&format!("{more}{POLICY}"));
    world
}

fn test(world: &World, args: &[&str]) -> Output {
    world.mantlet(&[&["egress", "test", "--no-resolve"], args].concat())
}

fn json(world: &World, args: &[&str]) -> Value {
    serde_json::from_slice(&test(world, &[&["--json"], args].concat()).stdout).unwrap()
}

#[test]
fn what_is_allowed_is_shown_with_its_rule_and_what_is_judged() {
    let world = world("egress-allowed", "");
    let said = test(&world, &["GitHub.com."]);
    assert_eq!(code(&said), 0, "{}", err(&said));
    for part in [
        "github.com:443: would be allowed for agent main\n",
        "rule      github.com:443, line 7\n",
        "what is inside is not seen (tls)",
        "github.com together, in a run: 20971520 bytes outwards, 100 requests or connections (line 10)",
    ] {
        assert!(out(&said).contains(part), "{part}: {}", out(&said));
    }
    let said = json(&world, &["db.example:5432"]);
    assert_eq!(
        (&said["allowed"], &said["protocol"], &said["rule"]),
        (&true.into(), &"tcp".into(), &"db.example:5432, line 7".into())
    );
    assert_eq!(json(&world, &["registry.npmjs.org"])["rule"], "*.npmjs.org:443, line 7");
    assert_eq!(json(&world, &["ollama.host:11434"])["local"], true);
}

#[test]
fn what_is_refused_names_the_call_that_works() {
    let world = world("egress-refused", "");
    for destination in ["evil.example", "github.com:22", "https://B\u{fc}cher.example/x"] {
        let said = test(&world, &[destination]);
        assert_eq!(code(&said), 1, "{}", out(&said));
        let answer = json(&world, &[destination]);
        let call = answer["call"].as_str().unwrap();
        assert!(out(&said).contains(call), "{}", out(&said));
        let allowed = world.sh(&format!("{call} --yes"));
        assert_eq!(code(&allowed), 0, "{call}: {}", err(&allowed));
        let said = test(&world, &[destination]);
        assert_eq!(code(&said), 0, "after {call}: {}", out(&said));
    }
}

#[test]
fn what_no_rule_can_name_has_no_call() {
    let world = world("egress-odd", "");
    for destination in [
        "127.0.0.1",
        "127.1",
        "[::1]:80",
        "::1",
        "http://169.254.169.254/x",
        "a%2eb.example",
        "a..b",
        "localhost:80",
        "x.localhost",
    ] {
        let said = test(&world, &[destination]);
        assert_eq!(code(&said), 1, "{destination}: {}", out(&said));
        let answer = json(&world, &[destination]);
        assert_eq!((&answer["allowed"], &answer["call"]), (&false.into(), &Value::Null), "{destination}");
        assert!(!answer["reason"].as_str().unwrap().is_empty() && !answer["hint"].as_str().unwrap().is_empty());
    }
    let said = test(&world, &["a\u{1b}[2J.example"]);
    assert!(code(&said) == 1 && !out(&said).contains('\u{1b}'), "{}", out(&said));
}

#[test]
fn requests_are_judged_where_they_can_be_seen() {
    let world = world("egress-http", "");
    let allowed = |args: &[&str]| code(&test(&world, args));
    assert_eq!(allowed(&["http://api.example/v1/x?q"]), 0);
    assert_eq!(allowed(&["http://api.example/v1/x", "--method", "POST"]), 0);
    assert_eq!(allowed(&["http://api.example/v1/x", "--method", "DELETE"]), 1);
    assert_eq!(allowed(&["http://api.example/v2"]), 1);
    assert_eq!(allowed(&["http://api.example/v1/%2e%2e/v2"]), 1);
    assert_eq!(allowed(&["api.example:80"]), 0, "nothing was asked of it");
    assert_eq!(allowed(&["http://github.com:443/"]), 1, "no TLS on a port for TLS");
    assert_eq!(allowed(&["https://api.example:80/"]), 1, "TLS on a port for HTTP");
    let said = test(&world, &["http://api.example/v2"]);
    assert!(out(&said).contains("stands in line 9 of the policy"), "{}", out(&said));
    assert_eq!(json(&world, &["http://api.example/v1/x"])["requests"][0]["paths"][0], "/v1/*");
}

#[test]
fn no_answer_is_neither_yes_nor_no() {
    let world = world("egress-none", "");
    for args in [&["gopher://a.example"][..], &["https://u:p@a.example"], &["a.example", "--agent", "other"]] {
        assert_eq!(code(&test(&world, args)), 125, "{args:?}");
    }
    world.builder("nonsense = 1");
    assert_eq!(code(&test(&world, &["github.com"])), 125);
}

#[test]
fn an_agent_without_a_way_out_is_told_the_call() {
    let world = World::new("egress-closed", Who::Me);
    let said = test(&world, &["github.com"]);
    assert_eq!(code(&said), 1);
    assert!(out(&said).contains("mantlet allow --workspace "), "{}", out(&said));
    let world = self::world("egress-landlock", "tier = \"landlock\"\n");
    assert!(out(&test(&world, &["github.com"])).contains("in tier landlock"));
}

/// In a mount namespace of its own, whose /etc/hosts answers.
#[test]
fn addresses_are_shown_with_what_would_become_of_them() {
    let world = world("egress-resolve", "");
    let hosts = world.file("hosts", "9.9.9.9 github.com two.example\n2620:fe::fe github.com\n10.0.0.1 two.example\n");
    let test = |destination: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--net", "--mount", "sh", "-ec"]);
        command.arg("mount --bind \"$1\" /etc/hosts; mount --bind /dev/null \"$(readlink -f /etc/resolv.conf)\"; shift; exec \"$@\"").arg("sh").arg(&hosts);
        command.arg(programs().join("mantlet")).args(["egress", "test", destination]);
        command.env_clear().env("HOME", world.home()).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").output().unwrap()
    };
    let said = test("github.com");
    assert_eq!(code(&said), 0, "{}{}", out(&said), err(&said));
    assert!(
        out(&said).contains("9.9.9.9:443 would be dialled")
            && out(&said).contains("[2620:fe::fe]:443 would be dialled"),
        "{}",
        out(&said)
    );
    let said = test("two.example");
    assert_eq!(code(&said), 1, "{}", out(&said));
    assert!(out(&said).contains("10.0.0.1:443 would not be dialled: private"), "{}", out(&said));
    assert!(out(&said).contains("9.9.9.9:443 would not be dialled: another address"), "{}", out(&said));
    let said = test("lan.example");
    assert_eq!(code(&said), 1);
    assert!(out(&said).contains("it does not resolve"), "{}", out(&said));
    assert_eq!(code(&test("ollama.host:11434")), 0);
}
