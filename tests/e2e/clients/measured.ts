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
} as const satisfies Record<string, Conditions>;
export type State = keyof typeof STATES;

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
  return all.filter((state) => (state !== "user" || client.name === "claude") && !(arm === "jail" && state === "failing"));
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
