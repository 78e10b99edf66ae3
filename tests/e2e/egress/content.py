"""What the world's servers give out: bodies that follow from a nonce, and packages that hold a payload."""
import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile
import time
import zipfile
from pathlib import Path

BIG = 128 << 20


def body(nonce: str) -> bytes:
    """48 KiB that nobody has who has not asked for this nonce."""
    return b"".join(hashlib.sha256(f"{nonce} {number}".encode()).digest() for number in range(1536))


def big(nonce: str):
    """A long body, in pieces."""
    piece = body(nonce) * 16
    for start in range(0, BIG, len(piece)):
        yield piece[: BIG - start]


def tar(files: dict[str, bytes], kind: str = "gz") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=f"w:{kind}") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text), 0o644
            archive.addfile(entry, io.BytesIO(text))
    return out.getvalue()


def python_index(top: Path, payload: bytes) -> None:
    wheel = io.BytesIO()
    info = "thing-1.0.dist-info"
    files = {
        "thing/payload": payload,
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: world\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"]).encode()
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    place = top / "simple/thing"
    place.mkdir(parents=True)
    name = "thing-1.0-py3-none-any.whl"
    (place / name).write_bytes(wheel.getvalue())
    digest = hashlib.sha256(wheel.getvalue()).hexdigest()
    (place / "index.html").write_text(f'<!DOCTYPE html><html><body><a href="{name}#sha256={digest}">{name}</a></body></html>')


def npm_registry(top: Path, payload: bytes) -> None:
    manifest = {"name": "thing", "version": "1.0.0"}
    package = tar({"package/package.json": json.dumps(manifest).encode(), "package/payload": payload})
    place = top / "npm"
    place.mkdir()
    (place / "thing.tgz").write_bytes(package)
    # The address of a package is absolute: the server puts its own in.
    dist = {"tarball": "BASE/npm/thing.tgz", "shasum": hashlib.sha1(package).hexdigest()}
    versions = {"1.0.0": {**manifest, "dist": dist}}
    (place / "thing").write_text(json.dumps({"name": "thing", "dist-tags": {"latest": "1.0.0"}, "versions": versions}))


def cargo_registry(top: Path, payload: bytes) -> None:
    manifest = b'[package]\nname = "thing"\nversion = "1.0.0"\nedition = "2021"\n'
    source = b"pub const PAYLOAD: &[u8] = include_bytes!(\"payload\");\n"
    crate = tar({f"thing-1.0.0/{name}": text for name, text in
                 {"Cargo.toml": manifest, "src/lib.rs": source, "src/payload": payload}.items()})
    place = top / "cargo/th/in"
    place.mkdir(parents=True)
    (top / "cargo/thing.crate").write_bytes(crate)
    (top / "cargo/config.json").write_text(json.dumps({"dl": "BASE/cargo/{crate}.crate"}))
    line = {"name": "thing", "vers": "1.0.0", "deps": [], "cksum": hashlib.sha256(crate).hexdigest(), "features": {}, "yanked": False}
    (place / "thing").write_text(json.dumps(line) + "\n")


def apt_repository(top: Path, payload: bytes) -> None:
    place = top / "apt"
    place.mkdir()
    control = b"Package: thing\nVersion: 1.0\nArchitecture: all\nMaintainer: World <world@allowed.test>\nDescription: a thing\n"
    parts = {"debian-binary": b"2.0\n", "control.tar.gz": tar({"./control": control}), "data.tar.gz": tar({"./payload": payload})}
    deb = b"!<arch>\n"
    for name, text in parts.items():
        deb += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(text):<10}`\n".encode() + text + b"\n" * (len(text) % 2)
    (place / "thing.deb").write_bytes(deb)
    digest = hashlib.sha256(deb).hexdigest()
    packages = control + f"Filename: ./thing.deb\nSize: {len(deb)}\nSHA256: {digest}\n".encode()
    (place / "Packages").write_bytes(packages)
    (place / "Packages.gz").write_bytes(gzip.compress(packages))
    sums = "".join(f" {hashlib.sha256(text).hexdigest()} {len(text)} {name}\n" for name, text in
                   {"Packages": packages, "Packages.gz": (place / "Packages.gz").read_bytes()}.items())
    date = time.strftime("%a, %d %b %Y %H:%M:%S UTC", time.gmtime())
    (place / "Release").write_text(f"Origin: world\nDate: {date}\nArchitectures: all\nSHA256:\n{sums}")


def git_repository(top: Path, payload: bytes) -> None:
    """As files: a server needs no program for them."""
    bare, work = top / "repo.git", top / "work"
    env = {"PATH": os.environ["PATH"], "HOME": str(top), "GIT_CONFIG_NOSYSTEM": "1"}
    for role in ("AUTHOR", "COMMITTER"):
        env |= {f"GIT_{role}_NAME": "world", f"GIT_{role}_EMAIL": "world@allowed.test"}

    def git(*words: str) -> None:
        subprocess.run(["git", *words], env=env, check=True, stdout=subprocess.DEVNULL)
    git("init", "--quiet", "--initial-branch", "main", str(work))
    (work / "payload").write_bytes(payload)
    git("-C", str(work), "add", "payload")
    git("-C", str(work), "commit", "--quiet", "--message", "first")
    git("clone", "--quiet", "--bare", str(work), str(bare))
    git("-C", str(bare), "update-server-info")


def make(top: Path, payload: bytes) -> None:
    for make_one in (python_index, npm_registry, cargo_registry, apt_repository, git_repository):
        make_one(top, payload)
