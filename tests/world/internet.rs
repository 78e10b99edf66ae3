//! What stands for the internet: an authoritative name server, web servers with a test CA, and servers of other kinds.

use std::collections::HashMap;
use std::fs;
use std::io::{Read as _, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// In each answer of a server: whoever reads it has reached one.
pub(crate) const MARK: &str = "reached-the-world";

/// Names and the addresses they lead to; a second list is the second answer.
const NAMES: &[(&str, &[&str], &[&str])] = &[
    ("allowed.test", &["9.9.9.9", "2606:4700::1111"], &[]),
    ("only4.test", &["9.9.9.9"], &[]),
    ("only6.test", &["2606:4700::1111"], &[]),
    ("second.test", &["151.101.1.1", "2a04:4e42::1"], &[]),
    ("xn--bcher-kva.test", &["9.9.9.9"], &[]),
    ("evil.test", &["151.101.1.2"], &[]),
    // What generous readers make of names that are none.
    ("evil-allowed.test", &["151.101.1.2"], &[]),
    ("evil_allowed.test", &["151.101.1.2"], &[]),
    ("allowed.test.evil.test", &["151.101.1.2"], &[]),
    ("evil.allowed.test", &["151.101.1.2"], &[]),
    ("evil.test.allowed.test", &["151.101.1.2"], &[]),
    ("wild.test", &["151.101.1.2"], &[]),
    ("xn--llowed-2nf.test", &["151.101.1.2"], &[]),
    ("vanishing.test", &["151.101.1.9"], &[]),
    ("kept.test", &["9.9.9.9"], &["10.1.2.3"]),
    // Where no public name may lead.
    ("private.test", &["10.1.2.3"], &[]),
    ("private172.test", &["172.16.0.1"], &[]),
    ("lan.test", &["192.168.77.1"], &[]),
    ("loop.test", &["127.0.0.1"], &[]),
    ("looplast.test", &["127.255.255.254"], &[]),
    ("loop6.test", &["::1"], &[]),
    ("meta.test", &["169.254.169.254"], &[]),
    ("meta6.test", &["fd00:ec2::254"], &[]),
    ("metagcp6.test", &["fd20:ce::254"], &[]),
    ("metaalibaba.test", &["100.100.100.200"], &[]),
    ("metaazure.test", &["168.63.129.16"], &[]),
    ("metaoracle.test", &["192.0.0.192"], &[]),
    ("metascaleway.test", &["fd00:42::42"], &[]),
    ("mapped.test", &["::ffff:127.0.0.1"], &[]),
    ("mappedmeta.test", &["::ffff:169.254.169.254"], &[]),
    ("compat.test", &["::127.0.0.1"], &[]),
    ("translated.test", &["::ffff:0:7f00:1"], &[]),
    ("nat64.test", &["64:ff9b::7f00:1"], &[]),
    ("nat64local.test", &["64:ff9b:1::1"], &[]),
    ("sixtofour.test", &["2002:7f00:1::1"], &[]),
    ("teredo.test", &["2001::1"], &[]),
    ("isatap.test", &["2a00::5efe:7f00:1"], &[]),
    ("ula.test", &["fd77::1"], &[]),
    ("linklocal.test", &["fe80::1"], &[]),
    ("multicast.test", &["224.0.0.1"], &[]),
    ("broadcast.test", &["255.255.255.255"], &[]),
    ("zero.test", &["0.0.0.0"], &[]),
    ("zero6.test", &["::"], &[]),
    ("cgnat.test", &["100.64.0.1"], &[]),
    ("cgnatlast.test", &["100.127.255.254"], &[]),
    // The first address behind that range is a public one.
    ("cgnatnext.test", &["100.128.0.1"], &[]),
    ("synthetic.test", &["198.18.1.1"], &[]),
    ("own.test", &["5.5.5.5"], &[]),
    ("owncable.test", &["192.168.77.2"], &[]),
    ("mixed.test", &["9.9.9.9", "10.1.2.3"], &[]),
    ("rebind.test", &["9.9.9.9"], &["10.1.2.3"]),
    ("rebindpool.test", &["9.9.9.9"], &["10.1.2.3"]),
    ("internal.test", &["10.1.2.3"], &[]),
];

/// Where servers answer. Everything a name leads to is there, whatever its range is for.
pub(crate) const ADDRESSES: &[&str] = &[
    "9.9.9.9",
    "151.101.1.1",
    "151.101.1.9",
    "151.101.1.2",
    "8.8.8.8",
    "10.1.2.3",
    "172.16.0.1",
    "169.254.169.254",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "100.64.0.1",
    "100.127.255.254",
    "100.128.0.1",
    "198.18.1.1",
];
/// The same for IPv6.
pub(crate) const ADDRESSES_6: &[&str] = &[
    "2606:4700::1111",
    "2a04:4e42::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fd00:42::42",
    "::ffff:0:7f00:1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "2002:7f00:1::1",
    "2001::1",
    "2a00::5efe:7f00:1",
];

/// Plays the internet until its input ends.
pub(crate) fn run() {
    print!("n");
    std::io::stdout().flush().unwrap();
    let mut byte = [0];
    std::io::stdin().read_exact(&mut byte).unwrap();
    let tls = Arc::new(certificates());
    let dns = UdpSocket::bind("8.8.8.8:53").unwrap();
    thread::spawn(move || name_server(&dns));
    serve(80, |stream| http(stream, "internet"));
    serve(6443, |stream| http(stream, "control-plane"));
    serve(53, |stream| http(stream, "names-over-tcp"));
    serve(853, |stream| http(stream, "names-over-tls"));
    serve(443, move |stream| {
        // Whoever does not speak TLS there finds somebody who does not either.
        if !is_handshake(&stream) {
            return http(stream, "internet-anything");
        }
        let connection = rustls::ServerConnection::new(Arc::clone(&tls)).unwrap();
        http(rustls::StreamOwned::new(connection, stream), "internet-tls");
    });
    serve(5432, |mut stream| {
        // Server first, as MySQL, SMTP and SSH do it; then everything comes back.
        if stream.write_all(format!("{MARK} ready\n").as_bytes()).is_ok() {
            let mut copy = stream.try_clone().unwrap();
            let _ended = std::io::copy(&mut stream, &mut copy);
            // The last word is said once the client has said its own.
            let _gone = copy.write_all(b"bye\n");
        }
    });
    println!("r");
    std::io::stdout().flush().unwrap();
    let mut rest = Vec::new();
    std::io::stdin().read_to_end(&mut rest).unwrap();
}

fn is_handshake(stream: &TcpStream) -> bool {
    let mut first = [0];
    stream.peek(&mut first).is_ok() && first == [22]
}

fn serve(port: u16, each: impl Fn(TcpStream) + Send + Sync + 'static) {
    let listener = TcpListener::bind(("::", port)).unwrap();
    // A thousand clients at once are more than the standard library has wait.
    rustix::net::listen(&listener, 4096).unwrap();
    let each = Arc::new(each);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let each = Arc::clone(&each);
            thread::spawn(move || each(stream));
        }
    });
}

