// A model whose every answer is written beforehand: OpenAI's chat-completions API on loopback.
// A turn names its script in the user's message; each tool result that comes back earns the next call.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface ToolCall {
  readonly tool: "exec" | "read" | "write" | "edit" | "process";
  readonly args: Readonly<Record<string, unknown>>;
}

/** A call, or one made from what the earlier calls gave. */
export type NextCall = ToolCall | ((results: readonly string[]) => ToolCall);

interface Message {
  role: string;
  content?: unknown;
}

interface Script {
  readonly calls: readonly NextCall[];
  readonly results: string[];
  requests: number;
}

/** The words that end a turn whose script is finished. */
export const FINISHED = "the script is finished";

export class ScriptedModel {
  readonly #scripts = new Map<string, Script>();
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

  get baseUrl(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/v1`;
  }

  /** Prepares a turn; `name` must be new, since OpenClaw repeats older messages as context. */
  prepare(name: string, calls: readonly NextCall[]): { message: string; results: readonly string[] } {
    const script: Script = { calls, results: [], requests: 0 };
    this.#scripts.set(name, script);
    return { message: `Please run script <${name}>.`, results: script.results };
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    if (request.method !== "POST" || !request.url?.endsWith("/chat/completions")) {
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify({ object: "list", data: [{ id: "scripted", object: "model" }] }));
      return;
    }
    const body = JSON.parse(Buffer.concat(chunks).toString("utf8")) as { messages: Message[]; tools?: unknown[] };
    const asked = latestScript(body.messages);
    const script = asked === undefined ? undefined : this.#scripts.get(asked.name);
    if (asked === undefined || script === undefined || body.tools === undefined) {
      stream(response, { content: "ok" }, "stop");
      return;
    }
    script.requests += 1;
    const results = body.messages.slice(asked.index).filter((message) => message.role === "tool");
    script.results.splice(0, Infinity, ...results.map((message) => text(message.content)));
    const next = script.calls[results.length];
    // A client that loses results would be asked for ever.
    if (next === undefined || script.requests > 2 * script.calls.length + 2) {
      stream(response, { content: FINISHED }, "stop");
      return;
    }
    const call = typeof next === "function" ? next(script.results) : next;
    const id = `call${results.length}${asked.name.replaceAll("-", "")}`;
    stream(response, { tool_calls: [{ index: 0, id, type: "function", function: { name: call.tool, arguments: JSON.stringify(call.args) } }] }, "tool_calls");
  }
}

/** The script that the newest message with a name asks for, and where that message stands. */
function latestScript(messages: readonly Message[]): { name: string; index: number } | undefined {
  for (const [index, message] of [...messages.entries()].toReversed()) {
    const name = message.role === "user" ? /run script <([a-z0-9-]+)>/.exec(text(message.content))?.[1] : undefined;
    if (name !== undefined) return { name, index };
  }
  return undefined;
}

function text(content: unknown): string {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return "";
  return content.map((part: unknown) => (typeof part === "object" && part !== null && "text" in part ? String(part.text) : "")).join("\n");
}

function stream(response: ServerResponse, delta: object, reason: string): void {
  const chunk = (part: object, finish: string | null) => ({
    id: "scripted",
    object: "chat.completion.chunk",
    created: 0,
    model: "scripted",
    choices: [{ index: 0, delta: part, finish_reason: finish }],
  });
  response.setHeader("content-type", "text/event-stream");
  for (const event of [chunk({ role: "assistant", ...delta }, null), { ...chunk({}, reason), usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 } }]) {
    response.write(`data: ${JSON.stringify(event)}\n\n`);
  }
  response.end("data: [DONE]\n\n");
}
