//! Jails that are told apart by a number which their commands carry, in a place where killing hits nobody else.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use mantlet_ledger::{Entry, Exec, Halt, Kind};

use crate::common::{Who, World, code, err, is_root, out};

const ALONE: &str = "MANTLET_TEST_ALONE";

/// Whether to go on here. From root the test is first started again in namespaces of its own, and has passed when it has.
pub(crate) fn is_alone(test: &str) -> bool {
    if !is_root() || std::env::var_os(ALONE).is_some() {
        return true;
    }
    crate::common::programs();
    let status = Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(ALONE, std::process::id().to_string())
        .status()
        .unwrap();
    assert!(status.success(), "{test} alone: {status}");
    false
}

/// A world whose name is its own: every test that is alone has the same pid.
pub(crate) fn world(name: &str, who: Who) -> World {
    let outer = std::env::var(ALONE).unwrap_or_default();
    World::new(&format!("halt-{name}-{outer}"), who)
}

/// The number of a world's jails, as the time that a `sleep` of theirs takes.
pub(crate) fn mark(world: &World) -> String {
    let name = world.top.to_str().unwrap();
    let sum = name.bytes().fold(0_u64, |sum, byte| (sum * 31 + u64::from(byte)) % 1_000_000_007);
    format!("{}", 1_000_000_000 + sum)
}

/// Processes with a word on their command line, that are not zombies.
pub(crate) fn processes(word: &str) -> Vec<i32> {
    let mut out = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if line.split(|byte| *byte == 0).any(|each| each == word.as_bytes()) {
            out.push(pid);
        }
    }
    out
}

/// The pids of monitors and inits that the journal names.
pub(crate) fn journal(world: &World) -> Vec<(String, i32, i32)> {
    let mut out = Vec::new();
    for entry in fs::read_dir(world.state().join("journal")).into_iter().flatten().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if let Ok(text) = fs::read(entry.path())
            && let Ok(record) = serde_json::from_slice::<serde_json::Value>(&text)
            && !name.starts_with('.')
        {
            let pid = |key: &str| i32::try_from(record[key][0].as_i64().unwrap()).unwrap();
            out.push((name, pid("monitor"), pid("init")));
        }
    }
    out
}

pub(crate) fn kill(pid: i32, signal: &str) {
    assert!(Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status().unwrap().success());
}

#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "it never comes that {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Starts a command of ours whose end is its jail's.
pub(crate) fn start(command: &mut Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

pub(crate) fn exec(world: &World, line: &str) -> Child {
    start(world.command("mantlet").args(["exec", "--agent", "main", "-c", line]))
}

#[track_caller]
pub(crate) fn halt(world: &World, more: &[&str]) -> serde_json::Value {
    let output = world.mantlet(&[&["halt", "--json"], more].concat());
    assert_eq!(code(&output), 0, "{}{}", out(&output), err(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
pub(crate) fn resume(world: &World) {
    let output = world.mantlet(&["resume"]);
    assert!(code(&output) == 0 && err(&output).contains("may run again"), "{}", err(&output));
}

/// The control: a command runs.
#[track_caller]
pub(crate) fn assert_runs(world: &World) {
    let output = world.exec(&["--agent", "main", "-c", "echo it runs"]);
    assert_eq!((code(&output), out(&output).as_str()), (0, "it runs\n"), "{}", err(&output));
}

#[track_caller]
pub(crate) fn assert_refused(output: &Output, what: &str) {
    let said = err(output);
    assert!(code(output) == 125 && out(output).is_empty(), "{what}: {} {said}", code(output));
    assert!(said.contains("halted") && said.contains("mantlet resume"), "{what}: {said}");
}

fn entries(world: &World) -> Vec<Entry> {
    let output = world.mantlet(&["log", "--json", "-n", "100000"]);
    out(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub(crate) fn execs(world: &World) -> Vec<Exec> {
    let each = entries(world).into_iter();
    each.filter_map(|entry| if let Kind::Exec(exec) = entry.kind { Some(exec) } else { None }).collect()
}

pub(crate) fn halts(world: &World) -> Vec<Halt> {
    let each = entries(world).into_iter();
    each.filter_map(|entry| if let Kind::Halt(halt) = entry.kind { Some(halt) } else { None }).collect()
}

/// A service of the host that keeps each connection, and hands it to the test.
pub(crate) fn service() -> (u16, std::sync::mpsc::Receiver<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || listener.incoming().flatten().try_for_each(|stream| sender.send(stream)));
    (port, receiver)
}

/// A policy with a way out to that service, as `svc.host`.
pub(crate) fn with_service(port: u16) -> String {
    format!("[agent.main.egress]\nlocal = [{{ name = \"svc.host\", to = \"127.0.0.1:{port}\" }}]\n")
}

/// A command that opens a connection there, says so through it, and keeps it.
pub(crate) fn tunnel(port: u16) -> String {
    let python =
        format!("import socket; s = socket.create_connection((\"svc.host\", {port})); s.sendall(b\"x\"); s.recv(1)");
    format!("python3 -c '{python}'")
}

/// Waits for a connection, and for the first byte on it.
pub(crate) fn opened(receiver: &std::sync::mpsc::Receiver<TcpStream>) -> TcpStream {
    use std::io::Read as _;
    let mut stream = receiver.recv_timeout(Duration::from_secs(30)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut first = [0];
    stream.read_exact(&mut first).unwrap();
    stream
}

/// How long it takes until the other side is gone.
#[track_caller]
pub(crate) fn cut(mut stream: TcpStream) -> Duration {
    use std::io::{ErrorKind, Read as _};
    let began = Instant::now();
    match stream.read(&mut [0; 16]) {
        Ok(0) => began.elapsed(),
        Err(e) if e.kind() == ErrorKind::ConnectionReset => began.elapsed(),
        other => panic!("it is not cut: {other:?}"),
    }
}
