"""Real clients, each in the jail and without it: drive.py SCRATCH WORD [BECOME...]

What counts is what a client brought back and what arrived in the internet, never what Mantlet says of itself.
"""
import hashlib
import ipaddress
import os
import secrets
import shlex
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import content
from clients import CLIENTS, CURL, Client
from internet import ADDRESSES
from world import World

scratch, word, become = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
work = scratch / "home/work"
caches = {"cache": str(scratch / "cache"), "e2e": str(scratch / "e2e/inside")}
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
# Node and requests bring certificates of their own, and are told of the system's. Nothing here names a proxy.
ENVIRONMENT = {
    "NODE_EXTRA_CA_CERTS": BUNDLE,
    "NODE_PATH": f"{caches['cache']}/clients/node_modules",
    "PYTHONPATH": f"{caches['cache']}/clients/python",
    "PYTHONDONTWRITEBYTECODE": "1",
    "REQUESTS_CA_BUNDLE": BUNDLE,
}
POLICY = f"""
version = 1
[agent.main]
role = "builder"
workspace = "{work}"
[agent.main.files]
read = ["{caches['cache']}", "{caches['e2e']}"]
[agent.main.env]
set = {{ {', '.join(f'{name} = "{value}"' for name, value in ENVIRONMENT.items())} }}
[agent.main.egress]
allow = ["allowed.test", "allowed.test:80", "allowed.test:3306", "allowed.test:8443", "*.wild.test"]
ports = {{ 8443 = "tls" }}
"""
policy = scratch / "home/policy.toml"
passed = failed = 0
tally = {"jailed, not allowed": (0, 0), "the same without Mantlet": (0, 0)}
_lock = threading.Lock()


@dataclass
class Outcome:
    code: int
    got: bytes
    said: str
    seconds: float


def check(name: str, holds: bool, detail: object = "") -> None:
    global passed, failed
    with _lock:
        passed, failed = passed + holds, failed + (not holds)
        print(f"{'ok  ' if holds else 'FAIL'} {name}" + ("" if holds else f"\n     {str(detail)[:3000]}"), flush=True)


