"""A secret in a running `mantlet vault`: who else sees it, what a crash leaves, and what memory keeps when it is done with.

Arguments: the program, a directory that the uid of the second part can enter. As root, everything also for an ordinary
user. Says what it found; fails otherwise.
"""
import ctypes, fcntl, os, re, resource, shutil, signal, subprocess, sys, time

MANTLET, TOP = sys.argv[1:3]
# Put together here: this program's own command line must not hold it.
CANARY = "-".join(["canary", "6e1f", "process", "9c"])
USER = 61234
IS_ROOT = os.geteuid() == 0
PIPE = 4096
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
TRACEME, CONT, SETOPTIONS, ATTACH, SEIZE = 0, 7, 0x4200, 16, 0x4206
TRACEEXIT, EXIT_EVENT = 0x40, 6


def become(uid):
    if os.geteuid() != uid:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)


class Home:
    """A home of that user with one sealed file, larger than a pipe: who decrypts it waits in the middle."""

    def __init__(self, uid):
        self.uid, self.top = uid, f"{TOP}/{uid}"
        os.makedirs(f"{self.top}/run")
        self.env = {"HOME": self.top, "PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": f"{self.top}/run"}
        self.text = f"{CANARY}\n" + "x" * 4 * PIPE + f"\n{CANARY}\n"
        with open(f"{self.top}/plain", "w") as file:
            file.write(self.text)
        for path in (self.top, f"{self.top}/run", f"{self.top}/plain"):
            os.chown(path, uid, uid)
        self.call("init")
        self.call("seal", "plain")
        with open(f"{self.top}/.config/mantlet/vault/identity") as file:
            self.key = file.read().split()[-1]
        assert self.key.startswith("AGE-SECRET-KEY-1")

    def start(self, *words, limit=None, **more):
        def prepare():
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_MEMLOCK, (limit, limit))
            # Whoever started the tests in the background had these ignored, and a child inherits that.
            for number in (signal.SIGINT, signal.SIGQUIT):
                signal.signal(number, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
            become(self.uid)

        return subprocess.Popen(words, env=self.env, cwd=self.top, preexec_fn=prepare, **more)

    def call(self, *words, stdin=""):
        child = self.start(MANTLET, "vault", *words, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE)
        out, err = child.communicate(stdin.encode())
        assert child.returncode == 0, (words, err)
        return out.decode()

    def waiting(self, *words, **more):
        """A program that has the plaintext, and waits for somebody to take it."""
        ours, theirs = os.pipe()
        fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, PIPE)
        child = self.start(*words, stdout=theirs, stderr=subprocess.DEVNULL, **more)
        os.close(theirs)
        # It is in the write when the pipe is full and it sleeps.
        size, patience = ctypes.c_int(), time.monotonic() + 60
        while True:
            assert time.monotonic() < patience, "it does not come to write"
            fcntl.ioctl(ours, 0x541B, size)  # FIONREAD
            with open(f"/proc/{child.pid}/stat") as stat:
                state = stat.read().rpartition(")")[2].split()[0]
            if size.value >= PIPE and state == "S":
                return child, ours
            assert child.poll() is None, "it ended"
            time.sleep(0.005)

    def decrypting(self, **more):
        return self.waiting(MANTLET, "vault", "decrypt", "plain.sops", **more)


def copies(pid, *words):
    """How often secrets are in a process's memory, by the kind of place. Needs root when the process is protected."""
    counted = {}
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            start, end = (int(at, 16) for at in line.split()[0].split("-"))
            name = (line.split() + [""] * 6)[5] or "anonymous"
            if line.split()[1][0] != "r" or name in ("[vvar]", "[vsyscall]", "[vvar_vclock]"):
                continue
            memory.seek(start)
            try:
                text = memory.read(end - start)
            except OSError:
                continue
            if count := sum(text.count(word.encode()) for word in words or [CANARY]):
                counted[name] = counted.get(name, 0) + count
    return counted


