// Finds mantlet-run by absolute path, never by PATH: a directory on PATH that an agent can write
// would let it replace the jailer. Finding nothing is an error, and an error runs nothing.

import { accessSync, constants, realpathSync, statSync } from "node:fs";
import { homedir } from "node:os";
import path from "node:path";

const PROGRAM = "mantlet-run";
const PLUGIN_ROOT = path.resolve(import.meta.dirname, "..");

export interface LocateRequest {
  /** `plugins.entries.mantlet.config.mantletRun`, as it came. */
  readonly configured: unknown;
  /** The directory that the agent can write, where it is known. */
  readonly workspace: string | undefined;
  /** Where to look when nothing is configured. */
  readonly candidates?: readonly string[];
}

/** The absolute path of mantlet-run. A configured path is the only one tried. */
export function locateMantletRun(request: LocateRequest): string {
  const tried = request.configured === undefined ? (request.candidates ?? standardPlaces()) : [configuredPath(request.configured)];
  const found = tried.find(isProgram);
  if (found === undefined) {
    throw new Error(
      `mantlet: ${PROGRAM} not found (tried ${tried.join(", ")}); nothing was run. ` +
        `hint: install Mantlet, or set plugins.entries.mantlet.config.mantletRun to its absolute path`,
    );
  }
  const real = realpathSync(found);
  if (request.workspace !== undefined && isInside(realpathSync(request.workspace), real)) {
    // The agent could replace it between two calls.
    throw new Error(`mantlet: ${real} lies inside the agent's workspace; nothing was run. hint: install ${PROGRAM} outside it`);
  }
  return real;
}

/** The absolute path of `mantlet`, which is installed beside mantlet-run. */
export function locateMantlet(request: LocateRequest): string {
  const program = path.join(path.dirname(locateMantletRun(request)), "mantlet");
  if (!isProgram(program)) throw new Error(`${program} not found. hint: install mantlet and mantlet-run in the same directory`);
  return program;
}

/** Beside the plugin, then where packages and people install programs. */
export function standardPlaces(): string[] {
  return [
    path.join(PLUGIN_ROOT, PROGRAM),
    path.join("/usr/local/bin", PROGRAM),
    path.join("/usr/bin", PROGRAM),
    path.join(homedir(), ".local/bin", PROGRAM),
  ];
}

function configuredPath(value: unknown): string {
  if (typeof value !== "string" || !path.isAbsolute(value)) {
    throw new Error(`mantlet: plugins.entries.mantlet.config.mantletRun must be an absolute path; nothing was run`);
  }
  return value;
}

function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}

function isInside(directory: string, file: string): boolean {
  const relative = path.relative(directory, file);
  return relative !== ".." && !relative.startsWith("../") && !path.isAbsolute(relative);
}
