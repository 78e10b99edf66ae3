//! What a process that serves ways out can still do once it is confined: it reads what jails send, and falls first.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

mod common;

use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{World, both, must_succeed, text};
use rustix::process::{Pid, Signal, kill_process};

/// Where the stage finds what it is to attack.
const TOP: &str = "MANTLET_TEST_TOP";
/// Set: it confines itself first, as a server does.
const CONFINED: &str = "MANTLET_TEST_CONFINED";
/// A process of the owner's.
const VICTIM: &str = "MANTLET_TEST_VICTIM";
/// A listener on the loopback.
const PORT: &str = "MANTLET_TEST_PORT";

/// In a process of its own: tries everything, and says what succeeded.
#[test]
fn stage() {
    let Some(top) = std::env::var_os(TOP).map(PathBuf::from) else { return };
    let number = |name: &str| std::env::var(name).unwrap().parse::<i32>().unwrap();
    let (victim, port) = (number(VICTIM), number(PORT));
    if std::env::var_os(CONFINED).is_some() {
        println!("how: {}", mantlet_sandbox::confine_server().unwrap());
    }
    let tell = |what: &str, succeeded: bool| {
        if succeeded {
            println!("succeeded: {what}");
        }
    };
    tell("serve", TcpStream::connect(("127.0.0.1", port as u16)).is_ok() && std::fs::read("/etc/hosts").is_ok());
    tell("thread", std::thread::Builder::new().spawn(|| {}).is_ok_and(|thread| thread.join().is_ok()));
    tell("read", std::fs::read(top.join("key")).is_ok());
    tell("mode", std::fs::set_permissions(top.join("key"), PermissionsExt::from_mode(0o604)).is_ok());
    tell("socket", UnixStream::connect(top.join("bus")).is_ok());
    tell("program", Command::new("/bin/true").status().is_ok());
    tell("outlive", rustix::process::parent_process_death_signal().unwrap().is_none());
    tell("signal", kill_process(Pid::from_raw(victim).unwrap(), Signal::TERM).is_ok());
}

/// Starts the stage as the owner of a world. Answers what succeeded.
fn succeeds(world: &World, program: &Path, port: u16, is_confined: bool) -> Vec<String> {
    let mut victim = world.outside("/bin/sleep").arg("60").stdout(Stdio::null()).spawn().unwrap();
    let mut command = world.outside(program.to_str().unwrap());
    command.args(["--exact", "stage", "--nocapture"]).env(TOP, world.top().join("home"));
    command.env(VICTIM, victim.id().to_string()).env(PORT, port.to_string());
    if is_confined {
        command.env(CONFINED, "1");
    }
    let output = command.output().unwrap();
    victim.kill().unwrap();
    victim.wait().unwrap();
    must_succeed(&output, "the stage");
    let said = text(&output.stdout);
    assert_eq!(said.contains("seccomp"), is_confined, "{said}");
    said.lines().filter_map(|line| line.strip_prefix("succeeded: ").map(str::to_owned)).collect()
}

/// The attack: an ordinary owner's server has the owner's uid. It asks the owner's session bus to start a program, opens a key
/// to other users, ends the owner's processes, or leaves a process of its own behind.
#[test]
fn a_fallen_server_reaches_nothing_of_its_owners() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for who in both() {
        let world = World::new("server", who);
        let program = world.top().join("bin/stage");
        assert!(Command::new("cp").arg(std::env::current_exe().unwrap()).arg(&program).status().unwrap().success());
        let home = world.top().join("home");
        must_succeed(&world.outside("/bin/sh").args(["-c", "echo k > ../home/key"]).output().unwrap(), "a key");
        let bus = UnixListener::bind(home.join("bus")).unwrap();
        std::fs::set_permissions(home.join("bus"), PermissionsExt::from_mode(0o777)).unwrap();
        // The control: nothing stands in the way of any of it.
        let all = ["serve", "thread", "read", "mode", "socket", "program", "outlive", "signal"];
        assert_eq!(succeeds(&world, &program, port, false), all, "{who:?}");
        assert_eq!(succeeds(&world, &program, port, true), ["serve", "thread"], "{who:?}");
        drop(bus);
    }
}
