// The tool policy with programs in place of `mantlet hook`: what is asked, and that only a whole yes is one.

import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, test } from "node:test";
import type { ToolEvent } from "openclaw/plugin-sdk/plugin-entry";
import { createToolPolicy } from "../src/policy.ts";
import { Sessions } from "../src/sessions.ts";

const root = mkdtempSync(path.join(tmpdir(), "mantlet-policy-"));
after(() => rmSync(root, { recursive: true }));
const asked = path.join(root, "asked");

function hook(script: string): string {
  const program = path.join(root, "mantlet");
  writeFileSync(program, `#!/bin/sh\ncat > ${asked}\necho "$@" >> ${asked}\n${script}\n`);
  chmodSync(program, 0o755);
  return program;
}

const sessions = new Sessions();
sessions.enter("agent:main:main", { workspace: "/ws" });
const context = { agentId: "main", sessionKey: "agent:main:main", runId: "r", toolCallId: "c" };

function evaluate(script: string, event: Partial<ToolEvent> = {}, over: Partial<typeof context> = {}) {
  const program = hook(script);
  rmSync(asked, { force: true });
  const policy = createToolPolicy({ sessions, program: () => program, env: () => ({}), timeoutMs: 500 });
  return policy.evaluate({ toolName: "web_fetch", params: { url: "u" }, ...event }, { ...context, ...over });
}

test("a_tool_of_the_gateway_is_asked_about_with_all_that_is_known", async () => {
  assert.equal(await evaluate(`echo '{"decision":"allow"}'`), undefined);
  const [question, args] = readFileSync(asked, "utf8").split("}hook");
  assert.equal(args, " openclaw\n");
  assert.deepEqual(JSON.parse(`${question}}`), {
    toolName: "web_fetch",
    params: { url: "u" },
    agentId: "main",
    sessionKey: "agent:main:main",
    runId: "r",
    toolCallId: "c",
    workspace: "/ws",
  });
});

test("a_denial_and_a_rewriting_are_passed_on", async () => {
  const denied = { block: true, blockReason: "by rule 7. hint: mantlet allow" };
  for (const exit of [0, 2]) assert.deepEqual(await evaluate(`echo '{"decision":"deny","reason":"by rule 7. hint: mantlet allow"}'; exit ${exit}`), denied);
  assert.deepEqual(await evaluate(`echo '{"decision":"rewrite","params":{"a":1}}'`), { params: { a: 1 } });
});

test("everything_but_a_whole_answer_in_time_is_a_no", async () => {
  for (const script of [
    "",
    "exit 1",
    "kill -KILL $$",
    "sleep 5",
    "echo no json",
    `echo '{"decision":"allow"'`,
    `echo '{"decision":"allow"}{"decision":"allow"}'`,
    `echo '{"decision":"allow"}'; exit 1`,
    `echo '{"decision":"allow"}'; sleep 5`,
    `echo '{"decision":"rewrite","params":{}}'; exit 3`,
    `echo '{"decision":"rewrite"}'`,
    `echo '{"decision":"rewrite","params":[]}'`,
    `echo '{"decision":"ALLOW"}'`,
    `echo '{"allow":true}'`,
    "echo null",
    `echo '["allow"]'`,
    "exec cat /dev/zero",
  ]) {
    const answer = await evaluate(script);
    assert.ok(answer !== undefined && "block" in answer && answer.block, script);
  }
  const policy = createToolPolicy({ sessions, program: () => path.join(root, "absent"), env: () => ({}) });
  assert.ok("block" in ((await policy.evaluate({ toolName: "x", params: {} }, context)) ?? {}));
});

test("exec_and_file_tools_are_left_to_the_jail_only_where_there_is_one", async () => {
  const no = `echo '{"decision":"deny","reason":"no"}'`;
  for (const toolName of ["process", "read", "write", "edit", "apply_patch", "ls"]) {
    assert.equal(await evaluate(no, { toolName, params: {} }), undefined, toolName);
    assert.ok(!existsSync(asked), toolName);
    assert.ok(await evaluate(no, { toolName, params: {} }, { sessionKey: "agent:main:other" }), toolName);
  }
  for (const params of [{ elevated: true }, { host: "gateway" }, { host: "node" }, { elevated: "full" }]) {
    assert.ok(await evaluate(no, { toolName: "exec", params }), JSON.stringify(params));
  }
  assert.ok(await evaluate(no, { toolName: "exec", params: {}, toolKind: "code_mode_exec" }));
  assert.ok(await evaluate(no, { toolName: "exec", params: {} }, { sessionKey: "agent:main:other" }));
});

test("a_command_that_goes_to_the_jail_unasked_can_run_nowhere_else", async () => {
  const no = `echo '{"decision":"deny","reason":"no"}'`;
  const inJail = { command: "id", elevated: false, host: "sandbox" };
  for (const params of [{}, { host: "auto" }, { host: "sandbox" }, { elevated: false }]) {
    assert.deepEqual(await evaluate(no, { toolName: "exec", params: { command: "id", ...params } }), { params: inJail }, JSON.stringify(params));
    assert.ok(!existsSync(asked));
  }
  assert.equal(await evaluate(no, { toolName: "exec", params: inJail }), undefined);
});
