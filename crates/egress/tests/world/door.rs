//! The door: what is published can be reached, by whom it may, and nothing else of what listens inside.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use mantlet_egress::{Door, Event, Reason, Server, Settings, Sockets};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with, sockopt};

use crate::space::{Builds as _, Jail, rules};
use crate::world::ground::{STAGE, World, sh};

const PORT: u16 = 18789;
const PUBLISH: &str = r#"
[agent.main.publish]
ports = ["127.0.0.1:18789", "[::1]:18789", "192.168.77.2:18789", "[fd77::2]:18789"]
exposed = "a test"
"#;

pub(crate) fn run(world: &World) {
    bindings(world);
    only_what_is_published(world);
    gate(world);
    old_sockets(world);
    row_and_crowd(world);
    limits(world);
    exhaustion(world);
    nobody_listens(world);
    half_closed(world);
    own_door(world);
    reload(world);
    cut(world);
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// What a program inside says to whoever connects: who that is, everything back, and a last word.
fn gateway(listener: TcpListener) {
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let peer = stream.peer_addr().unwrap();
                if stream.write_all(format!("hello {};", peer.ip()).as_bytes()).is_ok() {
                    let mut copy = stream.try_clone().unwrap();
                    let _ended = std::io::copy(&mut stream, &mut copy);
                    let _gone = copy.write_all(b"bye;");
                }
            });
        }
    });
}

fn listen(jail: &Jail, address: &str) {
    gateway(jail.inside(|| TcpListener::bind(address).unwrap()));
}

/// Unconnected sockets, as the jail's init makes them.
fn made(jail: &Jail, count: usize, family: AddressFamily) -> Vec<OwnedFd> {
    let make = || {
        let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        if family == AddressFamily::INET6 {
            sockopt::set_ipv6_v6only(&socket, false).unwrap();
        }
        socket
    };
    jail.inside(|| (0..count).map(|_| make()).collect())
}

fn open(jail: &Jail, addresses: &[&str], sockets: usize) {
    let door = |address: &&str| Door { listener: TcpListener::bind(address).unwrap(), port: at(address).port() };
    let doors = addresses.iter().map(door).collect();
    let inward = made(jail, sockets, AddressFamily::INET6);
    assert!(jail.control.as_ref().unwrap().add(Sockets { doors, inward, ..Sockets::default() }));
}

fn guarded() -> Settings {
    Settings { exposed: Some(Arc::new(|| Ok(()))), ..Settings::default() }
}

/// Connects and reads the greeting; what came instead, when none came.
fn visit(address: &str) -> Result<(TcpStream, String), ErrorKind> {
    let stream = TcpStream::connect_timeout(&at(address), Duration::from_secs(10));
    let mut stream = stream.map_err(|error| error.kind())?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    match until(&mut stream, b';') {
        Ok(text) if text.is_empty() => Err(ErrorKind::UnexpectedEof),
        Ok(text) => Ok((stream, text)),
        Err(error) => Err(error.kind()),
    }
}

fn until(stream: &mut TcpStream, last: u8) -> std::io::Result<String> {
    let (mut text, mut byte) = (Vec::new(), [0]);
    while text.last() != Some(&last) && stream.read(&mut byte)? == 1 {
        text.push(byte[0]);
    }
    Ok(String::from_utf8(text).unwrap())
}

fn is_alive(stream: &mut TcpStream) -> bool {
    stream.write_all(b"again;").is_ok() && until(stream, b';').is_ok_and(|text| text == "again;")
}

fn refused(jail: &Jail, is_it: impl Fn(&Reason) -> bool) -> usize {
    let is_one = |event: &Event| matches!(event, Event::Refused { denial, .. } if is_it(&denial.reason));
    jail.events().iter().filter(|event| is_one(event)).count()
}

fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < Duration::from_secs(20), "never: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Whatever the gateway binds to: the owner and, where that is wanted, others reach it, and it can tell them apart.
fn bindings(world: &World) {
    for (bound, owner, stranger) in [
        ("0.0.0.0:18789", "127.0.0.1", "198.18.0.1"),
        ("127.0.0.1:18789", "127.0.0.1", "198.18.0.1"),
        ("[::]:18789", "::ffff:127.0.0.1", "::ffff:198.18.0.1"),
        ("[::1]:18789", "::1", "fd6d:616e:746c::1"),
    ] {
        let jail = world.jail_with("builder", PUBLISH, guarded());
        listen(&jail, bound);
        // Without the door it is in no network: control of everything below.
        for address in ["127.0.0.1:18789", "[::1]:18789"] {
            assert_eq!(visit(address).err(), Some(ErrorKind::ConnectionRefused), "{bound}");
        }
        assert_eq!(
            world.elsewhere(|| visit("192.168.77.2:18789")).err(),
            Some(ErrorKind::ConnectionRefused),
            "{bound}"
        );
        let is_inside = jail.inside(|| visit(&bound.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]")));
        assert!(is_inside.is_ok(), "{bound}");
        open(&jail, &["127.0.0.1:18789", "[::1]:18789", "192.168.77.2:18789", "[fd77::2]:18789"], 40);
        for address in ["127.0.0.1:18789", "[::1]:18789"] {
            let (mut stream, text) = visit(address).unwrap();
            assert_eq!(text, format!("hello {owner};"), "{bound} by {address}");
            assert!(is_alive(&mut stream));
        }
        for address in ["192.168.77.2:18789", "[fd77::2]:18789"] {
            let (mut stream, text) = world.elsewhere(|| visit(address)).unwrap();
            assert_eq!(text, format!("hello {stranger};"), "{bound} by {address}");
            assert!(is_alive(&mut stream));
            // Also from this machine: whoever uses this address has passed no check of the user.
            assert_eq!(visit(address).unwrap().1, format!("hello {stranger};"), "{bound} by {address}");
        }
        entered(&jail, bound);
    }
}

/// What is recorded of those six connections.
fn entered(jail: &Jail, bound: &str) {
    let all =
        || -> Vec<Event> { jail.events().into_iter().filter(|event| matches!(event, Event::Entered { .. })).collect() };
    eventually("six entries", || all().len() == 6);
    for event in all() {
        let Event::Entered { door, peer, inside, inwards, outwards } = event else { continue };
        assert_eq!((door.port(), inside.port()), (PORT, PORT));
        assert!(inwards == 0 && outwards > 0 || inwards == 6, "{bound}: {inwards} {outwards}");
        assert_eq!(peer.ip().is_loopback(), door.ip().is_loopback(), "{peer} {door}");
    }
}

fn only_what_is_published(world: &World) {
    let jail = world.jail_with("builder", "[agent.main.publish]\nports = [\"127.0.0.1:18789\"]", guarded());
    listen(&jail, "0.0.0.0:18789");
    listen(&jail, "0.0.0.0:18790");
    open(&jail, &["127.0.0.1:18789"], 8);
    assert!(visit("127.0.0.1:18789").is_ok());
    assert!(jail.inside(|| visit("127.0.0.1:18790")).is_ok());
    for address in ["127.0.0.1:18790", "[::1]:18789", "[::1]:18790", "192.168.77.2:18789", "127.0.0.2:18789"] {
        assert_eq!(visit(address).err(), Some(ErrorKind::ConnectionRefused), "{address}");
    }
    // A machine next to this one: the owner's door is no address there, and there is no way around it.
    for address in ["192.168.77.2:18789", "[fd77::2]:18789", "5.5.5.5:18789"] {
        assert_eq!(world.elsewhere(|| visit(address)).err(), Some(ErrorKind::ConnectionRefused), "{address}");
    }
    // A packet to 127.0.0.1 or to an address of the jail, put on the cable by hand.
    world.elsewhere(|| {
        sh("ip route replace 198.18.0.0/15 via 192.168.77.2 dev i0");
        for address in ["198.18.0.1:18789", "198.18.0.1:18790"] {
            assert!(TcpStream::connect_timeout(&at(address), Duration::from_secs(1)).is_err(), "{address}");
        }
        sh("ip route del 198.18.0.0/15");
    });
    // Nobody vouches for a door whose address the policy does not publish: it is closed.
    open(&jail, &["127.0.0.1:18790"], 0);
    eventually("closed", || visit("127.0.0.1:18790").is_err_and(|kind| kind == ErrorKind::ConnectionRefused));
}

/// Other machines are let in only while the gateway asks who they are.
fn gate(world: &World) {
    let is_open = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&is_open);
    let gate = move || asked.load(SeqCst).then_some(()).ok_or("the gateway has no authentication".to_owned());
    let jail = world.jail_with("builder", PUBLISH, Settings { exposed: Some(Arc::new(gate)), ..Settings::default() });
    listen(&jail, "0.0.0.0:18789");
    open(&jail, &["127.0.0.1:18789", "192.168.77.2:18789"], 16);
    assert!(world.elsewhere(|| visit("192.168.77.2:18789")).is_err());
    assert!(visit("192.168.77.2:18789").is_err());
    eventually("told", || refused(&jail, |reason| matches!(reason, Reason::Unguarded(_))) == 2);
    assert!(visit("127.0.0.1:18789").is_ok(), "the owner's door asks nothing");
    is_open.store(true, SeqCst);
    assert!(world.elsewhere(|| visit("192.168.77.2:18789")).is_ok());
    is_open.store(false, SeqCst);
    assert!(world.elsewhere(|| visit("192.168.77.2:18789")).is_err());
    // Nobody who could vouch for it: nobody is let in.
    let jail = world.jail_with("builder", PUBLISH.replace("127.0.0.1", "127.0.0.3").as_str(), Settings::default());
    listen(&jail, "0.0.0.0:18789");
    open(&jail, &["127.0.0.3:18789", "[fd77::2]:18789"], 16);
    assert!(world.elsewhere(|| visit("[fd77::2]:18789")).is_err());
    assert!(visit("127.0.0.3:18789").is_ok());
}

