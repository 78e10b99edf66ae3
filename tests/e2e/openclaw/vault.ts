// Credentials of a real OpenClaw, in every place where it or its user leaves them: found, sealed, replaced, used by the
// real gateway through `mantlet vault provide`, and put back. What counts is what lies on disk, and what the model gets.

import { spawn, spawnSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { cpSync, existsSync, lstatSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { check, close } from "../model/check.ts";
import { FINISHED, ScriptedModel } from "../model/model.ts";
import { Home } from "./home.ts";

const PORT = 18_789;
const [scratch, cache] = process.argv.slice(2);
if (scratch === undefined || cache === undefined) throw new Error("usage: vault.ts SCRATCH CACHE");

const model = await ScriptedModel.listen();
const openclaw = path.join(cache, "node_modules/openclaw/openclaw.mjs");
const mantlet = path.join(scratch, "bin/mantlet");
const nonce = randomBytes(6).toString("hex");
const home = new Home(path.join(scratch, "home"), openclaw, `planted-${nonce}`);
const inState = (name: string): string => path.join(home.state, name);
const inHome = (name: string): string => path.join(home.directory, name);

/** One canary for each place; what OpenClaw checks the form of has its form. */
const secret = {
  gateway: `gateway-${nonce}-aaaa`,
  model: `model-${nonce}-bbbb`,
  named: `named-${nonce}-cccc`,
  usual: `sk-ant-api03-usual${nonce}dddd`,
  profile: `sk-proj-profile${nonce}eeeeeeeeeeeeeeeeeeee`,
  telegram: `1234567:telegram${nonce}ffffffffffff`,
  signing: `signing${nonce}0123456789`,
  unit: `unit-${nonce}-gggg`,
} as const;
/** No SecretRef can stand for these: they stay, and are named. */
const held = { hooks: `hooks-${nonce}-hhhh`, tool: `tool-${nonce}-iiii` } as const;

console.log("the control: OpenClaw as it is set up");
configure();
check("OpenClaw saves a key in its database", (await paste("openai", secret.profile)).includes("openai:manual"), "");
// Set up only now: else OpenClaw writes the profile's name as the provider's key, and its audit takes that for a key. Into
// what OpenClaw has written: a file that is written anew it takes for damaged, and puts an older one in its place.
const settings = JSON.parse(readFileSync(inState("openclaw.json"), "utf8"));
settings.models.providers.openai = provider();
writeFileSync(inState("openclaw.json"), JSON.stringify(settings, null, 2));
await serve(async () => {
  for (const [provider, key] of Object.entries({ scripted: secret.model, named: secret.named, anthropic: secret.usual, openai: secret.profile })) await answers(provider, key);
});
for (const [name, value] of Object.entries({ ...secret, ...held })) check(`${name} lies in the home in the clear`, lie(value).length > 0, "");
check("the copies that OpenClaw makes hold some of them", lie(secret.model).some((file) => /openclaw\.json\.(bak|last-good)/.test(file)), lie(secret.model).join(" "));
const found = await audit();
check("OpenClaw's audit finds them", found.summary.plaintextCount >= 5, JSON.stringify(found.summary));

console.log("import and undo");
const before = picture(home.directory);
const shown = run(["--dry-run", "--json"]);
check("a dry run changes nothing", shown.code === 0 && same(before, picture(home.directory)), difference(before, picture(home.directory)));
judge(JSON.parse(shown.output));
const asked = run([]);
check("without a yes nothing is changed", asked.code !== 0 && same(before, picture(home.directory)), asked.output);
importAll();
nothingLies("after the import");
const clean = await audit();
check("OpenClaw's audit finds nothing, and every reference resolves", clean.status === "clean" && clean.resolution.resolvabilityComplete, JSON.stringify(clean.findings));
check("a second import has nothing to do", run(["--yes"]).output.includes("nothing to do"), "");

console.log("the real gateway");
model.keys.clear();
await serve(async () => {
  for (const [provider, key] of Object.entries({ scripted: secret.model, named: secret.named, anthropic: secret.usual, openai: secret.profile })) await answers(provider, key);
  const refused = run(["--undo"]);
  check("an undo under a running gateway is refused", refused.code === 125 && refused.output.includes("stop the gateway"), refused.output);
});
nothingLies("after turns");
const afterTurns = await audit();
check("the audit is still clean", afterTurns.status === "clean", JSON.stringify(afterTurns.findings));
undo();
for (const [name, value] of Object.entries(secret)) check(`${name} is back where it was`, whole(before, value), lie(value).join(" "));

console.log("undo without anybody writing in between");
const again = picture(home.directory);
importAll();
nothingLies("after the second import");
undo();
check("every file is as it was, byte for byte", same(again, picture(home.directory)), difference(again, picture(home.directory)));

console.log("killed at some moment");
await kills(again);
model.close();
process.exitCode = close() ? 0 : 1;

function provider(apiKey?: string, api = "openai-completions"): object {
  return {
    baseUrl: api === "anthropic-messages" ? model.origin : model.baseUrl,
    ...(apiKey === undefined ? {} : { apiKey }),
    api,
    models: [{ id: "scripted", name: "Scripted", input: ["text"], contextWindow: 400_000, maxTokens: 4096, cost: { input: 0, output: 0, cacheRead: 0, cacheWrite: 0 } }],
  };
}

function configure(): void {
  const config = {
    gateway: { mode: "local", port: PORT, bind: "loopback", auth: { mode: "token", token: secret.gateway } },
    models: { providers: { scripted: provider(secret.model), named: provider("${NAMED_KEY}"), anthropic: provider(undefined, "anthropic-messages") } },
    channels: { telegram: { enabled: false, botToken: secret.telegram }, slack: { enabled: false, signingSecret: secret.signing } },
    hooks: { enabled: true, token: held.hooks },
    agents: { defaults: { model: { primary: "scripted/scripted" }, skipBootstrap: true } },
    skills: { entries: { "image-lab": { apiKey: "$UNIT_KEY" } } },
    tools: { toolSearch: false },
  };
  writeFileSync(inState("openclaw.json"), `// mine\n${JSON.stringify(config, null, 2)}\n`, { mode: 0o600 });
  writeFileSync(inState(".env"), `# keys\nNAMED_KEY="${secret.named}"\nexport ANTHROPIC_API_KEY=${secret.usual}\nMY_TOOL_TOKEN=${held.tool}\nLOG_LEVEL=info\n`, { mode: 0o600 });
  const units = inHome(".config/systemd/user");
  mkdirSync(units, { recursive: true });
  writeFileSync(path.join(units, "openclaw-gateway.service"), `[Service]\nExecStart=/usr/bin/true\nEnvironment=LANG=C "UNIT_KEY=${secret.unit}"\nEnvironment=OPENCLAW_GATEWAY_TOKEN=${secret.gateway}\n`);
  writeFileSync(inHome(".bash_history"), Buffer.concat([Buffer.from([0xff, 0x0a]), Buffer.from(`ls\nexport ANTHROPIC_API_KEY=${secret.usual}\ncurl -H 'x: ${secret.model}' localhost\n`)]), { mode: 0o600 });
}

/** OpenClaw's own way to save a key: on its standard input. */
async function paste(name: string, key: string): Promise<string> {
  const child = spawn(process.execPath, [openclaw, "models", "auth", "paste-api-key", "--provider", name], { cwd: home.directory, env: environment(), stdio: ["pipe", "pipe", "pipe"] });
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString("utf8")));
  child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString("utf8")));
  child.stdin.end(`${key}\n`);
  await new Promise((ended) => child.on("close", ended));
  return output;
}

