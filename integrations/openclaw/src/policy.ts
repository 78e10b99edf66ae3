// The trusted tool policy: tools that run in the gateway's own process are asked about before they run. `mantlet hook
// openclaw` decides, from the same policy as the jail. No answer, a late one or one that makes no sense is a no.

import { spawn } from "node:child_process";
import type { ToolContext, ToolDecision, ToolEvent, TrustedToolPolicy } from "openclaw/plugin-sdk/plugin-entry";
import type { Sessions } from "./sessions.ts";

export const POLICY_ID = "mantlet-tools";

/** Where a session has a sandbox, these run in the jail, which decides. */
const IN_JAIL: ReadonlySet<string> = new Set(["exec", "process", "read", "write", "edit", "apply_patch", "ls"]);

/** OpenClaw waits for us without a limit of its own. */
const TIMEOUT_MS = 5_000;
const MAX_ANSWER_BYTES = 16 * 1024 * 1024;

export interface PolicyParts {
  readonly sessions: Sessions;
  /** The absolute path of `mantlet`, or an error. */
  readonly program: (workspace: string | undefined) => string;
  readonly env: () => Record<string, string>;
  readonly timeoutMs?: number;
}

export function createToolPolicy(parts: PolicyParts): TrustedToolPolicy {
  return {
    id: POLICY_ID,
    description: "Asks Mantlet about tools that run in the gateway's own process.",
    async evaluate(event, context) {
      try {
        return await decide(parts, event, context);
      } catch (error) {
        return { block: true, blockReason: `mantlet: the tool ${event.toolName} was not allowed: ${error instanceof Error ? error.message : String(error)}` };
      }
    },
  };
}

async function decide(parts: PolicyParts, event: ToolEvent, context: ToolContext): Promise<ToolDecision> {
  const runId = context.runId ?? event.runId;
  parts.sessions.note(context.sessionKey, runId);
  const jailed = parts.sessions.jailed(context.sessionKey);
  if (jailed !== undefined && runsInJail(event)) return event.toolName === "exec" ? pinned(event) : undefined;
  const question = {
    toolName: event.toolName,
    params: event.params,
    agentId: context.agentId,
    sessionKey: context.sessionKey,
    runId,
    toolCallId: context.toolCallId ?? event.toolCallId,
    ...(jailed === undefined ? {} : { workspace: jailed.workspace }),
  };
  const program = parts.program(jailed?.workspace);
  const { exit, output } = await ask([program, "hook", "openclaw"], JSON.stringify(question), parts, context.abortSignal);
  return understood(exit, output);
}

/** Not what the call asks to run elsewhere: `elevated` and `host` lead out of the sandbox, where OpenClaw allows them. */
function runsInJail(event: ToolEvent): boolean {
  if (event.toolKind !== undefined || !IN_JAIL.has(event.toolName)) return false;
  const { elevated, host } = event.params;
  return (elevated === undefined || elevated === false) && (host === undefined || host === "auto" || host === "sandbox");
}

/** Says what a call left unsaid: else the session's elevation, `tools.exec.host` or a sandbox that was switched off since
 * would decide, and the command would run outside with nobody asked. OpenClaw refuses what it cannot run in the sandbox. */
function pinned(event: ToolEvent): ToolDecision {
  const { elevated, host } = event.params;
  return elevated === false && host === "sandbox" ? undefined : { params: { ...event.params, elevated: false, host: "sandbox" } };
}

/** The one answer that is let through without change is `allow`, from a program that ended well. */
function understood(exit: number | string, output: string): ToolDecision {
  let answer: unknown;
  try {
    answer = JSON.parse(output);
  } catch {
    throw new Error(`mantlet hook ended with ${exit} and answered no JSON`);
  }
  const { decision, reason, params } = record(answer);
  if (decision === "deny") return { block: true, blockReason: typeof reason === "string" && reason !== "" ? reason : "mantlet: denied" };
  if (exit !== 0) throw new Error(`mantlet hook ended with ${exit}`);
  if (decision === "allow") return undefined;
  if (decision === "rewrite") return { params: record(params) };
  throw new Error(`mantlet hook answered with an unknown decision`);
}

function record(value: unknown): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Error("mantlet hook answered with something that is no object");
  return value as Record<string, unknown>;
}

function ask(argv: readonly string[], question: string, parts: PolicyParts, signal: AbortSignal | undefined): Promise<{ exit: number | string; output: string }> {
  const [program = "", ...args] = argv;
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: "/",
      env: parts.env(),
      stdio: ["pipe", "pipe", "ignore"],
      killSignal: "SIGKILL",
      ...(signal === undefined ? {} : { signal }),
    });
    const fail = (why: string): void => {
      clearTimeout(timer);
      child.kill("SIGKILL");
      reject(new Error(why));
    };
    const timer = setTimeout(() => fail("mantlet hook did not answer in time"), parts.timeoutMs ?? TIMEOUT_MS);
    const pieces: Buffer[] = [];
    let held = 0;
    child.stdout.on("data", (piece: Buffer) => {
      held += piece.length;
      if (held > MAX_ANSWER_BYTES) fail("mantlet hook answered without an end");
      else pieces.push(piece);
    });
    child.on("error", (error) => fail(`mantlet hook could not be started: ${error.message}`));
    child.on("close", (code, signalName) => {
      clearTimeout(timer);
      resolve({ exit: code ?? signalName ?? "an unknown signal", output: Buffer.concat(pieces).toString("utf8") });
    });
    // One that decides without reading is no error; it has decided.
    child.stdin.on("error", () => {});
    child.stdin.end(question);
  });
}
