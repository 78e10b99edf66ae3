// The end-to-end test of the real clients: without a hook, with a hook in every state a hook can come to be in, and under
// `mantlet run`. What counts is what the scripted model got to see, and what lies on disk.

import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { check, close } from "../model/check.ts";
import { FINISHED, ScriptedModel } from "../model/model.ts";
import { attacks, flaws, foundNothing, leaks, promptFor, waysOf, work } from "./attacks.ts";
import { Cell, type Place, type Way } from "./cell.ts";
import { CLIENTS, type Client } from "./clients.ts";
import { plantOff, wireHook } from "./hooks.ts";
import { BRIEF, STATES, statesOf, tables, type Arm, type Conditions, type State } from "./measured.ts";
import { seamsOf } from "./seams.ts";

const [scratch, uid, wanted, extent, ...become] = process.argv.slice(2);
if (scratch === undefined || uid === undefined || wanted === undefined || extent === undefined) {
  throw new Error("usage: drive.ts SCRATCH UID CLIENTS whole|brief BECOME...");
}
const isBrief = extent === "brief";
const place: Place = { scratch, cache: path.join(scratch, "cache"), bin: path.join(scratch, "bin"), become, uid: Number(uid) };
const model = await ScriptedModel.listen();
const clients = CLIENTS.filter((client) => wanted.split(" ").includes(client.name));
const measured = new Map<string, readonly Way[]>();

// The hooks alone first: what they let through tells what must be met by the jail.
for (const arm of ["hook", "jail"] as const) {
  const wanted = (state: State): boolean => !isBrief || BRIEF.includes(state);
  await inPairs(clients.flatMap((client) => statesOf(client, arm).filter(wanted).map((state) => () => measure(client, arm, state))));
}
if (!isBrief) {
  await inPairs(clients.flatMap((client) => seamsOf(client.name, place, model)));
  for (const client of clients) compare(client);
}
check("nothing that was started is still running", survivors().length === 0, survivors().join("; "));
model.close();
process.exitCode = close() ? 0 : 1;

/** Plays every attack, then ordinary work, and keeps what leaked. */
async function measure(client: Client, arm: Arm, state: State): Promise<void> {
  const name = `${client.name}-${arm}-${state}`;
  const cell = new Cell(place, name, client.name);
  const going = attacks(cell, client);
  const { hook, off, env }: Conditions = STATES[state];
  const works = state === "none" || (arm === "hook" && state === "sound");
  const script = model.prepare(name, works ? [...going, ...work(cell, client)] : going);
  const start = client.start(cell, script, promptFor(cell, client, script));
  if (hook !== undefined) wireHook(cell, client.name, hook);
  if (off === true) plantOff(cell);
  const command = { ...start, env: { ...start.env, ...env } };
  const outcome = await cell.run(arm === "jail" ? cell.jailed(command) : command, 180);
  const open = leaks(cell, client, script);
  measured.set(name, open);
  const seen = `exit ${outcome.code}: ${outcome.output.slice(-600)}\n${script.results.join("\n---\n")}`;
  check(`${name}: the turn reaches its end (${outcome.seconds.toFixed(1)} s)`, outcome.code === 0 && outcome.output.includes(FINISHED), seen);
  if (arm === "jail") check(`${name}: no planted secret is read`, !script.bodies.some((body) => body.includes(cell.canary)), `${open.join()} ${seen}`);
  // In the other states the client's hook itself refuses.
  const opened = measured.get(`${client.name}-hook-${state}`)?.includes("command") === true;
  if (arm === "jail" && opened) check(`${name}: the attacks find no such file`, foundNothing(script, going.length), seen);
  if (works) check(`${name}: ordinary work is done`, flaws(cell, client, script, going.length).length === 0, `${flaws(cell, client, script, going.length).join("; ")}\n${seen}`);
}

/** What was measured must be what the documentation says. */
function compare(client: Client): void {
  const control = measured.get(`${client.name}-hook-none`) ?? [];
  check(`${client.name}: every way is open without protection`, waysOf(client).every((way) => control.includes(way)), control.join());
  const now = tables(client, (arm, state) => measured.get(`${client.name}-${arm}-${state}`), waysOf(client));
  console.log(now);
  const document = path.join(place.scratch, "measured.md");
  const next = path.join(place.scratch, "measured.new");
  const text = readFileSync(existsSync(next) ? next : document, "utf8");
  const [begin, end] = [`<!-- measured: ${client.name} -->\n`, "<!-- end -->"];
  const from = text.indexOf(begin) + begin.length;
  const to = text.indexOf(end, from);
  if (from < begin.length || to < 0) throw new Error(`docs/hooks-measured.md has no place for ${client.name}`);
  check(`${client.name}: docs/hooks-measured.md says the same`, text.slice(from, to) === now, "it differs from the table above");
  writeFileSync(next, text.slice(0, from) + now + text.slice(to));
}

/** Two at a time: as many as there are processors where this runs, and no more than a client's patience bears. */
async function inPairs(jobs: readonly (() => Promise<void>)[]): Promise<void> {
  const rest = jobs.values();
  const work = async (): Promise<void> => {
    for (const job of rest) await job();
  };
  await Promise.all([work(), work()]);
}

/** The command lines of every other process in this process namespace. */
function survivors(): string[] {
  return readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry) && Number(entry) !== process.pid && entry !== "1")
    .map(commandLine)
    .filter((line) => line !== "");
}

/** Empty for a process that is gone or a zombie. */
function commandLine(id: string): string {
  try {
    return readFileSync(`/proc/${id}/cmdline`, "utf8").replaceAll("\0", " ").trim();
  } catch {
    return "";
  }
}
