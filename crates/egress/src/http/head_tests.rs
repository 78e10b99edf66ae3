//! The behaviour of heads: what is passed on, what is refused.

use super::*;
use crate::testing::Dice;

fn read(text: &str) -> Result<RequestHead, HeadError> {
    RequestHead::parse(text.as_bytes(), 80).map(|read| read.expect(text).0)
}

const GOOD: &str = "GET /a?b=c HTTP/1.1\r\nHost: Allowed.Test\r\nAccept: */*\r\nCookie: x=y\r\n\r\n";

#[test]
fn a_head_is_written_from_what_was_read() {
    let head = read(GOOD).unwrap();
    assert_eq!((head.path.as_str(), head.path_alone()), ("/a?b=c", "/a"));
    let text = String::from_utf8(head.write()).unwrap();
    assert_eq!(text, "GET /a?b=c HTTP/1.1\r\nHost: allowed.test\r\nAccept: */*\r\nCookie: x=y\r\n\r\n");
    let absolute = read("GET HTTP://allowed.test?x HTTP/1.1\r\nHost: allowed.test:80\r\n\r\n").unwrap();
    assert_eq!((absolute.aim, absolute.path.as_str()), (Aim::Absolute, "/?x"));
    let connect = read("CONNECT allowed.test:443 HTTP/1.1\r\nHost: allowed.test:443\r\n\r\n").unwrap();
    assert_eq!((connect.aim, connect.authority.port), (Aim::Connect, 443));
    let again = read(&String::from_utf8(read(GOOD).unwrap().write()).unwrap()).unwrap();
    assert_eq!(again, read(GOOD).unwrap());
    for end in 0..GOOD.len() {
        assert_eq!(RequestHead::parse(&GOOD.as_bytes()[..end], 80), Ok(None), "{end}");
    }
}

#[test]
fn what_two_parsers_would_cut_differently_is_refused() {
    let with = |lines: &str| format!("POST / HTTP/1.1\r\nHost: allowed.test\r\n{lines}\r\n");
    for lines in [
        "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n",
        "Content-Length: 1\r\nContent-Length: 1\r\n",
        "Content-Length: 1\r\nContent-Length: 2\r\n",
        "Content-Length: 1, 1\r\n",
        "Content-Length: +1\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x1\r\n",
        "Content-Length: 1 \r\n 2\r\n",
        "Content-Length:\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding\t: chunked\r\n",
        " Transfer-Encoding: chunked\r\n",
        "X: a\r\n b\r\n",
        "X: a\n",
        "X: a\rb\r\n",
        "X: a\0b\r\n",
        "X: a\x0bb\r\n",
        "X\r\n",
        ": x\r\n",
        "X Y: z\r\n",
        "Host: allowed.test\r\n",
        "host: evil.test\r\n",
        "Connection: authorization\r\n",
        "Connection: close, cookie\r\n",
        "Connection: Host\r\n",
        "Connection: content-length\r\n",
        "Connection: Upgrade\r\nUpgrade: h2c\r\n",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
        "Upgrade: websocket\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\n",
    ] {
        assert!(read(&with(lines)).is_err(), "{lines:?}");
    }
}

#[test]
fn a_first_line_names_one_host_and_one_path() {
    let host = "Host: allowed.test\r\n\r\n";
    for line in [
        "get / HTTP/1.1",
        "GET / HTTP/1.2",
        "GET / HTTP/2.0",
        "GET / http/1.1",
        "GET /",
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET evil.test/ HTTP/1.1",
        "GET //evil.test HTTP/1.1x",
        "GET http://evil.test/ HTTP/1.1",
        "GET http://allowed.test@evil.test/ HTTP/1.1",
        "GET http://evil.test@allowed.test/ HTTP/1.1",
        "GET http://evil.test\\.allowed.test/ HTTP/1.1",
        "GET http://allowed.test\\@evil.test/ HTTP/1.1",
        "GET https://allowed.test/ HTTP/1.1",
        "GET ftp://allowed.test/ HTTP/1.1",
        "GET http:///x HTTP/1.1",
        "GET http://allowed.test:443/ HTTP/1.1",
        "GET /a#b HTTP/1.1",
        "GET http://allowed.test#@evil.test/ HTTP/1.1",
        "GET /\u{e4} HTTP/1.1",
        "TRACE / HTTP/1.1",
        "PRI * HTTP/2.0",
        "GET * HTTP/1.1",
        "CONNECT allowed.test HTTP/1.1",
        "CONNECT evil.test:443 HTTP/1.1",
        "CONNECT allowed.test:443:80 HTTP/1.1",
        "CONNECT allowed.test:0 HTTP/1.1",
        "CONNECT /allowed.test:443 HTTP/1.1",
        "CONNECT evil\0.allowed.test:443 HTTP/1.1",
        "CONNECT allowed%2etest:443 HTTP/1.1",
        "CONNECT http://allowed.test:443 HTTP/1.1",
    ] {
        assert!(read(&format!("{line}\r\n{host}")).is_err(), "{line:?}");
    }
    for hosts in [
        "",
        "Host:\r\n",
        "Host: a@allowed.test\r\n",
        "Host: allowed.test/\r\n",
        "Host: allowed.test, evil.test\r\n",
        "Host: allowed.test:\r\n",
    ] {
        assert!(read(&format!("GET / HTTP/1.1\r\n{hosts}\r\n")).is_err(), "{hosts:?}");
    }
}

