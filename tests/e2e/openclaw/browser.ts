// A real Chromium without a window, spoken to by its own debugging protocol.

import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync } from "node:fs";
import path from "node:path";

interface Answer {
  readonly id?: number;
  readonly result?: { readonly sessionId?: string; readonly targetId?: string; readonly result?: { readonly value?: unknown } };
}

export class Browser {
  readonly #child: ChildProcess;
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #number = 1;

  private constructor(child: ChildProcess, socket: WebSocket) {
    this.#child = child;
    this.#socket = socket;
    socket.addEventListener("message", (event) => {
      const answer = JSON.parse(String(event.data)) as Answer;
      if (answer.id !== undefined) this.#waiting.get(answer.id)?.(answer);
    });
  }

  static async start(directory: string, home: string): Promise<Browser> {
    const profile = mkdtempSync(path.join(home, "chromium-"));
    const flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--remote-debugging-port=0", `--user-data-dir=${profile}`];
    const env = { HOME: home, PATH: "/usr/bin:/bin", LD_LIBRARY_PATH: path.join(directory, "lib"), LANG: "C.UTF-8" };
    const child = spawn(path.join(directory, "chromium"), [...flags, "about:blank"], { env, stdio: ["ignore", "ignore", "pipe"] });
    let said = "";
    child.stderr.on("data", (chunk: Buffer) => (said += chunk.toString("utf8")));
    const file = path.join(profile, "DevToolsActivePort");
    for (let tries = 0; tries < 300 && !existsSync(file) && child.exitCode === null; tries += 1) await pause();
    if (!existsSync(file)) throw new Error(`no browser: ${said}`);
    const [port, place] = readFileSync(file, "utf8").split("\n");
    const socket = new WebSocket(`ws://127.0.0.1:${port}${place}`);
    await new Promise((open, fail) => {
      socket.addEventListener("open", open);
      socket.addEventListener("error", fail);
    });
    return new Browser(child, socket);
  }

  /** Opens a page and waits until an expression in it is true, or long enough. Returns what a second one gives then. */
  async page(url: string, isThere: string, then: string): Promise<string> {
    const { targetId } = (await this.#ask("Target.createTarget", { url })) ?? {};
    const { sessionId } = (await this.#ask("Target.attachToTarget", { targetId, flatten: true })) ?? {};
    const evaluate = async (expression: string): Promise<unknown> => (await this.#ask("Runtime.evaluate", { expression, returnByValue: true, awaitPromise: true }, sessionId))?.result?.value;
    for (let tries = 0; tries < 300; tries += 1) {
      if ((await evaluate(isThere)) === true) break;
      await pause();
    }
    return String(await evaluate(then));
  }

  close(): void {
    this.#socket.close();
    this.#child.kill("SIGKILL");
  }

  async #ask(method: string, params: object, sessionId?: string): Promise<Answer["result"]> {
    const id = this.#number++;
    const answer = new Promise<Answer>((resolve) => this.#waiting.set(id, resolve));
    this.#socket.send(JSON.stringify({ id, method, params, sessionId }));
    return (await answer).result;
  }
}

async function pause(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 100));
}
