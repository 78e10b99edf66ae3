//! Who may read the public web, which carries something out with each name and each URL: how much, has an end.

use super::{Jails, PROXY, Suite, text};
use crate::world::internet::MARK;

/// A public name that a scout may read; in this world nobody answers for it.
pub(super) const PAGE: &str = "page.example.com";

const REQUESTS: &[(&str, &str)] = &[
    ("109 a body", "POST http://page.example.com/ HTTP/1.1\r\nHost: page.example.com\r\nContent-Length: 1\r\n\r\nx"),
    (
        "109 a cookie",
        "GET http://page.example.com/ HTTP/1.1\r\nHost: page.example.com\r\nCookie: a=b\r\nConnection: close\r\n\r\n",
    ),
    (
        "109 a login",
        "GET http://page.example.com/ HTTP/1.1\r\nHost: page.example.com\r\nAuthorization: Bearer x\r\nConnection: close\r\n\r\n",
    ),
    (
        "27 another port",
        "GET http://page.example.com:8080/ HTTP/1.1\r\nHost: page.example.com:8080\r\nConnection: close\r\n\r\n",
    ),
    (
        "108 a name that means nothing",
        "GET http://mzxw6ytboi2gk3lqorugk3tfonzsa5dinfzsa2ltebqsa43f.mnzgk5boi2gk3lq.example.com/ HTTP/1.1\r\nHost: mzxw6ytboi2gk3lqorugk3tfonzsa5dinfzsa2ltebqsa43f.mnzgk5boi2gk3lq.example.com\r\nConnection: close\r\n\r\n",
    ),
    ("8 a name of no registry", "GET http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n"),
];

pub(super) fn run<J: Jails>(suite: &Suite<'_>, jails: &J) {
    let jail = jails.start("builder", "web = \"read\"");
    suite.world.packets.forget();
    let proxy = std::net::SocketAddr::new([127, 0, 0, 1].into(), PROXY);
    for (id, request) in REQUESTS {
        suite.begin(id);
        let answer = jail.agent().talk(proxy, request.as_bytes());
        suite.expect(text(&answer).starts_with("HTTP/1.1 403"), || format!("{id}: {}", text(&answer)));
        suite.nothing_left(id);
        // The control: without Mantlet the same request reaches whoever is there.
        let answer = suite.control(id, || suite.from_outside("9.9.9.9:80", request.as_bytes()));
        suite.expect(super::has(&answer, MARK), || format!("{id}, its control: {}", text(&answer)));
    }
    // The twin: a plain page of a public name is looked up; here nobody answers for it.
    let request = format!("GET http://{PAGE}/ HTTP/1.1\r\nHost: {PAGE}\r\nConnection: close\r\n\r\n");
    let answer = jail.agent().talk(proxy, request.as_bytes());
    assert!(text(&answer).contains("502"), "{}", text(&answer));
    let seen = suite.world.packets.take();
    assert!(seen.names.iter().all(|name| name == PAGE) && !seen.names.is_empty(), "{seen:?}");
    assert!(seen.connections.is_empty() && seen.others.is_empty(), "{seen:?}");
}
