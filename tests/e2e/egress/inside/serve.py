"""Servers of the jail's own, on ports that are also allowed outwards: serve.py ADDRESS:PORT... [-- COMMAND...].

Asks itself, says what it got, and runs the command while it serves."""
import socket
import subprocess
import sys
import threading

# A server on all addresses is asked on the loopback's.
ASKED = {"0.0.0.0": ["127.0.0.1"], "::": ["127.0.0.1", "::1"]}


def listen(address: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.create_server((address, port), family=family, dualstack_ipv6=address == "::")

    def answer() -> None:
        while True:
            stream, _ = listener.accept()
            with stream:
                stream.sendall(stream.recv(100)[::-1])
    threading.Thread(target=answer, daemon=True).start()


words, command = sys.argv[1:], []
if "--" in words:
    words, command = words[:words.index("--")], words[words.index("--") + 1:]
for address, _, port in (word.rpartition(":") for word in words):
    listen(address, int(port))
    for asked in ASKED.get(address, [address]):
        with socket.create_connection((asked, int(port)), timeout=5) as stream:
            stream.sendall(b"edisni")
            print(f"{address}:{port}", stream.recv(100).decode(), flush=True)
sys.exit(subprocess.call(command) if command else 0)
