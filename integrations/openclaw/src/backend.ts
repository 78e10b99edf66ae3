// The sandbox backend: turns OpenClaw's requests into calls of mantlet-run. A jail is made for one
// command and is gone with it; only one in which nothing can be changed is kept for the next read.

import { createHash } from "node:crypto";
import path from "node:path";
import { realpathSync } from "node:fs";
import type { FsBridgeContext, SandboxBackend, SandboxHandle, SandboxRequest, ShellRequest, ShellResult } from "openclaw/plugin-sdk/sandbox";
import { agentIdOf } from "./agent.ts";
import { createBridge } from "./bridge.ts";
import { execArgv, filesArgv, scriptArgv, type Place } from "./command.ts";
import { launcherEnvironment } from "./environment.ts";
import { Files } from "./files.ts";
import type { SkillMount } from "./places.ts";
import { run } from "./run.ts";
import type { Sessions } from "./sessions.ts";
import { showSkills } from "./skills.ts";

/** The name in `agents.defaults.sandbox.backend`. */
export const BACKEND_ID = "mantlet";

const LABEL = "mantlet-run";

export interface BackendParts {
  /** The absolute path of mantlet-run, or an error; asked anew for every call. */
  readonly locate: (workspace: string) => string;
  readonly warn: (message: string) => void;
  readonly sessions: Sessions;
  /** OpenClaw's own list of the skills that it shows read-only. */
  readonly skillMounts: (sandbox: FsBridgeContext) => readonly SkillMount[];
}

/** Everything OpenClaw needs to know about the backend. */
export function createBackend(parts: BackendParts): SandboxBackend {
  return {
    factory: async (request) => createHandle(parts, request),
    manager: {
      // No container outlives a call: there is nothing to start, to find stale or to remove.
      describeRuntime: async () => ({ running: true, actualConfigLabel: LABEL, configLabelMatch: true }),
      removeRuntime: async () => {},
    },
    resolveWorkdir: ({ workspaceDir }) => path.resolve(workspaceDir),
  };
}

function createHandle(parts: BackendParts, request: SandboxRequest): SandboxHandle {
  refuseUnsupported(request);
  const agent = agentIdOf(request);
  const workspace = path.resolve(request.workspaceDir);
  const runtimeId = `mantlet-${agent}-${createHash("sha256").update(request.scopeKey).digest("hex").slice(0, 12)}`;
  const place = (): Place => ({ program: parts.locate(workspace), agent, workspace, session: request.sessionKey, run: parts.sessions.run(request.sessionKey) });
  const env = () => launcherEnvironment(process.env);

  const files = new Files({
    argv: (access, words) => {
      request.assertRuntimeCurrent?.();
      return filesArgv(place(), access, words);
    },
    env,
    root: () => realpathSync(workspace),
  });

  const runInJail = async (shell: ShellRequest): Promise<ShellResult> => {
    request.assertRuntimeCurrent?.();
    return run({
      argv: scriptArgv(place(), shell.script, shell.args ?? []),
      env: env(),
      stdin: shell.stdin,
      allowFailure: shell.allowFailure ?? false,
      signal: shell.signal,
    });
  };

  let skillsShown: Promise<void> | undefined;
  // Once per handle. A failure costs the skills, not the command: nothing of the jail depends on them.
  const ready = (): Promise<void> =>
    (skillsShown ??= showSkills(request.skillsWorkspaceDir, files).catch((error: unknown) => {
      parts.warn(`mantlet: the skills of agent ${agent} could not be copied into its workspace: ${String(error)}`);
    }));

  const runShellCommand = async (shell: ShellRequest): Promise<ShellResult> => {
    await ready();
    return runInJail(shell);
  };

  parts.sessions.enter(request.sessionKey, { workspace });
  return {
    id: BACKEND_ID,
    runtimeId,
    runtimeLabel: runtimeId,
    configLabel: LABEL,
    configLabelKind: "Program",
    workdir: workspace,
    env: { ...request.cfg.docker.env },
    runShellCommand,
    async buildExecSpec({ command, workdir, env: asked, usePty }) {
      await ready();
      request.assertRuntimeCurrent?.();
      return {
        argv: execArgv(place(), { command, cwd: workdir ?? workspace, env: asked, terminal: usePty }),
        env: env(),
        cwd: "/",
        stdinMode: usePty ? "pipe-open" : "pipe-closed",
        ...(request.assertRuntimeCurrent === undefined ? {} : { assertCurrent: request.assertRuntimeCurrent }),
      };
    },
    createFsBridge: ({ sandbox }) => createBridge({ sandbox, files, skillMounts: parts.skillMounts, ready }),
  };
}

/** Settings that this backend would have to ignore: silence would promise what is not enforced. */
function refuseUnsupported(request: SandboxRequest): void {
  const { workspaceAccess, docker } = request.cfg;
  if (workspaceAccess !== "rw") {
    throw new Error(`mantlet: sandbox.workspaceAccess is "${workspaceAccess}"; only "rw" is supported. hint: what an agent may write is said in mantlet.toml`);
  }
  if ((docker.binds?.length ?? 0) > 0) {
    throw new Error("mantlet: sandbox.docker.binds is not supported. hint: name further paths in mantlet.toml, [agent.NAME.files]");
  }
}
