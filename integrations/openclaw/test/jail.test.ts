// The jail's other side in the hands of programs that answer as they like.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, test } from "node:test";
import { Files } from "../src/files.ts";
import { FileError, FileJail, JailGone, type FileRequest } from "../src/jail.ts";

const root = mkdtempSync(path.join(tmpdir(), "mantlet-jail-"));
after(() => rmSync(root, { recursive: true }));

const request: FileRequest = { op: "read", root, path: "a" };

/** A program that runs this text with `frame(kind, text)` at hand. */
function program(text: string): string[] {
  const frame = 'const frame = (kind, text) => { const head = Buffer.alloc(5); head.write(kind); head.writeUInt32LE(Buffer.byteLength(text), 1); process.stdout.write(Buffer.concat([head, Buffer.from(text)])); };';
  return [process.execPath, "-e", `${frame}\n${text}`];
}

const onRequest = (text: string): string => `process.stdin.on("data", () => { ${text} }); process.stdin.on("end", () => process.exit(0));`;

test("pieces_and_an_answer_are_put_together_however_they_arrive", async () => {
  const jail = new FileJail(program(onRequest('frame("D", "one "); setTimeout(() => { frame("D", "two"); frame("R", \'{"ok":{"bytes":7}}\'); }, 20);')), {});
  assert.deepEqual(await jail.ask(request), { told: { bytes: 7 }, data: Buffer.from("one two") });
  await jail.close();
});

test("questions_wait_for_one_another", async () => {
  let text = "let count = 0; let rest = 0;";
  text += onRequest('count += 1; const n = count; setTimeout(() => frame("R", JSON.stringify({ ok: n })), 10);');
  const jail = new FileJail(program(text), {});
  const answers = await Promise.all([jail.ask(request), jail.ask(request), jail.ask(request)]);
  assert.deepEqual(answers.map((answer) => answer.told), [1, 2, 3]);
  await jail.close();
});

test("a_refusal_is_an_error_with_its_code_and_the_next_question_is_answered", async () => {
  const jail = new FileJail(program(onRequest('frame("R", \'{"error":{"code":"ENOENT","message":"no"}}\');')), {});
  for (let i = 0; i < 2; i += 1) await assert.rejects(jail.ask(request), (error) => error instanceof FileError && error.code === "ENOENT");
  await jail.close();
});

test("nonsense_and_a_death_are_no_answer", async () => {
  for (const text of [
    onRequest('frame("X", "");'),
    onRequest('frame("R", "no json");'),
    onRequest('frame("R", "{}");'),
    onRequest('process.stdout.write(Buffer.from([68, 255, 255, 255, 255]));'),
    onRequest('frame("D", "half of it"); process.exit(0);'),
    'process.stderr.write("mantlet: refused\\nhint: why\\n"); process.exitCode = 125;',
  ]) {
    const jail = new FileJail(program(text), {});
    await assert.rejects(jail.ask(request), JailGone, text);
    assert.ok(jail.isGone);
    await assert.rejects(jail.ask(request), JailGone, text);
  }
  await assert.rejects(new FileJail(["/nonexistent/mantlet-run"], {}).ask(request), /nothing was run/);
});

test("an_abort_ends_the_jail", async () => {
  const jail = new FileJail(program(onRequest("")), {});
  await assert.rejects(jail.ask(request, undefined, AbortSignal.timeout(50)), { name: "TimeoutError" });
  await assert.rejects(jail.close(), JailGone);
});

test("a_change_fails_when_the_jail_does_not_end_well_or_the_review_undoes_it", async () => {
  const files = (text: string) => new Files({ argv: () => program(text), env: () => ({}), root: () => root });
  const answer = 'process.stdin.on("data", () => frame("R", \'{"ok":{}}\'));';
  const ends = (code: number, said: string) => `${answer} process.stdin.on("end", () => { process.stderr.write(${JSON.stringify(said)}); process.exitCode = ${code}; });`;
  await files(ends(0, "")).change({ op: "mkdir", path: "a" });
  await assert.rejects(files(ends(125, "mantlet: the ledger could not be written\n")).change({ op: "mkdir", path: "a" }), /ledger/);
  const review = "mantlet: review: a/b (rule): it would run; quarantined to /q\n";
  await assert.rejects(files(ends(0, review)).change({ op: "mkdir", path: "a/b/c" }), /undone/);
  await files(ends(0, review)).change({ op: "mkdir", path: "a/other" });
});

test("a_jail_for_reading_is_kept_until_something_it_was_made_from_changes", async () => {
  const text = onRequest('frame("R", JSON.stringify({ ok: process.pid }));');
  let run = "one";
  const config = path.join(root, "config");
  const files = new Files({ argv: () => program(`/* ${run} */ ${text}`), env: () => ({ XDG_CONFIG_HOME: config }), root: () => root });
  const ask = async () => (await files.read({ op: "read", path: "a" })).told;
  const first = await ask();
  assert.equal(await ask(), first);
  const { mkdirSync, writeFileSync } = await import("node:fs");
  mkdirSync(path.join(config, "mantlet"), { recursive: true });
  writeFileSync(path.join(config, "mantlet/mantlet.toml"), "version = 1\n");
  const second = await ask();
  assert.notEqual(second, first);
  assert.equal(await ask(), second);
  process.kill(second as number, "SIGKILL");
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.notEqual(await ask(), second);
  run = "two";
});

test("a_jail_for_reading_is_not_kept_for_ever_by_being_asked", async () => {
  const text = onRequest('frame("R", JSON.stringify({ ok: process.pid }));');
  const files = new Files({ argv: () => program(text), env: () => ({}), root: () => root, ageMs: 300 });
  const seen = new Set<unknown>();
  for (const end = Date.now() + 1_000; Date.now() < end; ) seen.add((await files.read({ op: "read", path: "a" })).told);
  assert.ok(seen.size > 1 && seen.size < 20, String(seen.size));
});

test("what_may_not_be_made_is_not_served_by_a_jail_that_was_kept", async () => {
  let missing = false;
  const files = new Files({
    argv: () => {
      if (missing) throw new Error("not found; nothing was run");
      return program(onRequest('frame("R", \'{"ok":1}\');'));
    },
    env: () => ({}),
    root: () => root,
  });
  await files.read({ op: "read", path: "a" });
  missing = true;
  await assert.rejects(files.read({ op: "read", path: "a" }), /nothing was run/);
});
