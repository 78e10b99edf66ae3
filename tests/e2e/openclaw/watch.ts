// What the real OpenClaw writes into its configuration and its database, judged as the watch judges it. Ordinary work must
// never be undone; each command that loosens something works (the control), is told, and is put back under the gateway.

import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { check, close } from "../model/check.ts";
import { FINISHED, ScriptedModel } from "../model/model.ts";
import { Home } from "./home.ts";

const PORT = 18_789;
const [scratch, cache] = process.argv.slice(2);
if (scratch === undefined || cache === undefined) throw new Error("usage: watch.ts SCRATCH CACHE");

interface Judged { readonly difference: "same" | "accepted" | "tampered"; readonly keys: readonly string[] }

const model = await ScriptedModel.listen();
const nonce = randomBytes(4).toString("hex");
const home = new Home(path.join(scratch, "home"), path.join(cache, "node_modules/openclaw/openclaw.mjs"), `canary-${nonce}`);
const files = { config: path.join(home.state, "openclaw.json"), database: path.join(home.state, "state/openclaw.sqlite") } as const;
type Place = keyof typeof files;

home.configure({
  sandbox: "off",
  plugin: undefined,
  mantletRun: "",
  modelUrl: model.baseUrl,
  more: { gateway: { port: PORT, bind: "loopback" }, tools: { exec: { mode: "allowlist", backgroundMs: 9000 } } },
});
keep("config");
writeFileSync(baseline("database"), "");

console.log("ordinary work");
await ordinary("a theme", ["config", "set", "ui.prefs.theme", "knot"], ["ui", "meta"]);
await ordinary("another model", ["config", "set", "agents.defaults.model.primary", "scripted/other"], ["agents.defaults.model.primary"]);
await ordinary("and back", ["config", "set", "agents.defaults.model.primary", "scripted/scripted"], []);
await ordinary("a limit of commands", ["config", "set", "tools.exec.backgroundMs", "8000"], ["tools.exec.backgroundMs"]);
await ordinary("doctor", ["doctor", "--non-interactive"], []);
await ordinary("doctor, which repairs", ["doctor", "--fix", "--non-interactive"], ["skills.entries"]);

const gateway = home.start(["gateway", "run", "--port", String(PORT)], 900);
let log = "";
gateway.stdout?.on("data", (chunk: Buffer) => (log += chunk.toString("utf8")));
gateway.stderr?.on("data", (chunk: Buffer) => (log += chunk.toString("utf8")));
const gone = new Promise((ended) => gateway.once("close", ended));
try {
  check("the gateway serves", await serves(), log.slice(-2000));
  await turn("first");
  judged("after the start and a turn", "config", "passes");
  // Nothing was granted yet: the database was not even there.
  judged("after the start and a turn", "database", "passes");
  keep("database");
  await ordinary("a job that is a turn", ["cron", "add", "--name", "later", "--at", "2h", "--session", "isolated", "--message", "hello", "--no-deliver", "--json"], []);

  console.log("what loosens");
  check("a command is denied", !(await runs("denied")), "");
  await attack("commands without limits", ["config", "set", "tools.exec.mode", "full"], { config: ["tools.exec.mode"] });
  await attack("the same as a preset", ["exec-policy", "preset", "yolo"], { config: ["tools.exec"], database: ["exec_approvals_config"] }, "opens the host");
  await attack("a command more on the host's list", ["approvals", "allowlist", "add", "--agent", "main", "/bin/sh"], { database: ["exec_approvals_config"] });
  await attack("a command by the clock", ["cron", "add", "--name", "evil", "--every", "1h", "--command", "id", "--json"], { database: ["cron_jobs("] });
  await attack("a channel", ["channels", "add", "--channel", "telegram", "--token", "1234567:canary"], { config: ["channels.telegram", "plugins.entries"] });
  await attack("elevated commands", ["config", "set", "tools.elevated.enabled", "true"], { config: ["tools.elevated"] });
  await attack("another address of the model", ["config", "set", "models.providers.scripted.baseUrl", "http://127.0.0.1:1/v1"], { config: ["models.providers.scripted.baseUrl"] });
  await attack("a shell as a chat command", ["config", "set", "commands.bash", "true"], { config: ["commands.bash"] });
  await attack("a plugin", ["plugins", "install", "--force", "--accept-capabilities", plugin()], { config: ["plugins.entries"], database: ["config_machine_state("] });
  await attack("a gateway that others reach", ["config", "set", "gateway.bind", "lan"], { config: ["gateway.bind"] });
  byHand();

  check("the gateway serves after all that", await serves(), log.slice(-2000));
  await turn("last");
  judged("at the end", "config", "passes");
  judged("at the end", "database", "passes");
} finally {
  gateway.kill("SIGTERM");
  await gone;
}
const audit = await home.run(["approvals", "get", "--json"]);
check("OpenClaw itself reads no approval any more", !audit.output.includes("/bin/sh"), audit.output);
model.close();
process.exitCode = close() ? 0 : 1;

