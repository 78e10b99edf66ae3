//! `mantlet egress proxy` on the host's loopback: who may use it, what it lets through, what it writes down.

#![allow(clippy::unwrap_used)] // A test's helper functions may fail the test.

mod common;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::{Who, World, code, err, everybody, out};
use mantlet_ledger::{Egress, Entry, Kind};
use rustix::process::{Pid, Signal, kill_process};

/// A proxy at work, and the word for its login.
struct Proxy<'w> {
    world: &'w World,
    child: Child,
    port: u16,
    login: String,
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn listen(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

impl<'w> Proxy<'w> {
    fn start(world: &'w World) -> Proxy<'w> {
        Proxy::start_at(world, free_port())
    }

    fn start_at(world: &'w World, port: u16) -> Proxy<'w> {
        let login = login(&url(world, port, &[]));
        let mut command = world.command("mantlet");
        command.args(["egress", "proxy", "--listen", &listen(port)]).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut text = String::new();
        for _ in 0..3 {
            said.read_line(&mut text).unwrap();
        }
        assert!(text.contains("cooperative: a program that does not use it is not confined"), "{text}");
        thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Proxy { world, child, port, login }
    }

    /// Sends a request with these lines and returns the answer.
    fn ask(&self, lines: &str) -> String {
        let mut stream = TcpStream::connect(listen(self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(format!("{}\r\n\r\n", lines.replace('\n', "\r\n")).as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        // What ends by a reset was answered before.
        drop(stream.read_to_end(&mut answer));
        String::from_utf8(answer).unwrap()
    }

    fn connect(&self, host: &str, more: &str) -> String {
        self.ask(&format!("CONNECT {host} HTTP/1.1\nHost: {host}{more}"))
    }

    fn known(&self, host: &str) -> String {
        self.connect(host, &format!("\nProxy-Authorization: {}", self.login))
    }

    /// Ends it as a service manager would.
    fn end(mut self) -> Vec<(String, Egress)> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
        entries(self.world)
    }
}

impl Drop for Proxy<'_> {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn print_url(world: &World, port: u16, more: &[&str]) -> Output {
    world.mantlet(&[&["egress", "proxy", "--print-url", "--listen", &listen(port)], more].concat())
}

fn url(world: &World, port: u16, more: &[&str]) -> String {
    let output = print_url(world, port, more);
    assert_eq!(code(&output), 0, "{}", err(&output));
    out(&output).trim_end().to_owned()
}

/// A `Proxy-Authorization` from a URL, by a tool that has nothing to do with ours.
fn login(url: &str) -> String {
    let word = url.strip_prefix("http://").unwrap().split('@').next().unwrap();
    let mut child =
        std::process::Command::new("base64").arg("-w0").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(word.as_bytes()).unwrap();
    format!("Basic {}", String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap())
}

fn entries(world: &World) -> Vec<(String, Egress)> {
    let output = world.mantlet(&["log", "--json", "-n", "100000", "--kind", "egress"]);
    let text = out(&output);
    let each = text.lines().map(|line| serde_json::from_str::<Entry>(line).unwrap());
    let each = each.map(|entry| match entry.kind {
        Kind::Egress(egress) => (entry.policy, egress),
        _ => panic!("not asked for"),
    });
    each.collect()
}

/// A service of the host that answers what it is sent, once for each connection.
fn service() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut first = [0; 1024];
            let count = stream.read(&mut first).unwrap_or(0);
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 7\r\n\r\nreached"));
            drop(stream.write_all(&first[..count]));
        }
    });
    port
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(15), "{what}");
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn it_serves_whoever_has_the_login_and_nobody_else() {
    for who in everybody() {
        let world = World::new("proxy-login", who);
        let service = service();
        let local = format!("[agent.main.egress]\nlocal = [{{ name = \"svc.host\", to = \"127.0.0.1:{service}\" }}]");
        world.builder(&format!("{local}\n[agent.other]\nrole = \"builder\"\nworkspace = \"~/other\"\n"));
        world.dir("home/other");
        let mut command = world.command("mantlet");
        let port = free_port();
        let words = ["egress", "proxy", "--agent", "main", "--listen", &listen(port)];
        let child = command.args(words).stderr(Stdio::null()).spawn().unwrap();
        let right = login(&url(&world, port, &["--agent", "main"]));
        let proxy = Proxy { world: &world, child, port, login: right };
        until("it listens", || TcpStream::connect(listen(port)).is_ok());
        let host = format!("svc.host:{service}");

        // The twin.
        let mut stream = TcpStream::connect(listen(port)).unwrap();
        let ask =
            format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\nProxy-Authorization: {}\r\n\r\nhello", proxy.login);
        stream.write_all(ask.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("reachedhello"), "{answer}");

        let others = login(&url(&world, port, &["--agent", "other"]));
        let swapped = login(&url(&world, port, &["--agent", "main"]).replace("main:", "other:"));
        let wrong = format!("{}=", &proxy.login[..proxy.login.len() - 5]);
        for (what, header) in [
            ("nothing", String::new()),
            ("a wrong password", wrong),
            ("another agent's", others),
            ("another agent's name", swapped),
        ] {
            let header = if header.is_empty() { header } else { format!("\nProxy-Authorization: {header}") };
            let answer = proxy.connect(&host, &header);
            assert!(
                answer.starts_with("HTTP/1.1 407 ") && answer.contains("Proxy-Authenticate: Basic"),
                "{what}: {answer}"
            );
            assert!(!answer.contains("reached"), "{what}");
        }
        let answer = proxy.known("evil.example:443");
        assert!(
            answer.starts_with("HTTP/1.1 403 ")
                && answer.contains("mantlet allow --agent main --host evil.example:443"),
            "{answer}"
        );

        let entries = proxy.end();
        let found = |outcome: &str, host: &str| {
            entries
                .iter()
                .find(|(_, entry)| entry.outcome == outcome && entry.host == host)
                .map(|(_, entry)| entry.clone())
        };
        let passed = found("passed", &host).unwrap();
        assert!(passed.call.is_none() && passed.way == "connect" && passed.down > 7, "{passed:?}");
        assert_eq!(passed.address, Some(listen(service)));
        assert!(passed.rule.unwrap().starts_with("local svc.host"));
        assert!(found("refused", "evil.example:443").is_some() && found("refused", "a request").is_some());
    }
}

