//! `mantlet alert` as a person uses it: what is shown, what arrives, whom it trusts, and what is in the ledger.
#![allow(clippy::unwrap_used, reason = "a test; the lint's own exception does not reach its helpers here")]

mod common;

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::thread;

use common::{Who, World, code, err, everybody, files, is_root, out};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

/// No detector knows it: it must be kept out by where it goes, not by what it looks like.
const CANARY: &str = "canary-4711-ntfy";

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// What a server of the test heard.
type Heard = Arc<Mutex<Vec<String>>>;

/// Serves every connection with `talk` on a thread; returns the port.
fn serve(talk: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let talk = Arc::new(talk);
    thread::spawn(move || {
        for socket in listener.incoming() {
            let talk = Arc::clone(&talk);
            thread::spawn(move || talk(socket.unwrap()));
        }
    });
    port
}

/// One request of HTTP, kept and answered.
fn http(stream: &mut (impl Read + Write), heard: &Heard, answer: &str) {
    let (mut text, mut byte) = (Vec::new(), [0]);
    while !text.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => text.push(byte[0]),
            _ => return,
        }
    }
    let head = String::from_utf8(text).unwrap();
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).unwrap();
    heard.lock().unwrap().push(head + &String::from_utf8(body).unwrap());
    drop(stream.write_all(answer.as_bytes()).and_then(|()| stream.flush()));
}

fn plain_server(answer: &'static str) -> (u16, Heard) {
    let heard = Heard::default();
    let keep = Arc::clone(&heard);
    (serve(move |mut socket| http(&mut socket, &keep, answer)), heard)
}

/// A certificate authority, and a server's side for these names.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn server(&self, name: &str) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        Arc::new(builder.with_single_cert(vec![certificate.der().clone()], key).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }
}

fn encrypted(socket: TcpStream, config: &Arc<ServerConfig>) -> StreamOwned<ServerConnection, TcpStream> {
    StreamOwned::new(ServerConnection::new(Arc::clone(config)).unwrap(), socket)
}

fn https_server(config: Arc<ServerConfig>) -> (u16, Heard) {
    let heard = Heard::default();
    let keep = Arc::clone(&heard);
    (serve(move |socket| http(&mut encrypted(socket, &config), &keep, OK)), heard)
}

/// A server of mail: encrypted at once, or after STARTTLS.
fn mail_server(config: Arc<ServerConfig>, is_tls: bool) -> (u16, Heard) {
    let heard = Heard::default();
    let keep = Arc::clone(&heard);
    let port = serve(move |mut socket| {
        if !is_tls {
            socket.write_all(b"220 box\r\n").unwrap();
            for answer in ["250-box\r\n250 STARTTLS\r\n", "220 go\r\n"] {
                BufReader::with_capacity(1, &socket).read_line(&mut String::new()).unwrap();
                socket.write_all(answer.as_bytes()).unwrap();
            }
        }
        let mut stream = encrypted(socket, &config);
        if is_tls && stream.write_all(b"220 box\r\n").and_then(|()| stream.flush()).is_err() {
            return;
        }
        let (mut line, mut byte, mut is_data) = (String::new(), [0], false);
        while matches!(stream.read(&mut byte), Ok(1)) {
            line.push(char::from(byte[0]));
            if byte != *b"\n" {
                continue;
            }
            keep.lock().unwrap().push(line.trim_end().to_owned());
            let answer = match line.trim_end() {
                "." => "250 kept\r\n",
                _ if is_data => "",
                "DATA" => "354 go\r\n",
                line if line.starts_with("AUTH") => "235 yes\r\n",
                line if line.starts_with("EHLO") => "250-box\r\n250 AUTH PLAIN\r\n",
                _ => "250 yes\r\n",
            };
            is_data = (is_data || line == "DATA\r\n") && line != ".\r\n";
            stream.write_all(answer.as_bytes()).and_then(|()| stream.flush()).unwrap();
            line.clear();
        }
    });
    (port, heard)
}

/// A home whose policy has this section.
fn world(name: &str, who: Who, section: &str) -> World {
    let world = World::new(name, who);
    world.builder(section);
    world
}

fn token(world: &World, text: &str) -> PathBuf {
    let path = world.file(world.home().join("token"), text);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}\n{}", out(output), err(output)))
}

/// The last `n` alerts of the ledger, as `channel outcome`.
fn ledger(world: &World) -> Vec<String> {
    let log = world.mantlet(&["log", "--kind", "alert", "--json"]);
    assert_eq!(code(&log), 0, "{}", err(&log));
    let entries = out(&log);
    let entry = |line: &str| -> Value { serde_json::from_str(line).unwrap() };
    let word = |entry: &Value, key: &str| entry[key].as_str().unwrap().to_owned();
    entries.lines().map(entry).map(|entry| format!("{} {}", word(&entry, "channel"), word(&entry, "outcome"))).collect()
}

