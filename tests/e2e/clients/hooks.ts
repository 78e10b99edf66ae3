// The hook of each client at the strongest level that it has, and what can become of a hook.

import { readFileSync, rmSync } from "node:fs";
import path from "node:path";
import type { Cell } from "./cell.ts";

/** What stands in the place of `mantlet`, in a shell: $mantlet is the true one. */
const PROGRAMS = {
  sound: 'exec "$mantlet" "$@"',
  user: 'exec "$mantlet" "$@"',
  failing: "exit 1",
  killed: "kill -KILL $$",
  hanging: "exec sleep 600",
  truncated: '"$mantlet" "$@" | head -c 10',
  silent: "exit 0",
  removed: "",
} as const;
/** The state of a hook; `user` is a sound one in the user's own settings. */
export type Hook = keyof typeof PROGRAMS;

/** Seconds after which a client gives up on a hook: soon on one that hangs, late on one that a busy machine slows. */
const patience = (state: Hook): number => (state === "hanging" ? 1 : 30);

/** Files with which a repository switches hooks off, for every client that looks into the repository. */
export function plantOff(cell: Cell): void {
  cell.write("project/.claude/settings.json", { disableAllHooks: true });
  cell.write("project/.claude/settings.local.json", { disableAllHooks: true });
  cell.write("project/.codex/config.toml", "[features]\nhooks = false\n");
  cell.write("project/.gemini/settings.json", { hooksConfig: { enabled: false } });
  cell.write("project/.github/copilot/settings.json", { disableAllHooks: true });
  cell.write("project/opencode.json", { plugin: [] });
}

/** Puts the hook before every tool of the client's, in root's configuration where the client reads any. */
export function wireHook(cell: Cell, client: string, state: Hook): void {
  const program = path.join(cell.hooks, "program");
  cell.writeAt(program, `#!/bin/sh\nmantlet='${path.join(cell.place.bin, "mantlet")}'\n${PROGRAMS[state]}\n`, 0o755);
  if (state === "removed") rmSync(program);
  const hook = ["hook", client];
  const argv = [program, ...hook];
  const line = argv.map((part) => `'${part}'`).join(" ");
  switch (client) {
    case "claude": {
      const hooks = { PreToolUse: [{ matcher: "*", hooks: [{ type: "command", command: program, args: hook, timeout: patience(state), onFailure: "block" }] }] };
      if (state === "user") cell.write(".claude/settings.json", { hooks });
      else cell.writeEtc("claude-code/managed-settings.d/mantlet.json", { allowManagedHooksOnly: true, hooks });
      break;
    }
    case "codex":
      cell.writeEtc(
        "codex/requirements.toml",
        [
          "allow_managed_hooks_only = true",
          "[features]",
          "hooks = true",
          "[hooks]",
          'managed_dir = "/etc/codex/hooks"',
          "[[hooks.PreToolUse]]",
          'matcher = "*"',
          "[[hooks.PreToolUse.hooks]]",
          'type = "command"',
          `command = ${JSON.stringify(line)}`,
          `timeout = ${patience(state)}`,
          "",
        ].join("\n"),
      );
      cell.writeEtc("codex/hooks/.keep", "");
      break;
    case "gemini":
      cell.writeEtc("gemini-cli/settings.json", {
        hooksConfig: { enabled: true },
        hooks: { BeforeTool: [{ matcher: "*", hooks: [{ name: "mantlet", type: "command", command: line, timeout: patience(state) * 1000 }] }] },
      });
      break;
    case "opencode":
      cell.writeEtc("opencode/mantlet.js", readFileSync(path.join(cell.place.scratch, "opencode/mantlet.js"), "utf8"));
      cell.writeEtc("opencode/opencode.json", { plugin: [["file:///etc/opencode/mantlet.js", { program, timeoutMs: patience(state) * 1000 }]] });
      break;
    case "copilot":
      cell.write(".copilot/hooks/mantlet.json", { version: 1, hooks: { preToolUse: [{ type: "command", bash: line, timeoutSec: patience(state) }] } });
      break;
    default:
      throw new Error(`no hook for ${client}`);
  }
}
