//! `mantlet daemon` by itself: one for each owner, at a socket that is its owner's alone. What it does for jails is tried
//! in `way_out`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test; the lint's own exception does not reach its helpers"
)]

mod common;

use std::io::{BufRead as _, BufReader};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use common::{Who, World, code, err, everybody, is_root, out, programs};
use rustix::net::{AddressFamily, RecvFlags, SocketAddrUnix, SocketType, connect, recv, socket};

struct Daemon {
    child: Child,
    says: BufReader<std::process::ChildStderr>,
}

impl Daemon {
    fn start(world: &World) -> Daemon {
        Daemon::of(world.command("mantlet").arg("daemon"))
    }

    fn of(command: &mut Command) -> Daemon {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let says = BufReader::new(child.stderr.take().unwrap());
        let mut daemon = Daemon { child, says };
        assert!(daemon.line().contains("serves the ways out of jails"));
        daemon
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.says.read_line(&mut line).unwrap();
        line
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn connected(path: &Path) -> OwnedFd {
    let socket = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
    connect(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    socket
}

#[test]
fn there_is_one_daemon_and_its_socket_is_the_owners_alone() {
    for who in everybody() {
        let world = World::new("daemon", who);
        let daemon = Daemon::start(&world);
        let path = world.state().join("daemon.sock");
        let meta = std::fs::metadata(&path).unwrap();
        assert!(meta.file_type().is_socket());
        assert_eq!(meta.permissions().mode() & 0o777, 0o600, "{who:?}");
        let second = world.mantlet(&["daemon"]);
        assert!(code(&second) == 125 && err(&second).contains("runs already"), "{who:?}: {}", err(&second));
        // Killed, it leaves its socket: the next one takes the place.
        drop(daemon);
        assert!(path.exists());
        drop(Daemon::start(&world));
    }
}

/// The attacks: another user's process, or one in another pid namespace as every jail is, registers listeners and has what
/// it likes dialled in the owner's name.
#[test]
fn others_and_processes_in_jails_are_turned_away() {
    if !is_root() {
        return println!("only root can be another user: that part is not tried");
    }
    let world = World::new("strangers", Who::Me);
    let mut daemon = Daemon::start(&world);
    let path = world.state().join("daemon.sock");
    // The control: what comes from the owner is heard, and answered with what is wrong about it.
    let own = connected(&path);
    rustix::net::send(own.as_fd(), &[0xff], rustix::net::SendFlags::empty()).unwrap();
    let mut answer = [0; 256];
    assert!(recv(own.as_fd(), &mut answer, RecvFlags::empty()).unwrap().0 > 0);
    let script = format!(
        "import socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.connect({path:?}); \
         print('connected'); s.send(b'\\xff'); print(len(s.recv(256)))"
    );
    for directory in [world.home(), world.state()].iter().flat_map(|dir| dir.ancestors()) {
        if directory.starts_with(&world.top) {
            std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    for (words, told) in [
        (vec!["setpriv", "--reuid=61234", "--clear-groups"], "user 61234 was turned away"),
        (vec!["unshare", "--pid", "--fork", "--kill-child"], "another pid namespace was turned away"),
    ] {
        let output =
            Command::new(words[0]).args(&words[1..]).args(["/usr/bin/python3", "-c", &script]).output().unwrap();
        assert!(out(&output).starts_with("connected"), "{words:?}: {}", err(&output));
        assert!(!out(&output).contains("\n1"), "{words:?}: {}", out(&output));
        assert!(daemon.line().contains(told), "{words:?}");
    }
}

/// The attack: another user made the state directory, and puts a socket of their own in the place of the daemon's.
#[test]
fn a_state_directory_of_another_user_is_refused() {
    if !is_root() {
        return println!("only root can be another user: that part is not tried");
    }
    let world = World::new("foreign", Who::User);
    let state = world.dir(world.state());
    std::os::unix::fs::chown(&state, Some(60_000), Some(60_000)).unwrap();
    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o777)).unwrap();
    let mut command = Command::new("timeout");
    command.arg("20").arg(programs().join("mantlet")).arg("daemon").env_clear();
    let refused = command.env("HOME", world.home()).uid(common::USER).gid(common::USER).output().unwrap();
    assert!(code(&refused) == 125 && err(&refused).contains("belongs to uid 60000"), "{}", err(&refused));
    assert!(!state.join("daemon.sock").exists());
    // The twin: one of the owner's own.
    world.own(&state);
    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o755)).unwrap();
    drop(Daemon::start(&world));
}

/// The attack: a jail that opens so many connections that the next jail's cannot be taken, and with it ends those of all.
#[test]
fn a_jail_for_whom_no_descriptor_is_left_ends_no_others() {
    let world = World::new("full", Who::Me);
    let mut few = Command::new("prlimit");
    few.arg("--nofile=40:40").arg(programs().join("mantlet")).arg("daemon").env_clear().env("HOME", world.home());
    let _daemon = Daemon::of(&mut few);
    let path = world.state().join("daemon.sock");
    let is_open = |socket: &OwnedFd| {
        matches!(recv(socket.as_fd(), &mut [0; 16], RecvFlags::DONTWAIT), Err(rustix::io::Errno::AGAIN))
    };
    let first = connected(&path);
    let others: Vec<OwnedFd> = (0..64).map(|_| connected(&path)).collect();
    let begin = std::time::Instant::now();
    while others.iter().all(is_open) {
        assert!(begin.elapsed() < std::time::Duration::from_secs(20), "there is room for all of them");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert!(is_open(&first) && is_open(&others[0]));
}

#[test]
fn the_unit_starts_this_program() {
    let world = World::new("unit", Who::Me);
    for (kind, target) in [("user", "default.target"), ("system", "multi-user.target")] {
        let unit = out(&world.mantlet(&["daemon", "--unit", kind]));
        assert!(unit.contains("/mantlet\" daemon\n") && unit.contains(&format!("WantedBy={target}\n")), "{unit}");
    }
    assert!(world.kept().is_empty());
}