function baseline(place: Place): string {
  return path.join(scratch as string, `${place}.baseline`);
}

function judge(verb: string, place: Place): string {
  const words = [home.directory, verb, files[place], ...(verb === "snapshot" ? [] : [baseline(place)])];
  const ran = spawnSync(path.join(scratch as string, "bin/judge"), words, { encoding: "utf8" });
  if (ran.status !== 0) throw new Error(`judge ${verb} ${place}: ${ran.stderr}`);
  return ran.stdout;
}

function keep(place: Place): void {
  writeFileSync(baseline(place), judge("snapshot", place));
}

function look(place: Place): Judged {
  if (!existsSync(files[place])) return { difference: "same", keys: [] };
  return JSON.parse(judge("compare", place));
}

function judged(when: string, place: Place, wanted: "passes" | "tampered"): Judged {
  const found = look(place);
  check(`${when}: the ${place} ${wanted === "passes" ? "passes" : "is told"}`, (found.difference === "tampered") === (wanted === "tampered"), JSON.stringify(found));
  return found;
}

/** A command that an owner or the gateway gives every day: it works, passes, and is left as it is. */
async function ordinary(what: string, words: readonly string[], keys: readonly string[]): Promise<void> {
  const ran = await home.run(words);
  check(`${what}: it works`, ran.code === 0, ran.output.slice(-1500));
  const found = judged(what, "config", "passes");
  for (const key of keys) check(`${what}: ${key} is named`, found.keys.some((name) => name.startsWith(key)), JSON.stringify(found));
  judged(what, "database", "passes");
  const text = readFileSync(files.config, "utf8");
  judge("restore", "config");
  check(`${what}: a restore has nothing to do`, text === readFileSync(files.config, "utf8"), "");
  keep("config");
}

/** A command that loosens: it works, is told, and is put back; the other place passes. */
async function attack(what: string, words: readonly string[], wanted: { readonly [place in Place]?: readonly string[] }, effect?: "opens the host"): Promise<void> {
  const before = { config: meaning(), database: rows() };
  const ran = await home.run(words);
  check(`${what}: it works without the watch`, ran.code === 0, ran.output.slice(-1500));
  if (effect !== undefined) check(`${what}: an agent's command runs`, await runs("loosened"), log.slice(-1500));
  for (const place of ["config", "database"] as const) {
    const keys = wanted[place];
    const found = judged(what, place, keys === undefined ? "passes" : "tampered");
    if (keys === undefined) continue;
    for (const key of keys) check(`${what}: ${key} is named`, found.keys.some((name) => name.startsWith(key)), JSON.stringify(found));
    judge("restore", place);
    const left = look(place);
    check(`${what}: the ${place} is put back`, left.difference !== "tampered", JSON.stringify(left));
  }
  check(`${what}: the configuration says what it said`, meaning() === before.config, `${before.config}\n${meaning()}`);
  check(`${what}: the database grants what it granted`, rows() === before.database, `${before.database}\n${rows()}`);
  // What the gateway made of the change, it makes of the change back: some it starts anew for, a second later.
  if (wanted.config !== undefined) await new Promise((resolve) => setTimeout(resolve, 2000));
  check(`${what}: the gateway serves`, await serves(), log.slice(-1500));
  if (effect !== undefined) check(`${what}: an agent's command is denied again`, !(await runs("restored")), log.slice(-1500));
}

