"""Exports ledgers with the program, and holds each form against those who know it: drive.py PROGRAM COLLECTOR."""

import collections
import csv
import importlib
import io
import json
import os
import pathlib
import pkgutil
import subprocess
import sys

import entries
import ocsf
import otlp

PROGRAM, COLLECTOR = sys.argv[1:]
HOME = pathlib.Path(os.environ["HOME"])
LEDGER = HOME / ".local/state/mantlet/ledger"
csv.field_size_limit(1 << 24)
FORMULA = tuple("=+-@\t\r\n＝＋－＠")


def check(holds, what):
    """Ends the test with what does not hold."""
    if not holds:
        raise SystemExit(f"export: FAILED: {what}")


def write(made):
    """Puts entries, or lines as they are, into the ledger."""
    LEDGER.mkdir(parents=True, exist_ok=True, mode=0o700)
    for directory in (HOME / ".local", HOME / ".local/state", LEDGER.parent, LEDGER):
        directory.chmod(0o700)
    with open(LEDGER / "ledger.jsonl", "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        file.writelines(each if isinstance(each, str) else entries.line(each) for each in made)


def export(form, *arguments, code=0):
    """The text of an export."""
    command = [PROGRAM, "log", "export", "--format", form, *arguments]
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL)
    check(done.returncode == code, f"{form}: exit {done.returncode}, not {code}: {done.stderr.decode()[:500]}")
    return done.stdout.decode()


def is_visible(text):
    """Whether a terminal obeys nothing in it and hides nothing of it."""
    return not any(c < " " or "\x7f" <= c <= "\x9f" or c in "\u202e\u2066\u2069\u200b\ufeff\u2028" for c in text)


def lines(text):
    """The lines of JSON, each checked for what a terminal would obey."""
    found = text.split("\n")
    check(found.pop() == "", "the last line has no end")
    check(all(map(is_visible, found)), "a control or a hidden character is in the output")
    return found


def leaves(value):
    """All texts and numbers in a value."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner)
    else:
        yield value


def with_defaults(entry):
    """What the ledger's own reader adds."""
    added = {"egress": {"up": 0, "down": 0, "count": 1}, "change": {"count": 1}, "alert": {"count": 1}, "halt": {"ended": 0, "left": 0}}
    return {**added.get(entry["kind"], {}), **entry}


def try_jsonl(made):
    found = [json.loads(line) for line in lines(export("jsonl"))]
    check(found == list(map(with_defaults, made)), "jsonl: not the entries as they are kept")
    return f"jsonl: {len(found)} entries as they are kept"


def try_ocsf(made):
    judge, classes = ocsf.Judge(), collections.Counter()
    events = [json.loads(line) for line in lines(export("ocsf"))]
    check(len(events) == len(made), f"ocsf: {len(events)} events of {len(made)} entries")
    for entry, event in zip(made, events):
        wrong = judge.faults(event)
        check(not wrong, f"ocsf: {wrong[:5]}\n{json.dumps(entry)}\n{json.dumps(event)}")
        classes[f"{event['class_uid']} {event['class_name']}"] += 1
        # Names of mechanisms are keys; every other text and number is somewhere.
        said = collections.Counter(map(str, leaves(event)))
        lost = [leaf for leaf in leaves(entry) if str(leaf) not in said and not (entry["kind"] == "egress" and leaf == entry["host"])]
        check(not lost, f"ocsf: {lost} is lost\n{json.dumps(entry)}\n{json.dumps(event)}")
    # The judge must be one: it sees each thing that is made wrong.
    seen = 0
    for event in events[:70]:
        for what, bad in ocsf.spoiled(event):
            check(judge.faults(bad), f"ocsf: the judge does not see that {what}")
            seen += 1
    return f"ocsf: {len(events)} events of schema {ocsf.VERSION}: {dict(classes)}; {seen} spoiled ones seen"


def names_of_conventions():
    """Every attribute in the registry of semantic conventions."""
    package = importlib.import_module("opentelemetry.semconv._incubating.attributes")
    names = set()
    for module in pkgutil.iter_modules(package.__path__):
        found = vars(importlib.import_module(f"{package.__name__}.{module.name}"))
        names |= {value for name, value in found.items() if name.isupper() and isinstance(value, str)}
    return names


