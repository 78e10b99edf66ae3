//! Real clients in a jail, from a clean environment: they reach what is allowed without knowing of a proxy, and nothing else.

use std::fs;
use std::process::Command;

use crate::space::{Builds as _, Jail};
use crate::world::bypass::PROXY;
use crate::world::ground::{World, sh};
use crate::world::internet::MARK;

const EGRESS: &str = r#"
allow = ["allowed.test", "allowed.test:80", "only4.test", "only6.test", "a.wild.test"]
"#;

const PYTHON: &str = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=5).read().decode())";
const NODE: &str =
    "fetch(process.argv[1]).then(r => r.text()).then(console.log, e => { console.log(e); process.exit(1) })";
const NODE_HTTPS: &str = "require('https').get(process.argv[1], {agent: new (require('https').Agent)()}, r => r.pipe(process.stdout)).on('error', e => { console.log(e); process.exit(1) })";

/// A program, its arguments, and what a URL that is allowed must bring. `URL` stands for the URL.
const CLIENTS: &[(&str, &[&str], &str)] = &[
    ("curl", &["-4sS", "--max-time", "5", "URL"], "https://allowed.test/"),
    ("curl", &["-6sS", "--max-time", "5", "URL"], "https://allowed.test/"),
    ("curl", &["-sS", "--max-time", "5", "URL"], "http://allowed.test/"),
    ("curl", &["-sS", "--max-time", "5", "URL"], "https://only6.test/"),
    ("curl", &["-sS", "--max-time", "5", "URL"], "https://ALLOWED.test/"),
    ("curl", &["-sS", "--max-time", "5", "--tlsv1.2", "--tls-max", "1.2", "URL"], "https://a.wild.test/"),
    ("curl", &["-sS", "--max-time", "5", "--proxy", "PROXY", "URL"], "https://allowed.test/"),
    ("curl", &["-sS", "--max-time", "5", "--proxy", "PROXY", "URL"], "http://allowed.test/"),
    ("curl", &["-sS", "--max-time", "5", "--proxytunnel", "--proxy", "PROXY", "URL"], "http://allowed.test/"),
    ("curl", &["-sS", "--max-time", "5", "--socks5-hostname", "SOCKS", "URL"], "https://allowed.test/"),
    // It looks the name up itself and asks for the address that stands for it.
    ("curl", &["-sS", "--max-time", "5", "--socks5", "SOCKS", "URL"], "https://allowed.test/"),
    (
        "curl",
        &["-sS", "--max-time", "5", "--data-binary", "@/run/mantlet-world/ca.pem", "-H", "Expect: 100-continue", "URL"],
        "http://allowed.test/",
    ),
    (
        "curl",
        &["-sS", "--max-time", "5", "-H", "Transfer-Encoding: chunked", "-d", "hello", "URL"],
        "http://allowed.test/",
    ),
    ("curl", &["-sS", "--max-time", "5", "URL"], "http://allowed.test/chunked"),
    ("curl", &["-sS", "--max-time", "5", "--http1.0", "URL"], "http://allowed.test/chunked"),
    ("wget", &["-qO-", "--timeout=5", "--tries=1", "URL"], "http://allowed.test/"),
    ("python3", &["-c", PYTHON, "URL"], "https://allowed.test/"),
    ("python3", &["-c", PYTHON, "URL"], "http://allowed.test/"),
    ("node", &["-e", NODE, "URL"], "https://allowed.test/"),
    ("node", &["-e", NODE, "URL"], "http://allowed.test/"),
    ("node", &["-e", NODE_HTTPS, "URL"], "https://allowed.test/"),
];

