// Measures OpenClaw's file bridge, ours beside the stock one on the same mantlet-run, and prints a table with the target:
//   cargo build --release --locked --bins; cache=$(tests/e2e/openclaw/setup)
//   $cache/node_modules/.node benches/bridge.ts $cache [MANTLET-RUN [ROUNDS]]
// Arms take turns in a new random order each round, after one round that does not count. It changes nothing
// outside a directory of its own in /var/tmp.

import { globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";

const top = path.resolve(import.meta.dirname, "..");
const [cache, given, rounds = "40"] = process.argv.slice(2);
if (cache === undefined) throw new Error("usage: bridge.ts CACHE [MANTLET-RUN [ROUNDS]]");
const program = path.resolve(given ?? built());
const PAUSE_MS = 20;

type Bridge = Record<"readFile" | "writeFile" | "stat", (request: object) => Promise<unknown>>;
type Arm = readonly [name: string, once: () => Promise<unknown>];

const directory = mkdtempSync("/var/tmp/mantlet-bench-");
try {
  process.env["HOME"] = directory;
  const workspace = path.join(directory, "workspace");
  mkdirSync(workspace);
  writeFileSync(path.join(workspace, "file"), "x".repeat(1024));
  const sdk = await import(path.join(cache, "node_modules/openclaw/dist/plugin-sdk/sandbox.js"));
  const { createBackend } = await import(path.join(top, "integrations/openclaw/src/backend.ts"));
  const { Sessions } = await import(path.join(top, "integrations/openclaw/src/sessions.ts"));
  const sandbox = { workspaceDir: workspace, agentWorkspaceDir: workspace, containerWorkdir: workspace, workspaceAccess: "rw", docker: {} };
  const skillMounts = () => sdk.resolveReadOnlyWorkspaceSkillMounts({ ...sandbox, workdir: workspace });
  const request = { sessionKey: "agent:main:main", scopeKey: "agent:main", workspaceDir: workspace, agentWorkspaceDir: workspace, cfg: { workspaceAccess: "rw", docker: {} } };
  const handle = () => createBackend({ locate: () => program, warn: () => {}, sessions: new Sessions(), skillMounts }).factory(request);
  const ours = async (): Promise<Bridge> => (await handle()).createFsBridge({ sandbox });
  const { runShellCommand } = await handle();
  const runtime = { remoteWorkspaceDir: workspace, remoteAgentWorkspaceDir: workspace, runRemoteShellScript: runShellCommand };
  const stock: Bridge = sdk.createRemoteShellSandboxFsBridge({ sandbox, runtime });
  const kept = await ours();
  const file = { filePath: "file" };
  const content = { filePath: "written", data: "x".repeat(1024) };
  const times = await interleave([
    ["read of 1 KB, stock bridge", () => stock.readFile(file)],
    ["read of 1 KB, ours", () => kept.readFile(file)],
    ["read of 1 KB, ours, the first of a turn", async () => (await ours()).readFile(file)],
    ["stat, stock bridge", () => stock.stat(file)],
    ["stat, ours", () => kept.stat(file)],
    ["write of 1 KB, stock bridge", () => stock.writeFile(content)],
    ["write of 1 KB, ours", () => kept.writeFile(content)],
  ]);
  const cpu = /model name\s*: (.*)/.exec(readFileSync("/proc/cpuinfo", "utf8"))?.[1];
  console.log(`${cpu}; node ${process.version}; ${rounds} rounds; medians (quarters); uid ${process.getuid?.()}\n`);
  console.log("| what | measured | target | |\n|---|---|---|---|");
  for (const [name, values] of times) console.log(`| ${name} | ${spread(values)} | | |`);
  for (const [what, target] of [["read of 1 KB", 0.1], ["stat", undefined], ["write of 1 KB", undefined]] as const) {
    const [a, b] = [times.get(`${what}, ours`) ?? [], times.get(`${what}, stock bridge`) ?? []];
    const ratio = quarter(a.map((value, i) => value / (b[i] ?? NaN)), 0.5);
    const verdict = target === undefined ? "" : ratio <= target ? "met" : `**missed** by ${(ratio - target).toFixed(3)}`;
    console.log(`| ${what}, ours / stock bridge | ${ratio.toFixed(4)} | ${target === undefined ? "" : `at most ${target}`} | ${verdict} |`);
  }
} finally {
  // The jails that are kept end with their handles; their state is theirs until then.
  await new Promise((resolve) => setTimeout(resolve, 6_000));
  rmSync(directory, { recursive: true });
}

async function interleave(arms: readonly Arm[]): Promise<Map<string, number[]>> {
  const times = new Map(arms.map(([name]) => [name, [] as number[]]));
  for (let round = 0; round <= Number(rounds); round += 1) {
    for (const [name, once] of arms.toSorted(() => Math.random() - 0.5)) {
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
      const began = performance.now();
      await once();
      if (round > 0) times.get(name)?.push(performance.now() - began);
    }
  }
  return times;
}

function quarter(values: readonly number[], at: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(at * (sorted.length - 1))] ?? NaN;
}

function spread(values: readonly number[]): string {
  const [low, middle, high] = [0.25, 0.5, 0.75].map((at) => quarter(values, at).toFixed(2));
  return `${middle} ms (${low} to ${high})`;
}

function built(): string {
  const found = globSync(path.join(top, "target/**/release/mantlet-run")).toSorted((a, b) => statSync(a).mtimeMs - statSync(b).mtimeMs);
  const newest = found.at(-1);
  if (newest === undefined) throw new Error("no release build: cargo build --release --locked --bins");
  return newest;
}