/// A host without IPv6 hands over sockets of IPv4.
fn old_sockets(world: &World) {
    let jail = world.jail_with("builder", PUBLISH, guarded());
    listen(&jail, "127.0.0.1:18789");
    open(&jail, &["127.0.0.1:18789", "192.168.77.2:18789"], 0);
    assert!(jail.control.as_ref().unwrap().inward(made(&jail, 4, AddressFamily::INET)));
    assert_eq!(visit("127.0.0.1:18789").unwrap().1, "hello 127.0.0.1;");
    assert_eq!(world.elsewhere(|| visit("192.168.77.2:18789")).unwrap().1, "hello 198.18.0.1;");
}

/// A jail whose monitor makes more sockets when it is asked to, while the action runs.
fn refilled(world: &World, action: impl FnOnce(&Jail, &AtomicUsize)) {
    let (wanted, wants) = mpsc::channel();
    let asked = Arc::new(AtomicUsize::new(0));
    let (count, end) = (Arc::clone(&asked), End(wanted.clone()));
    let more = move |more| {
        count.fetch_add(more, SeqCst);
        wanted.send(more).unwrap();
    };
    let jail = &world.jail_with("builder", PUBLISH, Settings { more: Some(Arc::new(more)), ..guarded() });
    thread::scope(|scope| {
        scope.spawn(move || {
            for count in wants.iter().take_while(|count| *count > 0) {
                assert!(jail.control.as_ref().unwrap().inward(made(jail, count, AddressFamily::INET6)));
            }
        });
        // Also when the action fails: a scope waits for its threads.
        let _end = end;
        action(jail, &asked);
    });
}

struct End(mpsc::Sender<usize>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.send(0).unwrap();
    }
}

