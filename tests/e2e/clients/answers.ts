// `mantlet hook` in the real clients, offline on a scripted model: answers.ts BIN_DIRECTORY [CLIENT...].
// Each client runs one turn with the hook and the same turn without it, where everything succeeds that the hook stops.

import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync } from "node:fs";
import path from "node:path";
import { ScriptedModel, type ToolCall } from "../model/model.ts";
import { Cell, type Place } from "./cell.ts";
import { CLIENTS, type Client } from "./clients.ts";

const here = import.meta.dirname;
const [given, ...wanted] = process.argv.slice(2);
if (given === undefined) throw new Error("usage: answers.ts BIN_DIRECTORY [CLIENT...]");
// Everybody can reach it, no agent can write it, and a cell's own /tmp does not cover it.
const scratch = mkdtempSync("/var/tmp/mantlet-hooks-");
chmodSync(scratch, 0o755);
const bin = path.join(scratch, "bin");
mkdirSync(bin);
for (const name of ["mantlet", "mantlet-run"]) copyFileSync(path.join(realpathSync(given), name), path.join(bin, name));
const mantlet = path.join(bin, "mantlet");

const uid = process.getuid?.() === 0 ? 61234 : (process.getuid?.() ?? 0);
const become = process.getuid?.() === 0 ? ["setpriv", `--reuid=${uid}`, `--regid=${uid}`, "--clear-groups"] : [];

function installed(client: string): string {
  const done = spawnSync(path.join(here, "setup"), [client], { encoding: "utf8" });
  if (done.status !== 0) throw new Error(`${client} cannot be installed: ${done.stderr}`);
  return done.stdout.trim();
}

/** Writes the policy and the hook of a client into its home, as docs/hooks.md says. */
function wire(cell: Cell, client: string): Record<string, string> {
  cell.write(
    ".config/mantlet/mantlet.toml",
    `version = 1\n[agent.main]\nrole = "builder"\nclient = "${client}"\nworkspace = "~/project"\ntier = "full"\n` +
      `[agent.main.files]\ndeny = ["**/denied.txt"]\n`,
  );
  const policy = path.join(cell.home, ".config/mantlet/mantlet.toml");
  const words = ["hook", client, "--policy", policy, "--home", cell.home];
  const line = [mantlet, ...words].join(" ");
  switch (client) {
    case "claude": {
      const hook = { type: "command", command: mantlet, args: words, timeout: 10, onFailure: "block" };
      const all = [{ matcher: "*", hooks: [hook] }];
      cell.write(".claude/settings.json", { hooks: { PreToolUse: all, PostToolUse: all, PostToolUseFailure: all } });
      return {};
    }
    case "codex": {
      const all = [{ matcher: "*", hooks: [{ type: "command", command: line, timeout: 10 }] }];
      cell.write(".codex/hooks.json", { hooks: { PreToolUse: all, PostToolUse: all } });
      return {};
    }
    case "gemini": {
      const settings = JSON.parse(readFileSync(path.join(cell.home, ".gemini/settings.json"), "utf8")) as object;
      const all = [{ matcher: "*", hooks: [{ name: "mantlet", type: "command", command: line, timeout: 10_000 }] }];
      cell.write(".gemini/settings.json", { ...settings, hooksConfig: { enabled: true }, hooks: { BeforeTool: all, AfterTool: all } });
      return {};
    }
    case "copilot": {
      const hook = { type: "command", bash: line, timeoutSec: 10 };
      cell.write(".copilot/hooks/mantlet.json", { version: 1, hooks: { preToolUse: [hook], postToolUse: [hook] } });
      return {};
    }
    case "opencode": {
      const settings = JSON.parse(readFileSync(path.join(cell.home, ".config/opencode/opencode.json"), "utf8")) as object;
      const plugin = path.join(scratch, "mantlet.js");
      copyFileSync(path.join(here, "../../../integrations/opencode/mantlet.js"), plugin);
      const options = { program: mantlet, arguments: words.slice(2) };
      cell.write(".config/opencode/opencode.json", { ...settings, plugin: [[`file://${plugin}`, options]] });
      return {};
    }
    default:
      throw new Error(`no wiring for ${client}`);
  }
}

interface Turn {
  readonly results: readonly string[];
  readonly log: string;
  readonly output: string;
}

let number = 0;

