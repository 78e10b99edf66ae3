"""One value out of an encrypted file of 200, as a whole process, beside the real sops."""
import os
import shutil
import statistics
import subprocess
from pathlib import Path

from world import Arm, Row, World, spread

NAMES = 200


def sops() -> str | None:
    """The program itself: what pip puts beside it is a wrapper in Python, whose time is not sops'."""
    return os.environ.get("MANTLET_SOPS") or shutil.which("sops")


def rows(world: World, rounds: int) -> list[Row]:
    space = Path(world.workspace("vault"))
    program = str(world.binaries / "mantlet")
    made = subprocess.run([program, "vault", "init"], env=world.env, capture_output=True, text=True, check=True)
    identity = Path(world.env["HOME"]) / ".config/mantlet/vault/identity"
    world.env["SOPS_AGE_KEY_FILE"] = str(identity)
    out = []
    for kind, text in (("dotenv", "".join(f"NAME_{n}=value of {n}\n" for n in range(NAMES))),
                       ("yaml", "".join(f"name_{n}: value of {n}\n" for n in range(NAMES)))):
        plain, sealed = space / f"plain.{kind}", space / f"sealed.{kind}"
        plain.write_text(text)
        with open(sealed, "w") as file:
            subprocess.run([program, "vault", "encrypt", "--type", kind, "--age", made.stdout.strip(), str(plain)],
                           env=world.env, stdout=file, stderr=subprocess.DEVNULL, check=True)
        name = "NAME_150" if kind == "dotenv" else "name_150"
        types = ["--input-type", kind, "--output-type", kind]
        arms = {
            f"mantlet vault get, {kind}":
                Arm([program, "vault", "get", "--type", kind, "--force", str(sealed), name], str(space)),
            f"sops decrypt --extract, {kind}":
                Arm([sops(), "--disable-version-check", "decrypt", *types, "--extract", f'["{name}"]', str(sealed)],
                    str(space)),
        }
        for arm in arms.values():
            done = subprocess.run(arm.words, cwd=arm.cwd, env=world.env, capture_output=True, text=True, check=True)
            if done.stdout.strip() != "value of 150":
                raise SystemExit(f"{arm.words[0]} gives {done.stdout!r}")
        times = world.interleave(arms, rounds)
        out += [Row(name, spread(values)) for name, values in times.items()]
        own, theirs = (statistics.median(values) for values in times.values())
        out.append(Row.at_most(f"vault get / sops, {kind}", own / theirs, 0.25, ""))
    return out


def needs() -> list[str]:
    return [] if sops() else ["sops (MANTLET_SOPS)"]
