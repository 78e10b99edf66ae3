"""Servers of the jail's own, on ports that are also allowed outwards: serve.py PORT... Asks itself, and says what it got."""
import socket
import sys
import threading

ADDRESSES = ["127.0.0.1", "::1"]


def listen(address: str, port: int) -> None:
    listener = socket.create_server((address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET)

    def answer() -> None:
        stream, _ = listener.accept()
        with stream:
            stream.sendall(stream.recv(100)[::-1])
    threading.Thread(target=answer, daemon=True).start()


for port in map(int, sys.argv[1:]):
    for address in ADDRESSES:
        listen(address, port)
        with socket.create_connection((address, port), timeout=5) as stream:
            stream.sendall(b"edisni")
            print(address, port, stream.recv(100).decode())
