// Which place of the workspace a path of OpenClaw's means, and what of it OpenClaw itself holds read-only. Pure but for
// the list of skill mounts. It follows no symlink and grants nothing: where a path leads is found out in the jail.

import path from "node:path";
import type { FsBridgeContext } from "openclaw/plugin-sdk/sandbox";

export interface SkillMount {
  readonly hostPath: string;
  readonly containerPath: string;
}

/** A path as OpenClaw gives it, understood. */
export interface Target {
  /** As the agent sees it: absolute. */
  readonly containerPath: string;
  /** As OpenClaw shows it. */
  readonly relativePath: string;
  /** Below the workspace; empty for the workspace itself. */
  readonly inside: string;
  readonly isWritable: boolean;
  readonly isSkill: boolean;
}

interface Mount {
  readonly hostRoot: string;
  readonly containerRoot: string;
  readonly isSkill: boolean;
}

/** Below the workspace: OpenClaw writes skills there, and obeys them. */
const SKILL_ROOTS = ["skills", ".agents/skills", ".openclaw/sandbox-skills/skills"];

export class Places {
  readonly #workspace: string;
  readonly #skillMounts: () => readonly SkillMount[];

  constructor(sandbox: FsBridgeContext, skillMounts: (sandbox: FsBridgeContext) => readonly SkillMount[]) {
    this.#workspace = path.resolve(sandbox.workspaceDir);
    this.#skillMounts = () => skillMounts(sandbox);
  }

  get workspace(): string {
    return this.#workspace;
  }

  /** The roots OpenClaw may evaluate its own path rules by. */
  mappings(): { hostRoot: string; containerRoot: string }[] {
    const roots = new Map<string, string>();
    for (const mount of this.#mounts()) roots.set(mount.containerRoot, mount.hostRoot);
    return [...roots].map(([containerRoot, hostRoot]) => ({ hostRoot, containerRoot }));
  }

  /** What a client's rule keeps from being changed where it exists, below the workspace. */
  readonly(): string[] {
    const mounted = this.#mounts().filter((mount) => mount.isSkill);
    return [...new Set([...SKILL_ROOTS, ...mounted.map((mount) => path.relative(this.#workspace, mount.containerRoot))])];
  }

  /** Understands a path; throws when it names nothing that is shown. */
  resolve(request: { readonly filePath: string; readonly cwd?: string | undefined }): Target {
    const input = request.filePath.trim();
    if (input.includes("\0")) throw new Error("Sandbox path contains a NUL byte");
    const mounts = this.#mounts();
    const absolute = path.isAbsolute(input) ? path.normalize(input) : path.resolve(request.cwd ?? this.#workspace, input);
    const shown = nearest(mounts, absolute, "containerRoot");
    if (shown !== undefined) return this.#target(mounts, absolute);
    const host = nearest(mounts, absolute, "hostRoot");
    if (host !== undefined) return this.#target(mounts, path.join(host.containerRoot, path.relative(host.hostRoot, absolute)));
    throw new Error(`Sandbox path escapes allowed mounts; cannot access: ${request.filePath}`);
  }

  /** A real path inside the workspace's real path, as the agent sees it. */
  shown(root: string, real: string): string {
    return path.join(this.#workspace, path.relative(root, real));
  }

  /** Whether a path as the agent sees it lies among OpenClaw's skills. */
  isSkill(containerPath: string): boolean {
    return nearest(this.#mounts(), containerPath, "containerRoot")?.isSkill ?? false;
  }

  #target(mounts: readonly Mount[], containerPath: string): Target {
    const plain = containerPath.length > 1 ? containerPath.replace(/\/+$/, "") : containerPath;
    const inside = path.relative(this.#workspace, plain);
    if (inside === ".." || inside.startsWith("../") || path.isAbsolute(inside)) {
      throw new Error(`Sandbox path escapes allowed mounts; cannot access: ${containerPath}`);
    }
    const isSkill = nearest(mounts, plain, "containerRoot")?.isSkill ?? false;
    return { containerPath: plain, relativePath: inside, inside, isWritable: !isSkill, isSkill };
  }

  #mounts(): Mount[] {
    const skills = this.#skillMounts().map(({ hostPath, containerPath }) => ({ hostRoot: path.resolve(hostPath), containerRoot: path.normalize(containerPath), isSkill: true }));
    return [...skills.filter((mount) => isInside(this.#workspace, mount.containerRoot)), { hostRoot: this.#workspace, containerRoot: this.#workspace, isSkill: false }];
  }
}

/** The innermost mount that a path lies in. */
function nearest(mounts: readonly Mount[], file: string, by: "hostRoot" | "containerRoot"): Mount | undefined {
  return mounts.filter((mount) => isInside(mount[by], file)).toSorted((a, b) => b[by].length - a[by].length)[0];
}

function isInside(directory: string, file: string): boolean {
  return file === directory || file.startsWith(directory.endsWith("/") ? directory : `${directory}/`);
}