def call(words: list[str], place: Path, jailed: bool, limit: float = 60) -> Outcome:
    env = {"HOME": str(scratch / "home"), "USER": "tester", "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    if jailed:
        words = [str(scratch / "bin/mantlet"), "exec", "--policy", str(policy), "--agent", "main", "--cwd", str(place), "--", *words]
    else:
        env |= ENVIRONMENT
    hand_over(place)
    started = time.monotonic()
    try:
        done = subprocess.run([*become, *words], cwd=place, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=limit)
        code, got, said = done.returncode, done.stdout, done.stderr
    except subprocess.TimeoutExpired as late:
        code, got, said = -1, late.stdout or b"", (late.stderr or b"") + b"(no end)"
    return Outcome(code, got, said.decode(errors="replace")[-2000:], time.monotonic() - started)


def hand_over(place: Path) -> None:
    """The directory is the user's, as the workspace is."""
    owner = work.stat()
    for path in [place, *place.rglob("*")]:
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def attempt(client: Client, host: str, jailed: bool) -> tuple[bool, str, Outcome, list[dict]]:
    """Whether the client brought back what only that server gives, and what was seen there."""
    nonce = secrets.token_hex(8)
    place = work / nonce
    at = f"[{host}]" if ":" in host else host
    base = f"{client.scheme}://{at}{f':{client.port}' if client.port else ''}/{nonce}"
    names = {**caches, "dir": str(place), "base": base, "url": f"{base}/{client.what}"}
    place.mkdir()
    for name, text in client.files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        for key, value in names.items():
            text = text.replace(f"{{{key}}}", value)
        path.write_text(text)
    words = [part.format(**names) for part in shlex.split(client.call)]
    outcome = call(words, place, jailed)
    if client.result:
        path = place / client.result
        outcome.got = path.read_bytes() if path.is_file() else b""
    expected = {"body": content.body(nonce), "talk": content.body(nonce), "socket": f"{nonce} 1".encode()}
    return outcome.got == expected.get(client.what, world.payload), nonce, outcome, world.take()


def count(arm: str, events: list[dict]) -> None:
    attempts, packets = tally[arm]
    tally[arm] = attempts + 1, packets + sum(event["kind"] != "request" for event in events)


def is_there(events: list[dict], nonce: str, host: str) -> bool:
    """The server's own log: it was asked for this nonce, under this name."""
    mine = [event for event in events if event["kind"] == "request" and event["nonce"] == nonce]
    return bool(mine) and all(event["what"] == "talk" or host in event["host"] for event in mine)


def is_only(events: list[dict], name: str) -> bool:
    """No look-up of another name, no connection to another address, nothing else on the wire."""
    def fits(event: dict) -> bool:
        return {
            "dns": lambda: event["name"] == name,
            "connection": lambda: event["to"] in ADDRESSES[name],
            "request": lambda: True,
        }.get(event["kind"], lambda: False)()
    return all(map(fits, events))


def compare(client: Client) -> None:
    raw = [str(ipaddress.ip_address(ADDRESSES["allowed.test"][family == 6])) for family in client.families]
    got, nonce, outcome, events = attempt(client, "allowed.test", jailed=True)
    is_reached = got and outcome.code == 0 and is_there(events, nonce, "allowed.test") and is_only(events, "allowed.test")
    check(f"{client.name}: jailed, allowed.test is reached ({outcome.seconds:.1f} s)", is_reached, (outcome, events))
    for host in ["other.test", *raw]:
        got, _, outcome, events = attempt(client, host, jailed=True)
        count("jailed, not allowed", events)
        is_refused = not got and outcome.code not in (0, -1, 125, 126, 127) and not events
        check(f"{client.name}: jailed, {host} is not, and nothing leaves ({outcome.seconds:.1f} s)", is_refused, (outcome, events))
        got, nonce, outcome, events = attempt(client, host, jailed=False)
        count("the same without Mantlet", events)
        check(f"{client.name}: control, {host} is reached without Mantlet", got and outcome.code == 0 and is_there(events, nonce, host), (outcome, events))


def wildcard() -> None:
    client = Client("curl", f"{CURL} {{url}}")
    for host, is_allowed in [("a.wild.test", True), ("wild.test", False)]:
        got, nonce, outcome, events = attempt(client, host, jailed=True)
        is_right = got == is_allowed == is_there(events, nonce, host) and (is_only(events, host) if is_allowed else not events)
        check(f"*.wild.test: {host} is {'' if is_allowed else 'not '}reached", is_right, (outcome, events))
        got, *rest = attempt(client, host, jailed=False)
        check(f"*.wild.test: control, {host} is reached without Mantlet", got, rest)


def environment() -> None:
    outcome = call(["env"], work, jailed=True)
    names = [line.split("=")[0] for line in outcome.got.decode().splitlines()]
    check("no variable in the jail names a proxy", outcome.code == 0 and names and not any("proxy" in name.lower() for name in names), names)


def long_ones() -> None:
    """Connections that last, at the same time."""
    base, nonce = "https://allowed.test", secrets.token_hex(8)
    node = f"{caches['cache']}/node/program {caches['e2e']}/fetch.cjs"
    upload = work / "upload"
    upload.write_bytes(b"".join(content.big(nonce)))
    big = hashlib.sha256(upload.read_bytes()).hexdigest()
    size = f"{content.BIG >> 20} MiB"
    calls = {
        "a WebSocket of 12 s echoes to its end": (f"{node} socket wss://allowed.test/{nonce}/socket 12", f"{nonce} 12".encode()),
        "a response of 12 s arrives whole": (f"{CURL} {base}/{nonce}/slow", content.body(nonce)),
        "the same over http": (f"{CURL} http://allowed.test/{nonce}/slow", content.body(nonce)),
        f"{size} arrive": (f"sh -c '{CURL} {base}/{nonce}/big | sha256sum | cut -c1-64 | tr -d \"\\n\"'", big.encode()),
        f"{size} arrive over http": (f"sh -c '{CURL} http://allowed.test/{nonce}/big | sha256sum | cut -c1-64 | tr -d \"\\n\"'", big.encode()),
        f"{size} are sent": (f"{CURL} -T {upload} {base}/{nonce}/upload", big.encode()),
        f"{size} are sent over http": (f"{CURL} -T {upload} http://allowed.test/{nonce}/upload", big.encode()),
    }

    def one(name: str, line: str, expected: bytes) -> None:
        outcome = call(shlex.split(line), work, jailed=True)
        check(f"{name} ({outcome.seconds:.1f} s)", outcome.code == 0 and outcome.got == expected, (outcome.code, outcome.got[:100], outcome.said))
    threads = [threading.Thread(target=one, args=(name, *rest)) for name, rest in calls.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    events = world.take()
    check("all of that went to allowed.test only", bool(events) and is_only(events, "allowed.test"), [e for e in events if e["kind"] != "request"])


def servers() -> None:
    """Ports that are allowed outwards are the jail's own as well."""
    serve = f"python3 {caches['e2e']}/serve.py"
    usual, out = (f"{CURL} -o /dev/null -w '%{{size_download}}\\n' https://allowed.test{port}/inside/body" for port in ("", ":8443"))
    whole, on_all = str(len(content.body("inside"))), [":::8443 inside"] * 2
    calls = {
        "listen on a port while it is used outwards": (f"{serve} 127.0.0.1:8443 ::1:8443 -- {out}", ["127.0.0.1:8443 inside", "::1:8443 inside", whole]),
        "listen on it after it was used outwards": (f"{out} && {serve} 127.0.0.1:8443 -- {out}", [whole, "127.0.0.1:8443 inside", whole]),
        "on all addresses have it before it is used outwards": (f"{serve} :::8443 && {serve} 0.0.0.0:8443 && {out}", [*on_all, "0.0.0.0:8443 inside", whole]),
        "on all addresses keep it, and other ports lead out": (f"{serve} :::8443 -- {usual}", [*on_all, whole]),
    }
    for name, (line, expected) in calls.items():
        outcome = call(["sh", "-c", line], work, jailed=True)
        check(f"servers inside {name}", outcome.got.decode().split("\n")[:-1] == expected, outcome)
    # A limit of it: an address of the name is listened on from then on.
    outcome = call(["sh", "-c", f"{out} && {serve} :::8443"], work, jailed=True)
    check("a server on all addresses is told that a port is taken once it was used outwards", "Address already in use" in outcome.said, outcome)
    world.take()


def survivors() -> list[str]:
    """This process is the first one of its namespace: what ended without a parent left is there, but has no command line."""
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit() and int(path.name) not in (os.getpid(), world.internet.pid):
            try:
                line = (path / "cmdline").read_bytes()
            except OSError:
                continue
            found += [f"{path.name}: {line!r}"] if line else []
    return found


world = World(scratch)
policy.write_text(POLICY)
others = {"*.wild.test": wildcard, "environment": environment, "long": long_ones, "servers inside": servers}
for client in CLIENTS:
    if word in client.name:
        compare(client)
for name, part in others.items():
    if word in name:
        part()
deadline = time.monotonic() + 5
while (rest := survivors()) and time.monotonic() < deadline:
    time.sleep(0.1)
check("nothing that was started is still running", not rest, rest)
for arm, (count, packets) in tally.items():
    print(f"{arm}: {count} attempts, {packets} look-ups and connections seen in the internet")
print(f"{passed} passed, {failed} failed")
sys.exit(1 if failed or not passed else 0)
