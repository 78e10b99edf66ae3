"""The host and its cable to the internet: trust store, names, addresses, and what the witness saw."""
import json
import queue
import secrets
import socket
import subprocess
import threading
from pathlib import Path

import content
from internet import ADDRESSES, NAME_SERVER

# The CA is installed as an administrator would: in the bundle, in the directory of hashes, in Java's store.
TRUST = """
cd "$1"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 2 \
  -subj "/CN=the world's test CA" -addext basicConstraints=critical,CA:true -addext keyUsage=critical,keyCertSign,cRLSign
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout leaf.key -out leaf.csr -subj /CN=allowed.test
printf 'subjectAltName=%s\\nbasicConstraints=critical,CA:false\\nextendedKeyUsage=serverAuth\\n' "$2" >leaf.ext
openssl x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile leaf.ext -out leaf.pem
certs=$1/etc/ssl/certs
cat ca.pem >>"$certs/ca-certificates.crt"
cp ca.pem "$certs/world.pem"
ln -s world.pem "$certs/$(openssl x509 -hash -noout -in ca.pem).0"
mkdir -p "$certs/java"
keytool -importcert -noprompt -alias world -file ca.pem -keystore "$certs/java/cacerts" -storepass changeit
chmod 644 "$certs/java/cacerts"
"""

# Mantlet refuses a name that leads to the host's own addresses, so that the internet's are elsewhere: behind a cable.
CABLE = """
ip link set lo up
ip link add w0 type veth peer name i0 netns "$1"
ip addr add 192.168.77.2/24 dev w0; ip -6 addr add fd77::2/64 dev w0 nodad; ip link set w0 up
there="nsenter --target $1 --net ip"; shift
$there link set lo up
$there addr add 192.168.77.1/24 dev i0; $there -6 addr add fd77::1/64 dev i0 nodad; $there link set i0 up
for address; do $there addr add "$address" dev lo nodad; done
$there route add default via 192.168.77.2; $there -6 route add default via fd77::2
ip route add default via 192.168.77.1; ip -6 route add default via fd77::1
"""


def shell(script: str, *words: str) -> None:
    done = subprocess.run(["sh", "-euc", script, "sh", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise SystemExit(f"the world cannot be made: {done.stdout}")


class World:
    def __init__(self, scratch: Path) -> None:
        self.payload = secrets.token_hex(2000).encode()
        content.make(scratch / "goods", self.payload)
        addresses = {address for pair in ADDRESSES.values() for address in pair}
        names = [f"DNS:{name}" for name in ADDRESSES] + ["DNS:*.wild.test"] + [f"IP:{address}" for address in addresses]
        shell(TRUST, str(scratch), ",".join(names))
        (scratch / "etc/resolv.conf").write_text(f"nameserver {NAME_SERVER}\n")
        (scratch / "etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
        (scratch / "etc/nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files dns\n")
        program = ["unshare", "--net", "--", "/usr/bin/python3", str(scratch / "e2e/internet.py"), str(scratch)]
        self.internet = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.events: queue.Queue = queue.Queue()
        threading.Thread(target=self.listen, daemon=True).start()
        self.wait("here")
        shell(CABLE, str(self.internet.pid), *addresses, NAME_SERVER)
        self.internet.stdin.write("go\n")
        self.internet.stdin.flush()
        self.wait("ready")
        self.marker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        # Each side must have found the other on the cable: what waits for that is overtaken by later packets.
        for address in ADDRESSES["allowed.test"]:
            socket.create_connection((address, 80), timeout=10).close()
        self.take()

    def listen(self) -> None:
        for line in self.internet.stdout:
            self.events.put(json.loads(line))

    def wait(self, kind: str, **more: str) -> list[dict]:
        """Everything that happened before this."""
        before = []
        while (event := self.events.get(timeout=10)) != {"kind": kind, **more}:
            before.append(event)
        return before

    def take(self) -> list[dict]:
        """Everything that arrived since the last time. Packets come in order: what was sent before the marker is there."""
        token = secrets.token_hex(8)
        self.marker.sendto(token.encode(), (NAME_SERVER, 9))
        return self.wait("marker", token=token)
