//! Ways past whatever listens: other protocols, other families, other namespaces, other processes' sockets.

use super::{CONNECT_GOOD, EVIL_ADDRESS, GOOD, PROXY, Suite, To, handshakes, has, text};
use crate::world::agent::{Answer, hex};
use crate::world::ground::SOCKETS;
use crate::world::internet::MARK;

/// What it looks like when it works.
enum Goal {
    /// A server answers.
    Mark,
    /// Something is on its way to this address.
    Sent(&'static str),
    /// It says so.
    Says(&'static str),
}
use Goal::{Mark, Says, Sent};

/// Which jails it is about: in a namespace without anything else, root may do what leads nowhere.
#[derive(PartialEq, Eq)]
enum In {
    Any,
    Real,
}
use In::{Any, Real};

type Words = &'static [&'static str];

/// Number and title, what to do inside, what to do outside, what tells success. `ALLOWED` is the address of an allowed
/// name, `VICTIM` a process of the host.
type Trick = (&'static str, In, Words, Words, Goal);

const TRICKS: &[Trick] = &[
    ("89 a connection by address", Any, &["tcp", "151.101.1.2", "80"], &["tcp", "151.101.1.2", "80"], Mark),
    ("89 the host by its address", Any, &["tcp", "192.168.77.2", "8099"], &["tcp", "192.168.77.2", "8099"], Mark),
    ("89 the host by another address", Any, &["tcp", "5.5.5.5", "8099"], &["tcp", "5.5.5.5", "8099"], Mark),
    ("89 the host's loopback", Any, &["tcp", "127.0.0.1", "8099"], &["tcp", "127.0.0.1", "8099"], Mark),
    ("89 the host's loopback, as no address", Any, &["tcp", "0.0.0.0", "8099"], &["tcp", "0.0.0.0", "8099"], Mark),
    ("89 the host's neighbours", Any, &["tcp", "10.1.2.3", "80"], &["tcp", "10.1.2.3", "80"], Mark),
    ("44 the metadata service", Any, &["tcp", "169.254.169.254", "80"], &["tcp", "169.254.169.254", "80"], Mark),
    ("53 another port of an address inside", Any, &["tcp", "ALLOWED", "6443"], &["tcp", "9.9.9.9", "6443"], Mark),
    (
        "91 a name server by its address",
        Any,
        &["datagram", "8.8.8.8", "53"],
        &["datagram", "8.8.8.8", "53"],
        Sent("8.8.8.8"),
    ),
    ("92 a name server over TCP", Any, &["tcp", "8.8.8.8", "53"], &["tcp", "8.8.8.8", "53"], Mark),
    ("92 a name server over TLS", Any, &["tcp", "8.8.8.8", "853"], &["tcp", "8.8.8.8", "853"], Mark),
    ("92 the same port of an allowed name", Any, &["tcp", "ALLOWED", "853"], &["tcp", "9.9.9.9", "853"], Mark),
    ("93 a resolver by its address", Any, &["tcp", "8.8.8.8", "443"], &["tcp", "8.8.8.8", "443"], Mark),
    ("94 QUIC", Any, &["datagram", "151.101.1.2", "443"], &["datagram", "151.101.1.2", "443"], Sent(EVIL_ADDRESS)),
    (
        "94 QUIC to an allowed name",
        Any,
        &["datagram", "ALLOWED", "443"],
        &["datagram", "9.9.9.9", "443"],
        Sent("9.9.9.9"),
    ),
    ("94 UDP-Lite", Any, &["udplite", "151.101.1.2", "443"], &["udplite", "151.101.1.2", "443"], Sent(EVIL_ADDRESS)),
    (
        "48 many at once",
        Any,
        &["datagram", "224.0.0.251", "5353"],
        &["datagram", "224.0.0.251", "5353"],
        Sent("224.0.0.251"),
    ),
    (
        "48 all at once",
        Any,
        &["datagram", "255.255.255.255", "9"],
        &["datagram", "255.255.255.255", "9"],
        Sent("255.255.255.255"),
    ),
    ("95 a ping socket", Any, &["ping", "151.101.1.2"], &["ping", "151.101.1.2"], Sent(EVIL_ADDRESS)),
    ("95 a ping of an allowed name", Any, &["ping", "ALLOWED"], &["ping", "9.9.9.9"], Sent("9.9.9.9")),
    ("95 a ping over IPv6", Any, &["ping6", "2606:4700::1111"], &["ping6", "2606:4700::1111"], Sent("2606:4700::1111")),
    ("95 a ping of the host's network over IPv6", Any, &["ping6", "fd77::1"], &["ping6", "fd77::1"], Sent("fd77::1")),
    ("95 raw ICMP", Any, &["raw_icmp", "151.101.1.2"], &["raw_icmp", "151.101.1.2"], Sent(EVIL_ADDRESS)),
    (
        "96 packets with a head of one's own",
        Any,
        &["raw_ip", "151.101.1.2"],
        &["raw_ip", "151.101.1.2"],
        Sent(EVIL_ADDRESS),
    ),
    (
        "96 another protocol",
        Any,
        &["raw_protocol", "151.101.1.2"],
        &["raw_protocol", "151.101.1.2"],
        Sent(EVIL_ADDRESS),
    ),
    ("96 raw IPv6", Any, &["raw_ip6", "2606:4700::1111"], &["raw_ip6", "2606:4700::1111"], Sent("2606:4700::1111")),
    ("96 whole frames", Any, &["frames", "151.101.1.2"], &["frames", "151.101.1.2"], Sent(EVIL_ADDRESS)),
    ("96 an interface of one's own", Real, &["tunnel", "151.101.1.2"], &["tunnel", "151.101.1.2"], Says("made")),
    ("97 sockets of other families", Real, &["families"], &["families"], Says("made")),
    ("97 other kinds of netlink", Real, &["other_netlink"], &["other_netlink"], Says("made")),
    (
        "97 an address of one's own",
        Any,
        &["new_address", "151.101.1.2", "80"],
        &["new_address", "151.101.1.2", "8099"],
        Mark,
    ),
    ("97 a route of one's own", Any, &["new_route", "151.101.1.2", "80"], &["new_route", "151.101.1.2", "8099"], Mark),
    ("97 a namespace of one's own", Real, &["new_user"], &["new_user"], Says("made")),
    (
        "97 a setting of the network",
        Real,
        &["sysctl", "net/ipv4/ip_unprivileged_port_start", "0"],
        &["sysctl", "net/ipv4/ip_unprivileged_port_start", "1024"],
        Says("made"),
    ),
    (
        "97 the host's namespace",
        Real,
        &["entered", "151.101.1.2", "80"],
        &["entered", "151.101.1.2", "80", "leave"],
        Mark,
    ),
    ("99 an abstract socket of the host", Any, &["path_socket", "ABSTRACT"], &["path_socket", "ABSTRACT"], Mark),
    ("100 io_uring", Any, &["by_ring", "151.101.1.2", "80"], &["by_ring", "151.101.1.2", "80"], Mark),
    (
        "101 data in the first packet",
        Any,
        &["fast_open", "151.101.1.2", "80"],
        &["fast_open", "151.101.1.2", "80"],
        Mark,
    ),
    (
        "101 data before the connection",
        Any,
        &["fast_open_connect", "151.101.1.2", "80"],
        &["fast_open_connect", "151.101.1.2", "80"],
        Mark,
    ),
    ("101 several paths", Any, &["multipath", "151.101.1.2", "80"], &["multipath", "151.101.1.2", "80"], Mark),
    ("101 SCTP", Any, &["sctp", "151.101.1.2", "80"], &["sctp", "151.101.1.2", "80"], Mark),
    (
        "101 a connection without a handshake",
        Any,
        &["repair", "151.101.1.2", "80"],
        &["repair", "151.101.1.2", "80"],
        Sent(EVIL_ADDRESS),
    ),
    (
        "101 through the host's interface",
        Any,
        &["bound_device", "151.101.1.2", "80"],
        &["bound_device", "151.101.1.2", "80"],
        Mark,
    ),
    ("101 through any interface", Any, &["interface", "151.101.1.2", "80"], &["interface", "151.101.1.2", "80"], Mark),
    ("101 with a mark", Any, &["marked", "151.101.1.2", "80"], &["marked", "151.101.1.2", "80"], Mark),
    ("101 with a priority", Any, &["priority", "151.101.1.2", "80"], &["priority", "151.101.1.2", "80"], Mark),
    ("101 past the routes", Any, &["unrouted", "192.168.77.1", "80"], &["unrouted", "192.168.77.1", "80"], Mark),
    (
        "101 from the host's address",
        Any,
        &["from_source", "151.101.1.2", "80", "192.168.77.2"],
        &["from_source", "151.101.1.2", "80", "192.168.77.2"],
        Mark,
    ),
    (
        "101 from an address of nobody",
        Any,
        &["transparent", "151.101.1.2", "80"],
        &["transparent", "151.101.1.2", "80"],
        Sent(EVIL_ADDRESS),
    ),
    ("102 IPv6", Any, &["tcp", "2606:4700::1111", "80"], &["tcp", "2606:4700::1111", "80"], Mark),
    ("102 the host's loopback over IPv6", Any, &["tcp", "::1", "8099"], &["tcp", "::1", "8099"], Mark),
    ("102 the host's network over IPv6", Any, &["tcp", "fd77::2", "8099"], &["tcp", "fd77::2", "8099"], Mark),
    ("103 a connection that was left open", Real, &["inherited"], &["inherited"], Mark),
    ("103 descriptors of other processes", Real, &["taken"], &["taken", "VICTIM"], Says("a ")),
    ("103 other processes, stopped", Real, &["traced"], &["traced", "VICTIM"], Says("held")),
    ("103 other processes, seen", Real, &["looked_into"], &["looked_into", "VICTIM"], Says("seen")),
    (
        "103 the stub's port",
        Any,
        &["bound", "udp", "127.0.0.1", "53"],
        &["bound", "udp", "127.0.0.1", "53"],
        Says("bound"),
    ),
    (
        "103 the stub's port, on all addresses",
        Any,
        &["bound", "udp", "0.0.0.0", "53"],
        &["bound", "udp", "0.0.0.0", "53"],
        Says("bound"),
    ),
    (
        "103 the stub's other port",
        Any,
        &["bound", "tcp", "127.0.0.1", "53"],
        &["bound", "tcp", "127.0.0.1", "53"],
        Says("bound"),
    ),
    (
        "103 a captured port",
        Any,
        &["bound", "tcp", "0.0.0.0", "443"],
        &["bound", "tcp", "0.0.0.0", "443"],
        Says("bound"),
    ),
    ("103 a captured port, IPv6", Any, &["bound", "tcp", "::", "443"], &["bound", "tcp", "::", "443"], Says("bound")),
    (
        "103 a captured port of one name",
        Any,
        &["bound", "tcp", "ALLOWED", "443"],
        &["bound", "tcp", "127.0.0.1", "443"],
        Says("bound"),
    ),
    (
        "103 a high port of one name",
        Any,
        &["bound", "tcp", "ALLOWED", "5432"],
        &["bound", "tcp", "127.0.0.1", "5432"],
        Says("bound"),
    ),
    (
        "103 the proxy's port",
        Any,
        &["bound", "tcp", "127.0.0.1", "3128"],
        &["bound", "tcp", "127.0.0.1", "3128"],
        Says("bound"),
    ),
    (
        "104 a proxy inside",
        Any,
        &["relay", "151.101.1.2", "80", "474554"],
        &["relay", "151.101.1.2", "80", "474554"],
        Mark,
    ),
];

pub(super) fn run(suite: &Suite<'_>, are_real: bool) {
    let allowed = suite.goal(To::Name("allowed.test", 80)).ip().to_string();
    let victim = suite.world.victim().to_string();
    let name = hex(b"@mantlet-world");
    let said = |words: Words| -> Vec<String> {
        let word =
            |word: &&str| word.replace("ALLOWED", &allowed).replace("VICTIM", &victim).replace("ABSTRACT", &name);
        words.iter().map(word).collect()
    };
    for (id, _, inside, outside, goal) in TRICKS.iter().filter(|trick| trick.1 == Any || are_real) {
        suite.begin(id);
        one(suite, id, &said(inside), &said(outside), goal);
    }
    for path in SOCKETS.iter().filter(|_| are_real) {
        let id = "98 a socket of the host that is a file";
        suite.begin(id);
        let words = ["path_socket".to_owned(), hex(path.as_bytes())];
        one(suite, id, &words, &words, &Mark);
    }
    // What the jail's own programs may do.
    assert_eq!(suite.jail.agent().ask(&["listens", "8080"]).as_deref(), Ok(&b"mine"[..]));
    assert_eq!(suite.jail.agent().ask(&["listens", "5432"]).as_deref(), Ok(&b"mine"[..]));
    programs(suite);
    others(suite);
    handshakes::twin(suite, "the kernel");
}

fn one(suite: &Suite<'_>, id: &str, inside: &[String], outside: &[String], goal: &Goal) {
    let words = |words: &'_ [String]| -> Vec<String> { words.to_vec() };
    let ask = |agent: &crate::world::agent::Agent, all: &[String]| -> Answer {
        let all = words(all);
        agent.ask(&all.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let answer = ask(suite.jail.agent(), inside);
    let is_done = |answer: &Answer, sign: &str| answer.as_ref().is_ok_and(|said| has(said, sign));
    match goal {
        Mark => suite.expect(!is_done(&answer, MARK), || format!("{id}: {answer:?}")),
        Says(sign) => suite.expect(!is_done(&answer, sign), || format!("{id}: {answer:?}")),
        // The capture says it.
        Sent(_) => {}
    }
    suite.only_allowed(id);
    let twin = ask(
        suite.jail.agent(),
        &["talk".into(), allowed_address(suite), "80".into(), hex(GOOD.as_bytes()), "2000".into()],
    );
    suite.expect(is_done(&twin, MARK), || format!("{id}, its twin: {twin:?}"));
    suite.only_allowed(id);
    let answer = ask(&suite.world.outside, outside);
    let seen = suite.world.packets.take();
    suite.world.packets.forget();
    let is_reached = match goal {
        Mark => is_done(&answer, MARK),
        Says(sign) => is_done(&answer, sign),
        Sent(address) => seen.has(address.parse().unwrap()),
    };
    // This kernel may have no such protocol, for anybody; a device may be for others than this machine's user.
    let is_missing =
        answer.as_ref().is_err_and(|why| why.contains("not supported") || why.contains("Permission denied: '/dev/"));
    match (is_reached, is_missing) {
        (true, _) => {}
        (false, true) => println!("{id}: no control, this kernel or this user does not have it"),
        (false, false) => suite.expect(false, || format!("{id}, its control: {answer:?} {seen:?}")),
    }
}

fn allowed_address(suite: &Suite<'_>) -> String {
    suite.goal(To::Name("allowed.test", 80)).ip().to_string()
}

/// Programs that are told to use no proxy, in each way there is.
const PROGRAMS: &[(&str, Words)] = &[
    ("89 a program that uses no proxy", &["/usr/bin/curl", "-sS", "--max-time", "4", "--noproxy", "*", "http://NAME/"]),
    (
        "89 a program that brings the address along",
        &["/usr/bin/curl", "-sS", "--max-time", "4", "--resolve", "NAME:80:ADDRESS", "http://NAME/"],
    ),
    (
        "90 no proxy for anything",
        &[
            "http_proxy=http://127.0.0.1:3128",
            "no_proxy=*",
            "NO_PROXY=*",
            "/usr/bin/curl",
            "-sS",
            "--max-time",
            "4",
            "http://NAME/",
        ],
    ),
];

fn programs(suite: &Suite<'_>) {
    let allowed = allowed_address(suite);
    let words = |words: Words, name: &str, address: &str| -> Vec<String> {
        words.iter().map(|word| word.replace("NAME", name).replace("ADDRESS", address)).collect()
    };
    for (id, program) in PROGRAMS {
        suite.begin(id);
        let run = |agent: &crate::world::agent::Agent, name, address| {
            let words = words(program, name, address);
            agent.run(&words.iter().map(String::as_str).collect::<Vec<_>>()).unwrap()
        };
        let answer = run(suite.jail.agent(), "evil.test", "151.101.1.2");
        suite.expect(!has(&answer, MARK), || format!("{id}: {}", text(&answer)));
        suite.nothing_left(id);
        let answer = run(suite.jail.agent(), "allowed.test", &allowed);
        suite.expect(has(&answer, MARK), || format!("{id}, its twin: {}", text(&answer)));
        let answer = suite.control(id, || run(&suite.world.outside, "evil.test", "151.101.1.2"));
        suite.expect(has(&answer, MARK), || format!("{id}, its control: {}", text(&answer)));
    }
}

/// What listens in a jail is out of reach for everybody else.
fn others(suite: &Suite<'_>) {
    let id = "105 others at the way out of a jail";
    suite.begin(id);
    let inside = suite.goal(To::Name("allowed.test", 80));
    let proxy = suite.goal(To::Proxy);
    suite.only_allowed(id);
    for (address, bytes) in [(inside, GOOD), (proxy, CONNECT_GOOD)] {
        let answer = suite.world.outside.talk(address, bytes.as_bytes());
        suite.expect(!has(&answer, MARK), || format!("{id}: {}", text(&answer)));
        let answer = suite.jail.agent().talk(address, bytes.as_bytes());
        suite.expect(has(&answer, MARK), || format!("{id}, its twin: {}", text(&answer)));
    }
    suite.world.packets.forget();
    // The control: a proxy on the host's loopback serves whoever comes.
    let answer = suite.talk_outside(&format!("127.0.0.1:{}", crate::world::ground::PLAIN), CONNECT_GOOD.as_bytes());
    suite.expect(has(&answer, MARK) && PROXY != crate::world::ground::PLAIN, || {
        format!("{id}, its control: {}", text(&answer))
    });
    suite.world.packets.forget();
}
