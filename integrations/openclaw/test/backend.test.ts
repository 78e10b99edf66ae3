// The handle OpenClaw gets: what it runs, with which environment, and what it refuses.

import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, test } from "node:test";
import type { FsBridgeContext, SandboxRequest } from "openclaw/plugin-sdk/sandbox";
import { createBackend, type BackendParts } from "../src/backend.ts";
import { Sessions } from "../src/sessions.ts";

const root = realpathSync(mkdtempSync(path.join(tmpdir(), "mantlet-backend-")));
after(() => rmSync(root, { recursive: true }));

/** A program in place of mantlet-run that runs what follows `--` without any jail. */
const unjailed = path.join(root, "unjailed");
writeFileSync(unjailed, '#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done; shift\nexec "$@"\n');
chmodSync(unjailed, 0o755);

const request: SandboxRequest = {
  sessionKey: "agent:main:main",
  scopeKey: "agent:main:workspace:00",
  workspaceDir: root,
  agentWorkspaceDir: root,
  cfg: { workspaceAccess: "rw", docker: { env: { LANG: "C.UTF-8" } } },
};

const parts: BackendParts = { locate: () => unjailed, warn: () => {}, sessions: new Sessions(), skillMounts: () => [] };

function handle(over: Partial<SandboxRequest> = {}) {
  return createBackend(parts).factory({ ...request, ...over });
}

test("an_exec_carries_the_environment_it_was_given_and_none_of_the_gateways", async () => {
  process.env["GATEWAY_SECRET"] = "canary";
  const sandbox = await handle();
  const spec = await sandbox.buildExecSpec({ command: "env", workdir: `${root}/sub`, env: { A: "b" }, usePty: false });
  assert.deepEqual(spec.argv.slice(0, 6), [unjailed, "exec", "--client=openclaw", "--agent=main", `--workspace=${root}`, `--cwd=${root}/sub`]);
  assert.deepEqual(spec.argv.slice(6), ["--session=agent:main:main", "--env=A=b", "-c", "env"]);
  assert.ok(!JSON.stringify(spec).includes("canary"));
  const inside = await sandbox.runShellCommand({ script: "env" });
  assert.ok(!inside.stdout.toString("utf8").includes("canary"));
});

const context: FsBridgeContext = { workspaceDir: root, agentWorkspaceDir: root, containerWorkdir: root, workspaceAccess: "rw" };

test("the_turn_that_a_tool_runs_in_is_told", async () => {
  const sessions = new Sessions();
  const sandbox = await createBackend({ ...parts, sessions }).factory(request);
  assert.deepEqual(sessions.jailed("agent:main:main"), { workspace: root });
  sessions.note("agent:main:main", "run-7");
  const spec = await sandbox.buildExecSpec({ command: "true", env: {}, usePty: false });
  assert.ok(spec.argv.includes("--run=run-7"));
});

test("a_missing_program_fails_every_call", async () => {
  const locate = (): string => {
    throw new Error("not found");
  };
  const sandbox = await createBackend({ ...parts, locate }).factory(request);
  const bridge = sandbox.createFsBridge({ sandbox: context });
  await assert.rejects(sandbox.buildExecSpec({ command: "true", env: {}, usePty: false }), /not found/);
  await assert.rejects(bridge.readFile({ filePath: "a" }), /not found/);
  await assert.rejects(bridge.writeFile({ filePath: "a", data: "x" }), /not found/);
  await assert.rejects(sandbox.runShellCommand({ script: "true", allowFailure: true }), /not found/);
});

test("settings_that_would_be_ignored_are_refused", async () => {
  for (const cfg of [
    { workspaceAccess: "ro" as const, docker: {} },
    { workspaceAccess: "none" as const, docker: {} },
    { workspaceAccess: "rw" as const, docker: { binds: ["/a:/a"] } },
  ]) {
    await assert.rejects(handle({ cfg }), /supported/);
  }
});

test("a_script_gets_its_input_and_arguments_and_gives_back_output_and_code", async () => {
  const sandbox = await handle();
  const bytes = Buffer.from([0, 255, 10, 13]);
  const done = await sandbox.runShellCommand({ script: 'cat; printf %s "$1" >&2; exit 3', args: ["a b"], stdin: bytes, allowFailure: true });
  assert.deepEqual(done, { stdout: bytes, stderr: Buffer.from("a b"), code: 3 });
});

test("a_failure_that_is_not_allowed_says_what_the_script_said", async () => {
  const sandbox = await handle();
  await assert.rejects(sandbox.runShellCommand({ script: "echo why >&2; exit 4" }), { message: "why", code: 4 });
});

test("mantlets_refusal_is_a_failure_even_where_failures_are_allowed", async () => {
  const sandbox = await handle();
  await assert.rejects(sandbox.runShellCommand({ script: "exit 125", allowFailure: true }), { code: 125 });
});

test("a_killed_script_is_a_failure_even_where_failures_are_allowed", async () => {
  const sandbox = await handle();
  await assert.rejects(sandbox.runShellCommand({ script: "kill -KILL $$", allowFailure: true }), /SIGKILL/);
});

test("an_abort_ends_the_script", async () => {
  const sandbox = await handle();
  const started = Date.now();
  await assert.rejects(sandbox.runShellCommand({ script: "exec sleep 60", signal: AbortSignal.timeout(100) }));
  assert.ok(Date.now() - started < 10_000);
});

test("a_script_that_ignores_its_input_is_no_error", async () => {
  const sandbox = await handle();
  assert.equal((await sandbox.runShellCommand({ script: "true", stdin: Buffer.alloc(4 * 1024 * 1024) })).code, 0);
});

test("a_retired_workspace_runs_nothing", async () => {
  const sandbox = await handle({
    assertRuntimeCurrent: () => {
      throw new Error("retired");
    },
  });
  await assert.rejects(sandbox.buildExecSpec({ command: "true", env: {}, usePty: false }), /retired/);
  await assert.rejects(sandbox.runShellCommand({ script: "true" }), /retired/);
});

test("skills_that_cannot_be_copied_are_reported_and_commands_still_run", async () => {
  const skillsWorkspaceDir = path.join(root, "unreadable");
  mkdirSync(skillsWorkspaceDir);
  symlinkSync("/dev/null", path.join(skillsWorkspaceDir, "skills"));
  const warnings: string[] = [];
  const backend = createBackend({ ...parts, warn: (message) => warnings.push(message) });
  const sandbox = await backend.factory({ ...request, skillsWorkspaceDir });
  assert.equal((await sandbox.runShellCommand({ script: "echo ran" })).stdout.toString("utf8"), "ran\n");
  assert.equal(warnings.length, 1);
});
