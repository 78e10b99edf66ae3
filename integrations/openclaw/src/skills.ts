// OpenClaw names managed and bundled skills to the model at a path inside the workspace and expects
// the sandbox to show them there. They are copied through the jail: a copy made out here would follow
// whatever symlinks the agent has planted in its workspace.

import { readdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import path from "node:path";
import type { Files } from "./files.ts";

/** Where OpenClaw's prompt says the skills are, below the workspace. */
const SHOWN_AT = ".openclaw/sandbox-skills/skills";

const MAX_BYTES = 64 * 1024 * 1024;

/** Replaces the workspace's copy of the skills that OpenClaw has prepared in `skillsWorkspaceDir`. */
export async function showSkills(skillsWorkspaceDir: string | undefined, files: Files): Promise<void> {
  if (skillsWorkspaceDir === undefined) return;
  const source = path.join(skillsWorkspaceDir, "skills");
  if (statSync(source, { throwIfNoEntry: false }) === undefined) return;
  const found = filesIn(realpathSync(source));
  await files.batch(["skills", SHOWN_AT], async (ask) => {
    await ask({ op: "remove", path: SHOWN_AT, recursive: true, force: true });
    await ask({ op: "mkdir", path: SHOWN_AT });
    for (const { name, mode, content } of found) {
      // They are copied anew for each turn: no need to wait for the disk.
      await ask({ op: "write", path: `${SHOWN_AT}/${name}`, mkdir: true, mode, unsynced: true }, content);
    }
  });
}

interface Found {
  readonly name: string;
  readonly mode: number;
  readonly content: Buffer;
}

/** Every regular file below a directory. A symlink counts as what it leads to, if that is in there too. */
function filesIn(top: string): Found[] {
  const found: Found[] = [];
  let held = 0;
  for (const entry of readdirSync(top, { recursive: true, withFileTypes: true })) {
    const file = path.join(entry.parentPath, entry.name);
    if (!entry.isFile() && !entry.isSymbolicLink()) continue;
    const real = realpathSync(file);
    const stat = statSync(real);
    if (!stat.isFile() || !real.startsWith(`${top}/`)) continue;
    held += stat.size;
    if (held > MAX_BYTES) throw new Error("they are larger than 64 MiB");
    found.push({ name: path.relative(top, file), mode: stat.mode & 0o777, content: readFileSync(real) });
  }
  return found;
}
