"""The client of the bench, the same for every proxy: takes orders as lines of JSON, and answers each with one.

With arguments `jail SOCKET LISTENER...` it first plays the jail: it opens the sockets in its network namespace and hands
them over SOCKET to the process that serves them.
"""
import json
import selectors
import socket
import ssl
import subprocess
import sys
import time

from origin import BULK, ECHO, NAME, PIECE


def hello() -> bytes:
    """What a TLS client says first, for the name."""
    outgoing = ssl.MemoryBIO()
    context = ssl.create_default_context()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=NAME)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


HELLO = hello()


def opened(to: dict, port: int) -> socket.socket:
    """A connection to the port of the name: through a proxy, or to the address that stands for the name."""
    if to["way"] == "capture":
        stream = socket.create_connection((to["address"], port), timeout=30)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return stream
    stream = socket.create_connection(("127.0.0.1", to["port"]), timeout=30)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    login = f"Proxy-Authorization: {to['login']}\r\n" if to.get("login") else ""
    stream.sendall(f"CONNECT {NAME}:{port} HTTP/1.1\r\nHost: {NAME}:{port}\r\n{login}\r\n".encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = stream.recv(1)
        if not byte:
            raise OSError(f"the proxy closed after {head!r}")
        head += byte
    if b" 200 " not in head.split(b"\r\n")[0]:
        raise OSError(f"the proxy said {head!r}")
    return stream


def exactly(stream: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        piece = stream.recv(count - len(data))
        if not piece:
            raise OSError(f"ended after {len(data)} of {count} bytes")
        data += piece
    return bytes(data)


def connections(to: dict, count: int) -> dict:
    """New connections one after another, each with one ClientHello that comes back."""
    start = time.perf_counter()
    for _ in range(count):
        with opened(to, ECHO) as stream:
            stream.sendall(HELLO)
            if exactly(stream, len(HELLO)) != HELLO:
                raise OSError("other bytes came back")
    return {"seconds": time.perf_counter() - start}


def tunnel(to: dict, way: str, count: int) -> dict:
    """One long tunnel; the clock runs from the first byte to the last. What does not arrive is told."""
    with opened(to, BULK) as stream:
        piece, left = bytearray(PIECE), count
        start = time.perf_counter()
        stream.sendall(f"{way} {count}\n".encode())
        if way == "D":
            while left:
                got = stream.recv_into(piece, min(left, PIECE), socket.MSG_TRUNC)
                if not got:
                    break
                left -= got
        else:
            while left:
                left -= stream.send(memoryview(piece)[:left])
            exactly(stream, 4)
        return {"seconds": time.perf_counter() - start, "lost": left}


def crowd(to: dict, count: int, seconds: float) -> dict:
    """Connections that stay, and each sends a line a second and gets it back. Two reports: when all stand, and at the end."""
    streams = []
    for _ in range(count):
        stream = opened(to, ECHO)
        stream.sendall(HELLO)
        exactly(stream, len(HELLO))
        stream.setblocking(False)
        streams.append(stream)
    say({"standing": len(streams)})
    ready = selectors.DefaultSelector()
    waiting = {}
    for stream in streams:
        ready.register(stream, selectors.EVENT_READ)
    begin, sent, received, errors, worst = time.perf_counter(), 0, 0, 0, 0.0
    turn = 0
    while (now := time.perf_counter()) < begin + seconds or waiting:
        # Spread over the second, so that it is a steady load.
        while now < begin + seconds and turn / count < now - begin:
            stream = streams[turn % count]
            if stream in waiting:
                errors += 1
            line = f"{turn:063}\n".encode()
            stream.send(line)
            waiting[stream] = (line, b"", now)
            sent += 1
            turn += 1
        if now > begin + seconds + 30:
            break
        for key, _ in ready.select(0.005):
            data = key.fileobj.recv(4096)
            line, got, since = waiting.pop(key.fileobj, (b"", b"", now))
            got += data
            if not data or not line.startswith(got):
                errors += 1
            elif got != line:
                waiting[key.fileobj] = (line, got, since)
            else:
                received += 1
                worst = max(worst, time.perf_counter() - since)
    say({"sent": sent, "received": received, "errors": errors + len(waiting), "worst": worst})
    sys.stdin.readline()
    for stream in streams:
        stream.close()
    return {}


def say(answer: dict) -> None:
    print(json.dumps(answer), flush=True)


def jail(path: str, listeners: list[str]) -> None:
    script = """ip link set lo up; ip addr add 198.18.0.1/32 dev lo; ip -6 addr add fd6d:616e:746c::1/128 dev lo nodad
ip route add local 198.18.0.0/15 dev lo; ip -6 route add local fd6d:616e:746c::/64 dev lo"""
    subprocess.run(["sh", "-ec", script], check=True)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 53))
    sockets = [udp, *(socket.create_server(("127.0.0.1", port), backlog=4096) for port in (53, 3128))]
    for text in listeners:
        host, port = text.rsplit(":", 1)
        host = host.strip("[]")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        server = socket.socket(family, socket.SOCK_STREAM)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host != "::"))
            server.setsockopt(socket.IPPROTO_IP, 15, 1)  # IP_FREEBIND: addresses of names are on no interface
        server.bind((host, int(port)))
        server.listen(4096)
        sockets.append(server)
    with socket.socket(socket.AF_UNIX) as channel:
        channel.connect(path)
        socket.send_fds(channel, [b"s"], [s.fileno() for s in sockets])
    for server in sockets:
        server.close()


def main() -> None:
    if sys.argv[1:2] == ["jail"]:
        jail(sys.argv[2], sys.argv[3:])
    say({"ready": True})
    does = {"connections": connections, "tunnel": tunnel, "crowd": crowd}
    for line in sys.stdin:
        order = json.loads(line)
        try:
            say(does[order.pop("do")](**order))
        except OSError as error:
            say({"error": str(error)})


if __name__ == "__main__":
    main()
