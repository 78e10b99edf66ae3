//! Namespaces of the world: the host with a cable to the internet, and a jail that hands its listeners over.

use std::fs;
use std::io::{IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use mantlet_egress::{Control, Event, HostName, Rules, Server, Settings, Sockets, Synthetic, listeners};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};

use crate::packets::Packets;

/// The port of the explicit proxy in each jail.
pub(crate) const PROXY: u16 = 3128;

/// The host, seen from its tests.
pub(crate) struct World {
    pub(crate) scratch: PathBuf,
    pub(crate) packets: Packets,
    internet: Child,
}

/// One jail with its server.
pub(crate) struct Jail {
    pub(crate) control: Option<Control>,
    pub(crate) events: Arc<Mutex<Vec<Event>>>,
    child: Child,
    map: Mutex<Synthetic>,
    server: Option<thread::JoinHandle<()>>,
}

pub(crate) fn sh(script: &str) {
    let status = Command::new("sh").args(["-ec", script]).status().unwrap();
    assert!(status.success(), "{script}");
}

/// Makes the world and leaves nothing of it: all of it is in namespaces that end with this process.
pub(crate) fn enter(tests: impl FnOnce(&World)) {
    let scratch = PathBuf::from("/run/mantlet-world");
    sh("mount -t tmpfs tmpfs /run && mkdir -p /run/mantlet-world/www && ip link set lo up");
    let me = std::env::current_exe().unwrap();
    let mut internet = Command::new("unshare")
        .args(["--net", "--kill-child", "--"])
        .arg(&me)
        .env(crate::STAGE, "internet")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for(&mut internet, b'n');
    let pid = internet.id();
    sh(&format!(
        "ip link add w0 type veth peer name i0 netns {pid}
         ip addr add 192.168.77.2/24 dev w0; ip -6 addr add fd77::2/64 dev w0 nodad; ip link set w0 up
         ip addr add 5.5.5.5/32 dev lo
         n='nsenter --target {pid} --net'
         $n ip link set lo up; $n ip addr add 192.168.77.1/24 dev i0; $n ip -6 addr add fd77::1/64 dev i0 nodad; $n ip link set i0 up
         for a in 9.9.9.9 151.101.1.1 151.101.1.2 151.101.1.9 8.8.8.8 10.1.2.3 169.254.169.254; do $n ip addr add $a/32 dev lo; done
         for a in 2606:4700::1111 2a04:4e42::1; do $n ip -6 addr add $a/128 dev lo nodad; done
         $n ip route add default via 192.168.77.2; $n ip -6 route add default via fd77::2
         ip route add default via 192.168.77.1; ip -6 route add default via fd77::1
         echo 'nameserver 8.8.8.8' > {0}/resolv.conf; mount --bind {0}/resolv.conf $(readlink -f /etc/resolv.conf)
         printf '127.0.0.1 localhost\\n10.1.2.3 written.test\\n' > {0}/hosts; mount --bind {0}/hosts /etc/hosts",
        scratch.display()
    ));
    internet.stdin.as_mut().unwrap().write_all(b"g").unwrap();
    wait_for(&mut internet, b'r');
    let world = World { scratch, packets: Packets::start(), internet };
    // A service of the host itself: what an attacker on the loopback would reach.
    let local = TcpListener::bind("127.0.0.1:8099").unwrap();
    thread::spawn(move || local.incoming().flatten().for_each(|stream| crate::internet::http(stream, "host")));
    tests(&world);
    println!("all parts passed");
}

impl Drop for World {
    fn drop(&mut self) {
        self.internet.kill().unwrap();
        self.internet.wait().unwrap();
    }
}

fn wait_for(child: &mut Child, letter: u8) {
    let mut byte = [0];
    child.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
    assert_eq!(byte[0], letter);
}

struct Anywhere;

impl mantlet_policy::Host for Anywhere {
    fn home(&self) -> &Path {
        Path::new("/home/ann")
    }
    fn state_dirs(&self) -> &[PathBuf] {
        &[]
    }
    fn canonical(&self, path: &Path) -> std::io::Result<PathBuf> {
        Ok(path.components().collect())
    }
}

/// The rules of an agent with this `[agent.main.egress]`.
pub(crate) fn rules(role: &str, egress: &str) -> Rules {
    let text = format!(
        "version = 1\n[agent.main]\nrole = \"{role}\"\nworkspace = \"/home/ann/w\"\n[agent.main.egress]\n{egress}"
    );
    let policy = mantlet_policy::parse(&text, Path::new("p"), &Anywhere).map_err(|e| e.to_string()).unwrap();
    Rules::compile(&policy.agents()[0], "").unwrap()
}

impl World {
    /// Does something in the network namespace that plays the internet.
    pub(crate) fn in_internet(&self, command: &str) {
        sh(&format!("nsenter --target {} --net {command}", self.internet.id()));
    }

    /// Builds a jail's network and serves it.
    pub(crate) fn jail(&self, role: &str, egress: &str) -> Jail {
        let rules = rules(role, egress);
        let path = self.scratch.join("handover");
        let _gone = fs::remove_file(&path);
        let door = UnixListener::bind(&path).unwrap();
        let wanted: Vec<String> = listeners(&rules).iter().map(ToString::to_string).collect();
        let child = Command::new("unshare")
            .args(["--net", "--mount", "--kill-child", "--"])
            .arg(std::env::current_exe().unwrap())
            .env(crate::STAGE, "jail")
            .env("HANDOVER", &path)
            .env("WANTED", wanted.join(" "))
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let (channel, _) = door.accept().unwrap();
        let sockets = received(&channel, wanted.len());
        let mut map = Synthetic::default();
        for name in rules.names() {
            map.pair(&name).unwrap();
        }
        let events = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&events);
        let record = move |event: Event| record.lock().unwrap().push(event);
        // Own listeners of the host, as a daemon would name them.
        let settings = Settings { own: vec!["127.0.0.1:8098".parse().unwrap()], ..Settings::default() };
        let (server, control) = Server::new(rules, settings, Arc::new(record));
        let server = Some(thread::spawn(move || server.run(sockets).unwrap()));
        Jail { control: Some(control), events, child, map: Mutex::new(map), server }
    }
}

