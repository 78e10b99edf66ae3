// Which jail an operation goes to. What changes something has a jail of its own: made after the last change outside,
// reviewed before the answer. Reading happens in a jail in which nothing can be changed, and which is kept for a while:
// the same jail would be made again, unless something it was made from has changed, and that is asked each time.

import { statSync } from "node:fs";
import { homedir } from "node:os";
import path from "node:path";
import { FileJail, JailGone, type FileAnswer, type FileRequest } from "./jail.ts";

/** How long a jail for reading is kept without a question. */
const IDLE_MS = 5_000;

/** How long at most, however much it is asked: where the gateway is jailed itself, it cannot see the policy change. */
const AGE_MS = 10_000;

export interface FilesParts {
  /** The argument list of a jail; an error when it must not be made. Asked anew for every operation. */
  readonly argv: (access: "read" | "write", words: readonly string[]) => string[];
  readonly env: () => Record<string, string>;
  /** The workspace by its real path. */
  readonly root: () => string;
  readonly ageMs?: number;
}

export class Files {
  readonly #parts: FilesParts;
  #kept: { jail: FileJail; madeFrom: string; madeAt: number } | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(parts: FilesParts) {
    this.#parts = parts;
  }

  /** Asks for what changes nothing. */
  async read(request: Omit<FileRequest, "root">, signal?: AbortSignal): Promise<FileAnswer> {
    const root = this.#parts.root();
    const asked = { ...request, root };
    const { jail, isOld } = this.#reader(root);
    try {
      return await jail.ask(asked, undefined, signal);
    } catch (error) {
      // A kept jail may have met a limit of the policy, or something denied was replaced meanwhile.
      if (!(error instanceof JailGone) || !isOld) throw error;
      return await this.#reader(root).jail.ask(asked, undefined, signal);
    } finally {
      this.#rest();
    }
  }

  /** Asks for one change, and answers when it has been reviewed. */
  async change(request: Omit<FileRequest, "root">, body?: Buffer, signal?: AbortSignal): Promise<FileAnswer> {
    return await this.batch([request.op, request.path, ...(request.to === undefined ? [] : [request.to])], async (ask) => await ask(request, body, signal), signal);
  }

  /** Several changes in one jail; `words` say in the ledger what they are. */
  async batch<T>(
    words: readonly string[],
    work: (ask: (request: Omit<FileRequest, "root">, body?: Buffer, signal?: AbortSignal) => Promise<FileAnswer>) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    signal?.throwIfAborted();
    const root = this.#parts.root();
    const jail = new FileJail(this.#parts.argv("write", words), this.#parts.env());
    const touched: string[] = [];
    try {
      const result = await work((request, body, abort) => {
        touched.push(request.to ?? request.path);
        return jail.ask({ ...request, root }, body, abort);
      });
      await jail.close();
      refuseUndone(jail.said, touched);
      return result;
    } finally {
      jail.release();
    }
  }

  #reader(root: string): { jail: FileJail; isOld: boolean } {
    clearTimeout(this.#timer);
    // Also an error where there is nothing to run any more: a jail that was made before is no answer to that.
    const argv = this.#parts.argv("read", []);
    const env = this.#parts.env();
    const madeFrom = identity([argv[0] ?? "", root, ...policies(env)]);
    const kept = this.#kept;
    const isYoung = kept !== undefined && performance.now() - kept.madeAt < (this.#parts.ageMs ?? AGE_MS);
    if (kept !== undefined && isYoung && !kept.jail.isGone && kept.madeFrom === madeFrom) return { jail: kept.jail, isOld: true };
    kept?.jail.release();
    const jail = new FileJail(argv, env);
    this.#kept = { jail, madeFrom, madeAt: performance.now() };
    return { jail, isOld: false };
  }

  #rest(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#kept?.jail.release();
      this.#kept = undefined;
    }, IDLE_MS);
    this.#timer.unref();
  }
}

/** Where mantlet-run looks for a policy. */
function policies(env: Readonly<Record<string, string>>): string[] {
  const config = env["XDG_CONFIG_HOME"] ?? path.join(env["HOME"] ?? homedir(), ".config");
  return ["/etc/mantlet/mantlet.toml", path.join(config, "mantlet/mantlet.toml")];
}

/** Differs when one of the files was replaced, written, made or removed. */
function identity(files: readonly string[]): string {
  return files.map((file) => {
    const stat = statSync(file, { throwIfNoEntry: false, bigint: true });
    // A workspace changes all the time; it is another one when its inode is.
    return stat === undefined ? `${file} -` : `${file} ${stat.dev} ${stat.ino} ${stat.isDirectory() ? "" : `${stat.ctimeNs} ${stat.mtimeNs} ${stat.size}`}`;
  }).join("\n");
}

/** A file that the review has moved away was not written, whatever the operation said. */
function refuseUndone(said: string, touched: readonly string[]): void {
  for (const line of said.split("\n")) {
    const undone = /^mantlet: review: (.+?) \(/.exec(line)?.[1];
    if (undone !== undefined && !line.endsWith("reported") && touched.some((file) => file === undone || file.startsWith(`${undone}/`))) {
      throw new Error(`mantlet: ${file(undone)} was undone: ${line}`);
    }
  }
}

function file(name: string): string {
  return JSON.stringify(name);
}
