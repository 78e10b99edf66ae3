// Node's ways to a URL: fetch.cjs WAY URL [SECONDS]. What comes back goes to standard output.
const [way, url, seconds] = process.argv.slice(2);

async function whole(response) {
  if (response.status !== 200) throw new Error(`status ${response.status}`);
  return Buffer.from(await response.arrayBuffer());
}

/** One `https.get` with an agent of its own. */
function get() {
  const https = require("node:https");
  return new Promise((resolve, reject) => {
    const chunks = [];
    const request = https.get(url, { agent: new https.Agent({ keepAlive: true }) }, (response) => {
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("end", () => resolve(Buffer.concat(chunks)));
    });
    request.on("error", reject);
  });
}

/** A text that the server echoes; with `seconds`, one each second for so long on one connection. */
function socket() {
  const WebSocket = require("ws");
  const connection = new WebSocket(url);
  const text = url.split("/")[3];
  const sent = Math.max(1, Number(seconds ?? 1));
  return new Promise((resolve, reject) => {
    let echoes = 0;
    const send = () => connection.send(`${text} ${echoes}`);
    connection.on("open", send);
    connection.on("error", reject);
    connection.on("close", (code) => (echoes === sent ? resolve(Buffer.from(`${text} ${echoes}`)) : reject(new Error(`closed with ${code} after ${echoes}`))));
    connection.on("message", (data) => {
      if (String(data) !== `${text} ${echoes}`) return reject(new Error("another text"));
      echoes += 1;
      if (echoes === sent) connection.close();
      else setTimeout(send, 1000);
    });
  });
}

const ways = {
  fetch: async () => whole(await fetch(url)),
  dispatcher: async () => whole(await fetch(url, { dispatcher: new (require("undici").Agent)() })),
  undici: async () => whole(await require("undici").fetch(url, { dispatcher: new (require("undici").Agent)() })),
  agent: get,
  socket,
};
ways[way]().then(
  (body) => process.stdout.write(body, () => process.exit(0)),
  (error) => {
    console.error(error.message, error.cause ?? "");
    process.exit(1);
  },
);
