"""The memory of the largest process of ours in a call: client, monitor, init, and what execs into them."""
import subprocess
import time
from pathlib import Path

from world import Row, World

OURS = {"mantlet-run", "mantlet", "mantlet-monitor", "mantlet-init"}


def tree(top: int) -> set[int]:
    """A process and all below it."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(entry.parent.name)] = int(entry.read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, ValueError):
            continue
    below = {top}
    while more := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= more
    return below


def largest(world: World, words: list[str], cwd: Path) -> dict[str, int]:
    """VmHWM in KiB by process name, of the arm and all its children, read until the last of them is gone.

    The children's rusage alone would not do: nobody waits for the monitor.
    """
    process = subprocess.Popen(words, cwd=cwd, env=world.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    peak: dict[str, int] = {}
    pids: set[int] = set()
    start = time.monotonic()
    while True:
        if process.poll() is None and (not pids or time.monotonic() - start < 0.4):
            pids |= tree(process.pid)
        alive = False
        for pid in pids:
            try:
                lines = dict(l.split(":", 1) for l in Path(f"/proc/{pid}/status").read_text().splitlines())
            except OSError:
                continue
            if "VmHWM" not in lines:
                continue
            name, value = lines["Name"].strip(), int(lines["VmHWM"].split()[0])
            if name in OURS:
                peak[name] = max(peak.get(name, 0), value)
            alive = True
        if not alive and process.poll() is not None:
            return peak
        time.sleep(0.001)


def waited_for(world: World, words: list[str], cwd: Path) -> int:
    """KiB of the largest of the first process and those it waited for, also before it executed something else.

    Through time(1), which is small: a child of this interpreter would begin with what the interpreter weighs.
    """
    out = world.top / "time"
    world.prepare(["/usr/bin/time", "-f", "%M", "-o", str(out), *words], str(cwd))
    return int(out.read_text())


def rows(world: World, space: Path, label: str, *options: str) -> list[Row]:
    """Of ours only: what the jailed command weighs is its own affair."""
    out = []
    for program in ("mantlet-run", "mantlet"):
        words = [str(world.binaries / program), "exec", *options, "--", "/usr/bin/sleep", "0.6"]
        peak: dict[str, int] = {}
        for _ in range(3):
            for name, value in largest(world, words, space).items():
                peak[name] = max(peak.get(name, 0), value)
        peak[f"{program} and what it became"] = waited_for(world, words, space)
        detail = ", ".join(f"{n} {v / 1024:.1f}" for n, v in sorted(peak.items(), key=lambda i: -i[1]))
        most = max(peak.values()) / 1024
        out.append(Row.at_most(f"peak RSS, {program} exec{label}", most, 6, " MiB", f" ({detail})"))
    return out
