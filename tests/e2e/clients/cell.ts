// One run of one client: namespaces, home, /etc and /tmp of its own, canaries planted, nothing left behind.

import { spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";

/** Where everything of the whole test lies, and how to become the user that it is for. */
export interface Place {
  readonly scratch: string;
  /** Directories of the installed clients, by name. */
  readonly cache: string;
  /** The directory of the programs under test. */
  readonly bin: string;
  /** A command prefix that turns root of these namespaces into the user that the clients run as. */
  readonly become: readonly string[];
  readonly uid: number;
}

export interface Command {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** The files that each hold a secret of their own: what the model saw tells which way was open. */
const FILES = {
  command: ".ssh/id_canary",
  tool: "outside.txt",
  denied: "project/kept.secret",
  prompt: "prompted.txt",
  attached: "project/attached.secret",
  typed: "typed.txt",
  mcp: "served.txt",
} as const;
/** The text of a file that the prompt names. */
export const NAMED = "the text of the named file";

/** Where the clients read root's configuration, below /etc. */
const SERVICES = ["claude-code", "codex", "gemini-cli", "opencode"];

type FileWay = keyof typeof FILES;
/** A way to a planted secret. */
export type Way = FileWay | "environment";

export interface Outcome {
  readonly code: number | null;
  readonly output: string;
  readonly seconds: number;
}

export class Cell {
  readonly place: Place;
  readonly directory: string;
  readonly canary = `canary-${randomBytes(8).toString("hex")}`;

  constructor(place: Place, name: string, client: string) {
    this.place = place;
    this.directory = path.join(place.scratch, "cells", name);
    for (const made of [this.workspace, path.join(this.home, ".ssh"), this.tmp, this.hooks]) mkdirSync(made, { recursive: true });
    chmodSync(this.tmp, 0o1777);
    for (const way of Object.keys(FILES) as FileWay[]) writeFileSync(this.secret(way), `${this.canary}-${way}\n`);
    this.write("project/named.txt", `${NAMED}\n`);
    this.write("project/note.txt", "the note says hello\n");
    // What a hook needs is shown to a whole agent too, so that a hook does there what it does elsewhere.
    const shown = [this.hooks, this.place.bin, ...SERVICES.map((service) => path.join("/etc", service))];
    const files = `[agent.main.files]\ndeny = ["**/*.secret"]\nread = ${JSON.stringify(shown)}\n`;
    this.write(".config/mantlet/mantlet.toml", `version = 1\n[agent.main]\nrole = "builder"\nclient = "${client}"\nworkspace = "${this.workspace}"\n${files}`);
    this.write("project/probe-server", server(this.secret("mcp")), 0o755);
    spawnSync("git", ["init", "--quiet", this.workspace]);
  }

  get home(): string {
    return path.join(this.directory, "home");
  }

  get workspace(): string {
    return path.join(this.home, "project");
  }

  /** A directory of root's for the hook's program. */
  get hooks(): string {
    return path.join(this.directory, "hooks");
  }

  get tmp(): string {
    return path.join(this.directory, "tmp");
  }

  /** The file whose content gets out only by this way. */
  secret(way: FileWay): string {
    return path.join(this.home, FILES[way]);
  }

  /** Writes a file of the user's, below the home. */
  write(name: string, content: string | object, mode = 0o644): string {
    return put(path.join(this.home, name), content, mode);
  }

  /** Writes a file of root's, below /etc as the client sees it: /etc/SERVICE/NAME. */
  writeEtc(name: string, content: string | object, mode = 0o644): string {
    put(path.join(this.directory, "etc", name), content, mode);
    return path.join("/etc", name);
  }

  /** Writes a file of the test's own. */
  writeAt(file: string, content: string, mode = 0o644): void {
    put(file, content, mode);
  }

  has(name: string): boolean {
    return existsSync(path.join(this.home, name));
  }

  read(name: string): string {
    return readFileSync(path.join(this.home, name), "utf8");
  }

  /** The command, as a whole in a jail. */
  jailed(command: Command): Command {
    return { ...command, argv: [path.join(this.place.bin, "mantlet"), "run", "main", "--network", "host", "--", ...command.argv] };
  }

  /** Runs the client until it ends, or is ended after `limit` seconds. */
  async run(command: Command, limit = 60): Promise<Outcome> {
    const { uid } = this.place;
    spawnSync("chown", ["-R", `${uid}:${uid}`, this.home]);
    const started = Date.now();
    const namespaces = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
    const inside = `
      set -e
      cell=$1; shift
      mount --bind "$cell/tmp" /tmp
      for each in "$cell"/etc/*; do [ ! -e "$each" ] || mount --bind "$each" "/etc/\${each##*/}"; done
      cd "$cell/home/project"
      exec "$@"
    `;
    const child = spawn("unshare", [...namespaces, "/bin/sh", "-c", inside, "sh", this.directory, ...this.place.become, ...command.argv], {
      env: {
        HOME: this.home,
        USER: "tester",
        PATH: "/usr/local/bin:/usr/bin:/bin",
        LANG: "C.UTF-8",
        SHELL: "/bin/bash",
        NO_COLOR: "1",
        CANARY_ENVIRONMENT: `${this.canary}-environment`,
        ...command.env,
      },
      stdio: ["ignore", "pipe", "pipe"],
      timeout: limit * 1000,
      killSignal: "SIGKILL",
    });
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString("utf8")));
    child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString("utf8")));
    const code = await new Promise<number | null>((resolve, reject) => {
      child.on("error", reject);
      child.on("close", resolve);
    });
    return { code, output, seconds: (Date.now() - started) / 1000 };
  }
}

function put(file: string, content: string | object, mode: number): string {
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, typeof content === "string" ? content : `${JSON.stringify(content, null, 2)}\n`, { mode });
  return file;
}

/** An MCP server whose only tool gives what it can read, in a shell: there is one everywhere. */
function server(file: string): string {
  return `#!/bin/bash
while IFS= read -r line; do
  id=$(sed -n 's/.*"id":\\("\\{0,1\\}[A-Za-z0-9-]*"\\{0,1\\}\\).*/\\1/p' <<<"$line")
  [ -n "$id" ] || continue
  case $line in
    *'"initialize"'*) result='{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"probe","version":"1"}}' ;;
    *'"tools/list"'*) result='{"tools":[{"name":"look","description":"looks","inputSchema":{"type":"object","properties":{}}}]}' ;;
    *'"tools/call"'*) result='{"content":[{"type":"text","text":"looked: '"$(cat '${file}' 2>&1 | tr -d '"')"'"}]}' ;;
    *) result='{}' ;;
  esac
  printf '{"jsonrpc":"2.0","id":%s,"result":%s}\\n' "$id" "$result"
done
`;
}