#[test]
fn each_channel_is_tried_and_told_of() {
    for who in everybody() {
        let (port, heard) = plain_server(OK);
        let (refusing, _) = plain_server("HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n");
        let section = format!(
            "[alert]\ncommand = [\"~/bin/tell\"]\n[alert.webhook]\nurl = \"http://127.0.0.1:{port}/x\"\n\
             [alert.ntfy]\nurl = \"http://127.0.0.1:{refusing}\"\ntopic = \"mine\"\ntoken_file = \"~/token\""
        );
        let world = world("alert-each", who, &section);
        token(&world, CANARY);
        world.program(world.home().join("bin/tell"), "#!/bin/sh\ncat >\"$HOME/told\"\n");
        let tried = world.mantlet(&["alert", "test", "--json"]);
        assert_eq!(code(&tried), 1, "{}", err(&tried));
        let told = json(&tried);
        let said: Vec<(&str, &str)> = told["channels"]
            .as_array()
            .unwrap()
            .iter()
            .map(|each| (each["channel"].as_str().unwrap(), each["outcome"].as_str().unwrap()))
            .collect();
        assert_eq!(said, [("command", "sent"), ("webhook", "sent"), ("ntfy", "failed")]);
        assert!(told["channels"][2]["reason"].as_str().unwrap().starts_with("the server answered 403"), "{told}");
        assert_eq!(ledger(&world), ["command sent", "webhook sent", "ntfy failed"]);
        let text = std::fs::read_to_string(world.home().join("told")).unwrap();
        assert!(text.contains("] a test alert\n") && text.contains("\nnext: mantlet log --kind alert\n"), "{text}");
        assert_eq!(heard.lock().unwrap().len(), 1);

        let one = world.mantlet(&["alert", "test", "--channel", "webhook"]);
        assert_eq!((code(&one), out(&one).starts_with("webhook   sent ")), (0, true), "{}", out(&one));
        let other = world.mantlet(&["alert", "test", "--channel", "email"]);
        assert_eq!(code(&other), 125);
        assert!(err(&other).contains("no channel `email`"), "{}", err(&other));
        let failed = world.mantlet(&["alert", "test", "--channel", "ntfy"]);
        assert!(out(&failed).contains("ntfy      failed  http://127.0.0.1:") && code(&failed) == 1, "{}", out(&failed));

        let shown = world.mantlet(&["alert", "show"]);
        assert!(out(&shown).contains("/mine, token in file ") && code(&shown) == 0, "{}", out(&shown));
        for output in [&tried, &one, &failed, &shown] {
            assert!(!out(output).contains(CANARY) && !err(output).contains(CANARY));
        }
        let with_canary = files(&world.top)
            .into_iter()
            .filter(|path| std::fs::read(path).unwrap().windows(CANARY.len()).any(|at| at == CANARY.as_bytes()));
        assert_eq!(with_canary.collect::<Vec<_>>(), [world.home().join("token")]);
    }
}

#[test]
fn where_nobody_would_be_told_the_test_fails() {
    for section in ["", "[agent.main.dlp]\nout = \"warn\""] {
        let world = world("alert-none", Who::Me, section);
        let tried = world.mantlet(&["alert", "test"]);
        assert_eq!(code(&tried), 1);
        assert!(err(&tried).contains("names no channel") && err(&tried).contains("hint:"), "{}", err(&tried));
        assert_eq!(code(&world.mantlet(&["alert", "show"])), 0);
        assert_eq!(json(&world.mantlet(&["alert", "show", "--json"]))["channels"], Value::Array(Vec::new()));
    }
}

