"""A forwarding proxy without rules, which reads names as generously as programs out there do.

It is the control of attacks on names: what is refused in a jail reaches its goal through this one. It ends a name at a NUL
or a `%00`, undoes escapes, maps letters and dots as IDNA does, drops zones and trailing dots, believes what stands behind
the last `@`, lets numbers be addresses, and cuts a port to 16 bits. Names are looked up where the world does.
"""
import re, socket, struct, sys, threading, urllib.parse


def number(text):
    """What atoi makes of a port."""
    found = re.match(r"\d+", text)
    return (int(found.group()) if found else 0) & 0xFFFF or 80


def name(text):
    text = urllib.parse.unquote_to_bytes(text).split(b"\0")[0].decode("utf-8", "replace")
    text = re.split(r"[\s/?#\\\x7f%]", text)[0].replace("\u200d", "").strip(".")
    # A label of letters that only says it is another one.
    text = ".".join(label[4:].encode().decode("punycode") if label.endswith("-") and label.startswith("xn--") else label
                    for label in text.split("."))
    labels = [label[:63] for label in text.encode("idna" if not text.isascii() else "ascii").decode().split(".") if label]
    return ".".join(labels)


def target(text):
    """The host and the port of an authority."""
    text = text.rpartition("@")[2]
    if text.startswith("["):
        inside, _, behind = text[1:].partition("]")
        return inside.split("%")[0], number(behind.lstrip(":"))
    if text.count(":") > 2 and re.fullmatch(r"[0-9a-fA-F:]+", text):
        host, _, port = text.rpartition(":")
        return host, number(port)
    host, _, port = text.partition(":")
    return name(host), number(port)


def dial(host, port):
    sock = socket.create_connection((host, port), 3)
    sock.settimeout(3)
    return sock


def pump(one, two):
    try:
        while piece := one.recv(65536):
            two.sendall(piece)
    except OSError:
        pass
    for sock in (one, two):
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def both_ways(client, server, first):
    server.sendall(first)
    threading.Thread(target=pump, args=(client, server), daemon=True).start()
    pump(server, client)


def socks(client, data):
    client.sendall(b"\x05\x00")
    rest = data[2 + data[1]:]
    kind = rest[3]
    if kind == 1:
        host, rest = socket.inet_ntoa(rest[4:8]), rest[8:]
    elif kind == 4:
        host, rest = socket.inet_ntop(socket.AF_INET6, rest[4:20]), rest[20:]
    else:
        length = rest[4]
        host, rest = rest[5:5 + length].split(b"\0")[0].decode(), rest[5 + length:]
    port, = struct.unpack("!H", rest[:2])
    server = dial(host, port)
    client.sendall(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
    first = rest[2:] or b"GET / HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n"
    both_ways(client, server, first)


def socks4(client, data):
    port, = struct.unpack("!H", data[2:4])
    server = dial(data[8:].split(b"\0")[1].decode(), port)
    both_ways(client, server, b"GET / HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n")


def serve(client):
    client.settimeout(3)
    data = client.recv(65536)
    if data[:1] == b"\x04":
        return socks4(client, data)
    if data[:1] == b"\x05":
        return socks(client, data)
    while data:
        head, _, rest = data.partition(b"\r\n\r\n")
        words = head.split(b"\r\n")[0].decode("utf-8", "replace").split()
        if words[0] == "CONNECT":
            server = dial(*target(words[1]))
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            return both_ways(client, server, rest)
        scheme, _, place = words[1].partition("://")
        server = dial(*target(re.split(r"[/?#\\]", place.rpartition("@")[2])[0] if "\\@" not in place else place))
        server.sendall(head.replace(words[1].encode(), b"/") + b"\r\n\r\n" + rest)
        pump(server, client)
        data = b""


def safely(client):
    with client:
        try:
            serve(client)
        except (OSError, UnicodeError, IndexError, struct.error) as error:
            try:
                client.sendall(f"plain: {error!r}".encode())
            except OSError:
                pass


if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=64)
    print("ready", flush=True)
    while True:
        threading.Thread(target=safely, args=(listener.accept()[0],), daemon=True).start()
