# Speaks to the supervisor of a jail as an attacker would: any bytes, any descriptors. The tags are those of wire.rs.
import array, os, socket, struct, sys, time

SOCKET = "/run/mantlet/exec.sock"
ASK, PART, SIGNAL, DONE, ACCEPTED = 15, 16, 3, 12, 18
WORD, LINE, VARIABLE, HERE, CWD, WORKSPACE = 1, 2, 4, 5, 6, 7


def record(key, value):
    value = value if isinstance(value, bytes) else value.encode()
    return bytes([key]) + struct.pack("<I", len(value)) + value


def connect(path=SOCKET):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(30)
    s.connect(path)
    return s


def null():
    return os.open("/dev/null", os.O_RDWR)


def message(s, tag, payload, fds=()):
    control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    s.sendmsg([bytes([tag]), payload], control)


def send(s, body, fds=None, size=None):
    message(s, ASK, struct.pack("<I", len(body) if size is None else size), [null()] * 3 if fds is None else fds)
    for at in range(0, len(body), 4096):
        message(s, PART, body[at : at + 4096])


def hear(s):
    """What came of it: `accepted CODE`, `refused: WHY`, or `closed`."""
    accepted = False
    while True:
        try:
            got = s.recv(8192)
        except ConnectionResetError:
            continue
        except socket.timeout:
            return "silence"
        if not got:
            return "closed"
        if got[0] == ACCEPTED:
            accepted = True
        if got[0] == DONE:
            import json

            done = json.loads(got[1:])
            said = "; ".join(done["messages"])
            return f"accepted {done['code']} {said}".strip() if accepted else f"refused: {said}"


def ask(body, fds=None, size=None):
    s = connect()
    try:
        send(s, body, fds, size)
    except (BrokenPipeError, ConnectionResetError):
        pass
    return hear(s)


TRUE = record(WORD, "true")


def case(name, said):
    print(f"{name}: {said}", flush=True)


def forgeries():
    case("valid", ask(TRUE))
    case("valid-code", ask(record(LINE, "exit 3")))
    for name, fds in [
        ("no-descriptors", []),
        ("two-descriptors", [null(), null()]),
        ("four-descriptors", [null()] * 4),
        ("ten-descriptors", [null()] * 10),
        ("directory", [os.open(".", os.O_RDONLY), null(), null()]),
        ("path-descriptor", [os.open("/usr", os.O_PATH), null(), null()]),
        ("path-of-file", [null(), os.open("/etc/passwd", os.O_PATH), null()]),
        ("device", [os.open("/dev/zero", os.O_RDONLY), null(), null()]),
        ("terminal", [os.openpty()[1], null(), null()]),
        ("nameless", [null(), os.memfd_create("x"), null()]),
        ("proc-file", [os.open("/proc/1/stat", os.O_RDONLY), null(), null()]),
    ]:
        case(name, ask(TRUE, fds))
    reader, writer = os.pipe()
    case("pipes", ask(record(LINE, "echo through a pipe"), [null(), writer, writer]))
    os.close(writer)
    case("pipe-says", os.read(reader, 100).decode().strip())
    one, other = socket.socketpair()
    case("sockets", ask(record(LINE, "echo through a socket"), [null(), other.fileno(), null()]))
    case("socket-says", one.recv(100).decode().strip())
    file = os.open("out", os.O_CREAT | os.O_RDWR)
    case("file", ask(record(LINE, "echo into a file"), [null(), file, null()]))
    case("file-says", open("out").read().strip())
    for name, body in [
        ("agent", TRUE + record(14, "other")),
        ("policy", TRUE + record(15, "/tmp/p.toml")),
        ("workspace", TRUE + record(WORKSPACE, "/")),
        ("workspace-dots", TRUE + record(WORKSPACE, os.getcwd() + "/../..")),
        ("nothing", b""),
        ("garbage", os.urandom(600)),
        ("nul", record(WORD, b"a\0b")),
        ("cut-off", TRUE + b"\x01\xff\xff\xff\xff"),
    ]:
        case(name, ask(body))
    case("oversized", ask(TRUE, size=5 << 20))
    case("longer-than-said", ask(TRUE * 3, size=3))
    s = connect()
    message(s, 1, b"go")
    case("monitors-tag", hear(s))
    s = connect()
    s.send(b"\xee")
    case("unknown-tag", hear(s))
    s = connect()
    message(s, ASK, struct.pack("<I", 6), [null()] * 3)
    message(s, PART, b"x" * 6, [null()])
    case("descriptors-later", hear(s))
    s = connect()
    message(s, ASK, struct.pack("<I", 100), [null()] * 3)
    message(s, PART, b"x")
    s.shutdown(socket.SHUT_WR)
    case("truncated", hear(s))
    case("valid-after", ask(TRUE))