#[test]
fn only_a_certificate_of_the_systems_store_for_that_name_is_trusted() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let login = "user = \"u\"\npassword_file = \"~/token\"";
    let mail = |scheme: &str, port: u16| {
        format!(
            "[alert.email]\nfrom = \"a@b.org\"\nto = [\"c@d.org\"]\nserver = \"{scheme}://127.0.0.1:{port}\"\n{login}"
        )
    };
    for (trusted, config, why) in [
        (&authority, authority.server("127.0.0.1"), ""),
        (&stranger, authority.server("127.0.0.1"), "no encrypted connection: invalid peer certificate: "),
        (&authority, authority.server("example.org"), "no encrypted connection: invalid peer certificate: "),
    ] {
        let (web, web_heard) = https_server(Arc::clone(&config));
        let (smtps, smtps_heard) = mail_server(Arc::clone(&config), true);
        let (starttls, starttls_heard) = mail_server(config, false);
        for (section, heard) in [
            (
                format!("[alert.ntfy]\nurl = \"https://127.0.0.1:{web}\"\ntopic = \"t\"\ntoken_file = \"~/token\""),
                web_heard,
            ),
            (mail("smtps", smtps), smtps_heard),
            (mail("starttls", starttls), starttls_heard),
        ] {
            let mut world = world("alert-tls", Who::Me, &section);
            token(&world, CANARY);
            let store = world.file("store.pem", trusted.pem());
            world.env("SSL_CERT_FILE", &store);
            let tried = world.mantlet(&["alert", "test"]);
            assert_eq!(code(&tried), i32::from(!why.is_empty()), "{section}\n{}{}", out(&tried), err(&tried));
            assert!(out(&tried).contains(why), "{}", out(&tried));
            let heard = heard.lock().unwrap();
            // Nothing was said to whom it does not trust; control: it was said to the other.
            assert_eq!(heard.is_empty(), !why.is_empty(), "{heard:?}");
            let has_secret = heard.iter().any(|line| line.contains(CANARY) || line.starts_with("AUTH PLAIN "));
            assert_eq!(has_secret, why.is_empty(), "{heard:?}");
        }
    }
}

#[test]
fn no_proxy_of_the_environment_is_used() {
    let ((port, heard), (proxy, caught)) = (plain_server(OK), plain_server(OK));
    let mut world = world("alert-proxy", Who::Me, &format!("[alert.webhook]\nurl = \"http://127.0.0.1:{port}\""));
    for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        world.env(name, format!("http://127.0.0.1:{proxy}"));
    }
    assert_eq!(code(&world.mantlet(&["alert", "test"])), 0);
    assert_eq!((heard.lock().unwrap().len(), caught.lock().unwrap().len()), (1, 0));
}

#[test]
fn a_token_can_stay_in_the_vault() {
    for who in everybody() {
        let (port, heard) = plain_server(OK);
        let section =
            format!("[alert.ntfy]\nurl = \"http://127.0.0.1:{port}\"\ntopic = \"t\"\ntoken_secret = \"NTFY_TOKEN\"");
        let world = world("alert-vault", who, &section);
        let without = world.mantlet(&["alert", "test"]);
        assert_eq!(code(&without), 1);
        assert!(out(&without).contains("the vault gives no NTFY_TOKEN"), "{}", out(&without));
        assert_eq!(code(&world.mantlet(&["vault", "init"])), 0);
        let file = world.file(world.home().join(".config/mantlet/vault/alert.env"), format!("NTFY_TOKEN={CANARY}\n"));
        let sealed = world.mantlet(&["vault", "seal", file.to_str().unwrap()]);
        assert_eq!(code(&sealed), 0, "{}", err(&sealed));
        let tried = world.mantlet(&["alert", "test"]);
        assert_eq!(code(&tried), 0, "{}{}", out(&tried), err(&tried));
        assert!(heard.lock().unwrap()[0].contains(&format!("authorization: Bearer {CANARY}\r\n")));
        let is_there = |path: &PathBuf| String::from_utf8_lossy(&std::fs::read(path).unwrap()).contains(CANARY);
        assert_eq!(files(&world.top).into_iter().filter(is_there).count(), 0);
    }
}

#[test]
fn a_notification_is_shown_by_the_systems_own_program() {
    let world = world("alert-desktop", Who::Me, "[alert]\ndesktop = true");
    let fake =
        world.program("bin/notify-send", format!("#!/bin/sh\nprintf '%s\\n' \"$@\" >{}/told\n", world.top.display()));
    // What an agent could put before it in PATH.
    let planted =
        world.program("planted-bin/notify-send", format!("#!/bin/sh\ntouch {}/planted\n", world.top.display()));
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", planted.parent().unwrap().display());
    // In a mount namespace of its own: the host's /usr/bin stays as it is.
    let script = "mount -t overlay overlay -o \"lowerdir=$1:/usr/bin\" /usr/bin && shift && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.arg(if is_root() { "-m" } else { "-rm" }).args(["sh", "-c", script, "sh"]).arg(fake.parent().unwrap());
    let mantlet = world.command("mantlet");
    command.arg(mantlet.get_program()).args(["alert", "test"]).env_clear().current_dir(world.work());
    for (name, value) in mantlet.get_envs() {
        command.envs(value.map(|value| (name, value)));
    }
    command.env("PATH", path);
    let tried = command.output().unwrap();
    assert_eq!(code(&tried), 0, "{}{}", out(&tried), err(&tried));
    let told = std::fs::read_to_string(world.top.join("told")).unwrap();
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[..3], ["--app-name=Mantlet", "--urgency=critical", "--"]);
    assert!(lines[3].ends_with("] a test alert") && lines[4].starts_with("what: Nothing happened"), "{told}");
    assert!(!world.top.join("planted").exists());
}
