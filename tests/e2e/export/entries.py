"""Entries of every kind with text as an agent would choose it, the same for the same seed."""

import json
import random

HOSTILE = [
    "ls -la", "", " ", "-", "=cmd|'/C calc'!A0", "+1+1", "-2+3", "@SUM(1)", " =1+1", '"=1+1"', "\t=1+1", "\r=1", "\n=1",
    "a;=1+1", 'b;"=1+1', "c; @x", "d\t=1", "e,=1", "=HYPERLINK(\"http://x\",\"y\")", "＝1+1", "a\"b\"\"c", "a'b", "\\", "\\\"",
    "\x1b[2J\x07", "\x00", "\u202egnp.exe", "\u2066x\u2069", "\u200b", "\x9b2J", "\ufeff", "\u2028", "日本語", "🦀", "e\u0301",
    "{\"a\":1}", "</script>", "%n%s", "$(id)", "`id`", "a,b,c", "x\r\ny,z", "null", "true", "NaN", "1e999", "0x10", "-0",
]
HOSTS = [
    "example.org:443", "[2001:db8::1]:53", "198.51.100.7:80", "2001:db8::1", "example.org", "a:99999", ":", "x:-1", "-", "",
    "=1:80", "\u202e:1",
]
ADDRESSES = ["198.51.100.7", "2001:db8::1", "not an address", "198.51.100.7:80", "999.1.1.1", ""]
NUMBERS = [0, 1, 17, 2**31 - 1, 2**31, 2**53, 2**63 - 1, 2**63, 2**64 - 1]
EXITS = [0, 1, 125, 137, 255, -1, -(2**31), 2**31 - 1]
HASH = "0123456789abcdef" * 4


class Maker:
    """Makes entries; `words` are the only texts it uses."""

    def __init__(self, seed, words=HOSTILE):
        self.random = random.Random(seed)
        self.words = words

    def text(self):
        return self.random.choice(self.words)

    def number(self):
        return self.random.choice(NUMBERS)

    def fields(self, needed, maybe):
        """Those of `maybe` that chance wants, after all of `needed`."""
        found = dict(needed)
        found.update({name: make() for name, make in maybe.items() if self.random.random() < 0.6})
        return found

    def one_of(self, *words):
        """A word of the ledger, or rarely none of them."""
        return self.random.choice(words) if self.random.random() < 0.9 else self.text()

    def exec(self):
        needed = {
            "call": self.text(), "command": self.text(), "tier": self.one_of("full", "landlock", "refused"),
            "mechanisms": {self.text(): self.text() for _ in range(self.random.randrange(3))},
            "exit": self.random.choice(EXITS), "duration_ms": self.number(),
        }
        return self.fields(needed, {
            "session": self.text, "run": self.text, "reason": self.text, "bytes_out": self.number,
            "findings": lambda: [self.text(), self.text()],
        })

    def tool(self):
        needed = {
            "client": self.text(), "tool": self.text(), "input": self.text(),
            "decision": self.one_of("allowed", "denied", "jailed", "ran", "failed"),
        }
        return self.fields(needed, {"rule": self.text, "reason": self.text, "session": self.text, "by": self.text})

    def egress(self):
        needed = {
            "outcome": self.one_of("passed", "refused"), "host": self.random.choice(HOSTS + self.words),
            "way": self.one_of("dns", "direct", "connect", "socks", "absolute", "publish", "policy", "various"),
        }
        return self.fields(needed, {
            "call": self.text, "rule": self.text, "reason": self.text, "count": self.number, "up": self.number,
            "address": lambda: self.random.choice(ADDRESSES), "down": self.number,
        })

    def change(self):
        culprit = lambda: self.fields(
            {"pid": self.random.choice(EXITS)}, {"uid": lambda: 2**32 - 1, "exe": self.text, "call": self.text})
        needed = {
            "path": self.text(), "noticed": self.one_of("inotify", "fanotify", "rescan", "start"), "took_ms": self.number(),
            "outcome": self.one_of("undone", "reported", "accepted", "locked"),
            "what": self.one_of("written", "replaced", "deleted", "made", "moved", "linked", "mounted", "mode", "owner",
                                "xattr", "attributes", "keys", "rows"),
        }
        return self.fields(needed, {
            "before": lambda: HASH, "after": self.text, "keys": lambda: [self.text()], "culprit": culprit, "copy": self.text,
            "reason": self.text, "count": self.number,
        })

    def alert(self):
        needed = {
            "channel": self.one_of("desktop", "command", "webhook", "ntfy", "telegram", "email"),
            "outcome": self.one_of("sent", "failed", "held"), "subject": self.text(),
        }
        return self.fields(needed, {"reason": self.text, "count": self.number})

    def halt(self):
        needed = {"action": self.one_of("halt", "resume"), "by": self.one_of("owner", "watch")}
        return self.fields(needed, {"reason": self.text, "ended": self.number, "left": self.number})

    def ledger(self):
        return self.fields({"event": self.one_of("checkpoint", "torn", "rotated", "dropped")}, {
            "bytes": self.number, "sha256": lambda: HASH, "key": lambda: HASH, "signature": lambda: HASH * 2,
            "through": lambda: {"seq": self.number(), "hash": HASH},
        })

    def entry(self, seq, kind):
        minutes, day = seq % 1440, 1 + seq // 1440 % 28
        made = {
            "v": 1, "time": f"2026-11-{day:02}T{minutes // 60:02}:{minutes % 60:02}:38.{seq % 1000:03}Z",
            "agent": self.text(), "policy": self.random.choice([HASH, "-"]), "kind": kind, **getattr(self, kind)(),
        }
        # Entries of older versions are in no chain.
        if seq % 7:
            made["chain"] = {"seq": seq, "prev": HASH, "hash": f"{seq:064x}"}
        return made


KINDS = ["exec", "tool", "egress", "change", "alert", "halt", "ledger"]


def entries(count, seed, words=HOSTILE):
    """So many entries, all kinds in turn."""
    maker = Maker(seed, words)
    for seq in range(count):
        yield maker.entry(seq, KINDS[seq % len(KINDS)])


def line(entry):
    """An entry as it stands in the ledger."""
    return json.dumps(entry, separators=(",", ":")) + "\n"
