"""One tool call decided by `mantlet hook claude`, as a whole process, beside /bin/true and a hook of bash and jq."""
import json
import shutil
import statistics
import subprocess

from world import Arm, Row, World, spread

TRUE = ["/bin/true"]

# What people write: read the event, take three things out of it, answer with a fourth call of jq.
JQ_HOOK = """#!/bin/bash
event=$(cat)
tool=$(jq -r '.tool_name' <<<"$event")
command=$(jq -r '.tool_input.command // empty' <<<"$event")
file=$(jq -r '.tool_input.file_path // empty' <<<"$event")
case $tool in
  Bash) decision=allow ;;
  *) case $file in "$WORKSPACE"/*) decision=allow ;; *) decision=deny ;; esac ;;
esac
jq -cn --arg decision "$decision" --arg command "wrap -- $command" '{hookSpecificOutput: {hookEventName: "PreToolUse",
  permissionDecision: $decision, updatedInput: {command: $command}}}'
"""


def asked(world: World, arm: Arm) -> dict[str, str]:
    """The answer of a hook, so that none is timed that does nothing."""
    with open(arm.input) as event:
        done = subprocess.run(arm.words, cwd=arm.cwd, env=world.env, stdin=event, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["hookSpecificOutput"]


def rows(world: World, rounds: int) -> list[Row]:
    space = world.workspace("hook")
    (space / "a.txt").write_text("text\n")
    policy = world.policy("hook", space, ["**/.env"])
    script = world.top / "jq-hook"
    script.write_text(JQ_HOOK)
    script.chmod(0o755)
    world.env["WORKSPACE"] = str(space)
    events = {}
    for tool, given in (("Bash", {"command": "git status && ls -la"}), ("Read", {"file_path": f"{space}/a.txt"})):
        event = {"session_id": "s", "transcript_path": f"{world.home}/t.jsonl", "cwd": str(space),
                 "hook_event_name": "PreToolUse", "permission_mode": "default", "tool_name": tool, "tool_input": given}
        events[tool] = world.top / f"{tool}.json"
        events[tool].write_text(json.dumps(event))
    ours = [str(world.binaries / "mantlet"), "hook", "claude", "--agent", "main", "--policy", policy]
    arms = {
        "/bin/true": Arm(TRUE, str(space), input=events["Bash"]),
        "bash and jq, Bash": Arm([str(script)], str(space), input=events["Bash"]),
        "bash and jq, Read": Arm([str(script)], str(space), input=events["Read"]),
        "mantlet hook, Bash": Arm(ours, str(space), input=events["Bash"]),
        "mantlet hook, Read": Arm(ours, str(space), input=events["Read"]),
    }
    if "mantlet-run" not in asked(world, arms["mantlet hook, Bash"])["updatedInput"]["command"]:
        raise SystemExit("mantlet hook does not rewrite the command")
    if asked(world, arms["mantlet hook, Read"]) != {"hookEventName": "PreToolUse"}:
        raise SystemExit("mantlet hook does not allow the file")
    if any(asked(world, arms[f"bash and jq, {tool}"])["permissionDecision"] != "allow" for tool in events):
        raise SystemExit("the hook of bash and jq does not allow")
    times = world.interleave(arms, rounds)
    out = [Row(f"one hook, {name}", spread(values)) for name, values in times.items()]
    medians = {name: statistics.median(values) for name, values in times.items()}
    for tool in events:
        own = medians[f"mantlet hook, {tool}"]
        out.append(Row.at_most(f"mantlet hook over /bin/true, {tool}", own - medians["/bin/true"], 2, " ms"))
        out.append(Row.at_most(f"mantlet hook / bash and jq, {tool}", own / medians[f"bash and jq, {tool}"], 0.1, ""))
    return out


def needs() -> list[str]:
    return [name for name in ("hyperfine", "jq") if not shutil.which(name)]
