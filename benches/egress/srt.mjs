// srt's own proxy, from its package, with one allowed name: `node srt.mjs PACKAGE whole|bare`. It serves until its input ends.
//
// whole: what its SandboxManager starts for every sandbox. bare: its HTTP server alone, without the part in front of it
// that tells SOCKS from HTTP, and with the same look at resolved addresses.
import path from "node:path";
import { pathToFileURL } from "node:url";

const [, , place, kind] = process.argv;
const load = (file) => import(pathToFileURL(path.join(place, "dist", file)).href);
let port, login;
if (kind === "whole") {
  const { SandboxManager } = await load("index.js");
  await SandboxManager.initialize({
    network: { allowedDomains: ["origin.test"], deniedDomains: [] },
    filesystem: { denyRead: [], allowWrite: [], denyWrite: [] },
  });
  port = SandboxManager.getProxyPort();
  login = "Basic " + Buffer.from("srt:" + SandboxManager.getProxyAuthToken()).toString("base64");
} else {
  const { createHttpProxyServer } = await load("sandbox/http-proxy.js");
  const { createResolvedAddressGuard } = await load("sandbox/resolved-address-guard.js");
  const guard = createResolvedAddressGuard();
  const server = createHttpProxyServer({
    filter: (_port, host) => host === "origin.test",
    lookupFor: (to) => guard.lookupFor(to),
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  port = server.address().port;
}
console.log(JSON.stringify({ port, login }));
process.stdin.on("end", () => process.exit(0)).resume();
