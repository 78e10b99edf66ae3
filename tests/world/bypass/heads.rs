//! Requests that are read in more than one way, and requests that go on where another one was judged.

use super::Control::{Direct, Plain, Same};
use super::{ABSOLUTE, CONNECT_GOOD, Case, EVIL, GET_EVIL, GOOD, Part, To, WEB};

macro_rules! field {
    ($lines:literal) => {
        concat!("POST / HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n", $lines)
    };
}
macro_rules! wild {
    ($line:literal) => {
        wild!($line, "")
    };
    ($line:literal, $fields:literal) => {
        concat!($line, " HTTP/1.1\r\nHost: a.wild.test\r\nConnection: close\r\n", $fields, "\r\n")
    };
}
const PUBLIC: &str = wild!("GET /public/x");
const WILD: To = To::Name("a.wild.test", 80);
const SERVER: super::Control = Same("9.9.9.9:80");

pub(super) const CASES: &[Case] = &[
    (
        "59 CONNECT and its own Host differ",
        To::Proxy,
        "CONNECT evil.test:80 HTTP/1.1\r\nHost: allowed.test:80\r\n\r\nGET / HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n",
        CONNECT_GOOD,
        Plain,
    ),
    ("60 the address of a, Host b", WEB, GET_EVIL, GOOD, SERVER),
    (
        "60 the address of a, Host of another allowed one",
        WEB,
        "GET / HTTP/1.1\r\nHost: second.test\r\nConnection: close\r\n\r\n",
        GOOD,
        SERVER,
    ),
    ("65 443 and no TLS", To::Name("allowed.test", 443), "SSH-2.0-OpenSSH_9.9\r\n\r\n", "", Same("9.9.9.9:443")),
    (
        "66 URL and Host differ",
        To::Proxy,
        "GET http://evil.test/ HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n",
        ABSOLUTE,
        Plain,
    ),
    (
        "66 Host and URL differ",
        To::Proxy,
        "GET http://allowed.test/ HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n",
        ABSOLUTE,
        Plain,
    ),
    (
        "66 a whole URL where no proxy is",
        WEB,
        "GET http://evil.test/ HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n",
        GOOD,
        SERVER,
    ),
    ("67 no Host", WEB, "GET / HTTP/1.1\r\nConnection: close\r\n\r\n", GOOD, SERVER),
    (
        "67 two Hosts",
        WEB,
        "GET / HTTP/1.1\r\nHost: allowed.test\r\nHost: evil.test\r\nConnection: close\r\n\r\n",
        GOOD,
        SERVER,
    ),
    ("67 an old request without Host", WEB, "GET / HTTP/1.0\r\nConnection: close\r\n\r\n", GOOD, SERVER),
    (
        "69 length and chunks",
        WEB,
        field!("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        GOOD,
        SERVER,
    ),
    (
        "69 chunks and length",
        WEB,
        field!("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
        GOOD,
        SERVER,
    ),
    ("70 two lengths", WEB, field!("Content-Length: 0\r\nContent-Length: 5\r\n\r\n"), GOOD, SERVER),
    ("70 a list of lengths", WEB, field!("Content-Length: 0, 5\r\n\r\n"), GOOD, SERVER),
    ("70 a length with a sign", WEB, field!("Content-Length: +0\r\n\r\n"), GOOD, SERVER),
    ("71 an unknown coding", WEB, field!("Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"), GOOD, SERVER),
    (
        "71 two codings",
        WEB,
        field!("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"),
        GOOD,
        SERVER,
    ),
    ("71 a space before the colon", WEB, field!("Transfer-Encoding : chunked\r\n\r\n"), GOOD, SERVER),
    ("72 a bare LF", WEB, "GET / HTTP/1.1\nHost: allowed.test\n\n", GOOD, SERVER),
    ("72 a bare CR in a field", WEB, field!("X: a\rHost: evil.test\r\n\r\n"), GOOD, SERVER),
    ("72 a folded line", WEB, field!("X: a\r\n b\r\n\r\n"), GOOD, SERVER),
    ("73 a chunk extension", WEB, field!("Transfer-Encoding: chunked\r\n\r\n1;x=y\r\na\r\n0\r\n\r\n"), GOOD, SERVER),
    (
        "73 a chunk whose length does not fit",
        WEB,
        field!("Transfer-Encoding: chunked\r\n\r\n10000000000000001\r\na\r\n0\r\n\r\n"),
        GOOD,
        SERVER,
    ),
    (
        "75 an upgrade to h2c",
        WEB,
        field!("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"),
        GOOD,
        SERVER,
    ),
    ("76 HTTP/2 from the start", WEB, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", GOOD, SERVER),
    (
        "78 a response with two lengths",
        WEB,
        "GET /both HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n",
        GOOD,
        SERVER,
    ),
    (
        "78 a switch nobody asked for",
        WEB,
        "GET /unasked HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n",
        GOOD,
        SERVER,
    ),
    (
        "79 a WebSocket where it is not allowed",
        WILD,
        wild!("GET /admin", "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n"),
        PUBLIC,
        SERVER,
    ),
    (
        "79 an upgrade to something else",
        WILD,
        wild!("GET /public/x", "Connection: Upgrade\r\nUpgrade: tcp\r\n"),
        PUBLIC,
        SERVER,
    ),
    ("80 TRACE", WEB, "TRACE / HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n", GOOD, SERVER),
    ("81 dot segments", WILD, wild!("GET /public/../admin"), PUBLIC, SERVER),
    ("81 escaped dot segments", WILD, wild!("GET /public/%2e%2e/admin"), PUBLIC, SERVER),
    ("81 a parameter segment", WILD, wild!("GET /public/..;/admin"), PUBLIC, SERVER),
    ("81 dot segments, half escaped", WILD, wild!("GET /public/%2e./admin"), PUBLIC, SERVER),
    ("81 dot segments behind a fragment", WILD, wild!("GET /public/x#/../../admin"), PUBLIC, SERVER),
    ("81 two paths", WILD, wild!("GET /public/x /admin"), PUBLIC, SERVER),
    ("81 a path in capitals", WILD, wild!("GET /PUBLIC/x"), PUBLIC, SERVER),
    ("81 another path", WILD, wild!("GET /admin"), PUBLIC, SERVER),
    (
        "81 another path, with the host in capitals",
        WILD,
        "GET /admin HTTP/1.1\r\nHost: A.WILD.test.\r\nConnection: close\r\n\r\n",
        PUBLIC,
        SERVER,
    ),
    (
        "81 another path, by URL",
        To::Proxy,
        "GET http://a.wild.test/admin HTTP/1.1\r\nHost: a.wild.test\r\nConnection: close\r\n\r\n",
        ABSOLUTE,
        Plain,
    ),
    (
        "81 another path, by a URL without one",
        To::Proxy,
        "GET http://a.wild.test?/public/x HTTP/1.1\r\nHost: a.wild.test\r\nConnection: close\r\n\r\n",
        ABSOLUTE,
        Plain,
    ),
    ("81 a backslash", WILD, wild!("GET /public/..\\admin"), PUBLIC, SERVER),
    ("82 an escaped slash", WILD, wild!("GET /public/%2Fadmin"), PUBLIC, SERVER),
    ("82 a doubly escaped slash", WILD, wild!("GET /public/%252Fadmin"), PUBLIC, SERVER),
    ("83 an escaped NUL", WILD, wild!("GET /public/%00"), PUBLIC, SERVER),
    ("83 a NUL", WILD, wild!("GET /public/x\0y"), PUBLIC, SERVER),
    ("84 another method", WILD, wild!("DELETE /public/x"), PUBLIC, SERVER),
    ("84 a method in small letters", WILD, wild!("get /public/x"), PUBLIC, SERVER),
    ("84 a method in a field", WILD, wild!("GET /public/x", "X-HTTP-Method-Override: DELETE\r\n"), PUBLIC, SERVER),
    (
        "87 Connection takes a field away",
        WEB,
        "GET / HTTP/1.1\r\nHost: allowed.test\r\nConnection: authorization\r\nAuthorization: x\r\n\r\n",
        GOOD,
        SERVER,
    ),
];

/// The first request is allowed; what must not arrive is in the text that a server would say.
pub(super) const PARTS: &[Part] = &[
    (
        "59 CONNECT a, Host b",
        To::Proxy,
        "CONNECT allowed.test:80 HTTP/1.1\r\nHost: allowed.test:80\r\n\r\nGET / HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n",
        "Host: evil.test",
        Plain,
    ),
    (
        "65 CONNECT to 443 and no TLS",
        To::Proxy,
        "CONNECT allowed.test:443 HTTP/1.1\r\nHost: allowed.test:443\r\n\r\nGET / HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n",
        "reached",
        Plain,
    ),
    (
        "68 another host on the same connection",
        WEB,
        "GET /one HTTP/1.1\r\nHost: allowed.test\r\n\r\nGET /two HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n",
        "GET /two",
        SERVER,
    ),
    (
        "68 another host in the same tunnel",
        To::Proxy,
        "CONNECT allowed.test:80 HTTP/1.1\r\nHost: allowed.test:80\r\n\r\nGET /one HTTP/1.1\r\nHost: allowed.test\r\n\r\nGET /two HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n",
        "GET /two",
        Plain,
    ),
    (
        "74 a request behind a body",
        WEB,
        "POST /one HTTP/1.1\r\nHost: allowed.test\r\nContent-Length: 4\r\n\r\nbodyGET /two HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n",
        "GET /two",
        SERVER,
    ),
    (
        "74 a request behind chunks",
        WILD,
        "GET /public/one HTTP/1.1\r\nHost: a.wild.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /two HTTP/1.1\r\nHost: a.wild.test\r\nConnection: close\r\n\r\n",
        "GET /two",
        Direct("9.9.9.9:80", "GET /two HTTP/1.1\r\nHost: a.wild.test\r\nConnection: close\r\n\r\n"),
    ),
    (
        "76 HTTP/2 inside a tunnel",
        To::Proxy,
        "CONNECT allowed.test:80 HTTP/1.1\r\nHost: allowed.test:80\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "PRI *",
        Plain,
    ),
    (
        "79 requests behind an upgrade that nobody took",
        WILD,
        "GET /public/plain HTTP/1.1\r\nHost: a.wild.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\nGET /admin HTTP/1.1\r\nHost: a.wild.test\r\n\r\n",
        "GET /admin",
        SERVER,
    ),
    (
        "81 another path inside a tunnel",
        To::Proxy,
        "CONNECT a.wild.test:80 HTTP/1.1\r\nHost: a.wild.test:80\r\n\r\nGET /admin HTTP/1.1\r\nHost: a.wild.test\r\nConnection: close\r\n\r\n",
        "GET /admin",
        Plain,
    ),
    (
        "81 another path through SOCKS",
        To::Proxy,
        "\x05\x01\x00\x05\x01\x00\x03\x0ba.wild.test\x00\x50GET /admin HTTP/1.1\r\nHost: a.wild.test\r\nConnection: close\r\n\r\n",
        "GET /admin",
        Plain,
    ),
    (
        "85 a redirect to another host",
        To::Proxy,
        "GET http://allowed.test/moved HTTP/1.1\r\nHost: allowed.test\r\n\r\nGET http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n",
        "Host: evil.test",
        EVIL,
    ),
];
