// A model whose every answer is written beforehand, on loopback, in the dialects of ./dialects.ts. A client names its
// script in the path of its base URL, or in the user's message; each tool result that comes back earns the next call.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { dialectOf, type Turn } from "./dialects.ts";

export interface ToolCall {
  /** OpenAI's responses name a tool of an MCP server in two parts. */
  readonly namespace?: string;
  readonly tool: string;
  readonly args: Readonly<Record<string, unknown>>;
  /** The input of one of OpenAI's custom tools, which take a text instead of arguments. */
  readonly text?: string;
}

/** A call, or one made from what the earlier calls gave. */
export type NextCall = ToolCall | ((results: readonly string[]) => ToolCall);

interface Script {
  readonly calls: readonly NextCall[];
  readonly results: string[];
  readonly bodies: string[];
  requests: number;
}

export interface Prepared {
  /** What to say to the client so that this script is played. */
  readonly message: string;
  /** The base URL below which everything belongs to this script; no `/v1` at its end. */
  readonly url: string;
  /** What each call gave, as the model received it. */
  readonly results: readonly string[];
  /** The bodies of the requests that are this script's: all that the model saw of it, and all at all with `url`. */
  readonly bodies: readonly string[];
}

/** The words that end a turn whose script is finished. */
export const FINISHED = "the script is finished";

export class ScriptedModel {
  readonly #scripts = new Map<string, Script>();
  /** What every request said who it is, in the order of the first time. */
  readonly keys = new Set<string>();
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch((error: unknown) => {
        response.statusCode = 500;
        response.end(String(error));
      });
    });
  }

  static async listen(): Promise<ScriptedModel> {
    const model = new ScriptedModel();
    await new Promise<void>((ready) => model.#server.listen(0, "127.0.0.1", ready));
    return model;
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get baseUrl(): string {
    return `${this.origin}/v1`;
  }

  /** Prepares a turn; `name` must be new, since clients repeat older messages as context. */
  prepare(name: string, calls: readonly NextCall[]): Prepared {
    const script: Script = { calls, results: [], bodies: [], requests: 0 };
    this.#scripts.set(name, script);
    return { message: `Please run script <${name}>.`, url: `${this.origin}/script/${name}`, results: script.results, bodies: script.bodies };
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    for (const key of [request.headers.authorization, request.headers["x-api-key"]]) if (typeof key === "string") this.keys.add(key);
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const [path] = (request.url ?? "").split("?", 1) as [string];
    const named = this.#scripts.get(/^\/script\/([a-z0-9-]+)\//.exec(path)?.[1] ?? "");
    const raw = Buffer.concat(chunks).toString("utf8");
    if (raw !== "") named?.bodies.push(raw);
    const dialect = request.method === "POST" ? dialectOf(path) : undefined;
    if (dialect === undefined) {
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify({ object: "list", data: [{ id: "scripted", object: "model" }], input_tokens: 1, totalTokens: 1 }));
      return;
    }
    const body = JSON.parse(raw) as Record<string, unknown>;
    const turn = dialect.read(body);
    const asked = named === undefined ? latestScript(turn) : { name: "", since: 0 };
    const script = named ?? this.#scripts.get(asked?.name ?? "");
    if (asked === undefined || script === undefined || !turn.offersTools) {
      dialect.say(response, body, "ok");
      return;
    }
    script.requests += 1;
    if (named === undefined) script.bodies.push(raw);
    const results = turn.entries.slice(asked.since).filter((entry) => entry.from === "tool");
    script.results.splice(0, Infinity, ...results.map((entry) => entry.text));
    const next = script.calls[results.length];
    // A client that loses results would be asked for ever.
    if (next === undefined || script.requests > 2 * script.calls.length + 2) {
      dialect.say(response, body, FINISHED);
      return;
    }
    const call = typeof next === "function" ? next(script.results) : next;
    dialect.call(response, body, `call${results.length}${asked.name.replaceAll("-", "")}`, call);
  }
}

/** The script that the newest message with a name asks for, and where that message stands. */
function latestScript(turn: Turn): { name: string; since: number } | undefined {
  for (const [since, entry] of [...turn.entries.entries()].toReversed()) {
    const name = entry.from === "user" ? /run script <([a-z0-9-]+)>/.exec(entry.text)?.[1] : undefined;
    if (name !== undefined) return { name, since };
  }
  return undefined;
}
