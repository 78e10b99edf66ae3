// The end-to-end test: turns of the real OpenClaw with a scripted model. What is asserted is what the
// model gets back and what lies on disk, never what OpenClaw's configuration says.

import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { check, close } from "../model/check.ts";
import { Home, type Setup } from "./home.ts";
import { FINISHED, ScriptedModel } from "../model/model.ts";
import { compareBridges, raceBridge } from "./bridge.ts";
import { playGateway } from "./gateway.ts";
import { control, jailed, withoutPlugin, withoutProgram, workspaceOnly, type Act } from "./turns.ts";

const [scratch, cache] = process.argv.slice(2);
if (scratch === undefined || cache === undefined) throw new Error("usage: drive.ts SCRATCH CACHE");

const model = await ScriptedModel.listen();
const home = new Home(path.join(scratch, "home"), path.join(cache, "node_modules/openclaw/openclaw.mjs"), `canary-${randomBytes(8).toString("hex")}`);
const mantlet = { sandbox: "mantlet", plugin: path.join(scratch, "plugin"), mantletRun: path.join(scratch, "bin/mantlet-run") } as const;

const bridges = { directory: path.join(scratch, "home/bridges"), plugin: mantlet.plugin, openclaw: path.join(cache, "node_modules/openclaw"), mantletRun: mantlet.mantletRun };
await compareBridges(bridges);
await raceBridge(bridges, path.join(home.directory, "outside.txt"));
// Without the plugin: its tool policy would ask about every tool of a session that has no sandbox.
const alone = { ...mantlet, sandbox: "off", plugin: undefined } as const;
await play("control: sandbox off", control(home, model.baseUrl), alone);
await play("control: OpenClaw's own workspaceOnly", workspaceOnly(home), { ...alone, more: { tools: { fs: { workspaceOnly: true } } } });
await play("sandbox backend mantlet", jailed(home, model.baseUrl), mantlet);
await playGateway(home, model, randomBytes(4).toString("hex"), { ...mantlet, modelUrl: model.baseUrl });
await play("the plugin is missing", withoutPlugin(home), { ...mantlet, plugin: undefined });
await play("mantlet-run is missing", withoutProgram(home), { ...mantlet, mantletRun: path.join(scratch, "bin/absent") });
check("nothing that was started is still running", survivors().length === 0, survivors().join("; "));
model.close();
process.exitCode = close() ? 0 : 1;

async function play(title: string, act: Act, setup: Omit<Setup, "modelUrl">): Promise<void> {
  home.configure({ ...setup, modelUrl: model.baseUrl });
  const name = `${title.replaceAll(/[^a-z]+/g, "-")}-${randomBytes(4).toString("hex")}`;
  const script = model.prepare(name, act.steps.map((step) => step.call));
  const turn = await home.turn(name, script.message);
  console.log(`${title} (${turn.seconds.toFixed(1)} s)`);
  const finished = turn.code === 0 && turn.output.includes(FINISHED);
  check(act.finishes ? "the turn reaches its end" : "the turn fails", finished === act.finishes, `exit ${turn.code}: ${turn.output}`);
  for (const [index, step] of act.steps.entries()) {
    const result = script.results[index];
    for (const [claim, holds] of Object.entries(step.claims)) {
      check(claim, result !== undefined && quietly(() => holds(result)), result ?? "(no result)");
    }
  }
  for (const [claim, holds] of Object.entries(act.afterwards)) {
    check(claim, quietly(() => holds(turn.output, script.results)), turn.output);
  }
}

/** A claim that cannot even be looked at does not hold. */
function quietly(holds: () => boolean): boolean {
  try {
    return holds();
  } catch {
    return false;
  }
}

/** The command lines of every other process in this process namespace. */
function survivors(): string[] {
  const own = process.pid;
  return processIds()
    .filter((id) => id !== own && id !== 1)
    .map(commandLine)
    .filter((line) => line !== "");
}

function processIds(): number[] {
  return readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number);
}

/** Empty for a process that is gone or a zombie. */
function commandLine(id: number): string {
  try {
    return readFileSync(`/proc/${id}/cmdline`, "utf8").replaceAll("\0", " ").trim();
  } catch {
    return "";
  }
}