def try_otlp(made):
    requests = lines(export("otlp"))
    messages = [otlp.parsed(line) for line in requests]
    sent = [record for message in messages for record in otlp.records(message)]
    check(len(sent) == len(made), f"otlp: {len(sent)} records of {len(made)} entries")
    known, foreign = names_of_conventions(), set()
    for message in messages:
        logs = message.resource_logs[0].scope_logs[0].log_records
        check(len(logs) <= 512, "otlp: a request is too large")
        keys = [[attribute.key for attribute in log.attributes] for log in logs]
        check(all(len(set(each)) == len(each) for each in keys), "otlp: an attribute stands twice")
        foreign |= {key for each in keys for key in each if not key.startswith("mantlet.")} - known
    check(not foreign, f"otlp: in no registry: {foreign}")
    with otlp.Collector(COLLECTOR, HOME) as collector:
        for line in requests:
            status, answer = collector.post(line.encode())
            check(status == 200 and not json.loads(answer).get("partialSuccess"), f"otlp: {status} {answer}")
        taken = collector.taken(len(sent))
        check(collections.Counter(taken) == collections.Counter(sent), f"otlp: {len(taken)} of {len(sent)} records came out as they went in")
        # The collector must be one that refuses.
        broken = requests[0].replace('"timeUnixNano":"', '"timeUnixNano":"x', 1)
        check(collector.post(broken.encode())[0] == 400, "otlp: the collector takes a time that is none")
    return f"otlp: {len(sent)} records in {len(requests)} requests, taken whole by the collector"


def rows(text, separator):
    return list(csv.reader(io.StringIO(text, newline=""), strict=separator == ",", delimiter=separator))


def begins_formula(cell):
    return cell.lstrip(' "').startswith(FORMULA) and not is_number(cell)


def is_number(cell):
    return cell.removeprefix("-").isdigit()


def try_csv(made):
    text = export("csv")
    check(text.endswith("\r\n") and all(map(is_visible, text.replace("\r\n", ""))), "csv: not RFC 4180, or not visible")
    table = rows(text, ",")
    check(len(table) == len(made) + 1 and len({len(row) for row in table}) == 1, "csv: not a row per entry")
    for entry, row in zip(made, csv.DictReader(io.StringIO(text, newline=""))):
        check((row["kind"], row["time"]) == (entry["kind"], entry["time"]), f"csv: {row} is not of {entry}")
        command = entry.get("command", "")
        if command.isascii() and command.isprintable() and ";" not in command:
            is_same = row["subject"] in (command, "'" + command)
            check(entry["kind"] != "exec" or is_same, f"csv: {row['subject']!r} is not {command!r}")
    naive = io.StringIO(newline="")
    csv.writer(naive, quoting=csv.QUOTE_ALL).writerows([[str(leaf) for leaf in leaves(entry)] for entry in made])
    for separator in ",;\t":
        formulas = [cell for row in rows(text, separator) for cell in row if begins_formula(cell)]
        check(not formulas, f"csv: computed when {separator!r} separates: {formulas[:5]}")
        # Without the apostrophes there are such cells, so that this sees something.
        check(any(begins_formula(cell) for row in rows(naive.getvalue(), separator) for cell in row), "csv: the control arm is empty")
    return f"csv: {len(made)} rows, no formula whatever separates"


def within(mebibytes, *arguments):
    """The file of an export that had so much memory and no more; nothing when that was too little."""
    out = HOME / "out"
    out.unlink(missing_ok=True)
    limited = ["/bin/sh", "-c", f'ulimit -d {mebibytes * 1024} && exec "$@"', "sh"]
    done = subprocess.run([*limited, PROGRAM, "log", "export", "--output", out, *arguments], capture_output=True)
    if done.returncode != 0:
        check(b"memory allocation" in done.stderr, f"{arguments}: {done.returncode}: {done.stderr.decode()[:500]}")
        check(not out.exists(), "a file appeared all the same")
        return None
    check(out.stat().st_mode & 0o777 == 0o600, "the file can be read by others")
    return out


def try_many(count, mebibytes):
    write(entries.entries(count, 3))
    for form in ("jsonl", "ocsf", "otlp", "csv"):
        out = within(mebibytes, "--format", form)
        check(out, f"{form}: {mebibytes} MiB are too little")
        with open(out) as file:
            found = sum(line.count('"eventName"') if form == "otlp" else 1 for line in file)
        check(found == count + (form == "csv"), f"{form}: {found} of {count}")
    # What keeps all of them needs more, so that the limit is one.
    check(not within(mebibytes, "--format", "jsonl", "--lines", str(count)), "the control arm: the limit limits nothing")
    return f"{count} entries within {mebibytes} MiB, in each form"


def try_broken(made):
    bad = ['{"v":1}\n', "nonsense\n", entries.line({**made[0], "duration_ms": -1}), entries.line(made[0]).replace('"v":1', '"v":1e999')]
    write([*made, *bad])
    for form, expected in (("jsonl", len(made)), ("ocsf", len(made)), ("csv", len(made) + 1)):
        text = export(form, code=1)
        check(len(text.splitlines()) == expected, f"{form}: {len(text.splitlines())} lines, not {expected}")
    return f"{len(bad)} broken lines: exit 1, and all others exported"


def main():
    made = list(entries.entries(3000, 1))
    made.append({**made[0], "command": "x" * (1 << 20)})
    write(made)
    for attempt in (try_jsonl, try_ocsf, try_csv, try_otlp):
        print(attempt(made), flush=True)
    print(try_broken(list(entries.entries(70, 4))), flush=True)
    print(try_many(200_000, 32), flush=True)
    print("export: passed")


main()
