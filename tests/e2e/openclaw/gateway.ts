// One gateway, and the turns that nobody types: an ordinary one, a subagent's, a cron job's and a heartbeat's. Each uses
// every tool inside the workspace and outside it. `mantlet hook` decides about the tools of the gateway's own process.

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
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
  writePolicy(home);
  const prepare = (tag: string, steps: readonly Step[]): Played => ({ tag, steps, script: model.prepare(`${tag}-${nonce}`, steps.map((step) => step.call)) });
  const subagent = prepare("subagent", everyTool(home, "subagent"));
  const heartbeat = prepare("heartbeat", everyTool(home, "heartbeat"));
  const cron = prepare("cron", everyTool(home, "cron"));
  const ordinary = prepare("ordinary", [
    { call: { tool: "write", args: { path: "MEMORY.md", content: `remember: ${nonce}\n` } }, claims: {} },
    ...everyTool(home, "ordinary"),
    // Last: what a subagent reports interrupts the turn that started it.
    { call: { tool: "web_fetch", args: { url: "http://127.0.0.1:1/" } }, claims: { "a tool of the gateway that the policy does not allow is denied with the way out": (result) => result.includes("mantlet allow --agent main --tool web_fetch") } },
    { call: { tool: "sessions_spawn", args: { task: subagent.script.message, label: "sub" } }, claims: { "and one that it allows runs": (result) => result.includes("accepted") } },
  ]);
  const later = prepare("later", [{ call: { tool: "read", args: { path: "MEMORY.md" } }, claims: { "memory is read where it is": (result) => result.includes(nonce) } }]);
  home.configure({ ...setup, more: {
    agents: { heartbeat: { every: "20s", target: "none", prompt: heartbeat.script.message, isolatedSession: true } },
    gateway: { port: PORT, bind: "loopback" },
    // Offered in a sandbox, and run in the gateway's process.
    tools: { sandbox: { tools: { alsoAllow: ["web_fetch"] } } },
  } });

  const gateway = home.start(["gateway", "run", "--port", String(PORT)]);
  let log = "";
  gateway.stdout?.on("data", (chunk: Buffer) => (log += chunk.toString("utf8")));
  gateway.stderr?.on("data", (chunk: Buffer) => (log += chunk.toString("utf8")));
  const gone = new Promise((ended) => gateway.once("close", ended));
  try {
    const serves = await until(async () => (await fetch(`http://127.0.0.1:${PORT}/healthz`).catch(() => undefined))?.ok === true, 180_000);
    check("the gateway serves", serves, log.slice(-2000));
    const [turn, added] = await Promise.all([
      home.run(["agent", "--session-id", `ordinary-${nonce}`, "--message", ordinary.script.message, "--json", "--timeout", "120"]),
      home.run(["cron", "add", "--name", "now", "--at", "25s", "--session", "isolated", "--message", cron.script.message, "--no-deliver", "--json"]),
    ]);
    check("a cron job is accepted", added.code === 0, added.output);
    for (const played of [ordinary, subagent, cron, heartbeat]) {
      const finished = await until(() => played.script.results.length >= played.steps.length, 90_000);
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
  told(home);
  console.log(`one gateway, four kinds of turns (${((Date.now() - started) / 1000).toFixed(1)} s)`);
}

function judge({ steps, script }: Played): void {
  for (const [index, step] of steps.entries()) {
    const result = script.results[index];
    for (const [claim, holds] of Object.entries(step.claims)) check(claim, result !== undefined && holds(result), result ?? "(no result)");
  }
}

/** What the ledger says of tools and of commands. */
function told(home: Home): void {
  const entries = lines(path.join(home.directory, ".local/state/mantlet/ledger/ledger.jsonl")) as { kind: string; session?: string; run?: string; command?: string; tool?: string; decision?: string; by?: string }[];
  const tools = entries.filter((entry) => entry.kind === "tool");
  const decided = (tool: string, decision: string): boolean => tools.some((entry) => entry.tool === tool && entry.decision === decision && entry.by === "main" && entry.session !== undefined);
  check("the ledger has each decision with agent and session", decided("sessions_spawn", "allowed") && decided("web_fetch", "denied"), JSON.stringify(tools));
  const left = tools.filter((entry) => ["exec", "process", "read", "write", "edit", "ls", "apply_patch"].includes(entry.tool ?? ""));
  check("nothing is asked that the jail decides", left.length === 0, JSON.stringify(left));
  for (const kind of [":cron:", ":subagent:", "heartbeat"]) {
    const found = entries.filter((entry) => entry.kind === "exec" && entry.session?.includes(kind));
    check(`the ledger names the session and the turn of ${kind}`, found.length > 5 && found.every((entry) => entry.run !== undefined), JSON.stringify(found.slice(0, 2)));
  }
  check("and the files that were written", entries.some((entry) => entry.command === "files-write write cron-made/note"), "");
}

function lines(file: string): unknown[] {
  return readFileSync(file, "utf8").split("\n").filter((line) => line !== "").map((line) => JSON.parse(line));
}

function writePolicy(home: Home): void {
  const directory = path.join(home.directory, ".config/mantlet");
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const text = `version = 1\n[agent.main]\nrole = "builder"\nclient = "openclaw"\nworkspace = ${JSON.stringify(home.workspace)}\n`;
  writeFileSync(path.join(directory, "mantlet.toml"), text, { mode: 0o600 });
}

async function until(holds: () => boolean | Promise<boolean>, limit: number): Promise<boolean> {
  for (const end = Date.now() + limit; Date.now() < end; ) {
    if (await holds()) return true;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return false;
}
