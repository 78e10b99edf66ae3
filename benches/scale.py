"""What a large workspace adds to a call: 500 denied files, and the walks over 100,000 names beside `rg --files -uu`."""
import os
import shutil
import statistics

import memory
from world import Arm, Row, World, spread

COMMAND = ["/usr/bin/true"]


def denied(world: World, rounds: int) -> list[Row]:
    """500 directories with an .env and two more files: with the rule, without, and with one that matches nothing."""
    space = world.workspace("denied")
    for number in range(500):
        place = space / f"d{number % 20}/e{number}"
        place.mkdir(parents=True)
        for name in (".env", "main.py", "README"):
            (place / name).write_text("x\n")
    arms = {name: Arm(world.run(*COMMAND, policy=world.policy(name, space, rules)), str(space))
            for name, rules in (("without", []), ("matching", ["**/.env"]), ("elsewhere", ["**/.absent"]))}
    times = world.interleave(arms, rounds)
    without, matching, elsewhere = (statistics.median(times[name]) for name in arms)
    return [
        Row("no deny rule, 1,500 files", spread(times["without"])),
        Row("a deny rule that matches nothing", f"{elsewhere - without:+.2f} ms"),
        Row.at_most("500 deny matches add", matching - without, 6, " ms",
                    f" ({(matching - elsewhere) * 2:.1f} us for each beyond the search)"),
    ]


def walked(world: World, rounds: int) -> list[Row]:
    """What a call costs more in a workspace of 100,000 files than in an empty one, all names in the kernel's cache.

    Twice: with the default policy, and with a deny rule, which must look at every name before the command starts.
    """
    empty, full = world.workspace("empty"), world.workspace("full")
    for number in range(1000):
        place = full / f"d{number % 10}/e{number // 10 % 10}/f{number}"
        place.mkdir(parents=True)
        for name in range(100):
            os.close(os.open(place / f"{name}.txt", os.O_CREAT | os.O_WRONLY, 0o644))
    rule = ["**/.env"]
    arms = {
        "rg": Arm(["rg", "--files", "-uu"], str(full)),
        "rg -j1": Arm(["rg", "--files", "-uu", "-j1"], str(full)),
        "empty": Arm(world.run(*COMMAND, policy=world.policy("empty", empty, [])), str(empty)),
        "full": Arm(world.run(*COMMAND, policy=world.policy("full", full, [])), str(full)),
        "empty, deny": Arm(world.run(*COMMAND, policy=world.policy("empty-deny", empty, rule)), str(empty)),
        "full, deny": Arm(world.run(*COMMAND, policy=world.policy("full-deny", full, rule)), str(full)),
    }
    times = world.interleave(arms, rounds)
    medians = {name: statistics.median(values) for name, values in times.items()}
    rg = medians["rg"]
    out = [Row("rg --files -uu, 100,000 files", f"{spread(times['rg'])}; -j1 {medians['rg -j1']:.1f} ms")]
    for name, label in (("", "100,000 files add, by rg's cost"), (", deny", "the same with a deny rule")):
        added = medians[f"full{name}"] - medians[f"empty{name}"]
        out.append(Row.at_most(label, added / rg, 1, "", f" ({added:.1f} ms)"))
    policy = world.policy("full-deny", full, rule)
    return out + memory.rows(world, full, " there", "--policy", policy)[:1]


def rows(world: World, rounds: int) -> list[Row]:
    return denied(world, rounds) + walked(world, max(5, rounds // 2))


def needs() -> list[str]:
    return [name for name in ("hyperfine", "rg") if not shutil.which(name)]
