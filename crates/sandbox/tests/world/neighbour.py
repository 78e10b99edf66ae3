"""A process of the owner's outside the jail, and what a jailed command may try on it.

neighbour.py host DIR UID           start one as UID, and run what lines of JSON say, in the same namespaces
neighbour.py live DIR               be the process; one JSON line says what it made, until standard input ends
neighbour.py attack JSON DIR HOME   try everything; one line each: a name, then `done` or the kernel's answer
"""

import ctypes
import errno
import json
import os
import platform
import resource
import signal
import socket
import subprocess
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.shmat.restype = ctypes.c_void_p
MQ_OPEN, MQ_UNLINK, IOPRIO_SET = {"x86_64": (240, 241, 251), "aarch64": (180, 181, 30)}[platform.machine()]
IPC_CREAT, IPC_STAT, IPC_NOWAIT = 0o1000, 2, 0o4000
MODE = 0o600


def kernel(value):
    """A result of a raw call, or its error."""
    if value in (-1, 2**64 - 1, None):
        raise OSError(ctypes.get_errno(), "raw call")


def as_uid(uid):
    """What subprocess takes to become another user; nothing for the one we are."""
    return {} if uid == os.getuid() else {"user": uid, "group": uid, "extra_groups": []}


def host(top, uid):
    pipe = subprocess.PIPE
    command = [sys.executable, os.path.abspath(__file__), "live", top]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, **as_uid(uid)) as neighbour:
        print(neighbour.stdout.readline(), end="", flush=True)
        for line in sys.stdin:
            wanted = json.loads(line)
            ended = subprocess.run(wanted["argv"], stdin=subprocess.DEVNULL, capture_output=True, **as_uid(wanted["uid"]))
            told = {"code": ended.returncode, "out": ended.stdout.decode(), "err": ended.stderr.decode()}
            print(json.dumps(told), flush=True)
        neighbour.stdin.close()


def live(top):
    made = {"pid": os.getpid()}
    made["shm"] = LIBC.shmget(0, 4096, IPC_CREAT | MODE)
    made["queue"] = LIBC.msgget(0, IPC_CREAT | MODE)
    made["semaphore"] = LIBC.semget(0, 1, IPC_CREAT | MODE)
    made["mq"] = f"mantlet-neighbour-{os.getpid()}"
    LIBC.syscall(MQ_OPEN, made["mq"].encode(), os.O_RDWR | os.O_CREAT, MODE, None)
    path, abstract, inet = (socket.socket(f) for f in (socket.AF_UNIX, socket.AF_UNIX, socket.AF_INET))
    path.bind(os.path.join(top, "sock"))
    abstract.bind("\0" + made["mq"])
    inet.bind(("127.0.0.1", 0))
    for listener in (path, abstract, inet):
        listener.listen()
    made["port"] = inet.getsockname()[1]
    for number in (signal.SIGUSR1, signal.SIGIO):
        signal.signal(number, lambda *_: open(os.path.join(top, "signalled"), "w").close())
    os.chdir(top)
    made["fd"] = os.open("file", os.O_RDWR)
    print(json.dumps(made), flush=True)
    sys.stdin.read()
    LIBC.shmctl(made["shm"], 0, None)
    LIBC.msgctl(made["queue"], 0, None)
    LIBC.semctl(made["semaphore"], 0, 0, 0)
    LIBC.syscall(MQ_UNLINK, made["mq"].encode())


def connect(family, address):
    socket.socket(family).connect(address)


def through_a_datagram_pair(top):
    """A pair needs no socket(2), and its end can be connected anew where that is not refused."""
    socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].connect(os.path.join(top, "sock"))


def write(path, mode, text=""):
    with open(path, mode) as file:
        file.write(text)


def read(path):
    with open(path, "rb") as file:
        file.read(16)


