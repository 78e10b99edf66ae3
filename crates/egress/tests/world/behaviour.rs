//! What a way out must do besides refusing: long-lived channels, reloads, and budgets.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use mantlet_egress::{Event, Reason};

use crate::space::{Builds as _, Jail, rules};
use crate::world::bypass::PROXY;
use crate::world::ground::World;
use crate::world::internet::MARK;

pub(crate) fn run(world: &World) {
    server_first(world);
    keep_alive(world);
    websocket(world);
    responses(world);
    reload(world);
    budgets(world);
    reading(world);
    own_ports(world);
    cooperative(world);
    stopped(world);
}

pub(crate) fn open(jail: &Jail, name: &str, port: u16) -> TcpStream {
    try_open(jail, name, port).unwrap()
}

pub(crate) fn try_open(jail: &Jail, name: &str, port: u16) -> std::io::Result<TcpStream> {
    let address = SocketAddr::new(jail.address(name), port);
    let stream = jail.inside(move || TcpStream::connect_timeout(&address, Duration::from_secs(20)))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    Ok(stream)
}

/// Reads until the text is there.
pub(crate) fn until(stream: &mut TcpStream, text: &str) -> String {
    let mut bytes = Vec::new();
    while !String::from_utf8_lossy(&bytes).contains(text) {
        let mut piece = [0; 4096];
        match stream.read(&mut piece) {
            Ok(count) if count > 0 => bytes.extend_from_slice(&piece[..count]),
            other => panic!("{other:?} before {text:?}: {}", String::from_utf8_lossy(&bytes)),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(crate) fn get(host: &str, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes()
}

/// Events come after what a client sees of them.
pub(crate) fn eventually<T>(mut found: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        match found() {
            Some(found) => return found,
            None => assert!(begin.elapsed() < Duration::from_secs(20), "it never happened"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn await_refusals(jail: &Jail, wanted: usize, is_it: impl Fn(&Reason) -> bool) {
    let is_one = |event: &&Event| matches!(event, Event::Refused { denial, .. } if is_it(&denial.reason));
    eventually(|| (jail.events().iter().filter(is_one).count() == wanted).then_some(()));
}

fn server_first(world: &World) {
    let jail = world.jail("builder", "allow = [\"allowed.test:5432\"]");
    let mut stream = open(&jail, "allowed.test", 5432);
    until(&mut stream, "ready\n");
    stream.write_all(b"ping\n").unwrap();
    until(&mut stream, "ping\n");
    // One side has said its last word; the other still talks.
    stream.shutdown(Shutdown::Write).unwrap();
    until(&mut stream, "bye\n");
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    let passed = |event: Event| match event {
        Event::Passed { allowed, address, up, down, .. } => Some((allowed.rule, address.to_string(), up, down)),
        Event::Refused { .. } | Event::Entered { .. } => None,
    };
    let passed = eventually(|| jail.events().into_iter().find_map(passed));
    let down = (MARK.len() + " ready\n".len() + 5 + 4) as u64;
    let (rule, address, up, counted) = passed;
    assert_eq!((rule.as_str(), up, counted), ("allowed.test:5432, line 6", 5, down));
    assert!(address.ends_with(":5432"), "{address}");
}

fn keep_alive(world: &World) {
    let jail = world.jail("builder", "allow = [\"allowed.test:80\", \"second.test:80\"]");
    world.packets.take();
    let mut stream = open(&jail, "allowed.test", 80);
    for _ in 0..3 {
        stream.write_all(&get("allowed.test", "/a")).unwrap();
        assert!(until(&mut stream, "Host: allowed.test\r\n\r\n").contains("200 OK"));
    }
    assert_eq!(world.packets.take().connections.len(), 1, "three requests, one connection");
    // Each request is judged: another host on the same connection is refused, and the connection ends.
    stream.write_all(&get("second.test", "/")).unwrap();
    assert!(until(&mut stream, "hint:").contains("421"));
    // Two requests in one packet are two requests.
    let both = [get("allowed.test", "/one"), get("evil.test", "/two")].concat();
    let answer = jail.talk(SocketAddr::new(jail.address("allowed.test"), 80), &both);
    let text = String::from_utf8_lossy(&answer);
    assert!(text.contains("GET /one") && text.contains("421") && !text.contains("GET /two"), "{text}");
    // Through the proxy every request may name another allowed host.
    let both =
        ["allowed.test", "second.test"].map(|host| format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    let answer = jail.talk(SocketAddr::new([127, 0, 0, 1].into(), PROXY), both.concat().as_bytes());
    assert_eq!(String::from_utf8_lossy(&answer).matches(MARK).count(), 2);
}

fn websocket(world: &World) {
    let jail = world.jail("builder", "allow = [\"allowed.test:80\"]");
    let mut stream = open(&jail, "allowed.test", 80);
    stream.write_all(b"GET /ws HTTP/1.1\r\nHost: allowed.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n").unwrap();
    assert!(until(&mut stream, "\r\n\r\n").contains("101"));
    for round in 0..50 {
        let frame = format!("frame {round};");
        stream.write_all(frame.as_bytes()).unwrap();
        until(&mut stream, &frame);
    }
}

fn responses(world: &World) {
    let jail = world.jail("builder", "allow = [\"allowed.test:80\"]");
    let address = SocketAddr::new(jail.address("allowed.test"), 80);
    let talk = |path: &str| String::from_utf8_lossy(&jail.talk(address, &get("allowed.test", path))).into_owned();
    let text = talk("/alt");
    assert!(text.contains(MARK) && !text.to_ascii_lowercase().contains("alt-svc"), "{text}");
    // What a redirect leads to is judged when it is followed.
    assert!(talk("/moved").contains("Location: http://evil.test/"));
    assert_eq!(talk("/big").len(), 8 * 1024 * 1024 + "HTTP/1.1 200 OK\r\nContent-Length: 8388608\r\n\r\n".len());
    assert!(talk("/close").contains(MARK));
}

fn reload(world: &World) {
    let jail = world.jail("builder", "allow = [\"allowed.test:5432\", \"second.test:5432\"]");
    let mut cut = open(&jail, "allowed.test", 5432);
    let mut kept = open(&jail, "second.test", 5432);
    until(&mut cut, "ready\n");
    until(&mut kept, "ready\n");
    jail.control.as_ref().unwrap().reload(rules("builder", "allow = [\"second.test:5432\"]"));
    assert!(matches!(cut.read(&mut [0; 10]), Ok(0) | Err(_)), "what is no longer allowed is cut");
    kept.write_all(b"still\n").unwrap();
    until(&mut kept, "still\n");
    // On a busy machine the reset is there before the connection is known to stand.
    let late = try_open(&jail, "allowed.test", 5432).and_then(|mut late| late.read(&mut [0; 10]));
    assert!(matches!(late, Ok(0) | Err(_)), "nor does it come back");
    await_refusals(&jail, 1, |reason| *reason == Reason::Withdrawn);
    jail.control.as_ref().unwrap().reload(rules("builder", "allow = [\"allowed.test:5432\", \"second.test:5432\"]"));
    until(&mut open(&jail, "allowed.test", 5432), "ready\n");
    kept.write_all(b"again\n").unwrap();
    until(&mut kept, "again\n");
    // A name that comes later is listened on when it is looked up.
    let later = "allow = [\"second.test:5432\", \"only4.test:5432\"]";
    jail.control.as_ref().unwrap().reload(rules("builder", later));
    until(&mut open(&jail, "only4.test", 5432), "ready\n");
}

fn budgets(world: &World) {
    let jail = world.jail(
        "builder",
        "allow = [\"allowed.test:80\", \"second.test:5432\"]\nbudget = [{ host = \"allowed.test\", requests = 2 }, { host = \"second.test\", upload = \"1KiB\" }]",
    );
    let address = SocketAddr::new(jail.address("allowed.test"), 80);
    let mut answers =
        (0..3).map(|_| jail.talk(address, b"GET / HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n"));
    assert!(answers.by_ref().take(2).all(|answer| String::from_utf8_lossy(&answer).contains(MARK)));
    let third = answers.next().unwrap();
    assert!(String::from_utf8_lossy(&third).starts_with("HTTP/1.1 429"), "{}", String::from_utf8_lossy(&third));
    let mut stream = open(&jail, "second.test", 5432);
    until(&mut stream, "ready\n");
    let _cut = stream.write_all(&[b'x'; 4096]);
    let mut back = Vec::new();
    let _ended = stream.read_to_end(&mut back);
    assert!(back.len() <= 1024, "{} bytes went out and came back", back.len());
    await_refusals(&jail, 2, |reason| matches!(reason, Reason::Budget(_)));
}

fn reading(world: &World) {
    // The names of this world are under `test`, which is not public: a scout does not even get an address for them.
    let jail = world.jail("scout", "allow = [\"allowed.test:80\"]");
    world.packets.take();
    let address = SocketAddr::new([127, 0, 0, 1].into(), PROXY);
    let answer = jail.talk(address, b"GET http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n");
    assert!(String::from_utf8_lossy(&answer).contains("403"));
    for request in [
        "POST http://written.example.com/ HTTP/1.1\r\nHost: written.example.com\r\nContent-Length: 1\r\n\r\nx",
        "GET http://written.example.com/ HTTP/1.1\r\nHost: written.example.com\r\nCookie: a=b\r\n\r\n",
        "GET http://written.example.com:8080/ HTTP/1.1\r\nHost: written.example.com:8080\r\n\r\n",
        "GET http://mzxw6ytboi2gk3lqorugk3tfonzsa5dinfzsa2ltebqsa43f.mnzgk5boi2gk3lq.example.com/ HTTP/1.1\r\nHost: mzxw6ytboi2gk3lqorugk3tfonzsa5dinfzsa2ltebqsa43f.mnzgk5boi2gk3lq.example.com\r\n\r\n",
    ] {
        let answer = jail.talk(address, request.as_bytes());
        assert!(
            String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 403"),
            "{request}: {}",
            String::from_utf8_lossy(&answer)
        );
    }
    assert_eq!(world.packets.take(), crate::world::packets::Seen::default());
    // The twin: a plain page of a public name is asked for, and looked up.
    let answer = jail.talk(address, b"GET http://page.example.com/ HTTP/1.1\r\nHost: page.example.com\r\n\r\n");
    assert!(String::from_utf8_lossy(&answer).contains("502"), "{}", String::from_utf8_lossy(&answer));
    assert!(world.packets.take().names.contains(&"page.example.com".to_owned()));
}

/// Programs in the jail listen on ports that are also allowed outwards: on all addresses, as most servers do, as long as
/// nothing has asked for a name on that port; and on the loopback at any time.
fn own_ports(world: &World) {
    let jail = world.jail("builder", "allow = [\"allowed.test:5432\"]");
    let serves = |address: &str| {
        let listener = std::net::TcpListener::bind(address).unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        listener.accept().unwrap().0.write_all(b"mine").unwrap();
        let mut text = [0; 4];
        client.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"mine");
        listener
    };
    jail.inside(|| drop(serves("0.0.0.0:5432")));
    until(&mut open(&jail, "allowed.test", 5432), "ready\n");
    jail.inside(|| drop(serves("127.0.0.1:5432")));
    // What has a port whole keeps it, and the look-up says so.
    let jail = world.jail("builder", "allow = [\"allowed.test:5432\"]");
    let own = jail.inside(|| serves("[::]:5432"));
    let _address = jail.address("allowed.test");
    await_refusals(&jail, 1, |reason| reason.to_string().contains("a server inside the jail listens on this port"));
    drop(own);
    until(&mut open(&jail, "allowed.test", 5432), "ready\n");
}

/// A proxy on the host's own loopback, for a gateway that is in no jail: every program there can reach its port.
fn cooperative(world: &World) {
    use mantlet_egress::{Login, Server, Settings, Sockets};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = listener.local_addr().unwrap();
    let login = Login::new("main".into(), "secret".into());
    let settings = Settings { login, own: vec![proxy], ..Settings::default() };
    let (server, control) = Server::new(
        rules("builder", "allow = [\"allowed.test\", \"allowed.test:80\"]"),
        settings,
        std::sync::Arc::new(|_| {}),
    );
    let thread =
        std::thread::spawn(move || server.run(Sockets { proxy: vec![listener], ..Sockets::default() }).unwrap());
    let curl = |arguments: &[&str]| {
        let output =
            std::process::Command::new("curl").args(["-sk", "--max-time", "5"]).args(arguments).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    world.packets.take();
    let bare = proxy.to_string();
    for flag in ["--proxy", "--socks5-hostname"] {
        for (user, is_right) in [("main:secret@", true), ("", false), ("main:wrong@", false), ("other:secret@", false)]
        {
            let url = format!("{user}{bare}");
            for target in ["https://allowed.test/", "http://allowed.test/"] {
                let text = curl(&[flag, &url, target]);
                assert_eq!(text.contains(MARK), is_right, "{flag} {url} {target}: {text}");
                // The password is the proxy's, and no server's.
                assert!(!text.contains("Proxy-Authorization"));
                let seen = world.packets.take();
                let leaves = seen.connections.iter().any(|to| !to.ip().is_loopback());
                assert_eq!(leaves || !seen.names.is_empty(), is_right, "{flag} {url}: {seen:?}");
            }
        }
    }
    assert!(!curl(&["--proxy", &format!("main:secret@{bare}"), "http://evil.test/"]).contains(MARK));
    drop(control);
    thread.join().unwrap();
    world.packets.take();
}

/// When the server is gone nothing falls back to anything.
fn stopped(world: &World) {
    let mut jail = world.jail("builder", "allow = [\"allowed.test:5432\"]");
    let mut stream = open(&jail, "allowed.test", 5432);
    let address = SocketAddr::new(jail.address("allowed.test"), 5432);
    until(&mut stream, "ready\n");
    stream.write_all(b"said before the end\n").unwrap();
    until(&mut stream, "end\n");
    drop(jail.control.take());
    assert!(matches!(stream.read(&mut [0; 10]), Ok(0) | Err(_)));
    let events = eventually(|| Some(jail.events()).filter(|events| !events.is_empty()));
    assert!(matches!(events.as_slice(), [Event::Passed { up: 20, .. }]), "what was cut is told, once: {events:?}");
    eventually(|| match jail.talk(address, b"x").as_slice() {
        b"(refused)" => Some(()),
        // A connection that the kernel had taken before the listener closed.
        answer => {
            assert_eq!(answer, b"");
            None
        }
    });
}
