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
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType,
};

use crate::world::agent::Agent;
use crate::world::bypass::{Inside, Jails, PROXY};
use crate::world::ground::{OURS, STAGE, World, sh};

/// Loose sockets that a jail has from the start, when something is allowed on a port from 1024 on.
const LOOSE: usize = 64;

/// One jail with its server.
pub(crate) struct Jail {
    pub(crate) control: Option<Control>,
    pub(crate) events: Arc<Mutex<Vec<Event>>>,
    child: Child,
    map: Mutex<Synthetic>,
    server: Option<thread::JoinHandle<()>>,
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
    checked(role, egress).unwrap()
}

fn checked(role: &str, egress: &str) -> Result<Rules, String> {
    let text = format!(
        "version = 1\n[agent.main]\nrole = \"{role}\"\nworkspace = \"/home/ann/w\"\n[agent.main.egress]\n{egress}"
    );
    let policy = mantlet_policy::parse(&text, Path::new("p"), &Anywhere).map_err(|e| e.to_string())?;
    Rules::compile(&policy.agents()[0], "").map_err(|e| e.to_string())
}

/// Jails of this test, as the attacks ask for them.
pub(crate) struct Bare<'a>(pub(crate) &'a World);

impl Jails for Bare<'_> {
    const ARE_REAL: bool = false;
    fn start(&self, role: &str, egress: &str) -> Box<dyn Inside> {
        let jail = self.0.jail(role, egress);
        let agent = Agent::start(&mut jail.command("LC_ALL=C"));
        Box::new(Attacked { agent, jail })
    }
    fn refusal(&self, egress: &str) -> Option<String> {
        checked("builder", egress).err()
    }
}

struct Attacked {
    // Dropped first: it lives in the other.
    agent: Agent,
    jail: Jail,
}

impl Inside for Attacked {
    fn agent(&self) -> &Agent {
        &self.agent
    }
    fn refusals(&self) -> usize {
        self.jail.events().iter().filter(|event| matches!(event, Event::Refused { .. })).count()
    }
}

/// What the world does for the jails of this test.
pub(crate) trait Builds {
    /// Does something in the network namespace that plays the internet.
    fn in_internet(&self, command: &str);
    /// Does something on a thread that is on the internet, a machine away from this host.
    fn elsewhere<T: Send>(&self, action: impl FnOnce() -> T + Send) -> T;
    /// Builds a jail's network and serves it, told more than the rules.
    fn jail_with(&self, role: &str, egress: &str, settings: Settings) -> Jail;
    /// As [`Builds::jail_with`].
    fn jail(&self, role: &str, egress: &str) -> Jail {
        // Own listeners of the host, as a daemon would name them.
        let settings = Settings { own: vec![SocketAddr::new([127, 0, 0, 1].into(), OURS)], ..Settings::default() };
        self.jail_with(role, egress, settings)
    }
}

impl Builds for World {
    fn in_internet(&self, command: &str) {
        sh(&format!("nsenter --target {} --net {command}", self.internet()));
    }

    fn elsewhere<T: Send>(&self, action: impl FnOnce() -> T + Send) -> T {
        inside(self.internet(), action)
    }

    fn jail_with(&self, role: &str, egress: &str, settings: Settings) -> Jail {
        let rules = rules(role, egress);
        let path = self.scratch.join("handover");
        let _gone = fs::remove_file(&path);
        let door = UnixListener::bind(&path).unwrap();
        let wanted: Vec<String> = listeners(&rules).iter().map(ToString::to_string).collect();
        let loose = if rules.ports().iter().any(|port| *port >= 1024) { LOOSE } else { 0 };
        let child = Command::new("unshare")
            .args(["--net", "--mount", "--kill-child", "--"])
            .arg(std::env::current_exe().unwrap())
            .env(STAGE, "jail")
            .env("HANDOVER", &path)
            .env("WANTED", wanted.join(" "))
            .env("LOOSE", loose.to_string())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let (channel, _) = door.accept().unwrap();
        let sockets = received(&channel, wanted.len(), loose);
        let mut map = Synthetic::default();
        for name in rules.names() {
            map.pair(&name).unwrap();
        }
        let events = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&events);
        let record = move |event: Event| record.lock().unwrap().push(event);
        let (server, control) = Server::new(rules, settings, Arc::new(record));
        let server = Some(thread::spawn(move || server.run(sockets).unwrap()));
        Jail { control: Some(control), events, child, map: Mutex::new(map), server }
    }
}

/// Does something on a thread in the network namespace of a process.
fn inside<T: Send>(process: u32, action: impl FnOnce() -> T + Send) -> T {
    let space = fs::File::open(format!("/proc/{process}/ns/net")).unwrap();
    thread::scope(|scope| {
        let thread = scope.spawn(move || {
            let kind = Some(rustix::thread::LinkNameSpaceType::Network);
            rustix::thread::move_into_link_name_space(space.as_fd(), kind).unwrap();
            action()
        });
        thread.join().unwrap()
    })
}

/// Takes the sockets in the order in which [`run_jail`] sends them.
fn received(channel: &UnixStream, captures: usize, loose: usize) -> Sockets {
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
    sockets.inward.extend(descriptors.by_ref().take(loose));
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
    let loose: usize = std::env::var("LOOSE").unwrap().parse().unwrap();
    sockets.extend((0..loose).map(|_| unbound(AddressFamily::INET6)));
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

/// A TCP socket that is neither bound nor connected; one of IPv6 does for IPv4 as well.
fn unbound(family: AddressFamily) -> OwnedFd {
    let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    if family == AddressFamily::INET6 {
        rustix::net::sockopt::set_ipv6_v6only(&socket, false).unwrap();
    }
    socket
}

/// A listener on all addresses.
fn listen(address: SocketAddr) -> OwnedFd {
    let socket = unbound(AddressFamily::INET6);
    rustix::net::sockopt::set_socket_reuseaddr(&socket, true).unwrap();
    rustix::net::bind(&socket, &address).unwrap();
    rustix::net::listen(&socket, 1024).unwrap();
    socket
}

impl Jail {
    /// The address that stands for a name, which is looked up, as a program would: only then are its ports from 1024 on
    /// listened on. Both maps compute it alike, as long as it is a name that is written out.
    pub(crate) fn address(&self, name: &str) -> IpAddr {
        let query = crate::world::bypass::look_ups::query(name, 1);
        self.inside(|| {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            socket.send_to(&query, "127.0.0.1:53").unwrap();
            socket.recv(&mut [0; 512]).unwrap();
        });
        let name = HostName::from_wire(name.as_bytes()).unwrap();
        self.map.lock().unwrap().pair(&name).unwrap().v4.into()
    }

    /// Does something on a thread inside the jail's network namespace.
    pub(crate) fn inside<T: Send>(&self, action: impl FnOnce() -> T + Send) -> T {
        inside(self.child.id(), action)
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
