// What the plugin makes of every answer and every failure. The hook is a script that a test writes.

import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, test } from "node:test";
import plugin from "../mantlet.js";

const root = mkdtempSync(path.join(tmpdir(), "mantlet-opencode-"));
after(() => rmSync(root, { recursive: true }));
let count = 0;

/** A hook that takes its event first, as ours does, and then does as the text says. */
function program(text, take = "cat >/dev/null") {
  const file = path.join(root, `hook-${(count += 1)}`);
  writeFileSync(file, `#!/bin/sh\n${take}\n${text}\n`);
  chmodSync(file, 0o755);
  return file;
}

async function hooks(options) {
  return plugin.server({ directory: "/ws" }, options);
}

async function before(options, args = { command: "id", timeout: 5 }) {
  const own = await hooks(options);
  const output = { args };
  await own["tool.execute.before"]({ tool: "bash", sessionID: "s", callID: "c" }, output);
  return output.args;
}

test("an_allowed_tool_keeps_its_arguments", async () => {
  assert.deepEqual(await before({ program: program(`echo '{"decision":"allow"}'`) }), { command: "id", timeout: 5 });
});

test("a_rewrite_reaches_the_object_that_opencode_goes_on_with", async () => {
  const args = { command: "id", timeout: 5 };
  const same = await before({ program: program(`echo '{"decision":"rewrite","args":{"command":"jailed"}}'`) }, args);
  assert.equal(same, args);
  assert.deepEqual(args, { command: "jailed" });
});

test("the_hook_gets_the_whole_event_and_the_words_of_the_options", async () => {
  const seen = path.join(root, "seen");
  const words = path.join(root, "words");
  await before({ program: program(`cat >'${seen}'; echo "$@" >'${words}'; echo '{"decision":"allow"}'`, ""), arguments: ["--policy", "/p"] });
  const event = { event: "before", tool: "bash", args: { command: "id", timeout: 5 }, sessionID: "s", callID: "c", directory: "/ws" };
  assert.deepEqual(JSON.parse(readFileSync(seen, "utf8")), event);
  assert.equal(readFileSync(words, "utf8").trim(), "hook opencode --policy /p");
});

test("a_denial_throws_with_its_reason", async () => {
  await assert.rejects(before({ program: program(`echo '{"decision":"deny","reason":"mantlet: no (rule)"}'`) }), /mantlet: no \(rule\)/);
});

const failures = {
  a_missing_program: { program: path.join(root, "absent") },
  a_relative_program: { program: "mantlet" },
  a_directory: { program: root },
  exit_1: { program: program(`echo '{"decision":"allow"}'; exit 1`) },
  exit_2_with_a_reason: { program: program(`echo because >&2; exit 2`) },
  killed: { program: program(`echo '{"decision":"allow"}'; kill -9 $$`) },
  a_hang: { program: program(`exec sleep 60`), timeoutMs: 200 },
  silence: { program: program(`true`) },
  plain_text: { program: program(`echo allow`) },
  half_an_answer: { program: program(`printf '{"decision":"all'`) },
  two_answers: { program: program(`echo '{"decision":"allow"}'; echo '{"decision":"allow"}'`) },
  an_unknown_decision: { program: program(`echo '{"decision":"maybe"}'`) },
  no_decision: { program: program(`echo '{}'`) },
  a_list: { program: program(`echo '[{"decision":"allow"}]'`) },
  null_answer: { program: program(`echo null`) },
  a_rewrite_without_arguments: { program: program(`echo '{"decision":"rewrite"}'`) },
  a_rewrite_with_a_list: { program: program(`echo '{"decision":"rewrite","args":["x"]}'`) },
  an_endless_answer: { program: program(`yes '{"decision":"allow"}'`) },
  no_interpreter: { program: program(`true`).replace(/$/, "-x") },
};
for (const [name, options] of Object.entries(failures)) {
  test(`${name}_stops_the_tool`, async () => {
    const args = { command: "id" };
    await assert.rejects(before(options, args), Error);
    assert.deepEqual(args, { command: "id" });
  });
}

test("the_start_never_throws", async () => {
  for (const options of [undefined, {}, { program: 7 }, { program: path.join(root, "absent") }]) {
    assert.equal(typeof (await hooks(options))["tool.execute.before"], "function");
  }
});

test("after_a_tool_the_hook_is_told_with_its_arguments", async () => {
  const seen = path.join(root, "after");
  const own = await hooks({ program: program(`cat >'${seen}'; echo '{"decision":"allow"}'`, "") });
  await own["tool.execute.after"]({ tool: "bash", sessionID: "s", callID: "c", args: { command: "x" } }, { output: "" });
  assert.ok(existsSync(seen));
  const event = JSON.parse(readFileSync(seen, "utf8"));
  assert.deepEqual([event.event, event.args], ["after", { command: "x" }]);
});
