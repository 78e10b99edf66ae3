#!/usr/bin/python3 -I
"""In the place of `mantlet`, beside `mantlet-run`: a process that serves a way out and has fallen to what a jail sent.

What it does is named in the file `mode` beside it; what it saw it writes into `seen` in the home of the test's world."""
import json
import os
import pathlib
import socket
import time

HERE = pathlib.Path(__file__).parent
SEEN = HERE.parent / "home/seen"
# As in `wire::Tag`.
SERVING, EVENT, MORE, UNKNOWN = 24, 25, 26, 255
channel = socket.socket(fileno=0)


def say(tag, payload=b""):
    channel.send(bytes([tag]) + payload)


def event(**differs):
    entry = dict(outcome="refused", way="direct", host="a.test:80", up=0, down=0, count=1) | differs
    return json.dumps(dict(entry=entry, hint="do \x1b[31mthis\nhint: and that")).encode()


with SEEN.open("a+") as seen:
    seen.seek(0)
    beside = [pid for pid in seen.read().split() if os.path.exists(f"/proc/{pid}/fd/0")]
    seen.write(f"{'beside' if beside else ''} {os.getpid()}\n")

match (HERE / "mode").read_text():
    case "deaf":
        say(SERVING, b"deaf")
        for _ in range(100_000):
            say(MORE)
    case "talks":
        say(SERVING, b"talks")
        text = event(outcome="passed")
        # Faster than one who listens.
        for _ in range(3):
            os.fork()
        while True:
            say(EVENT, text)
    case "babbles":
        say(SERVING, b"babbles")
        say(UNKNOWN)
    case "lies":
        say(SERVING, b"lies \x1b[31m\n\xe2\x80\xae" + b"x" * 3000)
        most = 2**64 - 1
        for _ in range(3):
            say(EVENT, event(host="\x1b]0;h\x07", reason="\x1b[31m\n", up=most, down=most, count=most))
        for broken in [b"", b"{", b"[" * 4000, b"\xff", b'{"entry":{}}']:
            say(EVENT, broken)
time.sleep(600)
