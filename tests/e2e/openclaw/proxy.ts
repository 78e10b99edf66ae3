// `openclaw proxy validate` against the cooperative proxy, with what it asks for by default: https://example.com/ through
// it, and a canary on its own loopback that no proxy may reach. Then the login, and what the ledger keeps.

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { connect, type Socket } from "node:net";
import path from "node:path";
import { check, close } from "../model/check.ts";
import { Home } from "./home.ts";

interface Validated {
  readonly ok: boolean;
  readonly config: { readonly source: string };
  readonly checks: readonly { readonly kind: string; readonly url: string; readonly ok: boolean; readonly status?: number }[];
}

const [scratch, cache] = process.argv.slice(2);
if (scratch === undefined || cache === undefined) throw new Error("usage: proxy.ts SCRATCH CACHE");

const LISTEN = "127.0.0.1:3128";
const mantlet = path.join(scratch, "bin/mantlet");
const home = new Home(path.join(scratch, "home"), path.join(cache, "node_modules/openclaw/openclaw.mjs"), "canary");
const environment = { HOME: home.directory, PATH: "/usr/local/bin:/usr/bin:/bin", LANG: "C.UTF-8", NO_COLOR: "1", NODE_EXTRA_CA_CERTS: path.join(scratch, "tls/ca.pem") };
const internet = (): string => readFileSync(path.join(scratch, "internet.log"), "utf8");

const policy = path.join(home.directory, ".config/mantlet/mantlet.toml");
mkdirSync(path.dirname(policy), { recursive: true, mode: 0o700 });
mkdirSync(path.join(home.directory, "other"));
writeFileSync(
  policy,
  `version = 1
[agent.main]
role = "builder"
client = "openclaw"
workspace = ${JSON.stringify(home.workspace)}
[agent.main.egress]
allow = ["example.com", "allowed.test:80", "private.test", "mixed.test"]
[agent.other]
role = "builder"
workspace = "~/other"
`,
  { mode: 0o600 },
);
home.configure({ sandbox: "off", plugin: undefined, mantletRun: "", modelUrl: "http://127.0.0.1:1" });

console.log("control: a proxy that lets everything through, and none");
const open = await openProxy();
const throughOpen = await validate(["--proxy-url", `http://127.0.0.1:${(open.address() as { port: number }).port}`]);
check("what an open proxy reaches is found out", throughOpen.code === 1 && throughOpen.result?.checks.some((one) => one.kind === "allowed" && one.ok) === true && throughOpen.result.checks.some((one) => one.kind === "denied" && !one.ok), throughOpen.text);
open.close();
const none = await validate(["--proxy-url", `http://${LISTEN}`]);
check("without a proxy nothing validates", none.code === 1, none.text);

console.log("the cooperative proxy");
const url = print("main");
const proxy = spawn(mantlet, ["egress", "proxy", "--agent", "main", "--listen", LISTEN], { env: environment, stdio: ["ignore", "ignore", "pipe"] });
let said = "";
proxy.stderr.on("data", (chunk: Buffer) => (said += chunk.toString("utf8")));
await listening();
check("it says that it is cooperative", said.includes("cooperative: a program that does not use it is not confined"), said);
check("it prints no password by itself", !said.includes(new URL(url).password), "");

const whole = await validate(["--proxy-url", url]);
check("openclaw proxy validate passes", whole.code === 0 && whole.result?.ok === true, whole.text);
check("as it asks by default", whole.result?.checks.some((one) => one.url === "https://example.com/" && one.kind === "allowed" && one.status === 200) === true && whole.result.checks.some((one) => one.kind === "denied" && one.ok), whole.text);
const file = path.join(home.state, "openclaw.json");
writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, "utf8")), proxy: { proxyUrl: url } }), { mode: 0o600 });
const configured = await validate([]);
check("and from the configuration", configured.code === 0 && configured.result?.config.source === "config", configured.text);
const absolute = await validate(["--allowed-url", "http://allowed.test/"]);
check("and for plain HTTP", absolute.code === 0, absolute.text);
check("the login goes no further", internet().includes("request allowed.test") && !internet().includes("Basic"), internet());

for (const [what, wrong] of [
  ["a wrong password", url.replace(/:[0-9a-f]{64}@/, `:${"0".repeat(64)}@`)],
  ["another agent's password", print("other")],
  ["another agent's password under this name", print("other").replace("//other:", "//main:")],
  ["no password", `http://${LISTEN}`],
] as const) {
  const refused = await validate(["--proxy-url", wrong]);
  check(`${what} does not validate`, refused.code === 1 && refused.result?.checks.some((one) => one.kind === "allowed" && !one.ok) === true, refused.text);
  check(`${what} is answered 407`, (await status("example.com:443", wrong)).startsWith("HTTP/1.1 407 "), await status("example.com:443", wrong));
}
const named = await validate(["--allowed-url", "https://evil.test/"]);
check("a name that is not allowed does not validate", named.code === 1, named.text);
for (const [what, host] of [
  ["a name that is not allowed", "evil.test:443"],
  ["a port that is not allowed", "example.com:22"],
  ["an address of this host", "127.0.0.1:3128"],
  ["an address", "9.9.9.9:443"],
] as const) {
  const answer = await status(host, url);
  check(`${what} is answered 403`, answer.startsWith("HTTP/1.1 403 "), answer);
}
for (const host of ["private.test", "mixed.test"]) {
  const special = await validate(["--allowed-url", `https://${host}/`]);
  check(`an allowed name that leads into a network does not validate: ${host}`, special.code === 1 && !internet().includes(`request ${host}`), special.text);
}
check("no packet asked for a name that is not allowed", internet().includes("dns private.test") && !internet().includes("dns evil.test"), internet());

