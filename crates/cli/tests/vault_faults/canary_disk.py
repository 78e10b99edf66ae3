"""A secret's whole life on a file system of its own; then every block of it is searched. Root, in its own mount namespace.

Arguments: the program. Everything that may keep something is on the image: the home, TMPDIR, the state. /dev/shm and
/run are file systems in memory of this namespace, and are searched as files. Says what it found; fails otherwise.
"""
import base64, os, subprocess, sys

MANTLET = sys.argv[1]
TOP = "/mnt"
NAMES = ["sealed", "set", "edited", "imported", "unsealed"]
CANARIES = {name: f"canary-{name}-5d41402abc4b2a76" for name in NAMES}


def forms(text):
    """How a secret may stand somewhere: as it is, encoded, wide, backwards."""
    raw = text.encode()
    yield "plain", raw
    yield "reversed", raw[::-1]
    for case in (raw.hex(), raw.hex().upper()):
        yield "hex", case.encode()
    for wide in ("utf-16-le", "utf-16-be"):
        yield wide, text.encode(wide)
    # Base64 depends on where in a group of three it begins; what the neighbours share is cut off.
    for shift in range(3):
        yield "base64", base64.b64encode(b"\0" * shift + raw)[4 if shift else 0:-4]


def found(data, where):
    return [(name, form, where) for name, text in CANARIES.items() for form, raw in forms(text) if raw in data]


def run(*words, stdin="", env=None, fails=False):
    all_env = {"HOME": f"{TOP}/at/home", "PATH": "/usr/bin:/bin", "TMPDIR": f"{TOP}/at/tmp", **(env or {})}
    answer = subprocess.run([MANTLET, "vault", *words], input=stdin.encode(), env=all_env, capture_output=True,
                            cwd=f"{TOP}/at/home/work")
    assert answer.returncode == 0, (words, answer.stderr)
    assert not found(answer.stderr, "a message"), answer.stderr
    return answer.stdout.decode()


def shell(line):
    subprocess.run(["bash", "-euc", line], check=True)


def image(life):
    """The blocks of a file system on which that happened, after it was unmounted."""
    shell(f"mount -t tmpfs none {TOP}; mkdir {TOP}/at; truncate -s 32M {TOP}/disk; mkfs.ext4 -q {TOP}/disk")
    shell(f"mount -o loop {TOP}/disk {TOP}/at; mkdir -p {TOP}/at/home/work {TOP}/at/tmp")
    life()
    shell(f"sync; umount {TOP}/at")
    with open(f"{TOP}/disk", "rb") as disk:
        data = disk.read()
    shell(f"umount {TOP}")
    return data


def write(path, text, mode=0o600):
    path = f"{TOP}/at/home/{path}"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, mode), "w") as file:
        file.write(text)
    os.chmod(os.path.dirname(path), 0o700)


def plain_on_disk():
    write("work/app.env", f"TOKEN={CANARIES['sealed']}\nOTHER=x\n")
    os.sync()


def whole_life():
    run("init")
    plain_on_disk()
    with open(f"{TOP}/disk", "rb") as disk:
        assert found(disk.read(), "disk"), "control: the plaintext has reached the disk before it is sealed"
    run("seal", "app.env")
    run("set", "app.sops.env", "MORE", stdin=CANARIES["set"])
    run("rotate", "app.sops.env")
    assert run("get", "app.sops.env", "TOKEN") == CANARIES["sealed"]
    assert run("get", "app.sops.env", "MORE") == CANARIES["set"]
    run("edit", "app.sops.env", env={"EDITOR": f"sed -i s/OTHER=x/OTHER={CANARIES['edited']}/"})
    plain = run("decrypt", "app.sops.env")
    assert all(CANARIES[name] in plain for name in ("sealed", "set", "edited"))
    os.sync()
    run("exec", "app.sops.env", "--", "/bin/sh", "-c", 'test -n "$TOKEN"')
    run("unset", "app.sops.env", "MORE")
    write("work/service.env", f"UNSEALED={CANARIES['unsealed']}\n")
    os.sync()
    run("seal", "service.env")
    run("unseal", "--tmpfs", "--service", "canary", "service.sops.env")
    with open("/run/mantlet/vault/canary/env") as served:
        assert CANARIES["unsealed"] in served.read(), "twin: the service has its file"
    run("unseal", "--service", "canary", "--stop")
    assert not os.path.exists("/run/mantlet/vault/canary/env")
    write(".openclaw/openclaw.json", '{"channels": {"telegram": {"botToken": "%s"}}}\n' % CANARIES["imported"])
    os.sync()
    run("import", "openclaw", "--yes")
    assert CANARIES["imported"] in run("decrypt", f"{TOP}/at/home/.config/mantlet/vault/openclaw.sops.json")
    os.sync()


def removed():
    plain_on_disk()
    os.remove(f"{TOP}/at/home/work/app.env")
    os.sync()


def in_memory(place):
    hits = []
    for above, _, names in os.walk(place):
        for path in (os.path.join(above, name) for name in names):
            if os.path.isfile(path):
                with open(path, "rb") as file:
                    hits += found(file.read(), path) + found(path.encode(), "a name")
    return hits


try:
    shell("truncate -s 1M /dev/shm/mantlet-loop-$$; losetup -f --show /dev/shm/mantlet-loop-$$ >/dev/shm/mantlet-loop-$$.at; "
          "losetup -d $(cat /dev/shm/mantlet-loop-$$.at); rm /dev/shm/mantlet-loop-$$*")
except subprocess.CalledProcessError:
    print("NOT APPLICABLE: this host gives no loop device")
    sys.exit(0)
shell("mount -t tmpfs none /dev/shm; mount -t tmpfs none /run")
control = found(image(removed), "disk")
assert control, "control: a plaintext that is only removed stays on the disk"
data = image(whole_life)
hits = found(data, "disk") + in_memory("/dev/shm") + in_memory("/run")
assert not hits, hits
print(f"{len(CANARIES)} secrets in {len(list(forms('x')))} forms: none in {len(data) >> 20} MiB of ext4, /dev/shm, /run; "
      "after a mere rm: found")
