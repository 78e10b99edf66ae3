// The real gateway in its jail, with a way out and a way in. Out: model, pages and Telegram by name, and nothing else. In: the
// owner's CLI and a real browser, by what is published; a machine next door only where the policy says so and the gateway
// asks who comes. Without the jail, as the control, that machine reaches the gateway and every name is asked for.

import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import path from "node:path";
import { check, close } from "../model/check.ts";
import { FINISHED, type Prepared, ScriptedModel } from "../model/model.ts";
import { PERSON, TOKEN } from "./bot.ts";
import { Browser } from "./browser.ts";
import { Home } from "./home.ts";

const PORT = 18_789;
/** This host, as the machine next door sees it. */
const OUTSIDE = `192.168.77.2:${PORT}`;
const OWNERS = `127.0.0.1:${PORT}`;

type Auth = { readonly mode: "none" } | { readonly mode: "token"; readonly token: string };
interface Entry {
  readonly kind: string;
  readonly outcome: string;
  readonly way: string;
  readonly host: string;
  readonly rule?: string;
  readonly reason?: string;
}

const [scratch, cache] = process.argv.slice(2);
if (scratch === undefined || cache === undefined) throw new Error("usage: way-out.ts SCRATCH CACHE");

const model = await ScriptedModel.listen();
const modelPort = new URL(model.origin).port;
const openclaw = path.join(cache, "node_modules/openclaw/openclaw.mjs");
const home = new Home(path.join(scratch, "home"), openclaw, `canary-${randomBytes(8).toString("hex")}`);
const secret = `${home.canary}-gateway`;
const token: Auth = { mode: "token", token: secret };
const mantletRun = path.join(scratch, "bin/mantlet-run");
const policy = path.join(scratch, "home/.config/mantlet/mantlet.toml");
const configFile = path.join(home.state, "openclaw.json");
const plugin = path.join(scratch, "plugin");
const authority = path.join(scratch, "tls/ca.pem");
mkdirSync(path.dirname(policy), { recursive: true, mode: 0o700 });
mkdirSync(path.join(scratch, "home/next-door"));

console.log("control: the gateway without a jail");
configure("lan", token, "without Mantlet");
await withGateway(home.start(["gateway", "run", "--port", String(PORT)]), async () => {
  const seen = await nextDoor("/visit", `http://${OUTSIDE}/healthz`);
  check("a machine next door reaches it", seen.startsWith("200 "), seen);
  const script = await turn("control", [{ tool: "web_fetch", args: { url: "http://evil.test/" } }]);
  check("and it reaches every name", script.results[0]?.includes("reached-the-world") === true && internet().includes("dns evil.test"), JSON.stringify(script.results));
});
configure("lan", { mode: "none" }, "without Mantlet");
const refusal = await home.run(["gateway", "run", "--port", String(PORT)]);
check("OpenClaw itself does not start on the network without authentication", refusal.code !== 0 && refusal.output.includes("Refusing to bind gateway to lan without auth"), refusal.output);
const before = internet().length;

console.log("in a jail, on all its addresses, published to the owner");
writePolicy('ports = ["127.0.0.1:18789"]');
configure("lan", token);
await withGateway(jailed(), async (log) => {
  const seen = await nextDoor("/visit", `http://${OUTSIDE}/healthz`);
  check("a machine next door does not reach it", seen === "no answer: ECONNREFUSED", seen);
  check("it did bind to all addresses", log().includes("binding to a non-loopback address"), log());
  const health = await home.run(["gateway", "health", "--url", `ws://${OWNERS}`, "--token", secret]);
  check("the owner's CLI reaches it: gateway health", health.code === 0 && health.output.includes("OK"), health.output);
  const status = await home.run(["gateway", "status", "--url", `ws://${OWNERS}`, "--token", secret]);
  check("the owner's CLI reaches it: gateway status", status.code === 0 && status.output.includes("Connectivity probe: ok"), status.output);
  await out();
  await telegram();
  await browse(`http://${OWNERS}/#token=${secret}`);
});
ledger();

console.log("in a jail, published to the network, without authentication");
writePolicy(`ports = ["127.0.0.1:18789", "192.168.77.2:18789"]\nexposed = "the machine next door"`);
configure("loopback", { mode: "none" });
const said = await withGateway(jailed(), async () => {
  const seen = await nextDoor("/visit", `http://${OUTSIDE}/healthz`);
  check("a machine next door is refused", seen === "no answer: ECONNRESET", seen);
  const health = await home.run(["gateway", "health"]);
  check("the owner's CLI reaches it", health.code === 0 && health.output.includes("OK"), health.output);
});
check("the owner is told why", said.includes("the gateway has no authentication: its mode of authentication is `none`"), said);
const shut = entries().filter((entry) => entry.way === "publish" && entry.outcome === "refused" && entry.host === OUTSIDE);
check("and the ledger says so", shut.some((entry) => entry.reason?.includes("the gateway has no authentication") === true), JSON.stringify(shut));

