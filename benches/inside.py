"""Work inside the jail beside the same work outside it: git, rg, gcc, long enough that start-up does not count."""
import random
import shutil
import statistics
import subprocess
from pathlib import Path

from startup import bwrap
from world import Arm, Row, World, cpu_seconds

GIT = "i=0; while [ $i -lt {n} ]; do git status --porcelain >/dev/null || exit 1; i=$((i+1)); done"
RG = "i=0; while [ $i -lt {n} ]; do rg -uu --count-matches 'lorem +ip[sz]um' . >/dev/null || exit 1; i=$((i+1)); done"
# -pipe: else the one arm has its temporary files on a disk and the other on a tmpfs.
GCC = "for f in *.c; do gcc -O2 -pipe -c $f -o ${f%.c}.o || exit 1; done; gcc -o program *.o"

WORDS = "lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt ut labore".split()


def text(source: random.Random, lines: int) -> str:
    return "".join(" ".join(source.choices(WORDS, k=10)) + "\n" for _ in range(lines))


def repository(space: Path) -> None:
    """2,000 tracked files in 100 directories, all clean."""
    source = random.Random(1)
    for number in range(2000):
        path = space / f"d{number % 10}/e{number // 200}/f{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text(source, 20))
    git = ["git", "-C", str(space), "-c", "user.name=b", "-c", "user.email=b@localhost"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"]):
        subprocess.run([*git, *words], check=True, env={"HOME": str(space), "PATH": "/usr/bin:/bin"})


def searched(space: Path) -> None:
    """4,000 files, half of them under 5 KiB, 12 KiB in the mean, as in a source tree."""
    source = random.Random(2)
    for number in range(4000):
        path = space / f"d{number % 10}/e{number // 400}/f{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text(source, int(source.lognormvariate(4.3, 1.3)) + 1))


def sources(space: Path) -> None:
    """Twelve C files, each with the usual headers and forty functions, and a main."""
    headers = "".join(f"#include <{h}.h>\n" for h in ("stdio", "stdlib", "string", "math", "time", "unistd", "errno"))
    for number in range(12):
        body = "".join(
            f"int f{number}_{i}(const char *s, int n) {{ int t = {i}; for (int k = 0; k < n; k++) "
            f"{{ t = t * 31 + s[k]; if (t % {i + 3} == 0) t ^= n; }} return t + (int)strlen(s); }}\n"
            for i in range(40))
        (space / f"part{number}.c").write_text(headers + body)
    main = 'int f0_0(const char *, int);\nint main(void) { return f0_0("a", 1) == 0; }\n'
    (space / "main.c").write_text(headers + main)


def percent(value: float, base: float) -> str:
    return f"{(value / base - 1) * 100:+.1f}%"


def rows(world: World, rounds: int) -> list[Row]:
    """The jail's arm and the bare one in turn, in random order, and the median of the ratios of each round.

    Of each round, since the machine's state is then about the same for both; the ratio of the medians over all rounds
    once came out at 0% where three quarters of the rounds said more than 4%. It is shown beside it, and so are the CPU
    time of the work alone, which bears a machine that is not quite quiet, and the same work in bwrap with our mounts,
    which has neither Landlock nor seccomp.

    git status runs once untimed before each arm: as root the jail sees other ids, and git reads every file again where
    its index remembers the other ones.
    """
    git_warm = "git status >/dev/null"
    works = [
        ("git status, 500 times", repository, GIT.format(n=500), git_warm),
        ("rg over 4,000 files, 50 times", searched, RG.format(n=50), ""),
        ("gcc -O2 of 13 files", sources, GCC, ""),
    ]
    out = []
    for name, make, line, warm in works:
        space = world.workspace(make.__name__)
        make(space)
        shell = ["/bin/sh", "-c"]
        beside = bwrap(world, space)
        before = {"outside": [], "bwrap": beside, "inside": world.run()}
        logs = {arm: space / f".cpu-{arm}" for arm in before}
        # Counted for the untimed round as well, which the median forgives.
        count = {arm: ["/usr/bin/time", "-f", "%U %S", "-a", "-o", str(logs[arm]), *shell, line] for arm in before}
        arms = {arm: Arm([*words, *count[arm]], str(space), [*words, *shell, warm] if warm else [], logs[arm])
                for arm, words in before.items()}
        times = world.interleave(arms, rounds)
        cpu = {arm: statistics.median(cpu_seconds(logs[arm])) for arm in arms}
        bare, beside_ms, jailed = (statistics.median(times[arm]) for arm in arms)
        pairs = [(i / o - 1) * 100 for o, i in zip(times["outside"], times["inside"])]
        low, middle, high = statistics.quantiles(pairs, n=4, method="inclusive")
        detail = (f" ({low:.1f} to {high:.1f}; {bare / 1000:.2f} s outside; of medians {percent(jailed, bare)}; "
                  f"CPU {percent(cpu['inside'], cpu['outside'])}; "
                  f"in bwrap {percent(beside_ms, bare)}, CPU {percent(cpu['bwrap'], cpu['outside'])})")
        out.append(Row.at_most(f"overhead, {name}", middle, 3, "%", detail))
    return out


def needs() -> list[str]:
    return [name for name in ("hyperfine", "time", "git", "rg", "gcc") if not shutil.which(name)]