#[test]
fn fields_for_the_next_hop_stay_here() {
    let text = "GET / HTTP/1.1\r\nHost: allowed.test\r\nProxy-Authorization: Basic eA==\r\nProxy-Connection: close\r\nKeep-Alive: 5\r\nTE: trailers\r\nX-Upstream-Https-Proxy: http://evil.test\r\nX: y\r\n\r\n";
    let head = read(text).unwrap();
    assert_eq!(head.fields, [("X".to_owned(), b"y".to_vec())]);
    assert!(!head.is_kept);
    let response = "HTTP/1.1 200 OK\r\nAlt-Svc: h3=\":443\"\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nContent-Length: 5\r\nX: y\r\n\r\n";
    let (head, _) = ResponseHead::parse(response.as_bytes(), "GET").unwrap().unwrap();
    assert_eq!(
        (head.fields, head.length, head.is_kept),
        (vec![("X".to_owned(), b"y".to_vec())], Length::Bytes(5), false)
    );
}

#[test]
fn a_websocket_is_asked_for_whole() {
    let text = "GET /s HTTP/1.1\r\nHost: allowed.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n";
    let head = read(text).unwrap();
    assert!(head.is_websocket);
    assert!(String::from_utf8(head.write()).unwrap().contains("Connection: Upgrade\r\nUpgrade: websocket\r\n"));
}

#[test]
fn the_length_of_a_response_depends_on_what_was_asked() {
    let read =
        |text: &str, method: &str| ResponseHead::parse(text.as_bytes(), method).map(|read| read.unwrap().0.length);
    let five = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(read(five, "GET"), Ok(Length::Bytes(5)));
    assert_eq!(read(five, "HEAD"), Ok(Length::Bytes(0)));
    assert_eq!(read("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "GET"), Ok(Length::Bytes(0)));
    assert_eq!(read("HTTP/1.1 200\r\n\r\n", "GET"), Ok(Length::UntilClose));
    assert_eq!(read("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "GET"), Ok(Length::Chunked));
    for text in [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 99 OK\r\n\r\n",
        "HTTP/2 200 OK\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
        "HTTP/1.1 2000\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    ] {
        assert!(read(text, "GET").is_err(), "{text:?}");
    }
}

#[test]
fn an_endless_head_ends() {
    let long = format!("GET / HTTP/1.1\r\nHost: allowed.test\r\nX: {}", "a".repeat(MOST));
    assert_eq!(RequestHead::parse(long.as_bytes(), 80), Err(HeadError::TooLong));
    let many = format!("GET / HTTP/1.1\r\nHost: allowed.test\r\n{}\r\n", "A: b\r\n".repeat(200));
    assert_eq!(RequestHead::parse(many.as_bytes(), 80), Err(HeadError::TooLong));
}

#[test]
fn random_and_mutated_heads_are_refused_or_written_unambiguously() {
    let mut dice = Dice::new(13);
    let seeds: Vec<Vec<u8>> = [
        GOOD,
        "POST http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\nContent-Length: 3\r\nConnection: close\r\n\r\n",
        "CONNECT allowed.test:443 HTTP/1.1\r\nHost: allowed.test:443\r\n\r\n",
        "GET /s HTTP/1.1\r\nHost: allowed.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    let mut taken = 0;
    for round in 0..100_000 {
        let bytes: Vec<u8> = match round % 8 {
            0 => (0..dice.below(100)).map(|_| dice.next().to_le_bytes()[0]).collect(),
            _ => dice.one_of(&seeds),
        };
        let Ok(Some((head, end))) = RequestHead::parse(&bytes, 80) else { continue };
        assert!(end <= bytes.len());
        if head.aim == Aim::Connect {
            continue;
        }
        taken += 1;
        let written = head.write();
        let (again, all) = RequestHead::parse(&written, 80).unwrap().unwrap();
        assert_eq!(all, written.len());
        // An absolute target becomes `Host`; the host stays the same.
        assert_eq!((again.authority, again.path, again.length), (head.authority, head.path, head.length));
        let _read = ResponseHead::parse(&bytes, "GET");
    }
    assert!(taken > 1000, "{taken}");
}