/// Takes the sockets in the order in which [`run_jail`] sends them.
fn received(channel: &UnixStream, captures: usize) -> Sockets {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(200))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    rustix::net::recvmsg(channel, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::empty()).unwrap();
    let mut descriptors: Vec<OwnedFd> = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    let mut descriptors = descriptors.into_iter();
    let mut sockets = Sockets::default();
    sockets.dns_udp.push(UdpSocket::from(descriptors.next().unwrap()));
    sockets.dns_tcp.push(TcpListener::from(descriptors.next().unwrap()));
    sockets.proxy.push(TcpListener::from(descriptors.next().unwrap()));
    sockets.capture.extend(descriptors.map(TcpListener::from));
    assert_eq!(sockets.capture.len(), captures);
    sockets
}

/// The jail's side: addresses, routes, sockets, then nothing more.
pub(crate) fn run_jail() {
    let scratch = "/run/mantlet-world";
    sh(&format!(
        "ip link set lo up; ip addr add 198.18.0.1/32 dev lo; ip -6 addr add fd6d:616e:746c::1/128 dev lo nodad
         ip route add local 198.18.0.0/15 dev lo; ip -6 route add local fd6d:616e:746c::/64 dev lo
         echo 'nameserver 127.0.0.1' > {scratch}/jail.conf; mount --bind {scratch}/jail.conf $(readlink -f /etc/resolv.conf)
         echo '127.0.0.1 localhost' > {scratch}/jail.hosts; mount --bind {scratch}/jail.hosts /etc/hosts"
    ));
    let mut sockets: Vec<OwnedFd> = vec![
        UdpSocket::bind("127.0.0.1:53").unwrap().into(),
        TcpListener::bind("127.0.0.1:53").unwrap().into(),
        TcpListener::bind(("127.0.0.1", PROXY)).unwrap().into(),
    ];
    let wanted = std::env::var("WANTED").unwrap();
    sockets.extend(wanted.split_whitespace().map(|text| listen(text.parse().unwrap())));
    let channel = UnixStream::connect(std::env::var("HANDOVER").unwrap()).unwrap();
    let descriptors: Vec<_> = sockets.iter().map(|socket| socket.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(200))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
    rustix::net::sendmsg(&channel, &[IoSlice::new(b"s")], &mut control, SendFlags::empty()).unwrap();
    drop(sockets);
    // Until the host lets go: the namespace lives as long as this process.
    let mut rest = Vec::new();
    std::io::stdin().read_to_end(&mut rest).unwrap();
}

/// A listener on an address that stands for a name needs no address on an interface, only the local route.
fn listen(address: SocketAddr) -> OwnedFd {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    sockopt::set_socket_reuseaddr(&socket, true).unwrap();
    match address {
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => sockopt::set_ipv6_v6only(&socket, false).unwrap(),
        SocketAddr::V6(_) => {
            sockopt::set_ipv6_v6only(&socket, true).unwrap();
            sockopt::set_ipv6_freebind(&socket, true).unwrap();
        }
        SocketAddr::V4(_) => {}
    }
    bind(&socket, &address).unwrap();
    rustix::net::listen(&socket, 1024).unwrap();
    socket
}

impl Jail {
    /// The address that stands for a name. Both maps compute it alike, as long as it is a name that is written out.
    pub(crate) fn address(&self, name: &str) -> IpAddr {
        let name = HostName::from_wire(name.as_bytes()).unwrap();
        self.map.lock().unwrap().pair(&name).unwrap().v4.into()
    }

    /// Does something on a thread inside the jail's network namespace.
    pub(crate) fn inside<T: Send>(&self, action: impl FnOnce() -> T + Send) -> T {
        let space = fs::File::open(format!("/proc/{}/ns/net", self.child.id())).unwrap();
        thread::scope(|scope| {
            let thread = scope.spawn(move || {
                let kind = Some(rustix::thread::LinkNameSpaceType::Network);
                rustix::thread::move_into_link_name_space(space.as_fd(), kind).unwrap();
                action()
            });
            thread.join().unwrap()
        })
    }

    /// Sends bytes to an address inside and returns everything that comes back.
    pub(crate) fn talk(&self, address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
        self.inside(|| talk(address, bytes))
    }

    /// A program inside, with a clean environment.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.child.id().to_string(), "--net", "--mount", "--wd=/", "--", "env", "-i"]);
        command.args(["PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/nonexistent", "LANG=C.UTF-8", program]);
        command
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap().clone()
    }
}

impl Drop for Jail {
    fn drop(&mut self) {
        drop(self.control.take());
        if let Some(server) = self.server.take() {
            server.join().unwrap();
        }
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Sends bytes and reads until the end, or until nothing comes for a while.
pub(crate) fn talk(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(3)) else {
        return b"(refused)".to_vec();
    };
    stream.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
    let mut answer = Vec::new();
    if stream.write_all(bytes).is_ok() {
        let _ended = stream.read_to_end(&mut answer);
    }
    answer
}
