// One gateway, and the turns that nobody types: an ordinary one, a subagent's, a cron job's and a heartbeat's. Each uses
// every tool inside the workspace and outside it. `mantlet hook` is asked about the tools of the gateway's own process.

import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { check } from "../model/check.ts";
import type { ScriptedModel, Prepared } from "../model/model.ts";
import type { Home, Setup } from "./home.ts";
import { everyTool, type Step } from "./turns.ts";

const PORT = 18_789;

interface Played {
  readonly tag: string;
  readonly steps: readonly Step[];
  readonly script: Prepared;
}

export async function playGateway(home: Home, model: ScriptedModel, nonce: string, setup: Setup): Promise<void> {
  const started = Date.now();
  const asked = standIn(path.join(path.dirname(setup.mantletRun), "mantlet"), home.directory);
  const prepare = (tag: string, steps: readonly Step[]): Played => ({ tag, steps, script: model.prepare(`${tag}-${nonce}`, steps.map((step) => step.call)) });
  const subagent = prepare("subagent", everyTool(home, "subagent"));
  const heartbeat = prepare("heartbeat", everyTool(home, "heartbeat"));
  const cron = prepare("cron", everyTool(home, "cron"));
  const ordinary = prepare("ordinary", [
    { call: { tool: "write", args: { path: "MEMORY.md", content: `remember: ${nonce}\n` } }, claims: {} },
    ...everyTool(home, "ordinary"),
    // Last: what a subagent reports interrupts the turn that started it.
    { call: { tool: "session_status", args: {} }, claims: { "and denied where it says so, with its reason": (result) => result.includes("denied by the stand-in") } },
    { call: { tool: "sessions_spawn", args: { task: subagent.script.message, label: "sub" } }, claims: { "a tool of the gateway is allowed where the hook says so": (result) => result.includes("accepted") } },
  ]);
  const later = prepare("later", [{ call: { tool: "read", args: { path: "MEMORY.md" } }, claims: { "memory is read where it is": (result) => result.includes(nonce) } }]);
  home.configure({ ...setup, more: {
    agents: { heartbeat: { every: "20s", target: "none", prompt: heartbeat.script.message, isolatedSession: true } },
    gateway: { port: PORT, bind: "loopback" },
  } });

  const gateway = home.start(["gateway", "run", "--port", String(PORT)]);
  let log = "";
  gateway.stdout?.on("data", (chunk: Buffer) => (log += chunk.toString("utf8")));
  gateway.stderr?.on("data", (chunk: Buffer) => (log += chunk.toString("utf8")));
  const gone = new Promise((ended) => gateway.once("close", ended));
  try {
    await until(async () => (await fetch(`http://127.0.0.1:${PORT}/healthz`).catch(() => undefined))?.ok === true, 60_000);
    const [turn, added] = await Promise.all([
      home.run(["agent", "--session-id", `ordinary-${nonce}`, "--message", ordinary.script.message, "--json", "--timeout", "120"]),
      home.run(["cron", "add", "--name", "now", "--at", "25s", "--session", "isolated", "--message", cron.script.message, "--no-deliver", "--json"]),
    ]);
    check("a cron job is accepted", added.code === 0, added.output);
    for (const played of [ordinary, subagent, cron, heartbeat]) {
      const finished = await until(() => played.script.results.length >= played.steps.length, 60_000);
      check(`the ${played.tag} turn uses every tool`, finished, `${played.script.results.length} of ${played.steps.length}; ${turn.output.slice(-500)}; ${log.slice(-1000)}`);
      judge(played);
    }
    await home.run(["agent", "--session-id", `later-${nonce}`, "--message", later.script.message, "--json", "--timeout", "60"]);
    judge(later);
    check("memory is in the prompt of a later turn", later.script.bodies.some((body) => body.includes(`remember: ${nonce}`)), later.script.bodies[0] ?? "(no request)");
  } finally {
    gateway.kill("SIGTERM");
    await gone;
  }
  told(home, asked);
  console.log(`one gateway, four kinds of turns (${((Date.now() - started) / 1000).toFixed(1)} s)`);
}

function judge({ steps, script }: Played): void {
  for (const [index, step] of steps.entries()) {
    const result = script.results[index];
    for (const [claim, holds] of Object.entries(step.claims)) check(claim, result !== undefined && holds(result), result ?? "(no result)");
  }
}

/** What the policy asked, and what the ledger says of the sessions. */
function told(home: Home, asked: string): void {
  const questions = lines(asked) as { toolName: string; agentId?: string; sessionKey?: string; runId?: string; workspace?: string }[];
  const spawned = questions.find((question) => question.toolName === "sessions_spawn");
  check("the hook is told agent, session, turn and workspace", spawned?.agentId === "main" && spawned.sessionKey !== undefined && spawned.runId !== undefined && spawned.workspace === home.workspace, JSON.stringify(spawned));
  const names = new Set(questions.map((question) => question.toolName));
  check("it is not asked about what the jail decides", !["exec", "read", "write", "ls", "apply_patch"].some((name) => names.has(name)), [...names].join(" "));
  const entries = lines(path.join(home.directory, ".local/state/mantlet/ledger/ledger.jsonl")) as { session?: string; run?: string; command: string }[];
  for (const kind of [":cron:", ":subagent:", "heartbeat"]) {
    const found = entries.filter((entry) => entry.session?.includes(kind));
    check(`the ledger names the session and the turn of ${kind}`, found.length > 5 && found.every((entry) => entry.run !== undefined), JSON.stringify(found.slice(0, 2)));
  }
  check("and the files that were written", entries.some((entry) => entry.command === "files-write write cron-made/note"), "");
}

function lines(file: string): unknown[] {
  return readFileSync(file, "utf8").split("\n").filter((line) => line !== "").map((line) => JSON.parse(line));
}

/** A program in place of `mantlet hook openclaw`: allows all but one tool, and writes down what it was asked. */
function standIn(program: string, directory: string): string {
  const asked = path.join(directory, "asked.jsonl");
  const text = `#!/bin/sh
[ "$1 $2" = "hook openclaw" ] || exit 2
question=$(cat)
printf '%s\\n' "$question" >> '${asked}'
case $question in
  *'"toolName":"session_status"'*) echo '{"decision":"deny","reason":"denied by the stand-in"}' ;;
  *) echo '{"decision":"allow"}' ;;
esac
`;
  writeFileSync(program, text);
  chmodSync(program, 0o755);
  return asked;
}

async function until(holds: () => boolean | Promise<boolean>, limit: number): Promise<boolean> {
  for (const end = Date.now() + limit; Date.now() < end; ) {
    if (await holds()) return true;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return false;
}
