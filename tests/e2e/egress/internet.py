"""What stands for the internet, in a network namespace of its own: internet.py DIRECTORY.

A name server, web servers with a certificate of the test CA, a server that speaks first; and a witness, which sees every
packet that arrives from the host. Each thing that happened is a line of JSON on standard output.
"""
import base64
import hashlib
import json
import socket
import socketserver
import ssl
import struct
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import content

ADDRESSES = {
    "allowed.test": ("9.9.9.9", "2606:4700::1111"),
    "other.test": ("151.101.1.2", "2a04:4e42::2"),
    "wild.test": ("151.101.1.3", "2a04:4e42::3"),
    "a.wild.test": ("151.101.1.3", "2a04:4e42::3"),
}
NAME_SERVER = "8.8.8.8"
ETH_P_ALL = 3
_LOCK = threading.Lock()


def say(**event: object) -> None:
    with _LOCK:
        print(json.dumps(event), flush=True)


def question(message: bytes) -> tuple[str, int, int]:
    """The name that is asked for, its type, and where the question ends."""
    at, labels = 12, []
    while message[at]:
        labels.append(message[at + 1:at + 1 + message[at]].decode("latin-1").lower())
        at += 1 + message[at]
    return ".".join(labels), int.from_bytes(message[at + 1:at + 3], "big"), at + 5


def answer(query: bytes) -> bytes:
    name, kind, end = question(query)
    found = ADDRESSES.get(name)
    data = b""
    if found and kind in (1, 28):
        data = socket.inet_pton(*((socket.AF_INET, found[0]) if kind == 1 else (socket.AF_INET6, found[1])))
    record = struct.pack(">HHHIH", 0xC00C, kind, 1, 0, len(data)) + data if data else b""
    flags = 0x8580 if found else 0x8583
    return query[:2] + struct.pack(">HHHHH", flags, 1, len(data) > 0, 0, 0) + query[12:end] + record


def serve_names(server: socket.socket) -> None:
    while True:
        query, client = server.recvfrom(2048)
        server.sendto(answer(query), client)


def witness(wire: socket.socket) -> None:
    """Sees all that arrives, whether or not anything here would answer it."""
    while True:
        packet, (_, protocol, direction, *_) = wire.recvfrom(128)
        # What was sent from here, to everybody, or to find a neighbour, is no attempt of a client.
        if direction != socket.PACKET_HOST or protocol not in (0x0800, 0x86DD):
            continue
        is_v4 = protocol == 0x0800
        number, rest = (packet[9], packet[(packet[0] & 15) * 4:]) if is_v4 else (packet[6], packet[40:])
        to = socket.inet_ntop(*((socket.AF_INET, packet[16:20]) if is_v4 else (socket.AF_INET6, packet[24:40])))
        report(number, to, rest)


def report(number: int, to: str, rest: bytes) -> None:
    port = int.from_bytes(rest[2:4], "big")
    if number == 6:
        if rest[13] & 0x12 == 0x02:  # A SYN that is no answer: a new connection.
            say(kind="connection", to=to, port=port)
    elif number == 17 and port == 9:
        say(kind="marker", token=rest[8:].decode())
    elif number == 17 and port == 53:
        say(kind="dns", to=to, name=question(rest[8:])[0])
    elif number not in (1, 58) or (number == 58 and rest[0] not in (133, 134, 135, 136)) or (number == 1 and rest[0] == 8):
        say(kind="packet", to=to, protocol=number, port=port)


class Web(BaseHTTPRequestHandler):
    """/NONCE/what: the nonce is told to the witness, what comes back follows from it."""
    protocol_version = "HTTP/1.1"
    timeout = 60
    goods: Path
    tls: ssl.SSLContext | None = None

    def setup(self) -> None:
        if self.tls:
            self.request = self.tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def log_message(self, *_: object) -> None:
        pass

    def reply(self, body: bytes, status: int = 200, kind: str = "application/octet-stream") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def asked(self) -> tuple[str, str]:
        nonce, _, what = self.path.split("?")[0][1:].partition("/")
        say(kind="request", host=self.headers.get("Host", ""), port=self.server.server_address[1], nonce=nonce, what=what)
        return nonce, what

    def do_GET(self) -> None:
        nonce, what = self.asked()
        if what == "body":
            self.reply(content.body(nonce))
        elif what == "big":
            self.send_response(200)
            self.send_header("Content-Length", str(content.BIG))
            self.end_headers()
            for piece in content.big(nonce):
                self.wfile.write(piece)
        elif what == "slow":
            self.slow(nonce)
        elif what == "socket":
            self.echo()
        else:
            self.file(nonce, what)

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        self.asked()
        digest, left = hashlib.sha256(), int(self.headers["Content-Length"])
        while left:
            piece = self.rfile.read(min(left, 1 << 20))
            digest.update(piece)
            left -= len(piece)
        self.reply(digest.hexdigest().encode())

    def file(self, nonce: str, what: str) -> None:
        path = self.goods / what
        if path.is_dir():
            path /= "index.html"
        if ".." in what or not path.is_file():
            return self.reply(b"not here", 404)
        text = path.read_bytes()
        kind = "text/html" if path.suffix == ".html" else "application/octet-stream"
        base = f"{'https' if self.tls else 'http'}://{self.headers['Host']}/{nonce}"
        return self.reply(text.replace(b"BASE", base.encode()) if what in ("npm/thing", "cargo/config.json") else text, kind=kind)

    def slow(self, nonce: str) -> None:
        """Twelve seconds, a piece in each."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        body = content.body(nonce)
        for start in range(0, len(body), len(body) // 12):
            piece = body[start:start + len(body) // 12]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            time.sleep(1)
        self.wfile.write(b"0\r\n\r\n")

    def echo(self) -> None:
        """A WebSocket with short messages."""
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        self.close_connection = True
        while len(head := self.rfile.read(2)) == 2:
            mask = self.rfile.read(4)
            text = bytes(byte ^ mask[at % 4] for at, byte in enumerate(self.rfile.read(head[1] & 127)))
            self.wfile.write(bytes([head[0], len(text)]) + text)
            if head[0] & 15 == 8:
                return


class SecureWeb(Web):
    """The same inside TLS."""


class First(socketserver.StreamRequestHandler):
    """It speaks first, and answers one line."""

    def handle(self) -> None:
        self.wfile.write(b"8.0-world\n")
        nonce = self.rfile.readline().decode().strip()
        say(kind="request", host="", port=3306, nonce=nonce, what="talk")
        self.wfile.write(content.body(nonce))


class Server(socketserver.ThreadingTCPServer):
    address_family = socket.AF_INET6
    allow_reuse_address = daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        """A client that goes away is not an error here."""


def main(directory: Path) -> None:
    say(kind="here")
    sys.stdin.readline()
    Web.goods = directory / "goods"
    SecureWeb.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    SecureWeb.tls.load_cert_chain(directory / "leaf.pem", directory / "leaf.key")
    for port, handler in ((80, Web), (443, SecureWeb), (8443, SecureWeb), (3306, First)):
        threading.Thread(target=Server(("::", port), handler).serve_forever, daemon=True).start()
    names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    names.bind((NAME_SERVER, 53))
    threading.Thread(target=serve_names, args=[names], daemon=True).start()
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
    wire.bind(("i0", ETH_P_ALL))
    threading.Thread(target=witness, args=[wire], daemon=True).start()
    say(kind="ready")
    sys.stdin.read()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
