// Asks Mantlet before every tool of OpenCode, and tells it afterwards. It decides nothing: what `mantlet hook` does not
// plainly allow does not run. `mantlet install opencode` puts the place of the program in here.

import { spawnSync } from "node:child_process";

const MANTLET = "/usr/local/bin/mantlet";

/** A tool call waits for the answer, so that one that never comes is a refusal. */
const LIMIT = 10_000;

function ask(event) {
  const { status, stdout, error } = spawnSync(MANTLET, ["hook", "opencode"], {
    input: JSON.stringify(event),
    timeout: LIMIT,
    killSignal: "SIGKILL",
    maxBuffer: 16 << 20,
    encoding: "utf8",
  });
  if (error !== undefined || status !== 0) {
    throw new Error(`mantlet: refused, since ${MANTLET} gave no answer (${error?.message ?? `exit code ${status}`})`);
  }
  return JSON.parse(stdout);
}

export const Mantlet = async ({ directory }) => ({
  "tool.execute.before": async (input, output) => {
    const { tool, sessionID } = input;
    const answer = ask({ event: "before", directory, sessionID, tool, args: output.args });
    if (answer.decision === "rewrite" && typeof answer.args === "object" && answer.args !== null) {
      output.args = answer.args;
    } else if (answer.decision !== "allow") {
      throw new Error(typeof answer.reason === "string" ? answer.reason : "mantlet: refused");
    }
  },
  "tool.execute.after": async (input) => {
    const { tool, sessionID, args } = input;
    ask({ event: "after", directory, sessionID, tool, args: args ?? {} });
  },
});
