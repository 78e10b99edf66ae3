//! The name decided is the name dialled: generated requests in every language that the room speaks, and beside them a
//! second, much simpler reader of the same rule that looks at the packets.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::space::Builds as _;
use crate::world::bypass::PROXY;
use crate::world::ground::World;

/// Pieces that host names and ways to break them are made of.
const PIECES: &[&str] = &[
    "allowed.test",
    "evil.test",
    "a",
    "b",
    ".",
    ".wild.test",
    "wild.test",
    "evil",
    "@",
    ":80",
    ":",
    "\0",
    "%00",
    "%2e",
    "。",
    "\\",
    "#",
    "/",
    "?",
    " ",
    "\t",
    "\r\n",
    "[",
    "]",
    "-",
    "_",
    "xn--",
    "127.0.0.1",
    "0x7f.1",
    "ALLOWED.TEST",
    "\u{ad}",
    "а",
    "x",
    "..",
    "*",
];

/// xorshift, with a fixed start.
fn dice(state: &mut u64, below: usize) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    usize::try_from((*state >> 20) % below as u64).unwrap()
}

fn request(state: &mut u64) -> Vec<u8> {
    let mut host =
        |most: usize| -> String { (0..1 + dice(state, most)).map(|_| PIECES[dice(state, PIECES.len())]).collect() };
    let (one, two) = (host(4), host(2));
    match dice(state, 5) {
        0 => format!("CONNECT {one}:80 HTTP/1.1\r\nHost: {one}:80\r\n\r\nGET / HTTP/1.1\r\nHost: {one}\r\n\r\n")
            .into_bytes(),
        1 => format!("GET http://{one}/ HTTP/1.1\r\nHost: {one}\r\n\r\n").into_bytes(),
        2 => format!("GET http://{one}/ HTTP/1.1\r\nHost: {two}\r\n\r\n").into_bytes(),
        3 => format!(
            "CONNECT allowed.test:80 HTTP/1.1\r\nHost: allowed.test:80\r\n\r\nGET / HTTP/1.1\r\nHost: {one}\r\n\r\n"
        )
        .into_bytes(),
        _ => {
            let name = &one.as_bytes()[..one.len().min(255)];
            let mut bytes = b"\x05\x01\x00\x05\x01\x00\x03".to_vec();
            bytes.push(u8::try_from(name.len()).unwrap());
            bytes.extend(name);
            bytes.extend(b"\x00\x50GET / HTTP/1.1\r\nHost: ");
            bytes.extend(name);
            bytes.extend(b"\r\n\r\n");
            bytes
        }
    }
}

/// The simple reader: what a host name below this wildcard looks like to somebody without a parser.
fn is_allowed(name: &str) -> bool {
    let below = name.strip_suffix(".wild.test");
    let is_plain = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
    };
    name == "allowed.test" || below.is_some_and(|below| below.split('.').all(is_plain))
}

pub(crate) fn run(world: &World) {
    const THREADS: u64 = 8;
    const EACH: usize = 1000;
    let jail = world.jail("builder", "allow = [\"allowed.test:80\", \"*.wild.test:80\"]");
    world.packets.take();
    let proxy = SocketAddr::new([127, 0, 0, 1].into(), PROXY);
    let served: usize = jail.inside(|| {
        // Threads of a thread in the jail are in the jail.
        let one = |seed: u64| {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            (0..EACH).filter(|_| is_served(proxy, &request(&mut state))).count()
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (1..=THREADS).map(|seed| scope.spawn(move || one(seed))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        })
    });
    let seen = world.packets.take();
    let wrong: Vec<_> = seen.names.iter().filter(|name| !is_allowed(name)).collect();
    assert!(wrong.is_empty(), "asked for {wrong:?}");
    assert!(
        seen.connections.iter().all(|to| to.port() == 80 && (to.ip().to_string() == "9.9.9.9" || to.ip().is_ipv6())),
        "{seen:?}"
    );
    assert!(
        served > 20 && seen.names.iter().any(|name| name.ends_with(".wild.test")),
        "{served} served: {:?}",
        seen.names
    );
    println!("{} inputs, {served} served, {} look-ups", THREADS as usize * EACH, seen.names.len());
}

/// Sends a request; whether a server answered, whose own words then name the host that was judged.
fn is_served(proxy: SocketAddr, request: &[u8]) -> bool {
    let mut stream = TcpStream::connect(proxy).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(250))).unwrap();
    let mut answer = Vec::new();
    if stream.write_all(request).is_ok() {
        let _ended = stream.read_to_end(&mut answer);
    }
    let text = String::from_utf8_lossy(&answer);
    let Some((_, told)) = text.split_once(crate::world::internet::MARK) else { return false };
    let host = told.lines().find_map(|line| line.strip_prefix("Host: ")).unwrap_or_default();
    assert!(is_allowed(host), "a server was told {host:?} for {:?}", String::from_utf8_lossy(request));
    true
}
