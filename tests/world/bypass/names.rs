//! Names that are read in more than one way, and addresses that are none: at the explicit proxy.

use super::Control::{Direct, Nowhere, Plain, Same};
use super::{ABSOLUTE, CONNECT_GOOD, Case, EVIL, GET_EVIL, GOOD, To, WEB};

const SOCKS: &str = "\x05\x01\x00\x05\x01\x00\x03\x0callowed.test\x00\x50GET / HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n";

macro_rules! connect {
    ($target:literal) => {
        concat!(
            "CONNECT ",
            $target,
            " HTTP/1.1\r\nHost: ",
            $target,
            "\r\n\r\nGET / HTTP/1.1\r\nHost: ",
            $target,
            "\r\nConnection: close\r\n\r\n"
        )
    };
}
macro_rules! absolute {
    ($url:literal) => {
        concat!("GET ", $url, " HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n")
    };
}

const HOST: super::Control = Direct("127.0.0.1:8099", GET_EVIL);
const LONG: &str = "no message of DNS carries it, so that nobody could be reached by it";

pub(super) const CASES: &[Case] = &[
    ("1 suffix without a dot", To::Proxy, connect!("evil-allowed.test:80"), CONNECT_GOOD, Plain),
    ("2 allowed name as a prefix", To::Proxy, connect!("allowed.test.evil.test:80"), CONNECT_GOOD, Plain),
    ("2 a name below an allowed one", To::Proxy, connect!("evil.allowed.test:80"), CONNECT_GOOD, Plain),
    ("3 another host", To::Proxy, connect!("evil.test:80"), CONNECT_GOOD, Plain),
    ("3 another host, in capitals", To::Proxy, connect!("EVIL.TEST:80"), connect!("ALLOWED.Test:80"), Plain),
    ("4 a trailing dot", To::Proxy, connect!("evil.test.:80"), connect!("allowed.test.:80"), Plain),
    ("5 two trailing dots", To::Proxy, connect!("allowed.test..:80"), CONNECT_GOOD, Plain),
    ("5 a leading dot", To::Proxy, connect!(".allowed.test:80"), CONNECT_GOOD, Plain),
    ("5 an empty label", To::Proxy, connect!("evil..allowed.test:80"), CONNECT_GOOD, Plain),
    ("6 the wildcard's own domain", To::Proxy, connect!("wild.test:80"), CONNECT_GOOD, Plain),
    ("7 a zone in an address", To::Proxy, connect!("[::ffff:151.101.1.2%x.wild.test]:80"), CONNECT_GOOD, Plain),
    ("10 a Cyrillic letter", To::Proxy, connect!("аllowed.test:80"), CONNECT_GOOD, Plain),
    ("10 a Cyrillic letter, as it is looked up", To::Proxy, connect!("xn--llowed-2nf.test:80"), CONNECT_GOOD, Plain),
    (
        "11 one label that says it is another",
        To::Proxy,
        connect!("xn--allowed-.test:80"),
        connect!("xn--bcher-kva.test:80"),
        Plain,
    ),
    (
        "11 a label that says what it is not",
        To::Proxy,
        connect!("xn--evil-.test:80"),
        connect!("xn--bcher-kva.test:80"),
        Plain,
    ),
    ("12 an ideographic dot", To::Proxy, connect!("evil.test。allowed.test:80"), CONNECT_GOOD, Plain),
    ("12 a full-width dot", To::Proxy, connect!("evil.test．allowed.test:80"), CONNECT_GOOD, Plain),
    ("12 a half-width dot", To::Proxy, connect!("evil.test｡allowed.test:80"), CONNECT_GOOD, Plain),
    ("13 a soft hyphen", To::Proxy, connect!("ev\u{ad}il.test:80"), CONNECT_GOOD, Plain),
    ("13 a joiner of no width", To::Proxy, connect!("ev\u{200d}il.test:80"), CONNECT_GOOD, Plain),
    ("14 an escaped dot", To::Proxy, connect!("evil%2etest:80"), CONNECT_GOOD, Plain),
    ("15 a NUL in CONNECT", To::Proxy, connect!("evil.test\0.wild.test:80"), CONNECT_GOOD, Plain),
    ("16 a NUL in SOCKS", To::Proxy, "\x05\x01\x00\x05\x01\x00\x03\x14evil.test\0.wild.test\x00\x50", SOCKS, Plain),
    ("17 an escaped NUL", To::Proxy, connect!("evil.test%00.wild.test:80"), CONNECT_GOOD, Plain),
    ("18 a space", To::Proxy, connect!("evil.test .wild.test:80"), CONNECT_GOOD, Plain),
    ("18 a tab", To::Proxy, connect!("evil.test\t.wild.test:80"), CONNECT_GOOD, Plain),
    ("18 a line end", To::Proxy, connect!("evil.test\r\n.wild.test:80"), CONNECT_GOOD, Plain),
    ("18 a delete", To::Proxy, connect!("evil.test\u{7f}.wild.test:80"), CONNECT_GOOD, Plain),
    ("19 user information", To::Proxy, absolute!("http://allowed.test@evil.test/"), ABSOLUTE, Plain),
    ("19 a backslash before @", To::Proxy, absolute!("http://evil.test\\@allowed.test/"), ABSOLUTE, EVIL),
    ("20 a backslash in the host", To::Proxy, absolute!("http://evil.test\\.allowed.test/"), ABSOLUTE, Plain),
    ("21 a fragment in the authority", To::Proxy, absolute!("http://evil.test#.allowed.test/"), ABSOLUTE, Plain),
    ("21 a query in the authority", To::Proxy, absolute!("http://evil.test?.allowed.test/"), ABSOLUTE, Plain),
    (
        "22 a label of 64 bytes",
        To::Proxy,
        connect!("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.wild.test:80"),
        CONNECT_GOOD,
        Nowhere(LONG),
    ),
    (
        "22 a name of 254 bytes",
        To::Proxy,
        connect!(
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.wild.test:80"
        ),
        CONNECT_GOOD,
        Nowhere(LONG),
    ),
    ("23 an underscore", To::Proxy, connect!("evil_allowed.test:80"), CONNECT_GOOD, Plain),
    ("24 a port in the host", To::Proxy, connect!("evil.test:80.wild.test:80"), CONNECT_GOOD, Plain),
    ("25 port 0", To::Proxy, connect!("allowed.test:0"), CONNECT_GOOD, Plain),
    ("25 a port above 65535", To::Proxy, connect!("allowed.test:65616"), CONNECT_GOOD, Plain),
    ("25 a leading zero", To::Proxy, connect!("allowed.test:080"), CONNECT_GOOD, Plain),
    ("25 two ports", To::Proxy, connect!("allowed.test:80:80"), CONNECT_GOOD, Plain),
    ("25 no number", To::Proxy, connect!("allowed.test:http"), CONNECT_GOOD, Plain),
    ("25 no port", To::Proxy, connect!("allowed.test:"), CONNECT_GOOD, Plain),
    ("26 IPv6 without brackets", To::Proxy, connect!("2606:4700::1111:80"), CONNECT_GOOD, Plain),
    ("27 another port", To::Proxy, connect!("second.test:5432"), CONNECT_GOOD, Plain),
    ("28 an address", To::Proxy, connect!("9.9.9.9:80"), CONNECT_GOOD, Plain),
    ("28 an address, SOCKS", To::Proxy, "\x05\x01\x00\x05\x01\x00\x01\x09\x09\x09\x09\x00\x50", SOCKS, Plain),
    ("28 an address as a name, SOCKS", To::Proxy, "\x05\x01\x00\x05\x01\x00\x03\x079.9.9.9\x00\x50", SOCKS, Plain),
    (
        "28 an IPv6 address, SOCKS",
        To::Proxy,
        "\x05\x01\x00\x05\x01\x00\x04\x20\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x50",
        SOCKS,
        Plain,
    ),
    ("28 an address in a URL", To::Proxy, absolute!("http://151.101.1.2/"), ABSOLUTE, Plain),
    ("3 another host, SOCKS", To::Proxy, "\x05\x01\x00\x05\x01\x00\x03\x09evil.test\x00\x50", SOCKS, Plain),
    ("3 another host, SOCKS 4", To::Proxy, "\x04\x01\x00\x50\0\0\0\x01\0evil.test\0", SOCKS, Plain),
    ("94 a relay for UDP, SOCKS", To::Proxy, "\x05\x01\x00\x05\x03\x00\x03\x09evil.test\x00\x50", SOCKS, Plain),
    ("104 a listener outside, SOCKS", To::Proxy, "\x05\x01\x00\x05\x02\x00\x03\x0callowed.test\x00\x50", SOCKS, Plain),
    ("28 an address inside that stands for no name", To::Inside("198.18.200.200:80"), GET_EVIL, GOOD, EVIL),
    ("28 the interface's own address", To::Inside("198.18.0.1:80"), GET_EVIL, GOOD, EVIL),
    ("28 the loopback, on a captured port", To::Inside("127.0.0.1:80"), GET_EVIL, GOOD, EVIL),
    ("28 the loopback of IPv6, on a captured port", To::Inside("[::1]:80"), GET_EVIL, GOOD, EVIL),
    ("29 a decimal address", To::Proxy, connect!("2130706433:8099"), CONNECT_GOOD, Plain),
    ("30 an octal address", To::Proxy, connect!("0177.0.0.1:8099"), CONNECT_GOOD, Plain),
    ("31 a hexadecimal address", To::Proxy, connect!("0x7f.1:8099"), CONNECT_GOOD, Plain),
    ("32 a short address", To::Proxy, connect!("127.1:8099"), CONNECT_GOOD, Plain),
    ("34 no address", To::Proxy, connect!("0.0.0.0:8099"), CONNECT_GOOD, Plain),
    ("34 no address, IPv6", To::Proxy, connect!("[::]:8099"), CONNECT_GOOD, Plain),
    ("35 another address of the loopback", To::Proxy, connect!("127.255.255.254:8099"), CONNECT_GOOD, Plain),
    ("36 the loopback of IPv6", To::Proxy, connect!("[::1]:8099"), CONNECT_GOOD, Plain),
    ("36 a mapped address", To::Proxy, connect!("[::ffff:127.0.0.1]:8099"), CONNECT_GOOD, Plain),
    ("44 the metadata service", To::Proxy, connect!("169.254.169.254:80"), CONNECT_GOOD, Plain),
    ("49 a zone", To::Proxy, connect!("[::1%25lo]:8099"), CONNECT_GOOD, Plain),
    ("51 the proxy itself", To::Proxy, connect!("127.0.0.1:3128"), CONNECT_GOOD, HOST),
    ("51 the proxy itself, by a name", To::Proxy, connect!("localhost:8099"), CONNECT_GOOD, Plain),
    ("53 a port of a control plane", To::Proxy, connect!("allowed.test:6443"), CONNECT_GOOD, Plain),
    (
        "86 another proxy's fields",
        To::Proxy,
        "GET http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\nX-Forwarded-Host: allowed.test\r\nForwarded: host=allowed.test\r\nConnection: close\r\n\r\n",
        ABSOLUTE,
        Plain,
    ),
    (
        "86 a proxy behind this one",
        To::Proxy,
        "CONNECT evil.test:80 HTTP/1.1\r\nHost: evil.test:80\r\nX-Upstream-Https-Proxy: http://allowed.test:80\r\n\r\nGET / HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n",
        CONNECT_GOOD,
        Plain,
    ),
    (
        "88 an https URL",
        To::Proxy,
        "GET https://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n",
        ABSOLUTE,
        Plain,
    ),
    (
        "88 a URL of another scheme",
        To::Proxy,
        "GET ftp://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n",
        ABSOLUTE,
        Plain,
    ),
    ("93 a resolver's address over CONNECT", To::Proxy, connect!("8.8.8.8:443"), CONNECT_GOOD, Plain),
    ("104 CONNECT where no proxy is", WEB, connect!("evil.test:80"), GOOD, Same("127.0.0.1:3129")),
];
