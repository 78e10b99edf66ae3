// What reaches mantlet-run's argument list, and that a shell puts long commands together unchanged.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { execArgv, filesArgv, scriptArgv } from "../src/command.ts";

const place = { program: "/usr/bin/mantlet-run", agent: "main", workspace: "/home/u/.openclaw/workspace" };
const PREFIX = ["/usr/bin/mantlet-run", "exec", "--client=openclaw", "--agent=main", "--workspace=/home/u/.openclaw/workspace"];
const plain = (command: string) => ({ command, cwd: "/w/sub", env: {}, terminal: false });

test("a_command_is_one_argument_and_is_not_quoted", () => {
  const argv = execArgv(place, { ...plain(`echo "$HOME" 'x'; ls | head`), env: { A: "1=2", B: "" } });
  assert.deepEqual(argv, [...PREFIX, "--cwd=/w/sub", "--env=A=1=2", "--env=B=", "-c", `echo "$HOME" 'x'; ls | head`]);
});

test("a_command_that_looks_like_an_option_stays_the_value_of_c", () => {
  assert.deepEqual(execArgv(place, plain("--policy /tmp/evil")).slice(-2), ["-c", "--policy /tmp/evil"]);
});

test("a_script_runs_in_the_workspace_with_its_arguments_apart", () => {
  assert.deepEqual(scriptArgv(place, 'cat "$1"', ["-n; rm x"]), [
    ...PREFIX, `--cwd=${place.workspace}`, "--", "/bin/sh", "-c", 'cat "$1"', "openclaw-sandbox-fs", "-n; rm x",
  ]);
});

test("what_openclaw_calls_a_turn_and_what_a_file_is_called_stay_values", () => {
  const labelled = { ...place, session: "--policy=/evil", run: "r\0s" };
  assert.deepEqual(filesArgv(labelled, "write", ["write", "-c", "a\0b"]), [
    ...PREFIX, `--cwd=${place.workspace}`, "--session=--policy=/evil", "--run=r s", "--files", "write", "--", "write", "-c", "a b",
  ]);
  assert.deepEqual(filesArgv(place, "read", []).slice(-2), ["--files", "read"]);
});

test("a_terminal_is_opened_inside_the_jail", () => {
  const argv = execArgv(place, { ...plain("echo it's"), terminal: true });
  assert.deepEqual(argv.slice(-3), ["--env=TERM=xterm-256color", "-c", `exec script -qefc 'echo it'\\''s' /dev/null`]);
  const own = execArgv(place, { ...plain("true"), env: { TERM: "dumb" }, terminal: true });
  assert.deepEqual(own.filter((arg) => arg.startsWith("--env=TERM=")), ["--env=TERM=dumb"]);
});

test("a_long_command_is_split_below_the_kernels_limit_and_joined_unchanged", () => {
  const text = "𝄞é'\"$x\\\n ".repeat(40_000);
  const argv = execArgv(place, plain(`cat <<'END-OF-TEXT'\n${text}\nEND-OF-TEXT\nprintf '%s|%s' "$#" "\${IFS-unset}"; f() { echo "$1"; }; f done`));
  assert.ok(argv.every((arg) => Buffer.byteLength(arg) < 128 * 1024));
  const [shell, ...args] = argv.slice(argv.indexOf("--") + 1);
  const result = spawnSync(shell ?? "", args, { maxBuffer: 16 * 1024 * 1024 });
  assert.equal(result.status, 0, String(result.error ?? result.stderr));
  assert.equal(result.stdout.toString("utf8"), `${text}\n0|unsetdone\n`);
});