def attacks(made, top, home):
    pid, secret, outside = made["pid"], os.path.join(home, "secret"), os.path.join(top, "file")
    proc = f"/proc/{pid}"
    low = ctypes.byref(ctypes.c_int(0))
    return {
        "unix-path": lambda: connect(socket.AF_UNIX, os.path.join(top, "sock")),
        "unix-abstract": lambda: connect(socket.AF_UNIX, "\0" + made["mq"]),
        "inet": lambda: connect(socket.AF_INET, ("127.0.0.1", made["port"])),
        "netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0),
        "kill-0": lambda: os.kill(pid, 0),
        "kill": lambda: os.kill(pid, signal.SIGUSR1),
        "pidfd": lambda: signal.pidfd_send_signal(os.pidfd_open(pid), signal.SIGUSR1),
        "prlimit": lambda: resource.prlimit(pid, resource.RLIMIT_NOFILE, (64, 64)),
        "nice": lambda: os.setpriority(os.PRIO_PROCESS, pid, 5),
        "io-nice": lambda: kernel(LIBC.syscall(IOPRIO_SET, 1, pid, 3 << 13)),
        "affinity": lambda: os.sched_setaffinity(pid, os.sched_getaffinity(0)),
        "scheduler": lambda: kernel(LIBC.sched_setscheduler(pid, 5, low)),
        "environ": lambda: read(proc + "/environ"),
        "maps": lambda: read(proc + "/maps"),
        "mem": lambda: os.open(proc + "/mem", os.O_RDONLY),
        "fd": lambda: read(f"{proc}/fd/{made['fd']}"),
        "root": lambda: read(proc + "/root" + secret),
        "cwd": lambda: read(proc + "/cwd/file"),
        "exe": lambda: read(proc + "/exe"),
        "io": lambda: read(proc + "/io"),
        "oom": lambda: write(proc + "/oom_score_adj", "w", "1000"),
        "read": lambda: read(secret),
        "list": lambda: os.listdir(top),
        "append": lambda: write(outside, "a", "x"),
        "create": lambda: write(os.path.join(top, "new"), "x"),
        "truncate": lambda: os.truncate(outside, 1),
        "mkdir": lambda: os.mkdir(os.path.join(top, "dir")),
        "symlink": lambda: os.symlink("x", os.path.join(top, "link")),
        "fifo": lambda: os.mkfifo(os.path.join(top, "fifo")),
        "hardlink-in": lambda: os.link(outside, "hard"),
        "tmp": lambda: write(f"/tmp/mantlet-neighbour-{pid}", "x"),
        "dev-shm": lambda: write(f"/dev/shm/mantlet-neighbour-{pid}", "x"),
        "xattr": lambda: os.setxattr(outside, "user.mantlet", b"x"),
        "shm": lambda: kernel(LIBC.shmat(made["shm"], None, 0)),
        "shm-stat": lambda: kernel(LIBC.shmctl(made["shm"], IPC_STAT, ctypes.create_string_buffer(512))),
        "queue": lambda: kernel(LIBC.msgsnd(made["queue"], ctypes.byref(ctypes.c_long(1)), 0, IPC_NOWAIT)),
        "semaphore": lambda: kernel(LIBC.semctl(made["semaphore"], 0, 12, 0)),
        "mq": lambda: kernel(LIBC.syscall(MQ_OPEN, made["mq"].encode(), os.O_RDWR, 0, None)),
        "chmod": lambda: os.chmod(outside, 0o640),
        "utime": lambda: os.utime(outside),
        "name": lambda: os.stat(outside),
        "cmdline": lambda: read(proc + "/cmdline"),
        "net": lambda: read(proc + "/net/unix"),
        # Last: these end what the others need.
        "mq-unlink": lambda: kernel(LIBC.syscall(MQ_UNLINK, made["mq"].encode())),
        "rename-in": lambda: os.rename(outside, "renamed"),
    }


def attack(made, top, home):
    for name, action in attacks(made, top, home).items():
        try:
            action()
            print(name, "done")
        except OSError as e:
            print(name, errno.errorcode.get(e.errno, e.errno))
    try:
        through_a_datagram_pair(top)
        print("datagram-pair done")
    except OSError as e:
        # The neighbour's socket is a stream: EPROTOTYPE says that it was reached.
        print("datagram-pair", "done" if e.errno == errno.EPROTOTYPE else errno.errorcode.get(e.errno, e.errno))


if sys.argv[1] == "host":
    host(sys.argv[2], int(sys.argv[3]))
elif sys.argv[1] == "live":
    live(sys.argv[2])
else:
    attack(json.loads(sys.argv[2]), sys.argv[3], sys.argv[4])