#[test]
fn the_url_stays_until_another_password_is_wanted() {
    let world = World::new("proxy-url", Who::Me);
    world.builder("[agent.main.egress]\nallow = [\"a.example\"]\n");
    let port = free_port();
    let first = url(&world, port, &[]);
    assert_eq!(first.len(), "http://main:@".len() + 64 + listen(port).len(), "{first}");
    let proxy = Proxy::start_at(&world, port);
    let old = proxy.login.clone();
    assert_eq!(url(&world, port, &[]), first, "while it runs");
    drop(proxy);
    assert_eq!(url(&world, port, &[]), first, "after it ran");
    assert_ne!(url(&world, port, &["--new-password"]), first);
    let proxy = Proxy::start_at(&world, port);
    let answer = proxy.connect("a.example:443", &format!("\nProxy-Authorization: {old}"));
    assert!(answer.starts_with("HTTP/1.1 407 "), "{answer}");
    assert!(!proxy.known("b.example:443").starts_with("HTTP/1.1 407 "));
    let file = world.state().join("proxy/main");
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn no_rule_leads_back_to_it() {
    let world = World::new("proxy-own", Who::Me);
    let port = free_port();
    world.builder(&format!("[agent.main.egress]\nlocal = [{{ name = \"me.host\", to = \"127.0.0.1:{port}\" }}]"));
    let proxy = Proxy::start_at(&world, port);
    let host = format!("me.host:{port}");
    let mut stream = TcpStream::connect(listen(port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let ask = format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\nProxy-Authorization: {}\r\n\r\n", proxy.login);
    stream.write_all(ask.as_bytes()).unwrap();
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    let entries = proxy.end();
    let told = entries.iter().any(|(_, entry)| entry.reason.as_ref().is_some_and(|why| why.contains("Mantlet itself")));
    assert!(told, "{entries:?} {}", String::from_utf8_lossy(&answer));
}

#[test]
fn a_policy_is_in_force_when_it_is_written_and_a_bad_one_is_not() {
    let world = World::new("proxy-reload", Who::Me);
    let service = service();
    let named =
        |name: &str| format!("[agent.main.egress]\nlocal = [{{ name = \"{name}\", to = \"127.0.0.1:{service}\" }}]");
    world.builder(&named("one.host"));
    let first = world.hash(&[]);
    let proxy = Proxy::start(&world);
    let is_open = |name: &str| proxy.known(&format!("{name}:{service}")).starts_with("HTTP/1.1 200 ");
    assert!(is_open("one.host") && !is_open("two.host"));

    world.builder(&named("two.host"));
    let second = world.hash(&[]);
    until("the new rule", || is_open("two.host"));
    assert!(!is_open("one.host"), "the old rule is gone");

    let refusals =
        || entries(&world).iter().filter(|(_, entry)| entry.way == "policy" && entry.outcome == "refused").count();
    world.builder("nonsense = 1");
    until("a bad policy is told", || refusals() == 1);
    assert!(is_open("two.host"));
    fs::remove_file(world.policy()).unwrap();
    until("a missing policy is told", || refusals() == 2);
    assert!(is_open("two.host"));
    let loose = world.builder(&named("three.host"));
    fs::set_permissions(&loose, fs::Permissions::from_mode(0o666)).unwrap();
    until("one that others can write is told", || refusals() >= 3);
    assert!(is_open("two.host") && !is_open("three.host"));
    fs::set_permissions(&loose, fs::Permissions::from_mode(0o644)).unwrap();
    until("it is in force", || is_open("three.host"));

    let entries = proxy.end();
    let by = |hash: &str| entries.iter().any(|(policy, entry)| policy == hash && entry.outcome == "passed");
    assert!(by(&first) && by(&second), "each entry names the policy that decided");
}

#[test]
fn a_flood_is_a_few_lines_and_all_of_it_is_counted() {
    let world = World::new("proxy-flood", Who::Me);
    world.builder("");
    let proxy = Proxy::start(&world);
    for number in 0..400 {
        proxy.known(&format!("n{number}.example:443"));
    }
    for _ in 0..100 {
        proxy.known("same.example:443");
    }
    let entries = proxy.end();
    let total: u64 = entries.iter().map(|(_, entry)| entry.count).sum();
    assert_eq!(total, 500);
    assert!(entries.len() < 300, "{} entries", entries.len());
    assert!(entries.iter().any(|(_, entry)| entry.host == "(others)"));
}

#[test]
fn what_cannot_be_served_is_refused() {
    let world = World::new("proxy-refused", Who::Me);
    let port = free_port();
    let start = |listen: &str| world.mantlet(&["egress", "proxy", "--listen", listen]);
    let none = start(&listen(port));
    assert_eq!(code(&none), 125, "no policy: {}", err(&none));
    world.builder("");
    for address in ["0.0.0.0:3128", "192.0.2.1:3128", "[::]:3128", "127.0.0.1:0"] {
        assert_eq!(code(&start(address)), 2, "{address}");
    }
    let taken = TcpListener::bind(listen(port)).unwrap();
    let refused = start(&listen(port));
    assert!(code(&refused) == 125 && err(&refused).contains("hint: choose another port"), "{}", err(&refused));
    drop(taken);
    let file = world.state().join("proxy/main");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let loose = print_url(&world, port, &[]);
    assert!(code(&loose) == 125 && err(&loose).contains("--new-password"), "{}", err(&loose));
}
