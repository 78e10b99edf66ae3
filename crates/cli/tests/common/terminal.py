"""Runs a line on a terminal of its own, types the keys, and prints what was shown and the exit code.

In the keys `|` waits for a prompt, `|!` for half a second, and `~` makes the terminal 100 columns by 50 lines.
"""
import fcntl, os, pty, select, struct, sys, termios, time
line, keys = sys.argv[1:]
pid, fd = pty.fork()
if pid == 0:
    os.execv("/bin/sh", ["sh", "-c", line])
shown = b""
def read(until, seconds):
    global shown
    begin, end = len(shown), time.time() + seconds
    while time.time() < end:
        if select.select([fd], [], [], 0.05)[0]:
            try:
                got = os.read(fd, 65536)
            except OSError:
                return False
            if not got:
                return False
            shown += got
        elif until and any(shown[begin:].endswith(u) for u in until):
            return True
    return True
for part in keys.split("|"):
    if not part:
        continue
    if part.startswith("!"):
        read([], 0.5)
        part = part[1:]
    else:
        read([b"$ ", b"# "], 10)
    if part.startswith("~"):
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 100, 0, 0))
        time.sleep(0.3)
        part = part[1:]
    os.write(fd, part.encode())
if read([], 10):
    os.kill(pid, 9)
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
sys.stdout.write(shown.decode("utf-8", "replace").replace("\r\n", "\n") + "\nexit %d\n" % status)
