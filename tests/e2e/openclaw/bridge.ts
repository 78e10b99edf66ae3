// The file bridge without a turn around it: the same calls through ours and through OpenClaw's stock bridge, each on
// mantlet-run; and names exchanged between check and use, ten thousand times.

import { spawn, type ChildProcess } from "node:child_process";
import { chmodSync, linkSync, lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { check } from "../model/check.ts";

export interface BridgePlaces {
  /** A throwaway directory. */
  readonly directory: string;
  readonly plugin: string;
  readonly openclaw: string;
  readonly mantletRun: string;
}

type Bridge = Record<string, (request: Record<string, unknown>) => Promise<unknown>>;

interface Arm {
  readonly workspace: string;
  readonly bridge: Bridge;
}

const TRIES = 10_000;

export async function compareBridges(places: BridgePlaces): Promise<void> {
  const started = Date.now();
  const ours = await arm(places, "ours");
  const stock = await arm(places, "stock");
  for (const one of [ours, stock]) fill(one.workspace);
  let same = 0;
  for (const [method, request, difference] of CALLS) {
    const [a, b] = [await outcome(ours, method, request), await outcome(stock, method, request)];
    const what = `${method} ${JSON.stringify(request)}`;
    const [left, right] = [tree(ours.workspace), tree(stock.workspace)];
    const isSame = a === b && left === right;
    if (difference !== undefined) check(`as intended, not as the stock bridge: ${difference}`, !isSame, `${what}: ${a}`);
    else if (isSame) same += 1;
    else check(`the same as the stock bridge: ${what}`, false, `ours ${a}, stock ${b}; ours ${left}, stock ${right}`);
    // What follows begins alike again.
    if (left !== right) for (const one of [ours, stock]) fill(one.workspace);
  }
  check(`${same} calls end as with the stock bridge, and leave the same files`, same > 60, String(same));
  console.log(`the bridge beside the stock one (${((Date.now() - started) / 1000).toFixed(1)} s)`);
}

/** What is read in place of the file, when a check that came before is trusted. */
export async function raceBridge(places: BridgePlaces, secret: string): Promise<void> {
  const started = Date.now();
  const { workspace, bridge } = await arm(places, "race");
  fill(workspace);
  const at = (name: string): string => path.join(workspace, name);
  mkdirSync(at("dir"));
  for (const name of ["dir/passwd", "dir/secret", "file", "target"]) writeFileSync(at(name), "mine");
  symlinkSync("/etc", at("dir-link"));
  symlinkSync(path.dirname(secret), at("home-link"));
  symlinkSync(secret, at("file-link"));
  // dir and file become symlinks out and back, as fast as a process can.
  const exchanger = exchange([[at("dir"), at("dir-link")], [at("file"), at("file-link")]]);
  try {
    const naive = (file: string): string => {
      try {
        return lstatSync(file).isSymbolicLink() || lstatSync(path.dirname(file)).isSymbolicLink() ? "" : readFileSync(file, "utf8");
      } catch {
        return "";
      }
    };
    const isLeak = (text: string): boolean => text !== "" && text !== "mine";
    for (const name of ["file", "dir/passwd"]) {
      let leaked = false;
      for (let i = 0; i < 2_000_000 && !leaked; i += 1) leaked = isLeak(naive(at(name)));
      check(`control: who checks first and reads then leaks ${name}`, leaked, "no leak");
    }
    let [read, refused, leaked] = [0, 0, 0];
    for (let i = 0; i < TRIES; i += 1) {
      const filePath = i % 2 === 0 ? "file" : "dir/passwd";
      try {
        const data = (await bridge["readFile"]?.({ filePath })) as Buffer;
        if (isLeak(data.toString("utf8"))) leaked += 1;
        else read += 1;
      } catch {
        refused += 1;
      }
    }
    check(`${TRIES} reads of names that are exchanged leak nothing`, leaked === 0 && read > 100 && refused > 100, `${read} read, ${refused} refused, ${leaked} leaked`);
    console.log(`        ${read} read, ${refused} refused, ${leaked} leaked`);
    const before = readFileSync("/etc/passwd", "utf8");
    let written = 0;
    for (let i = 0; i < 100; i += 1) {
      const made = bridge["writeFile"]?.({ filePath: "dir/passwd", data: "mine" });
      await made?.then(() => (written += 1), () => {});
    }
    check("writes to names that are exchanged stay inside", readFileSync("/etc/passwd", "utf8") === before && readFileSync(secret, "utf8") !== "mine", String(written));
  } finally {
    exchanger.kill("SIGKILL");
    await new Promise((ended) => exchanger.once("close", ended));
  }
  console.log(`names exchanged between check and use (${((Date.now() - started) / 1000).toFixed(1)} s)`);
}

/** Renames without a pause, in a process of its own: node has no rename that exchanges, but two renames do. */
function exchange(pairs: readonly (readonly [string, string])[]): ChildProcess {
  const text = `
    const { renameSync } = require("node:fs");
    const pairs = ${JSON.stringify(pairs)};
    for (;;) for (const [one, other] of pairs) {
      try { renameSync(one, one + "-aside"); renameSync(other, one); renameSync(one, other); renameSync(one + "-aside", one); } catch {}
    }`;
  return spawn(process.execPath, ["-e", text], { stdio: "ignore" });
}

async function arm(places: BridgePlaces, name: string): Promise<Arm> {
  const workspace = path.join(places.directory, name);
  mkdirSync(workspace, { recursive: true });
  const sdk = await import(path.join(places.openclaw, "dist/plugin-sdk/sandbox.js"));
  const { createBackend } = await import(path.join(places.plugin, "src/backend.ts"));
  const { Sessions } = await import(path.join(places.plugin, "src/sessions.ts"));
  const skillMounts = (sandbox: { containerWorkdir: string }) => sdk.resolveReadOnlyWorkspaceSkillMounts({ ...sandbox, workdir: sandbox.containerWorkdir });
  const backend = createBackend({ locate: () => places.mantletRun, warn: () => {}, sessions: new Sessions(), skillMounts });
  const handle = await backend.factory({
    sessionKey: "agent:main:main",
    scopeKey: "agent:main",
    workspaceDir: workspace,
    agentWorkspaceDir: workspace,
    cfg: { workspaceAccess: "rw", docker: {} },
  });
  const sandbox = { workspaceDir: workspace, agentWorkspaceDir: workspace, containerWorkdir: workspace, workspaceAccess: "rw", docker: {} };
  const runtime = { remoteWorkspaceDir: workspace, remoteAgentWorkspaceDir: workspace, runRemoteShellScript: handle.runShellCommand };
  const bridge = name === "stock" ? sdk.createRemoteShellSandboxFsBridge({ sandbox, runtime }) : handle.createFsBridge({ sandbox });
  return { workspace, bridge };
}

/** The same files for both. Nothing that Mantlet's review would move: that is tested elsewhere. */
function fill(workspace: string): void {
  for (const name of readdirSync(workspace)) rmSync(path.join(workspace, name), { recursive: true });
  const at = (name: string): string => path.join(workspace, name);
  for (const dir of ["a/b", "skills/one", "full/deep", "linked"]) mkdirSync(at(dir), { recursive: true });
  for (const [name, text] of Object.entries({ "a/one": "one\n", "a/b/two": "two", tool: "#!/bin/sh\n", "skills/one/SKILL.md": "skill", "full/deep/x": "x", "linked/file": "f", "ümlaut ' \"": "odd" })) {
    writeFileSync(at(name), text);
  }
  chmodSync(at("tool"), 0o751);
  symlinkSync("a", at("into"));
  symlinkSync("a/one", at("alias"));
  symlinkSync("a/nowhere", at("dangling"));
  symlinkSync("loop", at("loop"));
  linkSync(at("linked/file"), at("linked/twin"));
}

type Call = readonly [method: string, request: Record<string, unknown>, difference?: string];

const on = (method: string, files: readonly string[], more: Record<string, unknown> = {}): Call[] => files.map((filePath) => [method, { filePath, ...more }]);

const CALLS: readonly Call[] = [
  ...on("resolvePath", ["a/one", "./a/../tool", "~x", "a/", "..", "/etc/passwd", ""]),
  ...on("readFile", ["a/one", "into/one", "alias", "dangling", "loop", "a", "absent", "absent/x", "a/one/x", "linked/twin", "ümlaut ' \"", "../ours", "/etc/passwd", "/proc/self/environ", "."]),
  ...on("readFile", ["a/one"], { maxBytes: 4 }),
  ...on("readFile", ["a/one"], { maxBytes: 3 }),
  ...on("readFile", ["a/one"], { maxBytes: -1 }),
  ...on("readFileWithSource", ["a/one", "into/b/two", "skills/one/SKILL.md"]),
  ...on("stat", ["a", "a/one", "alias", "into", "absent", "absent/x", "loop", "linked/file", "tool", ".", "/etc"]),
  ["stat", { filePath: "dangling" }, "a symlink to nothing is nothing, not an error"],
  ...on("readDirectory", ["a", "into", ".", "a/b", "absent", "a/one", "/", "skills"]),
  ...on("resolvePinnedMutationTarget", ["a/new", "into/new", "alias", "absent/deep/new", "../x"], { action: "write" }),
  ...on("resolvePinnedMutationTarget", ["into", "a/new/dir", "dangling"], { action: "mkdir" }),
  ...on("writeFile", ["a/one", "into/three", "alias", "tool", "new/deep/file", "a/b", "a/one/x", "linked/twin", "skills/one/SKILL.md", "skills/new", "/etc/passwd", "loop/x"], { data: "written" }),
  ...on("writeFile", ["none/x"], { data: "written", mkdir: false }),
  ...on("writeFile", ["a/hex"], { data: "00ff", encoding: "hex" }),
  ...on("createFileExclusive", ["fresh", "fresh", "a", "alias", "skills/x", "into/fresh"], { data: "x" }),
  ...on("mkdirp", ["m/n/o", "into/m", "a/one", "a", "skills/m", ".", "/tmp/m"]),
  ["copyFile", { sourcePath: "tool", destinationPath: "c/tool" }],
  ["copyFile", { sourcePath: "alias", destinationPath: "c/alias" }],
  ["copyFile", { sourcePath: "into/one", destinationPath: "into/copy" }],
  ["copyFile", { sourcePath: "linked/file", destinationPath: "c/twin" }],
  ["copyFile", { sourcePath: "a/one", destinationPath: "skills/x" }],
  ["copyFile", { sourcePath: "absent", destinationPath: "c/x" }],
  ["rename", { from: "a/b/two", to: "r/s/two" }],
  ["rename", { from: "alias", to: "alias2" }],
  ["rename", { from: "full", to: "a/full" }],
  ["rename", { from: "skills", to: "s" }],
  ["rename", { from: "absent", to: "x" }],
  ["rename", { from: "a", to: "/tmp/a" }],
  ...on("remove", ["a/one", "absent", "dangling", "skills/one", "linked/twin", "/etc/passwd"]),
  ...on("remove", ["absent"], { force: false }),
  ...on("remove", ["full", "skills"], { recursive: true }),
  ["remove", { filePath: "a" }, "a directory that is not empty is an error, not a silence"],
  ["remove", { filePath: "into/hex" }, "what is removed through a symlinked directory is in that directory"],
];

/** What a call gives, in words that do not name the arm or a time. */
async function outcome(one: Arm, method: string, request: Record<string, unknown>): Promise<string> {
  const neutral = (text: string): string => text.replaceAll(realpathSync(one.workspace), "WS");
  try {
    const call = one.bridge[method];
    if (call === undefined) return "no such method";
    const value = await call.call(one.bridge, request);
    const shown = Array.isArray(value) ? value.toSorted((a, b) => a.name.localeCompare(b.name)) : value;
    return neutral(JSON.stringify(shown, (key, v) => (key === "mtimeMs" ? typeof v : v)) ?? "undefined");
  } catch (error) {
    return (error as { code?: unknown }).code === "ENOENT" && method.startsWith("read") && method !== "readDirectory" ? "not found" : "an error";
  }
}

/** Every name with its kind, mode and content. */
function tree(workspace: string): string {
  const lines: string[] = [];
  for (const entry of readdirSync(workspace, { recursive: true, withFileTypes: true })) {
    const file = path.join(entry.parentPath, entry.name);
    const content = entry.isSymbolicLink() ? readlinkSync(file) : entry.isFile() ? readFileSync(file, "utf8") : "/";
    lines.push(`${path.relative(workspace, file)} ${(lstatSync(file).mode & 0o7777).toString(8)} ${content}`);
  }
  return lines.toSorted().join("\n");
}