console.log("in a jail, published to the network, with a token");
configure("loopback", token);
await withGateway(jailed(), async (log) => {
  const seen = await nextDoor("/visit", `http://${OUTSIDE}/healthz`);
  check("a machine next door reaches it", seen.startsWith("200 "), seen);
  const wrong = await fromNextDoor(["gateway", "health", "--url", `ws://${OUTSIDE}`, "--token", "wrong"]);
  check("and is asked for the token", wrong.code !== 0, wrong.output);
  const right = await fromNextDoor(["gateway", "health", "--url", `ws://${OUTSIDE}`, "--token", secret]);
  check("with it, it comes in", right.code === 0, right.output);
  // What the gateway gives whoever comes from its loopback and has the token, and nobody else.
  const owner = await home.run(["devices", "list", "--url", `ws://${OWNERS}`, "--token", secret]);
  check("the owner is taken for the owner", owner.code === 0 && owner.output.includes("Paired"), owner.output);
  const stranger = await fromNextDoor(["devices", "list", "--url", `ws://${OUTSIDE}`, "--token", secret]);
  check("and who is next door is not", stranger.code !== 0 && stranger.output.includes("missing scope") && log().includes("remote=198.18.0.1"), stranger.output);
});
model.close();
process.exitCode = close() ? 0 : 1;

/** A turn with the tools that leave the jail. */
async function out(): Promise<void> {
  const script = await turn("jailed", [
    { tool: "exec", args: { command: "echo by exec > made" } },
    { tool: "web_fetch", args: { url: "http://allowed.test/" } },
    { tool: "web_fetch", args: { url: "https://example.com/" } },
    { tool: "web_fetch", args: { url: "http://evil.test/" } },
    { tool: "web_fetch", args: { url: "http://9.9.9.9/" } },
  ]);
  const said = JSON.stringify(script.results);
  check("a turn reaches the model by its name in the policy", script.results.length === 5, said);
  check("its command ran", existsSync(path.join(home.workspace, "made")), said);
  check("web_fetch from an allowed name works", script.results[1]?.includes("reached-the-world") === true, said);
  check("and over TLS", script.results[2]?.includes("reached-the-world") === true, said);
  check("from another it is refused", script.results[3]?.includes("ENOTFOUND") === true, said);
  check("and from an address", script.results[4]?.includes("reached-the-world") === false, said);
}

/** A person writes to the bot, and the gateway's own Telegram channel answers. */
async function telegram(): Promise<void> {
  const script = model.prepare(`telegram-${randomBytes(4).toString("hex")}`, [{ tool: "exec", args: { command: "echo by telegram > told" } }]);
  await nextDoor("/deliver", script.message);
  const isAnswered = await until(async () => (await nextDoor("/sent", "")).includes(FINISHED), 60_000);
  check("a person on Telegram is answered", isAnswered, await nextDoor("/sent", ""));
  check("by a turn whose command ran", existsSync(path.join(home.workspace, "told")), JSON.stringify(script.results));
}

async function browse(url: string): Promise<void> {
  const browser = await Browser.start(path.join(cache as string, "chromium"), scratch as string);
  const text = await browser.page(url, "document.body.innerText.includes('Connected')", "document.title + ' ' + document.body.innerText");
  browser.close();
  check("a browser shows the gateway's page, connected", text.includes("OpenClaw") && text.includes("Connected"), text);
}

/** What left the host, and what is kept of it. */
function ledger(): void {
  const asked = internet().slice(before);
  const names = new Set([...asked.matchAll(/^dns (.*)$/gm)].map((found) => found[1]));
  check("no packet asked for a name that is not allowed", [...names].sort().join() === "allowed.test,example.com,telegram.test", [...names].join());
  const kept = entries();
  const has = (outcome: string, way: string, host: string): boolean => kept.some((entry) => entry.outcome === outcome && entry.way === way && entry.host === host);
  for (const host of ["allowed.test:80", "example.com:443", "telegram.test:443", `model.host:${modelPort}`]) check(`the ledger has what passed: ${host}`, has("passed", "direct", host), JSON.stringify(kept));
  check("and what came in", has("passed", "publish", OWNERS), JSON.stringify(kept));
  check("and what was refused", kept.some((entry) => entry.outcome === "refused" && entry.host.startsWith("evil.test")), JSON.stringify(kept));
}

function entries(): readonly Entry[] {
  const lines = readFileSync(path.join(home.directory, ".local/state/mantlet/ledger/ledger.jsonl"), "utf8").trim().split("\n");
  return lines.map((line) => JSON.parse(line) as Entry).filter((entry) => entry.kind === "egress");
}

function internet(): string {
  return readFileSync(path.join(scratch as string, "internet.log"), "utf8");
}