def places():
    os.symlink("/root", "to-root")
    os.symlink("/", "to-top")
    # A link of the very tick in which a call begins counts as made by it, and is undone.
    time.sleep(0.05)
    os.mkdir("sub")
    for name, body in [
        ("cwd", record(LINE, "pwd") + record(CWD, "sub")),
        ("cwd-dots", record(LINE, "pwd; ls ../../../../etc/shadow") + record(CWD, "../../../..")),
        ("cwd-link", record(LINE, "pwd; ls") + record(CWD, "to-root")),
        ("cwd-top", record(LINE, "ls /root; ls root") + record(CWD, "to-top")),
        ("cwd-absent", record(LINE, "pwd") + record(CWD, "/root/.ssh")),
        ("here-outside", record(LINE, "pwd") + record(HERE, "/usr")),
        ("here", record(LINE, "pwd") + record(HERE, os.getcwd() + "/sub")),
    ]:
        reader, writer = os.pipe()
        said = ask(body, [null(), writer, writer])
        os.close(writer)
        case(name, said + " | " + os.read(reader, 4000).decode().replace("\n", " ").strip())


def descriptors():
    """Directories that only the process which starts the command could have open."""
    for number in range(3, 20):
        for up in ["", "/..", "/../.."]:
            reader, writer = os.pipe()
            line = "ls -a; cat secret; echo evil >> .envrc && echo wrote"
            said = ask(record(LINE, line) + record(CWD, f"/proc/self/fd/{number}{up}"), [null(), writer, null()])
            os.close(writer)
            case(f"{number}{up}", said + " | " + os.read(reader, 4000).decode().replace("\n", " ").strip())


def held():
    silent = [connect() for _ in range(20)]
    began = time.time()
    case("valid-beside", ask(TRUE))
    case("at-once", time.time() - began < 4)
    case("held", hear(silent[0]))
    case("after", time.time() - began > 4)
    case("valid-later", ask(TRUE))


def many(count):
    sockets = []
    for _ in range(count):
        while True:
            try:
                s = connect()
                break
            except BlockingIOError:
                time.sleep(0.01)
        s.settimeout(150)
        send(s, TRUE)
        sockets.append(s)
    said = [hear(s) for s in sockets]
    case("many", f"{said.count('accepted 0')} of {len(said)}")


def at(path):
    s = connect(path)
    try:
        send(s, TRUE)
    except (BrokenPipeError, ConnectionResetError):
        pass
    case("at", hear(s))


def give(path):
    """Hands the name of this jail's socket to whoever connects, which is all that can be handed."""
    own = os.open(SOCKET, os.O_PATH)
    at(f"/proc/self/fd/{own}")
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    os.chmod(path, 0o777)
    server.listen(1)
    print("given", flush=True)
    s, _ = server.accept()
    socket.send_fds(s, [b"x"], [own])
    time.sleep(300)


def take(path):
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)
    _, fds, _, _ = socket.recv_fds(s, 1, 1)
    at(f"/proc/self/fd/{fds[0]}")


{"forgeries": forgeries, "places": places, "descriptors": descriptors, "held": held}.get(
    sys.argv[1], lambda: {"many": lambda n: many(int(n)), "at": at, "give": give, "take": take}[sys.argv[1]](sys.argv[2])
)()
