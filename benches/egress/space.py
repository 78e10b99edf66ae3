"""Namespaces and processes of the bench: the host, an internet behind a cable, a jail, and a proxy of each kind.

Everything ends with this process. Measures nothing by itself.
"""
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from origin import BULK, DNS, NAME, V4, V6

HERE = Path(__file__).resolve().parent
SCRATCH = Path("/run/mantlet-bench")
PACKAGE = "npm/node_modules/@anthropic-ai/sandbox-runtime"
# Debian's, with what it needs to do the same: one name allowed, everything else refused, nothing logged.
TINYPROXY = f"""Port 3129
Listen 127.0.0.1
Timeout 600
MaxClients 4000
LogLevel Critical
FilterType fnmatch
FilterDefaultDeny Yes
Filter "{SCRATCH}/filter"
"""
POLICY = f"""version = 1
[agent.main]
role = "builder"
workspace = "/home/ann/w"
[agent.main.egress]
allow = ["{NAME}", "{NAME}:{BULK}"]
"""


class Child:
    """A process that talks in lines."""

    def __init__(self, words: list[str]) -> None:
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENV)
        self.pid = self.process.pid

    def line(self) -> str:
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"benches/egress/run: {self.process.args[:4]} ended with {self.process.wait()}")
        return line.strip()

    def say(self, text: str) -> None:
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()


class Client(Child):
    """A client.py."""

    def ask(self, proxy: "Proxy", do: str, **order: object) -> dict:
        self.asking = f"{do} by {proxy.name}"
        self.say(json.dumps({"do": do, "to": proxy.to, **order}))
        return self.answer()

    def answer(self) -> dict:
        answer = json.loads(self.line())
        if "error" in answer:
            raise SystemExit(f"benches/egress/run: {self.asking}: {answer['error']}")
        return answer


@dataclass
class Proxy:
    """One way to the origin: how a client asks for it, which client, and which process is measured."""
    name: str
    to: dict
    client: Client
    pid: int

    def ask(self, do: str, **order: object) -> dict:
        return self.client.ask(self, do, **order)

    def cpu(self) -> float:
        """Seconds of CPU of the process with all its threads, those that have ended too: its clock of clock_gettime(2)."""
        return time.clock_gettime((~self.pid << 3) | 2)

    def rss(self) -> float:
        """MiB, as the kernel counts them when it is asked to count exactly."""
        lines = Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Rss:")) / 1024

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))


ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME": "/nonexistent", "LANG": "C.UTF-8",
       "PYTHONDONTWRITEBYTECODE": "1",
       # srt names a socket after its process id, which in a pid namespace another run has as well.
       "TMPDIR": str(SCRATCH)}


def sh(script: str) -> None:
    subprocess.run(["sh", "-ec", script], check=True, env=ENV)


def entered(arguments: list[str]) -> bool:
    """Whether this is the host of the bench; if not, starts it, in namespaces of its own, and waits."""
    if os.environ.get("MANTLET_BENCH") == "host":
        return True
    # A thousand tunnels have more descriptors than a shell's usual limit.
    words = ["sh", "-c", 'ulimit -n $(ulimit -Hn) && exec "$@"', "sh", "unshare", "--user", "--map-root-user", "--net",
             "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, *arguments]
    done = subprocess.run(words, env=os.environ | {"MANTLET_BENCH": "host"})
    if done.returncode:
        raise SystemExit(done.returncode)
    return False


def internet(ttl: int) -> Child:
    sh(f"mount -t tmpfs tmpfs /run; mkdir {SCRATCH}; ip link set lo up")
    origin = Child(["unshare", "--net", "--kill-child", "--", sys.executable, str(HERE / "origin.py"), str(ttl)])
    origin.line()
    sh(f"""ip link add w0 type veth peer name i0 netns {origin.pid}
n='nsenter --target {origin.pid} --net'
ip addr add 192.168.77.2/24 dev w0; ip -6 addr add fd77::2/64 dev w0 nodad; ip link set w0 up
$n ip link set lo up; $n ip addr add 192.168.77.1/24 dev i0; $n ip -6 addr add fd77::1/64 dev i0 nodad
$n ip link set i0 up
for a in {V4} {DNS}; do $n ip addr add $a/32 dev lo; done; $n ip -6 addr add {V6}/128 dev lo nodad
$n ip route add default via 192.168.77.2; $n ip -6 route add default via fd77::2
ip route add default via 192.168.77.1; ip -6 route add default via fd77::1
echo 'nameserver {DNS}' > {SCRATCH}/resolv.conf; mount --bind {SCRATCH}/resolv.conf $(readlink -f /etc/resolv.conf)
echo '127.0.0.1 localhost' > {SCRATCH}/hosts; mount --bind {SCRATCH}/hosts /etc/hosts""")
    origin.say("go")
    origin.line()
    return origin


def client() -> Client:
    client = Client([sys.executable, str(HERE / "client.py")])
    client.line()
    return client


def ours(served: Path) -> list[Proxy]:
    """One process, two ways: its proxy and its capture, both with sockets that were opened in a jail's namespace."""
    policy, door = SCRATCH / "policy.toml", SCRATCH / "door"
    policy.write_text(POLICY)
    policy.chmod(0o600)
    process = Child([str(served), str(policy), str(door)])
    listeners, address = [], ""
    while (line := process.line()) != "ready":
        kind, *rest = line.split()
        if kind == "listen":
            listeners += rest
        elif rest[0] == NAME:
            address = rest[1]
    jail = Client(["unshare", "--net", "--kill-child", "--", sys.executable, str(HERE / "client.py"), "jail", str(door),
                   *listeners])
    jail.line()
    process.line()
    process.jail = jail
    return [Proxy("mantlet, CONNECT", {"way": "connect", "port": 3128}, jail, process.pid),
            Proxy("mantlet, capture", {"way": "capture", "address": address}, jail, process.pid)]


def srt(peers: Path, kind: str, with_client: Client) -> Proxy:
    words = [str(peers / "npm/node_modules/.bin/node"), str(HERE / "srt.mjs"), str(peers / PACKAGE), kind]
    process = Child(words)
    said = json.loads(process.line())
    name = {"whole": "srt", "bare": "srt, its HTTP server alone"}[kind]
    return Proxy(name, {"way": "connect", **said}, with_client, process.pid)


def tinyproxy(with_client: Client) -> Proxy:
    (SCRATCH / "filter").write_text(f"{NAME}\n")
    (SCRATCH / "tinyproxy.conf").write_text(TINYPROXY)
    process = Child(["tinyproxy", "-d", "-c", str(SCRATCH / "tinyproxy.conf")])
    time.sleep(1)
    return Proxy("tinyproxy", {"way": "connect", "port": 3129}, with_client, process.pid)
