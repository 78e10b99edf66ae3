//! What must hold for any bytes: shared by the test over the corpus and the fuzz targets.

use mantlet_egress::dns::wire;
use mantlet_egress::http::chunks::{Chunks, From, Step};
use mantlet_egress::http::head::{Aim, RequestHead, ResponseHead};
use mantlet_egress::{Authority, HostName, Target, hello, socks};

/// A property of one parser.
pub type Property = fn(&[u8]);

/// The parsers, by the name of their corpus.
pub const ALL: &[(&str, Property)] =
    &[("name", name), ("head", head), ("hello", hello_), ("dns", dns), ("socks", socks_), ("chunks", chunks)];

fn is_canonical(name: &HostName) {
    assert_eq!(HostName::from_wire(name.as_str().as_bytes()).as_ref(), Ok(name));
    assert_eq!(HostName::from_person(name.as_str()).as_ref(), Ok(name));
    assert!(name.as_str().parse::<std::net::IpAddr>().is_err());
    assert!(name.as_str().len() <= 253 && !name.as_str().bytes().any(|b| b <= b' ' || b >= 127 || b == b'%'));
}

pub fn name(bytes: &[u8]) {
    if let Ok(name) = HostName::from_wire(bytes) {
        is_canonical(&name);
    }
    if let Some(name) = std::str::from_utf8(bytes).ok().and_then(|text| HostName::from_person(text).ok()) {
        is_canonical(&name);
    }
    if let Ok(authority) = Authority::parse(bytes, Some(80)) {
        assert_ne!(authority.port, 0);
        if let Target::Name(name) = &authority.target {
            is_canonical(name);
        }
    }
}

pub fn head(bytes: &[u8]) {
    if let Ok(Some((head, end))) = RequestHead::parse(bytes, 80) {
        assert!(end <= bytes.len());
        if has_room(head.fields.len(), bytes)
            && head.aim != Aim::Connect
            && matches!(head.authority.target, Target::Name(_))
        {
            let written = head.write();
            // What is passed on is one head, of the same host, path and length, however it is read.
            let again = RequestHead::parse(&written, 80).ok().flatten();
            assert!(again.is_some_and(|(again, length)| {
                length == written.len()
                    && again.authority == head.authority
                    && again.path == head.path
                    && again.length == head.length
                    && again.method == head.method
            }));
        }
    }
    for method in ["GET", "HEAD"] {
        if let Ok(Some((head, end))) = ResponseHead::parse(bytes, method) {
            assert!(end <= bytes.len() && (100..600).contains(&head.status));
            let has_body = method != "HEAD" && head.status >= 200 && !matches!(head.status, 204 | 304);
            let written = head.write(has_body.then_some(head.length), Some("close"));
            let again = ResponseHead::parse(&written, method).ok().flatten();
            assert!(!has_room(head.fields.len(), bytes) || again.is_some_and(|again| again.1 == written.len()));
        }
    }
}

/// A head at the limit grows beyond it by the fields that are written anew.
fn has_room(fields: usize, bytes: &[u8]) -> bool {
    fields < 95 && bytes.len() < 32_000
}

pub fn hello_(bytes: &[u8]) {
    match hello::server_name(bytes) {
        Ok(Some(name)) => is_canonical(&name),
        // Nobody waits for more than a ClientHello may have.
        Ok(None) => assert!(bytes.len() <= 2 * hello::MOST),
        Err(_) => {}
    }
}

pub fn dns(bytes: &[u8]) {
    let (v4, v6) = (std::net::Ipv4Addr::new(198, 18, 1, 1), std::net::Ipv6Addr::LOCALHOST);
    let mut asked = None;
    let answered = wire::answer(bytes, |name| {
        asked = Some(name.clone());
        match name.as_str() {
            "allowed.test" => wire::Known::At(v4, v6),
            _ => wire::Known::No,
        }
    });
    if let Some(answered) = answered {
        assert!(answered.message.len() <= bytes.len() + 64 && answered.message.len() >= 12);
        assert!(answered.message[7] == 0 || asked.as_ref().is_some_and(|name| name.as_str() == "allowed.test"));
        // An answer is no query: two stubs never talk to each other.
        assert!(wire::answer(&answered.message, |_| wire::Known::No).is_none());
    }
    let name = HostName::from_wire(b"allowed.test").unwrap();
    for (id, v6) in [(7, false), (7, true)] {
        let _read = wire::response(bytes, id, &name, v6);
    }
}

pub fn socks_(bytes: &[u8]) {
    if let Ok(Some(length)) = socks::greeting(bytes, socks::FREE) {
        assert!(length <= bytes.len());
    }
    if let Ok(Some((user, password, length))) = socks::login(bytes) {
        assert!(length <= bytes.len() && user.len() + password.len() + 3 == length);
    }
    if let Ok(Some((target, port, length))) = socks::request(bytes) {
        assert!(length <= bytes.len() && port > 0);
        if let Target::Name(name) = target {
            is_canonical(&name);
        }
    }
}

pub fn chunks(bytes: &[u8]) {
    let whole = body(bytes, bytes.len().max(1));
    assert_eq!(whole, body(bytes, 1));
}

fn body(bytes: &[u8], piece: usize) -> Option<(Vec<u8>, bool)> {
    let (mut chunks, mut body, mut at) = (Chunks::new(From::Server), Vec::new(), 0);
    while at < bytes.len() {
        let end = (at + piece).min(bytes.len());
        match chunks.step(&bytes[at..end]).ok()? {
            Step::End => return Some((body, true)),
            Step::Skip(count) => at += count,
            Step::Data(count) => {
                body.extend_from_slice(&bytes[at..at + count]);
                at += count;
            }
        }
    }
    Some((body, chunks.step(&[]).ok()? == Step::End))
}