fn row_and_crowd(world: &World) {
    refilled(world, |jail, asked| {
        listen(jail, "0.0.0.0:18789");
        open(jail, &["127.0.0.1:18789", "192.168.77.2:18789"], 8);
        let begin = Instant::now();
        for _ in 0..300 {
            assert!(is_alive(&mut visit("127.0.0.1:18789").unwrap().0));
        }
        println!("300 connections in a row: {:?}", begin.elapsed());
        assert!((280..=340).contains(&asked.load(SeqCst)), "{asked:?} asked for");
        let begin = Instant::now();
        for address in ["127.0.0.1:18789", "192.168.77.2:18789"] {
            let mut all: Vec<TcpStream> = thread::scope(|scope| {
                let tasks: Vec<_> = (0..100).map(|_| scope.spawn(|| visit(address).unwrap().0)).collect();
                tasks.into_iter().map(|task| task.join().unwrap()).collect()
            });
            assert!(all.iter_mut().all(is_alive));
        }
        println!("twice 100 connections at a time: {:?}", begin.elapsed());
    });
}

/// Strangers cannot take the owner's place.
fn limits(world: &World) {
    refilled(world, |jail, _| {
        listen(jail, "0.0.0.0:18789");
        open(jail, &["127.0.0.1:18789", "192.168.77.2:18789"], 8);
        let mut strangers: Vec<TcpStream> =
            world.elsewhere(|| (0..192).map(|_| visit("192.168.77.2:18789").unwrap().0).collect());
        assert!(world.elsewhere(|| visit("192.168.77.2:18789")).is_err());
        let mut owners: Vec<TcpStream> = (0..64).map(|_| visit("127.0.0.1:18789").unwrap().0).collect();
        assert!(visit("127.0.0.1:18789").is_err());
        eventually("told", || refused(jail, |reason| *reason == Reason::Crowded) == 2);
        assert!(strangers.iter_mut().chain(&mut owners).all(is_alive));
        drop(owners.pop());
        eventually("a place is free again", || visit("127.0.0.1:18789").is_ok());
    });
}

/// Without sockets a connection waits, and is refused; with new ones it goes on.
fn exhaustion(world: &World) {
    let jail = world.jail_with("builder", PUBLISH, guarded());
    listen(&jail, "0.0.0.0:18789");
    open(&jail, &["127.0.0.1:18789"], 2);
    let mut held = [visit("127.0.0.1:18789").unwrap().0, visit("127.0.0.1:18789").unwrap().0];
    let begin = Instant::now();
    assert_eq!(visit("127.0.0.1:18789").err(), Some(ErrorKind::ConnectionReset));
    let took = begin.elapsed();
    assert!((Duration::from_millis(4500)..Duration::from_secs(8)).contains(&took), "{took:?}");
    let late = thread::spawn(|| visit("127.0.0.1:18789").map(|(_, text)| text));
    thread::sleep(Duration::from_secs(2));
    assert!(jail.control.as_ref().unwrap().inward(made(&jail, 1, AddressFamily::INET6)));
    assert_eq!(late.join().unwrap().as_deref(), Ok("hello 127.0.0.1;"));
    assert!(held.iter_mut().all(is_alive));
    assert_eq!(refused(&jail, |reason| matches!(reason, Reason::Unreachable(_))), 1);
}

/// A reset, as from a port that nobody listens on, however often; then whoever listens is reached.
fn nobody_listens(world: &World) {
    for bound in ["127.0.0.1:18789", "[::1]:18789"] {
        refilled(world, |jail, asked| {
            open(jail, &["127.0.0.1:18789", "192.168.77.2:18789"], 4);
            let begin = Instant::now();
            for _ in 0..50 {
                assert_eq!(visit("127.0.0.1:18789").err(), Some(ErrorKind::ConnectionReset));
                assert_eq!(visit("192.168.77.2:18789").err(), Some(ErrorKind::ConnectionReset));
            }
            assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
            listen(jail, bound);
            assert!(visit("127.0.0.1:18789").is_ok());
            assert!(world.elsewhere(|| visit("192.168.77.2:18789")).is_ok(), "{bound}");
            // Two sockets for each: one for each family.
            assert!((200..=240).contains(&asked.load(SeqCst)), "{asked:?} asked for");
            eventually("told", || refused(jail, |reason| matches!(reason, Reason::Unreachable(_))) == 100);
        });
    }
}

