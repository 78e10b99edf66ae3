// What stands for the internet: a name server on 8.8.8.8 and web servers on every address of this namespace. It prints a
// line for each look-up and each request, which is how a test sees what left the host. At a path socket a test tells this
// machine next door what to do: to write as a person of Telegram, to open a connection, to run the real OpenClaw.

import { spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { chmodSync, readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { Bot } from "./bot.ts";

const NAMES: Readonly<Record<string, readonly string[]>> = {
  "example.com": ["9.9.9.9"],
  "allowed.test": ["9.9.9.9"],
  "telegram.test": ["9.9.9.9"],
  "evil.test": ["151.101.1.2"],
  "private.test": ["10.1.2.3"],
  "mixed.test": ["9.9.9.9", "10.1.2.3"],
};

const [tls, control] = process.argv.slice(2);
if (tls === undefined || control === undefined) throw new Error("usage: internet.ts TLS-DIRECTORY SOCKET");
const bot = new Bot();

const dns = createSocket("udp4");
dns.on("message", (query, client) => {
  const labels: string[] = [];
  let at = 12;
  for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
    labels.push(query.toString("latin1", at + 1, at + 1 + length));
    at += length + 1;
  }
  const name = labels.join(".").toLowerCase();
  const isIpv4 = query.readUInt16BE(at + 1) === 1;
  console.log(`dns ${name}`);
  const addresses = isIpv4 ? (NAMES[name] ?? []) : [];
  const head = Buffer.from(query.subarray(0, 12));
  head.writeUInt16BE(name in NAMES ? 0x8180 : 0x8183, 2);
  head.writeUInt16BE(addresses.length, 6);
  head.writeUInt32BE(0, 8);
  const records = addresses.map((address) => Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, ...address.split(".").map(Number)]));
  dns.send(Buffer.concat([head, query.subarray(12, at + 5), ...records]), client.port, client.address);
});

function answer(request: IncomingMessage, response: ServerResponse): void {
  console.log(`request ${request.headers.host} ${request.headers["proxy-authorization"] ?? ""}`);
  if (request.headers.host === "telegram.test") void bot.answer(request, response);
  else response.setHeader("content-type", "text/plain").end("reached-the-world\n");
}

/** What a test asks of this machine. */
async function told(what: string, body: string): Promise<string> {
  switch (what) {
    case "/deliver":
      bot.deliver(body);
      return "";
    case "/sent":
      return JSON.stringify(bot.sent);
    case "/visit":
      return await fetch(body, { signal: AbortSignal.timeout(10_000) }).then(
        async (answer) => `${answer.status} ${await answer.text()}`,
        (error: Error) => `no answer: ${String((error.cause as { code?: string } | undefined)?.code ?? error)}`,
      );
    case "/run": {
      const { args, env } = JSON.parse(body) as { args: string[]; env: Record<string, string> };
      const child = spawn(process.execPath, args, { env, stdio: ["ignore", "pipe", "pipe"], timeout: 60_000, killSignal: "SIGKILL" });
      let output = "";
      for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => (output += chunk.toString("utf8")));
      const code = await new Promise((resolve) => child.on("close", resolve));
      return JSON.stringify({ code, output });
    }
    default:
      throw new Error(`nothing is known of ${what}`);
  }
}

const orders = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", () => void told(request.url ?? "", Buffer.concat(chunks).toString("utf8")).then((text) => response.end(text)));
});

const secure = createTlsServer({ key: readFileSync(`${tls}/leaf.key`), cert: readFileSync(`${tls}/leaf.pem`) }, answer);
const plain = createServer(answer);
await new Promise<void>((up) => dns.bind(53, "8.8.8.8", up));
await new Promise<void>((up) => secure.listen(443, "0.0.0.0", up));
await new Promise<void>((up) => plain.listen(80, "0.0.0.0", up));
await new Promise<void>((up) => orders.listen(control, up));
chmodSync(control, 0o666);
console.log("ready");
