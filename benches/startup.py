"""Start-up of a jailed `true` beside bwrap and the peers, after a look at what each of them builds."""
import os
import shutil
import statistics
import subprocess
from pathlib import Path

import memory
from world import Arm, Row, World, spread

COMMAND = ["/usr/bin/true"]
NAMESPACES = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"]


def mounts(text: str) -> list[tuple[str, set[str], str]]:
    """Mount point, options and file system of each line of a mountinfo."""
    lines = [line.split() for line in text.splitlines()]
    return [(w[4], set(w[5].split(",")), w[w.index("-") + 1]) for w in lines]


def inside(world: World, words: list[str], cwd: Path, *command: str) -> str:
    done = subprocess.run([*words, *command], cwd=cwd, env=world.env, capture_output=True, text=True, check=True)
    return done.stdout


def bwrap(world: World, workspace: Path) -> list[str]:
    """bwrap with the namespaces and mounts of our jail and nothing more, read off a jail rather than from a list.

    Files that are no mounts (passwd, hosts, resolv.conf) are left out, and so are Landlock, seccomp, limits, review and
    ledger. /dev/pts comes with --dev only, which mounts a tmpfs on /dev; we mount none there, but one more on /tmp.
    """
    words = ["bwrap", "--unshare-all"]
    for path in map(Path, ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"]):
        if path.is_symlink():
            words += ["--symlink", os.readlink(path), str(path)]
    seen = {"/", "/dev/pts"}
    ours = mounts(inside(world, world.run(), workspace, "cat", "/proc/self/mountinfo"))
    for point, options, kind in sorted(ours, key=lambda m: (m[0].count("/"), m[0])):
        if point in seen or (kind == "devtmpfs" and point.startswith("/dev/")):
            continue
        seen.add(point)
        if point == "/proc":
            words += ["--proc", "/proc", "--dev", "/dev"]
        elif kind == "tmpfs":
            words += ["--tmpfs", point]
        elif kind == "devtmpfs":
            words += ["--dev-bind", "/dev/null", point]
        else:
            words += ["--ro-bind" if "ro" in options else "--bind", point, point]
    return [*words, "--chdir", str(workspace)]


def peers(world: World) -> dict[str, tuple[list[str], Path]]:
    """Each peer that is installed: the words before a command, and its own workspace (some leave files there)."""
    found: dict[str, tuple[list[str], Path]] = {}
    if world.peers is None:
        return found
    modules = world.peers / "npm/node_modules"
    srt = modules / "@anthropic-ai/sandbox-runtime/dist/cli.js"
    codex = list((modules / "@openai").glob("codex-linux-*/vendor/*/bin/codex"))
    nono = world.peers / "nono/bin/nono"
    if srt.exists():
        space, settings = world.workspace("srt"), world.home / "srt.json"
        settings.write_text('{"network": {"allowedDomains": [], "deniedDomains": []}, "filesystem": '
                            f'{{"denyRead": [], "allowWrite": ["{space}"], "denyWrite": []}}}}')
        found["srt"] = [str(modules / ".bin/node"), str(srt), "-s", str(settings)], space
    if codex:
        space = world.workspace("codex")
        (world.home / ".codex").mkdir()
        found["codex sandbox"] = [str(codex[0]), "sandbox", "-P", ":workspace", "--"], space
    if nono.exists():
        space = world.workspace("nono")
        found["nono"] = [str(nono), "run", "--silent", "--allow", str(space), "--block-net", "--"], space
    return found


def really_jailed(world: World, name: str, words: list[str], space: Path) -> None:
    """The control of a peer: a file in its workspace can be made from in there, and one beside it cannot."""
    probe = f"touch {space}/made; touch {world.top}/escaped 2>/dev/null; true"
    world.prepare([*words, "/bin/sh", "-c", probe], str(space))
    if not (space / "made").exists() or (world.top / "escaped").exists():
        raise SystemExit(f"{name} does not run its command in its sandbox, or not with its workspace writable")
    (space / "made").unlink()


def compare(world: World, ours: list[str], other: list[str], space: Path) -> list[Row]:
    """Stops unless the two have the same new namespaces and the same mount points, but for those that bwrap adds."""
    look = ["/bin/sh", "-c", "readlink " + " ".join(f"/proc/self/ns/{n}" for n in NAMESPACES)]
    host = [os.readlink(f"/proc/self/ns/{n}") for n in NAMESPACES]
    fresh = [[n for n, h, i in zip(NAMESPACES, host, inside(world, w, space, *look).split()) if h != i]
             for w in (ours, other)]
    if fresh[0] != fresh[1]:
        raise SystemExit(f"not the same namespaces: {fresh[0]} and {fresh[1]}")
    points = [[m[0] for m in mounts(inside(world, w, space, "cat", "/proc/self/mountinfo"))] for w in (ours, other)]
    missing, added = set(points[0]) - set(points[1]), sorted(set(points[1]) - set(points[0]))
    if missing:
        raise SystemExit(f"bwrap lacks the mounts {sorted(missing)}")
    extra = f"; bwrap's own: {', '.join(added)}" if added else ""
    return [Row("new namespaces, both", " ".join(fresh[0])),
            Row("mounts, ours and bwrap's", f"{len(points[0])} and {len(points[1])}{extra}")]


def rows(world: World, rounds: int) -> list[Row]:
    space = world.workspace("startup")
    jailed = bwrap(world, space)
    exec_ = [str(world.binaries / "mantlet"), "exec", "--"]
    others = peers(world)
    for name, (words, place) in others.items():
        really_jailed(world, name, words, place)
    out = compare(world, world.run(), jailed, space)
    arms = {
        "no jail": Arm(COMMAND, str(space)),
        "bwrap": Arm(jailed + COMMAND, str(space)),
        "mantlet-run exec": Arm(world.run(*COMMAND), str(space)),
        "mantlet exec": Arm(exec_ + COMMAND, str(space)),
    } | {name: Arm(words + COMMAND, str(place)) for name, (words, place) in others.items()}
    times = world.interleave(arms, rounds)
    medians = {name: statistics.median(values) for name, values in times.items()}
    out += [Row(f"start-up, {name}", spread(values)) for name, values in times.items()]
    run, base = medians["mantlet-run exec"], medians["bwrap"]
    out.append(Row.at_most("mantlet-run exec / bwrap", run / base, 0.5, ""))
    out.append(Row.at_most("mantlet exec / bwrap", medians["mantlet exec"] / base, 0.6, ""))
    for name, limit in (("srt", 0.05), ("codex sandbox", 0.1), ("nono", 0.1)):
        if name in medians:
            out.append(Row.at_most(f"mantlet-run exec / {name}", run / medians[name], limit, ""))
        else:
            out.append(Row(f"mantlet-run exec / {name}", "not installed, not measured", f"at most {limit:g}"))
    return out + memory.rows(world, space, "")


def needs() -> list[str]:
    return [name for name in ("bwrap", "hyperfine", "time") if not shutil.which(name)]