/** Whether a command of the agent's, in the running gateway, is run on the host. */
async function runs(name: string): Promise<boolean> {
  const script = model.prepare(`${name}-${nonce}`, [{ tool: "exec", args: { command: "printf 'ran-%s' here" } }]);
  const ran = await home.run(["agent", "--session-id", `${name}-${nonce}`, "--message", script.message, "--json", "--timeout", "120"]);
  check(`${name}: the turn with a command reaches its end`, ran.code === 0 && script.results.length === 1, ran.output.slice(-1500));
  return script.results.some((result) => result.includes("ran-here"));
}

/** What an agent with a shell writes, without asking OpenClaw. */
function byHand(): void {
  const text = readFileSync(files.config, "utf8");
  for (const [what, changed] of [
    ["a second member of one name", text.replace("{", '{ "tools": { "exec": { "mode": "full" } },')],
    ["a name with an escape", text.replace('"mode": "allowlist"', '"\\u006dode": "full"')],
    ["an included file", text.replace("{", '{ "$include": "./more.json",')],
  ] as const) {
    check(`${what}: it is another file`, changed !== text, "");
    writeFileSync(files.config, changed);
    judged(what, "config", "tampered");
    if (what.startsWith("a second")) {
      // Nobody edits a file that two readers take differently: the last good copy comes back whole.
      writeFileSync(files.config, text);
    } else {
      judge("restore", "config");
    }
    check(`${what}: it is put back`, look("config").difference !== "tampered", JSON.stringify(look("config")));
  }
}

/** What the configuration says, without what OpenClaw notes in it. */
function meaning(): string {
  const { meta: _, ...rest } = JSON.parse(readFileSync(files.config, "utf8"));
  return JSON.stringify(sorted(rest));
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, inner]) => [name, sorted(inner)]));
}

/** What the database grants, as a baseline has it. */
function rows(): string {
  return judge("snapshot", "database");
}

function plugin(): string {
  const directory = path.join(home.directory, "plugin-of-somebody");
  mkdirSync(directory, { recursive: true });
  writeFileSync(path.join(directory, "package.json"), JSON.stringify({ name: "somebody", version: "1.0.0", type: "module", openclaw: { extensions: ["./index.js"] } }));
  writeFileSync(path.join(directory, "openclaw.plugin.json"), JSON.stringify({ id: "somebody", name: "Somebody", version: "1.0.0", configSchema: { type: "object", additionalProperties: false, properties: {} } }));
  writeFileSync(path.join(directory, "index.js"), 'export default { id: "somebody", register() {} };\n');
  return directory;
}

async function turn(name: string): Promise<void> {
  const script = model.prepare(`${name}-${nonce}`, [{ tool: "write", args: { path: `${name}.txt`, content: "written\n" } }]);
  const ran = await home.run(["agent", "--session-id", `${name}-${nonce}`, "--message", script.message, "--json", "--timeout", "120"]);
  check(`the ${name} turn reaches its end`, ran.code === 0 && ran.output.includes(FINISHED), ran.output.slice(-1500));
}

async function serves(): Promise<boolean> {
  for (const end = Date.now() + 120_000; Date.now() < end; ) {
    if ((await fetch(`http://127.0.0.1:${PORT}/healthz`).catch(() => undefined))?.ok === true) return true;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  return false;
}
