//! Generated requests in every language that the way out speaks, and beside it a second, much simpler reader of the same
//! rules.

use super::internet::MARK;

/// The rules that the simple reader knows.
pub(crate) const EGRESS: &str = "allow = [\"allowed.test:80\", \"*.wild.test:80\"]";

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

/// A request that is somewhere between right and wrong.
pub(crate) fn request(state: &mut u64) -> Vec<u8> {
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
pub(crate) fn is_allowed(name: &str) -> bool {
    let below = name.strip_suffix(".wild.test");
    let is_plain = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
    };
    name == "allowed.test" || below.is_some_and(|below| below.split('.').all(is_plain))
}

/// The host that a server was told, if one answered: that one must be allowed.
pub(crate) fn told(request: &[u8], answer: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(answer);
    let (_, told) = text.split_once(MARK)?;
    let host = told.lines().find_map(|line| line.strip_prefix("Host: ")).unwrap_or_default();
    assert!(is_allowed(host), "a server was told {host:?} for {:?}", String::from_utf8_lossy(request));
    Some(host.to_owned())
}