fn run_one(jail: &Jail, program: &str, arguments: &[&str], url: &str) -> (bool, String) {
    let ca = "/run/mantlet-world/ca.pem";
    let mut command = jail.command(&format!("SSL_CERT_FILE={ca}"));
    command.args([format!("CURL_CA_BUNDLE={ca}"), format!("NODE_EXTRA_CA_CERTS={ca}"), format!("GIT_SSL_CAINFO={ca}")]);
    // `env` takes the program behind the names; a shim of a version manager has no place in a clean environment.
    command.arg(program_path(program));
    for argument in arguments {
        command.arg(match *argument {
            "URL" => url.to_owned(),
            "PROXY" => format!("http://127.0.0.1:{PROXY}"),
            "SOCKS" => format!("127.0.0.1:{PROXY}"),
            other => other.to_owned(),
        });
    }
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn program_path(program: &str) -> String {
    let places = ["/usr/bin", "/usr/local/bin", "/bin"].map(|place| format!("{place}/{program}"));
    let found = places.into_iter().find(|path| fs::metadata(path).is_ok());
    found.unwrap_or_else(|| panic!("{program} is not installed: see the packages that ./test installs"))
}

pub(crate) fn run(world: &World) {
    let jail = world.jail("builder", EGRESS);
    world.packets.take();
    for (program, arguments, url) in CLIENTS {
        let (is_ok, text) = run_one(&jail, program, arguments, url);
        assert!(is_ok && text.contains(MARK), "{program} {arguments:?} {url}: {text}\n{:#?}", jail.events());
        world.packets.take();
        let evil = url
            .replace("allowed.test", "evil.test")
            .replace("ALLOWED", "evil")
            .replace("only6", "evil")
            .replace("a.wild", "evil");
        let (is_ok, text) = run_one(&jail, program, arguments, &evil);
        // A proxy answers a plain request with its refusal, which is a response to curl.
        assert!(!text.contains(MARK), "{program} {arguments:?} {evil}: {text}");
        assert!(
            !is_ok || text.contains("mantlet allow --agent main --host evil.test:80"),
            "{program} {arguments:?} {evil}: {text}"
        );
        let seen = world.packets.take();
        assert!(seen.names.is_empty() && seen.connections.is_empty(), "{program} {evil}: {seen:?}");
    }
    fronting(world, &jail);
    git(world, &jail);
    println!("{} clients", CLIENTS.len() + 1);
}

/// The same connection asks for another name: at the address of an allowed one, inside CONNECT to it, or for none.
fn fronting(world: &World, jail: &Jail) {
    let address = jail.address("allowed.test");
    let resolve = format!("evil.test:443:{address}");
    let proxy = format!("http://127.0.0.1:{PROXY}");
    let bare = format!("https://{address}/");
    let attacks: &[(&str, &[&str], &str)] = &[
        ("60 the address of a, SNI b", &["-sSk", "--resolve", &resolve, "URL"], "https://evil.test/"),
        (
            "61 CONNECT a, SNI b",
            &["-sSk", "--proxy", &proxy, "--connect-to", "evil.test:443:allowed.test:443", "URL"],
            "https://evil.test/",
        ),
        ("62 no SNI", &["-sSk", "URL"], &bare),
    ];
    for (id, arguments, url) in attacks {
        let (is_ok, text) = run_one(jail, "curl", arguments, url);
        assert!(!is_ok && !text.contains(MARK), "{id}: {text}");
        let seen = world.packets.take();
        assert!(seen.names.is_empty() && seen.connections.is_empty(), "{id}: {seen:?}");
    }
    // 85: a redirect leads out of what is allowed; whoever follows it asks anew.
    let (_, text) = run_one(jail, "curl", &["-sSL", "URL"], "http://allowed.test/moved");
    assert!(!text.contains(MARK), "{text}");
    let names = world.packets.take().names;
    assert!(names.iter().all(|name| name == "allowed.test"), "{names:?}");
    // The control: the server there serves any name, and none.
    for arguments in [&["--resolve", "evil.test:443:9.9.9.9", "https://evil.test/"][..], &["https://9.9.9.9/"]] {
        let output = Command::new("curl").args(["-sk", "--max-time", "5"]).args(arguments).output().unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).contains(MARK), "{arguments:?}");
    }
    world.packets.take();
}

/// A repository over https, as files.
fn git(world: &World, jail: &Jail) {
    sh("export HOME=/run/mantlet-world GIT_CONFIG_NOSYSTEM=1; cd /run/mantlet-world; git init -q --bare www/repo.git
        git -c user.name=a -c user.email=a@b clone -q www/repo.git work 2>/dev/null; cd work
        git -c user.name=a -c user.email=a@b commit -q --allow-empty -m first; git push -q origin HEAD:refs/heads/main
        git -C ../www/repo.git update-server-info");
    let head = Command::new("git")
        .args(["-c", "safe.directory=*", "-C", "/run/mantlet-world/work", "rev-parse", "HEAD"])
        .output()
        .unwrap();
    let commit = String::from_utf8(head.stdout).unwrap().trim().to_owned();
    let (is_ok, text) = run_one(jail, "git", &["ls-remote", "URL"], "https://allowed.test/repo.git");
    assert!(is_ok && !commit.is_empty() && text.contains(&commit), "{text}");
    let (is_ok, text) = run_one(jail, "git", &["ls-remote", "URL"], "https://evil.test/repo.git");
    assert!(!is_ok && !text.contains(&commit), "{text}");
    world.packets.take();
}
