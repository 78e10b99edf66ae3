// What stands for the internet: a name server on 8.8.8.8 and web servers on every address of this namespace. It prints a
// line for each look-up and each request, which is how a test sees what left the host.

import { createSocket } from "node:dgram";
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";

const NAMES: Readonly<Record<string, readonly string[]>> = {
  "example.com": ["9.9.9.9"],
  "allowed.test": ["9.9.9.9"],
  "evil.test": ["151.101.1.2"],
  "private.test": ["10.1.2.3"],
  "mixed.test": ["9.9.9.9", "10.1.2.3"],
};

const [tls] = process.argv.slice(2);
if (tls === undefined) throw new Error("usage: internet.ts TLS-DIRECTORY");

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
  response.end("reached-the-world\n");
}

const secure = createTlsServer({ key: readFileSync(`${tls}/leaf.key`), cert: readFileSync(`${tls}/leaf.pem`) }, answer);
const plain = createServer(answer);
await new Promise<void>((up) => dns.bind(53, "8.8.8.8", up));
await new Promise<void>((up) => secure.listen(443, "0.0.0.0", up));
await new Promise<void>((up) => plain.listen(80, "0.0.0.0", up));
console.log("ready");