fn half_closed(world: &World) {
    let jail = world.jail_with("builder", PUBLISH, guarded());
    listen(&jail, "0.0.0.0:18789");
    open(&jail, &["127.0.0.1:18789"], 8);
    let (mut stream, _) = visit("127.0.0.1:18789").unwrap();
    let whole = vec![b'x'; 3 << 20];
    let mut writer = stream.try_clone().unwrap();
    let copy = whole.clone();
    let sent = thread::spawn(move || {
        writer.write_all(&copy).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut back = Vec::new();
    stream.read_to_end(&mut back).unwrap();
    sent.join().unwrap();
    assert!(back == [whole.as_slice(), b"bye;"].concat(), "{} bytes came back", back.len());
    let is_it = |event: &Event| matches!(event, Event::Entered { inwards, outwards, .. } if (*inwards, *outwards) == (3 << 20, (3 << 20) + 20));
    eventually("counted", || jail.events().iter().any(is_it));
}

/// An agent that goes out to come in again, by another's door: as the owner, whom the gateway believes. A policy that says so
/// is refused; where two policies meet, the daemon's own addresses count, whichever of this host's they are reached by.
fn own_door(world: &World) {
    let jail = world.jail_with("builder", PUBLISH, guarded());
    listen(&jail, "127.0.0.1:18789");
    open(&jail, &["127.0.0.1:18789", "192.168.77.2:18789"], 8);
    let local = "local = [{ name = \"door.host\", to = \"127.0.0.1:18789\" }, { name = \"wide.host\", to = \"192.168.77.2:18789\" }]\n";
    // The control: nobody has said whose these addresses are.
    for own in [vec![], vec![at("0.0.0.0:18789")]] {
        let is_known = !own.is_empty();
        let other = world.jail_with("builder", local, Settings { own, ..Settings::default() });
        for name in ["door.host", "wide.host"] {
            let out = SocketAddr::new(other.address(name), PORT).to_string();
            assert_eq!(other.inside(|| visit(&out)).is_err(), is_known, "{name}");
        }
        let special = refused(&other, |reason| matches!(reason, Reason::Special { .. }));
        assert_eq!(special, if is_known { 2 } else { 0 });
    }
}

fn reload(world: &World) {
    let jail = world.jail_with("builder", PUBLISH, guarded());
    listen(&jail, "0.0.0.0:18789");
    open(&jail, &["127.0.0.1:18789", "[::1]:18789"], 8);
    let (mut gone, _) = visit("127.0.0.1:18789").unwrap();
    let (mut kept, _) = visit("[::1]:18789").unwrap();
    let other = "[agent.main.publish]\nports = [\"[::1]:18789\"]";
    jail.control.as_ref().unwrap().reload(rules("builder", other));
    assert!(matches!(gone.read(&mut [0]), Ok(0) | Err(_)), "what is no longer published is cut");
    assert!(is_alive(&mut kept));
    eventually("closed", || visit("127.0.0.1:18789").is_err_and(|kind| kind == ErrorKind::ConnectionRefused));
    assert_eq!(refused(&jail, |reason| *reason == Reason::Withdrawn), 1);
    // Published again it is a new door.
    jail.control.as_ref().unwrap().reload(rules("builder", PUBLISH));
    open(&jail, &["127.0.0.1:18789"], 0);
    assert!(visit("127.0.0.1:18789").is_ok());
}

fn cut(world: &World) {
    let mut jail = world.jail_with("builder", PUBLISH, guarded());
    listen(&jail, "0.0.0.0:18789");
    open(&jail, &["127.0.0.1:18789", "192.168.77.2:18789"], 8);
    let mut open = [visit("127.0.0.1:18789").unwrap().0, world.elsewhere(|| visit("192.168.77.2:18789")).unwrap().0];
    assert!(open.iter_mut().all(is_alive));
    drop(jail.control.take());
    for stream in &mut open {
        assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)));
    }
    for address in ["127.0.0.1:18789", "192.168.77.2:18789"] {
        eventually("closed", || visit(address).is_err_and(|kind| kind == ErrorKind::ConnectionRefused));
    }
}

