"""A throwaway home with workspaces, the clock, and the rows of the table. Measures nothing by itself."""
import json
import math
import os
import random
import shlex
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Row:
    """One line of the table. `met` is None where the line is there for comparison and has no target."""
    what: str
    measured: str
    target: str = ""
    met: bool | None = None
    by: str = ""

    @classmethod
    def at_most(cls, what: str, value: float, limit: float, unit: str, detail: str = "") -> "Row":
        met = value <= limit
        digits = 3 if limit < 0.2 else 2
        by = "" if met else f"by {value - limit:.{digits}f}{unit}"
        return cls(what, f"{value:.{digits}f}{unit}{detail}", f"at most {limit:g}{unit}", met, by)

    @classmethod
    def at_least(cls, what: str, value: float, limit: float, detail: str = "") -> "Row":
        by = "" if value >= limit else f"by {limit - value:.2f}"
        return cls(what, f"{value:.2f}{detail}", f"at least {limit:g}", value >= limit, by)


@dataclass
class Arm:
    """A command that is timed, where it starts, what is run untimed before it, and where time(1) adds its CPU time.

    With `input` it gets that file on standard input and writes to a pipe, as to a client.
    """
    words: list[str]
    cwd: str
    before: list[str] = field(default_factory=list)
    log: Path | None = None
    input: Path | None = None


class World:
    """A home and workspaces on the disk that holds `top`; the same for every arm, and gone afterwards."""

    def __init__(self, binaries: Path, peers: Path | None, gap: float) -> None:
        self.binaries, self.peers, self.gap = binaries, peers, gap
        self.runs = self.busy = self.disturbed = 0
        self.is_disturbed = False
        self.temporary = tempfile.TemporaryDirectory(dir="/var/tmp", prefix="mantlet-bench-")
        self.top = Path(self.temporary.name)
        self.home = self.top / "home"
        self.home.mkdir()
        self.env = {"HOME": str(self.home), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
        self.result = self.top / "hyperfine.json"

    def workspace(self, name: str) -> Path:
        path = self.top / name
        path.mkdir()
        return path

    def run(self, *words: str, **options: str) -> list[str]:
        """The words of `mantlet-run exec`, with options such as policy=FILE."""
        return [str(self.binaries / "mantlet-run"), "exec", *[f"--{k}={v}" for k, v in options.items()], "--", *words]

    def policy(self, name: str, workspace: Path, deny: list[str]) -> str:
        path = self.top / f"{name}.toml"
        files = f"[agent.main.files]\ndeny = {json.dumps(deny)}\n" if deny else ""
        path.write_text(f'version = 1\n[agent.main]\nrole = "builder"\nworkspace = "{workspace}"\n{files}')
        path.chmod(0o600)
        return str(path)

    def prepare(self, words: list[str], cwd: str) -> None:
        done = subprocess.run(words, cwd=cwd, env=self.env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{shlex.join(words)[:300]}: exit code {done.returncode}\n{done.stderr[-2000:]}")

    def once(self, arm: Arm) -> float:
        """Milliseconds of one run. Hyperfine is the clock: it starts the command without a shell from a small process.

        It runs all of one command before the next, so it cannot interleave by itself; hence one run per call, and
        the order is ours.
        """
        if arm.before:
            self.prepare(arm.before, arm.cwd)
        self.settle()
        if arm.input:
            return self.fed(arm)
        busy = busy_seconds()
        clock = ["hyperfine", "-N", "--runs", "1", "--style", "none", "--export-json", str(self.result)]
        self.prepare([*clock, "--", shlex.join(arm.words)], arm.cwd)
        took = json.loads(self.result.read_text())["results"][0]["times"][0]
        own = cpu_seconds(arm.log)[-1] if arm.log else 0
        self.is_disturbed = arm.log is not None and busy_seconds() - busy - own > 0.05 + 0.1 * took
        return took * 1000

    def fed(self, arm: Arm) -> float:
        """Milliseconds of one run with a file on standard input and a pipe to write to, which hyperfine 1.15 cannot give.

        posix_spawn(3) copies no page tables, so that the size of this process does not count.
        """
        read, write = os.pipe()
        actions = [(os.POSIX_SPAWN_OPEN, 0, str(arm.input), os.O_RDONLY, 0), (os.POSIX_SPAWN_DUP2, write, 1),
                   (os.POSIX_SPAWN_CLOSE, read), (os.POSIX_SPAWN_CLOSE, write)]
        start = time.perf_counter_ns()
        child = os.posix_spawn(arm.words[0], arm.words, self.env, file_actions=actions)
        _, status = os.waitpid(child, 0)
        took = time.perf_counter_ns() - start
        os.close(write)
        os.close(read)
        self.is_disturbed = False
        if status:
            raise SystemExit(f"{shlex.join(arm.words)[:300]}: wait status {status}")
        return took / 1e6

    def undisturbed(self, arm: Arm) -> float:
        """One run; a long one (with a log) again, twice at most, if others had more than a tenth of a CPU meanwhile."""
        for _ in range(3):
            value = self.once(arm)
            if not self.is_disturbed:
                return value
        self.disturbed += 1
        return value

    def settle(self) -> None:
        """A pause in which what the last arm left (namespaces, freed memory) is cleaned up and others' work ends.

        It is prolonged while something else wants a CPU, up to five seconds; a run that begins all the same is counted.
        """
        samples = max(4, int(self.gap / 0.002))
        for _ in range(math.ceil(5 / max(self.gap, 0.008))):
            runnable = 0
            for _ in range(samples):
                time.sleep(self.gap / samples)
                runnable += int(Path("/proc/stat").read_text().split("procs_running ")[1].split()[0]) - 1
            if runnable <= samples // 4:
                break
        else:
            self.busy += 1
        self.runs += 1

    def interleave(self, arms: dict[str, Arm], rounds: int) -> dict[str, list[float]]:
        """Each arm once per round, in a new random order each time, after one round that does not count."""
        times: dict[str, list[float]] = {name: [] for name in arms}
        for number in range(rounds + 1):
            for name in random.sample(list(arms), len(arms)):
                value = self.undisturbed(arms[name])
                if number:
                    times[name].append(value)
        return times


def busy_seconds() -> float:
    """What all CPUs have worked since the start of the machine: user, nice, system, interrupts, steal."""
    words = Path("/proc/stat").read_text().split(maxsplit=9)
    return sum(int(words[i]) for i in (1, 2, 3, 6, 7, 8)) / os.sysconf("SC_CLK_TCK")


def cpu_seconds(log: Path) -> list[float]:
    """User and system time together, of every run."""
    return [sum(map(float, line.split())) for line in log.read_text().splitlines()]


def spread(values: list[float]) -> str:
    """Median, and the quarters around it."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{middle:.2f} ms ({low:.2f} to {high:.2f})"


def show(rows: list[Row]) -> None:
    cells = [["what", "measured", "target", ""]]
    for row in rows:
        verdict = "" if row.met is None else "met" if row.met else f"**missed** {row.by}".rstrip()
        cells.append([row.what, row.measured, row.target, verdict])
    widths = [max(len(line[i]) for line in cells) for i in range(4)]
    for number, line in enumerate(cells):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |")
        if number == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")


def machine() -> str:
    name = os.uname()
    cpu = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), name.machine)
    return f"{name.sysname} {name.release}, {os.cpu_count()} CPUs ({cpu}), uid {os.getuid()}"
