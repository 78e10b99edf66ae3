"""Runs commands under ptrace and disturbs one system call of each, counted from the program's start.

A JSON request a line on standard input, a JSON answer a line on standard output. Nothing else on this machine counts
system calls over all kinds: strace counts each kind by itself. A request says:
  argv, env, cwd, stdin   what to run
  do                      one of:
           "kill": SIGKILL when call number `at` begins, before the kernel does anything of it
           "fail": call number `at` does not happen, and answers -`errno`
           "break": the same for `at` and every later call that writes
           "short": call number `at`, a write, gets half of its bytes
           "watch": nothing
The answer: code (negative: the signal), stdout, stderr (a character for each byte), hit (the disturbed call's name, nothing if the program ended
before), writes (when it only watched: the numbers of the calls that write to a file system, each with its name).
A call that cannot fail in the world (getpid), or not without doing its work (close), is not failed. Children of the command are not traced; their end is waited for.
"""
import ctypes, json, os, signal, struct, sys

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long
TRACEME, POKEUSER, DETACH, SYSCALL, SETOPTIONS, INFO = 0, 6, 17, 24, 0x4200, 0x420E
TRACESYSGOOD, EXITKILL = 1, 1 << 20
# The status of a stop at a call's begin or end, with TRACESYSGOOD.
AT_A_CALL = (signal.SIGTRAP | 0x80) << 8 | 0x7F
# Offsets in x86-64's struct user: the result, the third argument, the number.
RAX, RDX, NUMBER = 10 * 8, 12 * 8, 15 * 8
NAMES = {
    1: "write", 2: "open", 18: "pwrite64", 20: "writev", 73: "flock", 74: "fsync", 75: "fdatasync", 76: "truncate",
    77: "ftruncate", 82: "rename", 83: "mkdir", 84: "rmdir", 86: "link", 87: "unlink", 88: "symlink", 90: "chmod",
    91: "fchmod", 92: "chown", 93: "fchown", 257: "openat", 258: "mkdirat", 260: "fchownat", 263: "unlinkat",
    264: "renameat", 265: "linkat", 268: "fchmodat", 316: "renameat2", 326: "copy_file_range",
}
# close, munmap, rt_sigreturn, getpid, exit, umask, get[e][ug]id, gettid, exit_group.
CANNOT_FAIL = (3, 11, 15, 39, 60, 95, 102, 104, 107, 108, 186, 231)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


# Seconds until a command counts as hanging, and the code that says so. The longest wait of its own is for a lock.
PATIENCE, HANGS = 30, 999


def out_of_patience(*_):
    raise TimeoutError


signal.signal(signal.SIGALRM, out_of_patience)


def ptrace(request, pid, address=0, data=0):
    result = libc.ptrace(request, pid, address, data)
    if result == -1 and (number := ctypes.get_errno()):
        raise OSError(number, f"ptrace {request}: {os.strerror(number)}")
    return result


def writes_to_files(number, args):
    """Whether a call can change a file system: one that opens for reading cannot, one to a standard stream neither."""
    name = NAMES.get(number)
    if name is None or name == "flock":
        return False
    if name in ("open", "openat"):
        return bool(args[1 if name == "open" else 2] & WRITING)
    return not (name in ("write", "writev") and args[0] <= 2)


def start(request, stdin, stdout, stderr):
    pid = os.fork()
    if pid:
        return pid
    try:
        for to, fd in enumerate((stdin, stdout, stderr)):
            os.dup2(fd, to)
        os.closerange(3, 64)
        os.chdir(request["cwd"])
        ptrace(TRACEME, 0)
        os.execve(request["argv"][0], request["argv"], request["env"])
    finally:
        os._exit(127)


def disturbed(pid, request):
    """Follows the program to its end: its status, the name of the disturbed call, the calls that write."""
    info = ctypes.create_string_buffer(88)
    _, status = os.waitpid(pid, 0)
    if not os.WIFSTOPPED(status):
        return status, None, []
    ptrace(SETOPTIONS, pid, 0, TRACESYSGOOD | EXITKILL)
    what, at, errno = request["do"], request.get("at", 0), request.get("errno", 0)
    count, hit, writes, answer, deliver, is_inside = 0, None, [], None, 0, False
    while True:
        ptrace(SYSCALL, pid, 0, deliver)
        deliver = 0
        _, status = os.waitpid(pid, 0)
        if status != AT_A_CALL:
            if not os.WIFSTOPPED(status):
                return status, hit, writes
            deliver = os.WSTOPSIG(status)
            continue
        # Each call stops twice, when it begins and when it has been answered.
        is_inside = not is_inside
        if not is_inside:
            if answer is not None:
                ptrace(POKEUSER, pid, RAX, answer & (2**64 - 1))
                answer = None
            if hit and what != "break":
                # The rest is the command's own, at its own speed.
                ptrace(DETACH, pid)
                return os.waitpid(pid, 0)[1], hit, writes
            continue
        count += 1
        if count < at:
            continue
        ptrace(INFO, pid, len(info), ctypes.addressof(info))
        number, *args = struct.unpack_from("7Q", info.raw, 24)
        is_write = writes_to_files(number, args)
        name = NAMES.get(number, str(number))
        if what == "watch":
            if is_write:
                writes.append([count, name])
        elif count == at or (what == "break" and is_write):
            hit = hit or name
            if what == "kill":
                os.kill(pid, signal.SIGKILL)
                return os.waitpid(pid, 0)[1], hit, writes
            if what == "short":
                ptrace(POKEUSER, pid, RDX, args[2] // 2)
            elif number not in CANNOT_FAIL:
                ptrace(POKEUSER, pid, NUMBER, 2**64 - 1)
                answer = -errno


def read(fd):
    parts = []
    while part := os.read(fd, 1 << 16):
        parts.append(part)
    os.close(fd)
    return b"".join(parts).decode("latin-1")


def run(request):
    # Little passes here: a pipe holds it.
    ins, outs, errs = os.pipe(), os.pipe(), os.pipe()
    os.write(ins[1], request.get("stdin", "").encode())
    os.close(ins[1])
    pid = start(request, ins[0], outs[1], errs[1])
    for fd in (ins[0], outs[1], errs[1]):
        os.close(fd)
    signal.alarm(PATIENCE)
    try:
        status, hit, writes = disturbed(pid, request)
        code = os.waitstatus_to_exitcode(status)
    except TimeoutError:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        code, hit, writes = HANGS, "hangs", []
    signal.alarm(0)
    return {"code": code, "stdout": read(outs[0]), "stderr": read(errs[0]), "hit": hit, "writes": writes}


for line in sys.stdin:
    print(json.dumps(run(json.loads(line))), flush=True)