console.log("the ledger");
const before = entries();
check("what passed is there, with its rule and bytes", before.some((entry) => entry.outcome === "passed" && entry.host === "example.com:443" && entry.address === "9.9.9.9:443" && entry.down > 0 && (entry.rule ?? "").includes("line 7") && entry.call === undefined), JSON.stringify(before));
check("and what was refused", ["evil.test:443", "private.test:443"].every((host) => before.some((entry) => entry.outcome === "refused" && entry.host === host)), JSON.stringify(before));
check("and no password", !JSON.stringify(before).includes(new URL(url).password) && !JSON.stringify(before).includes("Basic"), "");
check("it ends when it is told to", (await ended(proxy)) === 0, said);
process.exitCode = close() ? 0 : 1;

interface Kept {
  readonly outcome: string;
  readonly host: string;
  readonly rule?: string;
  readonly address?: string;
  readonly call?: string;
  readonly down: number;
}

function entries(): readonly Kept[] {
  const { stdout } = spawnSync(mantlet, ["log", "--kind", "egress", "--json", "-n", "1000"], { env: environment, encoding: "utf8" });
  return stdout.trim().split("\n").map((line) => JSON.parse(line) as Kept);
}

function print(agent: string): string {
  const { stdout, stderr, status: code } = spawnSync(mantlet, ["egress", "proxy", "--agent", agent, "--listen", LISTEN, "--print-url"], { env: environment, encoding: "utf8" });
  if (code !== 0) throw new Error(stderr);
  return stdout.trim();
}

async function validate(args: readonly string[]): Promise<{ code: number | null; result: Validated | undefined; text: string }> {
  const child = spawn(process.execPath, [home.openclaw, "proxy", "validate", "--json", "--timeout-ms", "8000", ...args], { cwd: home.directory, env: environment, stdio: ["ignore", "pipe", "pipe"] });
  let out = "";
  let err = "";
  child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString("utf8")));
  child.stderr.on("data", (chunk: Buffer) => (err += chunk.toString("utf8")));
  const code = await new Promise<number | null>((resolve) => child.on("close", resolve));
  const start = out.indexOf("{");
  return { code, result: start < 0 ? undefined : (JSON.parse(out.slice(start)) as Validated), text: out + err };
}

/** The first line that CONNECT gets. */
async function status(host: string, proxyUrl: string): Promise<string> {
  const { username, password } = new URL(proxyUrl);
  const login = username === "" ? "" : `Proxy-Authorization: Basic ${Buffer.from(`${username}:${password}`).toString("base64")}\r\n`;
  const socket = connect(3128, "127.0.0.1");
  socket.write(`CONNECT ${host} HTTP/1.1\r\nHost: ${host}\r\n${login}\r\n`);
  let answer = "";
  for await (const chunk of socket) {
    answer += (chunk as Buffer).toString("utf8");
    if (answer.includes("\r\n")) break;
  }
  return answer.split("\r\n")[0] ?? "";
}

async function listening(): Promise<void> {
  for (let tries = 0; tries < 100; tries += 1) {
    const socket = connect(3128, "127.0.0.1");
    const up = await new Promise<boolean>((resolve) => socket.once("connect", () => resolve(true)).once("error", () => resolve(false)));
    socket.destroy();
    if (up) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function ended(child: ChildProcess): Promise<number | null> {
  const gone = new Promise<number | null>((resolve) => child.once("close", resolve));
  child.kill("SIGTERM");
  return await gone;
}

/** A proxy without any policy. */
async function openProxy(): Promise<Server> {
  const server = createServer((request, response) => {
    fetch(request.url ?? "").then(
      async (answer) => response.writeHead(answer.status).end(await answer.text()),
      () => response.writeHead(502).end(),
    );
  });
  server.on("connect", (request, client: Socket) => {
    const [host = "", port = "443"] = (request.url ?? "").split(":");
    const server = connect(Number(port), host, () => {
      client.write("HTTP/1.1 200 OK\r\n\r\n");
      client.pipe(server).pipe(client);
    });
    server.on("error", () => client.destroy());
    client.on("error", () => server.destroy());
  });
  return await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server)));
}
