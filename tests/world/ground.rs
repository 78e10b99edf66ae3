//! The ground of the world: the host with a cable to what stands for the internet, in namespaces that end with it.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use super::agent::Agent;
use super::internet;
use super::packets::Packets;

/// Names the part that a process of this program plays.
pub(crate) const STAGE: &str = "MANTLET_WORLD";
/// The port of the plain proxy on the host, which has no rules.
pub(crate) const PLAIN: u16 = 3129;
/// Everything of the world that is a file.
pub(crate) const SCRATCH: &str = "/run/mantlet-world";
/// The port of services of the host itself: what an attacker on the loopback would reach.
pub(crate) const SERVICE: u16 = 8099;
/// The port of a service of the host that stands for one of Mantlet's own.
pub(crate) const OURS: u16 = 8098;

/// Where services of the host listen that are files.
pub(crate) const SOCKETS: [&str; 2] = ["/run/docker.sock", "/run/mantlet-world/gateway.sock"];

/// The host, seen from its tests.
pub(crate) struct World {
    pub(crate) scratch: PathBuf,
    pub(crate) packets: Packets,
    /// The attacker outside, with nothing in its way.
    pub(crate) outside: Agent,
    children: Vec<Child>,
}

pub(crate) fn sh(script: &str) {
    let status = Command::new("sh").args(["-ec", script]).status().unwrap();
    assert!(status.success(), "{script}");
}

/// Starts this program again as the host of a world of its own.
///
/// Root brings all its ids with it, so that Mantlet finds a root and other users there; anybody else is the only user.
pub(crate) fn begin(arguments: &[String]) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    let mut command = Command::new("unshare");
    command.arg("--user").args((!is_root).then_some("--map-root-user")).args(["--", "sh", "-c"]);
    // A thousand connections have more descriptors than a shell's usual limit.
    command.args(["read go && ulimit -n $(ulimit -Hn) && exec \"$@\" </dev/null", "sh", "unshare"]);
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    command.arg(std::env::current_exe().unwrap()).args(arguments).env(STAGE, "host").stdin(Stdio::piped());
    let mut child = command.spawn().expect("unshare");
    if is_root {
        let space = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/user")).unwrap();
        let pid = child.id().to_string();
        while space(&pid) == space("self") {
            thread::sleep(Duration::from_millis(1));
        }
        for map in ["uid_map", "gid_map"] {
            let own = fs::read_to_string(format!("/proc/self/{map}")).unwrap();
            let same = |line: &str| {
                let words: Vec<&str> = line.split_whitespace().collect();
                format!("{0} {0} {1}\n", words[0], words[2])
            };
            fs::write(format!("/proc/{pid}/{map}"), own.lines().map(same).collect::<String>()).unwrap();
        }
    }
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    child.wait().unwrap().success()
}

/// Makes the world and leaves nothing of it: all of it is in namespaces that end with this process.
pub(crate) fn enter(tests: impl FnOnce(&World)) {
    sh("mount -t tmpfs -o mode=755 tmpfs /run && mkdir -p /run/mantlet-world/www && ip link set lo up");
    let mut internet = Command::new("unshare")
        .args(["--net", "--kill-child", "--"])
        .arg(std::env::current_exe().unwrap())
        .env(STAGE, "internet")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for(&mut internet, b'n');
    cable(internet.id());
    files();
    internet.stdin.as_mut().unwrap().write_all(b"g").unwrap();
    wait_for(&mut internet, b'r');
    for (port, only) in [(SERVICE, "::"), (OURS, "127.0.0.1")] {
        let listener = TcpListener::bind((only, port)).unwrap();
        thread::spawn(move || listener.incoming().flatten().for_each(serve));
    }
    paths();
    let plain = plain_proxy();
    let world = World {
        scratch: PathBuf::from(SCRATCH),
        packets: Packets::start(),
        outside: Agent::start(&mut left_open()),
        children: vec![internet, plain],
    };
    tests(&world);
    drop(world);
    println!("all parts passed");
}

/// A command that starts a program, which finds a connection left open in it, to a service of the host.
pub(crate) fn left_open() -> Command {
    let mut command = Command::new("bash");
    command.args(["-c", &format!("exec 9<>/dev/tcp/127.0.0.1/{SERVICE}; exec \"$@\""), "bash"]);
    command
}

/// Services of the host at paths, and at a name that is none.
fn paths() {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixListener};
    let at_path = |path: &str| UnixListener::bind(path).unwrap();
    let abstract_name = SocketAddr::from_abstract_name("mantlet-world").unwrap();
    for listener in [at_path(SOCKETS[0]), at_path(SOCKETS[1]), UnixListener::bind_addr(&abstract_name).unwrap()] {
        thread::spawn(move || listener.incoming().flatten().for_each(|stream| internet::http(stream, "host")));
    }
}

fn serve(stream: std::net::TcpStream) {
    thread::spawn(move || internet::http(stream, "host"));
}

/// The cable, addresses and routes. What stands for the internet has every address that a name may lead to, also those
/// that are none of the internet, so that who dials one arrives.
fn cable(pid: u32) {
    let at = |addresses: &[&str]| addresses.join(" ");
    sh(&format!(
        "ip link add w0 type veth peer name i0 netns {pid}
         ip addr add 192.168.77.2/24 dev w0; ip -6 addr add fd77::2/64 dev w0 nodad; ip link set w0 up
         ip addr add 5.5.5.5/32 dev lo; ip -6 addr add ::127.0.0.1/128 dev lo nodad
         n='nsenter --target {pid} --net'
         $n ip link set lo up; $n ip addr add 192.168.77.1/24 dev i0; $n ip -6 addr add fd77::1/64 dev i0 nodad; $n ip link set i0 up
         for a in {}; do $n ip addr add $a/32 dev lo; done
         for a in {}; do $n ip -6 addr add $a/128 dev lo nodad; done
         $n ip route add default via 192.168.77.2; $n ip -6 route add default via fd77::2
         ip route add default via 192.168.77.1; ip -6 route add default via fd77::1
         echo '0 0' > /proc/sys/net/ipv4/ping_group_range",
        at(internet::ADDRESSES),
        at(internet::ADDRESSES_6),
    ));
}

fn files() {
    sh(&format!(
        "echo 'nameserver 8.8.8.8' > {SCRATCH}/resolv.conf; mount --bind {SCRATCH}/resolv.conf $(readlink -f /etc/resolv.conf)
         printf '127.0.0.1 localhost\\n10.1.2.3 written.test\\n169.254.169.254 metadata.google.internal\\n192.168.77.1 host.docker.internal\\n' > {SCRATCH}/hosts
         mount --bind {SCRATCH}/hosts /etc/hosts"
    ));
}

fn plain_proxy() -> Child {
    let mut child = Command::new("/usr/bin/python3")
        .args(["-IS", "-c", include_str!("plain.py"), &PLAIN.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3");
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    child
}

impl World {
    /// A process on the internet.
    pub(crate) fn internet(&self) -> u32 {
        self.children[0].id()
    }

    /// The process of the proxy without rules.
    pub(crate) fn victim(&self) -> u32 {
        self.children[1].id()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for child in &mut self.children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

fn wait_for(child: &mut Child, letter: u8) {
    let mut byte = [0];
    child.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
    assert_eq!(byte[0], letter);
}
