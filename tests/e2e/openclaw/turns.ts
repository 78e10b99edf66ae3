// The turns: which tools the model calls, and what must be true of each answer and of the disk.
// The control arm makes the same moves with the sandbox off; it must succeed, or the rest proves nothing.

import { existsSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import type { Home } from "./home.ts";
import type { NextCall, ToolCall } from "../model/model.ts";

export interface Step {
  readonly call: NextCall;
  /** Claims about the tool's result as the model receives it. */
  readonly claims: Readonly<Record<string, (result: string) => boolean>>;
}

export interface Act {
  readonly finishes: boolean;
  readonly steps: readonly Step[];
  readonly afterwards: Readonly<Record<string, (output: string, results: readonly string[]) => boolean>>;
}

const patch = (input: string): ToolCall => ({ tool: "apply_patch", args: { input: `*** Begin Patch\n${input}\n*** End Patch` } });
const ls = (directory: string): ToolCall => ({ tool: "ls", args: { path: directory } });
const exec = (command: string, more: Readonly<Record<string, unknown>> = {}): ToolCall => ({ tool: "exec", args: { command, ...more } });
const read = (file: string): ToolCall => ({ tool: "read", args: { path: file } });
const write = (file: string, content: string): ToolCall => ({ tool: "write", args: { path: file, content } });
const edit = (file: string, oldText: string, newText: string): ToolCall => ({ tool: "edit", args: { path: file, edits: [{ oldText, newText }] } });

const holds = (file: string, content: string): boolean => existsSync(file) && readFileSync(file, "utf8") === content;

/** Every way to the state directory's .env: by home, by absolute path, by the workspace's parent. */
const readDotenv = (home: Home): string => `cat ~/.openclaw/.env ${home.state}/.env ../.env; echo "cat: $?"`;
const readEnvironments = `env; cat /proc/[0-9]*/environ | tr '\\0' '\\n'; echo "OPENCLAW_SHELL is $OPENCLAW_SHELL"`;
const beats = "cp heartbeat before && sleep 1 && if cmp -s heartbeat before; then echo silent; else echo beating; fi";
const killLatest: Step["call"] = (results) => processCall(results, "kill");
const connect = (url: string): string => `bash -c 'exec 3<>/dev/tcp/127.0.0.1/${new URL(url).port} && echo connected'`;
/** A plugin in the workspace, under an id that the configuration enables: the gateway's to load. */
const planted = ".openclaw/extensions/mantlet";
const plant = `mkdir -p ${planted} && cd ${planted} && for f in index.js package.json openclaw.plugin.json; do echo '{}' > $f; done; ls`;
const readKey = (home: Home): string => `cat ${home.directory}/.ssh/id_canary; echo "cat: $?"`;

export function control(home: Home, modelUrl: string): Act {
  const written = path.join(home.directory, "written-by-control");
  const touched = path.join(home.directory, "touched-by-control");
  const leaks = (what: string) => (result: string) => result.includes(`${home.canary}-${what}`);
  return {
    finishes: true,
    steps: [
      { call: exec(readDotenv(home)), claims: { "exec leaks ~/.openclaw/.env": leaks("dotenv") } },
      { call: exec(readEnvironments), claims: { "exec leaks the gateway's environment": leaks("environment") } },
      { call: exec(readKey(home)), claims: { "exec leaks ~/.ssh": leaks("ssh") } },
      { call: exec(connect(modelUrl)), claims: { "exec reaches a server on the host's loopback": (result) => result.includes("connected") } },
      { call: exec(`(${plant}); rm -r .openclaw/extensions`), claims: { "exec plants a plugin for the gateway": (result) => result.includes("index.js") } },
      { call: exec(`touch ${touched}`), claims: { "exec writes outside the workspace": () => existsSync(touched) } },
      { call: read(path.join(home.directory, "outside.txt")), claims: { "the read tool leaks a file outside the workspace": leaks("outside") } },
      { call: write(written, "x"), claims: { "the write tool writes outside the workspace": () => existsSync(written) } },
    ],
    afterwards: {},
  };
}

export function jailed(home: Home, modelUrl: string): Act {
  const at = (...parts: string[]): string => path.join(home.workspace, ...parts);
  const outside = path.join(home.directory, "written-from-the-jail");
  const skill = at(".openclaw/sandbox-skills/skills/managed/SKILL.md");
  const silent = (result: string): boolean => !result.includes(home.canary);
  const long = "0123456789abcdef\n".repeat(10_000);
  return {
    finishes: true,
    steps: [
      {
        call: exec(readDotenv(home)),
        claims: { "exec finds no ~/.openclaw/.env by any path": (result) => silent(result) && result.includes("cat: 1") && result.includes("No such file") },
      },
      { call: exec(readKey(home)), claims: { "exec finds no ~/.ssh": (result) => silent(result) && result.includes("No such file") } },
      {
        call: exec(readEnvironments),
        claims: {
          "the gateway's environment is absent, for pid 1 too": silent,
          "the environment that OpenClaw gives a command arrives": (result) => result.includes("OPENCLAW_SHELL is exec"),
        },
      },
      { call: exec("echo hi && ls | head"), claims: { "echo hi && ls | head works": (result) => result.startsWith("hi") } },
      {
        call: exec("mkdir -p made && echo one > made/by-exec && pwd"),
        claims: {
          "a file written by exec is at its real path": () => holds(at("made/by-exec"), "one\n"),
          "and belongs to the workspace's owner": () => statSync(at("made/by-exec")).uid === statSync(home.workspace).uid,
          "exec starts in the workspace at its real path": (result) => result.includes(home.workspace),
        },
      },
      { call: exec("pwd", { workdir: at("made") }), claims: { "a working directory is kept": (result) => result.includes(at("made")) } },
      { call: exec("echo out; echo err >&2; exit 7"), claims: { "output and exit code come back": (result) => ["out", "err", "7"].every((part) => result.includes(part)) } },
      { call: exec(`cat > long.txt <<'END'\n${long}END`), claims: { "a 170 kB command works": () => holds(at("long.txt"), long) } },
      { call: exec(plant), claims: { "a plugin planted for the gateway does not stay": () => !existsSync(at(planted, "index.js")) && !existsSync(at(planted, "openclaw.plugin.json")) } },
      { call: exec(`touch ${outside}; echo "touch: $?"`), claims: { "exec writes nothing outside the workspace": () => !existsSync(outside) } },
      { call: exec(connect(modelUrl)), claims: { "exec cannot reach a server on the host's loopback": (result) => result.includes("refused") && !result.includes("connected") } },
      {
        call: exec("sleep 3601 & echo started; sleep 3602", { timeoutSeconds: 2 }),
        claims: { "a timeout ends the command": (result) => result.includes("started") && result.includes("timed out after 2 seconds") },
      },
      { call: exec("while sleep 0.1; do date +%s%N > heartbeat; done", { background: true }), claims: { "a background command is accepted": (result) => result.includes("still running") } },
      { call: exec(`sleep 1; ${beats}`), claims: { "it runs while other commands do": (result) => result.includes("beating") } },
      { call: killLatest, claims: {} },
      { call: exec(`sleep 1; ${beats}`), claims: { "it ends when it is killed": (result) => result.includes("silent") } },
      { call: exec("sleep 3603 & sleep 3604", { background: true }), claims: { "another is left running at the end": (result) => result.includes("still running") } },
      { call: write("written.txt", "one\n"), claims: { "the write tool writes in the workspace": () => holds(at("written.txt"), "one\n") } },
      { call: write("note.txt", "from the write tool\n"), claims: {} },
      { call: read("made/by-exec"), claims: { "the read tool reads what exec wrote": (result) => result.includes("one") } },
      { call: edit("note.txt", "write tool", "edit tool"), claims: { "the edit tool edits in the workspace": () => holds(at("note.txt"), "from the edit tool\n") } },
      { call: exec("cat note.txt"), claims: { "exec reads what the tools wrote": (result) => result.includes("from the edit tool") } },
      { call: read(path.join(home.state, ".env")), claims: { "the read tool refuses ~/.openclaw/.env": silent } },
      { call: read(path.join(home.directory, "outside.txt")), claims: { "the read tool refuses a file outside the workspace": silent } },
      { call: read(skill), claims: { "the read tool reads a managed skill where the prompt says it is": (result) => result.includes("the managed skill's text") } },
      { call: exec(`cat ${skill}`), claims: { "and so does exec": (result) => result.includes("the managed skill's text") } },
      { call: exec("ln -s ../.env link-out && ls -l link-out"), claims: { "a symlink out can be made": (result) => result.includes("link-out") } },
      { call: read("link-out"), claims: { "the read tool does not follow it out": silent } },
      { call: exec(`ln ${path.join(home.state, ".env")} hard-out; cat hard-out`), claims: { "a hard link to a secret cannot be made": (result) => silent(result) && result.includes("No such file") } },
      { call: read("hard-out"), claims: { "and the read tool finds none": silent } },
      { call: write(outside, "x"), claims: { "the write tool writes nothing outside the workspace": () => !existsSync(outside) } },
    ],
    afterwards: {
      "no answer held a canary": (_output, results) => !results.some((result) => result.includes(home.canary)),
    },
  };
}

export function withoutPlugin(home: Home): Act {
  const markers = [path.join(home.directory, "ran-without-plugin"), path.join(home.workspace, "ran-without-plugin")];
  return {
    finishes: false,
    steps: [{ call: exec(markers.map((marker) => `touch ${marker}`).join("; ")), claims: {} }],
    afterwards: {
      "the error names the missing backend": (output) => output.includes("mantlet") && output.includes("not registered"),
      "nothing ran on the host": (_output, results) => results.length === 0 && !markers.some((marker) => existsSync(marker)),
    },
  };
}

export function withoutProgram(home: Home): Act {
  const markers = [path.join(home.directory, "ran-without-program"), path.join(home.workspace, "ran-without-program")];
  const says = (result: string): boolean => result.includes("not found") && result.includes("nothing was run");
  const written = path.join(home.workspace, "written-without-program");
  return {
    finishes: true,
    steps: [
      { call: exec(markers.map((marker) => `touch ${marker}`).join("; ")), claims: { "exec answers that mantlet-run was not found": says } },
      { call: write(written, "x"), claims: { "the write tool answers the same": says } },
      { call: read("note.txt"), claims: { "the read tool answers the same": says } },
    ],
    afterwards: {
      "nothing ran on the host": () => ![...markers, written].some((file) => existsSync(file)),
    },
  };
}

/** Every tool once in the workspace and once outside it; `tag` keeps the files of several turns apart. */
export function everyTool(home: Home, tag: string): readonly Step[] {
  const at = (name: string): string => path.join(home.workspace, `${tag}-${name}`);
  const outside = (name: string): string => path.join(home.directory, `${tag}-${name}`);
  const silent = (result: string): boolean => !result.includes(home.canary);
  return [
    { call: exec(`echo one > ${tag}-exec; ${readDotenv(home)}`), claims: { [`${tag}: exec works inside and finds nothing outside`]: (result) => silent(result) && result.includes("cat: 1") } },
    { call: read(`${tag}-exec`), claims: { [`${tag}: read`]: (result) => result.includes("one") } },
    { call: write(`${tag}-made/note`, "from write\n"), claims: {} },
    { call: edit(`${tag}-made/note`, "write", "edit"), claims: { [`${tag}: write and edit`]: () => holds(at("made/note"), "from edit\n") } },
    { call: ls(`${tag}-made`), claims: { [`${tag}: ls`]: (result) => result.includes("note") } },
    {
      call: patch(`*** Add File: ${tag}-added\n+added\n*** Update File: ${tag}-exec\n@@\n-one\n+two`),
      claims: { [`${tag}: apply_patch`]: () => holds(at("added"), "added\n") && holds(at("exec"), "two\n") },
    },
    { call: exec(`sleep 0.5; echo first; sleep 3600 && touch ${tag}-late`, { background: true }), claims: { [`${tag}: a background command is accepted`]: (result) => result.includes("still running") } },
    { call: (results) => processCall(results, "poll", { timeout: 2000 }), claims: { [`${tag}: process poll shows its output`]: (result) => result.includes("first") } },
    { call: (results) => processCall(results, "list"), claims: { [`${tag}: process list names it`]: (result) => result.includes("running") } },
    { call: (results) => processCall(results, "kill"), claims: { [`${tag}: process kill ends it`]: (result) => /kill|terminat/i.test(result) } },
    { call: read(path.join(home.state, ".env")), claims: { [`${tag}: read refuses an absolute path outside`]: silent } },
    { call: read("../.env"), claims: { [`${tag}: read refuses a path through ..`]: silent } },
    { call: write(outside("write"), "x"), claims: { [`${tag}: write writes nothing outside`]: () => !existsSync(outside("write")) } },
    { call: edit(path.join(home.directory, "outside.txt"), "canary", "changed"), claims: { [`${tag}: edit edits nothing outside`]: (result) => silent(result) && readFileSync(path.join(home.directory, "outside.txt"), "utf8").startsWith("canary") } },
    { call: ls(home.state), claims: { [`${tag}: ls lists nothing outside`]: (result) => !result.includes("openclaw.json") } },
    { call: patch(`*** Add File: ../../${tag}-patch\n+x`), claims: { [`${tag}: apply_patch writes nothing outside`]: () => !existsSync(outside("patch")) } },
    { call: exec(`cat > ${outside("heredoc")} <<'END'\nx\nEND\necho "cat: $?"`), claims: { [`${tag}: the heredoc writes nothing outside`]: () => !existsSync(outside("heredoc")) } },
  ];
}

function processCall(results: readonly string[], action: string, more: Readonly<Record<string, unknown>> = {}): ToolCall {
  const session = results.map((result) => /session ([a-z0-9-]+)/.exec(result)?.[1]).findLast((name) => name !== undefined);
  return { tool: "process", args: { action, sessionId: session ?? "", ...more } };
}

/** OpenClaw's own `tools.fs.workspaceOnly` without a sandbox: its file tools obey it, a heredoc does not. */
export function workspaceOnly(home: Home): Act {
  const at = (name: string): string => path.join(home.directory, `workspace-only-${name}`);
  return {
    finishes: true,
    steps: [
      { call: write(at("write"), "x"), claims: { "tools.fs.workspaceOnly stops the write tool": () => !existsSync(at("write")) } },
      { call: exec(`cat > ${at("heredoc")} <<'END'\nx\nEND`), claims: { "and does not stop a heredoc": () => holds(at("heredoc"), "x\n") } },
    ],
    afterwards: {},
  };
}