def as_user(uid, work):
    """What `work` answers when another process of that user does it: a word."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            become(uid)
            try:
                answer = work()
            except OSError as error:
                answer = error.strerror
            os.write(theirs, answer.encode())
        finally:
            os._exit(0)
    os.close(theirs)
    os.waitpid(pid, 0)
    answer = os.read(ours, 1000).decode()
    os.close(ours)
    return answer


def read_memory(pid):
    return lambda: "secret" if copies(pid) else "nothing"


def attach(pid):
    def work():
        if libc.ptrace(SEIZE, pid, None, None) == -1:
            return os.strerror(ctypes.get_errno())
        return "attached"
    return work


def end(child, ours):
    os.close(ours)
    child.kill()
    child.wait()


def others_see_nothing(home):
    child, ours = home.decrypting()
    seen = []
    for pid in (name for name in os.listdir("/proc") if name.isdigit()):
        for what in ("cmdline", "environ", "comm", "maps", "status", "stat", "limits", "mountinfo", "stack", "wchan",
                     "syscall", "cgroup", "io"):
            try:
                with open(f"/proc/{pid}/{what}", "rb") as file:
                    if CANARY.encode() in file.read():
                        seen.append((pid, what))
            except OSError:
                pass
    assert not seen, seen
    for what, work in (("memory", read_memory), ("attach", attach)):
        answer = as_user(home.uid, work(child.pid))
        # Root may always: it is the owner of everything.
        if home.uid != 0:
            assert answer in ("Permission denied", "Operation not permitted"), (what, answer)
    environ = as_user(home.uid, lambda: open(f"/proc/{child.pid}/environ").read()[:0] or "read")
    assert home.uid == 0 or environ == "Permission denied", environ
    end(child, ours)
    if home.uid != 0:
        with open(f"{home.top}/control", "w") as file:
            file.write(home.text)
        os.chown(f"{home.top}/control", home.uid, home.uid)
        child, ours = home.waiting("/usr/bin/cat", "control")
        answers = [as_user(home.uid, work(child.pid)) for work in (read_memory, attach)]
        end(child, ours)
        os.remove(f"{home.top}/control")
        if os.path.exists("/proc/sys/kernel/yama/ptrace_scope"):
            with open("/proc/sys/kernel/yama/ptrace_scope") as scope:
                if scope.read().strip() != "0":
                    return "nobody else sees it (control not possible: yama is on)"
        assert answers == ["secret", "attached"], f"control: an unprotected program is read: {answers}"
    return "nobody else sees it; cat's memory is read"


def crashes_leave_nothing(home):
    with open("/proc/sys/kernel/core_pattern") as file:
        pattern = file.read().strip()
    for number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGQUIT):
        dumped = {}
        for name, words in (("mantlet", (MANTLET, "vault", "decrypt", "plain.sops")), ("cat", ("/usr/bin/cat", "core.in"))):
            with open(f"{home.top}/core.in", "w") as file:
                file.write("not a secret " * PIPE)
            os.chown(f"{home.top}/core.in", home.uid, home.uid)
            child, ours = home.waiting(*words)
            # Rust's handler takes the first SIGSEGV that is not a stack overflow for the kernel's to repeat.
            pid, status = 0, 0
            patience = time.monotonic() + 60
            while pid == 0:
                assert time.monotonic() < patience, f"{name} does not end of signal {number}"
                os.kill(child.pid, number)
                time.sleep(0.01)
                pid, status = os.waitpid(child.pid, os.WNOHANG)
            child.returncode = -1
            os.close(ours)
            os.remove(f"{home.top}/core.in")
            assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == number, status
            cores = [name for name in os.listdir(home.top) if name.startswith("core")]
            dumped[name] = (os.WCOREDUMP(status), bool(cores))
            for core in cores:
                os.remove(f"{home.top}/{core}")
        assert dumped["mantlet"] == (False, False), dumped
        # Where a limit or the pattern forbids it to all, the control cannot show anything.
        hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
        if hard != 0 or home.uid == 0:
            assert dumped["cat"][0] or pattern == "", f"control: an unprotected program leaves a core: {dumped}"
    where = "a program gets them" if pattern.startswith("|") else "files"
    return f"no core of it, cat leaves one ({where}: {pattern!r})"


def locked(home):
    said = []
    for limit in (None, 8 << 20, 64 << 10):
        child, ours = home.decrypting(limit=limit)
        with open(f"/proc/{child.pid}/status") as status:
            kilobytes = int(re.search(r"VmLck:\s+(\d+)", status.read())[1])
        end(child, ours)
        assert kilobytes > 0 or limit == 64 << 10 and home.uid != 0, (limit, kilobytes)
        said.append(f"{kilobytes} KiB at {'the usual limit' if limit is None else f'{limit >> 10} KiB'}")
    return "locked: " + ", ".join(said)


def at_the_end(home, *words, stdin=""):
    """What memory holds when everything has been done: the process stops on its way out."""
    ins, outs = os.pipe(), os.pipe()
    os.write(ins[1], stdin.encode())
    os.close(ins[1])
    pid = os.fork()
    if pid == 0:
        os.dup2(ins[0], 0)
        os.dup2(outs[1], 1)
        os.dup2(os.open("/dev/null", os.O_WRONLY), 2)
        os.chdir(home.top)
        become(home.uid)
        libc.ptrace(TRACEME, 0, None, None)
        os.execve(MANTLET, [MANTLET, "vault", *words], home.env)
    os.close(ins[0])
    os.close(outs[1])
    _, status = os.waitpid(pid, 0)
    libc.ptrace(SETOPTIONS, pid, None, TRACEEXIT)
    libc.ptrace(CONT, pid, None, None)
    if os.fork() == 0:
        while os.read(outs[0], 1 << 16):
            pass
        os._exit(0)
    os.close(outs[0])
    while True:
        _, status = os.waitpid(pid, 0)
        assert os.WIFSTOPPED(status), status
        if status >> 8 == signal.SIGTRAP | EXIT_EVENT << 8:
            break
        libc.ptrace(CONT, pid, None, os.WSTOPSIG(status))
    counted = copies(pid, CANARY, home.key)
    libc.ptrace(CONT, pid, None, None)
    os.waitpid(pid, 0)
    os.wait()
    return counted


def memory_is_wiped(home):
    child, ours = home.decrypting()
    during, keys = copies(child.pid), copies(child.pid, home.key)
    end(child, ours)
    # The plaintext begins and ends with it: two for each copy of the whole, of which one is needed.
    assert sum(during.values()) == 2 and not keys, (during, keys)
    left = {}
    env = [f"A{number}={CANARY}-{number}" for number in range(3)]
    with open(f"{home.top}/a.env", "w") as file:
        file.write("\n".join(env) + "\n")
    with open(f"{home.top}/b.json", "w") as file:
        file.write('{"a": ["%s", {"b": "\\u0041 %s"}]}' % (CANARY, CANARY))
    with open(f"{home.top}/c.yaml", "w") as file:
        file.write(f"a: {CANARY}\nb: [\"\\x41 {CANARY}\", '{CANARY}']\nc: |\n  {CANARY}\n")
    for name in ("a.env", "b.json", "c.yaml"):
        os.chown(f"{home.top}/{name}", home.uid, home.uid)
    home.env["EDITOR"] = "sed -i s/A1=/B1=/"
    for words, stdin in (
        (("seal", "a.env"), ""), (("seal", "b.json"), ""), (("seal", "c.yaml"), ""),
        (("set", "a.sops.env", "N"), CANARY), (("set", "b.sops.json", "n"), CANARY), (("set", "c.sops.yaml", "n"), CANARY),
        (("get", "a.sops.env", "N"), ""), (("decrypt", "a.sops.env"), ""), (("decrypt", "b.sops.json"), ""),
        (("decrypt", "c.sops.yaml"), ""), (("decrypt", "plain.sops"), ""), (("rotate", "a.sops.env"), ""),
        (("rotate", "c.sops.yaml"), ""), (("edit", "a.sops.env"), ""), (("encrypt", "-", "--type", "binary"), CANARY),
    ):
        if counted := at_the_end(home, *words, stdin=stdin):
            left[" ".join(words)] = counted
    assert not left, f"copies at the end: {left}"
    said = f"{sum(during.values())} copies of the secret, {sum(keys.values())} of the identity"
    return f"while a plaintext that has it twice is written: {said}; at the end of each command: none"


shutil.rmtree(TOP, ignore_errors=True)
os.makedirs(TOP, 0o755)
os.chmod(TOP, 0o755)
try:
    for uid in [0, USER] if IS_ROOT else [os.geteuid()]:
        home = Home(uid)
        for part in (others_see_nothing, crashes_leave_nothing, locked, memory_is_wiped):
            if part is memory_is_wiped and not IS_ROOT:
                print("NOT APPLICABLE: only root reads a protected process's memory, to see that it is wiped")
                continue
            print(f"uid {uid}: {part(home)}")
finally:
    shutil.rmtree(TOP, ignore_errors=True)
