//! What serves and is in no jail: the daemon of the ways out, and the cooperative proxy.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::common::{Who, World, code, err, everybody, out};
use crate::ground::{cut, exec, execs, halt, is_alone, opened, resume, service, tunnel, until, with_service, world};

/// A process of ours, killed at the end.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Starts it, and waits for what it says first.
fn begin(world: &World, words: &[&str], first: &str) -> Running {
    let mut child = world.command("mantlet").args(words).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.contains(first), "{line}");
    std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
    Running(child)
}

#[test]
fn the_daemon_cuts_and_goes_on_after_a_resume() {
    if !is_alone("unjailed::the_daemon_cuts_and_goes_on_after_a_resume") {
        return;
    }
    for who in everybody() {
        let world = world("daemon", who);
        let (port, connections) = service();
        world.builder(&with_service(port));
        let _daemon = begin(&world, &["daemon"], "serves the ways out");
        let mut client = exec(&world, &tunnel(port));
        let stream = opened(&connections);
        halt(&world, &[]);
        assert!(cut(stream) < Duration::from_secs(1), "{who:?}");
        until("the client ends", || client.try_wait().unwrap().is_some());
        assert_eq!(execs(&world).len(), 1, "{who:?}");
        // What passed was told, although everything was killed.
        let passed = out(&world.mantlet(&["log", "--json", "--kind", "egress"]));
        assert!(passed.contains("\"passed\"") && passed.contains("svc.host"), "{who:?}: {passed}");
        std::thread::sleep(Duration::from_millis(700));
        assert!(servers(&world).is_empty(), "{who:?}: somebody serves");
        resume(&world);
        let mut client = exec(&world, &tunnel(port));
        let mut stream = opened(&connections);
        assert!(!servers(&world).is_empty(), "{who:?}: nobody serves");
        stream.write_all(b"y").unwrap();
        until("the client ends", || client.try_wait().unwrap().is_some());
    }
}

/// The serving processes of a daemon: those are found by their parent's home, which is not in their own environment.
fn servers(world: &World) -> Vec<i32> {
    let home = format!("HOME={}", world.home().display());
    let is_ours = |pid: i32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|line| line == home.as_bytes())
    };
    let parent = |pid: &i32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok());
        parent.is_some_and(is_ours)
    };
    crate::ground::processes("--ways-out").into_iter().filter(parent).collect()
}

struct Proxy<'w> {
    world: &'w World,
    port: u16,
}

impl Proxy<'_> {
    fn url(&self) -> String {
        let words = ["egress", "proxy", "--print-url", "--listen", &format!("127.0.0.1:{}", self.port)];
        let output = self.world.mantlet(&words);
        assert_eq!(code(&output), 0, "{}", err(&output));
        out(&output).trim_end().trim_start_matches("http://").to_owned()
    }

    /// Asks for a tunnel. Answers the connection with what was said, which is nothing when it was refused.
    fn connect(&self, login: &str, to: u16) -> (TcpStream, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let ask = format!(
            "CONNECT svc.host:{to} HTTP/1.1\r\nHost: svc.host:{to}\r\nProxy-Authorization: Basic {}\r\n\r\nx",
            base64(login)
        );
        drop(stream.write_all(ask.as_bytes()));
        let mut answer = [0; 12];
        let said = stream.read_exact(&mut answer).map(|()| String::from_utf8_lossy(&answer).into_owned());
        (stream, said.unwrap_or_default())
    }
}

fn base64(text: &str) -> String {
    let mut child = std::process::Command::new("base64");
    let mut child = child.arg("-w0").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

#[test]
fn the_cooperative_proxy_cuts_and_goes_on_after_a_resume() {
    if !is_alone("unjailed::the_cooperative_proxy_cuts_and_goes_on_after_a_resume") {
        return;
    }
    for who in everybody() {
        let world = world("proxy", who);
        let (service, connections) = service();
        world.builder(&with_service(service));
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let proxy = Proxy { world: &world, port: free };
        let url = proxy.url();
        let login = url.split('@').next().unwrap();
        let listen = format!("127.0.0.1:{free}");
        let _running = begin(&world, &["egress", "proxy", "--listen", &listen], "the way out of agent main");
        // The control.
        let (inner, said) = proxy.connect(login, service);
        assert_eq!(said, "HTTP/1.1 200", "{who:?}");
        let outer = opened(&connections);
        let began = Instant::now();
        halt(&world, &[]);
        cut(outer);
        let took = began.elapsed();
        assert!(took < Duration::from_millis(1500), "{who:?}: {took:?}");
        drop(inner);
        std::thread::sleep(Duration::from_millis(1000));
        let (_, said) = proxy.connect(login, service);
        assert_eq!(said, "", "{who:?}: it is served while halted");
        assert!(connections.try_recv().is_err(), "{who:?}: it got through");
        // Another listener cannot come in between, and be told the password.
        assert!(TcpListener::bind(&listen).is_err(), "{who:?}");
        resume(&world);
        until("it serves again", || proxy.connect(login, service).1 == "HTTP/1.1 200");
    }
}

/// Started while everything is halted, it waits.
#[test]
fn a_proxy_that_starts_while_halted_serves_nothing() {
    if !is_alone("unjailed::a_proxy_that_starts_while_halted_serves_nothing") {
        return;
    }
    let world = world("late", Who::Me);
    let (service, _connections) = service();
    world.builder(&with_service(service));
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let proxy = Proxy { world: &world, port: free };
    let url = proxy.url();
    let login = url.split('@').next().unwrap();
    halt(&world, &[]);
    let listen = format!("127.0.0.1:{free}");
    let _running = begin(&world, &["egress", "proxy", "--listen", &listen], "the way out of agent main");
    assert_eq!(proxy.connect(login, service).1, "");
    resume(&world);
    until("it serves", || proxy.connect(login, service).1 == "HTTP/1.1 200");
}