async function turn(model: ScriptedModel, place: Place, client: Client, hasHook: boolean): Promise<Turn & { cell: Cell }> {
  const name = `${client.name}-${hasHook ? "hook" : "bare"}-${(number += 1)}`;
  const cell = new Cell(place, name);
  cell.write("project/denied.txt", `${cell.canary}-denied\n`);
  const line = `cat ${cell.outside} denied.txt; test -e /run/mantlet/jail && echo in-the-jail; echo ran > made.txt; cat note.txt`;
  const calls: ToolCall[] = [
    client.read(path.join(cell.workspace, "note.txt")),
    client.read(path.join(cell.workspace, "denied.txt")),
    client.read(cell.outside),
    client.exec(line),
    client.write(path.join(cell.home, "planted.txt"), "planted\n"),
    client.write(path.join(cell.workspace, "new.txt"), "new\n"),
  ];
  const script = model.prepare(name, calls);
  const command = client.start(cell, script);
  const more = hasHook ? wire(cell, client.name) : {};
  const argv = [...command.argv];
  // Codex runs only hooks that the user has trusted, or managed ones.
  if (hasHook && client.name === "codex") argv.splice(2, 0, "--dangerously-bypass-hook-trust");
  const outcome = await cell.run({ argv, env: { ...command.env, ...more } }, 90);
  const ledger = spawnSync("cat", [path.join(cell.home, ".local/state/mantlet/ledger/ledger.jsonl")], { encoding: "utf8" });
  return { cell, results: [...script.results], log: ledger.stdout, output: outcome.output };
}

function exists(cell: Cell, name: string): boolean {
  return existsSync(path.join(cell.home, name));
}

async function check(model: ScriptedModel, place: Place, client: Client): Promise<string[]> {
  const wrong: string[] = [];
  const claim = (holds: boolean, what: string): void => {
    console.log(`${holds ? "ok  " : "FAIL"} ${client.name}: ${what}`);
    if (!holds) wrong.push(what);
  };
  // Gemini CLI refuses what lies outside before it asks its hooks; Codex reads by commands only.
  const hasOwnLimit = client.name === "gemini";
  const readsByCommand = client.name === "codex";
  const bare = await turn(model, place, client, false);
  const [, bareDenied = "", bareOutside = "", bareExec = ""] = bare.results;
  claim(bare.results.length === 6, "control: six calls ran without a hook");
  claim(bareDenied.includes(`${bare.cell.canary}-denied`), "control: the denied file is read");
  claim(hasOwnLimit || bareOutside.includes(bare.cell.canary), "control: the file outside is read");
  claim(bareExec.includes(`${bare.cell.canary}-outside`) && !bareExec.includes("in-the-jail"), "control: a command reads it too");
  claim(hasOwnLimit || exists(bare.cell, "planted.txt"), "control: a file outside is written");
  const held = await turn(model, place, client, true);
  const [note = "", denied = "", outside = "", exec = ""] = held.results;
  claim(held.results.length === 6, "the same six calls, with the hook");
  claim(note.includes("the note says hello"), "a file of the workspace is read");
  claim(!held.results.join("").includes(held.cell.canary), "nothing of the denied file and of the one outside reaches the model");
  claim(readsByCommand || (denied.includes("mantlet:") && denied.includes("denied")), "the denial says why");
  claim(readsByCommand || hasOwnLimit || outside.includes("mantlet allow"), "and what would change it");
  claim(exec.includes("in-the-jail") && exists(held.cell, "project/made.txt"), "the command ran in the jail");
  claim(!exists(held.cell, "planted.txt"), "no file is written outside");
  claim(exists(held.cell, "project/new.txt"), "a file of the workspace is written");
  claim(held.log.includes('"decision":"jailed"') && held.log.includes('"decision":"ran"'), "the ledger has the calls");
  if (wrong.length > 0) console.log(held.results, bare.results, held.output.slice(-1500), held.log.slice(-3000));
  return wrong;
}

const model = await ScriptedModel.listen();
let failures = 0;
try {
  for (const client of CLIENTS.filter((each) => wanted.length === 0 || wanted.includes(each.name))) {
    const cache = path.join(scratch, "cache");
    mkdirSync(cache, { recursive: true });
    const copied = spawnSync("cp", ["-rT", "--reflink=auto", installed(client.name), path.join(cache, client.name)]);
    if (copied.status !== 0) throw new Error(`${client.name} cannot be copied`);
    const place: Place = { scratch, cache, become, uid };
    failures += (await check(model, place, client)).length;
  }
} finally {
  model.close();
  rmSync(scratch, { recursive: true, force: true });
}
process.exitCode = failures === 0 ? 0 : 1;
