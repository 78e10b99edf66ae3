// How the clients speak to a model: Anthropic's messages, OpenAI's chat completions and responses, Gemini's
// generateContent. Each is read into one form, and a tool call or a word is said in it.

import type { ServerResponse } from "node:http";
import type { ToolCall } from "./model.ts";

export interface Turn {
  readonly offersTools: boolean;
  /** What the user said and what tools gave, oldest first. */
  readonly entries: readonly Entry[];
}

interface Entry {
  readonly from: "user" | "tool";
  readonly text: string;
}

export interface Dialect {
  read(body: Body): Turn;
  say(response: ServerResponse, body: Body, words: string): void;
  call(response: ServerResponse, body: Body, id: string, call: ToolCall): void;
}

type Body = Readonly<Record<string, unknown>>;
type Part = Readonly<Record<string, unknown>>;

/** The dialect that a request's path belongs to. */
export function dialectOf(path: string): Dialect | undefined {
  if (path.endsWith("/chat/completions")) return completions;
  if (path.endsWith("/responses")) return responses;
  if (path.endsWith("/messages")) return messages;
  if (path.endsWith(":streamGenerateContent")) return gemini(true);
  if (path.endsWith(":generateContent")) return gemini(false);
  return undefined;
}

const parts = (value: unknown): readonly Part[] => (Array.isArray(value) ? (value as Part[]) : []);

const user = (content: unknown): Entry => ({ from: "user", text: text(content) });
const tool = (content: unknown): Entry => ({ from: "tool", text: text(content) });

/** The text in a string, in a list of parts, or in whatever else a result is. */
function text(content: unknown): string {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return content === undefined ? "" : JSON.stringify(content);
  return content.map((part: unknown) => (typeof part === "object" && part !== null && "text" in part ? String(part.text) : "")).join("\n");
}

function stream(response: ServerResponse, events: readonly object[], named = false): void {
  response.setHeader("content-type", "text/event-stream");
  for (const event of events) {
    if (named && "type" in event) response.write(`event: ${String(event.type)}\n`);
    response.write(`data: ${JSON.stringify(event)}\n\n`);
  }
}

const completions: Dialect = {
  read: (body) => ({
    offersTools: body.tools !== undefined,
    entries: parts(body.messages).flatMap((message) =>
      message.role === "user" ? [user(message.content)] : message.role === "tool" ? [tool(message.content)] : [],
    ),
  }),
  say: (response, _body, words) => complete(response, { content: words }, "stop"),
  call: (response, _body, id, call) =>
    complete(response, { tool_calls: [{ index: 0, id, type: "function", function: { name: call.tool, arguments: JSON.stringify(call.args) } }] }, "tool_calls"),
};

function complete(response: ServerResponse, delta: object, reason: string): void {
  const chunk = (part: object, finish: string | null) => ({
    id: "scripted",
    object: "chat.completion.chunk",
    created: 0,
    model: "scripted",
    choices: [{ index: 0, delta: part, finish_reason: finish }],
  });
  stream(response, [chunk({ role: "assistant", ...delta }, null), { ...chunk({}, reason), usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 } }]);
  response.end("data: [DONE]\n\n");
}

const responses: Dialect = {
  read: (body) => ({
    offersTools: parts(body.tools).length > 0,
    entries: parts(body.input).flatMap((item) => {
      if (item.type === "function_call_output" || item.type === "custom_tool_call_output") return [tool(item.output)];
      return item.role === "user" ? [user(item.content)] : [];
    }),
  }),
  say: (response, _body, words) =>
    respond(response, { type: "message", id: "message", role: "assistant", status: "completed", content: [{ type: "output_text", text: words, annotations: [] }] }),
  call: (response, _body, id, call) => {
    const item = { id, call_id: id, status: "completed", name: call.tool };
    if (call.text !== undefined) respond(response, { ...item, type: "custom_tool_call", input: call.text });
    else respond(response, { ...item, type: "function_call", namespace: call.namespace, arguments: JSON.stringify(call.args) });
  },
};

function respond(response: ServerResponse, item: object): void {
  const usage = { input_tokens: 1, input_tokens_details: { cached_tokens: 0 }, output_tokens: 1, output_tokens_details: { reasoning_tokens: 0 }, total_tokens: 2 };
  const answer = { id: "scripted", object: "response", created_at: 0, model: "scripted", output: [item], usage };
  stream(
    response,
    [
      { type: "response.created", response: { ...answer, output: [], status: "in_progress" } },
      { type: "response.output_item.added", output_index: 0, item },
      { type: "response.output_item.done", output_index: 0, item },
      { type: "response.completed", response: { ...answer, status: "completed" } },
    ],
    true,
  );
  response.end();
}

const messages: Dialect = {
  read: (body) => ({
    offersTools: parts(body.tools).length > 0,
    entries: parts(body.messages).flatMap((message) => {
      if (message.role !== "user") return [];
      if (typeof message.content === "string") return [user(message.content)];
      return parts(message.content).map((part) => (part.type === "tool_result" ? tool(part.content) : user([part])));
    }),
  }),
  say: (response, body, words) => tell(response, body, { type: "text", text: words }, { type: "text", text: "" }, { type: "text_delta", text: words }, "end_turn"),
  call: (response, body, id, call) => {
    const use = { type: "tool_use", id: `toolu_${id}`, name: call.tool };
    tell(response, body, { ...use, input: call.args }, { ...use, input: {} }, { type: "input_json_delta", partial_json: JSON.stringify(call.args) }, "tool_use");
  },
};

function tell(response: ServerResponse, body: Body, block: object, begin: object, delta: object, reason: string): void {
  const usage = { input_tokens: 1, output_tokens: 1 };
  const message = { id: "msg_scripted", type: "message", role: "assistant", model: String(body.model), stop_sequence: null };
  if (body.stream !== true) {
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ ...message, content: [block], stop_reason: reason, usage }));
    return;
  }
  stream(
    response,
    [
      { type: "message_start", message: { ...message, content: [], stop_reason: null, usage } },
      { type: "content_block_start", index: 0, content_block: begin },
      { type: "content_block_delta", index: 0, delta },
      { type: "content_block_stop", index: 0 },
      { type: "message_delta", delta: { stop_reason: reason, stop_sequence: null }, usage },
      { type: "message_stop" },
    ],
    true,
  );
  response.end();
}

function gemini(streams: boolean): Dialect {
  const answer = (response: ServerResponse, part: object): void => {
    const event = {
      candidates: [{ index: 0, content: { role: "model", parts: [part] }, finishReason: "STOP" }],
      usageMetadata: { promptTokenCount: 1, candidatesTokenCount: 1, totalTokenCount: 2 },
      modelVersion: "scripted",
    };
    if (streams) {
      stream(response, [event]);
      response.end();
    } else {
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify(event));
    }
  };
  return {
    read: (body) => ({
      offersTools: parts(body.tools).length > 0,
      entries: parts(body.contents).flatMap((content) =>
        content.role === "model"
          ? []
          : parts(content.parts).map((part) => (part.functionResponse === undefined ? user([part]) : tool((part.functionResponse as Part).response))),
      ),
    }),
    say: (response, _body, words) => answer(response, { text: words }),
    call: (response, _body, id, call) => answer(response, { functionCall: { id, name: call.tool, args: call.args } }),
  };
}
