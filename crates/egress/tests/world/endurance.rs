//! What a hostile or broken peer may hold: clients that never finish, peers that vanish, readers that do not read, crowds.
//! Time is bounded, and descriptors and memory are afterwards what they were.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use mantlet_egress::{Event, Reason};

use crate::behaviour::{await_refusals, eventually, get, open, try_open, until};
use crate::space::{Builds as _, Jail};
use crate::world::bypass::PROXY;
use crate::world::ground::{World, sh};
use crate::world::internet::MARK;

pub(crate) fn run(world: &World) {
    unfinished(world);
    endless(world);
    leaves_nothing(world, "unread", unread);
    leaves_nothing(world, "crowd", crowd);
    whole(world);
    looked_up_once(world);
}

/// Clients that never finish what they say: how each kind of message begins.
const BEGINNINGS: &[(&str, u16, &[u8])] = &[
    ("a head", 80, b"GET / HTTP/1.1\r\nHost: allowed.test\r\n"),
    ("a ClientHello", 443, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"),
    ("nothing at the proxy", PROXY, b""),
    ("a head at the proxy", PROXY, b"CONNECT allowed.test:443 HTTP/1.1\r\n"),
    (
        "a ClientHello behind CONNECT",
        PROXY,
        b"CONNECT allowed.test:443 HTTP/1.1\r\nHost: allowed.test:443\r\n\r\n\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
    ),
    ("a greeting of SOCKS", PROXY, b"\x05\xff"),
    ("a request of SOCKS", PROXY, b"\x05\x01\x00\x05\x01\x00\x03\xff"),
    ("a message of DNS", 53, b"\x0f\xff"),
];

/// None of them holds anything for long, though it sends a byte now and then, and nobody else waits for it.
fn unfinished(world: &World) {
    let jail = world.jail("builder", "allow = [\"allowed.test:80\", \"allowed.test\"]");
    let others = || {
        let mut other = open(&jail, "allowed.test", 80);
        other.write_all(&get("allowed.test", "/")).unwrap();
        until(&mut other, MARK);
    };
    others();
    let before = settled();
    let begin = Instant::now();
    let slow: Vec<TcpStream> = BEGINNINGS.iter().map(|(_, port, first)| begun(&jail, *port, first)).collect();
    let writers: Vec<_> = slow
        .iter()
        .map(|stream| {
            let mut writer = stream.try_clone().unwrap();
            thread::spawn(move || {
                while begin.elapsed() < Duration::from_secs(25) && writer.write_all(b"X").is_ok() {
                    thread::sleep(Duration::from_secs(1));
                }
            })
        })
        .collect();
    others();
    let took: Vec<Duration> = thread::scope(|scope| {
        let waits: Vec<_> = slow
            .into_iter()
            .map(|mut stream| {
                scope.spawn(move || {
                    stream.set_read_timeout(Some(Duration::from_secs(25))).unwrap();
                    let mut rest = Vec::new();
                    let _ended = stream.read_to_end(&mut rest);
                    begin.elapsed()
                })
            })
            .collect();
        waits.into_iter().map(|wait| wait.join().unwrap()).collect()
    });
    for ((what, port, _), took) in BEGINNINGS.iter().zip(took) {
        // A first byte and what is behind it have ten seconds each; a message of DNS has five.
        let bounds = if *port == 53 { 4..12 } else { 8..16 };
        assert!(
            (Duration::from_secs(bounds.start)..Duration::from_secs(bounds.end)).contains(&took),
            "{what}: {took:?}"
        );
    }
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    eventually(|| (descriptors() <= before).then_some(()));
}

/// A connection to a port of the jail with the first bytes sent: ports of names at the name's address.
fn begun(jail: &Jail, port: u16, first: &[u8]) -> TcpStream {
    let address = match port {
        80 | 443 => SocketAddr::new(jail.address("allowed.test"), port),
        _ => SocketAddr::new([127, 0, 0, 1].into(), port),
    };
    let mut stream = jail.inside(|| TcpStream::connect_timeout(&address, Duration::from_secs(20)).unwrap());
    stream.write_all(first).unwrap();
    stream
}

/// What has no end is ended by its size.
fn endless(world: &World) {
    let jail = world.jail("builder", "allow = [\"allowed.test:80\", \"allowed.test\"]");
    let head = [b"GET / HTTP/1.1\r\nX: ".to_vec(), vec![b'a'; 100_000]].concat();
    let fields = [b"GET / HTTP/1.1\r\n".to_vec(), b"X: a\r\n".repeat(10_000)].concat();
    let chunked = b"POST / HTTP/1.1\r\nHost: allowed.test\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let size = [chunked.clone(), vec![b'0'; 100_000]].concat();
    let extension = [chunked, b"1;".to_vec(), vec![b'a'; 100_000]].concat();
    let hello = [vec![22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff], vec![0; 100_000]].concat();
    for (what, port, bytes) in [
        ("head", 80, head),
        ("fields", 80, fields),
        ("size", 80, size),
        ("extension", 80, extension),
        ("hello", 443, hello),
    ] {
        let begin = Instant::now();
        let mut stream = begun(&jail, port, b"");
        stream.set_read_timeout(Some(Duration::from_secs(8))).unwrap();
        let _reset = stream.write_all(&bytes);
        let mut answer = Vec::new();
        let _reset = stream.read_to_end(&mut answer);
        assert!(begin.elapsed() < Duration::from_secs(8), "{what}: {:?}", begin.elapsed());
        assert!(!String::from_utf8_lossy(&answer).contains(MARK), "{what}");
    }
    await_refusals(&jail, 5, |reason| matches!(reason, Reason::Malformed(_)));
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// The descriptors when no more come and go.
fn settled() -> usize {
    eventually(|| {
        let now = descriptors();
        thread::sleep(Duration::from_millis(500));
        (descriptors() == now).then_some(now)
    })
}

/// Resident memory of this process, which serves as well, in KiB.
fn memory() -> usize {
    let text = fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = text.lines().find(|line| line.starts_with("Rss:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Does something again and again in one jail: there is a round after which it takes no more than before, and descriptors
/// are what they were after each.
fn leaves_nothing(world: &World, name: &str, action: fn(&Jail)) {
    // An allocator keeps what is freed, more of it for some rounds: what leaks grows in every one.
    const ROUNDS: usize = 10;
    const SLACK: usize = 128;
    // Four are kept for the next long tunnel.
    const PIPES: usize = 8;
    let jail = world.jail("builder", "allow = [\"allowed.test:80\", \"allowed.test:5432\"]");
    action(&jail);
    let open = settled();
    let mut held = vec![memory()];
    while held.len() <= ROUNDS {
        action(&jail);
        eventually(|| (descriptors() <= open + PIPES).then_some(()));
        // What this test keeps of each connection is no leak of the room's.
        *jail.events.lock().unwrap() = Vec::new();
        let (before, now) = (held[held.len() - 1], memory());
        held.push(now);
        if now <= before + SLACK {
            return println!("{name}: {open} descriptors, {held:?} KiB");
        }
    }
    panic!("{name}: {held:?} KiB");
}

/// Readers that never read: what is held for them is bounded, and goes when they go.
fn unread(jail: &Jail) {
    const MANY: usize = 100;
    let before = memory();
    let mut readers: Vec<TcpStream> = (0..MANY).map(|_| open(jail, "allowed.test", 80)).collect();
    for reader in &mut readers {
        reader.write_all(&get("allowed.test", "/big")).unwrap();
    }
    // Everything comes back, and nobody takes it: both directions of a tunnel stand still.
    let mut talkers: Vec<TcpStream> = (0..MANY).map(|_| open(jail, "allowed.test", 5432)).collect();
    for talker in &mut talkers {
        talker.set_nonblocking(true).unwrap();
        let mut left = 8 << 20;
        while left > 0 {
            match talker.write(&[b'x'; 65536]) {
                Ok(count) => left -= count.min(left),
                Err(_) => break,
            }
        }
    }
    thread::sleep(Duration::from_secs(1));
    let grown = memory().saturating_sub(before);
    assert!(grown < 2 * MANY * 256, "{grown} KiB for {} readers", 2 * MANY);
    // Nobody else waits for them.
    let mut other = open(jail, "allowed.test", 80);
    other.write_all(&get("allowed.test", "/")).unwrap();
    until(&mut other, MARK);
}

/// A thousand connections that all talk.
fn crowd(jail: &Jail) {
    const MANY: usize = 1000;
    let address = SocketAddr::new(jail.address("allowed.test"), 5432);
    let mut all = jail.inside(|| {
        let connect = || TcpStream::connect_timeout(&address, Duration::from_secs(10)).unwrap();
        (0..MANY).map(|_| connect()).collect::<Vec<TcpStream>>()
    });
    let begin = Instant::now();
    for round in 0..3 {
        for stream in &mut all {
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            stream.write_all(format!("round {round}\n").as_bytes()).unwrap();
        }
        for stream in &mut all {
            until(stream, &format!("round {round}\n"));
        }
    }
    println!("{MANY} connections, 3 rounds: {:?}", begin.elapsed());
}

/// Long tunnels, which the kernel moves: every byte arrives once and in order, is counted, and none beyond a budget.
fn whole(world: &World) {
    const LENGTH: usize = 24 << 20;
    let jail = world.jail("builder", "allow = [\"allowed.test:5432\", \"second.test:5432\"]\nbudget = [{ host = \"second.test\", upload = \"4MiB\" }]");
    let pattern = |from: usize, count: usize| (from..from + count).map(|at| (at * 31 + at / 251) as u8);
    let mut streams: Vec<TcpStream> = (0..3).map(|_| open(&jail, "allowed.test", 5432)).collect();
    thread::scope(|scope| {
        for stream in &mut streams {
            until(stream, "ready\n");
            let mut writer = stream.try_clone().unwrap();
            scope.spawn(move || {
                for piece in 0..LENGTH >> 20 {
                    writer.write_all(&pattern(piece << 20, 1 << 20).collect::<Vec<u8>>()).unwrap();
                }
                writer.shutdown(std::net::Shutdown::Write).unwrap();
            });
            scope.spawn(move || {
                let mut back = Vec::new();
                stream.read_to_end(&mut back).unwrap();
                assert_eq!(back.len(), LENGTH + "bye\n".len());
                assert!(pattern(0, LENGTH).eq(back[..LENGTH].iter().copied()) && back.ends_with(b"bye\n"));
            });
        }
    });
    let down = (LENGTH + MARK.len() + " ready\n".len() + "bye\n".len()) as u64;
    let is_counted =
        |event: &Event| matches!(event, Event::Passed { up, down: came, .. } if *up == LENGTH as u64 && *came == down);
    eventually(|| (jail.events().iter().filter(|event| is_counted(event)).count() == 3).then_some(()));
    // Over the budget, in the middle of the stream: cut, and no more came through.
    let mut stream = open(&jail, "second.test", 5432);
    let mut writer = stream.try_clone().unwrap();
    let writing = thread::spawn(move || (0..64).all(|_| writer.write_all(&[b'x'; 1 << 20]).is_ok()));
    let (mut back, mut piece) = (0, vec![0; 65536]);
    while let Ok(count @ 1..) = stream.read(&mut piece) {
        back += count;
    }
    assert!(!writing.join().unwrap(), "64 MiB went out");
    assert!((1..4 << 20).contains(&back), "{back} bytes came back");
    await_refusals(&jail, 1, |reason| matches!(reason, Reason::Budget(_)));
}

/// An answer is used while it is good, and not after the host's configuration has changed.
fn looked_up_once(world: &World) {
    let jail = world.jail("builder", "allow = [\"kept.test:5432\"]");
    world.packets.take();
    for _ in 0..3 {
        until(&mut open(&jail, "kept.test", 5432), "ready\n");
    }
    let names = world.packets.take().names;
    assert_eq!(names, ["kept.test"; 2], "one look-up, of both kinds");
    // The second answer of its server is a private address: asked again, it is refused.
    sh("echo '# another network' >> /etc/resolv.conf");
    // On a busy machine the reset is there before the connection is known to stand.
    let refused = try_open(&jail, "kept.test", 5432).and_then(|mut stream| stream.read(&mut [0]));
    assert!(matches!(refused, Ok(0) | Err(_)));
    assert_eq!(world.packets.take().names, ["kept.test"; 2]);
    await_refusals(&jail, 1, |reason| matches!(reason, Reason::Special { .. }));
}

/// Peers that vanish without a word: nothing they held is held for ever.
pub(crate) struct Vanished {
    begin: Instant,
    servers: (Jail, Vec<TcpStream>),
    client: Jail,
}

impl Vanished {
    /// Lets a server vanish from under two tunnels, one silent and one with bytes on their way, and a client from under
    /// another.
    pub(crate) fn begin(world: &World) -> Self {
        let jail = world.jail("builder", "allow = [\"vanishing.test:5432\", \"allowed.test:5432\"]");
        let mut streams: Vec<TcpStream> = (0..2).map(|_| open(&jail, "vanishing.test", 5432)).collect();
        // The twin: a silent tunnel to a server that is still there stays.
        streams.push(open(&jail, "allowed.test", 5432));
        for stream in &mut streams {
            until(stream, "ready\n");
        }
        world.in_internet("ip addr del 151.101.1.9/32 dev lo");
        world.in_internet("ip route add blackhole 151.101.1.9/32");
        streams[1].write_all(b"on its way\n").unwrap();
        let client = world.jail("builder", "allow = [\"allowed.test:5432\"]");
        let mut stream = open(&client, "allowed.test", 5432);
        until(&mut stream, "ready\n");
        // Its last acknowledgement takes a moment. Bytes on their way to a client are sent again for a quarter of an hour.
        thread::sleep(Duration::from_millis(500));
        client.inside(|| sh("ip link set lo down"));
        drop(stream);
        Vanished { begin: Instant::now(), servers: (jail, streams), client }
    }

    /// Waits for the end of what they left.
    pub(crate) fn end(mut self) {
        let (jail, streams) = &mut self.servers;
        for (index, stream) in streams.iter_mut().take(2).enumerate() {
            stream.set_read_timeout(Some(Duration::from_secs(200).saturating_sub(self.begin.elapsed()))).unwrap();
            let read = stream.read(&mut [0]);
            assert!(
                !matches!(&read, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock),
                "{index}: {read:?}"
            );
        }
        let passed = |jail: &Jail| jail.events().iter().filter(|e| matches!(e, Event::Passed { .. })).count();
        eventually(|| (passed(jail) == 2).then_some(()));
        println!("after {:?}", self.begin.elapsed());
        streams[2].write_all(b"still here\n").unwrap();
        until(&mut streams[2], "still here\n");
        eventually(|| (passed(&self.client) == 1).then_some(()));
    }
}