/// Other users of the machine. Only root can play them, in a world of its own without a user namespace.
pub(crate) fn with_users(me: &Path, arguments: &[String]) -> bool {
    if !arguments.iter().all(|argument| argument.starts_with('-') || "door".contains(argument.as_str())) {
        return true;
    }
    if !rustix::process::geteuid().is_root() {
        println!("door: another user at the owner's door: not shown, only root can play one");
        return true;
    }
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]);
    command.arg(me).env(STAGE, "users").status().unwrap().success()
}

/// What a user gets from an address: with bash alone, since another user need not be able to run this program.
fn as_user(user: &str, address: &str, script: &str) -> String {
    let (host, port) = address.rsplit_once(':').unwrap();
    let script = format!("exec 3<>/dev/tcp/{host}/{port} && {script}");
    let mut command = Command::new("timeout");
    command.args(["10", "setpriv", "--reuid", user, "--regid", user, "--clear-groups", "bash", "-c", &script]);
    let output = command.current_dir("/").env_clear().env("PATH", "/usr/bin:/bin").output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn run_users() {
    sh("ip link set lo up; ip addr add 192.168.77.2/32 dev lo; ip addr add 198.18.0.1/32 dev lo");
    const READ: &str = "read -r -d ';' text <&3; echo \"$text\"";
    // What an attacker who leaves no trace does: write, and be gone before anybody asks who it was.
    const GONE: &str = "printf attack >&3; exec 3>&-; echo gone";
    let inside = TcpListener::bind("127.0.0.1:18789").unwrap();
    let (heard, hears) = mpsc::channel();
    thread::spawn(move || {
        for mut stream in inside.incoming().flatten() {
            let heard = heard.clone();
            thread::spawn(move || {
                let _gone = stream.write_all(b"hello;");
                let mut text = String::new();
                let _ended = stream.read_to_string(&mut text);
                heard.send(text).unwrap();
            });
        }
    });
    // The control: whoever has a user here reaches a port on the loopback.
    assert_eq!(as_user("65534", "127.0.0.1:18789", READ), "hello\n");
    assert_eq!(hears.recv_timeout(Duration::from_secs(5)).unwrap(), "");
    let make = |_| socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    let publish = "[agent.main.publish]\nports = [\"127.0.0.2:28789\", \"192.168.77.2:28789\"]\nexposed = \"a test\"";
    let door = |address: &str| Door { listener: TcpListener::bind(address).unwrap(), port: PORT };
    let doors = vec![door("127.0.0.2:28789"), door("192.168.77.2:28789")];
    let settings = Settings { owner: Some(1001), ..guarded() };
    let (server, control) = Server::new(rules("builder", publish), settings, Arc::new(|_| {}));
    let sockets = Sockets { doors, inward: (0..40).map(make).collect(), ..Sockets::default() };
    let server = thread::spawn(move || server.run(sockets).unwrap());
    // The twins: the owner, and root.
    for user in ["0", "1001"] {
        assert_eq!(as_user(user, "127.0.0.2:28789", READ), "hello\n", "{user}");
        assert_eq!(hears.recv_timeout(Duration::from_secs(5)).unwrap(), "");
    }
    for user in ["65534", "1000"] {
        assert_eq!(as_user(user, "127.0.0.2:28789", READ), "\n", "{user}");
        for _ in 0..20 {
            assert_eq!(as_user(user, "127.0.0.2:28789", GONE), "gone\n");
        }
        // Where everybody may come, this user may.
        assert_eq!(as_user(user, "192.168.77.2:28789", READ), "hello\n", "{user}");
        assert_eq!(hears.recv_timeout(Duration::from_secs(5)).unwrap(), "");
    }
    assert!(hears.recv_timeout(Duration::from_millis(500)).is_err(), "nothing else was heard inside");
    drop(control);
    server.join().unwrap();
    println!("door: other users are not let in");
}
