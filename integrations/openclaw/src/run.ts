// Runs mantlet-run for OpenClaw's own scripts and collects what they print. The jail dies with its
// client, so killing the one process started here ends all that it started.

import { spawn } from "node:child_process";
import type { ShellResult } from "openclaw/plugin-sdk/sandbox";

/** mantlet-run's own failure or refusal: the script did not run, whatever failures its caller allows. */
const REFUSED = 125;

/** OpenClaw's own bound for buffered sandbox output. */
const MAX_OUTPUT_BYTES = 100 * 1024 * 1024;

export interface Run {
  readonly argv: readonly string[];
  readonly env: Record<string, string>;
  readonly stdin: Buffer | string | undefined;
  readonly allowFailure: boolean;
  readonly signal: AbortSignal | undefined;
}

/** Runs to the end; rejects when nothing ran, when it was killed, or when it failed and may not. */
export async function run(request: Run): Promise<ShellResult> {
  request.signal?.throwIfAborted();
  const { exit, stdout, stderr } = await collect(request);
  request.signal?.throwIfAborted();
  if (typeof exit === "string") throw new Error(`mantlet: the script was ended by ${exit}`);
  if (exit === REFUSED || (exit !== 0 && !request.allowFailure)) {
    const said = stderr.toString("utf8").trim();
    throw Object.assign(new Error(said === "" ? `mantlet: the script ended with exit code ${exit}` : said), { code: exit, stdout, stderr });
  }
  return { stdout, stderr, code: exit };
}

interface Collected {
  /** Exit code, or the name of the signal. */
  readonly exit: number | string;
  readonly stdout: Buffer;
  readonly stderr: Buffer;
}

function collect(request: Run): Promise<Collected> {
  const [program, ...args] = request.argv;
  if (program === undefined) return Promise.reject(new Error("mantlet: empty command"));
  return new Promise((resolve, reject) => {
    // cwd "/": the client must not keep a directory of the workspace busy.
    const child = spawn(program, args, {
      cwd: "/",
      env: request.env,
      stdio: ["pipe", "pipe", "pipe"],
      killSignal: "SIGKILL",
      ...(request.signal === undefined ? {} : { signal: request.signal }),
    });
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    let held = 0;
    const keep = (into: Buffer[]) => (chunk: Buffer) => {
      held += chunk.length;
      if (held > MAX_OUTPUT_BYTES) {
        child.kill("SIGKILL");
        reject(new Error("mantlet: the script printed more than 100 MiB"));
        return;
      }
      into.push(chunk);
    };
    child.stdout.on("data", keep(stdout));
    child.stderr.on("data", keep(stderr));
    child.on("error", reject);
    // A script that exits without reading its input closes the pipe: its exit code tells the story.
    child.stdin.on("error", () => {});
    child.on("close", (code, signal) => {
      resolve({ exit: code ?? signal ?? "an unknown signal", stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr) });
    });
    child.stdin.end(request.stdin ?? "");
  });
}