function environment(directory = home.directory): Record<string, string> {
  return { HOME: directory, PATH: "/usr/local/bin:/usr/bin:/bin", LANG: "C.UTF-8", NO_COLOR: "1" };
}

interface Audit {
  readonly status: string;
  readonly resolution: { readonly resolvabilityComplete: boolean };
  readonly summary: { readonly plaintextCount: number };
  readonly findings: readonly object[];
}

async function audit(): Promise<Audit> {
  const done = await home.run(["secrets", "audit", "--json", "--allow-exec"]);
  return JSON.parse(done.output.slice(done.output.indexOf("{")));
}

/** The gateway, with what its unit would set, while `act` runs. */
async function serve(act: () => Promise<void>): Promise<void> {
  const unit = /"UNIT_KEY=([^"]*)"/.exec(readFileSync(inHome(".config/systemd/user/openclaw-gateway.service"), "utf8"))?.[1];
  const gateway = spawn(process.execPath, [openclaw, "gateway", "run", "--port", String(PORT)], {
    cwd: home.directory,
    env: { ...environment(), SHELL: "/bin/bash", ...(unit === undefined ? {} : { UNIT_KEY: unit }) },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let log = "";
  gateway.stdout.on("data", (chunk: Buffer) => (log += chunk.toString("utf8")));
  gateway.stderr.on("data", (chunk: Buffer) => (log += chunk.toString("utf8")));
  const gone = new Promise((ended) => gateway.once("close", ended));
  try {
    let serves = false;
    for (const end = Date.now() + 180_000; Date.now() < end && !serves && gateway.exitCode === null; ) {
      serves = (await fetch(`http://127.0.0.1:${PORT}/healthz`).catch(() => undefined))?.ok === true;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    check("the gateway serves", serves, log.slice(-2000));
    if (serves) await act();
  } finally {
    gateway.kill("SIGTERM");
    await gone;
  }
}

/** A turn through the gateway with one provider: the model gets this key. */
async function answers(name: string, key: string): Promise<void> {
  const tag = `vault-${name}-${randomBytes(4).toString("hex")}`;
  const script = model.prepare(tag, [{ tool: "read", args: { path: "missing" } }]);
  const turn = await home.run(["agent", "--session-id", tag, "--model", `${name}/scripted`, "--message", script.message, "--json", "--timeout", "120"]);
  check(`a turn with ${name} is answered`, turn.code === 0 && turn.output.includes(FINISHED), turn.output.slice(-1500));
  check(`and its model gets its key`, [`Bearer ${key}`, key].some((said) => model.keys.has(said)), [...model.keys].map((said) => said.slice(0, 24)).join(" "));
}

function run(words: readonly string[], directory = home.directory): { code: number | null; output: string } {
  const done = spawnSync(mantlet, ["vault", "import", "openclaw", ...words], { env: environment(directory), encoding: "utf8", maxBuffer: 1 << 26 });
  return { code: done.status, output: words.includes("--json") ? done.stdout : done.stdout + done.stderr };
}

function importAll(): void {
  const done = run(["--yes", "--history"]);
  check("the import is done", done.code === 0, done.output);
  for (const [name, value] of Object.entries({ ...secret, ...held })) check(`it says nothing of ${name} but its place`, !done.output.includes(value), "");
}

function undo(): void {
  const done = run(["--undo"]);
  check("the undo is done", done.code === 0, done.output);
}

interface Told {
  readonly found: readonly { readonly file: string; readonly key: string; readonly opens: string; readonly usedLocally: boolean; readonly fate: string; readonly detail: string | null }[];
}

/** What the dry run says of each place. */
function judge(told: Told): void {
  const is = (file: string, key: string, fate: string): boolean => told.found.some((one) => one.file.endsWith(file) && one.key === key && one.fate === fate && one.opens !== "");
  const said = JSON.stringify(told.found.map((one) => [path.basename(one.file), one.key, one.fate, one.detail]));
  for (const key of ["gateway.auth.token", "models.providers.scripted.apiKey", "channels.telegram.botToken", "channels.slack.signingSecret"]) check(`it finds ${key}`, is("openclaw.json", key, "replaced"), said);
  for (const key of ["NAMED_KEY", "ANTHROPIC_API_KEY"]) check(`it finds ${key}`, is(".env", key, "moved"), said);
  for (const key of ["UNIT_KEY", "OPENCLAW_GATEWAY_TOKEN"]) check(`it finds ${key}`, is(".service", key, "moved"), said);
  check("it finds the profile", is("openclaw.sqlite", "profiles.openai:manual.key", "replaced"), said);
  check("it finds typed commands, and leaves them", is(".bash_history", "line 3, 4", "held"), said);
  check("what has to stay is named", is("openclaw.json", "hooks.token", "held") && is(".env", "MY_TOOL_TOKEN", "held"), said);
  check("what signs in the gateway is told", told.found.some((one) => one.key === "channels.slack.signingSecret" && one.usedLocally), said);
  check("no value is said", Object.values({ ...secret, ...held }).every((value) => !said.includes(value)), "");
}

function nothingLies(when: string): void {
  for (const [name, value] of Object.entries(secret)) check(`${when}: ${name} lies nowhere`, lie(value).length === 0, lie(value).join(" "));
  for (const [name, value] of Object.entries(held)) check(`${when}: ${name} stays where it was`, lie(value).length > 0, "");
}

/** Every file of a home, and of OpenClaw's logs. */
function* files(directory: string): Generator<string> {
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const file = path.join(directory, entry.name);
    if (entry.isDirectory()) yield* files(file);
    else if (entry.isFile()) yield file;
  }
}

/** Where a value lies in the clear. */
function lie(value: string, directory = home.directory): string[] {
  const places = [directory, "/tmp/openclaw"].filter((place) => existsSync(place));
  return places.flatMap((place) => [...files(place)]).filter((file) => readFileSync(file).includes(value));
}

type Picture = ReadonlyMap<string, string>;

/** Mode and contents of what was there before; the vault's own, and the index of a log that a dead program left, are not. */
function picture(directory: string): Picture {
  const own = (file: string): boolean => /mantlet|\.sqlite-(shm|wal)$/.test(path.relative(directory, file));
  return new Map([...files(directory)].filter((file) => !own(file)).map((file) => {
    const hash = createHash("sha256").update(readFileSync(file)).digest("hex");
    return [path.relative(directory, file), `${lstatSync(file).mode.toString(8)} ${hash}`];
  }));
}

function same(one: Picture, two: Picture): boolean {
  return difference(one, two) === "";
}

function difference(one: Picture, two: Picture): string {
  return [...new Set([...one.keys(), ...two.keys()])].filter((name) => one.get(name) !== two.get(name)).join(" ");
}

/** Whether a value is again in each file that is as it was, or that OpenClaw has written since. */
function whole(then: Picture, value: string): boolean {
  return lie(value).length > 0 && lie(value).every((file) => file.startsWith("/tmp/openclaw") || then.has(path.relative(home.directory, file)));
}

/** Imports that are killed: whatever moment it was, a rerun ends without plaintext, and an undo with the files as before. */
async function kills(then: Picture): Promise<void> {
  const directory = path.join(scratch as string, "killed");
  const full = await timed(directory);
  let hit = 0;
  for (let round = 0; round < 16; round += 1) {
    fresh(directory);
    const child = spawn(mantlet, ["vault", "import", "openclaw", "--yes", "--history"], { env: environment(directory), stdio: "ignore" });
    const ended = new Promise<NodeJS.Signals | null>((done) => child.on("close", (_, signal) => done(signal)));
    await new Promise((resolve) => setTimeout(resolve, (full * (round + 1)) / 17));
    child.kill("SIGKILL");
    hit += (await ended) === "SIGKILL" ? 1 : 0;
    if (round % 2 === 0) {
      const done = run(["--yes", "--history"], directory);
      const left = Object.values(secret).flatMap((value) => lie(value, directory));
      check(`round ${round}: run again, nothing lies in the clear`, done.code === 0 && left.length === 0, `${done.output} ${left.join(" ")}`);
    }
    const done = run(["--undo"], directory);
    const now = picture(directory);
    check(`round ${round}: undone, every file is as it was`, done.code === 0 && same(then, now), `${done.output} ${difference(then, now)}`);
  }
  check("most of them were killed in the middle", hit >= 8, String(hit));
}

function fresh(directory: string): void {
  rmSync(directory, { recursive: true, force: true });
  cpSync(home.directory, directory, { recursive: true, preserveTimestamps: true });
  for (const own of [".config/mantlet", ".local"]) rmSync(path.join(directory, own), { recursive: true, force: true });
}

/** How long an import takes that nobody disturbs. */
async function timed(directory: string): Promise<number> {
  fresh(directory);
  const started = Date.now();
  const done = run(["--yes", "--history"], directory);
  check("an import in a copy of the home is done", done.code === 0, done.output);
  return Date.now() - started;
}
