"""The clients: what each is called with, and what it must bring back. A table."""
from dataclasses import dataclass, field

CURL = "curl -sS --fail --max-time 20"
PIP = "/usr/bin/python3 -m pip install --quiet --isolated --no-cache-dir --disable-pip-version-check --no-input --retries 0 --timeout 10"
NPM = "npm install --no-audit --no-fund --no-update-notifier --fetch-retries 0 --loglevel error"
CARGO = "env CARGO_HOME={dir}/cargo CARGO_NET_RETRY=0 RUSTC={cache}/rust/bin/rustc {cache}/rust/bin/cargo run --quiet"
APT = "apt-get -qq update && apt-get -qq download thing && dpkg-deb --fsys-tarfile thing_1.0_all.deb | tar -xO ./payload"


@dataclass(frozen=True)
class Client:
    """`url` is `base` and what to ask for, `base` the server and a nonce, `dir` a new directory, `cache` what setup made."""
    name: str
    call: str
    scheme: str = "https"
    port: int | None = None
    what: str = "body"
    """The file below `dir` that holds what it got; standard output if there is none."""
    result: str = ""
    """The families that it can be told to reach as a bare address."""
    families: tuple[int, ...] = (4, 6)
    files: dict[str, str] = field(default_factory=dict)


CARGO_FILES = {
    "Cargo.toml": '[package]\nname = "user"\nversion = "1.0.0"\nedition = "2021"\n[dependencies]\nthing = "1"\n',
    "src/main.rs": "use std::io::Write;\nfn main() {\n    std::io::stdout().write_all(thing::PAYLOAD).unwrap();\n}\n",
    "cargo/config.toml": '[source.crates-io]\nreplace-with = "world"\n[source.world]\nregistry = "sparse+{base}/cargo/"\n',
}
# As uid 0 apt would become its own user, who may enter nothing here; the jail's uid is an ordinary one anyway.
APT_FILES = {
    "apt.conf": 'Dir "{dir}/apt";\nDir::State::status "{dir}/apt/status";\nAcquire::Retries "0";\nAPT::Sandbox::User "root";\n'
                'Acquire::http::Timeout "10";\nAPT::Architecture "amd64";\nAPT::Get::AllowUnauthenticated "true";\n'
                'Dir::Log "{dir}/apt";\nDir::Bin::methods "/usr/lib/apt/methods";\n',
    "apt/status": "",
    "apt/etc/apt/sources.list": "deb [trusted=yes] {base}/apt ./\n",
    "apt/var/lib/apt/lists/partial/.keep": "",
    "apt/var/cache/apt/archives/partial/.keep": "",
}

CLIENTS = [
    Client("curl -4", f"{CURL} -4 {{url}}", families=(4,)),
    Client("curl -6", f"{CURL} -6 {{url}}", families=(6,)),
    Client("curl -4, http", f"{CURL} -4 {{url}}", scheme="http", families=(4,)),
    Client("curl -6, http", f"{CURL} -6 {{url}}", scheme="http", families=(6,)),
    Client("curl, port 8443", f"{CURL} {{url}}", port=8443),
    Client("wget", "wget -qO- --timeout=10 --tries=1 {url}"),
    Client("wget, http", "wget -qO- --timeout=10 --tries=1 {url}", scheme="http"),
    Client("python urllib", "python3 {e2e}/fetch.py urllib {url}"),
    Client("python requests", "python3 {e2e}/fetch.py requests {url}"),
    Client("python aiohttp", "python3 {e2e}/fetch.py aiohttp {url}"),
    Client("node fetch", "{cache}/node/program {e2e}/fetch.cjs fetch {url}"),
    Client("node fetch, dispatcher", "{cache}/node/program {e2e}/fetch.cjs dispatcher {url}"),
    Client("node undici, its own Agent", "{cache}/node/program {e2e}/fetch.cjs undici {url}"),
    Client("node https.get, its own Agent", "{cache}/node/program {e2e}/fetch.cjs agent {url}"),
    Client("node ws", "{cache}/node/program {e2e}/fetch.cjs socket {url}", scheme="wss", what="socket"),
    Client("git clone", "git clone -q {base}/repo.git {dir}/clone", result="clone/payload", what="repo.git"),
    Client("pip install", PIP + " --index-url {base}/simple/ --target {dir}/site thing", result="site/thing/payload", what="simple"),
    Client("npm install", NPM + " --registry {base}/npm/ --cache {dir}/npm --prefix {dir} thing", result="node_modules/thing/payload", what="npm", families=(4,)),
    Client("cargo run", CARGO, what="cargo", files=CARGO_FILES),
    Client("apt-get, http", f"env APT_CONFIG={{dir}}/apt.conf sh -ec '{APT}'", scheme="http", what="apt", files=APT_FILES),
    Client("java HttpClient", "java -cp {cache}/clients/java Fetch {url}"),
    Client("go, static", "{cache}/clients/go/fetch {url}"),
    Client("server speaks first", "python3 {e2e}/fetch.py talk {url}", scheme="tcp", port=3306, what="talk"),
]