fn certificates() -> rustls::ServerConfig {
    let mut root = CertificateParams::new(Vec::new()).unwrap();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    root.distinguished_name.push(rcgen::DnType::CommonName, "The world's test CA");
    let key = KeyPair::generate().unwrap();
    let certificate = root.self_signed(&key).unwrap();
    fs::write("/run/mantlet-world/ca.pem", certificate.pem()).unwrap();
    let issuer = Issuer::new(root, key);
    let mut names: Vec<String> = NAMES.iter().map(|(name, _, _)| (*name).to_owned()).collect();
    names.push("*.wild.test".into());
    let leaf_key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(names).unwrap().signed_by(&leaf_key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf_key.serialize_der()));
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    config.with_no_client_auth().with_single_cert(vec![leaf.der().clone()], key).unwrap()
}

fn name_server(socket: &UdpSocket) {
    let asked: Mutex<HashMap<String, usize>> = Mutex::default();
    let mut bytes = [0; 2048];
    while let Ok((count, client)) = socket.recv_from(&mut bytes) {
        if let Some(answer) = answer(&bytes[..count], &asked) {
            socket.send_to(&answer, client).unwrap();
        }
    }
}

fn answer(query: &[u8], asked: &Mutex<HashMap<String, usize>>) -> Option<Vec<u8>> {
    let mut at = 12;
    let mut labels = Vec::new();
    while query.get(at).copied()? != 0 {
        let length = usize::from(query[at]);
        labels.push(String::from_utf8(query.get(at + 1..at + 1 + length)?.to_vec()).ok()?.to_ascii_lowercase());
        at += 1 + length;
    }
    let end = at + 5;
    let kind = u16::from_be_bytes([*query.get(at + 1)?, *query.get(at + 2)?]);
    let name = labels.join(".");
    // An alias leads to a name whose address is in the same answer, as a recursive server sends it.
    let is_alias = name == "cname.test";
    let looked_up = if is_alias { "internal.test" } else { &name };
    let is_wild = name.ends_with(".wild.test");
    let found = NAMES.iter().find(|(known, _, _)| *known == looked_up);
    let times = {
        let mut asked = asked.lock().unwrap();
        let times = asked.entry(format!("{name} {kind}")).or_default();
        *times += 1;
        *times
    };
    let addresses: Vec<std::net::IpAddr> = match found {
        Some((_, _, later)) if !later.is_empty() && times > 1 => later.iter().map(|a| a.parse().unwrap()).collect(),
        Some((_, first, _)) => first.iter().map(|a| a.parse().unwrap()).collect(),
        None if is_wild => vec!["9.9.9.9".parse().unwrap()],
        None => Vec::new(),
    };
    let fitting: Vec<Vec<u8>> = addresses
        .into_iter()
        .filter_map(|address| match address {
            std::net::IpAddr::V4(v4) => (kind == 1).then(|| v4.octets().to_vec()),
            std::net::IpAddr::V6(v6) => (kind == 28).then(|| v6.octets().to_vec()),
        })
        .collect();
    let mut message = query[..2].to_vec();
    let count = u8::try_from(fitting.len() + usize::from(is_alias)).unwrap();
    message.extend([0x85, if found.is_some() || is_wild { 0x80 } else { 0x83 }, 0, 1, 0, count, 0, 0, 0, 0]);
    message.extend(query.get(12..end)?);
    // Everything else is good for this moment only.
    let seconds = if name == "kept.test" { 60 } else { 0 };
    let owner: &[u8] = if is_alias { b"\x08internal\x04test\0" } else { &[0xc0, 12] };
    if is_alias {
        message.extend([0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 0, 0, 15]);
        message.extend(owner);
    }
    for data in fitting {
        message.extend(owner);
        message.extend(kind.to_be_bytes());
        message.extend([0, 1, 0, 0, 0, seconds, 0, u8::try_from(data.len()).unwrap()]);
        message.extend(data);
    }
    Some(message)
}

