// Which place of the workspace a path means. Where it leads is not decided here.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Places } from "../src/places.ts";

const sandbox = { workspaceDir: "/home/u/.openclaw/workspace", agentWorkspaceDir: "/home/u/.openclaw/workspace", containerWorkdir: "/home/u/.openclaw/workspace", workspaceAccess: "rw" } as const;
const ws = sandbox.workspaceDir;
const places = new Places(sandbox, () => [
  { hostPath: `${ws}/skills`, containerPath: `${ws}/skills` },
  { hostPath: "/home/u/.openclaw/made/skills", containerPath: `${ws}/.openclaw/sandbox-skills/skills` },
  { hostPath: "/elsewhere", containerPath: "/attachments" },
]);

test("paths_in_the_workspace_are_understood", () => {
  for (const [filePath, cwd, inside] of [
    ["a", undefined, "a"],
    [" a/b ", undefined, "a/b"],
    ["./a/../b//c/", undefined, "b/c"],
    [`${ws}/a`, "/tmp", "a"],
    ["a", `${ws}/sub`, "sub/a"],
    ["../a", `${ws}/sub`, "a"],
    [".", undefined, ""],
    [ws, undefined, ""],
    ["~/.ssh", undefined, "~/.ssh"],
    ["..a/b", undefined, "..a/b"],
  ] as const) {
    assert.equal(places.resolve({ filePath, cwd }).inside, inside, filePath);
  }
});

test("paths_elsewhere_are_refused", () => {
  for (const filePath of ["..", "../x", "a/../../x", "/etc/passwd", `${ws}x`, `${ws}/../.env`, "/", "/attachments/x", "/elsewhere/x", "/proc/self/root/etc/passwd"]) {
    assert.throws(() => places.resolve({ filePath }), /escapes allowed mounts/, filePath);
  }
  assert.throws(() => places.resolve({ filePath: "a\0b" }), /NUL/);
});

test("skills_are_read_only_and_found_by_the_gateways_own_path", () => {
  assert.deepEqual(places.resolve({ filePath: "skills/x" }), { containerPath: `${ws}/skills/x`, relativePath: "skills/x", inside: "skills/x", isWritable: false, isSkill: true });
  assert.equal(places.resolve({ filePath: "/home/u/.openclaw/made/skills/x/SKILL.md" }).inside, ".openclaw/sandbox-skills/skills/x/SKILL.md");
  assert.ok(places.resolve({ filePath: "skillset" }).isWritable);
  assert.deepEqual(places.readonly(), ["skills", ".agents/skills", ".openclaw/sandbox-skills/skills"]);
});