async function turn(name: string, calls: Parameters<ScriptedModel["prepare"]>[1]): Promise<Prepared> {
  const script = model.prepare(`${name}-${randomBytes(4).toString("hex")}`, calls);
  const done = await home.run(["agent", "--session-id", name, "--message", script.message, "--json", "--timeout", "120"]);
  check(`a turn is answered: ${name}`, done.code === 0 && done.output.includes(FINISHED), done.output);
  return script;
}

function writePolicy(publish: string): void {
  const quoted = (text: string): string => JSON.stringify(text);
  const text = `version = 1
[agent.main]
role = "builder"
client = "openclaw"
workspace = ${quoted(home.workspace)}
[agent.main.files]
read = [${quoted(plugin)}, ${quoted(authority)}]
[agent.main.env]
set = { NODE_EXTRA_CA_CERTS = ${quoted(authority)} }
[agent.main.tools]
allow = ["web_fetch"]
[agent.main.egress]
allow = ["example.com", "allowed.test:80", "telegram.test"]
local = [{ name = "model.host", to = "127.0.0.1:${modelPort}" }]
[agent.main.publish]
${publish}
`;
  writeFileSync(policy, text, { mode: 0o600 });
}

function configure(bind: string, auth: Auth, how: "jailed" | "without Mantlet" = "jailed"): void {
  // Its own guard takes the addresses that stand for names for a network's, and has settings for just that.
  const ssrfPolicy = { allowRfc2544BenchmarkRange: true, allowIpv6UniqueLocalRange: true };
  const arm = how === "jailed" ? ({ sandbox: "mantlet", plugin, modelUrl: `http://model.host:${modelPort}/v1` } as const) : ({ sandbox: "off", plugin: undefined, modelUrl: model.baseUrl } as const);
  home.configure({ ...arm, mantletRun, more: {
    gateway: { port: PORT, bind, auth, controlUi: { allowedOrigins: [`http://${OWNERS}`] } },
    agents: { heartbeat: { every: "0m" } },
    tools: { sandbox: { tools: { alsoAllow: ["web_fetch"] } }, web: { fetch: { ssrfPolicy } } },
  } });
  if (how !== "jailed") return;
  const config = JSON.parse(readFileSync(configFile, "utf8"));
  config.plugins.allow.push("telegram");
  config.session = { dmScope: "per-channel-peer" };
  config.channels = { telegram: { enabled: true, botToken: TOKEN, apiRoot: "https://telegram.test", dmPolicy: "allowlist", allowFrom: [String(PERSON)] } };
  writeFileSync(configFile, JSON.stringify(config, null, 2), { mode: 0o600 });
}

function jailed(): ChildProcess {
  return spawn(mantletRun, ["run", "main", "--policy", policy, "--", process.execPath, openclaw, "gateway", "run", "--port", String(PORT)], {
    cwd: home.directory,
    env: { HOME: home.directory, PATH: "/usr/local/bin:/usr/bin:/bin", LANG: "C.UTF-8", NO_COLOR: "1" },
    stdio: ["ignore", "pipe", "pipe"],
  });
}

async function withGateway(gateway: ChildProcess, act: (log: () => string) => Promise<void>): Promise<string> {
  let log = "";
  for (const stream of [gateway.stdout, gateway.stderr]) stream?.on("data", (chunk: Buffer) => (log += chunk.toString("utf8")));
  const gone = new Promise<number | null>((ended) => gateway.once("close", ended));
  try {
    const serves = await until(async () => (await fetch(`http://${OWNERS}/healthz`).catch(() => undefined))?.ok === true, 90_000);
    check("it serves", serves, log.slice(-1500));
    if (serves) await act(() => log);
  } finally {
    gateway.kill("SIGTERM");
    const code = await Promise.race([gone, new Promise<string>((late) => setTimeout(() => late("never"), 60_000).unref())]);
    check("it ends when it is told to", code === 0, `${code}: ${log.slice(-800)}`);
    gateway.kill("SIGKILL");
  }
  return log;
}

/** The real CLI on the machine next door, with a home of its own. */
async function fromNextDoor(args: readonly string[]): Promise<{ readonly code: number | null; readonly output: string }> {
  const env = { HOME: path.join(scratch as string, "home/next-door"), PATH: "/usr/local/bin:/usr/bin:/bin", LANG: "C.UTF-8", NO_COLOR: "1" };
  return JSON.parse(await nextDoor("/run", JSON.stringify({ args: [openclaw, ...args], env })));
}

/** Tells the machine next door what to do. */
async function nextDoor(what: string, body: string): Promise<string> {
  return await new Promise((resolve, reject) => {
    const asking = request({ socketPath: path.join(scratch as string, "next-door"), path: what, method: "POST" }, (answer) => {
      let text = "";
      answer.on("data", (chunk: Buffer) => (text += chunk.toString("utf8")));
      answer.on("end", () => resolve(text));
    });
    asking.on("error", reject);
    asking.end(body);
  });
}

async function until(holds: () => boolean | Promise<boolean>, limit: number): Promise<boolean> {
  for (const end = Date.now() + limit; Date.now() < end; ) {
    if (await holds()) return true;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return false;
}
