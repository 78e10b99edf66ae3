// OpenClaw names managed and bundled skills to the model at a path inside the workspace and expects
// the sandbox to show them there. They are copied by a command in the jail: a copy made out here
// would follow whatever symlinks the agent has planted in its workspace.

import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import path from "node:path";
import type { ShellRequest, ShellResult } from "openclaw/plugin-sdk/sandbox";

/** Where OpenClaw's prompt says the skills are, below the workspace. */
const SHOWN_AT = ".openclaw/sandbox-skills/skills";

const UNPACK = 'set -e; rm -rf -- "$1"; mkdir -p -- "$1"; exec tar -xf - -C "$1"';

const MAX_BYTES = 64 * 1024 * 1024;

/** Replaces the workspace's copy of the skills that OpenClaw has prepared in `skillsWorkspaceDir`. */
export async function showSkills(skillsWorkspaceDir: string | undefined, workspace: string, runInJail: (request: ShellRequest) => Promise<ShellResult>): Promise<void> {
  if (skillsWorkspaceDir === undefined) return;
  const source = path.join(skillsWorkspaceDir, "skills");
  if (!existsSync(source)) return;
  await runInJail({ script: UNPACK, args: [path.join(workspace, SHOWN_AT)], stdin: await pack(source) });
}

function pack(directory: string): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    execFile("/usr/bin/tar", ["-C", directory, "-cf", "-", "."], { encoding: "buffer", maxBuffer: MAX_BYTES, env: {} }, (error, stdout) => {
      if (error === null) resolve(stdout);
      else reject(error);
    });
  });
}
