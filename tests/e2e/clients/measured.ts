// The states that are measured, and the tables in docs/hooks-measured.md.

import type { Way } from "./cell.ts";
import type { Client } from "./clients.ts";
import type { Hook } from "./hooks.ts";

export type Arm = "hook" | "jail";

export interface Conditions {
  readonly title: string;
  readonly hook?: Hook;
  /** The repository brings files that switch hooks off. */
  readonly off?: true;
  /** In the client's environment. */
  readonly env?: Readonly<Record<string, string>>;
}

export const STATES = {
  none: { title: "no hook" },
  sound: { title: "the hook works", hook: "sound" },
  planted: { title: "the repository switches hooks off", hook: "sound", off: true },
  user: { title: "the same, hook in the user's settings", hook: "user", off: true },
  failing: { title: "the hook exits 1", hook: "failing" },
  killed: { title: "the hook is killed", hook: "killed" },
  hanging: { title: "the hook hangs", hook: "hanging" },
  truncated: { title: "the hook's answer is cut off", hook: "truncated" },
  silent: { title: "the hook exits 0 with nothing", hook: "silent" },
  removed: { title: "the hook's program is removed", hook: "removed" },
  unloaded: { title: "`OPENCODE_PURE=1` keeps plugins out", hook: "sound", env: { OPENCODE_PURE: "1" } },
} as const satisfies Record<string, Conditions>;
export type State = keyof typeof STATES;

/** States that only one client can be in. */
const ONLY: Partial<Record<State, string>> = { user: "claude", unloaded: "opencode" };

/** States that add nothing in the jail: the same as others to whoever is in there, or made by a variable that the jail
 * does not pass on. */
const OUTSIDE: readonly State[] = ["failing", "silent", "unloaded"];

/** What is tried for every user, where the whole is measured for one. */
export const BRIEF: readonly State[] = ["none", "sound", "truncated"];

const WORDS: Readonly<Record<Way, string>> = {
  command: "command",
  environment: "environment",
  tool: "read tool, outside",
  denied: "read tool, denied file",
  prompt: "`@file` in the prompt",
  attached: "`@` of a denied file",
  typed: "`write_stdin`",
  mcp: "MCP server",
};

export function statesOf(client: Client, arm: Arm): State[] {
  const all = Object.keys(STATES) as State[];
  return all.filter((state) => (state in ONLY ? ONLY[state] === client.name : true) && !(arm === "jail" && OUTSIDE.includes(state)));
}

const word = (read: boolean | undefined): string => (read === undefined ? "not measured" : read ? "**read**" : "held");

/** Both tables of one client: by hook alone, and under `mantlet run`. */
export function tables(client: Client, open: (arm: Arm, state: State) => readonly Way[] | undefined, ways: readonly Way[]): string {
  const table = (arm: Arm, title: string): string => {
    const row = (cells: readonly string[]): string => `| ${cells.join(" | ")} |\n`;
    const rows = statesOf(client, arm).map((state) => row([STATES[state].title, ...ways.map((way) => word(open(arm, state)?.includes(way)))]));
    return row([title, ...ways.map((way) => WORDS[way])]) + row(["---", ...ways.map(() => "---")]) + rows.join("");
  };
  return `${table("hook", "hook alone")}\n${table("jail", "under `mantlet run`")}`;
}
