"""What stands for the internet of the bench: a name server, an echo server, and a server of long downloads and uploads.

It runs in a network namespace of its own, whose loopback has the global addresses, until its standard input ends.
"""
import os
import selectors
import socket
import sys
import threading

NAME = "origin.test"
V4, V6 = "9.9.9.9", "2606:4700::1111"
DNS = "8.8.8.8"
# What is sent comes back; and what is a tunnel's whole life is sent one way.
ECHO, BULK = 443, 5001
PIECE = 1 << 20


def name_server(seconds: int) -> None:
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((DNS, 53))
    wanted = b"".join(bytes([len(label)]) + label.encode() for label in NAME.split(".")) + b"\0"
    while True:
        query, client = server.recvfrom(2048)
        end = query.index(b"\0", 12) + 5
        asked, kind = query[12:end - 4].lower(), query[end - 4:end - 2]
        data = {b"\0\1": socket.inet_pton(socket.AF_INET, V4), b"\0\x1c": socket.inet_pton(socket.AF_INET6, V6)}
        answer = data.get(kind, b"") if asked == wanted else b""
        code = b"\x85\x80" if asked == wanted else b"\x85\x83"
        message = query[:2] + code + b"\0\1\0" + (b"\1" if answer else b"\0") + b"\0\0\0\0" + query[12:end]
        if answer:
            message += b"\xc0\x0c" + kind + b"\0\1" + seconds.to_bytes(4, "big") + len(answer).to_bytes(2, "big") + answer
        server.sendto(message, client)


def listener(port: int) -> socket.socket:
    server = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=4096)
    return server


def echo() -> None:
    """One thread for all connections. A client that does not read is not its concern here."""
    server, ready = listener(ECHO), selectors.DefaultSelector()
    ready.register(server, selectors.EVENT_READ)
    while True:
        for key, _ in ready.select():
            if key.fileobj is server:
                stream, _ = server.accept()
                stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                ready.register(stream, selectors.EVENT_READ)
                continue
            try:
                data = key.fileobj.recv(65536)
            except OSError:
                data = b""
            if data:
                key.fileobj.sendall(data)
            else:
                ready.unregister(key.fileobj)
                key.fileobj.close()


def bulk(stream: socket.socket) -> None:
    """`D 100` sends 100 bytes, `U 100` takes them and says so. MSG_TRUNC: the kernel throws them away without a copy."""
    with stream:
        line = b""
        while not line.endswith(b"\n"):
            byte = stream.recv(1)
            if not byte:
                return
            line += byte
        way, count = line.split()
        left, piece = int(count), bytearray(PIECE)
        try:
            if way == b"D":
                while left:
                    left -= stream.send(memoryview(piece)[:left])
            else:
                while left:
                    left -= stream.recv_into(piece, min(left, PIECE), socket.MSG_TRUNC) or left
                stream.sendall(b"done")
        except OSError:
            pass


def bulks() -> None:
    server = listener(BULK)
    while True:
        stream, _ = server.accept()
        threading.Thread(target=bulk, args=(stream,), daemon=True).start()


def main() -> None:
    # The namespace is made; its addresses come from outside.
    print("made", flush=True)
    sys.stdin.readline()
    threading.Thread(target=name_server, args=(int(sys.argv[1]),), daemon=True).start()
    for task in (echo, bulks):
        threading.Thread(target=task, daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
