// Telegram's Bot API, as far as OpenClaw's own channel asks for it: one bot, one person who writes to it.

import type { IncomingMessage, ServerResponse } from "node:http";

export const TOKEN = "777000:AAE-a-token-of-the-test-world-000000000";
export const PERSON = 4242;

interface Update {
  readonly update_id: number;
  readonly message: object;
}

export class Bot {
  /** The texts that were sent to the person. */
  readonly sent: string[] = [];
  readonly #updates: Update[] = [];
  #number = 1;

  /** The person writes. */
  deliver(text: string): void {
    const number = this.#number++;
    const person = { id: PERSON, is_bot: false, first_name: "Ann" };
    this.#updates.push({ update_id: number, message: { message_id: number, date: Math.floor(Date.now() / 1000), chat: { id: PERSON, type: "private", first_name: "Ann" }, from: person, text } });
  }

  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [, bot, method = ""] = (request.url ?? "").split(/[/?]/);
    let body = "";
    for await (const chunk of request) body += (chunk as Buffer).toString("utf8");
    const result = bot === `bot${TOKEN}` ? await this.#result(method, asked(body)) : undefined;
    response.writeHead(result === undefined ? 401 : 200, { "content-type": "application/json" });
    response.end(JSON.stringify(result === undefined ? { ok: false, error_code: 401, description: "Unauthorized" } : { ok: true, result }));
  }

  async #result(method: string, body: Record<string, unknown>): Promise<unknown> {
    switch (method) {
      case "getMe":
        return { id: 777_000, is_bot: true, first_name: "Bot", username: "world_bot", can_join_groups: true, can_read_all_group_messages: false, supports_inline_queries: false };
      case "getUpdates": {
        const offset = Number(body["offset"] ?? 0);
        const news = (): Update[] => this.#updates.filter((update) => update.update_id >= offset);
        for (let waited = 0; news().length === 0 && waited < 20; waited += 1) await new Promise((resolve) => setTimeout(resolve, 100));
        return news();
      }
      case "sendMessage":
      case "editMessageText":
        this.sent.push(String(body["text"]));
        return { message_id: this.#number++, date: Math.floor(Date.now() / 1000), chat: { id: PERSON, type: "private" }, text: String(body["text"]) };
      case "getChat":
        return { id: PERSON, type: "private", first_name: "Ann" };
      case "getMyCommands":
        return [];
      case "getWebhookInfo":
        return { url: "", has_custom_certificate: false, pending_update_count: 0 };
      default:
        return true;
    }
  }
}

/** The parameters of a call; of the other forms only JSON and the query's are needed here. */
function asked(body: string): Record<string, unknown> {
  try {
    return JSON.parse(body) as Record<string, unknown>;
  } catch {
    return Object.fromEntries(new URLSearchParams(body));
  }
}
