// OpenCode asks Mantlet before each tool. Translates and decides nothing: `mantlet hook opencode` gets what OpenCode says,
// and is done as it answers. Whatever else happens (no program, an error, a timeout, an odd answer) throws, and a hook that
// throws stops the tool. The start of the plugin throws never: OpenCode drops a plugin that does, and runs its tools.

import { spawnSync } from "node:child_process";
import { accessSync, constants, statSync } from "node:fs";
import { homedir } from "node:os";
import path from "node:path";

/** Longer than the hook's own patience, so that it is the hook that says why. */
const TIMEOUT_MS = 10_000;
const LONGEST_ANSWER = 8 * 1024 * 1024;

/** By absolute path, never by PATH: a directory there that an agent can write would let it answer for us. */
function standardPlaces() {
  return ["/usr/local/bin/mantlet", "/usr/bin/mantlet", path.join(homedir(), ".local/bin/mantlet")];
}

function isProgram(file) {
  try {
    accessSync(file, constants.X_OK);
    return path.isAbsolute(file) && statSync(file).isFile();
  } catch {
    return false;
  }
}

function locate(configured) {
  const tried = configured === undefined ? standardPlaces() : [String(configured)];
  const found = tried.find(isProgram);
  if (found === undefined) {
    throw new Error(`mantlet: not found (tried ${tried.join(", ")}); the tool was not run. hint: install Mantlet, or give the plugin the option "program"`);
  }
  return found;
}

/** Asks the hook and returns its answer; throws where there is none. */
function ask(options, event) {
  const words = ["hook", "opencode", ...(options.arguments ?? [])];
  const told = spawnSync(locate(options.program), words, {
    input: JSON.stringify(event),
    encoding: "utf8",
    timeout: options.timeoutMs ?? TIMEOUT_MS,
    killSignal: "SIGKILL",
    maxBuffer: LONGEST_ANSWER,
  });
  const why = (told.stderr ?? "").trim();
  if (told.error) throw new Error(`mantlet: the hook did not answer (${told.error.message}); the tool was not run. ${why}`);
  if (told.status !== 0) throw new Error(why || `mantlet: the hook ended with ${told.signal ?? told.status}; the tool was not run`);
  let answer;
  try {
    answer = JSON.parse(told.stdout);
  } catch {
    throw new Error("mantlet: the hook's answer is not JSON; the tool was not run");
  }
  return answer;
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Puts the answer's arguments in the place of the tool's own: OpenCode goes on with the same object. */
function replace(args, by) {
  for (const name of Object.keys(args)) delete args[name];
  Object.assign(args, by);
}

export default {
  id: "mantlet",
  async server(context, options) {
    const own = options ?? {};
    const event = (moment, input, args) => ({
      event: moment,
      tool: input.tool,
      args: args ?? {},
      sessionID: input.sessionID,
      callID: input.callID,
      directory: context.directory,
    });
    return {
      "tool.execute.before": async (input, output) => {
        const answer = ask(own, event("before", input, output.args));
        if (isObject(answer) && answer.decision === "allow") return;
        if (isObject(answer) && answer.decision === "rewrite" && isObject(answer.args)) {
          output.args ??= {};
          replace(output.args, answer.args);
          return;
        }
        const isDenied = isObject(answer) && answer.decision === "deny" && typeof answer.reason === "string";
        throw new Error(isDenied ? answer.reason : "mantlet: the hook's answer is not understood; the tool was not run");
      },
      "tool.execute.after": async (input) => {
        ask(own, event("after", input, input.args));
      },
    };
  },
};
