// One jail that serves file operations: mantlet-run --files on the other side of two pipes. Frames as in
// crates/sandbox/src/files.rs. Requests go one after the other; a jail that ends fails what was asked of it.

import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";

/** What is asked; the fields are those of crates/sandbox/src/files.rs. */
export interface FileRequest {
  readonly op: "stat" | "read" | "list" | "resolve" | "write" | "create" | "append" | "mkdir" | "remove" | "rename" | "copy";
  /** The workspace by its real path. */
  readonly root: string;
  /** Relative to the root. */
  readonly path: string;
  readonly to?: string;
  readonly readonly?: readonly string[];
  readonly pinned?: boolean;
  readonly mkdir?: boolean;
  readonly recursive?: boolean;
  readonly force?: boolean;
  readonly follow?: boolean;
  readonly max?: number;
  readonly mode?: number;
  readonly unsynced?: boolean;
}

export interface FileAnswer {
  /** What the operation says of itself. */
  readonly told: unknown;
  readonly data: Buffer;
}

/** The jail said no, or the kernel did: `code` is its name for it. */
export class FileError extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** The jail is gone, or never stood: nothing is known of the operation. */
export class JailGone extends Error {}

/** OpenClaw's own bound for what a sandbox returns. */
const MAX_ANSWER_BYTES = 100 * 1024 * 1024;
const PIECE_BYTES = 256 * 1024;

interface Waiting {
  resolve(answer: FileAnswer): void;
  reject(error: Error): void;
  readonly pieces: Buffer[];
  held: number;
}

export class FileJail {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #ended: Promise<void>;
  #queue: Promise<unknown> = Promise.resolve();
  #waiting: Waiting | undefined;
  #input: Buffer = Buffer.alloc(0);
  #said = "";
  #gone: string | undefined;
  #code: number | null = null;

  constructor(argv: readonly string[], env: Record<string, string>) {
    const [program = "", ...args] = argv;
    // cwd "/": the client must not keep a directory of the workspace busy.
    this.#child = spawn(program, args, { cwd: "/", env, stdio: ["pipe", "pipe", "pipe"], killSignal: "SIGKILL" });
    this.#child.stdout.on("data", (chunk: Buffer) => this.#take(chunk));
    this.#child.stderr.on("data", (chunk: Buffer) => (this.#said = (this.#said + chunk.toString("utf8")).slice(-64 * 1024)));
    // A jail that ends closes its input: its end tells the story.
    this.#child.stdin.on("error", () => {});
    this.#ended = new Promise((ended) => {
      this.#child.on("error", (error) => {
        this.#end(`mantlet: ${error.message}; nothing was run`);
        ended();
      });
      this.#child.on("close", (code, signal) => {
        this.#code = code;
        this.#end(this.#said.trim() === "" ? `mantlet: the file jail ended with ${code ?? signal}` : this.#said.trim());
        ended();
      });
    });
    this.#hold(false);
  }

  get isGone(): boolean {
    return this.#gone !== undefined;
  }

  /** What Mantlet printed: refusals, and what its review undid. */
  get said(): string {
    return this.#said;
  }

  /** Asks for one operation. An abort ends the whole jail: what is under way in it cannot be taken back otherwise. */
  ask(request: FileRequest, body?: Buffer, signal?: AbortSignal): Promise<FileAnswer> {
    const asked = this.#queue.then(() => this.#exchange(request, body, signal));
    this.#queue = asked.catch(() => {});
    return asked;
  }

  /** Lets the jail end and waits until it has been reviewed. Rejects unless it ended well. */
  async close(): Promise<void> {
    this.#hold(true);
    this.#child.stdin.end();
    await this.#ended;
    if (this.#code !== 0) throw new JailGone(this.#gone);
  }

  /** Ends the jail at once. */
  kill(): void {
    this.#child.kill("SIGKILL");
  }

  /** Lets the jail end, without anyone waiting for it. */
  release(): void {
    this.#child.stdin.end();
  }

  async #exchange(request: FileRequest, body: Buffer | undefined, signal: AbortSignal | undefined): Promise<FileAnswer> {
    signal?.throwIfAborted();
    if (this.#gone !== undefined) throw new JailGone(this.#gone);
    this.#hold(true);
    const abort = (): void => this.kill();
    signal?.addEventListener("abort", abort);
    try {
      const answer = new Promise<FileAnswer>((resolve, reject) => (this.#waiting = { resolve, reject, pieces: [], held: 0 }));
      this.#send("Q", Buffer.from(JSON.stringify(request)));
      if (body !== undefined) {
        for (let at = 0; at < body.length; at += PIECE_BYTES) this.#send("D", body.subarray(at, at + PIECE_BYTES));
        this.#send("E", Buffer.alloc(0));
      }
      return await answer;
    } catch (error) {
      signal?.throwIfAborted();
      throw error;
    } finally {
      this.#waiting = undefined;
      signal?.removeEventListener("abort", abort);
      this.#hold(false);
    }
  }

  #send(kind: string, payload: Buffer): void {
    const head = Buffer.alloc(5);
    head.write(kind, 0, "latin1");
    head.writeUInt32LE(payload.length, 1);
    this.#child.stdin.write(Buffer.concat([head, payload]));
  }

  #take(chunk: Buffer): void {
    this.#input = this.#input.length === 0 ? chunk : Buffer.concat([this.#input, chunk]);
    while (this.#input.length >= 5) {
      const length = this.#input.readUInt32LE(1);
      if (length > PIECE_BYTES) return this.#break("a frame is too long");
      if (this.#input.length < 5 + length) return;
      const kind = String.fromCharCode(this.#input[0] ?? 0);
      const payload = this.#input.subarray(5, 5 + length);
      this.#input = this.#input.subarray(5 + length);
      if (kind === "D") this.#keep(payload);
      else if (kind === "R") this.#reply(payload);
      else return this.#break("an unknown frame");
    }
  }

  #keep(payload: Buffer): void {
    const waiting = this.#waiting;
    if (waiting === undefined) return this.#break("an answer to nothing");
    waiting.held += payload.length;
    if (waiting.held > MAX_ANSWER_BYTES) return this.#break("the answer is longer than 100 MiB");
    waiting.pieces.push(payload);
  }

  #reply(payload: Buffer): void {
    const waiting = this.#waiting;
    if (waiting === undefined) return this.#break("an answer to nothing");
    let answer: { ok?: unknown; error?: { code?: unknown; message?: unknown } };
    try {
      answer = JSON.parse(payload.toString("utf8")) as typeof answer;
    } catch {
      return this.#break("an answer that is no JSON");
    }
    if (answer.error !== undefined) waiting.reject(new FileError(String(answer.error.code), String(answer.error.message)));
    else if (answer.ok !== undefined) waiting.resolve({ told: answer.ok, data: Buffer.concat(waiting.pieces) });
    else this.#break("an answer that says nothing");
  }

  /** The other side does not keep to the protocol: nothing it says counts. */
  #break(why: string): void {
    this.#end(`mantlet: the file jail answered nonsense: ${why}`);
    this.kill();
  }

  #end(why: string): void {
    this.#gone ??= why;
    this.#waiting?.reject(new JailGone(this.#gone));
  }

  /** An idle jail must not keep the process of its client alive. */
  #hold(isBusy: boolean): void {
    const streams = [this.#child.stdin, this.#child.stdout, this.#child.stderr] as unknown as { ref?(): void; unref?(): void }[];
    for (const end of [this.#child, ...streams]) isBusy ? end.ref?.() : end.unref?.();
  }
}
