//! Handshakes whose name is not the one that the connection was opened to, or cannot be read.

use super::{Suite, To, has, text};
use crate::world::internet::MARK;

type Extensions = &'static [(u16, &'static [u8])];

const ALLOWED: &[u8] = b"\x00\x0f\x00\x00\x0callowed.test";
const EVIL_NAME: &[u8] = b"\x00\x0c\x00\x00\x09evil.test";
const REFUSED: [u8; 7] = [21, 3, 3, 0, 2, 2, 49];
const SERVER: &str = "9.9.9.9:443";

/// Handshakes at the address of an allowed name: their extensions, and the length of their records.
const HANDSHAKES: &[(&str, Extensions, usize)] = &[
    ("60 another name", &[(0, EVIL_NAME)], 16000),
    ("62 no name", &[(43, b"\x02\x03\x04")], 16000),
    ("63 another name in small records", &[(0x0a0a, b""), (0, EVIL_NAME)], 11),
    ("63 two names", &[(0, ALLOWED), (0, EVIL_NAME)], 16000),
    ("63 two names in one list", &[(0, b"\x00\x1b\x00\x00\x0callowed.test\x00\x00\x09evil.test")], 16000),
    ("63 a NUL in the name", &[(0, b"\x00\x11\x00\x00\x0eallowed.test\0\0")], 16000),
    ("63 a name of another type", &[(0, b"\x00\x0f\x01\x00\x0callowed.test")], 16000),
    ("63 a name with a dot too many", &[(0, b"\x00\x11\x00\x00\x0eallowed.test..")], 16000),
    ("63 a byte in each record", &[(0, ALLOWED)], 1),
    ("63 more than a handshake may be", &[(21, &[0; 20000]), (0, ALLOWED)], 16000),
    ("64 an encrypted ClientHello", &[(0, ALLOWED), (0xfe0d, &[0; 32])], 16000),
    ("28 an address as a name", &[(0, b"\x00\x0a\x00\x00\x079.9.9.9")], 16000),
];

pub(super) fn run(suite: &Suite<'_>) {
    let agent = suite.jail.agent();
    let address = suite.goal(To::Name("allowed.test", 443));
    for (id, extensions, cut) in HANDSHAKES {
        suite.begin(id);
        let bytes = handshake(extensions, *cut);
        suite.expect(agent.talk(address, &bytes) == REFUSED, || format!("{id}: access_denied"));
        suite.nothing_left(id);
        // A server itself says something else to it.
        let answer = suite.control(id, || suite.from_outside(SERVER, &bytes));
        suite.expect(answer.first().is_some_and(|first| [21, 22].contains(first)) && answer != REFUSED, || {
            format!("{id}: {answer:?}")
        });
    }
    let id = "61 CONNECT a, and the name of b";
    suite.begin(id);
    let bytes = [
        b"CONNECT allowed.test:443 HTTP/1.1\r\nHost: allowed.test:443\r\n\r\n".to_vec(),
        handshake(&[(0, EVIL_NAME)], 16000),
    ];
    let answer = agent.talk(suite.goal(To::Proxy), &bytes.concat());
    suite.expect(answer.ends_with(&REFUSED), || format!("{id}: {}", text(&answer)));
    suite.nothing_left(id);
    for name in ["evil.test", "-"] {
        // The control: the server there serves any name, and none.
        let answer = suite.control(id, || over_tls(&suite.world.outside, SERVER, name));
        suite.expect(has(&answer, MARK), || format!("{id}, its control: {}", text(&answer)));
        let answer = over_tls(agent, &address.to_string(), name);
        suite.expect(!has(&answer, MARK), || format!("{name}: {}", text(&answer)));
        suite.nothing_left(id);
    }
    // The twin of them all.
    twin(suite, id);
}

/// An allowed name, over TLS.
pub(super) fn twin(suite: &Suite<'_>, id: &str) {
    let address = suite.goal(To::Name("allowed.test", 443));
    let answer = over_tls(suite.jail.agent(), &address.to_string(), "allowed.test");
    suite.expect(has(&answer, MARK), || format!("{id}, its twin: {}", text(&answer)));
    suite.only_allowed(id);
}

fn over_tls(agent: &crate::world::agent::Agent, to: &str, name: &str) -> Vec<u8> {
    let request = crate::world::agent::hex(super::GOOD.as_bytes());
    let (address, port) = to.rsplit_once(':').unwrap();
    agent.ask(&["tls", address, port, name, &request]).unwrap_or_else(String::into_bytes)
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