/// A web server that answers every request with what it saw, keeps connections, and believes whatever it is told.
pub(crate) fn http<S: std::io::Read + Write>(mut stream: S, place: &str) {
    let mut bytes = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = end_of_head(&bytes) {
                break end;
            }
            let mut piece = [0; 4096];
            match stream.read(&mut piece) {
                Ok(0) | Err(_) => return,
                Ok(count) => bytes.extend_from_slice(&piece[..count]),
            }
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        bytes.drain(..end);
        let field = |name: &str| {
            let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")));
            line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
        };
        let mut body = field("content-length").and_then(|l| l.parse::<usize>().ok()).unwrap_or(0);
        let is_chunked = field("transfer-encoding").is_some();
        if is_chunked {
            body = 0;
        }
        if field("expect").is_some() && stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").is_err() {
            return;
        }
        while body > 0 || (is_chunked && !bytes.ends_with(b"0\r\n\r\n")) {
            let here = body.min(bytes.len());
            if !is_chunked {
                bytes.drain(..here);
                body -= here;
                if body == 0 {
                    break;
                }
            }
            let mut piece = [0; 4096];
            match stream.read(&mut piece) {
                Ok(0) | Err(_) => return,
                Ok(count) => bytes.extend_from_slice(&piece[..count]),
            }
        }
        if is_chunked {
            bytes.clear();
        }
        let is_last = field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        // A server that knows nothing of the upgrade goes on with requests.
        if field("upgrade").is_some() && !path.contains("plain") {
            if stream
                .write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
                .is_err()
            {
                return;
            }
            echo(&mut stream);
            return;
        }
        if stream.write_all(&response(&head, &path, place)).is_err() || path.starts_with("/close") || is_last {
            return;
        }
    }
}

/// Behind the first empty line, however its end is written.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let ends: [&[u8]; 2] = [b"\r\n\r\n", b"\n\n"];
    let end = |mark: &[u8]| bytes.windows(mark.len()).position(|window| window == mark).map(|at| at + mark.len());
    ends.iter().filter_map(|mark| end(mark)).min()
}

fn echo<S: std::io::Read + Write>(stream: &mut S) {
    let mut piece = [0; 4096];
    while let Ok(count) = stream.read(&mut piece) {
        if count == 0 || stream.write_all(&piece[..count]).is_err() {
            return;
        }
    }
}

fn response(head: &str, path: &str, place: &str) -> Vec<u8> {
    let file = path.split('?').next().unwrap_or_default();
    let text = match fs::read(format!("/run/mantlet-world/www{file}")) {
        Ok(bytes) if file.len() > 1 => bytes,
        _ => format!("{MARK} {place}\n{head}").into_bytes(),
    };
    let length = text.len();
    let extra = match path {
        "/both" => "Transfer-Encoding: chunked\r\n",
        "/alt" => "Alt-Svc: h3=\":443\"; ma=86400\r\nAlt-Used: x\r\n",
        "/unasked" => {
            return b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nreached"
                .to_vec();
        }
        "/chunked" => {
            let mut out = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            for part in text.chunks(7) {
                out.extend(format!("{:x};x=y\r\n", part.len()).bytes());
                out.extend(part);
                out.extend(b"\r\n");
            }
            out.extend(b"0\r\nX-Trailer: y\r\n\r\n");
            return out;
        }
        "/moved" => return b"HTTP/1.1 302 Found\r\nLocation: http://evil.test/\r\nContent-Length: 0\r\n\r\n".to_vec(),
        "/big" => {
            let mut out = b"HTTP/1.1 200 OK\r\nContent-Length: 8388608\r\n\r\n".to_vec();
            out.resize(out.len() + (8 << 20), b'x');
            return out;
        }
        _ => "",
    };
    let mut out =
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n{extra}Content-Length: {length}\r\n\r\n").into_bytes();
    if !head.starts_with("HEAD") {
        out.extend(text);
    }
    out
}
